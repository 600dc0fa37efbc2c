//! The ports of one VM on one SU: those of the emulated machine, with time and with faults.
//!
//! Source of truth: `monitor_core::ports`; [`VmPorts`] for what is done. Invariants: an operation
//! that was started ends once; what overtakes it leaves nothing of it but its end; a port of a
//! crashed monitor does nothing. Deliberately not here: decisions; guest storage and its maps.

mod storage;

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    migrate::{Offer, admit_incoming},
    ports::{
        Completion, Completions, DeviceControl, ErrorKind, ErrorType, GuestEvent, GuestEvents,
        GuestProcessors, MonitorJournal, Operation, VmHost,
    },
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, Micros, ProcessorIndex, Tick},
    vm::{Findings, MachineImage, MigrationMark, Obstacle, ProcessorSet, VmBlock},
};

use super::{
    check,
    fault::{End, FaultKind},
    plan::SuPlan,
    shared::{Flaw, Spot},
};
use crate::machine::{PortFailure, VmPorts};

/// What happens when an operation has taken its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Stop,
    Resume,
    Assign(DeviceSlot, DeviceDescriptor),
    Quiesce(DeviceSlot),
    Detach(DeviceSlot),
    Attach(DeviceSlot, Epoch),
    Remove(DeviceSlot),
    Build,
    Destroy,
    /// Nothing but the end.
    End(Operation, Option<ErrorKind>),
}

/// Work that a processor does in the midst of a call.
const MEANWHILE_BUDGET: u32 = 40;

/// No attempt waits so long for a device.
const ENDLESS: Micros = Micros::from_millis(3_600_000);
/// Such a wait ends so soon when it has lost its meaning.
const ENDLESS_OVER: Micros = Micros::from_millis(1);

const REFUSED: PortFailure = PortFailure { kind: ErrorKind::Refused, text: "refused by a fault" };
const BUSY: PortFailure = PortFailure { kind: ErrorKind::Busy, text: "busy by a fault" };
const CRASHED: PortFailure = PortFailure { kind: ErrorKind::Other, text: "the monitor is gone" };

/// The ports.
#[derive(Debug)]
pub(super) struct VmPort<'a> {
    spot: Rc<Spot<'a>>,
    inner: VmPorts,
    /// The definition of the VM that is being set up.
    definition: Option<VmBlock>,
    pending: Vec<(Tick, Action)>,
    ended: VecDeque<Completion>,
    /// The devices that are waited for, and since when.
    draining: Vec<(DeviceSlot, Tick)>,
}

impl<'a> VmPort<'a> {
    /// The ports of the VM at a spot, with the machine of its copy if there is one.
    pub(super) fn new(spot: Rc<Spot<'a>>) -> Self {
        let mut inner = VmPorts::new();
        if let Some(copy) = spot.copy.get() {
            inner.install(Arc::clone(spot.shared.machine(copy)));
        }
        let (pending, ended, draining) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { spot, inner, definition: None, pending, ended, draining }
    }

    /// Since when a device is waited for that has not come to rest.
    pub(super) fn drains_since(&self) -> Option<Tick> {
        self.draining.iter().map(|(_, since)| *since).min()
    }

    /// When an operation ends next.
    pub(super) fn next_event(&self) -> Option<Tick> {
        self.pending.iter().map(|(due, _)| *due).min()
    }

    /// The monitor is gone: each operation under way is either carried out or not.
    pub(super) fn crash(&mut self) {
        for (_, action) in std::mem::take(&mut self.pending) {
            let is_harmless = !matches!(action, Action::Build);
            if is_harmless && self.spot.shared.draw(2) == 0 {
                self.perform(action);
            }
        }
    }

    /// Lets a guest that runs go on in the midst of what the monitor does, as real processors do.
    fn go_on_meanwhile(&self) {
        let shared = &self.spot.shared;
        let (Some(machine), Some(copy)) = (self.inner.machine(), self.spot.copy.get()) else {
            return;
        };
        if machine.is_running() && shared.draw(4) == 0 {
            machine.step_channel(shared.now());
            for index in 0..machine.processor_count() {
                machine.step_processor(index, shared.now(), MEANWHILE_BUDGET);
            }
            shared.wake(copy);
        }
    }

    /// The time that an operation takes.
    fn span(&self) -> Micros {
        Micros::new(1 + self.spot.shared.draw(self.spot.shared.port_latency))
    }

    fn start(&mut self, action: Action, span: Micros) {
        self.pending.push((self.spot.shared.now().after(span), action));
    }

    /// Starts an operation of a device, or lets a fault keep it from its end.
    fn start_device(&mut self, action: Action, operation: Operation) -> Result<(), PortFailure> {
        if !self.spot.lives() {
            return Err(CRASHED);
        }
        if self.spot.strikes(FaultKind::DeviceBusy) {
            return Err(BUSY);
        }
        let mut span = self.span();
        if self.spot.strikes(FaultKind::DeviceSlow) {
            span = span.plus(self.spot.span.get());
        }
        let refused = self.spot.strikes(FaultKind::DeviceRefuses);
        let end = Action::End(operation, Some(ErrorKind::Refused));
        self.start(if refused { end } else { action }, span);
        Ok(())
    }

    /// Starts an operation of the processors.
    fn start_processors(
        &mut self,
        action: Action,
        operation: Operation,
    ) -> Result<(), PortFailure> {
        if !self.spot.lives() {
            return Err(CRASHED);
        }
        let mut span = self.span();
        if self.spot.strikes(FaultKind::ProcessorsSlow) {
            span = span.plus(self.spot.span.get());
        }
        if self.spot.strikes(FaultKind::ProcessorsRefuse) {
            if self.spot.shared.draw(2) == 0 {
                return Err(REFUSED);
            }
            self.start(Action::End(operation, Some(ErrorKind::Refused)), span);
            return Ok(());
        }
        self.start(action, span);
        Ok(())
    }

    /// An operation that is overtaken ends without having happened.
    fn overtake(&mut self, overtaken: Action, end: Action) {
        let now = self.spot.shared.now();
        for (due, action) in &mut self.pending {
            if *action == overtaken {
                (*due, *action) = ((*due).min(now.after(ENDLESS_OVER)), end);
            }
        }
    }

    /// Carries out what an operation was started for.
    fn perform(&mut self, action: Action) {
        self.inner.set_now(self.spot.shared.now());
        let (operation, done) = match action {
            Action::Stop => (Operation::StopProcessors, self.stop()),
            Action::Resume => (Operation::ResumeProcessors, self.resume()),
            Action::Assign(slot, device) => {
                (Operation::AssignDevice(slot), self.assign(slot, &device))
            }
            Action::Quiesce(slot) => {
                if self.spot.shared.has(Flaw::ForgottenQuiesce) {
                    self.ended.push_back(Completion::Done(Operation::QuiesceDevice(slot)));
                    return;
                }
                (Operation::QuiesceDevice(slot), self.inner.start_quiesce(slot))
            }
            Action::Detach(slot) => (Operation::DetachDevice(slot), self.detach(slot)),
            Action::Attach(slot, epoch) => {
                let attached = self.inner.start_attach(slot, epoch);
                if let (Ok(()), Some(copy)) = (attached, self.spot.copy.get()) {
                    self.spot.shared.has_attached(copy, slot);
                }
                (Operation::AttachDevice(slot), attached)
            }
            Action::Remove(slot) => (Operation::RemoveDevice(slot), self.inner.start_remove(slot)),
            Action::Build => {
                self.build();
                return;
            }
            Action::Destroy => {
                self.destroy();
                return;
            }
            Action::End(operation, kind) => {
                self.end(operation, kind);
                (operation, Ok(()))
            }
        };
        if let Err(failure) = done {
            self.ended.push_back(Completion::Failed(operation, failure.kind));
        }
        if let Some(copy) = self.spot.copy.get() {
            self.spot.shared.wake(copy);
        }
    }

    /// What ends now, if anything does.
    fn next_completion(&mut self) -> Option<Completion> {
        let now = self.spot.shared.now();
        self.inner.set_now(now);
        loop {
            if let Some(completion) = self.ended.pop_front() {
                return Some(completion);
            }
            if let Some(completion) = self.inner.poll_completion() {
                return Some(completion);
            }
            let due = self.pending.iter().position(|(due, _)| *due <= now)?;
            let (_, action) = self.pending.remove(due);
            self.perform(action);
        }
    }

    fn end(&mut self, operation: Operation, kind: Option<ErrorKind>) {
        self.ended.push_back(match kind {
            None => Completion::Done(operation),
            Some(kind) => Completion::Failed(operation, kind),
        });
    }

    fn assign(&mut self, slot: DeviceSlot, device: &DeviceDescriptor) -> Result<(), PortFailure> {
        let record = self.spot.shared.record(self.spot.vm);
        if let (true, Some(record)) = (self.spot.shared.has(Flaw::EarlyAttach), record) {
            self.inner.start_attach(slot, record.epoch)?;
        }
        if !self.spot.shared.vms[self.spot.vm].has_on(self.spot.su, device) {
            return Err(REFUSED);
        }
        self.inner.start_assign(slot, device)
    }

    fn detach(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        if self.spot.shared.has(Flaw::ForgottenDetach) {
            self.ended.push_back(Completion::Done(Operation::DetachDevice(slot)));
            return Ok(());
        }
        self.inner.start_detach(slot)
    }

    fn stop(&mut self) -> Result<(), PortFailure> {
        if self.spot.shared.has(Flaw::RunsOn) {
            self.ended.push_back(Completion::Done(Operation::StopProcessors));
            return Ok(());
        }
        self.inner.start_stop()
    }

    /// A copy that is about to run for the first time has to be what the source was.
    fn resume(&mut self) -> Result<(), PortFailure> {
        if let Some(copy) = self.spot.copy.get() {
            check::before_resume(&self.spot, copy);
            self.spot.shared.copies.borrow_mut()[copy].has_run = true;
        }
        self.inner.start_resume()
    }

    fn build(&mut self) {
        let shared = &self.spot.shared;
        let (vm, su) = (self.spot.vm, self.spot.su);
        let machine = shared.build(vm, su, &self.definition.unwrap_or(shared.vms[vm].block));
        let end = match shared.enter(vm, su, machine) {
            Some(copy) => {
                self.spot.copy.set(Some(copy));
                self.inner.install(Arc::clone(shared.machine(copy)));
                if let Some(source) = self.spot.peer.get() {
                    shared.takes_definition(copy, source);
                }
                Completion::Done(Operation::BuildVm)
            }
            None => Completion::Failed(Operation::BuildVm, ErrorKind::NoResource),
        };
        self.ended.push_back(end);
    }

    fn destroy(&mut self) {
        if let Some(machine) = self.inner.remove() {
            machine.stop();
        }
        if let Some(copy) = self.spot.copy.get() {
            self.spot.shared.copies.borrow_mut()[copy].is_there = false;
            check::after_destroy(&self.spot, copy);
        }
        self.ended.push_back(Completion::Done(Operation::DestroyVm));
    }
}

impl ErrorType for VmPort<'_> {
    type Error = PortFailure;
}

impl Completions for VmPort<'_> {
    fn poll_completion(&mut self) -> Option<Completion> {
        if self.spot.is_dead() {
            return None;
        }
        let completion = self.next_completion();
        if let Some(
            Completion::Done(Operation::QuiesceDevice(slot))
            | Completion::Failed(Operation::QuiesceDevice(slot), _),
        ) = completion
        {
            self.draining.retain(|(it, _)| *it != slot);
        }
        completion
    }
}

impl GuestProcessors for VmPort<'_> {
    fn processor_count(&self) -> u16 {
        self.inner.processor_count()
    }

    fn start_stop(&mut self) -> Result<(), PortFailure> {
        self.start_processors(Action::Stop, Operation::StopProcessors)
    }

    fn start_resume(&mut self) -> Result<(), PortFailure> {
        self.overtake(Action::Stop, Action::End(Operation::StopProcessors, None));
        self.start_processors(Action::Resume, Operation::ResumeProcessors)
    }

    fn capture(
        &mut self,
        index: ProcessorIndex,
        image: &mut ProcessorImage,
    ) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StateFails) {
            return Err(REFUSED);
        }
        self.inner.capture(index, image)
    }

    fn restore(
        &mut self,
        index: ProcessorIndex,
        image: &ProcessorImage,
    ) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StateFails) {
            return Err(REFUSED);
        }
        self.inner.restore(index, image)
    }

    fn capture_machine(&mut self, image: &mut MachineImage) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StateFails) {
            return Err(REFUSED);
        }
        self.inner.capture_machine(image)
    }

    fn restore_machine(&mut self, image: &MachineImage) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StateFails) {
            return Err(REFUSED);
        }
        self.inner.restore_machine(image)
    }
}

impl GuestEvents for VmPort<'_> {
    fn foretell(&mut self, surplus: ProcessorSet) -> Result<(), PortFailure> {
        if !self.spot.lives() {
            return Err(CRASHED);
        }
        if self.spot.shared.has(Flaw::ForgottenWord) {
            return Ok(());
        }
        self.inner.foretell(surplus)
    }

    fn start_tell(&mut self, event: GuestEvent) -> Result<(), PortFailure> {
        if !self.spot.lives() || self.spot.strikes(FaultKind::TellFails) {
            return Err(REFUSED);
        }
        if let Some(copy) = self.spot.copy.get() {
            self.spot.shared.wake(copy);
        }
        self.inner.start_tell(event)
    }
}

impl DeviceControl for VmPort<'_> {
    fn start_assign(
        &mut self,
        slot: DeviceSlot,
        device: &DeviceDescriptor,
    ) -> Result<(), PortFailure> {
        self.start_device(Action::Assign(slot, *device), Operation::AssignDevice(slot))
    }

    fn start_quiesce(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        if self.spot.lives() && self.spot.strikes(FaultKind::DrainEndless) {
            self.start(Action::Quiesce(slot), ENDLESS);
        } else {
            self.start_device(Action::Quiesce(slot), Operation::QuiesceDevice(slot))?;
        }
        self.draining.push((slot, self.spot.shared.now()));
        Ok(())
    }

    fn start_detach(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        self.start_device(Action::Detach(slot), Operation::DetachDevice(slot))
    }

    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), PortFailure> {
        let refused = Action::End(Operation::QuiesceDevice(slot), Some(ErrorKind::Refused));
        self.overtake(Action::Quiesce(slot), refused);
        let is_stale = self.spot.shared.has(Flaw::StaleEpoch) && self.spot.end == End::Target;
        let epoch = if is_stale { Epoch::new(epoch.get() - 1) } else { epoch };
        self.start_device(Action::Attach(slot, epoch), Operation::AttachDevice(slot))
    }

    fn start_remove(&mut self, slot: DeviceSlot) -> Result<(), PortFailure> {
        self.start_device(Action::Remove(slot), Operation::RemoveDevice(slot))
    }

    fn capture_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &mut SubchannelImage,
    ) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StateFails) {
            return Err(REFUSED);
        }
        let is_awaited = self.draining.iter().any(|(it, _)| *it == slot);
        check::at_capture(&self.spot, slot, is_awaited);
        self.inner.capture_subchannel(slot, image)?;
        if let (true, Some(machine)) =
            (self.spot.shared.has(Flaw::ForgottenHold), self.inner.machine())
        {
            machine.with_subsystem(|it| it.release(slot)).map_err(PortFailure::from)?;
        }
        Ok(())
    }

    fn restore_subchannel(
        &mut self,
        slot: DeviceSlot,
        image: &SubchannelImage,
    ) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StateFails) {
            return Err(REFUSED);
        }
        self.inner.restore_subchannel(slot, image)
    }
}

impl MonitorJournal for VmPort<'_> {
    fn save(&mut self, record: &[u8]) -> Result<(), PortFailure> {
        if !self.spot.lives() || self.spot.strikes(FaultKind::JournalFails) {
            return Err(REFUSED);
        }
        self.spot.journal.replace(record.to_vec());
        Ok(())
    }
}

impl VmHost for VmPort<'_> {
    fn check(
        &mut self,
        definition: &VmBlock,
        _devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) -> Result<(), PortFailure> {
        if !self.spot.lives() || self.spot.strikes(FaultKind::CheckFails) {
            return Err(REFUSED);
        }
        if self.spot.shared.is_taken(self.spot.vm, self.spot.su, None) {
            findings.add(Obstacle::NameTaken);
        }
        let SuPlan { pool, facilities } = self.spot.shared.hardware[self.spot.su];
        let is_receiving = self.spot.shared.is_receiving(self.spot.su);
        admit_incoming(definition, &Offer { pool, facilities, is_receiving }, findings);
        Ok(())
    }

    fn start_build(&mut self, definition: &VmBlock) -> Result<(), PortFailure> {
        if !self.spot.lives() {
            return Err(CRASHED);
        }
        let Spot { shared, vm, .. } = &*self.spot;
        let is_forgotten = shared.has(Flaw::ForgottenBlock);
        self.definition = Some(if is_forgotten { shared.vms[*vm].block } else { *definition });
        let span = Micros::new(self.span().get() * 20);
        let mut action = Action::Build;
        if self.spot.strikes(FaultKind::VmRefused) {
            if self.spot.shared.draw(2) == 0 {
                return Err(REFUSED);
            }
            action = Action::End(Operation::BuildVm, Some(ErrorKind::Refused));
        }
        self.start(action, span);
        Ok(())
    }

    fn start_destroy(&mut self) -> Result<(), PortFailure> {
        if !self.spot.lives() || self.spot.strikes(FaultKind::VmRefused) {
            return Err(REFUSED);
        }
        // A VM that is still being set up is ended before it is there.
        for (_, action) in &mut self.pending {
            if matches!(action, Action::Build) {
                *action = Action::End(Operation::BuildVm, Some(ErrorKind::Refused));
            }
        }
        let span = self.span();
        self.start(Action::Destroy, span);
        Ok(())
    }

    fn mark(&mut self, mark: MigrationMark) -> Result<(), PortFailure> {
        if !self.spot.lives() {
            return Err(CRASHED);
        }
        if let Some(copy) = self.spot.copy.get() {
            self.spot.shared.copies.borrow_mut()[copy].mark = mark;
        }
        Ok(())
    }
}
