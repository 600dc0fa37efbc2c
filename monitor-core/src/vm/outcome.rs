//! How an attempt ends: the reason, whose fault it was, and what becomes of the guest.
//!
//! Source of truth: ARCHITECTURE.md, "Failures". Invariant: every failure names a reason, every
//! reason has one blame, and every end of an attempt has one disposition of the guest.

use core::fmt;

/// Why an attempt ended before the guest ran on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum Reason {
    /// The check found obstacles.
    Rejected = 1,
    /// The operator cancelled the attempt.
    Cancelled = 2,
    /// The guest refused the move.
    GuestRefused = 3,
    /// The guest did not answer in time.
    GuestSilent = 4,
    /// The guest changes its pages faster than the link moves them.
    WillNotConverge = 5,
    /// The stop of the guest would have become longer than its budget.
    BudgetExceeded = 6,
    /// The attempt took longer than its limit.
    TimeExceeded = 7,
    /// The link was cut or the peer closed it.
    LinkLost = 8,
    /// The peer did not answer in time.
    PeerSilent = 9,
    /// The peer sent something that it may not send now, or that is wrong in itself.
    PeerProtocol = 10,
    /// The stream carried bytes that are no frame of this protocol.
    StreamDamaged = 11,
    /// The two monitors have no protocol version in common.
    VersionUnknown = 12,
    /// The VM could not be set up on the target.
    BuildFailed = 13,
    /// A device could not be assigned on the target.
    DeviceUnavailable = 14,
    /// A device's I/O did not end in time.
    DeviceNotQuiet = 15,
    /// The processors could not be stopped.
    ProcessorsNotStopped = 16,
    /// Storage, keys, registers or subchannels could not be read or written.
    StateUnavailable = 17,
    /// Changes of storage could not be noted.
    TrackingFailed = 18,
    /// The ownership record could not be read or written.
    DirectoryUnreachable = 19,
    /// The ownership record names another owner or epoch.
    NotOwner = 20,
    /// The peer ended the attempt for a reason of its own.
    PeerAborted = 21,
    /// The monitor was restarted in the course of the attempt.
    MonitorRestarted = 22,
    /// The monitor's journal could not be written, so that a restart would not know of the attempt.
    JournalUnavailable = 23,
    /// A device that does not go with the guest could not be detached.
    DeviceInUse = 24,
}

/// Whose fault an end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Blame {
    /// This monitor or what it was configured with.
    Local,
    /// The monitor at the other end.
    Peer,
    /// The connection between the monitors.
    Link,
    /// A device, processor or storage.
    Hardware,
    /// The person or program that gave the command.
    Operator,
    /// The guest.
    Guest,
}

/// What has become of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Disposition {
    /// It runs on the source, or is there in its former state.
    RunsAtSource,
    /// It runs on the target, or is there in its former state.
    RunsAtTarget,
    /// It is held, stopped, on the source until the doubt is resolved.
    HeldAtSource,
    /// It is held, stopped, on the target until the doubt is resolved.
    HeldAtTarget,
}

impl Reason {
    /// Every reason, in the order of the codes.
    pub const ALL: [Self; 24] = [
        Self::Rejected,
        Self::Cancelled,
        Self::GuestRefused,
        Self::GuestSilent,
        Self::WillNotConverge,
        Self::BudgetExceeded,
        Self::TimeExceeded,
        Self::LinkLost,
        Self::PeerSilent,
        Self::PeerProtocol,
        Self::StreamDamaged,
        Self::VersionUnknown,
        Self::BuildFailed,
        Self::DeviceUnavailable,
        Self::DeviceNotQuiet,
        Self::ProcessorsNotStopped,
        Self::StateUnavailable,
        Self::TrackingFailed,
        Self::DirectoryUnreachable,
        Self::NotOwner,
        Self::PeerAborted,
        Self::MonitorRestarted,
        Self::JournalUnavailable,
        Self::DeviceInUse,
    ];

    /// The number of the reason on the wire.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "a fieldless enum with its own u16 values")]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The reason of this number, or `None`.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// Whose fault it was.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::Cancelled | Self::TimeExceeded => Blame::Operator,
            Self::GuestRefused | Self::GuestSilent | Self::WillNotConverge | Self::DeviceInUse => {
                Blame::Guest
            }
            Self::LinkLost | Self::StreamDamaged | Self::BudgetExceeded => Blame::Link,
            Self::Rejected
            | Self::PeerSilent
            | Self::PeerProtocol
            | Self::VersionUnknown
            | Self::PeerAborted => Blame::Peer,
            Self::BuildFailed
            | Self::DeviceUnavailable
            | Self::DeviceNotQuiet
            | Self::ProcessorsNotStopped
            | Self::StateUnavailable
            | Self::TrackingFailed => Blame::Hardware,
            Self::DirectoryUnreachable
            | Self::NotOwner
            | Self::MonitorRestarted
            | Self::JournalUnavailable => Blame::Local,
        }
    }

    /// What to tell an operator, without inserts.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Rejected => "rejected by the check",
            Self::Cancelled => "cancelled by the operator",
            Self::GuestRefused => "the guest refused the move",
            Self::GuestSilent => "the guest did not answer in time",
            Self::WillNotConverge => "will not converge: pages change faster than the link moves",
            Self::BudgetExceeded => "the stop of the guest would exceed its budget",
            Self::TimeExceeded => "the limit for the whole migration has passed",
            Self::LinkLost => "the link to the other SU was lost",
            Self::PeerSilent => "the other SU did not answer in time",
            Self::PeerProtocol => "the other SU broke the protocol",
            Self::StreamDamaged => "the stream carried damaged or foreign data",
            Self::VersionUnknown => "no protocol version in common",
            Self::BuildFailed => "the VM could not be set up on the target",
            Self::DeviceUnavailable => "a device could not be assigned on the target",
            Self::DeviceNotQuiet => "a device did not end its I/O in time",
            Self::ProcessorsNotStopped => "the processors did not stop in time",
            Self::StateUnavailable => "state of the VM could not be read or written",
            Self::TrackingFailed => "changes of storage could not be noted",
            Self::DirectoryUnreachable => "the ownership record could not be reached",
            Self::NotOwner => "the ownership record names another owner",
            Self::PeerAborted => "ended by the other SU",
            Self::MonitorRestarted => "the monitor was restarted",
            Self::JournalUnavailable => "the journal of the monitor could not be written",
            Self::DeviceInUse => "a device that has to be detached is in use",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}
