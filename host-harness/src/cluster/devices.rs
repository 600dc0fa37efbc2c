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
    /// As each SU knows it that has it, or an alias of the same base in its place.
    here: BTreeMap<SuName, DeviceDescriptor>,
    /// The SU where another VM has it exclusively.
    held_on: Option<SuName>,
    /// How many other VMs have it on each SU.
    others: BTreeMap<SuName, usize>,
    is_in_use: bool,
    /// As the definition of the VM on an SU has it: as configured, or as a move has brought it.
    defined_on: Mutex<BTreeMap<SuName, Definition>>,
}

/// A device in the definition of a VM on an SU.
#[derive(Clone, Copy, Debug)]
struct Definition {
    descriptor: DeviceDescriptor,
    /// Whether the VM has it: an alias that the SU does not have it goes without.
    is_assigned: bool,
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
        let is_alias = device.kind == DeviceKind::PavAlias;
        let descriptor = descriptor(config, number, device);
        let defined = |su: SuName| {
            let is_assigned = !is_alias || su == config.vm.on;
            (su, Definition { descriptor, is_assigned })
        };
        let here = |su: &config::Su| {
            let subchannel = subchannel_on(number, device, &su.name);
            let own = has_own(device, su).then_some(DeviceDescriptor { subchannel, ..descriptor });
            Some((su.name, own.or_else(|| stand_in(config, number, &descriptor, su))?))
        };
        Self {
            descriptor,
            latency: Micros::new(device.latency_us()),
            on: sus().map(|su| (su, behind(&su))).collect(),
            here: config.sus.iter().filter_map(here).collect(),
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
    fn defined_on(&self, su: &SuName) -> Definition {
        let configured = Definition { descriptor: self.descriptor, is_assigned: true };
        self.definitions().get(su).copied().unwrap_or(configured)
    }

    /// Whether the guest is to have the device attached on an SU where it is.
    fn is_to_be_attached_on(&self, su: &SuName) -> bool {
        let defined = self.defined_on(su);
        defined.is_assigned && !defined.descriptor.is_detached
    }

    fn definitions(&self) -> MutexGuard<'_, BTreeMap<SuName, Definition>> {
        self.defined_on.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Whether an SU has the device for the VM: no other VM has an alias beside it.
fn has_own(device: &config::Device, su: &config::Su) -> bool {
    let is_held = device.kind == DeviceKind::PavAlias && device.held_on == Some(su.name);
    device.is_generated_on(&su.name) && !is_held
}

/// The free alias that an SU gives in place of the one in this place, which it does not have: each
/// one to one of the aliases of the same base.
fn stand_in(
    config: &Config,
    number: u16,
    device: &DeviceDescriptor,
    su: &config::Su,
) -> Option<DeviceDescriptor> {
    let place = usize::from(number);
    let base = config.vm.devices.get(place)?.base?;
    let lacking = |it: &&config::Device| it.base == Some(base) && !has_own(it, su);
    let before = config.vm.devices.iter().take(place).filter(lacking).count();
    let mut free = su.aliases.iter().zip(config.vm.devices.len()..);
    let (alias, number) = free.by_ref().filter(|(alias, _)| alias.base == base).nth(before)?;
    let number = DeviceNumber::new(u16::try_from(number).ok()?);
    let (mnemonic, subchannel) = (alias.mnemonic, alias.subchannel);
    Some(DeviceDescriptor { mnemonic, number, subchannel, ..*device })
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
    /// before a move is what it needs, and no path leads to an alias that an SU does not have.
    #[must_use]
    pub fn attached_devices(&self, su: &SuName) -> Vec<AttachedDevice> {
        let system = self.sus.iter().position(|it| it.name() == *su).unwrap_or_default();
        let number = |place: usize| u16::try_from(place).unwrap_or(u16::MAX);
        let path = Path { system: number(system), channel: 0 };
        let others: Vec<u16> =
            (0..self.sus.len()).filter(|other| *other != system).map(number).collect();
        let on = |device: &ClusterDevice| {
            let behind = Arc::clone(device.on.get(su)?);
            let here = device.here.get(su);
            let descriptor = here.copied().unwrap_or(device.descriptor);
            let attached = AttachedDevice::new(descriptor, behind, device.latency, path);
            let paths = here.map(|_| path).into_iter().collect();
            Some(AttachedDevice { paths, ..attached.reached_from(others.clone()) })
        };
        self.devices.iter().filter_map(on).collect()
    }

    /// The leases of the devices on an SU where the VM is.
    #[must_use]
    pub fn entries(&self, su: &SuName, epoch: Epoch) -> Vec<DeviceEntry> {
        let entry = |it: &ClusterDevice| match it.defined_on(su) {
            Definition { descriptor, is_assigned: true } => {
                DeviceEntry::attached(descriptor, epoch)
            }
            Definition { descriptor, is_assigned: false } => DeviceEntry::free(descriptor),
        };
        self.devices.iter().map(entry).collect()
    }

    /// The devices as the definition on an SU has them.
    #[must_use]
    pub fn devices_on(&self, su: &SuName) -> Vec<DeviceDescriptor> {
        self.devices.iter().map(|it| it.defined_on(su).descriptor).collect()
    }

    /// The devices that the guest does not have attached on an SU where it is.
    #[must_use]
    pub fn detached_on(&self, su: &SuName) -> Vec<Mnemonic> {
        let detached = self.devices.iter().filter(|it| !it.is_to_be_attached_on(su));
        detached.map(|it| it.descriptor.mnemonic).collect()
    }

    /// Whether the guest is to have the device attached on an SU where it is.
    pub(super) fn is_to_be_attached(&self, su: &SuName, slot: DeviceSlot) -> bool {
        let device = self.devices.get(usize::from(slot.get()));
        device.is_some_and(|device| device.is_to_be_attached_on(su))
    }

    /// Resets and attaches the devices of a VM that is started on an SU.
    ///
    /// # Errors
    /// Fails when a device has seen a higher epoch of the VM, which an image file remembers.
    pub(super) fn attach_all(&self, machine: &Machine, su: &SuName) -> Result<(), ChannelError> {
        machine.with_subsystem(|subsystem| {
            for (slot, device) in (0..).map(DeviceSlot::new).zip(&self.devices) {
                if device.here.contains_key(su) && device.is_to_be_attached_on(su) {
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
        let here = known.and_then(|known| Some((known, *known.here.get(su)?)));
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
        let takes = |known: &&ClusterDevice| {
            known.here.get(su).is_some_and(|here| device.is_replaced_by(here))
        };
        let Some(known) = known.filter(takes) else {
            return false;
        };
        let is_detached = device.is_detached || device.conduct() == Conduct::DetachForGood;
        let descriptor = DeviceDescriptor { is_detached, ..*device };
        known.definitions().insert(*su, Definition { descriptor, is_assigned: true });
        true
    }

    /// Whether a job of the guest uses the device.
    pub(super) fn is_in_use(&self, slot: DeviceSlot) -> bool {
        self.devices.get(usize::from(slot.get())).is_some_and(|device| device.is_in_use)
    }

    /// How the devices that the VM has are used on an SU where it is, by mnemonic.
    #[must_use]
    pub fn usages_on(&self, su: &SuName) -> Vec<(Mnemonic, Usage)> {
        let usage = |device: &ClusterDevice| {
            let vm_count = device.others.get(su).copied().unwrap_or(0).saturating_add(1);
            (
                device.descriptor.mnemonic,
                device.defined_on(su).descriptor.assignment.usage(vm_count),
            )
        };
        let assigned = self.devices.iter().filter(|it| it.defined_on(su).is_assigned);
        assigned.map(usage).collect()
    }

    fn named(&self, mnemonic: Mnemonic) -> Option<&ClusterDevice> {
        self.devices.iter().find(|device| device.descriptor.mnemonic == mnemonic)
    }
}
