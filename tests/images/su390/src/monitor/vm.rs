//! The VM on this SU: the ports of the core over the guest, its devices and the journal.
//!
//! Source of truth: `monitor_core::ports`. Invariants: the VM is in the books from the beginning
//! of its building to its end; each `start_*` that succeeds leaves one completion, and only what
//! the guest has to answer takes time. Deliberately not here: the guest's processor and storage.

use heapless::Deque;
use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    memory::{DirtyBitmap, PageRun},
    migrate::{Offer, admit_incoming},
    ports::{
        Completion, Completions, DeviceControl, DirtyTracking, ErrorKind, ErrorType, GuestEvent,
        GuestEvents, GuestProcessors, GuestStorage, MonitorJournal, Operation, PageStates,
        StorageKeys, VmHost,
    },
    processor::ProcessorImage,
    units::{ConfigurationName, DeviceSlot, Epoch, PageCount, ProcessorIndex, Tick},
    vm::{
        Activity, Facility, Findings, MachineImage, MigrationMark, Obstacle, ProcessorSet, VmBlock,
        VmState,
    },
};

use super::{
    config::{Config, DEVICES_MAX, LAN_MAX},
    console::{GuestScreen, say},
    devices::Devices,
    journal::Journal,
    memory,
};
use crate::{
    arch::clock,
    guest::{self, Figures, Guest, Hypercall, INPUT_BYTES, LanLine, Maps, Parameters, Ran},
};

/// Completions that wait at most: one for each device, and few more.
const COMPLETIONS_MAX: usize = 4 * DEVICES_MAX;

/// What the guest does when its slice has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It could run on.
    Ready,
    /// It waits, or stands still, at least up to this moment.
    Waits(Option<Tick>),
}

/// The place for the VM on this SU, and the VM if it is here.
#[derive(Debug)]
pub struct Vm {
    guest: Guest,
    pages_max: PageCount,
    configuration: ConfigurationName,
    block: Option<VmBlock>,
    maps: Option<Maps>,
    devices: Devices,
    /// What moves with the machine as a whole; this guest has no instruction that changes it.
    machine: MachineImage,
    journal: Journal,
    screen: GuestScreen,
    completions: Deque<Completion, COMPLETIONS_MAX>,
    /// What the guest has said of itself when it ended.
    ended: Option<bool>,
    /// What tracking has cost in the last move.
    tracked: Figures,
}

impl Vm {
    /// A place without a VM.
    #[must_use]
    pub fn new(
        guest: Guest,
        pages_max: PageCount,
        configuration: ConfigurationName,
        journal: Journal,
        screen: GuestScreen,
    ) -> Self {
        Self {
            guest,
            pages_max,
            configuration,
            block: None,
            maps: None,
            devices: Devices::new(),
            machine: MachineImage::initial(),
            journal,
            screen,
            completions: Deque::new(),
            ended: None,
            tracked: Figures::default(),
        }
    }

    /// The VM's control block, if it is here.
    #[must_use]
    pub const fn block(&self) -> Option<&VmBlock> {
        self.block.as_ref()
    }

    /// The largest VM that there is a place for.
    #[must_use]
    pub const fn pages_max(&self) -> PageCount {
        self.pages_max
    }

    /// The maps of the VM's changes.
    #[must_use]
    pub const fn maps(&self) -> Option<Maps> {
        self.maps
    }

    /// The VM's devices.
    #[must_use]
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The journal.
    pub const fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The guest.
    pub const fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// What tracking has cost in the last move.
    #[must_use]
    pub const fn tracked(&self) -> Figures {
        self.tracked
    }

    /// What the guest has said of itself when it ended.
    #[must_use]
    pub const fn ended(&self) -> Option<bool> {
        self.ended
    }

    /// Sets up the configured VM and starts its guest.
    ///
    /// # Errors
    /// Fails when there is no room, or a device is missing.
    pub fn start(
        &mut self,
        block: VmBlock,
        config: &Config,
        epoch: Epoch,
    ) -> Result<(), ErrorKind> {
        let initial = config.initial_configuration.unwrap_or(config.configuration);
        let state = VmState::new(Activity::Running);
        let block = block
            .with_initial_configuration(initial)
            .with_facilities(self.guest.facilities())
            .with_cpu_id(guest::CPU_ID);
        self.build(block.with_state(state))?;
        for (slot, device) in (0..).map(DeviceSlot::new).zip(&config.devices) {
            self.devices.assign(slot, device)?;
            self.devices.attach(slot, epoch)?;
        }
        let lines = config.lan.iter().map(|it| LanLine { name: &it.name, is_vlan: it.is_vlan });
        let lines: heapless::Vec<_, LAN_MAX> = lines.collect();
        self.guest.ipl(&Parameters {
            pages_per_second: config.pace,
            line_interval: config.line_interval,
            initial_configuration: initial,
            lan_lines: &lines,
        })?;
        self.guest.resume();
        Ok(())
    }

    /// Lets the guest run up to a moment.
    pub fn run(&mut self, until: Tick) -> Rest {
        while clock::now() < until {
            match self.guest.run(until) {
                Ran::SliceEnded => return Rest::Ready,
                Ran::Waits(due) => return Rest::Waits(due),
                Ran::Stopped => return Rest::Waits(None),
                Ran::Called(call) => self.take_call(call),
                Ran::Interrupted => {}
                Ran::DisabledWait(address) => {
                    say!("% the guest waits for ever at {address:016X}");
                    self.ended = Some(false);
                    return Rest::Waits(None);
                }
            }
        }
        Rest::Ready
    }

    fn take_call(&mut self, call: Hypercall) {
        match call {
            Hypercall::Line(text) if self.devices.is_console_usable() => {
                self.screen.write_line(&text);
            }
            Hypercall::Line(_) => {}
            Hypercall::Input => {
                let mut typed = [0; INPUT_BYTES];
                let is_usable = self.devices.is_console_usable();
                let count = if is_usable { self.screen.read(&mut typed) } else { 0 };
                self.guest.give_input(typed.get(..count).unwrap_or_default());
            }
            Hypercall::Answer(answer) => self.complete(Completion::Guest(answer)),
            Hypercall::End { is_good } => self.ended = Some(is_good),
        }
    }

    /// Creates the guest and enters the VM into the books.
    fn build(&mut self, block: VmBlock) -> Result<(), ErrorKind> {
        if self.block.is_some() {
            return Err(ErrorKind::Refused);
        }
        let maps = memory::maps(block.memory())?;
        self.guest.create(block.memory(), maps)?;
        self.guest.set_configuration(self.configuration);
        self.guest.set_cpu_id(block.cpu_id());
        (self.block, self.maps, self.ended) = (Some(block), Some(maps), None);
        Ok(())
    }

    /// Each operation that is under way has at most one completion, so there is room.
    fn complete(&mut self, completion: Completion) {
        let is_lost = self.completions.push_back(completion).is_err();
        assert!(!is_lost, "more completions than operations");
    }

    fn done(&mut self, operation: Operation) -> Result<(), ErrorKind> {
        self.complete(Completion::Done(operation));
        Ok(())
    }

    const fn is_only_processor(index: ProcessorIndex) -> Result<(), ErrorKind> {
        if index.get() == 0 { Ok(()) } else { Err(ErrorKind::OutOfRange) }
    }
}

impl ErrorType for Vm {
    type Error = ErrorKind;
}

impl Completions for Vm {
    fn poll_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }
}

impl GuestStorage for Vm {
    fn page_count(&self) -> PageCount {
        self.guest.page_count()
    }

    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.guest.copy_out(run, target)
    }

    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        self.guest.copy_in(run, source)
    }
}

impl StorageKeys for Vm {
    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.guest.keys_out(run, target)
    }

    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        self.guest.keys_in(run, source)
    }
}

/// The guest has no page states: all its pages are stable.
impl PageStates for Vm {
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        target.fill(0);
        self.guest.check(run)
    }

    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        self.guest.check(run)?;
        if source.iter().all(|code| *code == 0) { Ok(()) } else { Err(ErrorKind::Refused) }
    }
}

impl DirtyTracking for Vm {
    fn start_tracking(&mut self) -> Result<(), ErrorKind> {
        self.guest.start_tracking();
        Ok(())
    }

    fn stop_tracking(&mut self) -> Result<(), ErrorKind> {
        self.tracked = self.guest.figures();
        self.guest.stop_tracking();
        Ok(())
    }

    /// The maps that are lent are those that the guest marks.
    fn collect(&mut self, _: &DirtyBitmap<'_>, _: &DirtyBitmap<'_>) -> Result<(), ErrorKind> {
        self.guest.collect();
        Ok(())
    }
}

impl GuestProcessors for Vm {
    fn processor_count(&self) -> u16 {
        self.block.map_or(0, |block| block.processor_count())
    }

    /// There is one real processor, which does not run the guest while it runs the monitor.
    fn start_stop(&mut self) -> Result<(), ErrorKind> {
        self.guest.stop();
        self.done(Operation::StopProcessors)
    }

    fn start_resume(&mut self) -> Result<(), ErrorKind> {
        self.guest.keep_clock(core::mem::take(&mut self.machine.stopped_tod));
        self.guest.resume();
        self.done(Operation::ResumeProcessors)
    }

    fn capture(
        &mut self,
        index: ProcessorIndex,
        image: &mut ProcessorImage,
    ) -> Result<(), ErrorKind> {
        Self::is_only_processor(index)?;
        self.guest.capture(image);
        Ok(())
    }

    fn restore(&mut self, index: ProcessorIndex, image: &ProcessorImage) -> Result<(), ErrorKind> {
        Self::is_only_processor(index)?;
        self.guest.restore(image)
    }

    fn capture_machine(&mut self, image: &mut MachineImage) -> Result<(), ErrorKind> {
        image.clone_from(&self.machine);
        // A guest that came and has not gone on has last run elsewhere.
        if image.stopped_tod == 0 {
            image.stopped_tod = clock::tod();
        }
        Ok(())
    }

    fn restore_machine(&mut self, image: &MachineImage) -> Result<(), ErrorKind> {
        self.machine.clone_from(image);
        Ok(())
    }
}

impl GuestEvents for Vm {
    fn foretell(&mut self, surplus: ProcessorSet) -> Result<(), ErrorKind> {
        // There is one processor, which is always left.
        if surplus.is_empty() { Ok(()) } else { Err(ErrorKind::Refused) }
    }

    fn start_tell(&mut self, event: GuestEvent) -> Result<(), ErrorKind> {
        self.guest.tell(event)
    }
}

impl DeviceControl for Vm {
    fn start_assign(
        &mut self,
        slot: DeviceSlot,
        device: &DeviceDescriptor,
    ) -> Result<(), ErrorKind> {
        self.devices.assign(slot, device)?;
        self.done(Operation::AssignDevice(slot))
    }

    fn start_quiesce(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        self.devices.quiesce(slot)?;
        self.done(Operation::QuiesceDevice(slot))
    }

    fn start_detach(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        self.devices.detach(slot)?;
        self.done(Operation::DetachDevice(slot))
    }

    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), ErrorKind> {
        self.devices.attach(slot, epoch)?;
        self.done(Operation::AttachDevice(slot))
    }

    fn start_remove(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        self.devices.remove(slot)?;
        self.done(Operation::RemoveDevice(slot))
    }

    fn capture_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &mut SubchannelImage,
    ) -> Result<(), ErrorKind> {
        self.devices.capture(slot, image)
    }

    fn restore_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &SubchannelImage,
    ) -> Result<(), ErrorKind> {
        self.devices.restore(slot, image)
    }
}

impl VmHost for Vm {
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) -> Result<(), ErrorKind> {
        if definition.memory() > self.pages_max {
            findings.add(Obstacle::MemoryShort);
        }
        if self.block.is_some_and(|here| here.index() == definition.index()) {
            findings.add(Obstacle::IndexTaken);
        }
        if self.block.is_some_and(|here| here.name() == definition.name()) {
            findings.add(Obstacle::NameTaken);
        }
        // There is a place for the registers of one.
        if definition.processor_count() > 1 {
            findings.add(Obstacle::NoProcessor);
        }
        // All pages are stable here.
        let facilities = self.guest.facilities().without(Facility::PAGE_STATES);
        let offer = Offer { pool: 1, facilities, is_receiving: false };
        admit_incoming(definition, &offer, findings);
        for (number, device) in devices.enumerate() {
            if !Devices::exists(&device) || number >= DEVICES_MAX {
                findings.add_device(Obstacle::DeviceMissing, device.mnemonic);
            }
        }
        Ok(())
    }

    fn start_build(&mut self, definition: &VmBlock) -> Result<(), ErrorKind> {
        let count = definition.migration_count().saturating_add(1);
        self.build(definition.with_migration_count(count))?;
        self.done(Operation::BuildVm)
    }

    fn start_destroy(&mut self) -> Result<(), ErrorKind> {
        self.guest.destroy();
        self.devices.clear();
        self.machine = MachineImage::initial();
        (self.block, self.maps) = (None, None);
        self.done(Operation::DestroyVm)
    }

    fn mark(&mut self, mark: MigrationMark) -> Result<(), ErrorKind> {
        let block = self.block.as_mut().ok_or(ErrorKind::NotReady)?;
        let state = block.state();
        let state = match (state.mark(), mark) {
            (MigrationMark::Incoming, MigrationMark::None) => state.arrive(state.activity()),
            (MigrationMark::None | MigrationMark::Outgoing | MigrationMark::Incoming, mark) => {
                state.with_mark(mark)
            }
        };
        *block = block.with_state(state.map_err(|_| ErrorKind::NotReady)?);
        Ok(())
    }
}

impl MonitorJournal for Vm {
    fn save(&mut self, record: &[u8]) -> Result<(), ErrorKind> {
        self.journal.save(record)
    }
}
