//! The devices of the configured VM, as each SU has them.
//!
//! Source of truth: the configuration; VM2000 manual (device configuration and device management
//! at a live migration). Invariants: a slot is the place of the device in the configuration, on
//! every SU; the guest knows a device by its subchannel number on the SU where it was started.
//! Deliberately not here: what a device does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use monitor_core::{
    device::{Assignment, Conduct, DeviceDescriptor, DeviceEntry, DeviceKind, Usage},
    units::{DeviceNumber, DeviceSlot, Epoch, Micros, Mnemonic, SuName, SubchannelNumber},
    vm::{Findings, Obstacle},
};

use super::Cluster;
use crate::{
    config::{self, Config},
    machine::{AttachedDevice, ChannelError, Device, Machine, Path},
};

/// A device of the configured VM, with what stands behind it on each SU.
#[derive(Debug)]
pub(super) struct ClusterDevice {
    /// As the guest knows it where it is started.
    descriptor: DeviceDescriptor,
    latency: Micros,
    on: BTreeMap<SuName, Arc<dyn Device>>,
    is_generated_on: Vec<SuName>,
    subchannels: BTreeMap<SuName, SubchannelNumber>,
    /// The SU where another VM has it exclusively.
    held_on: Option<SuName>,
    /// How many other VMs have it on each SU.
    others: BTreeMap<SuName, usize>,
    is_in_use: bool,
    /// As the definition of the VM on an SU has it: as configured, or as a move has brought it.
    defined_on: Mutex<BTreeMap<SuName, DeviceDescriptor>>,
}

/// The subchannel number of the device in this place on an SU.
pub(super) fn subchannel_on(number: u16, device: &config::Device, su: &SuName) -> SubchannelNumber {
    device.subchannel_on(su).unwrap_or(SubchannelNumber::new(number))
}

impl ClusterDevice {
    /// The device in this place, with `behind` it on each SU.
    pub(super) fn new(
        config: &Config,
        number: u16,
        device: &config::Device,
        behind: impl Fn(&SuName) -> Arc<dyn Device>,
    ) -> Self {
        let sus = || config.sus.iter().map(|su| su.name);
        // An alias that a target does not assign is detached there.
        let is_alias = device.kind == DeviceKind::PavAlias;
        let descriptor = descriptor(config, number, device);
        let defined = |su: SuName| {
            let is_detached = device.detached || is_alias && su != config.vm.on;
            (su, DeviceDescriptor { is_detached, ..descriptor })
        };
        Self {
            descriptor,
            latency: Micros::new(device.latency_us()),
            on: sus().map(|su| (su, behind(&su))).collect(),
            is_generated_on: sus().filter(|su| device.is_generated_on(su)).collect(),
            subchannels: sus().map(|su| (su, subchannel_on(number, device, &su))).collect(),
            held_on: device.held_on,
            others: sus().map(|su| (su, device.others_on(&su))).collect(),
            is_in_use: device.in_use,
            defined_on: Mutex::new(sus().map(defined).collect()),
        }
    }

    /// The descriptor's fields that never change.
    pub(super) const fn fixed(&self) -> &DeviceDescriptor {
        &self.descriptor
    }

    /// As the definition of the VM on an SU has it.
    fn defined_on(&self, su: &SuName) -> DeviceDescriptor {
        self.definitions().get(su).copied().unwrap_or(self.descriptor)
    }

    fn is_detached_on(&self, su: &SuName) -> bool {
        self.defined_on(su).is_detached
    }

    fn definitions(&self) -> MutexGuard<'_, BTreeMap<SuName, DeviceDescriptor>> {
        self.defined_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As an SU knows it; `None` where it is not generated.
    fn descriptor_on(&self, su: &SuName) -> Option<DeviceDescriptor> {
        let is_generated = self.is_generated_on.contains(su);
        let subchannel = self.subchannels.get(su).filter(|_| is_generated)?;
        Some(DeviceDescriptor { subchannel: *subchannel, ..self.descriptor })
    }

    /// How other VMs have the device on an SU.
    fn other_assignment(&self, su: &SuName) -> Option<Assignment> {
        if self.held_on == Some(*su) {
            return Some(Assignment::Exclusive);
        }
        let others = self.others.get(su).filter(|count| **count > 0);
        others.map(|_| Assignment::SharedDevice)
    }
}

/// The device in this place, as the guest knows it.
fn descriptor(config: &Config, number: u16, device: &config::Device) -> DeviceDescriptor {
    // The identity stands for a volume serial: equal on both SUs for the same device.
    let mut identity = [0; 8];
    for (target, source) in identity.iter_mut().zip(device.mnemonic.as_bytes()) {
        *target = *source;
    }
    let place_of = |base: Mnemonic| config.vm.devices.iter().position(|it| it.mnemonic == base);
    let base = device.base.and_then(place_of).and_then(|place| u16::try_from(place).ok());
    DeviceDescriptor {
        mnemonic: device.mnemonic,
        number: DeviceNumber::new(number),
        kind: device.kind,
        assignment: device.assignment,
        is_emulated: device.emulated,
        is_detached: device.detached,
        base: base.map(DeviceNumber::new),
        subchannel: subchannel_on(number, device, &config.vm.on),
        identity: u64::from_be_bytes(identity),
    }
}

impl Cluster {
    /// The devices as the machine of the VM on an SU gets them. There is a slot for each: checked
    /// before a move is what it needs, and an alias that an SU does not have is not assigned.
    #[must_use]
    pub fn attached_devices(&self, su: &SuName) -> Vec<AttachedDevice> {
        let system = self.sus.iter().position(|it| it.name() == *su).unwrap_or_default();
        let number = |place: usize| u16::try_from(place).unwrap_or(u16::MAX);
        let path = Path { system: number(system), channel: 0 };
        let others: Vec<u16> =
            (0..self.sus.len()).filter(|other| *other != system).map(number).collect();
        let on = |device: &ClusterDevice| {
            let behind = Arc::clone(device.on.get(su)?);
            let subchannel = *device.subchannels.get(su)?;
            let descriptor = DeviceDescriptor { subchannel, ..device.descriptor };
            let attached = AttachedDevice::new(descriptor, behind, device.latency, path);
            Some(attached.reached_from(others.clone()))
        };
        self.devices.iter().filter_map(on).collect()
    }

    /// The leases of the devices on an SU where the VM is.
    #[must_use]
    pub fn entries(&self, su: &SuName, epoch: Epoch) -> Vec<DeviceEntry> {
        let entry = |it: &ClusterDevice| DeviceEntry::attached(it.defined_on(su), epoch);
        self.devices.iter().map(entry).collect()
    }

    /// The devices as the definition on an SU has them.
    #[must_use]
    pub fn devices_on(&self, su: &SuName) -> Vec<DeviceDescriptor> {
        self.devices.iter().map(|it| it.defined_on(su)).collect()
    }

    /// Whether the guest is to have the device attached on an SU where it is.
    pub(super) fn is_to_be_attached(&self, su: &SuName, slot: DeviceSlot) -> bool {
        let device = self.devices.get(usize::from(slot.get()));
        device.is_some_and(|device| !device.is_detached_on(su))
    }

    /// Resets and attaches the devices of a VM that is started on an SU.
    ///
    /// # Errors
    /// Fails when a device has seen a higher epoch of the VM, which an image file remembers.
    pub(super) fn attach_all(&self, machine: &Machine, su: &SuName) -> Result<(), ChannelError> {
        machine.with_subsystem(|subsystem| {
            for (slot, device) in (0..).map(DeviceSlot::new).zip(&self.devices) {
                let is_there = device.is_generated_on.contains(su);
                if is_there && !device.is_detached_on(su) {
                    subsystem.reset(slot, self.epoch)?;
                    subsystem.attach(slot, self.epoch)?;
                }
            }
            Ok(())
        })
    }

    /// Holds a device of an announced VM against what an SU has.
    pub(super) fn check_device(
        &self,
        su: &SuName,
        device: &DeviceDescriptor,
        findings: &mut Findings,
    ) {
        if device.conduct() == Conduct::Alias {
            return;
        }
        let known = self.named(device.mnemonic);
        let here = known.and_then(|known| Some((known, known.descriptor_on(su)?)));
        match here {
            Some((known, here)) if device.is_replaced_by(&here) => {
                let other = known.other_assignment(su);
                if !other.is_none_or(|other| device.assignment.goes_with(other)) {
                    findings.add_device(Obstacle::DeviceHeld, device.mnemonic);
                }
            }
            Some(_) | None => findings.add_device(Obstacle::DeviceMissing, device.mnemonic),
        }
    }

    /// Gives the VM a device on an SU to which it moves: its definition there has it as `device`
    /// says, and as detached when it does not go with the guest. Gives whether the SU has it.
    pub(super) fn assign(&self, su: &SuName, device: &DeviceDescriptor) -> bool {
        let known = self.named(device.mnemonic);
        let Some(known) = known.filter(|known| known.is_generated_on.contains(su)) else {
            return false;
        };
        let is_detached = device.is_detached || device.conduct() == Conduct::DetachForGood;
        known.definitions().insert(*su, DeviceDescriptor { is_detached, ..*device });
        true
    }

    /// Whether a job of the guest uses the device.
    pub(super) fn is_in_use(&self, slot: DeviceSlot) -> bool {
        self.devices.get(usize::from(slot.get())).is_some_and(|device| device.is_in_use)
    }

    /// How the VM's devices are used on an SU where it is, by mnemonic.
    #[must_use]
    pub fn usages_on(&self, su: &SuName) -> Vec<(Mnemonic, Usage)> {
        let usage = |device: &ClusterDevice| {
            let vm_count = device.others.get(su).copied().unwrap_or(0).saturating_add(1);
            (device.descriptor.mnemonic, device.defined_on(su).assignment.usage(vm_count))
        };
        self.devices.iter().map(usage).collect()
    }

    fn named(&self, mnemonic: Mnemonic) -> Option<&ClusterDevice> {
        self.devices.iter().find(|device| device.descriptor.mnemonic == mnemonic)
    }
}
