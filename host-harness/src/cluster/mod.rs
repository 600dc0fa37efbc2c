//! A cluster of server units: what the SUs have, the devices that they share, and the directory.
//!
//! Everything here is made from a [`Config`]. A [`Cluster`] holds what outlives a single
//! migration: the monitors' lists of VMs, free memory, generated devices, the ownership records.
//!
//! Source of truth: the configuration for what there is; VM2000 manual for the check. Invariants:
//! values and locks only, no thread, no clock; disks are the same image on each SU, LAN adapters
//! and channel paths are each SU's own. Deliberately not here: the course of a migration.

mod directory;
mod file;
mod su;
mod verify;

pub use directory::{Directory, DirectoryPort};
pub use file::{BUSY_MAX, DirectoryFile, EPOCH_MAX, FileError, shown, standing_word};
pub use su::{AtOnce, BuildJob, Su, SuMonitor, Witness, Workshop};
pub use verify::{Judgement, judge};

use std::{collections::BTreeMap, sync::Arc};

use monitor_core::{
    device::{DeviceDescriptor, DeviceEntry, DeviceKind},
    ports::{ErrorType, OperatorConsole},
    units::{
        ConfigurationName, DeviceNumber, Epoch, Micros, Mnemonic, SuName, SubchannelNumber, Tick,
    },
    vm::{Ownership, VmBlock, VmState},
};

use crate::{
    config::{Config, WorkloadName},
    console::ConsoleName,
    machine::{
        AttachedDevice, Console, Device, FbaDisk, Lan, LineSink, Machine, Path, Switch, Tracking,
    },
    workload::{GuestPlan, IplError, JOURNAL_BLOCKS, LanLine, Peer, Sight, ipl},
};

/// The epoch of a VM that is started for the first time.
pub const FIRST_EPOCH: Epoch = Epoch::new(1);

/// Where console lines go, from whichever thread they come.
pub trait ConsoleHub: Send + Sync {
    /// Takes one line.
    fn line(&self, console: ConsoleName, text: &str);
}

/// One console of a hub.
#[derive(Clone)]
pub struct HubConsole {
    hub: Arc<dyn ConsoleHub>,
    name: ConsoleName,
}

impl HubConsole {
    /// The console of this name.
    #[must_use]
    pub fn new(hub: Arc<dyn ConsoleHub>, name: ConsoleName) -> Self {
        Self { hub, name }
    }
}

impl std::fmt::Debug for HubConsole {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("HubConsole").field(&self.name).finish()
    }
}

impl LineSink for HubConsole {
    fn line(&self, text: &str) {
        self.hub.line(self.name, text);
    }
}

impl ErrorType for HubConsole {
    type Error = std::convert::Infallible;
}

impl OperatorConsole for HubConsole {
    fn write_line(&mut self, line: &str) -> Result<(), Self::Error> {
        self.hub.line(self.name, line);
        Ok(())
    }
}

/// A device of the configured VM, with what stands behind it on each SU.
#[derive(Debug)]
struct ClusterDevice {
    descriptor: DeviceDescriptor,
    latency: Micros,
    on: BTreeMap<SuName, Arc<dyn Device>>,
    held_on: Option<SuName>,
}

/// All that the SUs of a configuration have.
#[derive(Debug)]
pub struct Cluster {
    sus: Vec<Arc<Su>>,
    directory: Arc<Directory>,
    devices: Vec<ClusterDevice>,
    disks: BTreeMap<Mnemonic, Arc<FbaDisk>>,
    peers: Vec<Peer>,
    epoch: Epoch,
    tracking: Tracking,
    /// The guest that the configured VM gets.
    pub plan: GuestPlan,
}

impl Cluster {
    /// The cluster of `config`, which has the record of its VM in memory; the guest's console
    /// lines go to `hub`.
    #[must_use]
    pub fn new(config: &Config, hub: &Arc<dyn ConsoleHub>) -> Arc<Self> {
        let cluster = Self::without_record(config, hub, FIRST_EPOCH);
        let first = Ownership::running(config.vm.on, FIRST_EPOCH);
        cluster.directory.enter(config.vm.name, first);
        cluster
    }

    /// As [`Cluster::new`], for a VM that runs under `epoch` of a record that is elsewhere.
    #[must_use]
    pub fn without_record(config: &Config, hub: &Arc<dyn ConsoleHub>, epoch: Epoch) -> Arc<Self> {
        let mut disks = BTreeMap::new();
        let console: Arc<dyn LineSink> =
            Arc::new(HubConsole::new(Arc::clone(hub), ConsoleName::Guest));
        let console: Arc<dyn Device> = Arc::new(Console::new(console));
        let (mut devices, mut peers) = (Vec::new(), Vec::new());
        let pings = config.workload.runs(WorkloadName::Network);
        for (number, device) in (0_u16..).zip(&config.vm.devices) {
            let disk = Arc::new(FbaDisk::in_memory(JOURNAL_BLOCKS));
            let switch = Switch::new();
            let behind = |su: &SuName| -> Arc<dyn Device> {
                match device.kind {
                    DeviceKind::Lan => {
                        let mac = device.mac_on(su).map_or([0; 6], |mac| mac.0);
                        Arc::new(Lan::new(mac, &switch))
                    }
                    DeviceKind::Console => Arc::clone(&console),
                    // The storage network gives every SU the same image.
                    DeviceKind::Disk | DeviceKind::Tape | DeviceKind::ChannelToChannel => {
                        Arc::<FbaDisk>::clone(&disk)
                    }
                }
            };
            let generated = config.sus.iter().filter(|su| device.is_generated_on(&su.name));
            devices.push(ClusterDevice {
                descriptor: descriptor(number, device),
                latency: Micros::new(device.latency_us()),
                on: generated.map(|su| (su.name, behind(&su.name))).collect(),
                held_on: device.held_on,
            });
            disks.insert(device.mnemonic, disk);
            if pings && device.line.is_some() {
                let interval = Micros::new(config.workload.ping_interval_us);
                peers.push(Peer::new(&switch, peers.len() as u64, interval));
            }
        }
        let sus = config.sus.iter().map(|su| Arc::new(Su::new(su))).collect();
        let plan = guest_plan(config);
        let tracking = config.tracking.by;
        let directory = Arc::default();
        Arc::new(Self { sus, directory, devices, disks, peers, epoch, tracking, plan })
    }

    /// The SU of this name.
    #[must_use]
    pub fn su(&self, name: &SuName) -> Option<&Arc<Su>> {
        self.sus.iter().find(|su| su.name() == *name)
    }

    /// The epoch under which the configured VM is started.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The ownership records in memory.
    #[must_use]
    pub const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The disk to which the guest writes its journal.
    #[must_use]
    pub fn journal_disk(&self) -> Option<&Arc<FbaDisk>> {
        let journal = self.plan.journal?;
        let device = self.devices.iter().find(|it| it.descriptor.subchannel == journal)?;
        self.disks.get(&device.descriptor.mnemonic)
    }

    /// Steps the stations on the LAN lines, and says when the next one has something to do.
    pub fn step_network(&self, now: Tick) -> Option<Tick> {
        self.peers.iter().map(|peer| peer.step(now)).min()
    }

    /// What the stations on the LAN lines have seen of the guest, if there are any.
    #[must_use]
    pub fn network(&self, now: Tick) -> Option<Sight> {
        self.peers.iter().map(|peer| peer.sight(now)).reduce(Sight::joined)
    }

    /// The devices as the machine of the VM on an SU gets them: those that exist there.
    #[must_use]
    pub fn attached_devices(&self, su: &SuName) -> Vec<AttachedDevice> {
        let system = self.sus.iter().position(|it| it.name() == *su).unwrap_or_default();
        let path = Path { system: u16::try_from(system).unwrap_or(u16::MAX), channel: 0 };
        let on = |device: &ClusterDevice| {
            let behind = Arc::clone(device.on.get(su)?);
            Some(AttachedDevice::new(device.descriptor, behind, device.latency, path))
        };
        self.devices.iter().filter_map(on).collect()
    }

    /// The leases of the devices on the SU where the VM is.
    #[must_use]
    pub fn entries(&self, epoch: Epoch) -> Vec<DeviceEntry> {
        let entry = |it: &ClusterDevice| DeviceEntry::attached(it.descriptor, epoch);
        self.devices.iter().map(entry).collect()
    }

    /// The device as an SU has it, and whether another VM holds it there.
    fn device_on(&self, su: &SuName, mnemonic: Mnemonic) -> Option<(DeviceDescriptor, bool)> {
        let device = self.devices.iter().find(|it| it.descriptor.mnemonic == mnemonic)?;
        device.on.get(su)?;
        Some((device.descriptor, device.held_on == Some(*su)))
    }

    /// Creates the configured VM on its SU and loads its guest, which runs if the state says so.
    ///
    /// # Errors
    /// Fails when the guest does not fit its VM.
    pub fn create_vm(&self, config: &Config) -> Result<(VmBlock, Arc<Machine>), IplError> {
        let block = block(config, self.plan.initial_configuration)?;
        let configuration = self.su(&config.vm.on).map_or(self.plan.initial_configuration, |su| {
            su.adopt(block);
            su.configuration()
        });
        let devices = self.attached_devices(&config.vm.on);
        let machine = Arc::new(Machine::new(&block, configuration, self.plan.program(), devices));
        machine.storage.track_by(self.tracking);
        machine.with_subsystem(|subsystem| {
            for (slot, device) in (0..).zip(&self.devices) {
                if device.on.contains_key(&config.vm.on) {
                    // A device that was just created is fenced by nobody.
                    let attached = subsystem.attach(slot_of(slot), self.epoch);
                    debug_assert!(attached.is_ok(), "a new device is refused");
                }
            }
        });
        ipl(&machine, &self.plan)?;
        Ok((block, machine))
    }
}

/// The device slot of this number.
const fn slot_of(number: u16) -> monitor_core::units::DeviceSlot {
    monitor_core::units::DeviceSlot::new(number)
}

fn descriptor(number: u16, device: &crate::config::Device) -> DeviceDescriptor {
    // The identity stands for a volume serial: equal on both SUs for the same device.
    let mut identity = [0; 8];
    for (target, source) in identity.iter_mut().zip(device.mnemonic.as_bytes()) {
        *target = *source;
    }
    DeviceDescriptor {
        mnemonic: device.mnemonic,
        number: DeviceNumber::new(number),
        kind: device.kind,
        assignment: device.assignment,
        subchannel: SubchannelNumber::new(number),
        identity: u64::from_be_bytes(identity),
    }
}

/// The control block of the configured VM.
fn block(config: &Config, initial: ConfigurationName) -> Result<VmBlock, IplError> {
    let vm = &config.vm;
    let wrong = |_| IplError::MachineRefuses;
    let mut block = VmBlock::new(vm.index, vm.name, vm.memory, vm.processor_count)
        .map_err(wrong)?
        .with_initial_configuration(initial)
        .with_migration_count(vm.migration_count)
        .with_state(VmState::new(vm.state));
    if let Some(quota) = vm.cpu_quota_hundredths {
        block = block.with_cpu_quota_hundredths(quota).map_err(wrong)?;
    }
    if let Some(limit) = vm.cpu_limit_hundredths {
        block = block.with_cpu_limit_hundredths(limit).map_err(wrong)?;
    }
    Ok(vm.group.map_or(block, |group| block.with_group(group)))
}

/// The guest of the configured VM.
fn guest_plan(config: &Config) -> GuestPlan {
    let devices = || (0_u16..).zip(&config.vm.devices);
    let first = |kind: DeviceKind| devices().find(|(_, device)| device.kind == kind);
    // The journal is written to a shared device if there is one, otherwise to the last disk.
    let disks = || devices().filter(|(_, device)| device.kind == DeviceKind::Disk);
    let shared =
        disks().find(|(_, it)| it.assignment == monitor_core::device::Assignment::SharedDevice);
    let journal = shared.or_else(|| disks().last());
    let lines = devices().filter_map(|(number, device)| {
        let name = device.line?;
        let subchannel = SubchannelNumber::new(number);
        Some(LanLine { name: name.as_str().to_owned(), vlan: device.vlan, subchannel })
    });
    let own = config.su(&config.vm.on).map(|su| su.configuration);
    let initial = config.vm.initial_configuration.or(own);
    GuestPlan {
        kinds: config.workload.kinds(),
        manner: config.workload.manner,
        fill: config.workload.fill,
        seed: config.workload.seed,
        console: SubchannelNumber::new(first(DeviceKind::Console).map_or(0, |(number, _)| number)),
        journal: journal.map(|(number, _)| SubchannelNumber::new(number)),
        lines: lines.collect(),
        initial_configuration: initial.unwrap_or(ConfigurationName::EMPTY),
    }
}
