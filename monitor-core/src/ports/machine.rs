//! Ports of the rest of the emulated or real machine: processors, devices, guest events.
//!
//! Source of truth: Principles of Operation (processors, channel subsystem); VM2000 manual
//! (guest handshake at a migration). Invariants: each `start_*` that returns `Ok` leads to
//! exactly one [`Completion`] of the same operation; a processor is reported stopped only after
//! its last store has been noted. Deliberately not here: scheduling of processors.

use super::{ErrorKind, ErrorType};
use crate::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, ProcessorIndex},
    vm::{MachineImage, ProcessorSet},
};

pub use crate::vm::{GuestAnswer, GuestEvent, Operation};

/// The end of an operation that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Completion {
    /// The guest answered what it was told last, or reported itself.
    Guest(GuestAnswer),
    /// The operation has succeeded.
    Done(Operation),
    /// The operation has failed.
    Failed(Operation, ErrorKind),
}

/// Where completions of all started operations are fetched, in the order in which they ended.
pub trait Completions {
    /// The next completion, if one has come.
    fn poll_completion(&mut self) -> Option<Completion>;
}

/// The virtual processors of the VM, and what belongs to all of them.
pub trait GuestProcessors: ErrorType {
    /// The number of virtual processors, in whatever standing. The registers of one that is
    /// detached or blocked are captured and restored as those of the others.
    fn processor_count(&self) -> u16;

    /// Starts to stop all processors; ends with [`Operation::StopProcessors`].
    ///
    /// # Errors
    /// Fails when they cannot be stopped; they go on running then.
    fn start_stop(&mut self) -> Result<(), Self::Error>;

    /// Starts all processors that are attached on this SU; ends with
    /// [`Operation::ResumeProcessors`]. Overtakes a stop that is
    /// under way, whose completion still comes.
    ///
    /// # Errors
    /// Fails when they cannot be started; they stay stopped then.
    fn start_resume(&mut self) -> Result<(), Self::Error>;

    /// Writes the state of one processor into `image`. A processor that runs is captured at some
    /// recent moment (a rehearsal); one that is stopped, exactly.
    ///
    /// # Errors
    /// Fails when there is no such processor or its state cannot be read.
    fn capture(
        &mut self,
        index: ProcessorIndex,
        image: &mut ProcessorImage,
    ) -> Result<(), Self::Error>;

    /// Loads one stopped processor from `image`.
    ///
    /// # Errors
    /// Fails when there is no such processor or it lacks what the image needs.
    fn restore(&mut self, index: ProcessorIndex, image: &ProcessorImage)
    -> Result<(), Self::Error>;

    /// Writes what belongs to the machine as a whole into `image`, without changing it; like
    /// [`Self::capture`], at some recent moment or exactly.
    ///
    /// # Errors
    /// Fails when the state cannot be read.
    fn capture_machine(&mut self, image: &mut MachineImage) -> Result<(), Self::Error>;

    /// Loads what belongs to the machine as a whole from `image`; the processors are stopped.
    ///
    /// # Errors
    /// Fails when the machine lacks what the image needs.
    fn restore_machine(&mut self, image: &MachineImage) -> Result<(), Self::Error>;
}

/// What the monitor tells the guest, and hears from it. An answer belongs to one question: one that
/// comes to what an earlier attempt has asked is not reported, or a guest would seem to be ready
/// that is not.
pub trait GuestEvents: ErrorType {
    /// Notes which processors the guest loses by the move that it is told of next, so that it can
    /// ask and leave them before it answers; empty for none.
    ///
    /// # Errors
    /// Fails when the guest cannot learn it.
    fn foretell(&mut self, surplus: ProcessorSet) -> Result<(), Self::Error>;

    /// Tells the guest of `event`; ends with one [`Completion::Guest`], perhaps never when the
    /// guest is silent: the machine keeps a deadline.
    ///
    /// # Errors
    /// Fails when the guest cannot be told.
    fn start_tell(&mut self, event: GuestEvent) -> Result<(), Self::Error>;
}

/// The devices of the VM: control path.
pub trait DeviceControl: ErrorType {
    /// Starts to assign the device to the VM on this SU, not yet usable; ends with
    /// [`Operation::AssignDevice`]. The guest knows the device by the subchannel number in
    /// `device`, whatever number it has here. For a PAV alias, which is assigned when the guest
    /// runs, any alias of the same base will do.
    ///
    /// # Errors
    /// Fails when the assignment cannot be tried.
    fn start_assign(
        &mut self,
        slot: DeviceSlot,
        device: &DeviceDescriptor,
    ) -> Result<(), Self::Error>;

    /// Lets started I/O of the device end and starts no new one; ends with
    /// [`Operation::QuiesceDevice`] when nothing is in flight.
    ///
    /// # Errors
    /// Fails when the device cannot be quiesced.
    fn start_quiesce(&mut self, slot: DeviceSlot) -> Result<(), Self::Error>;

    /// Detaches a quiesced device from the guest, to whose subchannel no path leads then; ends
    /// with [`Operation::DetachDevice`], soon and without waiting for the guest. A PAV alias is
    /// removed from the VM as well. What the guest uses is not detached, an alias excepted: the
    /// operation fails, and the device stays as it was. What waits to begin on an alias ends as
    /// where no path is operational; a status that is pending stays so.
    ///
    /// # Errors
    /// Fails when the device cannot be detached.
    fn start_detach(&mut self, slot: DeviceSlot) -> Result<(), Self::Error>;

    /// Makes the device usable by the VM on this SU under `epoch`, also after a quiesce or a
    /// detach; ends with [`Operation::AttachDevice`].
    ///
    /// # Errors
    /// Fails when the device cannot be attached.
    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), Self::Error>;

    /// Takes the device away from the VM on this SU; ends with [`Operation::RemoveDevice`].
    ///
    /// # Errors
    /// Fails when the device cannot be removed.
    fn start_remove(&mut self, slot: DeviceSlot) -> Result<(), Self::Error>;

    /// Writes the state of the device's subchannel into `image`, without changing it.
    ///
    /// # Errors
    /// Fails when there is no such device.
    fn capture_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &mut SubchannelImage,
    ) -> Result<(), Self::Error>;

    /// Loads the state of the device's subchannel from `image`; also for a PAV alias, which is not
    /// assigned yet.
    ///
    /// # Errors
    /// Fails when there is no such device or it cannot take the state.
    fn restore_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &SubchannelImage,
    ) -> Result<(), Self::Error>;
}
