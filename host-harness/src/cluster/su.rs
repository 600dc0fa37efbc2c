//! A server unit: its VMs, its memory, and its monitor system as a VM's ports see it.
//!
//! Source of truth: VM2000 manual, MIGRATE-VM (preconditions). Invariants: the check reports
//! every obstacle and changes nothing; memory that a VM has is not free. Deliberately not here:
//! processors and storage, which are the machine's.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
};

use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    limits::VM_INDEX_MAX,
    migrate::{Offer, admit_incoming},
    ports::ErrorKind,
    processor::ProcessorImage,
    units::{
        ConfigurationName, DeviceNumber, DeviceSlot, PageCount, ProcessorIndex, SuName,
        SubchannelNumber, VmIndex, VmName,
    },
    vm::{FacilityList, Findings, MachineImage, MigrationMark, Obstacle, VmBlock, VmId, VmTable},
};

use super::Cluster;
use crate::{
    config,
    machine::{Machine, Monitor, PortFailure},
};

/// A server unit.
#[derive(Debug)]
pub struct Su {
    name: SuName,
    configuration: ConfigurationName,
    processor_count: u16,
    facilities: FacilityList,
    books: Mutex<Books>,
}

/// What changes on an SU.
#[derive(Debug)]
struct Books {
    slots: Vec<Option<VmBlock>>,
    free: PageCount,
}

impl Su {
    /// The SU of a configuration, with its monitor VM and the other VMs.
    #[must_use]
    pub fn new(su: &config::Su) -> Self {
        let slots = vec![None; usize::from(VM_INDEX_MAX)];
        let this = Self {
            name: su.name,
            configuration: su.configuration,
            processor_count: su.processor_count,
            facilities: su.facilities,
            books: Mutex::new(Books { slots, free: su.memory }),
        };
        let monitor = VmName::new("VM0001").map(|name| (VmIndex::MONITOR, name));
        let others = su.vms.iter().map(|vm| (vm.index, vm.name));
        for (index, name) in monitor.into_iter().chain(others) {
            if let Ok(block) = VmBlock::new(index, name, PageCount::new(1), 1) {
                // A configuration with a name or index taken twice keeps the first.
                this.adopt_entry(block);
            }
        }
        this
    }

    /// Host name of its monitor system.
    #[must_use]
    pub const fn name(&self) -> SuName {
        self.name
    }

    /// Designation of its hardware.
    #[must_use]
    pub const fn configuration(&self) -> ConfigurationName {
        self.configuration
    }

    /// Processors for guests: no VM has more of them attached.
    #[must_use]
    pub const fn processor_count(&self) -> u16 {
        self.processor_count
    }

    /// Whether another VM than this one is being moved away.
    #[must_use]
    pub fn is_sending(&self, but: VmId) -> bool {
        self.with_table(|table| {
            let own = table.get(but).map(VmBlock::index);
            let mut leaving =
                table.iter().filter(|block| block.state().mark() == MigrationMark::Outgoing);
            leaving.any(|block| Some(block.index()) != own)
        })
    }

    /// Whether a VM is coming in.
    #[must_use]
    pub fn is_receiving(&self) -> bool {
        let comes = |block: &VmBlock| block.state().mark() == MigrationMark::Incoming;
        self.with_table(|table| table.iter().any(comes))
    }

    /// Enters a VM that is there from the beginning.
    pub fn adopt(&self, block: VmBlock) {
        let mut books = self.books();
        if VmTable::new(&mut books.slots).insert(block).is_ok() {
            books.free = PageCount::new(books.free.get().saturating_sub(block.memory().get()));
        }
    }

    /// The VM with this identification.
    #[must_use]
    pub fn vm(&self, id: VmId) -> Option<VmBlock> {
        self.with_table(|table| table.get(id).copied())
    }

    /// Changes a VM's control block.
    pub fn update(&self, block: VmBlock) -> bool {
        self.with_table(|table| table.update(block))
    }

    fn adopt_entry(&self, block: VmBlock) -> bool {
        self.with_table(|table| table.insert(block)).is_ok()
    }

    fn with_table<T>(&self, action: impl FnOnce(&mut VmTable<'_>) -> T) -> T {
        action(&mut VmTable::new(&mut self.books().slots))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes memory and an entry for a VM.
    fn reserve(&self, block: VmBlock) -> Result<(), PortFailure> {
        const SHORT: PortFailure =
            PortFailure { kind: ErrorKind::NoResource, text: "not enough free memory" };
        const TAKEN: PortFailure =
            PortFailure { kind: ErrorKind::Refused, text: "VM index or name is taken" };
        let mut books = self.books();
        let free = books.free.get().checked_sub(block.memory().get()).ok_or(SHORT)?;
        VmTable::new(&mut books.slots).insert(block).map_err(|_| TAKEN)?;
        books.free = PageCount::new(free);
        Ok(())
    }

    /// Gives back memory and entry of a VM.
    fn release(&self, name: VmName) {
        let mut books = self.books();
        if let Some(block) = VmTable::new(&mut books.slots).remove(VmId::Name(name)) {
            books.free = PageCount::new(books.free.get() + block.memory().get());
        }
    }
}

/// The state of a machine at the moment before it did anything, for the checkers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// The registers of each processor.
    pub processors: Vec<ProcessorImage>,
    /// The subchannel of each device.
    pub subchannels: Vec<SubchannelImage>,
    /// The machine as a whole.
    pub machine: MachineImage,
}

impl Witness {
    /// Everything that can be told of a stopped machine.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let processors = (0..machine.processor_count()).map(|index| {
            let mut image = ProcessorImage::initial();
            // The index is one of the machine's own.
            let captured = machine.capture(ProcessorIndex::new(index), &mut image);
            debug_assert!(captured.is_ok(), "a processor is missing");
            image
        });
        let processors = processors.collect();
        let subchannels = machine.with_subsystem(|subsystem| {
            let image = |slot| {
                let nothing = (SubchannelNumber::new(0), DeviceNumber::new(0));
                let mut image = SubchannelImage::idle(nothing.0, nothing.1);
                subsystem.capture(DeviceSlot::new(slot), &mut image).ok().map(|()| image)
            };
            (0..).map_while(image).collect()
        });
        let mut whole = MachineImage::initial();
        machine.capture_machine(&mut whole);
        Self { processors, subchannels, machine: whole }
    }

    /// Whether a target with these processors and this machine as a whole has what the source had.
    /// Behind the service signals of the source there may be those by which it tells of the move.
    #[must_use]
    pub fn goes_on_in(&self, target: &Self) -> bool {
        let (mut here, mut there) = (self.clone(), target.clone());
        let (signals, with_own) = (here.take_signals(), there.take_signals());
        with_own.starts_with(&signals)
            && here.processors == there.processors
            && here.machine == there.machine
    }

    /// Takes out the service signals, the pending one first.
    fn take_signals(&mut self) -> Vec<u32> {
        let first = self.processors.first_mut().and_then(|image| image.service_signal.take());
        let waiting = std::mem::take(&mut self.machine.floating.service_signals);
        first.into_iter().chain(waiting).collect()
    }
}

/// The work of setting up a machine, which takes time for its storage.
pub type BuildJob = Box<dyn FnOnce() + Send>;

/// Who sets machines up, and who steps them.
pub trait Workshop: Send {
    /// Does this work, now or in the background.
    fn build(&self, job: BuildJob);

    /// Takes care of a machine that was set up: from now on somebody has to step it.
    fn built(&self, machine: &Arc<Machine>);
}

/// A workshop that works at once and leaves the stepping to others.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl Workshop for AtOnce {
    fn build(&self, job: BuildJob) {
        job();
    }

    fn built(&self, _machine: &Arc<Machine>) {}
}

/// The monitor system of an SU, for one VM.
pub struct SuMonitor {
    cluster: Arc<Cluster>,
    su: Arc<Su>,
    vm: Option<VmBlock>,
    workshop: Box<dyn Workshop>,
    built: Option<mpsc::Receiver<Arc<Machine>>>,
    is_target: bool,
    witness: Arc<Mutex<Option<Witness>>>,
}

impl SuMonitor {
    /// The monitor of `su`, for `vm` if it is there already.
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        su: Arc<Su>,
        vm: Option<VmBlock>,
        workshop: Box<dyn Workshop>,
    ) -> Self {
        let is_target = vm.is_none();
        Self { cluster, su, vm, workshop, built: None, is_target, witness: Arc::default() }
    }

    /// Where the state before the first step or I/O on this SU will be.
    #[must_use]
    pub fn witness(&self) -> Arc<Mutex<Option<Witness>>> {
        Arc::clone(&self.witness)
    }
}

impl fmt::Debug for SuMonitor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SuMonitor").field("su", &self.su.name).finish_non_exhaustive()
    }
}

impl Monitor for SuMonitor {
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) {
        if definition.memory() > self.su.books().free {
            findings.add(Obstacle::MemoryShort);
        }
        if self.su.vm(VmId::Index(definition.index())).is_some() {
            findings.add(Obstacle::IndexTaken);
        }
        if self.su.vm(VmId::Name(definition.name())).is_some() {
            findings.add(Obstacle::NameTaken);
        }
        let offer = Offer {
            pool: self.su.processor_count,
            facilities: self.su.facilities,
            is_receiving: self.su.is_receiving(),
        };
        admit_incoming(definition, &offer, findings);
        for device in devices {
            self.cluster.check_device(&self.su.name, &device, findings);
        }
    }

    fn start_build(&mut self, definition: &VmBlock) -> Result<(), PortFailure> {
        // Whether the subchannel numbers differ here, the assignment of the devices shows.
        let moved = definition
            .with_migration_count(definition.migration_count().saturating_add(1))
            .with_state(definition.state().with_diff(false));
        self.su.reserve(moved)?;
        self.vm = Some(moved);
        let (definition, configuration) = (*definition, self.su.configuration);
        let pool = self.su.processor_count;
        let devices = self.cluster.attached_devices(&self.su.name);
        let (program, tracking) = (self.cluster.plan.program(), self.cluster.tracking);
        let (sender, receiver) = mpsc::channel();
        self.built = Some(receiver);
        self.workshop.build(Box::new(move || {
            let machine = Machine::new(&definition, configuration, program, devices);
            machine.storage.track_by(tracking);
            machine.set_pool(pool);
            // Nobody takes the machine any more only when the whole run is over.
            drop(sender.send(Arc::new(machine)));
        }));
        Ok(())
    }

    fn poll_built(&mut self) -> Option<Result<Arc<Machine>, PortFailure>> {
        const LOST: PortFailure =
            PortFailure { kind: ErrorKind::NoResource, text: "the machine could not be set up" };
        let machine = match self.built.as_ref()?.try_recv() {
            Ok(machine) => Ok(machine),
            Err(mpsc::TryRecvError::Empty) => return None,
            Err(mpsc::TryRecvError::Disconnected) => Err(LOST),
        };
        self.built = None;
        match &machine {
            Ok(machine) => self.workshop.built(machine),
            Err(_) => self.destroyed(None),
        }
        Some(machine)
    }

    fn destroyed(&mut self, machine: Option<Arc<Machine>>) {
        // What is still being set up is given up.
        self.built = None;
        if let Some(machine) = machine {
            machine.stop();
        }
        if let Some(vm) = self.vm.take() {
            self.su.release(vm.name());
        }
    }

    fn mark(&mut self, mark: MigrationMark) -> Result<(), PortFailure> {
        const STATE: PortFailure =
            PortFailure { kind: ErrorKind::NotReady, text: "the VM's state does not admit this" };
        let vm = self.vm.and_then(|vm| self.su.vm(VmId::Name(vm.name()))).ok_or(STATE)?;
        let activity = vm.state().activity();
        let state = match (vm.state().mark(), mark) {
            (MigrationMark::Incoming, MigrationMark::None) => vm.state().arrive(activity),
            (MigrationMark::None | MigrationMark::Outgoing | MigrationMark::Incoming, mark) => {
                vm.state().with_mark(mark)
            }
        };
        self.su.update(vm.with_state(state.map_err(|_| STATE)?));
        Ok(())
    }

    fn assign(&mut self, device: &DeviceDescriptor, differs: bool) -> Result<(), PortFailure> {
        const NONE: PortFailure =
            PortFailure { kind: ErrorKind::NoResource, text: "the SU does not have the device" };
        if !self.cluster.assign(&self.su.name, device) {
            return Err(NONE);
        }
        let vm = self.vm.and_then(|vm| self.su.vm(VmId::Name(vm.name())));
        if let (true, Some(vm)) = (differs, vm) {
            self.su.update(vm.with_state(vm.state().with_diff(true)));
        }
        Ok(())
    }

    fn is_in_use(&self, slot: DeviceSlot) -> bool {
        self.cluster.is_in_use(slot)
    }

    fn beginning(&mut self, machine: &Machine) {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_target && witness.is_none() {
            *witness = Some(Witness::of(machine));
            machine.storage.start_preserve();
        }
    }
}
