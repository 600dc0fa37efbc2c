//! One server unit by itself: the other end of the link is another process or another machine.
//!
//! The unit has the memory-only guest and does one thing after the other: it loads the guest,
//! sends it away, receives it. Its clock is that of the day, so that the guest's time goes on at
//! another unit. Who has the guest says the ownership record, which all units ask.
//!
//! Source of truth: PROTOCOL.md, "Link"; the modules `source` and `target` for how an attempt is
//! run. Invariants: an attempt that has not completed is followed by nothing; what the guest
//! remembers is judged before it is sent and after it has come. Deliberately not here: a look at
//! the other unit, so that storage of both cannot be compared.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use monitor_core::{
    migrate::Reception,
    ports::{ClusterDirectory, Link},
    units::{Epoch, Incarnation, PageCount, StreamId, SuName},
    vm::{DirectoryAnswer, Disposition, Ownership, Reason, VmBlock, VmId},
};

use super::{
    Clock, Endpoint, Event, Farewell, LiveHub, LiveWorkshop, Shape, Shaped, SocketLink,
    clock::unique_stamp,
    command_line,
    directory::Access,
    faults::{Faults, Side},
    monitor::{End, Kept},
    processors::Processors,
    send, show,
    source::SourceEnd,
    target::TargetEnd,
    watch::{WatchedAccess, WatchedLink},
};
use crate::{
    cluster::{
        AtOnce, Cluster, ConsoleHub, DirectoryFile, FIRST_EPOCH, FileError, HubConsole, Su,
        SuMonitor, shown,
    },
    config::{Config, Request, VmSelector},
    console::{ConsoleName, Observer, Outcome, Stamp},
    machine::Machine,
    plan::{Course, attempt, limits},
    workload::{IplError, Verdict, check},
};

/// How long the guest runs between two looks at it, the second of which has to find progress.
const LOOK: Duration = Duration::from_millis(100);

/// How long a connection is over before the next one is opened. A peer behind the serial port of a
/// virtual machine sees the end of one when it looks; what the next one brings before that would be
/// taken for the rest of the last one.
const SETTLE: Duration = Duration::from_secs(1);

/// The longest wait for the link between two looks at it.
const WAIT: Duration = Duration::from_millis(20);

/// One thing that a unit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Loads the guest and lets it run.
    Start,
    /// Moves the guest to the peer.
    Send,
    /// Waits for a move and takes the guest.
    Receive,
    /// Lets the guest run so long.
    Run(Duration),
}

/// A unit and what it is to do.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its name, one of the configuration.
    pub name: SuName,
    /// The unit at the other end of the link, one of the configuration.
    pub peer: SuName,
    /// The link.
    pub link: Endpoint,
    /// The socket of the directory; without it, the configuration's file.
    pub directory: Option<PathBuf>,
    /// What it does, in this order.
    pub deeds: Vec<Deed>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How the last attempt ended.
    pub outcome: Outcome,
    /// Whether the guest was right whenever it was looked at.
    pub is_verified: bool,
}

/// Why a unit cannot begin, or go on.
#[derive(Debug)]
pub enum UnitError {
    /// The guest does not fit its VM.
    Guest(IplError),
    /// The directory file cannot be used.
    File(FileError),
    /// There cannot be a socket at this path.
    Socket(PathBuf, io::Error),
    /// The configuration has no such unit.
    Unknown(Box<SuName>),
    /// The VM is not to run here.
    NotOwned(Box<Ownership>),
    /// There is no record of the VM.
    NoRecord,
    /// The directory does not answer.
    Unreachable,
    /// What is to be done comes in no order that is possible.
    Order(&'static str),
}

impl fmt::Display for UnitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(error) => write!(formatter, "the guest cannot be started: {error}"),
            Self::File(error) => error.fmt(formatter),
            Self::Socket(path, error) => write!(formatter, "{}: {error}", path.display()),
            Self::Unknown(name) => write!(formatter, "there is no SU {name}"),
            Self::NotOwned(record) => write!(formatter, "the VM belongs to {}", shown(record)),
            Self::NoRecord => formatter.write_str("the directory has no record of the VM"),
            Self::Unreachable => formatter.write_str("the directory does not answer"),
            Self::Order(what) => formatter.write_str(what),
        }
    }
}

impl std::error::Error for UnitError {}

/// Whether the deeds can follow each other.
///
/// # Errors
/// Names the first thing that is wrong.
fn in_order(deeds: &[Deed]) -> Result<(), UnitError> {
    let mut has_guest = false;
    for deed in deeds {
        has_guest = match deed {
            Deed::Start | Deed::Receive if has_guest => {
                return Err(UnitError::Order("the guest is here already"));
            }
            Deed::Send | Deed::Run(_) if !has_guest => {
                return Err(UnitError::Order("the guest is not here yet, or not any more"));
            }
            Deed::Start | Deed::Receive | Deed::Run(_) => true,
            Deed::Send => false,
        };
    }
    if deeds.is_empty() { Err(UnitError::Order("there is nothing to do")) } else { Ok(()) }
}

/// Runs a unit to its end. A move is waited for without limit.
///
/// # Errors
/// Fails when it cannot begin, or an attempt cannot be tried; every end of an attempt is an
/// [`Ending`].
pub fn run_unit(
    config: &Config,
    unit: &Unit,
    observer: &mut dyn Observer,
) -> Result<Ending, UnitError> {
    in_order(&unit.deeds)?;
    let clock = Clock::of_day();
    let (sender, events) = mpsc::channel();
    let link = match &unit.link {
        Endpoint::Listen(path) => SocketLink::listening(path).map_err(|error| (path, error)),
        Endpoint::Connect(path) => SocketLink::connecting(path).map_err(|error| (path, error)),
    };
    let link = link.map_err(|(path, error)| UnitError::Socket(path.clone(), error))?;
    let (access, file) = directory(config, unit, clock)?;
    let hub = Arc::new(LiveHub { events: Mutex::new(sender.clone()) });
    let hub: Arc<dyn ConsoleHub> = hub;
    let cluster = Cluster::without_record(config, &hub, FIRST_EPOCH);
    let cluster = cluster.map_err(UnitError::Guest)?;
    let su =
        cluster.su(&unit.name).cloned().ok_or_else(|| UnitError::Unknown(Box::new(unit.name)))?;
    let processors = Arc::new(Processors::new(clock));
    let farewell = Farewell(sender.clone());
    let worker = Worker {
        config,
        unit,
        clock,
        hub,
        cluster,
        su,
        processors,
        events: Mutex::new(sender),
        link: Some(Shaped::new(link, Shape::of(&config.link))),
        access: Some(access),
        file,
        guest: None,
        is_verified: true,
        is_clean: false,
        has_connected: false,
    };
    thread::scope(|scope| {
        let done = scope.spawn(move || {
            let _farewell = farewell;
            worker.work()
        });
        show(&events, 1, observer);
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The access to the records, and the file if there is one.
fn directory(
    config: &Config,
    unit: &Unit,
    clock: Clock,
) -> Result<(Access, Option<DirectoryFile>), UnitError> {
    if let Some(path) = &unit.directory {
        let failed = |error| UnitError::Socket(path.clone(), error);
        return Ok((Access::of_socket(path, clock).map_err(failed)?, None));
    }
    let path = config.cluster.directory.as_deref();
    let path = path.ok_or(UnitError::Order("there is no directory to be asked"))?;
    let file = DirectoryFile::open_or_create(path).map_err(UnitError::File)?;
    Ok((Access::of_file(path), Some(file)))
}

/// A unit at work.
struct Worker<'a> {
    config: &'a Config,
    unit: &'a Unit,
    clock: Clock,
    hub: Arc<dyn ConsoleHub>,
    cluster: Arc<Cluster>,
    su: Arc<Su>,
    processors: Arc<Processors>,
    events: Mutex<mpsc::Sender<Event>>,
    /// Lent to an attempt while there is one.
    link: Option<Shaped>,
    access: Option<Access>,
    file: Option<DirectoryFile>,
    /// The guest, while it is here.
    guest: Option<Arc<Machine>>,
    is_verified: bool,
    /// Whether nothing of an earlier attempt can be under way on the connection.
    is_clean: bool,
    has_connected: bool,
}

impl Worker<'_> {
    /// Does everything in its order, as far as attempts complete.
    fn work(mut self) -> Result<Ending, UnitError> {
        let mut outcome = Ok(Outcome::Completed);
        for deed in &self.unit.deeds {
            outcome = match deed {
                Deed::Start => self.start(),
                Deed::Send => self.send(),
                Deed::Receive => Ok(self.receive()),
                Deed::Run(time) => {
                    thread::sleep(*time);
                    Ok(Outcome::Completed)
                }
            };
            if !matches!(outcome, Ok(Outcome::Completed)) {
                break;
            }
        }
        if let Some(machine) = self.guest.take() {
            machine.stop();
            self.look("The guest ends here", &machine);
        }
        self.processors.end();
        Ok(Ending { outcome: outcome?, is_verified: self.is_verified })
    }

    /// Says something that no console says.
    fn remark(&self, text: String) {
        send(&self.events, Event::Remark(Stamp::now(), text));
    }

    /// Judges the guest, and gives how many pages it has swept.
    fn look(&mut self, when: &str, machine: &Machine) -> u64 {
        let Verdict { faults, fault_count, counts, .. } = check(machine, &self.cluster.plan, &[]);
        let found = match faults.first() {
            None => "no fault".to_owned(),
            Some(first) => format!("{fault_count} faults, the first: {first}"),
        };
        self.is_verified &= fault_count == 0;
        self.remark(format!("{when}: {} pages swept, {found}", counts.swept));
        counts.swept
    }

    fn start(&mut self) -> Result<Outcome, UnitError> {
        let vm = self.config.vm.name;
        if let Some(file) = &mut self.file {
            file.begin(vm, self.unit.name).map_err(UnitError::File)?;
        }
        self.own_epoch()?;
        let (_, machine) = self.cluster.create_vm(self.config).map_err(UnitError::Guest)?;
        self.processors.drive(&machine);
        machine.resume(self.clock.now());
        self.processors.wake();
        self.remark(format!("{vm} runs on {}", self.unit.name));
        self.guest = Some(machine);
        Ok(Outcome::Completed)
    }

    /// The epoch under which the VM runs here, as the record has it.
    fn own_epoch(&mut self) -> Result<Epoch, UnitError> {
        let access = self.access.as_mut().ok_or(UnitError::Unreachable)?;
        access.start_read(self.config.vm.name).map_err(|_| UnitError::Unreachable)?;
        let answer = loop {
            if let Some(answer) = access.poll_answer() {
                break answer;
            }
            thread::sleep(Duration::from_micros(200));
        };
        match answer {
            DirectoryAnswer::Record(record)
                if record == Ownership::running(self.unit.name, record.epoch) =>
            {
                Ok(record.epoch)
            }
            DirectoryAnswer::Record(record) | DirectoryAnswer::Lost(record) => {
                Err(UnitError::NotOwned(Box::new(record)))
            }
            DirectoryAnswer::Missing => Err(UnitError::NoRecord),
            DirectoryAnswer::Won | DirectoryAnswer::Unreachable => Err(UnitError::Unreachable),
        }
    }

    /// Waits until the link is connected. Who opens connections opens one for each attempt of its
    /// own; who does not takes what comes.
    fn connect(&mut self, opens: bool) {
        let keeps = self.is_clean && !opens;
        self.is_clean = false;
        let Some(link) = self.link.as_mut().filter(|_| !keeps) else {
            return;
        };
        link.reconnect();
        if matches!(self.unit.link, Endpoint::Connect(_)) && self.has_connected {
            thread::sleep(SETTLE);
        }
        while !link.poll_connected() {
            link.wait(false, WAIT);
        }
        self.has_connected = true;
    }

    /// The link and the directory for one attempt.
    fn lend(&mut self, side: Side, faults: &Arc<Faults>) -> Option<(WatchedLink, WatchedAccess)> {
        let (link, access) = self.link.take().zip(self.access.take())?;
        let link = WatchedLink::new(link, Arc::clone(faults), self.config.vm.memory);
        Some((link, WatchedAccess::new(access, Arc::clone(faults), side)))
    }

    fn faults(&self) -> Arc<Faults> {
        let events = self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::new(Faults::new(&[], self.clock, events.clone()))
    }

    /// Moves the guest to the peer.
    fn send(&mut self) -> Result<Outcome, UnitError> {
        let epoch = self.own_epoch()?;
        let vm = self.config.vm.name;
        let block = self.su.vm(VmId::Name(vm)).ok_or(UnitError::NoRecord)?;
        let machine = self.guest.clone().ok_or(UnitError::Order("the guest is not here"))?;
        let request = Request { vm: VmSelector::Index(block.index()), target: self.unit.peer };
        self.hub.line(ConsoleName::Source, &command_line(&block, &request));
        self.connect(matches!(self.unit.link, Endpoint::Connect(_)));
        let end = self.run_source(epoch, block, &machine)?;
        let outcome = outcome(&end);
        self.is_clean = outcome == Outcome::Completed;
        if self.is_clean {
            let last = machine.last_step_at().map_or(0, |at| at.get());
            let passes = end.statistics.passes.len();
            let ms = end.ended.since(end.began).get() / 1000;
            self.remark(format!("Sent in {ms} ms and {passes} passes; last step at {last} us"));
            self.guest = None;
        } else {
            let reason = end.reason.map_or("unknown", Reason::text);
            self.remark(format!("Not sent: {reason}"));
        }
        self.look("The guest as it is here", &machine);
        Ok(outcome)
    }

    fn run_source(
        &mut self,
        epoch: Epoch,
        block: VmBlock,
        machine: &Arc<Machine>,
    ) -> Result<End, UnitError> {
        let faults = self.faults();
        let (link, directory) = self.lend(Side::Source, &faults).ok_or(UnitError::Unreachable)?;
        let stream = StreamId::new(unique_stamp());
        let course = Course { source: self.unit.name, target: self.unit.peer, epoch, stream };
        let events = self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let mut source = SourceEnd {
            attempt: attempt(self.config, course, &block),
            block: machine.frozen(block),
            machine: Arc::clone(machine),
            entries: Vec::new(),
            link,
            console: HubConsole::new(Arc::clone(&self.hub), ConsoleName::Source),
            directory,
            journal: Kept::Memory(Default::default()),
            decision: None,
            faults,
            processors: &self.processors,
            clock: self.clock,
            events,
        };
        let (cluster, su) = (Arc::clone(&self.cluster), Arc::clone(&self.su));
        let end = source.serve(SuMonitor::new(cluster, su, Some(block), Box::new(AtOnce)));
        let SourceEnd { link, directory, .. } = source;
        (self.link, self.access) = (Some(link.into_link()), Some(directory.into_access()));
        Ok(end)
    }

    /// Waits for a move and takes the guest. A connection that is lost before the guest was set up
    /// is none that anybody waits for.
    fn receive(&mut self) -> Outcome {
        self.remark(format!("{} waits for a move", self.unit.name));
        loop {
            self.connect(false);
            let faults = self.faults();
            let Some(end) = self.run_target(&faults) else {
                return Outcome::Aborted;
            };
            let outcome = outcome(&end);
            self.is_clean = outcome == Outcome::Completed;
            match (faults.copy(), end.reason) {
                (Some(machine), _) if self.is_clean => self.arrived(machine),
                (None, Some(Reason::LinkLost)) => continue,
                (_, reason) => {
                    let reason = reason.map_or("unknown", Reason::text);
                    self.remark(format!("Not received: {reason}"));
                }
            }
            return outcome;
        }
    }

    fn run_target(&mut self, faults: &Arc<Faults>) -> Option<End> {
        let (link, directory) = self.lend(Side::Target, faults)?;
        let incarnation = Incarnation::new(unique_stamp());
        let mut reception = Reception::new(self.unit.name, incarnation, PageCount::new(1 << 32));
        reception.limits = limits(self.config);
        let mut target = TargetEnd {
            reception,
            devices: Vec::new(),
            link,
            console: HubConsole::new(Arc::clone(&self.hub), ConsoleName::Target),
            directory,
            journal: Kept::Memory(Default::default()),
            faults: Arc::clone(faults),
            processors: &self.processors,
            clock: self.clock,
        };
        let workshop = Box::new(LiveWorkshop { processors: Arc::clone(&self.processors) });
        let (cluster, su) = (Arc::clone(&self.cluster), Arc::clone(&self.su));
        let end = target.serve(SuMonitor::new(cluster, su, None, workshop));
        let TargetEnd { link, directory, .. } = target;
        (self.link, self.access) = (Some(link.into_link()), Some(directory.into_access()));
        Some(end)
    }

    /// The guest has come: it has to be right, and to go on.
    fn arrived(&mut self, machine: Arc<Machine>) {
        let first = machine.first_step_at().map_or(0, |at| at.get());
        self.remark(format!("Received; first step at {first} us"));
        let before = self.look("The guest as it has come", &machine);
        thread::sleep(LOOK);
        let after = self.look("The guest a moment later", &machine);
        if after <= before {
            self.is_verified = false;
            self.remark("The guest does not go on".to_owned());
        }
        self.guest = Some(machine);
    }
}

/// How an attempt ended, as this end knows it.
const fn outcome(end: &End) -> Outcome {
    match (end.disposition, end.reason) {
        (Disposition::RunsAtTarget, _) => Outcome::Completed,
        (Disposition::RunsAtSource, Some(Reason::Rejected)) => Outcome::Rejected,
        (Disposition::RunsAtSource, _) => Outcome::Aborted,
        (Disposition::HeldAtSource | Disposition::HeldAtTarget, _) => Outcome::InDoubt,
    }
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
