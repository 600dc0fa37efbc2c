//! One machine, one move, and a hand that interferes at chosen moments between two port calls.
//!
//! A simulated world interferes between rounds. Some writes are lost only within one: between
//! the copy of a page and the reading of its key, or between the request to stop and the stop.
//! So both drivers work here over ports that tell of such [`Moment`]s.
//!
//! Source of truth: `monitor_core::driver` for what is called when. Invariants: the target's
//! storage and keys are full of other values before anything arrives; the guest does nothing but
//! what a test does in its name. Deliberately not here: assertions about single writes.

use std::{
    cell::Cell,
    sync::{Arc, Mutex, PoisonError},
};

use host_harness::{
    cluster::{Directory, DirectoryPort, Witness},
    machine::{
        AttachedDevice, Context, Crc32c, Exception, FbaDisk, Fill, Machine, Path, Program, Step,
    },
    sim::{Pipe, PipeEnd},
};
use monitor_core::{
    device::{Assignment, DeviceDescriptor, DeviceEntry, DeviceKind},
    driver::{BUFFER_BYTES, Ports, SourceDriver, SourceMemory, TargetDriver, TargetMemory, Wait},
    limits::{FRAME_BYTES_MAX, PAGE_BYTES},
    memory::PageRun,
    migrate::{
        Attempt, Coordination, Limits, Reception, SentRun, Source, SourcePhase, Statistics,
        TargetPhase,
    },
    units::{
        ConfigurationName, DeviceNumber, DeviceSlot, Epoch, Incarnation, Micros, Mnemonic,
        PageCount, PageNumber, StreamId, SubchannelNumber, Tick, VmIndex, VmName,
    },
    vm::{Activity, Facility, FacilityList, Ownership, Reason, VmBlock, VmState},
};

use self::ports::{MovedPorts, Shop, Silent};
use crate::worlds::name;

mod ports;

/// The slot of the guest's only device, a disk.
pub const SLOT: DeviceSlot = DeviceSlot::new(0);

/// The subchannel of the disk.
pub const SUBCHANNEL: SubchannelNumber = SubchannelNumber::new(0x10);

/// The blocks of the disk.
const DISK_BLOCKS: u32 = 8;

/// How long one channel program of the disk takes: four rounds.
pub const LATENCY: Micros = Micros::new(200);

/// The epoch under which a new guest runs at the source.
pub const EPOCH: Epoch = Epoch::new(1);

/// Virtual time of one round.
const ROUND: Micros = Micros::new(50);

/// Rounds until an attempt has to have ended: a virtual minute.
const ROUNDS_MAX: u64 = 1_200_000;

/// Bytes of a round on a link that nobody slows down: two full frames.
const LINK_BYTES: usize = 2 * FRAME_BYTES_MAX;

/// Processors of the guest.
const PROCESSORS: u16 = 2;

/// Frames that may be under way.
const WINDOW: usize = 16;

/// A moment at the source at which a test may interfere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Changes are noted from now on.
    Tracked,
    /// The hardware is asked for changes that it alone knows.
    Collecting,
    /// These pages were copied for a frame; their keys are read next.
    Copied(PageRun),
    /// The keys of these pages were read for a frame.
    KeysRead(PageRun),
    /// The processors are to be stopped, and still run.
    Stopping,
    /// The processors have stopped.
    Stopped,
    /// The processors run again.
    Resumed,
}

impl Moment {
    /// Whether this is the copying of that page.
    #[must_use]
    pub fn copies(self, page: u64) -> bool {
        matches!(self, Self::Copied(run) if run.pages().any(|it| it.get() == page))
    }

    /// Whether this is the reading of the key of that page.
    #[must_use]
    pub fn reads_key(self, page: u64) -> bool {
        matches!(self, Self::KeysRead(run) if run.pages().any(|it| it.get() == page))
    }
}

/// What a test has in its hands at a moment.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The guest at the source.
    pub guest: &'a Machine,
    /// The time.
    pub now: Tick,
    controls: &'a Controls,
}

impl Scene<'_> {
    /// Lets the link carry so many bytes in a round and direction from the next round on.
    pub fn set_link_bytes(&self, bytes: usize) {
        self.controls.link_bytes.set(bytes);
    }

    /// Lets the link carry as much as at first.
    pub fn open_link(&self) {
        self.set_link_bytes(LINK_BYTES);
    }

    /// Cuts the link after this round, for good.
    pub fn cut_link(&self) {
        self.controls.cut.set(true);
    }

    /// Loses the link after this round; both ends may connect again at once.
    pub fn drop_link(&self) {
        self.controls.drop.set(true);
    }

    /// Lets the operator cancel after this round.
    pub fn cancel(&self) {
        self.controls.cancel.set(true);
    }
}

/// What is done at a moment.
pub type Hand<'h> = &'h mut dyn FnMut(Moment, &Scene<'_>);

/// What a test has asked for, for the next round.
#[derive(Debug)]
struct Controls {
    link_bytes: Cell<usize>,
    cut: Cell<bool>,
    drop: Cell<bool>,
    cancel: Cell<bool>,
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Ended {
    /// The source's phase at the end.
    pub source: SourcePhase,
    /// The target's phase at the end.
    pub target: TargetPhase,
    /// Why the attempt has failed.
    pub reason: Option<Reason>,
    /// What was measured.
    pub statistics: Statistics,
    /// The guest at the target, if it was set up there.
    pub copy: Option<Arc<Machine>>,
    /// The same before its first step, if it came to that.
    pub arrived: Option<Witness>,
}

/// A guest that does nothing by itself.
#[derive(Debug)]
struct Quiet;

impl Program for Quiet {
    fn run(&self, _context: &mut Context<'_>, _budget: u32) -> Result<Step, Exception> {
        Ok(Step::default())
    }
}

type Driver<'s, 'h> = SourceDriver<'s, MovedPorts<'h>, PipeEnd, DirectoryPort, Silent, Crc32c>;
type Receiver<'s, 'h> = TargetDriver<'s, MovedPorts<'h>, PipeEnd, DirectoryPort, Silent, Crc32c>;

/// A guest on the source SU, and what surrounds it.
#[derive(Debug)]
pub struct Rig {
    /// The guest at the source.
    pub guest: Arc<Machine>,
    /// The guest's disk, which both SUs reach.
    pub disk: Arc<FbaDisk>,
    /// The longest frame that the target takes.
    pub frame_bytes_max: usize,
    /// The limits of the next attempt.
    pub limits: Limits,
    /// How far the clock of the target is ahead of that of the source, in microseconds.
    pub target_ahead_us: i64,
    /// The epoch under which the guest runs at the source.
    epoch: Epoch,
    directory: Arc<Directory>,
    now: Tick,
    attempts: u64,
}

impl Rig {
    /// A running guest of so many pages. Each page names itself in every word, but for each
    /// fourth one, which is zero; the keys differ from page to page.
    ///
    /// # Panics
    /// When there can be no guest of this size.
    #[must_use]
    pub fn new(pages: u64) -> Self {
        let disk = Arc::new(FbaDisk::in_memory(DISK_BLOCKS));
        let guest = Arc::new(machine(&block(pages), &disk));
        for page in (0..pages).map(PageNumber::new) {
            if let Some(value) = first_value(page.get()) {
                put(&guest, page.get(), value);
            }
            guest.storage.set_key(page, first_key(page.get()));
        }
        guest.with_subsystem(|subsystem| {
            subsystem.attach(SLOT, EPOCH).expect("nobody else has the disk");
            let mut schib = subsystem.store(SUBCHANNEL).expect("the subchannel of the disk");
            schib.pmcw = schib.pmcw.with_enabled(true).with_interruption_subclass(3);
            subsystem.modify(SUBCHANNEL, &schib).expect("the word is well formed");
        });
        let now = Tick::new(1_000_000);
        guest.resume(now);
        let directory = Arc::new(Directory::default());
        directory.enter(vm(), Ownership::running(name("SOURCE"), EPOCH));
        let (frame_bytes_max, limits) = (FRAME_BYTES_MAX, Limits::DEFAULT);
        let (target_ahead_us, epoch, attempts) = (0, EPOCH, 0);
        Self {
            guest,
            disk,
            frame_bytes_max,
            limits,
            target_ahead_us,
            epoch,
            directory,
            now,
            attempts,
        }
    }

    /// Tries to move the guest; `hand` is called at each moment.
    ///
    /// # Panics
    /// When the attempt does not end.
    pub fn attempt(&mut self, hand: Hand<'_>) -> Ended {
        self.attempt_over(&Pipe::new(), hand)
    }

    /// Tries to move the guest over a link that may have faults.
    ///
    /// # Panics
    /// When the attempt does not end.
    pub fn attempt_over(&mut self, pipe: &Pipe, hand: Hand<'_>) -> Ended {
        self.attempts += 1;
        let controls = Controls {
            link_bytes: Cell::new(LINK_BYTES),
            cut: Cell::new(false),
            drop: Cell::new(false),
            cancel: Cell::new(false),
        };
        let (here, there) = pipe.ends();
        let mut window: Vec<Option<SentRun>> = vec![None; WINDOW];
        let mut entries = [DeviceEntry::attached(descriptor(), self.epoch)];
        let mut slots = [DeviceEntry::vacant()];
        let mut buffers = [const { Vec::new() }; 4].map(|_: Vec<u8>| vec![0; BUFFER_BYTES]);
        let [outgoing, incoming, outgoing_there, incoming_there] = &mut buffers;
        let guest = Arc::clone(&self.guest);
        let memory = SourceMemory {
            pages: guest.storage.pages_map(),
            keys: guest.storage.keys_map(),
            window: &mut window,
            devices: &mut entries,
            outgoing,
            incoming,
        };
        let arrived = Arc::<Mutex<_>>::default();
        let shop = || Shop::new(Arc::clone(&self.disk), Arc::clone(&arrived));
        let ports = MovedPorts::of_source(Arc::clone(&guest), shop(), hand, &controls);
        let mut source =
            Driver::new(block(guest.storage.page_count().get()), memory, self.ports(ports, here));
        let memory = TargetMemory {
            devices: &mut slots,
            outgoing: outgoing_there,
            incoming: incoming_there,
        };
        let ports = self.ports(MovedPorts::of_target(shop(), &controls), there);
        let mut receiver = Receiver::new(self.reception(), memory, ports);
        source.start(self.now, self.plan()).expect("a new machine takes an attempt");
        let copy = self.drive(&mut source, &mut receiver, pipe, &controls);
        self.epoch = source.machine().epoch();
        let arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ended {
            source: source.machine().phase(),
            target: receiver.machine().phase(),
            reason: source.machine().reason(),
            statistics: source.machine().statistics().clone(),
            copy,
            arrived,
        }
    }

    fn plan(&self) -> Attempt {
        Attempt {
            stream: StreamId::new(self.attempts),
            vm: vm(),
            source: name("SOURCE"),
            target: name("TARGET"),
            epoch: self.epoch,
            activity: Activity::Running,
            pages: self.guest.storage.page_count(),
            processors: self.guest.processor_count(),
            coordination: Coordination::Required,
            limits: self.limits,
        }
    }

    fn reception(&self) -> Reception {
        let incarnation = Incarnation::new(self.attempts * 1000);
        let mut reception = Reception::new(name("TARGET"), incarnation, PageCount::new(1 << 32));
        reception.frame_bytes_max = u32::try_from(self.frame_bytes_max).expect("a short frame");
        reception
    }

    fn ports<'h>(
        &self,
        vm: MovedPorts<'h>,
        link: PipeEnd,
    ) -> Ports<MovedPorts<'h>, PipeEnd, DirectoryPort, Silent, Crc32c> {
        let directory = DirectoryPort::new(Arc::clone(&self.directory));
        Ports { vm, link, directory, console: Silent, checksum: Crc32c }
    }

    /// Steps everything until both ends have ended; gives the target's machine.
    fn drive(
        &mut self,
        source: &mut Driver<'_, '_>,
        receiver: &mut Receiver<'_, '_>,
        pipe: &Pipe,
        controls: &Controls,
    ) -> Option<Arc<Machine>> {
        let mut copy = None;
        for _ in 0..ROUNDS_MAX {
            self.now = self.now.after(ROUND);
            pipe.refill(controls.link_bytes.get());
            step(&self.guest, self.now);
            source.ports().vm.set_now(self.now);
            let Wait { finished, .. } = source.step(self.now);
            let there = Tick::new(self.now.get().saturating_add_signed(self.target_ahead_us));
            receiver.ports().vm.set_now(there);
            let awaits = receiver.step(there);
            if let Some(machine) = receiver.ports().vm.machine() {
                step(machine, there);
                copy = Some(Arc::clone(machine));
            }
            if controls.cancel.take() {
                // Behind COMMIT, and behind the end of the attempt, a cancel is refused.
                source.cancel(self.now).ok();
            }
            if controls.drop.take() {
                pipe.cut();
            }
            if controls.cut.take() || finished {
                pipe.sever();
                pipe.cut();
            }
            let is_over = matches!(
                receiver.machine().phase(),
                TargetPhase::Dropped | TargetPhase::Completed | TargetPhase::Empty
            );
            let is_resting = finished || is_at_rest(source.machine());
            if is_resting && (awaits.finished || is_over) {
                return copy;
            }
        }
        panic!("the attempt does not end: {:?}", source.machine().phase());
    }
}

/// What a page of a new guest has: the pattern of this value, or zeros.
#[must_use]
pub fn first_value(page: u64) -> Option<u64> {
    (page % 4 != 3).then_some(page << 16)
}

/// The key of a page of a new guest.
#[must_use]
pub const fn first_key(page: u64) -> u8 {
    page.to_be_bytes()[7] << 1
}

/// A page whose words are `value` and the place of the word.
#[must_use]
pub fn pattern(value: u64) -> Vec<u8> {
    let words = (0..PAGE_BYTES as u64 / 8).map(|word| value << 16 | word | 1);
    words.flat_map(u64::to_be_bytes).collect()
}

/// Fills a page with the pattern of `value`, in the guest's name.
///
/// # Panics
/// When there is no such page.
pub fn put(guest: &Machine, page: u64, value: u64) {
    let bytes = pattern(value);
    guest.storage.store_bytes(page * PAGE_BYTES as u64, &bytes).expect("a page of the guest");
}

/// Fills a page with zeros, in the guest's name.
///
/// # Panics
/// When there is no such page.
pub fn clear(guest: &Machine, page: u64) {
    let zeros = [0; PAGE_BYTES];
    guest.storage.store_bytes(page * PAGE_BYTES as u64, &zeros).expect("a page of the guest");
}

/// The content of a page as it is, or as it was before the guest's first step on the target.
///
/// # Panics
/// When there is no such page.
#[must_use]
pub fn page(guest: &Machine, page: u64) -> Box<[u8; PAGE_BYTES]> {
    let mut content = Box::new([0; PAGE_BYTES]);
    guest.storage.page_as_preserved(PageNumber::new(page), &mut content);
    content
}

/// The address of a place in a page.
#[must_use]
pub const fn address(page: u64, place: u64) -> u64 {
    page * PAGE_BYTES as u64 + place
}

/// The key of a page as [`page`] gives its content.
#[must_use]
pub fn key(guest: &Machine, page: u64) -> u8 {
    guest.storage.key_as_preserved(PageNumber::new(page))
}

/// Whether a page of a guest has these bytes at this place.
#[must_use]
pub fn has(guest: &Machine, number: u64, place: usize, bytes: &[u8]) -> bool {
    page(guest, number)[place..].starts_with(bytes)
}

/// The pages whose content, key or state is not the same in two guests, with zero for what has no
/// content here; both are looked at as they were
/// before their first step, if they keep it.
#[must_use]
pub fn differences(here: &Machine, there: &Machine) -> Vec<u64> {
    let key = |guest: &Machine, page| guest.storage.key_as_preserved(PageNumber::new(page));
    let state = |guest: &Machine, page| guest.storage.state_as_preserved(PageNumber::new(page));
    let content = |number| match state(here, number).has_content() {
        true => page(here, number),
        false => Box::new([0; PAGE_BYTES]),
    };
    let same = |number: &u64| {
        key(here, *number) == key(there, *number)
            && state(here, *number) == state(there, *number)
            && content(*number) == page(there, *number)
    };
    (0..here.storage.page_count().get()).filter(|number| !same(number)).collect()
}

/// A source in doubt rests when only the target, over a link that is gone, could end the doubt.
fn is_at_rest(source: &Source) -> bool {
    source.phase() == SourcePhase::InDoubt && source.is_resolved() && !source.uses_link()
}

/// One round of a machine.
fn step(machine: &Machine, now: Tick) {
    machine.step_channel(now);
    for index in 0..machine.processor_count() {
        machine.step_processor(index, now, 1);
    }
}

fn machine(block: &VmBlock, disk: &Arc<FbaDisk>) -> Machine {
    let device: Arc<FbaDisk> = Arc::clone(disk);
    let devices = vec![AttachedDevice::new(descriptor(), device, LATENCY, Path::default())];
    let configuration = ConfigurationName::new("390SU- 500-10B").expect("a short name");
    Machine::new(block, configuration, Arc::new(Quiet), devices)
}

/// Fills a machine with what is not the guest's.
fn soil(machine: &Machine) {
    machine.storage.fill(Fill::Random, 0x5011);
    for page in 0..machine.storage.page_count().get() {
        machine.storage.set_key(PageNumber::new(page), 0xFE);
    }
}

fn vm() -> VmName {
    VmName::new("VM12PROD").expect("a short name")
}

fn block(pages: u64) -> VmBlock {
    let index = VmIndex::new(12).expect("an index within the limits");
    let block = VmBlock::new(index, vm(), PageCount::new(pages), PROCESSORS);
    let block = block.expect("a guest within the limits");
    // All but the one that takes away the storage keys.
    let facilities = FacilityList::ALL.without(Facility::KEY_REMOVAL);
    block.with_state(VmState::new(Activity::Running)).with_facilities(facilities)
}

fn descriptor() -> DeviceDescriptor {
    DeviceDescriptor {
        mnemonic: Mnemonic::new("9920").expect("a short name"),
        number: DeviceNumber::new(0x9920),
        kind: DeviceKind::Disk,
        assignment: Assignment::Exclusive,
        subchannel: SUBCHANNEL,
        identity: 7,
        ..DeviceDescriptor::VACANT
    }
}
