//! Target, undo: the devices and the VM's shell are given back, and only then ABORTED is said.
//!
//! Source of truth: VM2000 manual, "Abort"; ARCHITECTURE.md, "The handover". Invariant: ABORTED
//! names the load that was dropped, after nothing of it can run any more.

use super::{Debts, Phase, Step, Target, TargetLoan, answer::present};
use crate::{
    device::{Plan, Progress},
    message::Notice,
    migrate::{effect::Effect, input::Input, journal::Stage},
    units::Tick,
    vm::{Operation, Reason},
    wire::Frame,
};

/// The attempt is being undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Undoing {
    reason: Reason,
    step: UndoStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum UndoStep {
    /// A setting-up that is under way comes to its end.
    Building,
    /// Assignments that are under way come to their end.
    Assigning,
    /// The next debt is to be paid.
    Next,
    /// The devices are being removed.
    Devices,
    /// The VM is being ended.
    Vm,
}

impl Undoing {
    /// The first step of a restarted monitor: nothing of the former one is under way.
    pub(super) const fn first(reason: Reason) -> Self {
        Self { reason, step: UndoStep::Next }
    }

    pub(super) const fn reason(&self) -> Reason {
        self.reason
    }

    /// The same undoing for one reason that stands for all.
    #[cfg(feature = "_model")]
    pub(super) const fn for_any_reason(self) -> Self {
        Self { reason: Reason::Cancelled, ..self }
    }
}

impl Target {
    /// Ends the attempt for `reason`; from now on its debts are paid.
    pub(super) fn abort(&mut self, now: Tick, reason: Reason) {
        crate::fmt::info!("target aborts for reason {} at {}", reason.code(), now.get());
        let building = self.debts.contains(Debts::VM_BUILT)
            && matches!(self.phase, Phase::Building(building) if building.awaits_vm());
        let step = if building {
            UndoStep::Building
        } else if self.devices.abandon() == Progress::Finished {
            UndoStep::Next
        } else {
            UndoStep::Assigning
        };
        self.enter(Phase::Undoing(Undoing { reason, step }));
    }

    pub(super) fn in_undoing(
        &mut self,
        _now: Tick,
        undoing: Undoing,
        input: Input,
        loan: &mut TargetLoan<'_>,
    ) -> Step {
        let devices = present(loan, self.announced);
        let next = match (undoing.step, input) {
            (UndoStep::Building, Input::Done(Operation::BuildVm)) => true,
            (UndoStep::Building, Input::Failed(Operation::BuildVm)) => {
                self.debts.remove(Debts::VM_BUILT);
                true
            }
            (UndoStep::Assigning | UndoStep::Devices, Input::Done(operation)) => {
                has_ended(self.devices.handle_done(operation, devices).ok())
            }
            (UndoStep::Assigning | UndoStep::Devices, Input::Failed(operation)) => {
                has_ended(self.devices.handle_failed(operation, devices).ok())
            }
            (
                UndoStep::Vm,
                Input::Done(Operation::DestroyVm) | Input::Failed(Operation::DestroyVm),
            ) => true,
            // What was under way comes to its end, and what the source still sends has lost its
            // meaning.
            (
                _,
                Input::Frame(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Guest(_)
                | Input::Checked(_)
                | Input::Stored(_)
                | Input::Deadline,
            ) => false,
            (_, Input::Directory(_) | Input::LinkLost(_) | Input::LinkUp) => {
                return Err(self.out_of_phase(input));
            }
        };
        if next {
            self.phase = Phase::Undoing(Undoing { step: UndoStep::Next, ..undoing });
        }
        Ok(())
    }

    pub(super) fn next_in_undoing(
        &mut self,
        undoing: Undoing,
        loan: &mut TargetLoan<'_>,
    ) -> Option<Effect> {
        let devices = present(loan, self.announced);
        match undoing.step {
            UndoStep::Building | UndoStep::Assigning | UndoStep::Vm => None,
            UndoStep::Devices => self.devices.poll_operation(devices).map(Effect::Start),
            UndoStep::Next => {
                if self.debts.contains(Debts::DEVICES_ASSIGNED) {
                    self.debts.remove(Debts::DEVICES_ASSIGNED);
                    if self.devices.begin(Plan::Remove, devices) == Ok(Progress::UnderWay) {
                        let step = UndoStep::Devices;
                        self.phase = Phase::Undoing(Undoing { step, ..undoing });
                        return self.devices.poll_operation(devices).map(Effect::Start);
                    }
                }
                if self.debts.contains(Debts::VM_BUILT) {
                    self.debts.remove(Debts::VM_BUILT);
                    self.phase = Phase::Undoing(Undoing { step: UndoStep::Vm, ..undoing });
                    return Some(Effect::Start(Operation::DestroyVm));
                }
                if self.saved != Stage::Over {
                    self.saved = Stage::Over;
                    return Some(Effect::Save(Stage::Over));
                }
                let reason = undoing.reason;
                self.out.send(Frame::Aborted { incarnation: self.incarnation, reason });
                self.enter(Phase::Dropped(reason));
                if self.debts.contains(Debts::ANNOUNCED) {
                    return Some(Effect::Notice(Notice::IncomingAborted(reason)));
                }
                self.out.pop()
            }
        }
    }
}

/// Whether a plan for the devices has ended, well or not.
const fn has_ended(progress: Option<Progress>) -> bool {
    matches!(progress, Some(Progress::Finished | Progress::Failed(_)))
}
