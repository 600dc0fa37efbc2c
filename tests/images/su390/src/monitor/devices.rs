//! The VM's devices on this SU: each is a subchannel of the machine, found by its device number.
//!
//! A device that is the VM's and usable is an enabled subchannel. The guest's console is driven by
//! the monitor, which keeps its subchannel enabled and writes for the guest only while it is
//! attached.
//!
//! Source of truth: `monitor_core::ports::DeviceControl`. Invariants: a device is usable under one
//! epoch, which does not fall; there is no I/O in flight between two steps, since the guest's I/O
//! is done when the monitor does it. Deliberately not here: leases, which the core keeps.

use heapless::Vec;
use monitor_core::{
    channel::SubchannelImage,
    device::{DeviceDescriptor, DeviceKind},
    ports::ErrorKind,
    units::{DeviceSlot, Epoch},
};

use super::config::DEVICES_MAX;
use crate::channel::{self, Subchannel};

/// A device that the VM has on this SU.
#[derive(Clone, Copy, Debug)]
struct Assigned {
    descriptor: DeviceDescriptor,
    subchannel: Subchannel,
    /// The highest epoch under which it was usable.
    epoch: Epoch,
    is_usable: bool,
}

/// The VM's devices, by slots.
#[derive(Debug, Default)]
pub struct Devices {
    slots: Vec<Option<Assigned>, DEVICES_MAX>,
}

impl Devices {
    /// No devices.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// Whether this SU has the device.
    #[must_use]
    pub fn exists(device: &DeviceDescriptor) -> bool {
        channel::find(device.number).is_some()
    }

    /// The devices of the VM, in the order of their slots.
    pub fn descriptors(&self) -> impl Iterator<Item = DeviceDescriptor> {
        self.slots.iter().flatten().map(|assigned| assigned.descriptor)
    }

    /// Whether the guest may write on its console.
    #[must_use]
    pub fn is_console_usable(&self) -> bool {
        let mut all = self.slots.iter().flatten();
        all.any(|it| it.descriptor.kind == DeviceKind::Console && it.is_usable)
    }

    /// Forgets all devices; those that are left are not usable afterwards.
    pub fn clear(&mut self) {
        for assigned in self.slots.iter_mut().flatten() {
            // A device that does not take it is gone, and nobody uses it.
            let _ = switch(assigned, false);
        }
        self.slots.clear();
    }

    /// Gives the device to the VM, not usable yet.
    ///
    /// # Errors
    /// Fails when this SU does not have it, or there are too many.
    pub fn assign(&mut self, slot: DeviceSlot, device: &DeviceDescriptor) -> Result<(), ErrorKind> {
        let subchannel = channel::find(device.number).ok_or(ErrorKind::NoResource)?;
        let index = usize::from(slot.get());
        while self.slots.len() <= index {
            self.slots.push(None).map_err(|_| ErrorKind::NoResource)?;
        }
        let assigned =
            Assigned { descriptor: *device, subchannel, epoch: Epoch::new(0), is_usable: false };
        self.slots[index] = Some(assigned);
        Ok(())
    }

    /// Makes the device usable under an epoch.
    ///
    /// # Errors
    /// Fails for an older epoch than before, and when the subchannel does not take it.
    pub fn attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), ErrorKind> {
        let assigned = self.assigned(slot)?;
        if epoch < assigned.epoch {
            return Err(ErrorKind::Refused);
        }
        assigned.epoch = epoch;
        switch(assigned, true)
    }

    /// Lets no I/O start any more.
    ///
    /// # Errors
    /// Fails when the VM does not have the device.
    pub fn quiesce(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        self.assigned(slot)?.is_usable = false;
        Ok(())
    }

    /// Detaches the device from the guest, whose it stays. Nothing of the guest's is in flight.
    ///
    /// # Errors
    /// Fails when the VM does not have the device, or the subchannel does not take it.
    pub fn detach(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        switch(self.assigned(slot)?, false)
    }

    /// Takes the device from the VM; one that it does not have is taken already.
    ///
    /// # Errors
    /// Fails when the subchannel does not take it.
    pub fn remove(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        let Ok(assigned) = self.assigned(slot) else {
            return Ok(());
        };
        switch(assigned, false)?;
        self.slots[usize::from(slot.get())] = None;
        Ok(())
    }

    /// Writes the state of the subchannel: no I/O of the guest is in flight, ever.
    ///
    /// # Errors
    /// Fails when the VM does not have the device.
    pub fn capture(
        &mut self,
        slot: DeviceSlot,
        image: &mut SubchannelImage,
    ) -> Result<(), ErrorKind> {
        let assigned = self.assigned(slot)?;
        *image = SubchannelImage::idle(assigned.subchannel.number, assigned.descriptor.number);
        Ok(())
    }

    /// Takes the state of a subchannel, which has no I/O in flight either.
    ///
    /// # Errors
    /// Fails when the VM does not have the device, and for a subchannel that is not quiet.
    pub fn restore(&mut self, slot: DeviceSlot, image: &SubchannelImage) -> Result<(), ErrorKind> {
        self.assigned(slot)?;
        if image.is_quiet() { Ok(()) } else { Err(ErrorKind::NotReady) }
    }

    fn assigned(&mut self, slot: DeviceSlot) -> Result<&mut Assigned, ErrorKind> {
        let entry = self.slots.get_mut(usize::from(slot.get()));
        entry.and_then(Option::as_mut).ok_or(ErrorKind::OutOfRange)
    }
}

/// Makes a device usable or not.
fn switch(assigned: &mut Assigned, usable: bool) -> Result<(), ErrorKind> {
    // To disable a virtio device resets it, which the monitor's own driver would not survive.
    if assigned.descriptor.kind != DeviceKind::Console {
        assigned.subchannel.set_enabled(usable).map_err(|_| ErrorKind::NotReady)?;
    }
    assigned.is_usable = usable;
    Ok(())
}
