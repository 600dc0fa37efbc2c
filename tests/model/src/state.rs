//! The world as a value: SUs, the record, what is under way between them.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariants: what an SU truly does with the
//! guest and its device stands in [`Copy`], apart from what its machine believes; machines are
//! shared between states and hashed once. Deliberately not here: what can happen.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    iter,
    sync::Arc,
};

use monitor_core::{
    device::{DeviceDescriptor, DeviceKind},
    migrate::Arrival,
    units::{DeviceSlot, Epoch, Incarnation},
    vm::{GuestAnswer, Operation, Ownership, Standing},
    wire::Frame,
};

use super::frame::frame_name;
use super::{
    bounds::{Bounds, Fault},
    ends::{Journal, Machine, moving_device, staying_device, su_name, su_of},
};

/// The device that goes with the guest.
const SLOT: DeviceSlot = DeviceSlot::new(0);

/// The device that does not, if there is one.
const STAYING: DeviceSlot = DeviceSlot::new(1);

/// The operations that take time.
pub(super) const OPERATIONS: [Operation; 13] = [
    Operation::BuildVm,
    Operation::DestroyVm,
    Operation::StopProcessors,
    Operation::ResumeProcessors,
    Operation::AssignDevice(SLOT),
    Operation::QuiesceDevice(SLOT),
    Operation::AttachDevice(SLOT),
    Operation::RemoveDevice(SLOT),
    Operation::AssignDevice(STAYING),
    Operation::QuiesceDevice(STAYING),
    Operation::DetachDevice(STAYING),
    Operation::AttachDevice(STAYING),
    Operation::RemoveDevice(STAYING),
];

/// The epoch under which the first SU owns the VM.
const FIRST_EPOCH: Epoch = Epoch::new(1);

/// A value that states share, and that is hashed once.
pub(super) struct Kept<T> {
    hash: u64,
    value: Arc<T>,
}

impl<T: Hash> Kept<T> {
    /// Keeps a value.
    pub(super) fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self { hash: hasher.finish(), value: Arc::new(value) }
    }
}

impl<T> Kept<T> {
    /// The value.
    pub(super) fn get(&self) -> &T {
        &self.value
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { hash: self.hash, value: Arc::clone(&self.value) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(formatter)
    }
}

impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.value == other.value
    }
}

impl<T: Eq> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// What an SU asked of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    /// To read the record.
    Read,
    /// To replace it.
    CompareAndSet {
        /// What it must be.
        expected: Ownership,
        /// What it becomes.
        new: Ownership,
    },
}

impl Ask {
    /// Where it stands among others.
    fn order(&self) -> (u64, u8, Standing) {
        match self {
            Self::Read => (0, 0, Standing::Claimed),
            Self::CompareAndSet { new, .. } => (new.epoch.get(), su_of(new.owner), new.standing),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => formatter.write_str("record"),
            Self::CompareAndSet { expected, new } => {
                write!(formatter, "{}->{}", shown(expected), shown(new))
            }
        }
    }
}

/// A record in short.
fn shown(record: &Ownership) -> String {
    let mark = if record.standing == Standing::Claimed { ", claimed" } else { "" };
    format!("({}, {}{mark})", record.owner, record.epoch)
}

/// What an SU can do with the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Device {
    /// It does not have it.
    #[default]
    Free,
    /// It has it, and cannot use it: not yet, or not any more.
    Assigned,
    /// It is attached under this epoch, and the guest has not run since: there is no I/O.
    Ready(u64),
    /// It uses it under this epoch, and I/O may be in flight.
    Usable(u64),
    /// It had used it, and nothing is in flight.
    Quiet(u64),
}

impl Device {
    /// The epoch under which it was attached here.
    pub(super) const fn epoch(self) -> Option<u64> {
        match self {
            Self::Free | Self::Assigned => None,
            Self::Ready(epoch) | Self::Usable(epoch) | Self::Quiet(epoch) => Some(epoch),
        }
    }
}

/// A copy of the guest, as it truly is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Copy {
    /// Whether it is set up.
    pub(super) is_built: bool,
    /// The epoch under which its processors may be running.
    pub(super) runs: Option<u64>,
    /// The devices, that which goes with the guest first.
    pub(super) devices: [Device; 2],
    /// What each device was before it was being attached.
    pub(super) devices_before: [Device; 2],
    /// Whether the definition of the VM that belongs to it has the second device as detached.
    pub(super) is_detached: bool,
    /// What stands in its page.
    pub(super) page: u8,
    /// What stands in its registers.
    pub(super) registers: u8,
}

/// A server unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Su {
    /// The machine of the attempt that it takes part in.
    pub(super) end: Option<Kept<Machine>>,
    /// What its monitor finds after a restart.
    pub(super) journal: Option<Kept<Journal>>,
    /// The number of that attempt, and thereby of its link.
    pub(super) link: u8,
    /// Its copy of the guest.
    pub(super) copy: Copy,
    /// A bit for each of [`OPERATIONS`] that is under way, and in the upper half for each whose
    /// end changes nothing any more, or is certain.
    pub(super) owed: u32,
    /// What the guest is to answer.
    pub(super) told: Option<GuestAnswer>,
    /// What the directory is to answer.
    pub(super) asked: Option<Ask>,
    /// Whether it is gone with all that was in it.
    pub(super) is_lost: bool,
}

impl Su {
    /// Whether an operation is under way.
    pub(super) fn owes(&self, operation: Operation) -> bool {
        self.owed & bit(operation) != 0
    }

    /// Whether it is known what comes of an operation: it is overtaken, or does what is done.
    pub(super) fn is_settled(&self, operation: Operation) -> bool {
        self.owed & (bit(operation) << 16) != 0
    }

    /// Starts an operation. Gives `false` when it is under way already.
    pub(super) fn start(&mut self, operation: Operation) -> bool {
        let is_new = !self.owes(operation);
        self.owed |= bit(operation);
        is_new
    }

    /// From now on it is known what comes of the operation, if it is under way.
    pub(super) fn settle(&mut self, operation: Operation) {
        self.owed |= (self.owed & bit(operation)) << 16;
    }

    /// Whether a machine or a journal here belongs to the link of this number.
    pub(super) fn is_bound_to(&self, link: u8) -> bool {
        self.link == link && (self.end.is_some() || self.journal.is_some())
    }

    /// An operation ends.
    pub(super) fn end(&mut self, operation: Operation) {
        self.owed &= !(bit(operation) | (bit(operation) << 16));
    }
}

fn bit(operation: Operation) -> u32 {
    let place = OPERATIONS.iter().position(|it| *it == operation);
    1 << place.expect("an operation that takes time")
}

/// What is under way on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    /// A frame, and what of the guest it carries.
    Frame(Arrival, u8),
    /// Bytes that came twice, in a wrong order or damaged.
    Spoiled,
    /// A frame was here.
    Hole,
}

/// The link of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    /// The SUs at its ends: source, target.
    pub(super) sus: [u8; 2],
    /// Whether each end uses it.
    pub(super) is_open: [bool; 2],
    /// Whether it is cut.
    pub(super) is_cut: bool,
    /// What is under way to each end.
    pub(super) queues: [Vec<Item>; 2],
    /// The loads of which READY was said, a bit each.
    pub(super) ready: u8,
    /// Whether the guest has run on the target.
    pub(super) has_run: bool,
}

impl Link {
    /// A link between two SUs.
    pub(super) const fn new(from: u8, to: u8) -> Self {
        Self {
            sus: [from, to],
            is_open: [true; 2],
            is_cut: false,
            queues: [Vec::new(), Vec::new()],
            ready: 0,
            has_run: false,
        }
    }

    /// A link that nobody will use again.
    pub(super) fn over(sus: [u8; 2]) -> Self {
        let [from, to] = sus;
        Self { is_open: [false; 2], is_cut: true, ..Self::new(from, to) }
    }

    /// One end does not use the connection any more.
    pub(super) fn close(&mut self, side: usize) {
        self.is_open[side] = false;
        self.queues[side].clear();
    }

    /// Forgets the numbers of frames and the loads that were ready: nothing more will be offered.
    pub(super) fn forget_numbers(&mut self) {
        self.ready = 0;
        for item in self.queues.iter_mut().flatten() {
            if let Item::Frame(arrival, _) = item {
                arrival.sequence = 0;
                match &mut arrival.frame {
                    Frame::Ack(sequence) => *sequence = 0,
                    Frame::Status(status) => status.stored = 0,
                    _ => {}
                }
            }
        }
    }

    /// Which end this SU is.
    pub(super) fn side(&self, su: u8) -> usize {
        usize::from(self.sus[1] == su)
    }

    /// The bit of a load.
    pub(super) const fn load_bit(load: Incarnation) -> u8 {
        1 << (load.get() % 8)
    }
}

/// The world.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The ownership record.
    pub(super) record: Ownership,
    /// Writes of the record of which nobody waits for an answer any more, and which may land.
    pub(super) delayed: Vec<Ask>,
    /// The SUs.
    pub(super) sus: Vec<Su>,
    /// The links, one for each attempt.
    pub(super) links: Vec<Link>,
    /// Frames that were sent, from which SU to which, while such a frame may come again.
    pub(super) past: Vec<(u8, u8, Arrival)>,
    /// The second device: one that does not go with the guest.
    pub(super) staying: Option<DeviceKind>,
    /// What the guest's page and registers must hold, wherever it runs.
    pub(super) guest: [u8; 2],
    /// How often each fault has happened.
    pub(super) spent: [u8; Fault::ALL.len()],
    /// The rule that was broken, if a step has broken one.
    pub(super) breach: Option<&'static str>,
}

impl State {
    /// The guest runs on the first of so many SUs.
    pub(super) fn new(bounds: &Bounds) -> Self {
        let epoch = FIRST_EPOCH.get();
        let mut sus = vec![Su::default(); usize::from(bounds.sus)];
        let staying = bounds.staying.map_or(Device::Free, |_| Device::Usable(epoch));
        sus[0].copy = Copy {
            is_built: true,
            runs: Some(epoch),
            devices: [Device::Usable(epoch), staying],
            ..Copy::default()
        };
        Self {
            record: Ownership::running(su_name(0), FIRST_EPOCH),
            delayed: Vec::new(),
            sus,
            links: Vec::new(),
            past: Vec::new(),
            staying: bounds.staying,
            guest: [0; 2],
            spent: [0; Fault::ALL.len()],
            breach: None,
        }
    }

    /// The SU of this number.
    pub(super) fn su(&self, su: u8) -> &Su {
        &self.sus[usize::from(su)]
    }

    /// The SU of this number.
    pub(super) fn su_mut(&mut self, su: u8) -> &mut Su {
        &mut self.sus[usize::from(su)]
    }

    /// The SUs with their numbers.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u8, &Su)> {
        (0..).zip(&self.sus)
    }

    /// Whether such a fault may still happen.
    pub(super) fn admits(&self, bounds: &Bounds, fault: Fault) -> bool {
        let spent = |fault: Fault| self.spent[fault as usize];
        let total: u8 = self.spent.iter().sum();
        spent(fault) < bounds.most[fault as usize] && total < bounds.faults
    }

    /// The devices of the VM as the definition on this SU has them.
    pub(super) fn devices(&self, su: u8) -> Vec<DeviceDescriptor> {
        let is_detached = self.su(su).copy.is_detached;
        let staying = self.staying.map(|kind| staying_device(kind, is_detached));
        iter::once(moving_device()).chain(staying).collect()
    }

    /// Whether the device that does not go with the guest is where the definition has it.
    pub(super) fn has_staying_in_place(&self, su: u8) -> bool {
        let copy = &self.su(su).copy;
        let is_attached = copy.devices[1].epoch().is_some();
        self.staying.is_none_or(|kind| match kind {
            // An alias may be late.
            DeviceKind::PavAlias => is_attached || copy.is_detached,
            _ => is_attached != copy.is_detached,
        })
    }

    /// Notes the first breach.
    pub(super) fn breaks(&mut self, rule: &'static str) {
        self.breach = self.breach.or(Some(rule));
    }

    /// Whether the record lets the guest run on this SU under this epoch.
    pub(super) fn owns(&self, su: u8, epoch: u64) -> bool {
        self.record == Ownership::running(su_name(su), Epoch::new(epoch))
    }

    /// Performs what was asked of the directory; gives whether a compare-and-set took place.
    pub(super) fn perform(&mut self, ask: Ask) -> bool {
        match ask {
            Ask::CompareAndSet { expected, new } if expected == self.record => {
                self.record = new;
                true
            }
            Ask::CompareAndSet { .. } | Ask::Read => false,
        }
    }

    /// A write that nobody waits for any more.
    pub(super) fn delay(&mut self, ask: Ask) {
        if !self.delayed.contains(&ask) && ask != Ask::Read {
            self.delayed.push(ask);
            self.delayed.sort_unstable_by_key(Ask::order);
        }
    }

    /// Forgets writes that can never take place: epochs do not fall, nor standings within one.
    pub(super) fn forget_void_writes(&mut self) {
        let age = |record: &Ownership| (record.epoch, record.standing);
        let present = age(&self.record);
        self.delayed.retain(|ask| match ask {
            Ask::CompareAndSet { expected, .. } => age(expected) >= present,
            Ask::Read => false,
        });
    }
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.record))?;
        for (number, su) in self.numbered() {
            write!(formatter, " | {}", name(number))?;
            match su.end.as_ref().map(Kept::get) {
                None => {}
                Some(Machine::Source(end)) => write!(formatter, " {:?}", end.machine.phase())?,
                Some(Machine::Target(end)) => write!(formatter, " {:?}", end.machine.phase())?,
            }
            match (su.is_lost, su.copy.runs) {
                (true, _) => write!(formatter, " lost")?,
                (false, Some(epoch)) => write!(formatter, " RUNS({epoch})")?,
                (false, None) => {}
            }
            if su.copy.is_built {
                write!(formatter, " {:?}", su.copy.devices[0])?;
                if self.staying.is_some() {
                    write!(formatter, " {:?}", su.copy.devices[1])?;
                }
            }
            if let Some(ask) = su.asked {
                write!(formatter, " asks {ask}")?;
            }
            for operation in OPERATIONS.into_iter().filter(|it| su.owes(*it)) {
                write!(formatter, " {operation:?}")?;
            }
        }
        for (number, link) in (0_u8..).zip(&self.links) {
            if link.is_open == [false; 2] {
                continue;
            }
            write!(formatter, " | link {number} {:?}", link.is_open)?;
            for (mark, queue) in ["<-", "->"].into_iter().zip(&link.queues) {
                for item in queue {
                    match item {
                        Item::Frame(arrival, _) => {
                            write!(formatter, " {mark}{}", frame_name(&arrival.frame))?;
                        }
                        Item::Spoiled | Item::Hole => write!(formatter, " {mark}{item:?}")?,
                    }
                }
            }
        }
        if !self.delayed.is_empty() {
            let delayed: Vec<String> = self.delayed.iter().map(Ask::to_string).collect();
            write!(formatter, " | delayed {}", delayed.join(" "))?;
        }
        self.breach.map_or(Ok(()), |rule| write!(formatter, " | BROKEN: {rule}"))
    }
}

/// The letter of an SU.
pub(super) fn name(su: u8) -> char {
    char::from(b'A' + su)
}
