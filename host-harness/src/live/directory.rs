//! Where a live run has the ownership records: in memory, or in a file of the cluster.
//!
//! A file is asked in a thread of its own, so that a monitor goes on while the disk works. Each
//! monitor has its own connection, as monitors in different processes have.
//!
//! Source of truth: `monitor_core::ports::ClusterDirectory`. Invariants: each question has one
//! answer, within [`ANSWER_MAX`]; an answer that comes later than that is not heard, since the
//! monitor was told that the directory cannot be reached. Deliberately not here: SQLite.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use monitor_core::{
    driver::RemoteDirectory,
    ports::{ClusterDirectory, ErrorKind, ErrorType},
    units::{Micros, VmName},
    vm::{DirectoryAnswer, Ownership},
};

use super::{Clock, LiveError, SocketLink, clock::unique_stamp};
use crate::{
    cluster::{Cluster, ConsoleHub, Directory, DirectoryFile, DirectoryPort, FileError},
    config::Config,
};

/// The longest time from a question to its answer; a file that is locked answers earlier.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Where the records are.
#[derive(Debug)]
pub(super) enum Records {
    Memory(Arc<Directory>),
    /// The connection stays for the whole run: the last one that closes takes the write-ahead log
    /// away, and the next change, in a blackout, would wait three times as long for a new one.
    File(PathBuf, DirectoryFile),
}

/// Begins an epoch for the configured VM, and gives its cluster.
pub(super) fn begin(
    config: &Config,
    hub: &Arc<dyn ConsoleHub>,
) -> Result<(Arc<Cluster>, Records), LiveError> {
    if let Some(path) = &config.cluster.directory {
        let mut file = DirectoryFile::open_or_create(path).map_err(LiveError::Directory)?;
        let begun = file.begin(config.vm.name, config.vm.on);
        let epoch = begun.map_err(LiveError::Directory)?;
        let cluster = Cluster::without_record(config, hub, epoch).map_err(LiveError::Guest)?;
        Ok((cluster, Records::File(path.clone(), file)))
    } else {
        let cluster = Cluster::new(config, hub).map_err(LiveError::Guest)?;
        let records = Records::Memory(Arc::clone(cluster.directory()));
        Ok((cluster, records))
    }
}

impl Records {
    /// One monitor's access.
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Memory(directory) => Access::AtOnce(DirectoryPort::new(Arc::clone(directory))),
            Self::File(path, _) => Access::of_file(path),
        }
    }

    /// The record of a VM, for the judge.
    pub(super) fn record(&self, vm: VmName) -> Option<Ownership> {
        match self {
            Self::Memory(directory) => directory.record(vm),
            Self::File(_, file) => file.read(vm).ok()?,
        }
    }
}

/// One monitor's access to the records.
#[derive(Debug)]
pub(super) enum Access {
    AtOnce(DirectoryPort),
    Aside(Aside),
    Remote(Box<RemoteDirectory<SocketLink>>, Clock),
}

impl Access {
    /// The access to a file.
    pub(super) fn of_file(path: &Path) -> Self {
        Self::Aside(Aside::start(path.to_owned()))
    }

    /// The access to the service at a UNIX socket, which may not stand yet.
    pub(super) fn of_socket(path: &Path, clock: Clock) -> io::Result<Self> {
        let link = SocketLink::connecting(path)?;
        let patience = Micros::new(u64::try_from(ANSWER_MAX.as_micros()).unwrap_or(u64::MAX));
        let remote = RemoteDirectory::new(link, patience, unique_stamp());
        Ok(Self::Remote(Box::new(remote), clock))
    }

    /// The service, which knows what time it is.
    fn remote<'a>(
        remote: &'a mut RemoteDirectory<SocketLink>,
        clock: &Clock,
    ) -> &'a mut RemoteDirectory<SocketLink> {
        remote.set_now(clock.now());
        remote
    }

    /// Forgets what was asked: whoever asked is not there any more.
    pub(super) fn forget(&mut self) {
        match self {
            Self::AtOnce(port) => drop(port.poll_answer()),
            Self::Aside(aside) => aside.deadline = None,
            Self::Remote(remote, _) => remote.forget(),
        }
    }
}

impl ErrorType for Access {
    type Error = ErrorKind;
}

impl ClusterDirectory for Access {
    fn start_read(&mut self, vm: VmName) -> Result<(), ErrorKind> {
        match self {
            Self::AtOnce(port) => port.start_read(vm),
            Self::Aside(aside) => aside.ask(Question::Read(vm)),
            Self::Remote(remote, clock) => Self::remote(remote, clock).start_read(vm),
        }
    }

    fn start_compare_and_set(
        &mut self,
        vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), ErrorKind> {
        match self {
            Self::AtOnce(port) => port.start_compare_and_set(vm, expected, new),
            Self::Aside(aside) => aside.ask(Question::CompareAndSet(vm, expected, new)),
            Self::Remote(remote, clock) => {
                Self::remote(remote, clock).start_compare_and_set(vm, expected, new)
            }
        }
    }

    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        match self {
            Self::AtOnce(port) => port.poll_answer(),
            Self::Aside(aside) => aside.poll(),
            Self::Remote(remote, clock) => Self::remote(remote, clock).poll_answer(),
        }
    }
}

/// What a monitor asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Read(VmName),
    CompareAndSet(VmName, Ownership, Ownership),
}

/// The numbers of questions tell answers apart.
type Numbered<T> = (u64, T);

/// A thread that asks the file, and what passes between it and a monitor.
#[derive(Debug)]
pub(super) struct Aside {
    /// Given up at the end, so that the thread ends.
    questions: Option<mpsc::Sender<Numbered<Question>>>,
    answers: mpsc::Receiver<Numbered<DirectoryAnswer>>,
    thread: Option<JoinHandle<()>>,
    asked: u64,
    /// The moment at which the question that was asked last goes without an answer.
    deadline: Option<Instant>,
}

impl Aside {
    fn start(path: PathBuf) -> Self {
        let (questions, to_be_answered) = mpsc::channel();
        let (answering, answers) = mpsc::channel();
        let thread = thread::spawn(move || serve(&path, &to_be_answered, &answering));
        Self { questions: Some(questions), answers, thread: Some(thread), asked: 0, deadline: None }
    }

    fn ask(&mut self, question: Question) -> Result<(), ErrorKind> {
        self.asked += 1;
        let questions = self.questions.as_ref().ok_or(ErrorKind::Unreachable)?;
        questions.send((self.asked, question)).map_err(|_| ErrorKind::Unreachable)?;
        self.deadline = Some(Instant::now() + ANSWER_MAX);
        Ok(())
    }

    fn poll(&mut self) -> Option<DirectoryAnswer> {
        let deadline = self.deadline?;
        let mut answers = self.answers.try_iter();
        let answer = answers.find(|(number, _)| *number == self.asked).map(|(_, answer)| answer);
        let late = || (Instant::now() >= deadline).then_some(DirectoryAnswer::Unreachable);
        let answer = answer.or_else(late)?;
        self.deadline = None;
        Some(answer)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.questions = None;
        // A thread that panicked has answered nothing, which was an answer in itself.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Answers all questions.
fn serve(
    path: &Path,
    questions: &mpsc::Receiver<Numbered<Question>>,
    answers: &mpsc::Sender<Numbered<DirectoryAnswer>>,
) {
    let mut file = OpenFile::new(path);
    for (number, question) in questions {
        if answers.send((number, file.answer(question))).is_err() {
            return;
        }
    }
}

/// A file that is asked over and over. The connection is made before the first question, which
/// may lie in a blackout; one that has failed, or whose file was replaced, is made anew.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    connection: Option<DirectoryFile>,
}

impl OpenFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), connection: DirectoryFile::open(path).ok() }
    }

    /// The answer to a question, which takes its time.
    pub(super) fn answer(&mut self, question: Question) -> DirectoryAnswer {
        let current = self.connection.take().filter(DirectoryFile::is_current);
        let file = current.map_or_else(|| DirectoryFile::open(&self.path), Ok);
        let answered = file.and_then(|mut file| Ok((answer(&mut file, question)?, file)));
        answered.map_or(DirectoryAnswer::Unreachable, |(answer, file)| {
            self.connection = Some(file);
            answer
        })
    }
}

fn answer(file: &mut DirectoryFile, question: Question) -> Result<DirectoryAnswer, FileError> {
    match question {
        Question::Read(vm) => {
            let record = file.read(vm)?;
            Ok(record.map_or(DirectoryAnswer::Missing, DirectoryAnswer::Record))
        }
        Question::CompareAndSet(vm, expected, new) => file.compare_and_set(vm, expected, new),
    }
}

#[cfg(test)]
mod tests {
    use monitor_core::units::{Epoch, SuName};

    use super::*;

    fn vm() -> VmName {
        VmName::new("VM").unwrap()
    }

    fn owned(su: &str, epoch: u64) -> Ownership {
        Ownership::running(SuName::new(su).unwrap(), Epoch::new(epoch))
    }

    /// The answer to a question, which comes within its time.
    fn asked(aside: &mut Aside, question: Question) -> DirectoryAnswer {
        aside.ask(question).unwrap();
        loop {
            if let Some(answer) = aside.poll() {
                assert_eq!(aside.poll(), None, "a question has one answer");
                return answer;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn a_file_answers_in_its_own_thread_and_is_unreachable_while_locked_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.db");
        let mut file = DirectoryFile::open_or_create(&path).unwrap();
        file.begin(vm(), SuName::new("A").unwrap()).unwrap();
        let mut aside = Aside::start(path.clone());
        let claim = Question::CompareAndSet(vm(), owned("A", 1), owned("B", 2));
        assert_eq!(asked(&mut aside, Question::Read(vm())), DirectoryAnswer::Record(owned("A", 1)));
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(asked(&mut aside, claim), DirectoryAnswer::Unreachable);
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(asked(&mut aside, claim), DirectoryAnswer::Won);
        assert_eq!(asked(&mut aside, claim), DirectoryAnswer::Lost(owned("B", 2)));
        let unknown = Question::Read(VmName::new("OTHER").unwrap());
        assert_eq!(asked(&mut aside, unknown), DirectoryAnswer::Missing);

        // A file that an operator puts in its place is the directory from then on.
        drop((file, other));
        let away = folder.path().join("away.db");
        std::fs::rename(&path, &away).unwrap();
        assert_eq!(asked(&mut aside, Question::Read(vm())), DirectoryAnswer::Unreachable);
        let mut file = DirectoryFile::open_or_create(&path).unwrap();
        file.set(vm(), owned("C", 9), false).unwrap();
        let record = DirectoryAnswer::Record(owned("C", 9));
        assert_eq!(asked(&mut aside, Question::Read(vm())), record);
    }

    #[test]
    fn an_answer_that_comes_too_late_is_not_taken_for_the_next_one() {
        let (questions, to_be_answered) = mpsc::channel();
        let (answering, answers) = mpsc::channel();
        let questions = Some(questions);
        let mut aside = Aside { questions, answers, thread: None, asked: 0, deadline: None };
        aside.ask(Question::Read(vm())).unwrap();
        assert_eq!(aside.poll(), None);
        aside.deadline = Some(Instant::now());
        assert_eq!(aside.poll(), Some(DirectoryAnswer::Unreachable));
        let (first, _) = to_be_answered.recv().unwrap();
        answering.send((first, DirectoryAnswer::Missing)).unwrap();
        assert_eq!(aside.poll(), None);
        aside.ask(Question::Read(vm())).unwrap();
        let (second, _) = to_be_answered.recv().unwrap();
        assert_eq!(aside.poll(), None);
        answering.send((second, DirectoryAnswer::Record(owned("A", 1)))).unwrap();
        assert_eq!(aside.poll(), Some(DirectoryAnswer::Record(owned("A", 1))));
        drop(to_be_answered);
        assert_eq!(aside.ask(Question::Read(vm())), Err(ErrorKind::Unreachable));
    }
}
