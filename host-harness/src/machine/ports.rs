//! The ports of the core, implemented over a [`Machine`].
//!
//! Source of truth: `monitor_core::ports`.
//!
//! Invariants: each `start_*` that succeeds leads to one completion, also when the VM goes away
//! in between; the channel subsystem is stepped with the time given by [`VmPorts::set_now`] when
//! completions are fetched. Deliberately not here: the ports of the monitor around the VM
//! (definitions, directory, console, link).

use super::{AddressFault, ChannelError, Journal, Machine, Monitor, NoSuchProcessor, Subsystem};
use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    memory::{DirtyBitmap, PageRun},
    ports::{
        Completion, Completions, DeviceControl, DirtyTracking, ErrorKind, ErrorType, GuestEvent,
        GuestEvents, GuestProcessors, GuestStorage, Operation, PageStates, PortError, StorageKeys,
    },
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, Micros, PageCount, ProcessorIndex, Tick},
    vm::{MachineImage, ProcessorSet},
};
use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

/// A failure of a port of the emulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFailure {
    /// The kind, on which the driver decides.
    pub kind: ErrorKind,
    /// What to tell an operator.
    pub text: &'static str,
}

impl fmt::Display for PortFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text)
    }
}

impl std::error::Error for PortFailure {}

impl PortError for PortFailure {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<AddressFault> for PortFailure {
    fn from(_: AddressFault) -> Self {
        Self { kind: ErrorKind::OutOfRange, text: "address outside of guest storage" }
    }
}

impl From<NoSuchProcessor> for PortFailure {
    fn from(_: NoSuchProcessor) -> Self {
        Self { kind: ErrorKind::OutOfRange, text: "no processor of this number" }
    }
}

impl From<ChannelError> for PortFailure {
    fn from(error: ChannelError) -> Self {
        let kind = match error {
            ChannelError::NoSuchSlot => ErrorKind::OutOfRange,
            ChannelError::OtherDevice | ChannelError::Fenced => ErrorKind::Refused,
            ChannelError::NotMovable => ErrorKind::NotReady,
            ChannelError::NoPath => ErrorKind::NoResource,
        };
        Self { kind, text: error.text() }
    }
}

/// The ports of one VM on one SU. The machine behind them comes when the VM is built and goes
/// when it is ended; in between every port fails as not ready.
#[derive(Debug, Default)]
pub struct VmPorts {
    pub(super) monitor: Option<Box<dyn Monitor>>,
    pub(super) machine: Option<Arc<Machine>>,
    pub(super) journal: Box<dyn Journal>,
    completions: VecDeque<Completion>,
    quiescing: BTreeSet<DeviceSlot>,
    /// The first question that was asked through these ports.
    first_question: Option<u64>,
    /// When the guest was stopped last.
    stopped_at: Option<Tick>,
    drains: Vec<Micros>,
    now: Tick,
}

impl VmPorts {
    /// Ports without a machine and without a monitor system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a monitor system around the VM.
    #[must_use]
    pub fn with_monitor(self, monitor: Box<dyn Monitor>) -> Self {
        Self { monitor: Some(monitor), ..self }
    }

    /// The same with this journal, which a restarted monitor reads again.
    #[must_use]
    pub fn with_journal(self, journal: Box<dyn Journal>) -> Self {
        Self { journal, ..self }
    }

    /// The ports as a restarted monitor finds them: the machine, the monitor system and the
    /// journal are there; nobody knows any more what was under way.
    #[must_use]
    pub fn restarted(self) -> Self {
        let Self { monitor, machine, journal, now, .. } = self;
        Self { monitor, machine, journal, now, ..Self::default() }
    }

    /// Puts `machine` behind the ports.
    pub fn install(&mut self, machine: Arc<Machine>) {
        self.machine = Some(machine);
    }

    /// Takes the machine away; operations under way fail.
    pub fn remove(&mut self) -> Option<Arc<Machine>> {
        for slot in std::mem::take(&mut self.quiescing) {
            self.fail(Operation::QuiesceDevice(slot), ErrorKind::NotReady);
        }
        self.machine.take()
    }

    /// The machine behind the ports.
    #[must_use]
    pub const fn machine(&self) -> Option<&Arc<Machine>> {
        self.machine.as_ref()
    }

    /// How long after the last stop of the guest each device was quiet.
    #[must_use]
    pub fn drains(&self) -> &[Micros] {
        &self.drains
    }

    /// The time at which the channel subsystem is stepped and processors are resumed.
    pub const fn set_now(&mut self, now: Tick) {
        self.now = now;
    }

    fn installed(&self) -> Result<&Machine, PortFailure> {
        const NONE: PortFailure =
            PortFailure { kind: ErrorKind::NotReady, text: "the VM is not set up on this SU" };
        self.machine.as_deref().ok_or(NONE)
    }

    /// The machine, which must not run.
    fn stopped(&self) -> Result<&Machine, PortFailure> {
        const RUNS: PortFailure =
            PortFailure { kind: ErrorKind::NotReady, text: "the VM is running" };
        let machine = self.installed()?;
        if machine.is_running() { Err(RUNS) } else { Ok(machine) }
    }

    pub(super) fn done(&mut self, operation: Operation) {
        self.completions.push_back(Completion::Done(operation));
    }

    pub(super) fn fail(&mut self, operation: Operation, kind: ErrorKind) {
        self.completions.push_back(Completion::Failed(operation, kind));
    }

    /// Turns what has happened in the machine into completions.
    fn collect_completions(&mut self) {
        self.take_built();
        let Some(machine) = self.machine.clone() else {
            return;
        };
        machine.step_channel(self.now);
        while let Some((ticket, answer)) = machine.take_ticket() {
            // What an attempt before this one has asked is nobody's affair any more.
            if self.first_question.is_some_and(|first| first <= ticket) {
                self.completions.push_back(Completion::Guest(answer));
            }
        }
        for slot in std::mem::take(&mut self.quiescing) {
            if machine.with_subsystem(|subsystem| subsystem.quiet(slot)) {
                let stopped_at = self.stopped_at.unwrap_or(self.now);
                self.drains.push(self.now.since(stopped_at));
                self.done(Operation::QuiesceDevice(slot));
            } else {
                self.quiescing.insert(slot);
            }
        }
    }
}

impl ErrorType for VmPorts {
    type Error = PortFailure;
}

impl Completions for VmPorts {
    fn poll_completion(&mut self) -> Option<Completion> {
        self.collect_completions();
        self.completions.pop_front()
    }
}

impl GuestStorage for VmPorts {
    fn page_count(&self) -> PageCount {
        self.machine.as_ref().map_or(PageCount::new(0), |machine| machine.storage.page_count())
    }

    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        Ok(self.installed()?.storage.copy_out(run, target)?)
    }

    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        Ok(self.installed()?.storage.copy_in(run, source)?)
    }
}

impl StorageKeys for VmPorts {
    fn has_keys(&self) -> bool {
        self.machine.as_ref().is_none_or(|machine| machine.storage.has_keys())
    }

    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        Ok(self.installed()?.storage.keys_out(run, target)?)
    }

    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        Ok(self.installed()?.storage.keys_in(run, source)?)
    }
}

impl PageStates for VmPorts {
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        Ok(self.installed()?.storage.states_out(run, target)?)
    }

    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        Ok(self.installed()?.storage.states_in(run, source)?)
    }
}

impl DirtyTracking for VmPorts {
    fn start_tracking(&mut self) -> Result<(), PortFailure> {
        self.installed()?.start_tracking();
        Ok(())
    }

    fn stop_tracking(&mut self) -> Result<(), PortFailure> {
        self.installed()?.storage.stop_tracking();
        Ok(())
    }

    /// The maps lent to the driver are those of storage, which marks them at the moment of each
    /// store, or when it is told to look at the keys.
    fn collect(
        &mut self,
        _pages: &DirtyBitmap<'_>,
        _keys: &DirtyBitmap<'_>,
    ) -> Result<(), PortFailure> {
        self.installed()?.storage.collect();
        Ok(())
    }
}

impl GuestProcessors for VmPorts {
    fn processor_count(&self) -> u16 {
        self.machine.as_ref().map_or(0, |machine| machine.processor_count())
    }

    fn start_stop(&mut self) -> Result<(), PortFailure> {
        self.installed()?.stop();
        self.stopped_at = Some(self.now);
        self.drains.clear();
        self.done(Operation::StopProcessors);
        Ok(())
    }

    fn start_resume(&mut self) -> Result<(), PortFailure> {
        self.installed()?;
        self.announce_work();
        self.installed()?.resume(self.now);
        self.done(Operation::ResumeProcessors);
        Ok(())
    }

    fn capture(
        &mut self,
        index: ProcessorIndex,
        image: &mut ProcessorImage,
    ) -> Result<(), PortFailure> {
        Ok(self.installed()?.capture(index, image)?)
    }

    fn restore(
        &mut self,
        index: ProcessorIndex,
        image: &ProcessorImage,
    ) -> Result<(), PortFailure> {
        const LACKS: PortFailure =
            PortFailure { kind: ErrorKind::Refused, text: "the VM lacks a facility" };
        let machine = self.stopped()?;
        if !image.needs().is_subset_of(&machine.facilities()) {
            return Err(LACKS);
        }
        Ok(machine.restore(index, image)?)
    }

    fn capture_machine(&mut self, image: &mut MachineImage) -> Result<(), PortFailure> {
        self.installed()?.capture_machine(image);
        Ok(())
    }

    fn restore_machine(&mut self, image: &MachineImage) -> Result<(), PortFailure> {
        self.stopped()?.restore_machine(image);
        Ok(())
    }
}

impl GuestEvents for VmPorts {
    fn foretell(&mut self, surplus: ProcessorSet) -> Result<(), PortFailure> {
        self.installed()?.foretell(surplus);
        Ok(())
    }

    fn start_tell(&mut self, event: GuestEvent) -> Result<(), PortFailure> {
        let ticket = self.installed()?.tell(event);
        self.first_question.get_or_insert(ticket);
        Ok(())
    }
}

impl DeviceControl for VmPorts {
    fn start_assign(
        &mut self,
        slot: DeviceSlot,
        device: &DeviceDescriptor,
    ) -> Result<(), PortFailure> {
        let machine = self.machine.clone();
        self.installed()?;
        let differs = machine.map_or(Ok(false), |machine| {
            machine.with_subsystem(|subsystem| subsystem.assign(slot, device))
        })?;
        if let Some(monitor) = &mut self.monitor {
            monitor.assign(device, differs)?;
        }
        self.done(Operation::AssignDevice(slot));
        Ok(())
    }

    fn start_quiesce(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        self.installed()?.with_subsystem(|subsystem| subsystem.hold(slot))?;
        self.quiescing.insert(slot);
        Ok(())
    }

    /// The guest uses a device that it has a job on, or whose function or status is pending.
    fn start_detach(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        let has_job = self.monitor.as_ref().is_some_and(|monitor| monitor.is_in_use(slot));
        let machine = self.installed()?;
        let withdraw = |subsystem: &mut Subsystem| subsystem.withdraw(slot, has_job);
        if machine.with_subsystem(withdraw)? {
            self.done(Operation::DetachDevice(slot));
        } else {
            self.fail(Operation::DetachDevice(slot), ErrorKind::Refused);
        }
        Ok(())
    }

    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), PortFailure> {
        let machine = self.installed()?;
        let is_running = machine.is_running();
        machine.with_subsystem(|subsystem| {
            subsystem.attach(slot, epoch)?;
            // A start that was carried over begins when the guest goes on and not before: until
            // then another copy may get the VM back, and begin the same start.
            if is_running { Ok(()) } else { subsystem.hold(slot) }
        })?;
        if self.quiescing.remove(&slot) {
            self.fail(Operation::QuiesceDevice(slot), ErrorKind::Refused);
        }
        self.done(Operation::AttachDevice(slot));
        Ok(())
    }

    fn start_remove(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        self.installed()?.with_subsystem(|subsystem| subsystem.detach(slot))?;
        self.done(Operation::RemoveDevice(slot));
        Ok(())
    }

    fn capture_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &mut SubchannelImage,
    ) -> Result<(), PortFailure> {
        Ok(self.installed()?.with_subsystem(|subsystem| subsystem.capture(slot, image))?)
    }

    fn restore_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &SubchannelImage,
    ) -> Result<(), PortFailure> {
        Ok(self.installed()?.with_subsystem(|subsystem| subsystem.restore(slot, image))?)
    }
}
