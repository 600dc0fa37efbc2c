//! One value of each type that the calls take. What the value is does not matter: `any` hides it.
//!
//! Source of truth: the types of `monitor-core`. Deliberately not here: lent memory, which the
//! calls hold themselves.

use monitor_core::{
    channel::{ChannelReportWord, Irb, Orb, Pmcw, Schib, Scsw, SubchannelImage},
    device::{
        Assignment, Conduct, Conducts, DescriptorError, DeviceDescriptor, DeviceEntry, DeviceKind,
        Lease, LeaseError, LeaseMove, Plan, ReassignError, Reassignment, Usage,
    },
    memory::{
        BitmapError, KeyShadow, OutOfRange, PageRun, PageState, StateOrder, StorageKey, Sweep,
    },
    message::{
        Notice, Parties,
        command::{CommandError, Operand},
    },
    migrate::{
        Announcement, Arrival, Attempt, Circumstances, Coordination, Input, Limits, LinkFault,
        Offer, Reception, SourceJournal, SourcePhase, Stage, StepError, TargetJournal, TargetPhase,
        Verdict,
        policy::{Bandwidth, PassReport, Prediction},
    },
    ports::{Completion, ErrorKind},
    processor::{AddressSpace, CpuState, ProcessorImage, Psw, StatusError, TodEpoch},
    units::{
        ByteCount, DeviceNumber, DeviceSlot, Epoch, GroupNumber, Incarnation, Micros, PageCount,
        PageNumber, ProcessorIndex, Sequence, StreamId, SubchannelNumber, Text, Tick, VmIndex,
    },
    vm::{
        Activity, BlockError, DirectoryAnswer, Facility, FacilityList, Finding, Findings,
        MachineImage, MigrationMark, Obstacle, Operation, Ownership, Privileges, ProcessorSet,
        Processors, Reason, Standing, StandingError, StateError, TableError, VmBlock, VmId,
        VmState,
    },
    wire::{
        DecodeError, Fault, Field, Frame, FrameFlags, FrameType, Header,
        blocks::{BlockHead, ImageError},
    },
};

use crate::any;

/// A type of which there is a value to hide.
pub trait Sample {
    /// Some value.
    fn sample() -> Self;
}

macro_rules! samples {
    ($($name:ty = $value:expr;)*) => {
        $(impl Sample for $name {
            fn sample() -> Self {
                $value
            }
        })*
    };
}

impl<T: Sample> Sample for Option<T> {
    fn sample() -> Self {
        Some(T::sample())
    }
}

impl<T: Sample, const N: usize> Sample for [T; N] {
    fn sample() -> Self {
        core::array::from_fn(|_| T::sample())
    }
}

impl<const N: usize> Sample for Text<N> {
    fn sample() -> Self {
        Self::from_bytes(b"NAME").unwrap_or(Self::EMPTY)
    }
}

samples! {
    bool = true;
    u8 = 1;
    u16 = 1;
    u32 = 1;
    u64 = 1;
    usize = 1;
    i8 = 1;
}

// Numbers with a unit.
samples! {
    ByteCount = Self::new(1);
    DeviceNumber = Self::new(1);
    DeviceSlot = Self::new(1);
    Epoch = Self::new(1);
    GroupNumber = Self::new(1);
    Incarnation = Self::new(1);
    Micros = Self::new(1);
    PageCount = Self::new(1);
    PageNumber = Self::new(1);
    ProcessorIndex = Self::new(1);
    Sequence = Self::new(1);
    StorageKey = Self::new(1);
    StreamId = Self::new(1);
    SubchannelNumber = Self::new(1);
    Tick = Self::new(1);
    VmIndex = const { Self::new(1).unwrap() };
}

// Memory, processor, channel, devices.
samples! {
    BitmapError = Self::TooManyPages;
    OutOfRange = Self;
    PageRun = Self { group: Sample::sample(), mask: 1 };
    KeyShadow = Self::default();
    PageState = Self::Unused;
    StateOrder = Self::SetUnused;
    Sweep = Self::new();
    AddressSpace = Self::Home;
    CpuState = Self::Stopped;
    ProcessorImage = Self::initial();
    Psw = Self::new(1, 1);
    StatusError = Self::NotEsa;
    TodEpoch = Self::default();
    Orb = Self::default();
    Pmcw = Self::default();
    Schib = Self::default();
    Irb = Self::default();
    ChannelReportWord = Self::default();
    Scsw = Self::default();
    SubchannelImage = Self::idle(Sample::sample(), Sample::sample());
    Assignment = Self::Shared;
    Conduct = Self::Alias;
    Conducts = Self::STAY;
    DescriptorError = Self::Kind;
    DeviceDescriptor = Self {
        mnemonic: Sample::sample(),
        number: Sample::sample(),
        kind: DeviceKind::Disk,
        assignment: Assignment::Shared,
        is_emulated: true,
        is_detached: true,
        base: Sample::sample(),
        subchannel: Sample::sample(),
        identity: 1,
    };
    DeviceEntry = Self::free(Sample::sample());
    DeviceKind = Self::Disk;
    Lease = Self::free();
    LeaseError = Self::QuiesceOwed;
    LeaseMove = Self::Attach;
    Plan = Self::Assign(Sample::sample());
    ReassignError = Self::Busy;
    Reassignment = Self::default();
    Usage = Self::Shared;
}

// Virtual machines and messages.
samples! {
    Activity = Self::Running;
    BlockError = Self::Name;
    DirectoryAnswer = Self::Won;
    Circumstances = Self { target_is_known: true, is_sending: false };
    Facility = Self::new(1);
    FacilityList = Self::ALL;
    Offer = Self { pool: 1, facilities: Sample::sample(), is_receiving: false };
    Processors = match Self::new(any()) {
        Some(processors) => processors,
        // One processor is a number of processors.
        None => loop {
            core::hint::spin_loop();
        },
    };
    ProcessorSet = Self::from_bits(1);
    StandingError = Self::Last;
    Finding = Self { obstacle: Sample::sample(), device: Sample::sample() };
    Findings = Self::new();
    MachineImage = Self::initial();
    MigrationMark = Self::Outgoing;
    Obstacle = Self::MemoryShort;
    Operation = Self::BuildVm;
    Ownership = Self {
        owner: Sample::sample(),
        epoch: Sample::sample(),
        standing: Sample::sample(),
    };
    Standing = Self::Running;
    Privileges = Self::empty();
    Reason = Self::Cancelled;
    StateError = Self::Illegal;
    TableError = Self::Full;
    VmBlock = match Self::new(any(), any(), any(), 1) {
        Ok(block) => block,
        // Nothing can be made of an error; it does not come.
        Err(_) => loop {
            core::hint::spin_loop();
        },
    };
    VmId = Self::Index(Sample::sample());
    VmState = Self::new(Activity::Running);
    Notice = Self::MigrationStarted;
    Parties = Self {
        index: None,
        name: Sample::sample(),
        source: Sample::sample(),
        target: Sample::sample(),
    };
}

// Ports, wire.
samples! {
    Completion = Self::Done(Operation::BuildVm);
    Operand = Operand::Vm;
    CommandError = CommandError::Wrong(any());
    ErrorKind = Self::Busy;
    BlockHead = Self { tag: 1, version: 1, length: 1 };
    DecodeError = Self::new(Fault::Unknown, Field::Body);
    Fault = Self::Unknown;
    Field = Self::Body;
    Frame = Self::Build;
    FrameFlags = Self::empty();
    FrameType = Self::Build;
    Header = Self {
        version: 1,
        type_code: 1,
        flags: FrameFlags::empty(),
        length: 1,
        stream: Sample::sample(),
        epoch: Sample::sample(),
        sequence: Sample::sample(),
        body_check: 1,
    };
    ImageError = Self::TooLong;
}

// The machines.
samples! {
    Announcement = Self {
        stream: Sample::sample(),
        epoch: Sample::sample(),
        vm: Sample::sample(),
        source: Sample::sample(),
        pages: Sample::sample(),
        processors: 1,
        devices: 1,
        activity: Activity::Running,
    };
    Attempt = Self {
        stream: Sample::sample(),
        vm: Sample::sample(),
        source: Sample::sample(),
        target: Sample::sample(),
        epoch: Sample::sample(),
        activity: Activity::Running,
        pages: Sample::sample(),
        processors: 1,
        coordination: Coordination::Required,
        limits: Limits::DEFAULT,
    };
    Arrival = Self {
        stream: Sample::sample(),
        epoch: Sample::sample(),
        sequence: 1,
        frame: Frame::Build,
    };
    Bandwidth = Self::default();
    Input = Self::LinkUp;
    Limits = Self::DEFAULT;
    LinkFault = Self::Cut;
    PassReport = Self {
        pages: Sample::sample(),
        bytes: Sample::sample(),
        time: Sample::sample(),
        left: Sample::sample(),
    };
    Prediction = Self {
        pages: Sample::sample(),
        bandwidth: 1,
        state: Sample::sample(),
        round_trip: Sample::sample(),
        claim: Sample::sample(),
    };
    Reception = Self::new(Sample::sample(), Sample::sample(), Sample::sample());
    SourceJournal = Self {
        attempt: Sample::sample(),
        epoch: Sample::sample(),
        stage: Stage::Open,
    };
    SourcePhase = Self::Idle;
    Stage = Self::Open;
    StepError<SourcePhase> = Self::Foreign;
    StepError<TargetPhase> = Self::Foreign;
    TargetJournal = Self {
        announced: Sample::sample(),
        incarnation: Sample::sample(),
        stage: Stage::Open,
    };
    TargetPhase = Self::Empty;
    Verdict = Self::TargetRuns(Sample::sample());
}
