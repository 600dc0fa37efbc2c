//! Source, devices that do not go with the guest: tapes, emulated disks, PAV aliases.
//!
//! Source of truth: VM2000 manual, "Device management at a live migration" (implicit
//! /DETACH-DEVICE, VMS2471). Invariants: they are detached when the guest has consented and before
//! the target sets up the VM, so that one that is in use costs neither the blackout nor the target
//! anything; until the target runs the VM all of them can be given back; a device that the guest
//! had detached before is left alone. Deliberately not here: giving them back, which is a debt.

use super::{
    Debts, Phase, Source, SourceLoan, Step,
    negotiate::{PrepareStep, Preparing},
};
use crate::{
    device::{Conducts, DeviceEntry, LeaseState, Plan, Progress},
    message::Notice,
    migrate::{effect::Effect, input::Input},
    units::{DeviceSlot, Tick},
    vm::Reason,
};

impl Source {
    /// The guest has consented, or is not asked.
    pub(super) fn take_devices(&mut self, now: Tick) {
        self.enter(Phase::Preparing(Preparing { step: PrepareStep::Taking, since: now }));
    }

    pub(super) fn next_in_preparing(
        &mut self,
        now: Tick,
        preparing: Preparing,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        let plan = match preparing.step {
            PrepareStep::Taking => Plan::Quiesce(Conducts::STAY),
            PrepareStep::Draining | PrepareStep::Detaching if !self.devices.is_idle() => {
                return self.devices.poll_operation(loan.devices).map(Effect::Start);
            }
            PrepareStep::Detaching => Plan::Detach,
            PrepareStep::Draining
            | PrepareStep::Saving { .. }
            | PrepareStep::Telling { .. }
            | PrepareStep::Building
            | PrepareStep::Tracking(_) => return None,
        };
        let begun = self.devices.begin(plan, loan.devices);
        match begun {
            Ok(Progress::UnderWay) => {
                self.debts.insert(Debts::DEVICES_DETACHED);
                if preparing.step == PrepareStep::Taking {
                    let step = PrepareStep::Draining;
                    self.phase = Phase::Preparing(Preparing { step, ..preparing });
                }
                self.devices.poll_operation(loan.devices).map(Effect::Start)
            }
            // There is none.
            Ok(Progress::Finished) => {
                self.build(now);
                self.out.pop()
            }
            Ok(Progress::Failed(_)) | Err(_) => {
                self.device_in_use(now, None, loan);
                self.out.pop()
            }
        }
    }

    /// An operation of a device has ended; the plan perhaps with it.
    pub(super) fn device_taken(
        &mut self,
        now: Tick,
        preparing: Preparing,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        let progress = if let Input::Done(operation) = input {
            self.devices.handle_done(operation, loan.devices)
        } else if let Input::Failed(operation) = input {
            self.devices.handle_failed(operation, loan.devices)
        } else {
            return Err(self.out_of_phase(input));
        };
        match progress {
            Err(_) => return Err(self.out_of_phase(input)),
            Ok(Progress::UnderWay) => {}
            Ok(Progress::Failed(slot)) => self.device_in_use(now, Some(slot), loan),
            Ok(Progress::Finished) if preparing.step == PrepareStep::Draining => {
                let step = PrepareStep::Detaching;
                self.phase = Phase::Preparing(Preparing { step, ..preparing });
            }
            Ok(Progress::Finished) => self.build(now),
        }
        Ok(())
    }

    /// A device cannot be detached: the operator is told which one, and the attempt ends.
    pub(super) fn device_in_use(
        &mut self,
        now: Tick,
        slot: Option<DeviceSlot>,
        loan: &SourceLoan<'_, '_>,
    ) {
        let is_busy = |entry: &&DeviceEntry| {
            matches!(entry.lease.state(), LeaseState::Quiescing | LeaseState::Detaching)
        };
        let entry = match slot {
            Some(slot) => loan.devices.get(usize::from(slot.get())),
            None => loan.devices.iter().find(is_busy),
        };
        if let Some(entry) = entry {
            let device = entry.descriptor.mnemonic;
            self.out.push(Effect::Notice(Notice::DeviceInUse { device }));
        }
        self.abort(now, Reason::DeviceInUse);
    }
}
