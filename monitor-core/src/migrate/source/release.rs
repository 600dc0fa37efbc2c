//! Source, release: the VM runs on the target, so this end gives back what it had.
//!
//! Source of truth: VM2000 manual, console trace of MIGRATE-VM (VMS4009, VMS4024, VMS2451).
//! Invariants: nothing is given back before RUNNING; with the link intact, not before COMPLETED.

use super::{Phase, Source, SourceLoan, Step};
use crate::{
    device::{Conduct, DeviceEntry, Plan, Progress},
    limits::DEVICES_MAX,
    message::Notice,
    migrate::{
        attempt::Limits,
        effect::Effect,
        input::{Arrival, Input},
        journal::Stage,
    },
    units::Tick,
    vm::Operation,
    wire::Frame,
};

/// The VM runs on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Moved {
    step: MovedStep,
    since: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum MovedStep {
    /// COMPLETED is awaited.
    Awaiting,
    /// Tracking ends, the devices are about to be removed.
    Beginning,
    /// The devices are being removed.
    Removing,
    /// The removed devices are being named to the operator, this one next.
    Naming(u16),
    /// The VM is being ended here.
    Destroying,
}

impl Moved {
    /// RUNNING has come.
    pub(super) const fn awaiting(now: Tick) -> Self {
        Self { step: MovedStep::Awaiting, since: now }
    }

    /// Nothing more is awaited of the target.
    pub(super) const fn beginning(now: Tick) -> Self {
        Self { step: MovedStep::Beginning, since: now }
    }

    /// The guest runs elsewhere, so that nothing is lost by giving back before COMPLETED: this
    /// end waits as long as the target waits for the guest's two reports, and for the peer.
    pub(super) fn deadline(&self, limits: Limits) -> Option<Tick> {
        let reports = limits.guest_answer.plus(limits.guest_answer);
        let is_waiting = self.step == MovedStep::Awaiting;
        is_waiting.then(|| self.since.after(reports.plus(limits.peer_answer)))
    }
}

impl Source {
    /// The link is gone behind RUNNING: the target does not need this end any more.
    pub(super) fn target_is_on_its_own(&mut self, moved: Moved) {
        if moved.step == MovedStep::Awaiting {
            self.phase = Phase::Moved(Moved { step: MovedStep::Beginning, ..moved });
        }
    }

    pub(super) fn in_moved(
        &mut self,
        now: Tick,
        moved: Moved,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        match (moved.step, input) {
            (MovedStep::Awaiting, Input::Frame(Arrival { frame: Frame::Completed, .. })) => {
                self.target_is_on_its_own(moved);
                Ok(())
            }
            // What is repeated says nothing new.
            (
                _,
                Input::Frame(Arrival {
                    frame: Frame::Running(_) | Frame::Completed | Frame::Ack(_),
                    ..
                }),
            ) => Ok(()),
            (_, Input::Frame(_)) => Err(self.out_of_phase(input)),
            (MovedStep::Removing, Input::Done(operation)) => {
                let progress = self.devices.handle_done(operation, loan.devices);
                self.removed(moved, progress.ok(), input)
            }
            (MovedStep::Removing, Input::Failed(operation)) => {
                let progress = self.devices.handle_failed(operation, loan.devices);
                self.removed(moved, progress.ok(), input)
            }
            (
                MovedStep::Destroying,
                Input::Done(Operation::DestroyVm) | Input::Failed(Operation::DestroyVm),
            ) => {
                self.out.push(Effect::Notice(Notice::Terminated));
                self.out.push(Effect::Notice(Notice::MigrationCompleted));
                self.save(Stage::Over);
                self.out.send(Frame::Released);
                self.enter(Phase::Released);
                Ok(())
            }
            (_, Input::Deadline) => {
                let limits = self.attempt.as_ref().map_or(Limits::DEFAULT, |it| it.limits);
                if moved.deadline(limits).is_some_and(|deadline| deadline <= now) {
                    self.target_is_on_its_own(moved);
                }
                Ok(())
            }
            (_, Input::Directory(_)) => Ok(()),
            (
                _,
                Input::Guest(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Checked(_)
                | Input::Stored(_)
                | Input::LinkLost(_)
                | Input::LinkUp,
            ) => Err(self.out_of_phase(input)),
        }
    }

    /// A device that cannot be removed does not keep the others, nor the end of the VM: it is
    /// fenced by its epoch.
    fn removed(&mut self, moved: Moved, progress: Option<Progress>, input: Input) -> Step {
        match progress {
            None => return Err(self.out_of_phase(input)),
            Some(Progress::UnderWay) => {}
            Some(Progress::Finished | Progress::Failed(_)) => {
                self.phase = Phase::Moved(Moved { step: MovedStep::Naming(0), ..moved });
            }
        }
        Ok(())
    }

    pub(super) fn next_in_moved(
        &mut self,
        moved: Moved,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        match moved.step {
            MovedStep::Awaiting | MovedStep::Destroying => None,
            MovedStep::Beginning if self.saved != Stage::Moved => {
                self.saved = Stage::Moved;
                Some(Effect::Save(Stage::Moved))
            }
            MovedStep::Beginning => {
                let step = match self.devices.begin(Plan::Remove, loan.devices) {
                    Ok(Progress::UnderWay) => MovedStep::Removing,
                    Ok(Progress::Finished | Progress::Failed(_)) | Err(_) => MovedStep::Naming(0),
                };
                self.phase = Phase::Moved(Moved { step, ..moved });
                Some(Effect::StopTracking)
            }
            MovedStep::Removing => self.devices.poll_operation(loan.devices).map(Effect::Start),
            MovedStep::Naming(slot) => {
                // An alias was removed without a word when it was detached.
                let is_named = |entry: &DeviceEntry| entry.descriptor.conduct() != Conduct::Alias;
                let mut rest = (slot..DEVICES_MAX).zip(loan.devices.iter().skip(usize::from(slot)));
                let Some((named, entry)) = rest.find(|(_, entry)| is_named(entry)) else {
                    self.phase = Phase::Moved(Moved { step: MovedStep::Destroying, ..moved });
                    return Some(Effect::Start(Operation::DestroyVm));
                };
                let step = MovedStep::Naming(named.saturating_add(1));
                self.phase = Phase::Moved(Moved { step, ..moved });
                let device = entry.descriptor.mnemonic;
                Some(Effect::Notice(Notice::DeviceRemoved { device }))
            }
        }
    }
}
