//! What a monitor says on its console in the course of a live migration.
//!
//! A [`Notice`] is a small value that the machines emit; [`render`] makes a console line of it,
//! without time stamp, once the [`Parties`] are known.
//!
//! Source of truth: the published console trace of a live migration between two SU /390 and the
//! sample of CHECK-VM-MIGRATION in the VM2000 manual; [`Wording`] says of each notice whether its
//! text stems from there. Invariants: each notice has one entry in the catalogue; a line with the
//! longest names fits [`crate::limits::LINE_BYTES_MAX`]. Deliberately not here: messages of the
//! guest, time stamps and the console itself (a port).

mod catalogue;
pub mod command;
mod render;

pub use catalogue::{Severity, Wording};
pub use render::{Line, render};

use crate::{
    units::{Epoch, Mnemonic, SuName, VmIndex, VmName},
    vm::{Finding, ProcessorSet, Reason},
};

/// Whom a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Parties {
    /// The VM's index; a blank is shown for an unknown one.
    pub index: Option<VmIndex>,
    /// The VM's name.
    pub name: VmName,
    /// The SU that the VM leaves.
    pub source: SuName,
    /// The SU that the VM moves to.
    pub target: SuName,
}

/// What a monitor says on its console. The wording of each is in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Notice {
    /// VMS2450, source: the check found no obstacle and the move starts.
    MigrationStarted,
    /// VMS2451, source: the move has succeeded and everything on the source is given back.
    MigrationCompleted,
    /// VMS2452, source: the guest is stopped; the last pages and the registers follow.
    SuspendedAtSource,
    /// VMS2453, source: the attempt has ended before the guest ran on the target.
    MigrationAborted(Reason),
    /// VMS2454, source: the guest, stopped for the move, runs on the source again.
    ResumedAtSource,
    /// VMS2455, source: nobody can say yet which SU owns the guest; the source holds it stopped.
    HeldAtSource,
    /// VMS2456, source: the record is the target's under this epoch; the source holds the guest
    /// until it hears that the target runs it, or an operator decides.
    HeldForTarget(Epoch),
    /// VMS2462, source: the target has claimed the VM under this epoch and not started it; the
    /// source takes it back unless the target does so in time.
    ClaimedByTarget(Epoch),
    /// VMS2457, source: the guest is the source's, and what it needs does not start.
    NotStartedAtSource,
    /// VMS2460, source: a restarted monitor cannot stop a guest that may not run for now.
    NotStoppedAtSource,
    /// VMS2463, source: the guest runs on the source, and a device that was detached for the move
    /// does not come back.
    NotReattached,
    /// VMS2458, source: the link is lost and is being opened again.
    LinkInterrupted,
    /// VMS2459, source: the link is there again, and the attempt goes on.
    LinkRestored,
    /// VMS2430, target: a move to this SU starts.
    IncomingStarted,
    /// VMS2431, target: the guest has reported itself ready; the move has succeeded.
    IncomingCompleted,
    /// VMS2432, target: the guest runs here.
    ResumedAtTarget,
    /// VMS2433, target: the attempt has ended and the copy is given up.
    IncomingAborted(Reason),
    /// VMS2434, target: the claim on the ownership record is not answered; the copy is held.
    HeldAtTarget,
    /// VMS2436, target: the guest is the target's, and what it needs does not start.
    NotStartedAtTarget,
    /// VMS2435, target: the guest runs here but has not reported itself ready in time.
    GuestLate,
    /// VMS3050, target: the VM is set up.
    Created,
    /// VMS4005, target: a device is assigned to the VM.
    DeviceAssigned {
        /// The device.
        device: Mnemonic,
        /// Whether other VMs use it too (`TYPE=SD`).
        shared_device: bool,
    },
    /// VMS4003, source: a device that the move takes from the guest cannot be detached.
    DeviceInUse {
        /// The device.
        device: Mnemonic,
    },
    /// VMS4009, source: a device is taken from the VM.
    DeviceRemoved {
        /// The device.
        device: Mnemonic,
    },
    /// VMS4024, source: the VM is ended and its definition deleted.
    Terminated,
    /// VMS2404, source: the check found this obstacle.
    Rejected {
        /// The obstacle.
        finding: Finding,
        /// Whether the target found it; otherwise the source itself did.
        by_target: bool,
    },
    /// VMS2404, source: the check found this many more obstacles than are listed.
    MoreFindings(u16),
    /// VMS2461, source: the verdict of a check that found obstacles.
    NotPossible,
    /// VMS2472, source: a move will block these processors of the VM, since the target has fewer.
    ProcessorsBlocked(ProcessorSet),
    /// VMS2471, source: a move will take this device from the VM.
    DetachWarning {
        /// The device.
        device: Mnemonic,
    },
}

impl Notice {
    /// The number of the VMS message.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.entry().code
    }

    /// How serious it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.entry().severity
    }

    /// Where number and text stem from.
    #[must_use]
    pub const fn wording(self) -> Wording {
        self.entry().wording
    }
}
