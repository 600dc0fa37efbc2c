//! The ports of a rig: those of the emulated machine, which tell of moments in between.
//!
//! Source of truth: `monitor_core::ports`. Invariants: every call reaches the machine's own
//! ports; a stop takes a few polls, in which the guest still runs; the guest answers everything
//! at once with yes. Deliberately not here: what is done at a moment.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use host_harness::{
    cluster::Witness,
    machine::{FbaDisk, Machine, Monitor, PortFailure, VmPorts},
};
use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    memory::{DirtyBitmap, PageRun},
    ports::{
        Completion, Completions, DeviceControl, DirtyTracking, ErrorType, GuestAnswer, GuestEvent,
        GuestEvents, GuestProcessors, GuestStorage, MonitorJournal, OperatorConsole, PageStates,
        StorageKeys, VmHost,
    },
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, PageCount, ProcessorIndex, Tick},
    vm::{Findings, MachineImage, MigrationMark, ProcessorSet, VmBlock},
};

use super::{Controls, Hand, Moment, Scene, machine, soil};

/// Polls for completions between the request to stop and the stop.
const STOP_POLLS: u32 = 4;

/// A console that nobody reads.
#[derive(Debug)]
pub(super) struct Silent;

impl ErrorType for Silent {
    type Error = Infallible;
}

impl OperatorConsole for Silent {
    fn write_line(&mut self, _line: &str) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A monitor that sets up soiled machines.
#[derive(Debug)]
pub(super) struct Shop {
    disk: Arc<FbaDisk>,
    built: Option<Arc<Machine>>,
    is_target: bool,
    /// The guest as it has arrived at the target.
    arrived: Arc<Mutex<Option<Witness>>>,
}

impl Shop {
    pub(super) const fn new(disk: Arc<FbaDisk>, arrived: Arc<Mutex<Option<Witness>>>) -> Self {
        Self { disk, built: None, is_target: false, arrived }
    }
}

impl Monitor for Shop {
    fn check(
        &mut self,
        _definition: &VmBlock,
        _devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        _findings: &mut Findings,
    ) {
    }

    fn start_build(&mut self, definition: &VmBlock) -> Result<(), PortFailure> {
        let machine = machine(definition, &self.disk);
        soil(&machine);
        self.built = Some(Arc::new(machine));
        self.is_target = true;
        Ok(())
    }

    fn poll_built(&mut self) -> Option<Result<Arc<Machine>, PortFailure>> {
        self.built.take().map(Ok)
    }

    fn destroyed(&mut self, machine: Option<Arc<Machine>>) {
        if let Some(machine) = machine {
            machine.stop();
        }
    }

    fn mark(&mut self, _mark: MigrationMark) -> Result<(), PortFailure> {
        Ok(())
    }

    fn assign(&mut self, _device: &DeviceDescriptor, _differs: bool) -> Result<(), PortFailure> {
        Ok(())
    }

    fn is_in_use(&self, _slot: DeviceSlot) -> bool {
        false
    }

    fn beginning(&mut self, machine: &Machine) {
        if self.is_target {
            machine.storage.start_preserve();
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.get_or_insert_with(|| Witness::of(machine));
        }
    }
}

/// The ports of one end.
pub(super) struct MovedPorts<'h> {
    vm: VmPorts,
    hand: Option<Hand<'h>>,
    controls: &'h Controls,
    answers: VecDeque<GuestAnswer>,
    /// Polls until a stop that was asked for.
    stops_in: Option<u32>,
    now: Tick,
}

impl<'h> MovedPorts<'h> {
    pub(super) fn of_source(
        guest: Arc<Machine>,
        shop: Shop,
        hand: Hand<'h>,
        controls: &'h Controls,
    ) -> Self {
        let mut ports = Self { hand: Some(hand), ..Self::of_target(shop, controls) };
        ports.vm.install(guest);
        ports
    }

    pub(super) fn of_target(shop: Shop, controls: &'h Controls) -> Self {
        Self {
            vm: VmPorts::new().with_monitor(Box::new(shop)),
            hand: None,
            controls,
            answers: VecDeque::new(),
            stops_in: None,
            now: Tick::new(0),
        }
    }

    pub(super) const fn machine(&self) -> Option<&Arc<Machine>> {
        self.vm.machine()
    }

    pub(super) const fn set_now(&mut self, now: Tick) {
        self.now = now;
        self.vm.set_now(now);
    }

    fn tell(&mut self, moment: Moment) {
        if let (Some(hand), Some(guest)) = (&mut self.hand, self.vm.machine()) {
            hand(moment, &Scene { guest, now: self.now, controls: self.controls });
        }
    }
}

impl ErrorType for MovedPorts<'_> {
    type Error = PortFailure;
}

impl Completions for MovedPorts<'_> {
    fn poll_completion(&mut self) -> Option<Completion> {
        if let Some(polls) = self.stops_in.take() {
            self.tell(Moment::Stopping);
            if polls > 0 {
                self.stops_in = Some(polls - 1);
            } else if self.vm.start_stop().is_ok() {
                self.tell(Moment::Stopped);
            }
        }
        let answer = self.answers.pop_front().map(Completion::Guest);
        answer.or_else(|| self.vm.poll_completion())
    }
}

impl GuestStorage for MovedPorts<'_> {
    fn page_count(&self) -> PageCount {
        self.vm.page_count()
    }

    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        self.vm.copy_out(run, target)?;
        self.tell(Moment::Copied(run));
        Ok(())
    }

    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        self.vm.copy_in(run, source)
    }
}

impl StorageKeys for MovedPorts<'_> {
    fn has_keys(&self) -> bool {
        self.vm.has_keys()
    }

    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        self.vm.keys_out(run, target)?;
        self.tell(Moment::KeysRead(run));
        Ok(())
    }

    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        self.vm.keys_in(run, source)
    }
}

impl PageStates for MovedPorts<'_> {
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        self.vm.states_out(run, target)
    }

    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        self.vm.states_in(run, source)
    }
}

impl DirtyTracking for MovedPorts<'_> {
    fn start_tracking(&mut self) -> Result<(), PortFailure> {
        self.vm.start_tracking()?;
        self.tell(Moment::Tracked);
        Ok(())
    }

    fn stop_tracking(&mut self) -> Result<(), PortFailure> {
        self.vm.stop_tracking()
    }

    fn collect(
        &mut self,
        pages: &DirtyBitmap<'_>,
        keys: &DirtyBitmap<'_>,
    ) -> Result<(), PortFailure> {
        self.tell(Moment::Collecting);
        self.vm.collect(pages, keys)
    }
}

impl GuestProcessors for MovedPorts<'_> {
    fn processor_count(&self) -> u16 {
        self.vm.processor_count()
    }

    fn start_stop(&mut self) -> Result<(), PortFailure> {
        self.stops_in = Some(STOP_POLLS);
        Ok(())
    }

    fn start_resume(&mut self) -> Result<(), PortFailure> {
        if self.stops_in.take().is_some() {
            self.vm.start_stop()?;
        }
        self.vm.start_resume()?;
        self.tell(Moment::Resumed);
        Ok(())
    }

    fn capture(
        &mut self,
        index: ProcessorIndex,
        image: &mut ProcessorImage,
    ) -> Result<(), PortFailure> {
        self.vm.capture(index, image)
    }

    fn restore(
        &mut self,
        index: ProcessorIndex,
        image: &ProcessorImage,
    ) -> Result<(), PortFailure> {
        self.vm.restore(index, image)
    }

    fn capture_machine(&mut self, image: &mut MachineImage) -> Result<(), PortFailure> {
        self.vm.capture_machine(image)
    }

    fn restore_machine(&mut self, image: &MachineImage) -> Result<(), PortFailure> {
        self.vm.restore_machine(image)
    }
}

impl GuestEvents for MovedPorts<'_> {
    fn foretell(&mut self, surplus: ProcessorSet) -> Result<(), PortFailure> {
        self.vm.foretell(surplus)
    }

    fn start_tell(&mut self, event: GuestEvent) -> Result<(), PortFailure> {
        self.vm.start_tell(event)?;
        self.answers.push_back(match event {
            GuestEvent::Moved => GuestAnswer::Resumed,
            GuestEvent::MoveComing | GuestEvent::MoveAbandoned | GuestEvent::NetworkUp => {
                GuestAnswer::Ready
            }
        });
        Ok(())
    }
}

impl DeviceControl for MovedPorts<'_> {
    fn start_assign(
        &mut self,
        slot: DeviceSlot,
        device: &DeviceDescriptor,
    ) -> Result<(), PortFailure> {
        self.vm.start_assign(slot, device)
    }

    fn start_quiesce(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        self.vm.start_quiesce(slot)
    }

    fn start_detach(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        self.vm.start_detach(slot)
    }

    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), PortFailure> {
        self.vm.start_attach(slot, epoch)
    }

    fn start_remove(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        self.vm.start_remove(slot)
    }

    fn capture_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &mut SubchannelImage,
    ) -> Result<(), PortFailure> {
        self.vm.capture_subchannel(slot, image)
    }

    fn restore_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &SubchannelImage,
    ) -> Result<(), PortFailure> {
        self.vm.restore_subchannel(slot, image)
    }
}

impl MonitorJournal for MovedPorts<'_> {
    fn save(&mut self, record: &[u8]) -> Result<(), PortFailure> {
        self.vm.save(record)
    }
}

impl VmHost for MovedPorts<'_> {
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) -> Result<(), PortFailure> {
        self.vm.check(definition, devices, findings)
    }

    fn start_build(&mut self, definition: &VmBlock) -> Result<(), PortFailure> {
        self.vm.start_build(definition)
    }

    fn start_destroy(&mut self) -> Result<(), PortFailure> {
        self.vm.start_destroy()
    }

    fn mark(&mut self, mark: MigrationMark) -> Result<(), PortFailure> {
        self.vm.mark(mark)
    }
}
