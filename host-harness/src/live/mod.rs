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
    num::NonZeroU32,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use monitor_core::{
    migrate::{Circumstances, Reception, admit},
    units::{Epoch, Incarnation, PageCount, StreamId},
    vm::{Activity, Disposition, Findings, Reason, VmBlock, VmId},
};

use self::{
    directory::Records,
    faults::{Faults, Side},
    monitor::Kept,
    processors::Processors,
    report::{Ends, Outcomes},
    source::SourceEnd,
    target::TargetEnd,
    watch::{WatchedAccess, WatchedLink},
};
use crate::{
    cluster::{
        AtOnce, BuildJob, Cluster, ConsoleHub, FileError, HubConsole, Su, SuMonitor, Witness,
        Workshop,
    },
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
    Scene::begin(config)?.act(config, request, true, observer)
}

/// Runs as many migrations of the configured VM as it says, there and back in turn, and judges
/// each of them. The first one that is not completed is the last one.
///
/// # Errors
/// Fails when one cannot be tried at all; every end of an attempt is a [`Report`].
pub fn migrate_repeatedly(
    config: &Config,
    request: &Request,
    observer: &mut dyn Observer,
) -> Result<Vec<Report>, LiveError> {
    let mut scene = Scene::begin(config)?;
    let (mut here, mut there) = (config.clone(), *request);
    let (mut reports, count) = (Vec::new(), config.trial.moves.map_or(1, NonZeroU32::get));
    for number in 1..=count {
        let report = scene.act(&here, &there, number == count, observer)?;
        let is_over = report.outcome != Outcome::Completed || !report.is_verified();
        reports.push(report);
        if is_over {
            break;
        }
        (here.vm.on, there.target) = (there.target, here.vm.on);
    }
    Ok(reports)
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

/// What lasts from one move to the next: the cluster, and the VM where it is.
struct Scene {
    cluster: Arc<Cluster>,
    records: Records,
    hub: Arc<dyn ConsoleHub>,
    block: VmBlock,
    machine: Arc<Machine>,
    epoch: Epoch,
    clock: Clock,
    processors: Arc<Processors>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    is_driven: bool,
}

impl Scene {
    /// The cluster of a configuration, and its VM, which does not run yet.
    fn begin(config: &Config) -> Result<Self, LiveError> {
        let (sender, events) = mpsc::channel();
        let hub = Arc::new(LiveHub { events: Mutex::new(sender.clone()) });
        let hub: Arc<dyn ConsoleHub> = hub;
        let (cluster, records) = directory::begin(config, &hub)?;
        let (block, machine) = cluster.create_vm(config).map_err(LiveError::Guest)?;
        let (epoch, clock) = (cluster.epoch(), Clock::start());
        let processors = Arc::new(Processors::new(clock));
        let is_driven = false;
        Ok(Self {
            cluster,
            records,
            hub,
            block,
            machine,
            epoch,
            clock,
            processors,
            sender,
            events,
            is_driven,
        })
    }

    /// One move; behind the last one nothing runs any more.
    fn act(
        &mut self,
        config: &Config,
        request: &Request,
        is_last: bool,
        observer: &mut dyn Observer,
    ) -> Result<Report, LiveError> {
        self.hub.line(ConsoleName::Source, &command_line(&self.block, request));
        let findings = admitted(&self.cluster, config, request, &self.block);
        let su = |name| self.cluster.su(name).cloned();
        let sus = su(&config.vm.on).zip(su(&request.target)).filter(|_| findings.is_empty());
        let Some(sus) = sus else {
            for line in rejection_lines(config, request, &findings) {
                self.hub.line(ConsoleName::Source, &line);
            }
            // Nobody but the guest has anything more to say.
            drop(self.sender.send(Event::Finished));
            show(&self.events, 1, observer);
            self.end();
            return Ok(rejected(config, request, &self.block, findings));
        };
        let (ends, witness, faults) = self.moved(config, request, sus, observer)?;
        let mut report = report::finish(config, request, self, &witness, &ends, is_last);
        report.faults = faults.report();
        match ends.target.machine {
            Some(target) if !is_last && report.outcome == Outcome::Completed => {
                self.go_on(request, target);
            }
            Some(_) | None => self.end(),
        }
        Ok(report)
    }

    /// Both monitors go to work.
    fn moved(
        &mut self,
        config: &Config,
        request: &Request,
        (source_su, target_su): (Arc<Su>, Arc<Su>),
        observer: &mut dyn Observer,
    ) -> Result<(Ends, SharedWitness, Arc<Faults>), LiveError> {
        let (clock, trial, cluster) = (self.clock, &config.trial, &self.cluster);
        let journal = |name| Kept::new(trial.journals.as_deref(), name).map_err(LiveError::Journal);
        let journals = (journal("source.journal")?, journal("target.journal")?);
        let faults = Arc::new(Faults::new(&trial.faults, clock, self.sender.clone()));
        let (here, there) = joined(config.link.kind, clock).map_err(LiveError::Link)?;
        let shape = Shape::of(&config.link);
        if !std::mem::replace(&mut self.is_driven, true) {
            drive(&self.processors, cluster, &self.machine, &self.block);
        }
        let processors = &self.processors;
        let workshop = Box::new(LiveWorkshop { processors: Arc::clone(processors) });
        let target_monitor = SuMonitor::new(Arc::clone(cluster), target_su, None, workshop);
        let source_monitor =
            SuMonitor::new(Arc::clone(cluster), source_su, Some(self.block), Box::new(AtOnce));
        let witness = target_monitor.witness();
        let stamp = clock::unique_stamp();
        let pages_max = PageCount::new(1 << 32);
        let mut reception = Reception::new(request.target, Incarnation::new(stamp), pages_max);
        reception.limits = limits(config);
        let course = Course {
            source: config.vm.on,
            target: request.target,
            epoch: self.epoch,
            stream: StreamId::new(stamp),
        };
        let memory = self.block.memory();
        let watch =
            |socket| WatchedLink::new(Shaped::new(socket, shape), Arc::clone(&faults), memory);
        let access = || self.records.access();
        let watched = |side| WatchedAccess::new(access(), Arc::clone(&faults), side);
        let target = TargetEnd {
            reception,
            devices: cluster.devices_on(&config.vm.on),
            link: watch(there),
            console: HubConsole::new(Arc::clone(&self.hub), ConsoleName::Target),
            directory: watched(Side::Target),
            journal: journals.1,
            faults: Arc::clone(&faults),
            processors,
            clock,
        };
        let source = SourceEnd {
            attempt: attempt(config, course, &self.block),
            block: self.machine.frozen(self.block),
            machine: Arc::clone(&self.machine),
            entries: cluster.entries(&config.vm.on, self.epoch),
            link: watch(here),
            console: HubConsole::new(Arc::clone(&self.hub), ConsoleName::Source),
            directory: watched(Side::Source),
            journal: journals.0,
            decision: trial.decision,
            faults: Arc::clone(&faults),
            processors,
            clock,
            events: self.sender.clone(),
        };
        let ends = work((source, source_monitor), (target, target_monitor), &self.events, observer);
        // What the guest still wrote while the threads came to their end.
        while let Ok(Event::Line(line)) = self.events.try_recv() {
            observer.line(&line);
        }
        let ends = ends.joined(processors);
        Ok((ends, witness, faults))
    }

    /// The guest, which was judged at the target, goes on there.
    fn go_on(&mut self, request: &Request, target: Arc<Machine>) {
        self.processors.retire(&self.machine);
        self.machine = target;
        self.epoch = self.epoch.next();
        let known = self.cluster.su(&request.target);
        let block = known.and_then(|su| su.vm(VmId::Name(self.block.name())));
        self.block = block.unwrap_or(self.block);
        self.machine.storage.stop_preserve();
        if runs(&self.block) {
            self.machine.resume(self.clock.now());
            self.processors.wake();
        }
        // How long the comparison took is no outage.
        self.cluster.forget_outage(self.clock.now());
    }

    /// Nothing runs any more.
    fn end(&self) {
        self.machine.stop();
        self.processors.end();
    }
}

/// Where the target's state before its first step is kept.
type SharedWitness = Arc<Mutex<Option<Witness>>>;

/// Whether the guest is to run.
fn runs(block: &VmBlock) -> bool {
    block.state().activity() == Activity::Running
}

/// Starts the threads of the guest and of its network; the guest runs if its state says so.
fn drive(processors: &Processors, cluster: &Arc<Cluster>, machine: &Arc<Machine>, block: &VmBlock) {
    processors.drive(machine);
    processors.drive_network(cluster);
    if runs(block) {
        machine.resume(processors.now());
    }
}

/// Both monitors at work, each in its thread.
fn work(
    (source, source_monitor): (SourceEnd<'_>, SuMonitor),
    (target, target_monitor): (TargetEnd<'_>, SuMonitor),
    events: &mpsc::Receiver<Event>,
    observer: &mut dyn Observer,
) -> Outcomes {
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
        Outcomes { source: source.join(), target: target.join() }
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
        let cluster = Cluster::new(&config, &hub).unwrap();
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
