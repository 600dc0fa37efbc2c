//! The VM's ports in memory, which hold the driver to the rules.
//!
//! Source of truth: `monitor_core::ports`. Invariants: each start ends once, when the bytes say
//! so; a call fails when the bytes say so, and has done nothing then. Deliberately not here: page
//! contents, which decide nothing.

use std::collections::VecDeque;

use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    memory::{DirtyBitmap, PageRun},
    migrate::{SourceJournal, Stage, TargetJournal},
    ports::{
        Completion, Completions, DeviceControl, DirtyTracking, ErrorKind, ErrorType, GuestEvents,
        GuestProcessors, GuestStorage, MonitorJournal, PageStates, StorageKeys, VmHost,
    },
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, PageCount, ProcessorIndex},
    vm::{
        Findings, GuestAnswer, GuestEvent, MachineImage, MigrationMark, Operation, Ownership,
        ProcessorSet, VmBlock,
    },
};

use super::{peer::Record, store};
use crate::machines::{DEVICES, PAGES};

/// The VM's copy at one end.
#[derive(Debug)]
pub(super) struct Vm {
    /// The record under which the guest may run here.
    own: Ownership,
    is_source: bool,
    record: Record,
    /// Operations under way; `None` for what the guest was told.
    under_way: VecDeque<Option<Operation>>,
    pub(super) ended: VecDeque<Completion>,
    /// Pages of the storage; none before the VM is built.
    pages: PageCount,
    processors: u16,
    runs: bool,
    /// What the monitor finds after a restart.
    journal: Vec<u8>,
    /// Whether the guest stores before changes are collected next.
    pub(super) stores: bool,
    /// How many calls succeed before one fails.
    pub(super) fails_in: Option<u8>,
}

impl Vm {
    pub(super) const fn new(own: Ownership, is_source: bool, record: Record) -> Self {
        Self {
            own,
            is_source,
            record,
            under_way: VecDeque::new(),
            ended: VecDeque::new(),
            pages: if is_source { PAGES } else { PageCount::new(0) },
            processors: if is_source { 1 } else { 0 },
            runs: is_source,
            journal: Vec::new(),
            stores: false,
            fails_in: None,
        }
    }

    /// Ends everything that is under way.
    pub(super) fn end_all(&mut self, is_done: bool) {
        for _ in 0..self.under_way.len() {
            self.end_one(is_done);
        }
    }

    /// Ends what was begun first.
    pub(super) fn end_one(&mut self, is_done: bool) {
        let Some(first) = self.under_way.pop_front() else {
            return;
        };
        self.ended.push_back(match first {
            None => Completion::Guest(GuestAnswer::Ready),
            Some(operation) if is_done => Completion::Done(operation),
            Some(operation) => Completion::Failed(operation, ErrorKind::Other),
        });
    }

    /// The monitor is restarted: what was under way ends unheard. Gives its journal.
    pub(super) fn restart(&mut self) -> &[u8] {
        self.under_way.clear();
        self.ended.clear();
        self.fails_in = None;
        &self.journal
    }

    /// What the source's monitor would find after a restart.
    pub(super) fn source_stage(&self) -> Option<Stage> {
        SourceJournal::parse(&self.journal).ok().map(|journal| journal.stage)
    }

    /// A target that is restarted must know that the guest may run here.
    fn assert_written_ahead(&self) {
        let stage = TargetJournal::parse(&self.journal).ok().map(|journal| journal.stage);
        let knows = matches!(stage, Some(Stage::Claiming(_) | Stage::Running(_)));
        assert!(
            self.is_source || knows,
            "the claim is written ahead, but the journal has {stage:?}"
        );
    }

    fn call(&mut self) -> Result<(), ErrorKind> {
        match self.fails_in {
            Some(0) => {
                self.fails_in = None;
                Err(ErrorKind::Busy)
            }
            rest => {
                self.fails_in = rest.map(|count| count - 1);
                Ok(())
            }
        }
    }

    fn start(&mut self, operation: Operation) -> Result<(), ErrorKind> {
        self.call()?;
        let is_new = !self.under_way.contains(&Some(operation));
        assert!(is_new, "{operation:?} is not started while it is under way");
        self.under_way.push_back(Some(operation));
        Ok(())
    }

    fn assert_inside(&self, run: PageRun, length: usize, bytes_each: u64) {
        assert!(run.fits(self.pages), "{run:?} lies inside the guest");
        let expected = run.page_count().get() * bytes_each;
        assert_eq!(u64::try_from(length), Ok(expected), "a buffer holds its run");
    }

    fn assert_slot(slot: DeviceSlot) {
        assert!(slot.get() < DEVICES, "{slot:?} is a slot of the VM");
    }

    /// At a target nothing of the guest begins before both steps of the claim are won. A source is
    /// believed what its peer says, so that it is held against its peer elsewhere.
    fn assert_owned(&self) {
        let is_owned = self.is_source || self.record.get() == self.own;
        assert!(is_owned, "the guest runs at the target under a record that it has won");
    }

    /// At a target no device is attached before the claim is won, which may be taken back later.
    fn assert_claimed(&self) {
        let record = self.record.get();
        let is_its = record.at(self.own.standing) == self.own;
        let is_claimed = self.is_source || is_its || record.epoch > self.own.epoch;
        assert!(is_claimed, "a device is attached at the target under a record that it has won");
    }
}

impl ErrorType for Vm {
    type Error = ErrorKind;
}

impl GuestStorage for Vm {
    fn page_count(&self) -> PageCount {
        self.pages
    }

    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.assert_inside(run, target.len(), 4096);
        self.call()
    }

    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        assert!(!self.is_source && !self.runs, "pages come only into a copy that does not run");
        self.assert_inside(run, source.len(), 4096);
        self.call()
    }
}

impl StorageKeys for Vm {
    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.assert_inside(run, target.len(), 1);
        target.fill(0x16);
        self.call()
    }

    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        assert!(!self.is_source && !self.runs, "keys come only into a copy that does not run");
        self.assert_inside(run, source.len(), 1);
        self.call()
    }
}

impl PageStates for Vm {
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.assert_inside(run, target.len(), 1);
        target.fill(0);
        Ok(())
    }

    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        assert!(!self.is_source && !self.runs, "states come only into a copy that does not run");
        self.assert_inside(run, source.len(), 1);
        Ok(())
    }
}

impl DirtyTracking for Vm {
    fn start_tracking(&mut self) -> Result<(), ErrorKind> {
        self.call()
    }

    fn stop_tracking(&mut self) -> Result<(), ErrorKind> {
        self.call()
    }

    fn collect(
        &mut self,
        pages: &DirtyBitmap<'_>,
        keys: &DirtyBitmap<'_>,
    ) -> Result<(), ErrorKind> {
        if self.stores {
            self.stores = false;
            store(pages, keys);
        }
        self.call()
    }
}

impl GuestProcessors for Vm {
    fn processor_count(&self) -> u16 {
        self.processors
    }

    fn start_stop(&mut self) -> Result<(), ErrorKind> {
        self.start(Operation::StopProcessors)?;
        self.runs = false;
        Ok(())
    }

    fn start_resume(&mut self) -> Result<(), ErrorKind> {
        self.assert_owned();
        self.assert_written_ahead();
        self.start(Operation::ResumeProcessors)?;
        self.runs = true;
        Ok(())
    }

    fn capture(
        &mut self,
        index: ProcessorIndex,
        _image: &mut ProcessorImage,
    ) -> Result<(), ErrorKind> {
        assert!(index.get() < self.processors, "{index:?} is a processor of the VM");
        self.call()
    }

    fn restore(&mut self, index: ProcessorIndex, _image: &ProcessorImage) -> Result<(), ErrorKind> {
        assert!(index.get() < self.processors && !self.runs, "{index:?} is a stopped processor");
        self.call()
    }

    fn capture_machine(&mut self, _image: &mut MachineImage) -> Result<(), ErrorKind> {
        self.call()
    }

    fn restore_machine(&mut self, _image: &MachineImage) -> Result<(), ErrorKind> {
        assert!(!self.runs, "the machine is stopped");
        self.call()
    }
}

impl GuestEvents for Vm {
    fn foretell(&mut self, surplus: ProcessorSet) -> Result<(), ErrorKind> {
        assert!(surplus.is_empty() || self.processors > 1, "one processor is left at least");
        self.call()
    }

    fn start_tell(&mut self, event: GuestEvent) -> Result<(), ErrorKind> {
        if event == GuestEvent::Moved {
            self.assert_owned();
        }
        self.call()?;
        self.under_way.push_back(None);
        Ok(())
    }
}

impl DeviceControl for Vm {
    fn start_assign(
        &mut self,
        slot: DeviceSlot,
        _device: &DeviceDescriptor,
    ) -> Result<(), ErrorKind> {
        Self::assert_slot(slot);
        self.start(Operation::AssignDevice(slot))
    }

    fn start_quiesce(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        Self::assert_slot(slot);
        self.start(Operation::QuiesceDevice(slot))
    }

    fn start_detach(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        Self::assert_slot(slot);
        assert!(self.is_source, "a device is detached at the source");
        self.start(Operation::DetachDevice(slot))
    }

    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), ErrorKind> {
        Self::assert_slot(slot);
        self.assert_claimed();
        assert!(self.is_source || epoch == self.own.epoch, "a device is attached under the record");
        self.start(Operation::AttachDevice(slot))
    }

    fn start_remove(&mut self, slot: DeviceSlot) -> Result<(), ErrorKind> {
        Self::assert_slot(slot);
        self.start(Operation::RemoveDevice(slot))
    }

    fn capture_subchannel(
        &mut self,
        slot: DeviceSlot,
        _image: &mut SubchannelImage,
    ) -> Result<(), ErrorKind> {
        Self::assert_slot(slot);
        self.call()
    }

    fn restore_subchannel(
        &mut self,
        slot: DeviceSlot,
        _image: &SubchannelImage,
    ) -> Result<(), ErrorKind> {
        Self::assert_slot(slot);
        assert!(!self.runs, "a subchannel is loaded only into a copy that does not run");
        self.call()
    }
}

impl Completions for Vm {
    fn poll_completion(&mut self) -> Option<Completion> {
        self.ended.pop_front()
    }
}

impl VmHost for Vm {
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        _findings: &mut Findings,
    ) -> Result<(), ErrorKind> {
        assert!(definition.memory() <= PageCount::new(1024), "the VM is one that may come here");
        assert!(devices.count() <= usize::from(DEVICES), "the devices have slots");
        self.call()
    }

    fn start_build(&mut self, definition: &VmBlock) -> Result<(), ErrorKind> {
        self.start(Operation::BuildVm)?;
        (self.pages, self.processors) = (definition.memory(), definition.processor_count());
        Ok(())
    }

    fn start_destroy(&mut self) -> Result<(), ErrorKind> {
        self.start(Operation::DestroyVm)?;
        (self.pages, self.processors) = (PageCount::new(0), 0);
        Ok(())
    }

    fn mark(&mut self, _mark: MigrationMark) -> Result<(), ErrorKind> {
        self.call()
    }
}

impl MonitorJournal for Vm {
    fn save(&mut self, record: &[u8]) -> Result<(), ErrorKind> {
        self.call()?;
        self.journal = record.to_vec();
        Ok(())
    }
}
