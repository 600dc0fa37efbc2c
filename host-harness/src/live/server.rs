//! The cluster directory as a service for monitors that have nothing but a socket.
//!
//! A thread for each connection, which answers one question after the other. A socket that is
//! connected to, such as the one of a machine that is yet to be started, is tried until it stands
//! and again when it was closed.
//!
//! Source of truth: PROTOCOL.md, "Directory". Invariants: an answer is sent after what it says has
//! happened; questions are counted over all connections, in the order in which they were taken.
//! Deliberately not here: an end, other than that of the process.

use std::{
    fmt,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use monitor_core::{
    ports::ClusterDirectory,
    units::VmName,
    vm::{DirectoryAnswer, Ownership},
    wire::{DirectoryOperation, DirectoryQuestion, DirectoryReply, Gatherer},
};

use super::{
    directory::{OpenFile, Question},
    socket::listen,
};
use crate::cluster::{Directory, DirectoryFile, DirectoryPort, FileError, shown};

/// The pause between two tries to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// Where monitors are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket that is made, at which monitors connect.
    Listen(PathBuf),
    /// A socket at which a monitor listens.
    Connect(PathBuf),
}

/// What befalls the answer to the question of this number, from 1. The question is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// There is no answer.
    Dropped(u64),
    /// The answer comes so much later.
    Late(u64, Duration),
}

/// Why the directory cannot be served.
#[derive(Debug)]
pub enum ServerError {
    /// The file cannot be used.
    File(FileError),
    /// There cannot be a socket at this path.
    Socket(PathBuf, io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(formatter),
            Self::Socket(path, error) => write!(formatter, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ServerError {}

/// A directory that is to be served.
#[derive(Debug)]
pub struct Server {
    records: Records,
    mishaps: Vec<Mishap>,
    asked: AtomicU64,
}

#[derive(Debug)]
enum Records {
    Memory(Arc<Directory>),
    File(PathBuf),
}

/// One connection's access to the records.
enum Access {
    Memory(DirectoryPort),
    File(OpenFile),
}

impl Server {
    /// Serves the records of a file, which is made if there is none.
    ///
    /// # Errors
    /// Fails when the file cannot be used.
    pub fn of_file(path: &Path, mishaps: Vec<Mishap>) -> Result<Self, ServerError> {
        drop(DirectoryFile::open_or_create(path).map_err(ServerError::File)?);
        Ok(Self { records: Records::File(path.to_owned()), mishaps, asked: AtomicU64::new(0) })
    }

    /// Serves these records, which are in memory.
    #[must_use]
    pub fn of_records(records: &[(VmName, Ownership)], mishaps: Vec<Mishap>) -> Self {
        let directory = Directory::default();
        for (vm, record) in records {
            directory.enter(*vm, *record);
        }
        let records = Records::Memory(Arc::new(directory));
        Self { records, mishaps, asked: AtomicU64::new(0) }
    }

    /// Begins to serve, and gives what happens, line by line.
    ///
    /// # Errors
    /// Fails when a socket cannot be listened at.
    pub fn start(self, endpoints: &[Endpoint]) -> Result<mpsc::Receiver<String>, ServerError> {
        let server = Arc::new(self);
        let (lines, said) = mpsc::channel();
        for endpoint in endpoints {
            let (server, lines) = (Arc::clone(&server), lines.clone());
            match endpoint {
                Endpoint::Listen(path) => {
                    let failed = |error| ServerError::Socket(path.clone(), error);
                    let listener = listen(path).map_err(failed)?;
                    let path = path.clone();
                    thread::spawn(move || server.accept(&listener, &path, &lines));
                }
                Endpoint::Connect(path) => {
                    let path = path.clone();
                    thread::spawn(move || server.keep_connected(&path, &lines));
                }
            }
        }
        Ok(said)
    }

    fn accept(self: Arc<Self>, listener: &UnixListener, path: &Path, lines: &mpsc::Sender<String>) {
        for stream in listener.incoming().flatten() {
            let (server, lines, path) = (Arc::clone(&self), lines.clone(), path.to_owned());
            thread::spawn(move || server.attend(stream, &path, &lines));
        }
    }

    fn keep_connected(&self, path: &Path, lines: &mpsc::Sender<String>) {
        loop {
            if let Ok(stream) = UnixStream::connect(path) {
                self.attend(stream, path, lines);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Answers everything that is asked on a connection.
    fn attend(&self, mut stream: UnixStream, path: &Path, lines: &mpsc::Sender<String>) {
        // Nobody reads the lines any more only when the process ends.
        let say = |line: &str| drop(lines.send(line.to_owned()));
        say(&format!("{}: connected", path.display()));
        let mut access = self.access();
        let mut gatherer = Gatherer::of_questions();
        let mut bytes = [0; 4096];
        'connected: while let Ok(count @ 1..) = stream.read(&mut bytes) {
            for packet in bytes[..count].iter().filter_map(|byte| gatherer.take(*byte)) {
                let question = match DirectoryQuestion::parse(&packet) {
                    Ok(question) => question,
                    Err(error) => {
                        say(&format!("{}: a question is wrong: {error}", path.display()));
                        continue;
                    }
                };
                let number = self.asked.fetch_add(1, Relaxed) + 1;
                let answer = access.answer(&question);
                let (is_dropped, delay) = self.mishap(number);
                let note = if is_dropped { " (not answered)" } else { "" };
                say(&format!("{number}: {}{note}", told(&question, answer)));
                thread::sleep(delay);
                let reply = DirectoryReply { number: question.number, answer };
                if !is_dropped && stream.write_all(&reply.emit()).is_err() {
                    break 'connected;
                }
            }
        }
        say(&format!("{}: closed", path.display()));
    }

    fn access(&self) -> Access {
        match &self.records {
            Records::Memory(directory) => Access::Memory(DirectoryPort::new(Arc::clone(directory))),
            Records::File(path) => Access::File(OpenFile::new(path)),
        }
    }

    /// Whether the answer to this question is dropped, and how late it is.
    fn mishap(&self, number: u64) -> (bool, Duration) {
        let is_dropped = self.mishaps.contains(&Mishap::Dropped(number));
        let delays = self.mishaps.iter().filter_map(|mishap| match mishap {
            Mishap::Late(late, delay) if *late == number => Some(*delay),
            Mishap::Late(..) | Mishap::Dropped(_) => None,
        });
        (is_dropped, delays.sum())
    }
}

impl Access {
    fn answer(&mut self, question: &DirectoryQuestion) -> DirectoryAnswer {
        let vm = question.vm;
        match (self, question.operation) {
            (Self::File(file), DirectoryOperation::Read) => file.answer(Question::Read(vm)),
            (Self::File(file), DirectoryOperation::CompareAndSet { expected, new }) => {
                file.answer(Question::CompareAndSet(vm, expected, new))
            }
            (Self::Memory(port), operation) => {
                let asked = match operation {
                    DirectoryOperation::Read => port.start_read(vm),
                    DirectoryOperation::CompareAndSet { expected, new } => {
                        port.start_compare_and_set(vm, expected, new)
                    }
                };
                let answer = asked.ok().and_then(|()| port.poll_answer());
                answer.unwrap_or(DirectoryAnswer::Unreachable)
            }
        }
    }
}

/// A question and its answer, as people read them.
fn told(question: &DirectoryQuestion, answer: DirectoryAnswer) -> String {
    let asked = match question.operation {
        DirectoryOperation::Read => "read".to_owned(),
        DirectoryOperation::CompareAndSet { expected, new } => {
            format!("{} -> {}", shown(&expected), shown(&new))
        }
    };
    let answered = match answer {
        DirectoryAnswer::Record(record) => shown(&record),
        DirectoryAnswer::Won => "won".to_owned(),
        DirectoryAnswer::Lost(record) => format!("lost to {}", shown(&record)),
        DirectoryAnswer::Missing => "no record".to_owned(),
        DirectoryAnswer::Unreachable => "the directory cannot be reached".to_owned(),
    };
    format!("{}: {asked}: {answered}", question.vm)
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
