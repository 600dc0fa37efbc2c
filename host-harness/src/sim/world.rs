//! A world of SUs with one VM, and attempts to move it.
//!
//! Invariants: see [`super`]. A round is a span of virtual time in which every processor, the
//! channel subsystems and both drivers take a step, always in the same order. The VM's place,
//! machine and epoch are kept from one attempt to the next.

use std::sync::{Arc, Mutex, PoisonError};

use monitor_core::{
    device::DeviceEntry,
    driver::{BUFFER_BYTES, Ports, SourceDriver, SourceMemory, TargetDriver, TargetMemory},
    migrate::{Reception, SentRun, Source, SourcePhase, Statistics, Target, TargetPhase},
    units::{Epoch, Incarnation, Micros, PageCount, StreamId, SuName, Tick},
    vm::{Activity, Disposition, Findings, Ownership, Reason, VmBlock, VmId},
};

use super::{
    pipe::Direction,
    wire::{Wire, WireEnd, WireKind},
};
use crate::{
    cluster::{
        AtOnce, Cluster, ConsoleHub, DirectoryPort, FIRST_EPOCH, HubConsole, Judgement, SuMonitor,
        judge,
    },
    config::Config,
    console::{ConsoleLine, ConsoleName, Stamp, Verified},
    machine::{Crc32c, Machine, VmPorts},
    plan,
    workload::{IplError, Sight},
};

/// Virtual time of one round.
const ROUND: Micros = Micros::new(50);

/// Virtual time of one round in which only time is to pass.
const LONG_ROUND: Micros = Micros::from_millis(5);

/// Work of one processor in one round.
const STEP_BUDGET: u32 = 16;

/// Rounds until an attempt has to have ended: two virtual minutes.
const ROUNDS_MAX: u64 = 2_400_000;

/// Rounds that the guest runs on after an attempt.
const AFTERGLOW_ROUNDS: u64 = 400;

/// Frames that may be under way.
const WINDOW: usize = 16;

/// Slots for devices on the target.
const DEVICE_SLOTS: usize = 64;

/// Where the lines of a world go: a list.
#[derive(Debug, Default)]
pub struct SimHub {
    lines: Mutex<Vec<ConsoleLine>>,
}

impl SimHub {
    /// All lines since the last call, in the order in which they were written.
    pub fn take(&self) -> Vec<ConsoleLine> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ConsoleHub for SimHub {
    fn line(&self, console: ConsoleName, text: &str) {
        let line = ConsoleLine { console, stamp: Stamp::from_seconds(0), text: text.to_owned() };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// When the link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As soon as the source is in this phase.
    InSourcePhase(SourcePhase),
    /// As soon as the target is in this phase.
    InTargetPhase(TargetPhase),
    /// In this round.
    AtRound(u64),
    /// When so many bytes have passed in a direction.
    AfterBytes(Direction, u64),
}

/// What happens to an attempt beside itself.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What the ends talk over.
    pub wire: WireKind,
    /// The link is cut.
    pub cut: Option<Cut>,
    /// A link that is lost comes back; otherwise the first loss is for good.
    pub comes_back: bool,
    /// A byte of the stream is wrong: direction, place, mask.
    pub wrong_byte: Option<(Direction, u64, u8)>,
    /// Bytes that stand in a direction before anything is sent.
    pub foreign: Option<(Direction, Vec<u8>)>,
    /// The operator cancels when the source is in this phase.
    pub cancel: Option<SourcePhase>,
    /// The directory cannot be reached while the source is in this phase, or behind it.
    pub directory_gone: Option<SourcePhase>,
    /// The directory can be reached again after so many rounds.
    pub directory_back_after: u64,
    /// Bytes that the link carries in a round, in each direction.
    pub bytes_per_round: usize,
    /// From this phase of the source on the link is open and carries nothing.
    pub stall: Option<SourcePhase>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            wire: WireKind::Pipe,
            cut: None,
            comes_back: false,
            wrong_byte: None,
            foreign: None,
            cancel: None,
            directory_gone: None,
            directory_back_after: 40_000,
            bytes_per_round: 64 << 10,
            stall: None,
        }
    }
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Course {
    /// The source's phase at the end.
    pub source: SourcePhase,
    /// The target's phase at the end.
    pub target: TargetPhase,
    /// Why it failed, as the source says.
    pub reason: Option<Reason>,
    /// Why it failed, as the target says.
    pub target_reason: Option<Reason>,
    /// Where the guest is, as the source says.
    pub disposition: Disposition,
    /// What the check found.
    pub findings: Findings,
    /// What was measured.
    pub statistics: Statistics,
    /// The lines of all consoles in their order.
    pub lines: Vec<ConsoleLine>,
    /// Rounds that it took.
    pub rounds: u64,
    /// Rounds in which the guest ran on both SUs: none may there be.
    pub rounds_run_twice: u64,
    /// How long after the stop of the guest each device was quiet.
    pub drains: Vec<Micros>,
    /// The comparison of both sides, when the move completed.
    pub verified: Option<Verified>,
}

/// Where an attempt stands in one of its rounds.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse {
    /// The source's phase.
    pub source: SourcePhase,
    /// The target's phase.
    pub target: TargetPhase,
}

/// Who is shown each round of an attempt.
pub type Watch<'a> = &'a mut dyn FnMut(&Glimpse);

type Driver<'s> = SourceDriver<'s, VmPorts, WireEnd, DirectoryPort, HubConsole, Crc32c>;
type Receiver<'s> = TargetDriver<'s, VmPorts, WireEnd, DirectoryPort, HubConsole, Crc32c>;

/// SUs, one VM, and where it is.
#[derive(Debug)]
pub struct World {
    config: Config,
    cluster: Arc<Cluster>,
    hub: Arc<SimHub>,
    block: VmBlock,
    /// The copy of the VM that may run.
    pub machine: Arc<Machine>,
    /// The SU where it is.
    pub at: SuName,
    /// The epoch under which it is there.
    pub epoch: Epoch,
    now: Tick,
    attempts: u64,
}

impl World {
    /// The world of a configuration, with its guest running if its state says so.
    ///
    /// # Errors
    /// Fails when the guest does not fit its VM, or the image file of a disk cannot be used.
    pub fn new(config: &Config) -> Result<Self, IplError> {
        let hub = Arc::new(SimHub::default());
        let shared: Arc<dyn ConsoleHub> = Arc::<SimHub>::clone(&hub);
        let cluster = Cluster::new(config, &shared)?;
        let (block, machine) = cluster.create_vm(config)?;
        let now = Tick::new(1_000_000);
        if block.state().activity() == Activity::Running {
            machine.resume(now);
        }
        let at = config.vm.on;
        let config = config.clone();
        let epoch = FIRST_EPOCH;
        Ok(Self { config, cluster, hub, block, machine, at, epoch, now, attempts: 0 })
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// What the stations on the LAN lines have seen of the guest, if there are any.
    #[must_use]
    pub fn network(&self) -> Option<Sight> {
        self.cluster.network(self.now)
    }

    /// Lets the guest run for so many rounds.
    pub fn run(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.now = self.now.after(ROUND);
            self.cluster.step_network(self.now);
            step_machine(&self.machine, self.now);
        }
    }

    /// Lets time pass in which the guest hardly gets to work: what waits for a time comes to its
    /// end.
    pub fn pass(&mut self, span: Micros) {
        let end = self.now.after(span);
        while self.now < end {
            self.now = self.now.after(LONG_ROUND);
            self.cluster.step_network(self.now);
            step_machine(&self.machine, self.now);
        }
    }

    /// The time in the world.
    #[must_use]
    pub const fn now(&self) -> Tick {
        self.now
    }

    /// Tries to move the VM to `target`.
    ///
    /// # Panics
    /// When the target is no SU of the world, or the attempt does not end.
    pub fn attempt(&mut self, target: SuName, scenario: &Scenario) -> Course {
        self.attempt_watched(target, scenario, &mut |_| ())
    }

    /// As [`Self::attempt`]; in each round, `watch` is shown where the attempt stands.
    ///
    /// # Panics
    /// When the target is no SU of the world, or the attempt does not end.
    pub fn attempt_watched(
        &mut self,
        target: SuName,
        scenario: &Scenario,
        watch: Watch<'_>,
    ) -> Course {
        let (wire, here, there) = Wire::new(scenario.wire);
        prepare(&wire, scenario);
        // What an SU has lost of it at an earlier move is lost from here on.
        let block = self.cluster.su(&self.at).and_then(|su| su.vm(VmId::Name(self.block.name())));
        self.block = block.unwrap_or(self.block);
        let (source_machine, entries) =
            (Arc::clone(&self.machine), self.cluster.entries(&self.at, self.epoch));
        let target_monitor = self.monitor(&target, None);
        let witness = target_monitor.witness();
        let mut attempt = Attempt::new(self, &wire, scenario, watch);
        let (course, target_machine) = attempt.run(
            (here, there),
            (self.monitor(&self.at, Some(self.block)), target_monitor),
            (&source_machine, entries),
            target,
        );
        let (now, epoch) = (attempt.now, attempt.epoch);
        source_machine.thaw();
        self.now = now;
        self.attempts += 1;
        let mut course = course;
        if let (Disposition::RunsAtTarget, Some(machine)) = (course.disposition, target_machine) {
            self.machine = machine;
            self.at = target;
            self.epoch = self.epoch.next();
            self.run(AFTERGLOW_ROUNDS);
            let was_running = self.machine.is_running();
            self.machine.stop();
            let witness = witness.lock().unwrap_or_else(PoisonError::into_inner).clone();
            course.verified = Some(judge(&Judgement {
                cluster: &self.cluster,
                vm: self.block.name(),
                owner: Ownership::running(target, self.epoch),
                record: self.cluster.directory().record(self.block.name()),
                source: &source_machine,
                target: &self.machine,
                witness: witness.as_ref(),
                guest_runs: was_running,
            }));
            self.machine.storage.stop_preserve();
            if was_running {
                self.machine.resume(self.now);
            }
        } else {
            self.epoch = epoch;
            self.run(AFTERGLOW_ROUNDS);
        }
        course.lines = self.hub.take();
        course
    }

    fn monitor(&self, su: &SuName, vm: Option<VmBlock>) -> SuMonitor {
        let known = self.cluster.su(su).cloned();
        let su = known.unwrap_or_else(|| panic!("{su} is no SU of this world"));
        SuMonitor::new(Arc::clone(&self.cluster), su, vm, Box::new(AtOnce))
    }
}

fn prepare(wire: &Wire, scenario: &Scenario) {
    if !scenario.comes_back {
        wire.sever();
    }
    let Some(pipe) = wire.pipe() else {
        return;
    };
    if let Some((direction, place, mask)) = scenario.wrong_byte {
        pipe.falsify(direction, place, mask);
    }
    if let Some((direction, bytes)) = &scenario.foreign {
        pipe.inject(*direction, bytes);
    }
    if let Some(Cut::AfterBytes(direction, bytes)) = scenario.cut {
        pipe.cut_after(direction, bytes);
    }
}

/// One attempt in its course.
struct Attempt<'w> {
    world: &'w World,
    wire: &'w Wire,
    scenario: &'w Scenario,
    watch: Watch<'w>,
    now: Tick,
    epoch: Epoch,
    rounds: u64,
    rounds_run_twice: u64,
    cancelled: bool,
    has_cut: bool,
    gone_since: Option<u64>,
    is_stalled: bool,
}

impl<'w> Attempt<'w> {
    const fn new(
        world: &'w World,
        wire: &'w Wire,
        scenario: &'w Scenario,
        watch: Watch<'w>,
    ) -> Self {
        Self {
            world,
            wire,
            scenario,
            watch,
            now: world.now,
            epoch: world.epoch,
            rounds: 0,
            rounds_run_twice: 0,
            cancelled: false,
            has_cut: false,
            gone_since: None,
            is_stalled: false,
        }
    }

    fn run(
        &mut self,
        (here, there): (WireEnd, WireEnd),
        (source_monitor, target_monitor): (SuMonitor, SuMonitor),
        (machine, mut entries): (&Arc<Machine>, Vec<DeviceEntry>),
        target: SuName,
    ) -> (Course, Option<Arc<Machine>>) {
        let world = self.world;
        let mut window: Vec<Option<SentRun>> = vec![None; WINDOW];
        let mut buffers = [const { Vec::new() }; 4].map(|_: Vec<u8>| vec![0; BUFFER_BYTES]);
        let [outgoing, incoming, outgoing_there, incoming_there] = &mut buffers;
        let memory = SourceMemory {
            pages: machine.storage.pages_map(),
            keys: machine.storage.keys_map(),
            window: &mut window,
            devices: &mut entries,
            outgoing,
            incoming,
        };
        let mut vm = VmPorts::new().with_monitor(Box::new(source_monitor));
        vm.install(Arc::clone(machine));
        let block = machine.frozen(world.block);
        let mut source = Driver::new(block, memory, self.ports(vm, here, ConsoleName::Source));
        let vacant = std::iter::repeat_with(DeviceEntry::vacant);
        let mut slots: Vec<_> = vacant.take(DEVICE_SLOTS).collect();
        let memory = TargetMemory {
            devices: &mut slots,
            outgoing: outgoing_there,
            incoming: incoming_there,
        };
        let vm = VmPorts::new().with_monitor(Box::new(target_monitor));
        let mut receiver = Receiver::new(
            self.reception(target),
            memory,
            self.ports(vm, there, ConsoleName::Target),
        );
        let course = plan::Course {
            source: world.at,
            target,
            epoch: world.epoch,
            stream: StreamId::new(world.attempts + 1),
        };
        let started = source.start(self.now, plan::attempt(&world.config, course, &world.block));
        assert!(started.is_ok(), "a new machine refuses an attempt");
        let target_machine = self.drive(&mut source, &mut receiver, machine);
        self.world.cluster.directory().set_unreachable(false);
        self.epoch = source.machine().epoch();
        let course = Course {
            drains: source.ports().vm.drains().to_vec(),
            ..self.course(&source, &receiver)
        };
        (course, target_machine)
    }

    fn ports<L>(
        &self,
        vm: VmPorts,
        link: L,
        console: ConsoleName,
    ) -> Ports<VmPorts, L, DirectoryPort, HubConsole, Crc32c> {
        let hub: Arc<dyn ConsoleHub> = Arc::<SimHub>::clone(&self.world.hub);
        Ports {
            vm,
            link,
            directory: DirectoryPort::new(Arc::clone(self.world.cluster.directory())),
            console: HubConsole::new(hub, console),
            checksum: Crc32c,
        }
    }

    fn reception(&self, target: SuName) -> Reception {
        // Incarnations are unique in this world: attempts are at most 1000 loads apart.
        let incarnation = Incarnation::new((self.world.attempts + 1) * 1000);
        let mut reception = Reception::new(target, incarnation, PageCount::new(1 << 32));
        reception.limits = plan::limits(&self.world.config);
        reception
    }

    /// Steps everything until both ends have ended; gives the target's machine.
    fn drive(
        &mut self,
        source: &mut Driver<'_>,
        receiver: &mut Receiver<'_>,
        machine: &Machine,
    ) -> Option<Arc<Machine>> {
        let mut built = None;
        loop {
            self.rounds += 1;
            assert!(self.rounds < ROUNDS_MAX, "the attempt does not end: {self:?}");
            self.now = self.now.after(ROUND);
            self.is_stalled |= self.scenario.stall == Some(source.machine().phase());
            self.wire.refill(if self.is_stalled { 0 } else { self.scenario.bytes_per_round });
            self.inflict(source, receiver);
            let phases = (source.machine().phase(), receiver.machine().phase());
            (self.watch)(&Glimpse { source: phases.0, target: phases.1 });
            self.world.cluster.step_network(self.now);
            step_machine(machine, self.now);
            source.ports().vm.set_now(self.now);
            source.ports().link.set_now(self.now);
            let waits = source.step(self.now);
            receiver.ports().vm.set_now(self.now);
            receiver.ports().link.set_now(self.now);
            let awaits = receiver.step(self.now);
            if let Some(machine) = receiver.ports().vm.machine() {
                step_machine(machine, self.now);
                built = Some(Arc::clone(machine));
            }
            let twice = built.as_ref().is_some_and(|there| there.is_running());
            self.rounds_run_twice += u64::from(twice && machine.is_running());
            let is_severed = !self.scenario.comes_back;
            let resting = waits.finished || (is_severed && is_at_rest(source.machine()));
            if waits.finished {
                // A source that has ended closes its end of the link.
                self.wire.cut();
            }
            if resting && (awaits.finished || is_over(receiver.machine())) {
                return built;
            }
        }
    }

    /// Lets the faults of the scenario happen whose moment has come.
    fn inflict(&mut self, source: &mut Driver<'_>, receiver: &Receiver<'_>) {
        let phase = source.machine().phase();
        let cut = match self.scenario.cut {
            Some(Cut::InSourcePhase(at)) => phase == at,
            Some(Cut::InTargetPhase(at)) => receiver.machine().phase() == at,
            Some(Cut::AtRound(round)) => self.rounds >= round,
            Some(Cut::AfterBytes(..)) | None => false,
        };
        if cut && !self.has_cut {
            self.has_cut = true;
            self.wire.cut();
        }
        if self.scenario.cancel == Some(phase) && !self.cancelled {
            self.cancelled = source.cancel(self.now).is_ok();
        }
        if self.scenario.directory_gone == Some(phase) {
            self.gone_since.get_or_insert(self.rounds);
        }
        if let Some(since) = self.gone_since {
            let gone = self.rounds < since + self.scenario.directory_back_after;
            self.world.cluster.directory().set_unreachable(gone);
        }
    }

    fn course(&self, source: &Driver<'_>, receiver: &Receiver<'_>) -> Course {
        Course {
            source: source.machine().phase(),
            target: receiver.machine().phase(),
            reason: source.machine().reason(),
            target_reason: receiver.machine().reason(),
            disposition: source.machine().disposition(),
            findings: source.findings().clone(),
            statistics: source.machine().statistics().clone(),
            lines: Vec::new(),
            rounds: self.rounds,
            rounds_run_twice: self.rounds_run_twice,
            drains: Vec::new(),
            verified: None,
        }
    }
}

impl std::fmt::Debug for Attempt<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Attempt")
            .field("scenario", self.scenario)
            .field("rounds", &self.rounds)
            .finish_non_exhaustive()
    }
}

/// One round of a machine.
fn step_machine(machine: &Machine, now: Tick) {
    machine.step_channel(now);
    for index in 0..machine.processor_count() {
        machine.step_processor(index, now, STEP_BUDGET);
    }
}

/// A source in doubt rests when only the target, over a link that is gone, could end the doubt.
fn is_at_rest(source: &Source) -> bool {
    source.phase() == SourcePhase::InDoubt && source.is_resolved() && !source.uses_link()
}

/// A target that has nothing more to do, whether it knows of the end of the link or not.
fn is_over(target: &Target) -> bool {
    matches!(target.phase(), TargetPhase::Dropped | TargetPhase::Completed | TargetPhase::Empty)
}
