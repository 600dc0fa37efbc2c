//! One QEMU machine: a server unit with its consoles, its ports and its disk.
//!
//! Source of truth: `tests/images/su390/README.md`. Invariants: a machine ends with the value that
//! stands for it, by its own process; a wait that fails tells the console so far and, while the
//! machine lives, its PSW and interruption codes. Deliberately not here: what two machines do with
//! each other.

use std::{
    fs::File,
    io::Write,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    console::Console,
    disk,
    failure::{Failure, Result, ensure},
    inspect,
};

/// The program of a machine.
pub(crate) const QEMU: &str = "qemu-system-s390x";

/// How long a machine may need to end once it was told to.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What a machine is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Its name in failures, and that of its files.
    pub(crate) name: String,
    /// The image that it boots.
    pub(crate) image: PathBuf,
    /// Its storage.
    pub(crate) storage_mib: u32,
    /// The text of its configuration disk; without one there is no disk.
    pub(crate) configuration: Option<String>,
    /// Device numbers of further disks, which hold nothing.
    pub(crate) disks: Vec<&'static str>,
}

/// A machine that runs, or has ended.
#[derive(Debug)]
pub(crate) struct Machine {
    name: String,
    process: Process,
    keyboard: ChildStdin,
    guest_keyboard: UnixStream,
    folder: PathBuf,
    /// What the monitor writes to the operator.
    pub(crate) operator: Console,
    /// What the guest writes.
    pub(crate) guest: Console,
}

/// The process of a machine, which several threads may end.
#[derive(Clone, Debug)]
pub(crate) struct Process(Arc<Mutex<Child>>);

impl Process {
    /// Ends the machine as a loss of the server unit does: at once, with all that was on it.
    pub(crate) fn kill(&self) {
        let mut child = self.child();
        // A machine that has ended by itself cannot be killed, which is as good.
        drop(child.kill());
        drop(child.wait());
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine {
    /// Starts a machine whose files and sockets are in this folder.
    pub(crate) fn start(plan: &Plan, folder: &Path) -> Result<Self> {
        let name = plan.name.as_str();
        let disk = folder.join(format!("{name}.disk"));
        // A disk that is there holds the journal of the machine's former life.
        if let Some(text) = plan.configuration.as_ref().filter(|_| !disk.exists()) {
            disk::write(&disk, text)?;
        }
        let guest_socket = socket(folder, name, "guest");
        // A former life of the machine may have left it.
        drop(std::fs::remove_file(&guest_socket));
        let listener = UnixListener::bind(&guest_socket)
            .map_err(|error| Failure::of_io("cannot listen at", &guest_socket, &error))?;
        let messages = folder.join(format!("{name}.qemu"));
        let messages = File::create(&messages)
            .map_err(|error| Failure::of_io("cannot write", &messages, &error))?;
        let mut child = Command::new(QEMU)
            .args(arguments(plan, folder))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(messages)
            .spawn()
            .map_err(|error| Failure::of_io("cannot start", Path::new(QEMU), &error))?;
        let (Some(keyboard), Some(screen)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("a machine without keyboard and screen"));
        };
        let process = Process(Arc::new(Mutex::new(child)));
        let operator = Console::follow(&format!("{name}, operator"), screen);
        let guest = accept(&listener, &process, &operator)
            .map_err(|failure| failure.with(&said_by_qemu(folder, name)))?;
        let guest_keyboard = guest
            .try_clone()
            .map_err(|error| Failure::new(format!("no keyboard of the guest: {error}")))?;
        let guest = Console::follow(&format!("{name}, guest"), guest);
        let name = name.to_owned();
        Ok(Self {
            name,
            process,
            keyboard,
            guest_keyboard,
            folder: folder.to_owned(),
            operator,
            guest,
        })
    }

    /// What ends this machine.
    pub(crate) fn process(&self) -> Process {
        self.process.clone()
    }

    /// The operator types a line.
    pub(crate) fn type_line(&mut self, line: &str) -> Result<()> {
        let typed = self.keyboard.write_all(format!("{line}\n").as_bytes());
        typed.and_then(|()| self.keyboard.flush()).map_err(|error| {
            self.told(Failure::new(format!("{}: '{line}' cannot be typed: {error}", self.name)))
        })
    }

    /// Somebody types at the guest's console, with or without an end of the line.
    pub(crate) fn type_to_guest(&mut self, text: &str) -> Result<()> {
        self.guest_keyboard.write_all(text.as_bytes()).map_err(|error| {
            self.told(Failure::new(format!("{}: '{text}' cannot be typed: {error}", self.name)))
        })
    }

    /// Waits for a line on the operator's console.
    pub(crate) fn wait(&self, text: &str, limit: Duration) -> Result<String> {
        self.operator.wait(text, limit).map_err(|failure| self.told(failure))
    }

    /// Waits for the `count`-th such line on the operator's console.
    pub(crate) fn wait_nth(&self, text: &str, count: usize, limit: Duration) -> Result<String> {
        self.operator.wait_nth(text, count, limit).map_err(|failure| self.told(failure))
    }

    /// Waits for one of several lines on the operator's console.
    pub(crate) fn wait_any(
        &self,
        texts: &[(&str, usize)],
        limit: Duration,
    ) -> Result<(usize, String)> {
        self.operator.wait_any(texts, limit).map_err(|failure| self.told(failure))
    }

    /// Waits until the machine has ended by itself, with this status.
    pub(crate) fn wait_end(&self, status: i32, limit: Duration) -> Result<()> {
        if !self.operator.wait_end(limit) {
            let failure = Failure::new(format!("{} does not end within {limit:?}", self.name));
            return Err(self.told(failure.with(&self.operator.shown())));
        }
        let ended = self.process.child().wait();
        let ended = ended.map_err(|error| Failure::new(format!("{}: {error}", self.name)))?;
        ensure(ended.code() == Some(status), || {
            let name = &self.name;
            format!("{name} ended with {ended}, not with {status}\n{}", self.operator.shown())
        })
    }

    /// The operator ends the monitor, and the machine ends well.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.type_line("END")?;
        self.wait_end(0, ENDS_WITHIN)
    }

    /// The socket of one of the machine's ports.
    pub(crate) fn socket(&self, port: &str) -> PathBuf {
        socket(&self.folder, &self.name, port)
    }

    /// A failure with what else is to be known of this machine.
    pub(crate) fn told(&self, failure: Failure) -> Failure {
        let lives = matches!(self.process.child().try_wait(), Ok(None));
        let state = if lives {
            inspect::state(&self.socket("human"))
        } else {
            format!("-- {} has ended\n", self.name)
        };
        failure.with(&state).with(&said_by_qemu(&self.folder, &self.name))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// The socket of a machine's port in a folder.
pub(crate) fn socket(folder: &Path, machine: &str, port: &str) -> PathBuf {
    folder.join(format!("{machine}.{port}"))
}

/// Waits until QEMU has connected its guest's console, or has ended.
fn accept(listener: &UnixListener, process: &Process, operator: &Console) -> Result<UnixStream> {
    let failed = |error| Failure::new(format!("no console of the guest: {error}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let mut has_ended = false;
    for _ in 0..1000 {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(failed)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                // A machine that crashes at once has connected and may be gone: one more look.
                if has_ended {
                    break;
                }
                // The pause between two looks; an end of the console is the end of QEMU.
                has_ended = operator.wait_end(Duration::from_millis(10));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    process.kill();
    Err(Failure::new(format!("{QEMU} does not start")))
}

fn said_by_qemu(folder: &Path, name: &str) -> String {
    match std::fs::read_to_string(folder.join(format!("{name}.qemu"))) {
        Ok(text) if !text.trim().is_empty() => format!("-- {QEMU}:\n{text}"),
        _ => String::new(),
    }
}

fn arguments(plan: &Plan, folder: &Path) -> Vec<String> {
    let name = plan.name.as_str();
    let port = |port: &str| socket(folder, name, port).display().to_string();
    let listening = |id: &str| format!("socket,id={id},path={},server=on,wait=off", port(id));
    let mut arguments: Vec<String> =
        ["-nographic", "-nodefaults", "-action", "panic=exit-failure"].map(str::to_owned).into();
    let mut add = |option: &str, value: String| {
        arguments.push(option.to_owned());
        arguments.push(value);
    };
    add("-m", plan.storage_mib.to_string());
    add("-kernel", plan.image.display().to_string());
    add("-chardev", "stdio,id=operator,signal=off".to_owned());
    add("-device", "sclpconsole,chardev=operator".to_owned());
    add("-chardev", listening("human"));
    add("-mon", "chardev=human,mode=readline".to_owned());
    for (port, number) in [("mig", 1), ("dir", 2)] {
        add("-chardev", listening(port));
        add("-device", format!("virtio-serial-ccw,id=serial{number},devno=fe.0.000{number}"));
        add("-device", format!("virtserialport,bus=serial{number}.0,chardev={port},name={port}"));
    }
    add("-chardev", format!("socket,id=guest,path={}", port("guest")));
    add("-device", "virtio-serial-ccw,id=serial3,devno=fe.0.0003".to_owned());
    add("-device", "virtconsole,bus=serial3.0,chardev=guest".to_owned());
    if plan.configuration.is_some() {
        let disk = folder.join(format!("{name}.disk"));
        let file = format!("file={},format=raw,if=none,id=disk", disk.display());
        add("-drive", file);
        add("-device", "virtio-blk-ccw,drive=disk,devno=fe.0.0100".to_owned());
    }
    for number in &plan.disks {
        add("-blockdev", format!("driver=null-co,node-name=disk-{number},size=1048576"));
        add("-device", format!("virtio-blk-ccw,drive=disk-{number},devno=fe.0.{number}"));
    }
    arguments
}
