//! The faults that a world can meet, and the profiles that choose among them.
//!
//! Source of truth: this file; each fault is done by the port or the wire that it is named after.
//! Invariant: a fault is one that hardware, a network or an operator can bring about; none is
//! code in the machines. Deliberately not here: when a fault strikes, which the plan draws.

use std::fmt;

/// One of the two monitors of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The one that has the VM.
    Source,
    /// The one that is to get it.
    Target,
}

impl End {
    /// Both ends.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Target];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }

    /// Its place in a pair.
    pub(super) const fn place(self) -> usize {
        match self {
            Self::Source => 0,
            Self::Target => 1,
        }
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Everything on the link takes longer for a while.
    Delay,
    /// A segment of the stream is lost and the stream closes over it.
    Loss,
    /// A segment comes twice.
    Duplicate,
    /// Two segments change places.
    Reorder,
    /// A bit of a segment is wrong.
    Corrupt,
    /// Nothing passes in one direction for a while.
    OneWay,
    /// Nothing passes in either direction for a while.
    Partition,
    /// The connection is cut, and both ends are told.
    Cut,
    /// The connection is cut in the middle of what this end sends.
    CutAtByte,
    /// The link carries much less for a while.
    SlowLink,
    /// The directory takes its time.
    DirectorySlow,
    /// The directory cannot be reached for a while; nothing is written.
    DirectoryGone,
    /// The directory writes only after the time for its answer has passed.
    AnswerLate,
    /// The directory writes, and its answer is lost.
    AnswerLost,
    /// The monitor crashes between two effects and starts again from its journal.
    Restart,
    /// The monitor's journal does not take an entry.
    JournalFails,
    /// A device is busy.
    DeviceBusy,
    /// A device refuses.
    DeviceRefuses,
    /// A device takes long.
    DeviceSlow,
    /// A command of the guest's channel program ends with unit check.
    IoFails,
    /// A command of the guest's channel program waits.
    IoWaits,
    /// The device end of a channel program comes late.
    IoLate,
    /// The device end of a channel program never comes: its interruption is lost.
    IoLost,
    /// A device does not come to rest as long as it is waited for.
    DrainEndless,
    /// Guest storage cannot be read or written.
    StorageFails,
    /// Registers or subchannels cannot be read or written.
    StateFails,
    /// Changes cannot be tracked or collected.
    TrackingFails,
    /// The processors take long to stop or to start.
    ProcessorsSlow,
    /// The processors do not stop or start.
    ProcessorsRefuse,
    /// The check cannot be made.
    CheckFails,
    /// The VM cannot be set up, or not ended.
    VmRefused,
    /// The guest cannot be told.
    TellFails,
    /// The clock of the SU jumps forward.
    ClockStep,
    /// The operator cancels.
    Cancel,
    /// The operator changes the limits.
    LimitsChange,
    /// The SU is lost with all that it has.
    SuLost,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 36] = [
        Self::Delay,
        Self::Loss,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::OneWay,
        Self::Partition,
        Self::Cut,
        Self::CutAtByte,
        Self::SlowLink,
        Self::DirectorySlow,
        Self::DirectoryGone,
        Self::AnswerLate,
        Self::AnswerLost,
        Self::Restart,
        Self::JournalFails,
        Self::DeviceBusy,
        Self::DeviceRefuses,
        Self::DeviceSlow,
        Self::IoFails,
        Self::IoWaits,
        Self::IoLate,
        Self::IoLost,
        Self::DrainEndless,
        Self::StorageFails,
        Self::StateFails,
        Self::TrackingFails,
        Self::ProcessorsSlow,
        Self::ProcessorsRefuse,
        Self::CheckFails,
        Self::VmRefused,
        Self::TellFails,
        Self::ClockStep,
        Self::Cancel,
        Self::LimitsChange,
        Self::SuLost,
    ];

    /// The place of this kind in [`Self::ALL`].
    pub(super) const fn place(self) -> usize {
        self as usize
    }

    /// How tables and traces name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delay => "link delay",
            Self::Loss => "segment lost",
            Self::Duplicate => "segment doubled",
            Self::Reorder => "segments swapped",
            Self::Corrupt => "segment corrupted",
            Self::OneWay => "one-way cut",
            Self::Partition => "partition",
            Self::Cut => "link cut",
            Self::CutAtByte => "link cut at a byte",
            Self::SlowLink => "link slow",
            Self::DirectorySlow => "directory slow",
            Self::DirectoryGone => "directory gone",
            Self::AnswerLate => "write late",
            Self::AnswerLost => "answer lost",
            Self::Restart => "monitor restart",
            Self::JournalFails => "journal fails",
            Self::DeviceBusy => "device busy",
            Self::DeviceRefuses => "device refuses",
            Self::DeviceSlow => "device slow",
            Self::IoFails => "I/O fails",
            Self::IoWaits => "I/O waits",
            Self::IoLate => "I/O ends late",
            Self::IoLost => "interruption lost",
            Self::DrainEndless => "drain endless",
            Self::StorageFails => "storage fails",
            Self::StateFails => "state fails",
            Self::TrackingFails => "tracking fails",
            Self::ProcessorsSlow => "processors slow",
            Self::ProcessorsRefuse => "processors refuse",
            Self::CheckFails => "check fails",
            Self::VmRefused => "VM refused",
            Self::TellFails => "guest not told",
            Self::ClockStep => "clock step",
            Self::Cancel => "cancel",
            Self::LimitsChange => "limits changed",
            Self::SuLost => "SU lost",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Which faults worlds meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// None.
    Calm,
    /// Those of the link.
    Link,
    /// Those of the directory, with cuts that make it matter.
    Directory,
    /// Restarts of monitors, with cuts.
    Restart,
    /// Those of devices, storage, processors.
    Hardware,
    /// Those that make time short.
    Budget,
    /// The loss of an SU.
    Su,
    /// All but the loss of an SU.
    All,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 8] = [
        Self::Calm,
        Self::Link,
        Self::Directory,
        Self::Restart,
        Self::Hardware,
        Self::Budget,
        Self::Su,
        Self::All,
    ];

    /// How the command line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Link => "link",
            Self::Directory => "directory",
            Self::Restart => "restart",
            Self::Hardware => "hardware",
            Self::Budget => "budget",
            Self::Su => "su",
            Self::All => "all",
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// The faults among which worlds of this profile draw.
    #[must_use]
    pub fn faults(self) -> &'static [FaultKind] {
        use FaultKind as F;
        match self {
            Self::Calm => &[],
            Self::Link => &FaultKind::ALL[..10],
            Self::Directory => &[
                F::DirectorySlow,
                F::DirectoryGone,
                F::AnswerLate,
                F::AnswerLost,
                F::Cut,
                F::OneWay,
            ],
            Self::Restart => &[F::Restart, F::Restart, F::Restart, F::JournalFails, F::Cut],
            Self::Hardware => &FaultKind::ALL[16..32],
            Self::Budget => &[
                F::ClockStep,
                F::Cancel,
                F::LimitsChange,
                F::SlowLink,
                F::Delay,
                F::DeviceSlow,
                F::ProcessorsSlow,
            ],
            Self::Su => &[F::SuLost, F::SuLost, F::Cut, F::AnswerLost, F::Restart],
            Self::All => &FaultKind::ALL[..35],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_in_a_profile_and_at_its_place() {
        for (place, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.place(), place);
            assert!(Profile::ALL.iter().any(|profile| profile.faults().contains(&kind)), "{kind}");
        }
        assert_eq!(Profile::Hardware.faults()[0], FaultKind::DeviceBusy);
        assert_eq!(Profile::Hardware.faults().last(), Some(&FaultKind::TellFails));
        assert!(!Profile::All.faults().contains(&FaultKind::SuLost));
    }
}
