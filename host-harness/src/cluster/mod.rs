//! A cluster of server units: what the SUs have, the devices that they share, and the directory.
//!
//! Everything here is made from a [`Config`]. A [`Cluster`] holds what outlives a single
//! migration: the monitors' lists of VMs, free memory, generated devices, the ownership records.
//!
//! Source of truth: the configuration for what there is; VM2000 manual for the check. Invariants:
//! values and locks only, no thread, no clock; disks are the same image on each SU, LAN adapters
//! and channel paths are each SU's own. Deliberately not here: the course of a migration.

mod devices;
mod directory;
mod disk;
mod file;
mod su;
mod verify;

use devices::ClusterDevice;
pub use directory::{Directory, DirectoryPort};
use disk::ClusterDisk;
pub use file::{BUSY_MAX, DirectoryFile, EPOCH_MAX, FileError, shown, standing_word};
pub use su::{AtOnce, BuildJob, Su, SuMonitor, Witness, Workshop};
pub use verify::{Judgement, judge};

use std::{collections::BTreeMap, sync::Arc};

use monitor_core::{
    device::{Assignment, DeviceKind},
    ports::{ErrorType, OperatorConsole},
    units::{ConfigurationName, Epoch, Micros, Mnemonic, SuName, SubchannelNumber, Tick},
    vm::{Ownership, ProcessorSet, Processors, VmBlock, VmState},
};

use crate::{
    config::{self, Config, CpuId, WorkloadName},
    console::ConsoleName,
    machine::{
        Alias, Console, Ctc, Device, EmulatedDisk, Faulty, FbaDisk, Lan, LineSink, LoggedDisk,
        Machine, Switch, Tape, Tracking,
    },
    workload::{GuestPlan, IplError, JOURNAL_DISKS_MAX, LanLine, Peer, Sight, ipl},
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

/// All that the SUs of a configuration have.
#[derive(Debug)]
pub struct Cluster {
    sus: Vec<Arc<Su>>,
    directory: Arc<Directory>,
    devices: Vec<ClusterDevice>,
    disks: BTreeMap<Mnemonic, ClusterDisk>,
    peers: Vec<Peer>,
    epoch: Epoch,
    tracking: Tracking,
    /// The guest that the configured VM gets.
    pub plan: GuestPlan,
}

impl Cluster {
    /// The cluster of `config`, which has the record of its VM in memory; the guest's console
    /// lines go to `hub`.
    ///
    /// # Errors
    /// Fails when the image file of a disk cannot be used.
    pub fn new(config: &Config, hub: &Arc<dyn ConsoleHub>) -> Result<Arc<Self>, IplError> {
        let cluster = Self::without_record(config, hub, FIRST_EPOCH)?;
        let first = Ownership::running(config.vm.on, FIRST_EPOCH);
        cluster.directory.enter(config.vm.name, first);
        Ok(cluster)
    }

    /// As [`Cluster::new`], for a VM that runs under `epoch` of a record that is elsewhere.
    ///
    /// # Errors
    /// Fails when the image file of a disk cannot be used.
    pub fn without_record(
        config: &Config,
        hub: &Arc<dyn ConsoleHub>,
        epoch: Epoch,
    ) -> Result<Arc<Self>, IplError> {
        let disks = disk::of(config).map_err(IplError::NoImage)?;
        let console: Arc<dyn LineSink> =
            Arc::new(HubConsole::new(Arc::clone(hub), ConsoleName::Guest));
        let console: Arc<dyn Device> = Arc::new(Console::new(console));
        let (mut devices, mut peers) = (Vec::new(), Vec::new());
        let in_memory = |device: &config::Device| ClusterDisk::in_memory(device.format()).device();
        let pings = config.workload.runs(WorkloadName::Network);
        for (number, device) in (0_u16..).zip(&config.vm.devices) {
            let disk = disks.get(&device.base.unwrap_or(device.mnemonic));
            let disk = || disk.map_or_else(|| in_memory(device), ClusterDisk::device);
            let (adapter, _other_side) = Ctc::pair();
            let tape = Arc::new(Tape::new(TAPE_BYTES));
            let switch = Switch::new();
            let behind = |su: &SuName| -> Arc<dyn Device> {
                match device.kind {
                    DeviceKind::Lan => {
                        let mac = device.mac_on(su).map_or([0; 6], |mac| mac.0);
                        Arc::new(Lan::new(mac, &switch))
                    }
                    DeviceKind::Console => Arc::clone(&console),
                    // The storage network gives every SU the same image.
                    DeviceKind::Tape => Arc::<Tape>::clone(&tape),
                    DeviceKind::PavAlias => Arc::new(Alias::of(disk())),
                    // The management unit of each SU emulates a disk of its own.
                    DeviceKind::Disk if device.emulated => {
                        Arc::new(EmulatedDisk::new(in_memory(device), system_of(config, su)))
                    }
                    DeviceKind::Disk => disk(),
                    // Nobody is ready at its other side.
                    DeviceKind::ChannelToChannel => Arc::<Ctc>::clone(&adapter),
                }
            };
            devices.push(ClusterDevice::new(config, number, device, behind));
            if pings && device.line.is_some() {
                let interval = Micros::new(config.workload.ping_interval_us);
                peers.push(Peer::new(&switch, peers.len() as u64, interval));
            }
        }
        let sus = config.sus.iter().map(|su| Arc::new(Su::new(su))).collect();
        let plan = guest_plan(config);
        let tracking = config.tracking.by;
        let directory = Arc::default();
        Ok(Arc::new(Self { sus, directory, devices, disks, peers, epoch, tracking, plan }))
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

    /// The disks to which the guest writes its journal.
    #[must_use]
    pub fn journal_disks(&self) -> Vec<&dyn LoggedDisk> {
        let device = |number| self.devices.iter().find(|it| it.fixed().subchannel == number);
        let disk = |number: &_| self.disks.get(&device(*number)?.fixed().mnemonic);
        self.plan.journal.iter().filter_map(disk).map(|disk| &*disk.logged).collect()
    }

    /// A disk, if it is one in blocks.
    #[must_use]
    pub fn blocks_of(&self, disk: Mnemonic) -> Option<&FbaDisk> {
        self.disks.get(&disk)?.blocks.as_deref()
    }

    /// The script of faults of a disk.
    #[must_use]
    pub fn faults_of(&self, disk: Mnemonic) -> Option<&Faulty> {
        self.disks.get(&disk).map(|disk| &*disk.faulty)
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

    /// The stations on the LAN lines measure outages from now on.
    pub fn forget_outage(&self, now: Tick) {
        for peer in &self.peers {
            peer.forget_outage(now);
        }
    }

    /// Creates the configured VM on its SU and loads its guest, which runs if the state says so.
    ///
    /// # Errors
    /// Fails when the guest does not fit its VM, or an image file knows a later start of the VM.
    pub fn create_vm(&self, config: &Config) -> Result<(VmBlock, Arc<Machine>), IplError> {
        let block = block(config, self.plan.initial_configuration)?;
        let pool = self.su(&config.vm.on).map_or(0, |su| su.processor_count());
        let configuration = self.su(&config.vm.on).map_or(self.plan.initial_configuration, |su| {
            su.adopt(block);
            su.configuration()
        });
        let devices = self.attached_devices(&config.vm.on);
        let machine = Arc::new(Machine::new(&block, configuration, self.plan.program(), devices));
        machine.storage.track_by(self.tracking);
        machine.set_pool(pool);
        self.attach_all(&machine, &config.vm.on).map_err(|_| IplError::Fenced)?;
        ipl(&machine, &self.plan)?;
        Ok((block, machine))
    }
}

/// What a tape of the cluster takes.
const TAPE_BYTES: u64 = 1 << 30;

/// The number of an SU, by which its channel paths are told from those of others.
fn system_of(config: &Config, su: &SuName) -> u16 {
    let place = config.sus.iter().position(|it| it.name == *su).unwrap_or_default();
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// The control block of the configured VM.
fn block(config: &Config, initial: ConfigurationName) -> Result<VmBlock, IplError> {
    let vm = &config.vm;
    let wrong = |_| IplError::MachineRefuses;
    let mut block = VmBlock::new(vm.index, vm.name, vm.memory, vm.processor_count)
        .map_err(wrong)?
        .with_processors(processors(config)?)
        .map_err(wrong)?
        .with_facilities(config.given_facilities())
        .with_cpu_id(config.su(&vm.on).and_then(|su| su.cpu_id).map_or(0, |CpuId(id)| id))
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

/// The processors of the configured VM as they stand on its SU.
fn processors(config: &Config) -> Result<Processors, IplError> {
    let (vm, pool) = (&config.vm, config.su(&config.vm.on).map_or(0, |su| su.processor_count));
    let none = ProcessorSet::EMPTY;
    Processors::standing_so(vm.processor_count, vm.detached_processors, none)
        .and_then(|processors| processors.fitted(pool))
        .ok_or(IplError::MachineRefuses)
}

/// The guest of the configured VM.
fn guest_plan(config: &Config) -> GuestPlan {
    let devices = || (0_u16..).zip(&config.vm.devices);
    let first = |kind: DeviceKind| devices().find(|(_, device)| device.kind == kind);
    let number_of = |number, device| devices::subchannel_on(number, device, &config.vm.on);
    // The journal is written to the disks that move, to shared devices first.
    let takes = |it: &config::Device| it.takes_journal() && it.is_generated_on(&config.vm.on);
    let mut disks: Vec<_> = devices().filter(|(_, device)| takes(device)).collect();
    disks.sort_by_key(|(_, device)| device.assignment != Assignment::SharedDevice);
    let journal = disks.into_iter().take(JOURNAL_DISKS_MAX);
    let lines = devices().filter_map(|(number, device)| {
        let name = device.line?;
        let subchannel = number_of(number, device);
        Some(LanLine { name: name.as_str().to_owned(), vlan: device.vlan, subchannel })
    });
    let own = config.su(&config.vm.on).map(|su| su.configuration);
    let initial = config.vm.initial_configuration.or(own);
    GuestPlan {
        kinds: config.workload.kinds(),
        manner: config.workload.manner,
        fill: config.workload.fill,
        seed: config.workload.seed,
        console: first(DeviceKind::Console)
            .map_or(SubchannelNumber::new(0), |(number, device)| number_of(number, device)),
        journal: journal.map(|(number, device)| number_of(number, device)).collect(),
        lines: lines.collect(),
        initial_configuration: initial.unwrap_or(ConfigurationName::EMPTY),
    }
}
