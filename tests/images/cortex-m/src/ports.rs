//! The ports of one end: the guest in static memory, without devices.
//!
//! Source of truth: `monitor_core::ports`. Invariants: each operation that is started has one
//! completion; a guest that was moved here starts when `migration` lets it, so that both copies
//! can be compared before. Deliberately not here: link, directory and console.

use core::sync::atomic::Ordering::Relaxed;

use heapless::{Deque, Vec};
use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    limits::JOURNAL_BYTES_MAX,
    memory::{DirtyBitmap, PageRun},
    ports::{
        Completion, Completions, DeviceControl, DirtyTracking, ErrorKind, ErrorType, GuestAnswer,
        GuestEvent, GuestEvents, GuestProcessors, GuestStorage, MonitorJournal, Operation,
        PageStates, StorageKeys, VmHost,
    },
    processor::{CpuState, ProcessorImage},
    units::{DeviceSlot, Epoch, PageCount, ProcessorIndex},
    vm::{Facility, Findings, MachineImage, MigrationMark, Obstacle, ProcessorSet, VmBlock},
};

use crate::guest::{Guest, PAGE_COUNT};

/// The general register in which the guest counts its steps.
const STEPS_REGISTER: usize = 2;

/// The ports of one end.
#[derive(Debug)]
pub(crate) struct VmPorts {
    guest: &'static Guest,
    completions: Deque<Completion, 8>,
    journal: Vec<u8, JOURNAL_BYTES_MAX>,
    /// Whether the guest was moved here.
    is_target: bool,
    /// Whether the guest was moved here and may start.
    pub(crate) may_start: bool,
}

impl VmPorts {
    /// The ports of an end at which the guest is, or to which it will come.
    pub(crate) fn new(guest: &'static Guest, is_target: bool) -> Self {
        let (completions, journal) = (Deque::new(), Vec::new());
        Self { guest, completions, journal, is_target, may_start: false }
    }

    /// Whether there is an attempt that a restarted monitor would have to know of.
    pub(crate) fn has_journal(&self) -> bool {
        !self.journal.is_empty()
    }

    fn complete(&mut self, completion: Completion) -> Result<(), ErrorKind> {
        self.completions.push_back(completion).map_err(|_| ErrorKind::Busy)
    }

    fn done(&mut self, operation: Operation) -> Result<(), ErrorKind> {
        self.complete(Completion::Done(operation))
    }
}

impl ErrorType for VmPorts {
    type Error = ErrorKind;
}

impl Completions for VmPorts {
    fn poll_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }
}

impl GuestStorage for VmPorts {
    fn page_count(&self) -> PageCount {
        PAGE_COUNT
    }

    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.guest.copy_out(run, target)
    }

    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        self.guest.copy_in(run, source)
    }
}

impl StorageKeys for VmPorts {
    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        for (page, byte) in run.pages().zip(target) {
            *byte = self.guest.key(page)?.load(Relaxed);
        }
        Ok(())
    }

    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        for (page, byte) in run.pages().zip(source) {
            self.guest.key(page)?.store(*byte, Relaxed);
        }
        Ok(())
    }
}

/// The guest has no page states: all its pages are stable.
impl PageStates for VmPorts {
    fn states_out(&mut self, _run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        target.fill(0);
        Ok(())
    }

    fn states_in(&mut self, _run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        if source.iter().all(|code| *code == 0) { Ok(()) } else { Err(ErrorKind::Refused) }
    }
}

impl DirtyTracking for VmPorts {
    fn start_tracking(&mut self) -> Result<(), ErrorKind> {
        self.guest.set_tracked(true);
        Ok(())
    }

    fn stop_tracking(&mut self) -> Result<(), ErrorKind> {
        self.guest.set_tracked(false);
        Ok(())
    }

    /// The guest marks at the moment of the store, so there is nothing to bring.
    fn collect(
        &mut self,
        _pages: &DirtyBitmap<'_>,
        _keys: &DirtyBitmap<'_>,
    ) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl GuestProcessors for VmPorts {
    fn processor_count(&self) -> u16 {
        1
    }

    fn start_stop(&mut self) -> Result<(), ErrorKind> {
        self.guest.set_running(false);
        self.done(Operation::StopProcessors)
    }

    fn start_resume(&mut self) -> Result<(), ErrorKind> {
        if self.is_target {
            self.may_start = true;
        } else {
            self.guest.set_running(true);
        }
        self.done(Operation::ResumeProcessors)
    }

    fn capture(
        &mut self,
        _index: ProcessorIndex,
        image: &mut ProcessorImage,
    ) -> Result<(), ErrorKind> {
        *image = ProcessorImage::initial();
        image.state = CpuState::Operating;
        image.general[STEPS_REGISTER] = self.guest.steps().into();
        Ok(())
    }

    fn restore(&mut self, _index: ProcessorIndex, image: &ProcessorImage) -> Result<(), ErrorKind> {
        let steps = u32::try_from(image.general[STEPS_REGISTER]);
        self.guest.set_steps(steps.map_err(|_| ErrorKind::OutOfRange)?);
        Ok(())
    }

    /// The guest has nothing beside its storage and its processor.
    fn capture_machine(&mut self, image: &mut MachineImage) -> Result<(), ErrorKind> {
        *image = MachineImage::initial();
        Ok(())
    }

    fn restore_machine(&mut self, image: &MachineImage) -> Result<(), ErrorKind> {
        if *image == MachineImage::initial() { Ok(()) } else { Err(ErrorKind::Refused) }
    }
}

impl GuestEvents for VmPorts {
    fn foretell(&mut self, surplus: ProcessorSet) -> Result<(), ErrorKind> {
        // There is one processor, which is always left.
        if surplus.is_empty() { Ok(()) } else { Err(ErrorKind::Refused) }
    }

    fn start_tell(&mut self, event: GuestEvent) -> Result<(), ErrorKind> {
        self.complete(Completion::Guest(match event {
            GuestEvent::Moved => GuestAnswer::Resumed,
            GuestEvent::MoveComing | GuestEvent::MoveAbandoned | GuestEvent::NetworkUp => {
                GuestAnswer::Ready
            }
        }))
    }
}

/// There is no device, so none can be named.
impl DeviceControl for VmPorts {
    fn start_assign(&mut self, _: DeviceSlot, _: &DeviceDescriptor) -> Result<(), ErrorKind> {
        Err(ErrorKind::OutOfRange)
    }

    fn start_quiesce(&mut self, _: DeviceSlot) -> Result<(), ErrorKind> {
        Err(ErrorKind::OutOfRange)
    }

    fn start_detach(&mut self, _: DeviceSlot) -> Result<(), ErrorKind> {
        Err(ErrorKind::OutOfRange)
    }

    fn start_attach(&mut self, _: DeviceSlot, _: Epoch) -> Result<(), ErrorKind> {
        Err(ErrorKind::OutOfRange)
    }

    fn start_remove(&mut self, _: DeviceSlot) -> Result<(), ErrorKind> {
        Err(ErrorKind::OutOfRange)
    }

    fn capture_subchannel(
        &mut self,
        _: DeviceSlot,
        _: &mut SubchannelImage,
    ) -> Result<(), ErrorKind> {
        Err(ErrorKind::OutOfRange)
    }

    fn restore_subchannel(&mut self, _: DeviceSlot, _: &SubchannelImage) -> Result<(), ErrorKind> {
        Err(ErrorKind::OutOfRange)
    }
}

impl MonitorJournal for VmPorts {
    fn save(&mut self, record: &[u8]) -> Result<(), ErrorKind> {
        self.journal = Vec::from_slice(record).map_err(|_| ErrorKind::NoResource)?;
        Ok(())
    }
}

impl VmHost for VmPorts {
    fn check(
        &mut self,
        definition: &VmBlock,
        _devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) -> Result<(), ErrorKind> {
        if definition.memory() != PAGE_COUNT {
            findings.add(Obstacle::MemoryShort);
        }
        // There is no other facility whose state a guest could have here.
        if definition.facilities().has(Facility::PAGE_STATES) {
            findings.add_facility(Obstacle::Incompatible, Facility::PAGE_STATES);
        }
        Ok(())
    }

    /// The storage is full of other values, not zero, so that a page that is not sent is found.
    fn start_build(&mut self, _definition: &VmBlock) -> Result<(), ErrorKind> {
        self.guest.soil();
        self.done(Operation::BuildVm)
    }

    fn start_destroy(&mut self) -> Result<(), ErrorKind> {
        self.guest.soil();
        self.done(Operation::DestroyVm)
    }

    fn mark(&mut self, _mark: MigrationMark) -> Result<(), ErrorKind> {
        Ok(())
    }
}
