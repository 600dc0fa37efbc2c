//! Names of the operations that take time: started through a port, ended by a completion.
//!
//! Source of truth: the traits in `ports`, which promise one completion for each start.

use crate::units::DeviceSlot;

/// An operation that was started and will end with one completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Operation {
    /// Check of an announced VM against the target SU.
    CheckVm,
    /// Setting up the VM on the target.
    BuildVm,
    /// Ending the VM on this SU and giving back its storage and definition.
    DestroyVm,
    /// Noting of changes of pages and keys.
    TrackChanges,
    /// Stopping all processors.
    StopProcessors,
    /// Starting all processors.
    ResumeProcessors,
    /// Assigning a device, not yet usable.
    AssignDevice(DeviceSlot),
    /// Letting a device's I/O end.
    QuiesceDevice(DeviceSlot),
    /// Detaching a quiesced device from the guest.
    DetachDevice(DeviceSlot),
    /// Making a device usable.
    AttachDevice(DeviceSlot),
    /// Taking a device away.
    RemoveDevice(DeviceSlot),
    /// Reading or writing pages, keys, registers or subchannels.
    MoveState,
    /// Telling the guest of an event.
    TellGuest,
    /// Writing the monitor's journal; it ends at once.
    SaveJournal,
}
