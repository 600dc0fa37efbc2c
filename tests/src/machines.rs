//! The migration machines with all that surrounds them, as values: for tests that drive a machine
//! by inputs alone, without a driver.
//!
//! An [`End`] is a machine together with the memory that is lent to it, the answers that are owed
//! to it, and what must never happen. It is a plain value, so that a test can try every input in
//! every state and go back.
//!
//! Source of truth: ARCHITECTURE.md, "Machines" and "The handover". Invariants: an end notes the
//! first breach of its rules and keeps it; the clock stands at [`NOW`] but for deadlines.
//! Deliberately not here: assertions, and the search itself ([`crate::explore`]).

mod source;
mod target;

pub use source::SourceEnd;
pub use target::TargetEnd;

use std::{fmt, hash::Hash, ops::RangeInclusive};

pub use model_check::frame_name;
use monitor_core::{
    device::{Assignment, DeviceDescriptor, DeviceKind},
    memory::PageRun,
    migrate::{Arrival, Effect, Input, Limits, LinkFault, Stage, StepError, Verdict},
    units::{
        DeviceNumber, DeviceSlot, Epoch, GroupNumber, Incarnation, Micros, Mnemonic, PageCount,
        ProcessorIndex, StreamId, SuName, SubchannelNumber, Tick, VmName,
    },
    vm::{DirectoryAnswer, Disposition, GuestAnswer, GuestEvent, Operation, Ownership, Reason},
    wire::{DecodeError, Fault, Field, Frame, FrameType, Hello, VERSION_MAX, VERSION_MIN},
};

/// The moment at which everything happens but deadlines.
pub const NOW: Tick = Tick::new(0);

/// The devices of the VM.
pub(crate) const DEVICES: u16 = 2;

/// The pages of the VM: a part of one group.
pub(crate) const PAGES: PageCount = PageCount::new(2);

/// The attempt on the wire.
pub const STREAM: StreamId = StreamId::new(77);

/// The epoch under which the source owns the VM.
pub const EPOCH: Epoch = Epoch::new(3);

/// The first load of the target; the next one counts up from it.
pub const FIRST_LOAD: Incarnation = Incarnation::new(7);

/// The load behind RECOPY.
pub(crate) const NEXT_LOAD: Incarnation = Incarnation::new(8);

/// Every operation that can be owed.
const OPERATIONS: [Operation; 18] = [
    Operation::CheckVm,
    Operation::BuildVm,
    Operation::DestroyVm,
    Operation::TrackChanges,
    Operation::StopProcessors,
    Operation::ResumeProcessors,
    Operation::AssignDevice(DeviceSlot::new(0)),
    Operation::AssignDevice(DeviceSlot::new(1)),
    Operation::QuiesceDevice(DeviceSlot::new(0)),
    Operation::QuiesceDevice(DeviceSlot::new(1)),
    Operation::DetachDevice(DeviceSlot::new(1)),
    Operation::AttachDevice(DeviceSlot::new(0)),
    Operation::AttachDevice(DeviceSlot::new(1)),
    Operation::RemoveDevice(DeviceSlot::new(0)),
    Operation::RemoveDevice(DeviceSlot::new(1)),
    Operation::MoveState,
    Operation::TellGuest,
    Operation::SaveJournal,
];

/// The name of a case: what happens, and what is particular about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// What happens.
    pub kind: &'static str,
    /// What is particular about it; empty for nothing.
    pub detail: &'static str,
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.detail.is_empty() { "" } else { " " };
        write!(formatter, "{}{space}{}", self.kind, self.detail)
    }
}

/// What is done to a machine.
#[derive(Clone, Copy, Debug)]
pub enum Stimulus {
    /// The command that begins an attempt.
    Start,
    /// The operator's wish to end it, at this moment.
    Cancel(Tick),
    /// The operator's decision about a VM that is held in doubt, at this moment.
    Decide(Tick, Verdict),
    /// An input at this moment.
    Input(Tick, Input),
    /// The guest stores into its first page and changes a key.
    GuestStores,
}

/// One thing that can happen in a state.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name, which stays when the values in it change.
    pub name: Name,
    /// What is done.
    pub stimulus: Stimulus,
}

/// Why a machine did not take a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the error of the same name")]
pub enum Refusal {
    OutOfPhase,
    Foreign,
    Mismatch,
    EffectsPending,
}

impl<P> From<StepError<P>> for Refusal {
    fn from(error: StepError<P>) -> Self {
        match error {
            StepError::OutOfPhase { .. } => Self::OutOfPhase,
            StepError::Foreign => Self::Foreign,
            StepError::Mismatch => Self::Mismatch,
            StepError::EffectsPending => Self::EffectsPending,
        }
    }
}

/// A machine with its surroundings.
pub trait End: Clone + PartialEq + Hash {
    /// The machine's phases.
    type Phase: Copy + Ord + fmt::Debug;

    /// Everything that can happen, always in the same order under the same names.
    fn cases(&self) -> Vec<Case>;

    /// Does it.
    ///
    /// # Errors
    /// The machine's refusal.
    fn apply(&mut self, case: &Case) -> Result<(), Refusal>;

    /// Whether the surroundings can bring it about: an answer is owed, or it needs no question.
    fn can_happen(&self, case: &Case) -> bool;

    /// The answer is given and no longer owed.
    fn consume(&mut self, case: &Case);

    /// Polls one effect and takes note of it.
    fn poll(&mut self, now: Tick) -> Option<Effect>;

    /// Whether the machine takes input before more effects are polled.
    fn takes_input(&self) -> bool;

    /// The phase.
    fn phase(&self) -> Self::Phase;

    /// Who may run the guest, as this end sees it.
    fn disposition(&self) -> Disposition;

    /// What an observer reads of the machine.
    fn facts(&self) -> Vec<String>;

    /// Whether the attempt has failed and is being undone.
    fn is_undoing(&self) -> bool;

    /// Whether the attempt has failed and is undone.
    fn is_undone(&self) -> bool;

    /// The next thing to happen when all goes well from here: an owed answer with success, or
    /// else the passing of time.
    fn good_course(&self) -> Option<Case>;

    /// The same without what decides nothing from here on: ends with equal keys behave alike.
    fn key(&self) -> Self;

    /// The rule that was broken first, if one was.
    fn breach(&self) -> Option<&'static str>;

    /// Notes a breach when a rule about states without pending effects is broken.
    fn settle(&mut self);
}

/// A fact as words: what is so, or is not.
fn fact(words: &str, is_so: bool) -> String {
    format!("{}{words}", if is_so { "" } else { "not " })
}

/// A guest that was told more often than this answers no more often.
const TELLS_MAX: u8 = 2;

/// Answers that are owed to a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owed {
    /// A bit for each of [`OPERATIONS`].
    operations: u32,
    tells: u8,
    directory: bool,
    store: Option<u64>,
}

impl Owed {
    /// Takes note of an effect. Gives `false` when it starts what is under way already.
    fn note(&mut self, effect: &Effect) -> bool {
        match effect {
            Effect::Start(operation) => {
                let is_new = !self.owes(*operation);
                self.operations |= bit(*operation);
                return is_new;
            }
            Effect::Tell(_) => self.tells = self.tells.saturating_add(1).min(TELLS_MAX),
            Effect::ReadRecord | Effect::CompareAndSet { .. } => {
                let is_new = !self.directory;
                self.directory = true;
                return is_new;
            }
            Effect::Store { sequence, .. } => {
                let is_new = self.store.is_none();
                self.store = Some(*sequence);
                return is_new;
            }
            Effect::Send { .. }
            | Effect::StopTracking
            | Effect::Collect
            | Effect::Notice(_)
            | Effect::ReportFindings { .. }
            | Effect::Mark(_)
            | Effect::Save(_) => {}
        }
        true
    }

    const fn owes(&self, operation: Operation) -> bool {
        self.operations & bit(operation) != 0
    }

    /// Whether this input is an answer that is owed, or none at all.
    fn expects(&self, input: &Input) -> bool {
        match input {
            Input::Done(Operation::CheckVm) => false,
            Input::Done(operation) => self.owes(*operation),
            Input::Failed(Operation::TellGuest) | Input::Guest(_) => self.tells > 0,
            Input::Failed(Operation::MoveState) => self.store.is_some(),
            Input::Failed(operation) => self.owes(*operation),
            Input::Directory(_) => self.directory,
            Input::Checked(_) => self.owes(Operation::CheckVm),
            Input::Stored(sequence) => self.store == Some(*sequence),
            Input::Frame(_) | Input::LinkLost(_) | Input::LinkUp | Input::Deadline => true,
        }
    }

    /// An answer was given.
    fn consume(&mut self, input: &Input) {
        match input {
            Input::Failed(Operation::TellGuest) | Input::Guest(_) => {
                self.tells = self.tells.saturating_sub(1);
            }
            Input::Failed(Operation::MoveState) | Input::Stored(_) => self.store = None,
            Input::Done(operation) | Input::Failed(operation) => {
                self.operations &= !bit(*operation);
            }
            Input::Directory(_) => self.directory = false,
            Input::Checked(_) => self.operations &= !bit(Operation::CheckVm),
            Input::Frame(_) | Input::LinkLost(_) | Input::LinkUp | Input::Deadline => {}
        }
    }

    /// A good answer to something that is owed.
    fn good_answer(&self) -> Option<Input> {
        let told = (self.tells > 0).then_some(Input::Guest(GuestAnswer::Ready));
        let owed = OPERATIONS.into_iter().find(|operation| self.owes(*operation));
        owed.map_or(told, |operation| {
            let is_check = operation == Operation::CheckVm;
            Some(if is_check { Input::Checked(0) } else { Input::Done(operation) })
        })
    }
}

/// A slot without a device has no bit.
const fn bit(operation: Operation) -> u32 {
    let place = match operation {
        Operation::CheckVm => 0,
        Operation::BuildVm => 1,
        Operation::DestroyVm => 2,
        Operation::TrackChanges => 3,
        Operation::StopProcessors => 4,
        Operation::ResumeProcessors => 5,
        Operation::AssignDevice(slot) if slot.get() < DEVICES => 6 + slot.get(),
        Operation::QuiesceDevice(slot) if slot.get() < DEVICES => 8 + slot.get(),
        Operation::AttachDevice(slot) if slot.get() < DEVICES => 10 + slot.get(),
        Operation::RemoveDevice(slot) if slot.get() < DEVICES => 12 + slot.get(),
        Operation::MoveState => 14,
        Operation::TellGuest => 15,
        Operation::SaveJournal => 16,
        Operation::DetachDevice(slot) if slot.get() < DEVICES => 17 + slot.get(),
        Operation::AssignDevice(_)
        | Operation::DetachDevice(_)
        | Operation::QuiesceDevice(_)
        | Operation::AttachDevice(_)
        | Operation::RemoveDevice(_) => return 0,
    };
    1 << place
}

/// Limits that differ from each other, with one roll-back of the blackout.
pub(crate) const LIMITS: Limits = Limits { overruns: 1, ..Limits::DEFAULT };

pub(crate) fn source_su() -> SuName {
    SuName::new("ABG-SU1").expect("a short name")
}

pub(crate) fn target_su() -> SuName {
    SuName::new("ABG-SU2").expect("a short name")
}

pub(crate) fn vm_name() -> VmName {
    VmName::new("VM2").expect("a short name")
}

/// The record while the source owns the VM, after it has taken it back, after both steps of the
/// claim, after the source has taken the VM from the target, and after the first step alone.
pub(crate) fn records() -> [Ownership; 5] {
    [
        Ownership::running(source_su(), EPOCH),
        Ownership::running(source_su(), EPOCH.next()),
        Ownership::running(target_su(), EPOCH.next()),
        Ownership::running(source_su(), EPOCH.next().next()),
        Ownership::claimed(target_su(), EPOCH.next()),
    ]
}

/// Device 0 is a disk; device 1 is of this kind.
pub(crate) fn devices(kind: DeviceKind) -> [DeviceDescriptor; DEVICES as usize] {
    [device(0), DeviceDescriptor { kind, ..device(1) }]
}

pub(crate) fn device(number: u16) -> DeviceDescriptor {
    DeviceDescriptor {
        mnemonic: Mnemonic::new(["D0", "D1"][usize::from(number)]).expect("a short name"),
        number: DeviceNumber::new(number),
        kind: DeviceKind::Disk,
        assignment: Assignment::Shared,
        subchannel: SubchannelNumber::new(number),
        identity: u64::from(number),
        ..DeviceDescriptor::VACANT
    }
}

pub(crate) fn hello(frame_bytes_max: u32, window: u32) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        frame_bytes_max,
        window,
        pages: PAGES,
        vm: vm_name(),
        source: source_su(),
        target: target_su(),
    }
}

pub(crate) fn page_run(mask: u64) -> PageRun {
    PageRun { group: GroupNumber::new(0), mask }
}

fn case(kind: &'static str, detail: &'static str, input: Input) -> Case {
    Case { name: Name { kind, detail }, stimulus: Stimulus::Input(NOW, input) }
}

fn frame(detail: &'static str, frame: Frame) -> Case {
    let arrival = Arrival { stream: STREAM, epoch: EPOCH, sequence: 1, frame };
    case(frame_name(&frame), detail, Input::Frame(arrival))
}

/// One frame of each type but HELLO and ABORT, with values that fit the VM.
pub(crate) fn sample_frames() -> [Frame; 23] {
    [
        Frame::Definition,
        Frame::Device(DeviceSlot::new(0)),
        Frame::Check(DEVICES),
        Frame::Build,
        Frame::Pages(page_run(1)),
        Frame::Keys(page_run(1)),
        Frame::PassEnd(1),
        Frame::Processor { index: ProcessorIndex::new(0), rehearsal: false },
        Frame::Subchannel(DeviceSlot::new(0)),
        Frame::RehearsalEnd(1),
        Frame::LoadEnd { processors: 1, subchannels: DEVICES },
        Frame::Recopy,
        Frame::Machine { rehearsal: false },
        Frame::Commit(FIRST_LOAD),
        Frame::Released,
        Frame::Findings(0),
        Frame::Built(FIRST_LOAD),
        Frame::Ack(1),
        Frame::Rehearsed(Micros::new(1)),
        Frame::Ready(FIRST_LOAD),
        Frame::Running(FIRST_LOAD),
        Frame::Completed,
        Frame::Aborted { incarnation: FIRST_LOAD, reason: Reason::BuildFailed },
    ]
}

/// The sample frames within these codes.
fn frames_of_codes(codes: RangeInclusive<u16>) -> Vec<Case> {
    let theirs =
        sample_frames().into_iter().filter(|frame| codes.contains(&frame.frame_type().code()));
    theirs.map(|it| frame("", it)).collect()
}

/// The other inputs that both ends have in common.
fn common_inputs(deadline: Option<Tick>) -> Vec<Case> {
    let version = DecodeError::new(Fault::Unknown, Field::Version);
    let mut cases = vec![
        case("guest", "Ready", Input::Guest(GuestAnswer::Ready)),
        case("guest", "Refused", Input::Guest(GuestAnswer::Refused)),
        case("guest", "Resumed", Input::Guest(GuestAnswer::Resumed)),
        case("directory:", "won", Input::Directory(DirectoryAnswer::Won)),
        case("directory:", "missing", Input::Directory(DirectoryAnswer::Missing)),
        case("directory:", "unreachable", Input::Directory(DirectoryAnswer::Unreachable)),
        case("checked", "0", Input::Checked(0)),
        case("checked", "1", Input::Checked(1)),
        case("link lost", "Cut", Input::LinkLost(LinkFault::Cut)),
        case("link lost", "Damaged", Input::LinkLost(LinkFault::Damaged(version))),
        case("link up", "", Input::LinkUp),
        case("link lost", "OutOfPhase", Input::LinkLost(LinkFault::OutOfPhase(FrameType::Ack))),
    ];
    let names = ["own", "taken back", "of the target", "taken over", "claimed by the target"];
    for (detail, record) in names.into_iter().zip(records()) {
        let (read, lost) = (DirectoryAnswer::Record(record), DirectoryAnswer::Lost(record));
        cases.push(case("directory: record", detail, Input::Directory(read)));
        cases.push(case("directory: lost to", detail, Input::Directory(lost)));
    }
    for operation in OPERATIONS {
        let name = operation_name(operation);
        cases.push(case("done", name, Input::Done(operation)));
        cases.push(case("failed", name, Input::Failed(operation)));
    }
    let at = |detail, moment| Case {
        name: Name { kind: "deadline", detail },
        stimulus: Stimulus::Input(moment, Input::Deadline),
    };
    cases.push(at("early", NOW));
    cases.extend(deadline.map(|moment| at("due", moment)));
    cases.push(at("of the whole attempt", NOW.after(LIMITS.total)));
    cases
}

const fn operation_name(operation: Operation) -> &'static str {
    let is_first = is_first(operation);
    match operation {
        Operation::CheckVm => "CheckVm",
        Operation::BuildVm => "BuildVm",
        Operation::DestroyVm => "DestroyVm",
        Operation::TrackChanges => "TrackChanges",
        Operation::StopProcessors => "StopProcessors",
        Operation::ResumeProcessors => "ResumeProcessors",
        Operation::AssignDevice(_) if is_first => "AssignDevice 0",
        Operation::AssignDevice(_) => "AssignDevice 1",
        Operation::QuiesceDevice(_) if is_first => "QuiesceDevice 0",
        Operation::QuiesceDevice(_) => "QuiesceDevice 1",
        Operation::DetachDevice(_) if is_first => "DetachDevice 0",
        Operation::DetachDevice(_) => "DetachDevice 1",
        Operation::AttachDevice(_) if is_first => "AttachDevice 0",
        Operation::AttachDevice(_) => "AttachDevice 1",
        Operation::RemoveDevice(_) if is_first => "RemoveDevice 0",
        Operation::RemoveDevice(_) => "RemoveDevice 1",
        Operation::MoveState => "MoveState",
        Operation::TellGuest => "TellGuest",
        Operation::SaveJournal => "SaveJournal",
    }
}

/// Whether the operation concerns the first device.
const fn is_first(operation: Operation) -> bool {
    match operation {
        Operation::AssignDevice(slot)
        | Operation::QuiesceDevice(slot)
        | Operation::DetachDevice(slot)
        | Operation::AttachDevice(slot)
        | Operation::RemoveDevice(slot) => slot.get() == 0,
        Operation::CheckVm
        | Operation::BuildVm
        | Operation::DestroyVm
        | Operation::TrackChanges
        | Operation::StopProcessors
        | Operation::ResumeProcessors
        | Operation::MoveState
        | Operation::TellGuest
        | Operation::SaveJournal => false,
    }
}

/// The kind of an effect.
#[must_use]
pub fn effect_name(effect: &Effect) -> String {
    match effect {
        Effect::Send { frame, .. } => frame_name(frame).to_owned(),
        Effect::Store { .. } => "Store".to_owned(),
        Effect::Start(operation) => operation_name(*operation).to_owned(),
        Effect::StopTracking => "StopTracking".to_owned(),
        Effect::Collect => "Collect".to_owned(),
        Effect::Tell(event) => tell_name(*event).to_owned(),
        Effect::ReadRecord => "ReadRecord".to_owned(),
        Effect::CompareAndSet { .. } => "CompareAndSet".to_owned(),
        Effect::Notice(notice) => format!("VMS{}", notice.code()),
        Effect::ReportFindings { .. } => "ReportFindings".to_owned(),
        Effect::Mark(mark) => format!("Mark({mark:?})"),
        Effect::Save(stage) => save_name(*stage).to_owned(),
    }
}

const fn save_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Open => "Save(Open)",
        Stage::Offered(_) => "Save(Offered)",
        Stage::Undoing(_) => "Save(Undoing)",
        Stage::Moved => "Save(Moved)",
        Stage::Building => "Save(Building)",
        Stage::Claiming(_) => "Save(Claiming)",
        Stage::Running(_) => "Save(Running)",
        Stage::Completed(_) => "Save(Completed)",
        Stage::Over => "Save(Over)",
    }
}

const fn tell_name(event: GuestEvent) -> &'static str {
    match event {
        GuestEvent::MoveComing => "Tell(MoveComing)",
        GuestEvent::MoveAbandoned => "Tell(MoveAbandoned)",
        GuestEvent::Moved => "Tell(Moved)",
        GuestEvent::NetworkUp => "Tell(NetworkUp)",
    }
}
