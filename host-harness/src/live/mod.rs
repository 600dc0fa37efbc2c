//! Live migrations: both SUs as threads with their own memory, joined by a real socket.
//!
//! Five kinds of threads: the monitor of the source, the monitor of the target, one for each
//! virtual processor of either copy, and the caller's, which shows what the others report. The
//! core, the machines and the guests are the same as in the simulator; only clocks, threads and
//! sockets are here.
//!
//! Source of truth: `monitor_core::driver` for how a driver is run. Invariants: lines reach the
//! observer in the order in which they were written; every thread ends before [`migrate`] does;
//! every wait is bounded. Deliberately not here: decisions about a migration.

mod clock;
mod directory;
mod faults;
mod journal;
mod link;
mod monitor;
mod processors;
mod report;
mod server;
mod socket;
mod source;
mod target;
mod unit;
mod watch;
mod wire;

pub use clock::Clock;
pub use journal::JournalFile;
pub use link::{Shape, Shaped};
pub use server::{Endpoint, Mishap, Server, ServerError};
pub use socket::{LinkError, SocketKind, SocketLink, connected};
pub use unit::{Deed, Ending, Unit, UnitError, run_unit};
pub use wire::{CtcWire, Wire, joined};

use std::{
    io,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use monitor_core::{
    migrate::{Circumstances, Reception, admit},
    units::{Incarnation, PageCount, StreamId},
    vm::{Disposition, Findings, Reason, VmBlock, VmId},
};

use self::{
    directory::Records,
    faults::{Faults, Side},
    monitor::Kept,
    processors::Processors,
    report::Ends,
    source::SourceEnd,
    target::TargetEnd,
    watch::{WatchedAccess, WatchedLink},
};
use crate::{
    cluster::{AtOnce, BuildJob, Cluster, ConsoleHub, FileError, HubConsole, SuMonitor, Workshop},
    config::{Config, Request, VmSelector},
    console::{ConsoleLine, ConsoleName, Observer, Outcome, Progress, Report, Stamp},
    machine::Machine,
    plan::{Course, attempt, limits, rejection_lines},
    workload::IplError,
};

/// Why a migration could not even be tried.
#[derive(Debug)]
pub enum LiveError {
    /// The guest does not fit its VM.
    Guest(IplError),
    /// The ownership record of the VM is not to be had.
    Directory(FileError),
    /// There is no connection to be had on this machine.
    Link(io::Error),
    /// The journals cannot be kept where they are to be.
    Journal(io::Error),
}

impl std::fmt::Display for LiveError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Guest(error) => write!(formatter, "the guest cannot be started: {error}"),
            Self::Directory(error) => error.fmt(formatter),
            Self::Journal(error) => write!(formatter, "the journals cannot be kept: {error}"),
            Self::Link(error) => write!(formatter, "no link between the monitors: {error}"),
        }
    }
}

impl std::error::Error for LiveError {}

/// What the threads tell the caller's.
#[derive(Debug)]
enum Event {
    Line(ConsoleLine),
    Progress(Progress),
    Fault(Stamp, String),
    Remark(Stamp, String),
    Finished,
}

/// A hub that stamps lines and passes them to the caller's thread.
#[derive(Debug)]
struct LiveHub {
    events: Mutex<mpsc::Sender<Event>>,
}

impl ConsoleHub for LiveHub {
    fn line(&self, console: ConsoleName, text: &str) {
        let line = ConsoleLine { console, stamp: Stamp::now(), text: text.to_owned() };
        send(&self.events, Event::Line(line));
    }
}

/// Sends an event; nobody listens any more only when the migration is over.
fn send(events: &Mutex<mpsc::Sender<Event>>, event: Event) {
    let events = events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    drop(events.send(event));
}

/// Sets machines up in a thread of their own, and steps them in others.
struct LiveWorkshop {
    processors: Arc<Processors>,
}

impl Workshop for LiveWorkshop {
    fn build(&self, job: BuildJob) {
        self.processors.spawn(job);
    }

    fn built(&self, machine: &Arc<Machine>) {
        self.processors.drive(machine);
    }
}

/// Runs one migration of the configured VM and judges it.
///
/// # Errors
/// Fails when it cannot be tried at all; every end of an attempt is a [`Report`].
pub fn migrate(
    config: &Config,
    request: &Request,
    observer: &mut dyn Observer,
) -> Result<Report, LiveError> {
    let (sender, events) = mpsc::channel();
    let hub = Arc::new(LiveHub { events: Mutex::new(sender.clone()) });
    let hub: Arc<dyn ConsoleHub> = hub;
    let (cluster, records) = directory::begin(config, &hub).map_err(LiveError::Directory)?;
    let (block, machine) = cluster.create_vm(config).map_err(LiveError::Guest)?;
    hub.line(ConsoleName::Source, &command_line(&block, request));
    let findings = admitted(&cluster, config, request, &block);
    if findings.is_empty() {
        let shared = (&cluster, &records);
        return run(config, request, shared, &hub, &block, &machine, (sender, events), observer);
    }
    for line in rejection_lines(config, request, &findings) {
        hub.line(ConsoleName::Source, &line);
    }
    // Nobody has anything more to say: the last senders go, so that showing ends.
    drop((cluster, machine, hub, sender));
    show(&events, 2, observer);
    Ok(rejected(config, request, &block, findings))
}

/// The command as the operator types it.
fn command_line(block: &VmBlock, request: &Request) -> String {
    let vm = match request.vm {
        VmSelector::Index(index) => index.to_string(),
        VmSelector::Name(name) if name == block.name() => block.index().to_string(),
        VmSelector::Name(name) => name.to_string(),
    };
    format!("MIGRATE-VM VM-ID={vm},SERVER-UNIT-NAME={}", request.target)
}

/// What the part of the check finds that the source makes alone.
fn admitted(
    cluster: &Cluster,
    config: &Config,
    request: &Request,
    configured: &VmBlock,
) -> Findings {
    let id = match request.vm {
        VmSelector::Index(index) => VmId::Index(index),
        VmSelector::Name(name) => VmId::Name(name),
    };
    let mut findings = Findings::new();
    let source = cluster.su(&config.vm.on);
    let block = source.and_then(|su| su.vm(id));
    let is_sending = source.is_some_and(|su| su.is_sending(id));
    let target_is_known = request.target != config.vm.on && cluster.su(&request.target).is_some();
    admit(block.as_ref(), Circumstances { target_is_known, is_sending }, &mut findings);
    // Other VMs of an SU only take their names; there is nothing of them to be moved.
    let other = block.is_some_and(|block| {
        block.index() != configured.index()
            && block.index() != monitor_core::units::VmIndex::MONITOR
    });
    if other {
        findings.add(monitor_core::vm::Obstacle::VmUnknown);
    }
    findings
}

fn rejected(config: &Config, request: &Request, block: &VmBlock, findings: Findings) -> Report {
    let label = request.vm_label(config);
    let mut report = Report::new(Outcome::Rejected, label, config.vm.on, request.target);
    report.reason = Some(Reason::Rejected);
    report.findings = findings;
    if request.is_configured(config) {
        report.guest = Some(crate::console::Guest::On(config.vm.on));
        report.memory_bytes = block.memory().bytes().get();
    }
    report
}

/// The VM exists and the target is known: both monitors go to work.
#[expect(clippy::too_many_arguments, reason = "it joins everything that was made before")]
fn run(
    config: &Config,
    request: &Request,
    shared: (&Arc<Cluster>, &Records),
    hub: &Arc<dyn ConsoleHub>,
    block: &VmBlock,
    machine: &Arc<Machine>,
    (sender, events): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    observer: &mut dyn Observer,
) -> Result<Report, LiveError> {
    let (cluster, records) = shared;
    let clock = Clock::start();
    let trial = &config.trial;
    let journal = |name| Kept::new(trial.journals.as_deref(), name).map_err(LiveError::Journal);
    let journals = (journal("source.journal")?, journal("target.journal")?);
    let faults = Arc::new(Faults::new(&trial.faults, clock, sender.clone()));
    let (here, there) = joined(config.link.kind, clock).map_err(LiveError::Link)?;
    let shape = Shape::of(&config.link);
    let processors = driven(cluster, machine, block, clock);
    let su = |name| cluster.su(name).cloned();
    let (Some(source_su), Some(target_su)) = (su(&config.vm.on), su(&request.target)) else {
        return Ok(rejected(config, request, block, Findings::new()));
    };
    let workshop = Box::new(LiveWorkshop { processors: Arc::clone(&processors) });
    let target_monitor = SuMonitor::new(Arc::clone(cluster), target_su, None, workshop);
    let source_monitor =
        SuMonitor::new(Arc::clone(cluster), source_su, Some(*block), Box::new(AtOnce));
    let witness = target_monitor.witness();
    let stamp = clock::unique_stamp();
    let pages_max = PageCount::new(1 << 32);
    let mut reception = Reception::new(request.target, Incarnation::new(stamp), pages_max);
    reception.limits = limits(config);
    let course = Course {
        source: config.vm.on,
        target: request.target,
        epoch: cluster.epoch(),
        stream: StreamId::new(stamp),
    };
    let watch =
        |socket| WatchedLink::new(Shaped::new(socket, shape), Arc::clone(&faults), block.memory());
    let watched = |side| WatchedAccess::new(records.access(), Arc::clone(&faults), side);
    let target = TargetEnd {
        reception,
        devices: cluster.devices_on(&config.vm.on),
        link: watch(there),
        console: HubConsole::new(Arc::clone(hub), ConsoleName::Target),
        directory: watched(Side::Target),
        journal: journals.1,
        faults: Arc::clone(&faults),
        processors: &processors,
        clock,
    };
    let source = SourceEnd {
        attempt: attempt(config, course, block),
        block: machine.frozen(*block),
        machine: Arc::clone(machine),
        entries: cluster.entries(&config.vm.on, cluster.epoch()),
        link: watch(here),
        console: HubConsole::new(Arc::clone(hub), ConsoleName::Source),
        directory: watched(Side::Source),
        journal: journals.0,
        decision: trial.decision,
        faults: Arc::clone(&faults),
        processors: &processors,
        clock,
        events: sender,
    };
    let ends = work((source, source_monitor), (target, target_monitor), &events, observer);
    // What the guest still wrote while the threads came to their end.
    while let Ok(Event::Line(line)) = events.try_recv() {
        observer.line(&line);
    }
    let mut report =
        report::finish(config, request, shared, block, machine, &processors, &witness, ends);
    report.faults = faults.report();
    Ok(report)
}

/// The threads of the guest and of its network; the guest runs if its state says so.
fn driven(
    cluster: &Arc<Cluster>,
    machine: &Arc<Machine>,
    block: &VmBlock,
    clock: Clock,
) -> Arc<Processors> {
    let processors = Arc::new(Processors::new(clock));
    processors.drive(machine);
    processors.drive_network(cluster);
    if block.state().activity() == monitor_core::vm::Activity::Running {
        machine.resume(clock.now());
    }
    processors
}

/// Both monitors at work, each in its thread.
fn work(
    (source, source_monitor): (SourceEnd<'_>, SuMonitor),
    (target, target_monitor): (TargetEnd<'_>, SuMonitor),
    events: &mpsc::Receiver<Event>,
    observer: &mut dyn Observer,
) -> Ends {
    let farewells = [(); 2].map(|()| Farewell(source.events.clone()));
    thread::scope(|scope| {
        let [here, there] = farewells;
        let target = scope.spawn(move || {
            let _there = there;
            target.run(target_monitor)
        });
        let source = scope.spawn(move || {
            let _here = here;
            source.run(source_monitor)
        });
        show(events, 2, observer);
        Ends { source: source.join(), target: target.join() }
    })
}

/// Tells the caller's thread of the end of another one, a panic included.
struct Farewell(mpsc::Sender<Event>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens any more only when the run is over.
        drop(self.0.send(Event::Finished));
    }
}

/// Shows what the threads report, until so many have finished or all are gone.
fn show(events: &mpsc::Receiver<Event>, mut monitors: u32, observer: &mut dyn Observer) {
    while monitors > 0
        && let Ok(event) = events.recv()
    {
        match event {
            Event::Line(line) => observer.line(&line),
            Event::Progress(progress) => observer.progress(&progress),
            Event::Fault(stamp, text) => observer.fault(stamp, &text),
            Event::Remark(stamp, text) => observer.remark(stamp, &text),
            Event::Finished => monitors -= 1,
        }
    }
}

/// Whether the guest is where a disposition says, for whom only wants the SU.
const fn is_at_target(disposition: Disposition) -> bool {
    matches!(disposition, Disposition::RunsAtTarget | Disposition::HeldAtTarget)
}

#[cfg(test)]
mod tests {
    use monitor_core::{
        units::SuName,
        vm::{MigrationMark, Obstacle},
    };

    use super::*;
    use crate::config::Overrides;

    #[derive(Debug)]
    struct Nobody;

    impl ConsoleHub for Nobody {
        fn line(&self, _console: ConsoleName, _text: &str) {}
    }

    /// What the source finds, and says, about a request for the configured VM.
    fn rejection(target: &str, mark: MigrationMark) -> (Vec<Obstacle>, Vec<String>) {
        let memory = Some(PageCount::new(2048));
        let config = Config::load(None, &Overrides { memory, ..Overrides::default() }).unwrap();
        let hub: Arc<dyn ConsoleHub> = Arc::new(Nobody);
        let cluster = Cluster::new(&config, &hub);
        let (block, _machine) = cluster.create_vm(&config).unwrap();
        let marked = block.with_state(block.state().with_mark(mark).unwrap());
        assert!(cluster.su(&config.vm.on).unwrap().update(marked));
        let target = SuName::new(target).unwrap();
        let request = Request { vm: VmSelector::Name(block.name()), target };
        let findings = admitted(&cluster, &config, &request, &block);
        let found = findings.listed().iter().map(|finding| finding.obstacle).collect();
        (found, rejection_lines(&config, &request, &findings))
    }

    #[test]
    fn a_vm_that_is_being_migrated_is_not_moved_and_all_reasons_are_said() {
        assert_eq!(rejection("ABGSE701", MigrationMark::None).0, []);
        let (found, lines) = rejection("NOWHERE", MigrationMark::Outgoing);
        assert_eq!(found, [Obstacle::AlreadyMigrating, Obstacle::TargetUnknown]);
        let rejected = "% VMS2404 LIVE MIGRATION OF VM (12,VM12PROD) REJECTED BY SOURCE SU";
        assert_eq!(lines[0], format!("{rejected} 'ABGSE501'. REASON: VMS3042"));
        assert_eq!(lines[1], format!("{rejected} 'ABGSE501'. REASON: VMS2400"));
    }
}
