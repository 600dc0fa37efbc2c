//! Target, behind COMMIT: the record is claimed, the VM runs, the guest reports itself.
//!
//! Source of truth: ARCHITECTURE.md, "The handover"; VM2000 manual, console trace (VMS2432,
//! VMS2431). Invariants: the record is claimed before a device is attached, and the guest runs
//! only after a second step has made the claim a running VM; a step without an answer is settled
//! by the same compare-and-set again; RUNNING is said when the processors run; the order of the
//! console lines follows from the guest's answers, not from time. Deliberately not here: what
//! follows RUNNING.

use super::{Debts, Phase, Said, Step, Target, TargetLoan, answer::present, running::Running};
use crate::{
    device::{Conducts, Plan, Progress},
    message::Notice,
    migrate::{
        effect::Effect,
        input::{Arrival, Input},
        journal::Stage,
    },
    units::Tick,
    vm::{DirectoryAnswer, GuestAnswer, GuestEvent, Operation, Reason, Standing},
    wire::Frame,
};

/// COMMIT has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Claiming {
    /// The journal is being written.
    Saving,
    /// The compare-and-set that brings the record to this standing is under way.
    Asked(Standing),
    /// The directory gave no answer to it; it is asked the same again then.
    Waiting { standing: Standing, until: Tick },
    /// The record stands so; the devices are about to be attached.
    Won(Standing),
    /// The devices are being attached.
    Attaching(Standing),
    /// The processors are being started; the guest's answer may come before their completion.
    Resuming { has_answered: bool },
    /// Devices or processors did not start; they are tried again then.
    Retry { standing: Standing, until: Tick },
}

impl Claiming {
    /// The first step.
    pub(super) const fn saving() -> Self {
        Self::Saving
    }

    /// The step of a monitor that was restarted behind its claim.
    pub(super) const fn restored(now: Tick) -> Self {
        Self::Waiting { standing: Standing::Claimed, until: now }
    }

    pub(super) const fn deadline(&self) -> Option<Tick> {
        match *self {
            Self::Waiting { until, .. } | Self::Retry { until, .. } => Some(until),
            Self::Saving
            | Self::Asked(_)
            | Self::Won(_)
            | Self::Attaching(_)
            | Self::Resuming { .. } => None,
        }
    }
}

impl Target {
    pub(super) fn in_claiming(
        &mut self,
        now: Tick,
        claiming: Claiming,
        input: Input,
        loan: &mut TargetLoan<'_>,
    ) -> Step {
        match (claiming, input) {
            (
                Claiming::Saving,
                Input::Done(Operation::SaveJournal) | Input::Failed(Operation::SaveJournal),
            ) => {
                self.claim_saved(now, input);
                Ok(())
            }
            (Claiming::Asked(standing), Input::Directory(answer)) => {
                self.claim_answered(now, standing, answer);
                Ok(())
            }
            (Claiming::Waiting { until, .. } | Claiming::Retry { until, .. }, Input::Deadline) => {
                if until <= now {
                    self.try_again(claiming);
                }
                Ok(())
            }
            (
                Claiming::Attaching(standing),
                Input::Done(operation @ Operation::AttachDevice(_))
                | Input::Failed(operation @ Operation::AttachDevice(_)),
            ) => self.attach_ended(now, standing, input, operation, loan),
            (Claiming::Resuming { has_answered }, Input::Done(Operation::ResumeProcessors)) => {
                self.runs(now);
                if has_answered {
                    self.guest_resumed(now);
                }
                Ok(())
            }
            (Claiming::Resuming { .. }, Input::Guest(GuestAnswer::Resumed)) => {
                self.phase = Phase::Claiming(Claiming::Resuming { has_answered: true });
                Ok(())
            }
            (Claiming::Resuming { .. }, Input::Failed(Operation::ResumeProcessors)) => {
                self.claim_retry(now, Standing::Running);
                Ok(())
            }
            // The claim may be won already: what the source says cannot change that.
            (_, Input::Frame(Arrival { frame: Frame::Commit(_) | Frame::Abort(_), .. })) => Ok(()),
            (
                Claiming::Saving
                | Claiming::Asked(_)
                | Claiming::Won(_)
                | Claiming::Attaching(_)
                | Claiming::Resuming { .. },
                Input::Deadline,
            )
            // A guest that cannot be told runs all the same, and is late then.
            | (_, Input::Failed(Operation::TellGuest)) => Ok(()),
            (
                _,
                Input::Frame(_)
                | Input::Guest(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Directory(_)
                | Input::Checked(_)
                | Input::Stored(_)
                | Input::LinkLost(_) | Input::LinkUp,
            ) => Err(self.out_of_phase(input)),
        }
    }

    /// The journal is written; or it is not, and nothing was claimed that were to be kept.
    fn claim_saved(&mut self, now: Tick, input: Input) {
        if matches!(input, Input::Done(_)) {
            self.ask(Standing::Claimed);
        } else {
            self.abort(now, Reason::JournalUnavailable);
        }
    }

    /// The wait is over: for the directory, or for devices and processors. While the VM is only
    /// claimed, the source may have taken it back meanwhile, and the directory is asked first.
    fn try_again(&mut self, claiming: Claiming) {
        match claiming {
            Claiming::Retry { standing: Standing::Running, .. } => {
                self.phase = Phase::Claiming(Claiming::Won(Standing::Running));
            }
            Claiming::Retry { standing, .. } | Claiming::Waiting { standing, .. } => {
                self.ask(standing);
            }
            Claiming::Saving
            | Claiming::Asked(_)
            | Claiming::Won(_)
            | Claiming::Attaching(_)
            | Claiming::Resuming { .. } => {}
        }
    }

    /// Brings the record to this standing.
    fn ask(&mut self, standing: Standing) {
        if let Some((expected, new)) = self.claim_records(standing) {
            self.out.push(Effect::CompareAndSet { expected, new });
            self.phase = Phase::Claiming(Claiming::Asked(standing));
        }
    }

    fn claim_answered(&mut self, now: Tick, standing: Standing, answer: DirectoryAnswer) {
        let Some((expected, new)) = self.claim_records(standing) else {
            return;
        };
        match answer {
            DirectoryAnswer::Won => self.has_stepped(now, standing),
            // An earlier try of this end was written although its answer was lost, and perhaps
            // the second step after it.
            DirectoryAnswer::Lost(record)
                if record.at(standing) == new && record.standing >= standing =>
            {
                self.has_stepped(now, record.standing);
            }
            // Somebody else's record under another epoch: the VM can never be won any more.
            DirectoryAnswer::Lost(record) if record != expected => {
                self.abort(now, Reason::NotOwner);
            }
            DirectoryAnswer::Lost(_)
            | DirectoryAnswer::Record(_)
            | DirectoryAnswer::Missing
            | DirectoryAnswer::Unreachable => {
                self.say_once(Said::HELD, Notice::HeldAtTarget);
                let until = now.after(self.reception.limits.retry);
                self.phase = Phase::Claiming(Claiming::Waiting { standing, until });
            }
        }
    }

    /// The record is this target's, and has come so far. Behind the first step the devices come,
    /// behind the second one the guest; a restarted monitor that finds the second one done
    /// attaches all the same.
    fn has_stepped(&mut self, now: Tick, standing: Standing) {
        if self.phase == Phase::Claiming(Claiming::Asked(Standing::Running)) {
            self.resume(now);
        } else {
            self.phase = Phase::Claiming(Claiming::Won(standing));
        }
    }

    /// The VM is this target's, so a failure is tried again and said, not undone.
    fn claim_retry(&mut self, now: Tick, standing: Standing) {
        self.say_once(Said::NOT_STARTED, Notice::NotStartedAtTarget);
        let until = now.after(self.reception.limits.retry);
        self.phase = Phase::Claiming(Claiming::Retry { standing, until });
    }

    /// An operation of a device has ended; the plan perhaps with it.
    fn attach_ended(
        &mut self,
        now: Tick,
        standing: Standing,
        input: Input,
        operation: Operation,
        loan: &mut TargetLoan<'_>,
    ) -> Step {
        let devices = present(loan, self.announced);
        let progress = if matches!(input, Input::Done(_)) {
            self.devices.handle_done(operation, devices)
        } else {
            self.devices.handle_failed(operation, devices)
        };
        match progress {
            Err(_) => return Err(self.out_of_phase(input)),
            Ok(Progress::UnderWay) => {}
            Ok(Progress::Failed(_)) => self.claim_retry(now, standing),
            Ok(Progress::Finished) => self.has_devices(now, standing),
        }
        Ok(())
    }

    /// All devices are attached. A VM that is only claimed may have been taken back meanwhile:
    /// the second step finds out, or rules it out for good.
    fn has_devices(&mut self, now: Tick, standing: Standing) {
        match standing {
            Standing::Claimed => self.ask(Standing::Running),
            Standing::Running => self.resume(now),
        }
    }

    /// Everything is in place: the guest is told, then its processors start.
    fn resume(&mut self, now: Tick) {
        if self.guest_runs() {
            // Once, however often starting the processors is tried.
            if !self.debts.contains(Debts::GUEST_TOLD) {
                self.debts.insert(Debts::GUEST_TOLD);
                self.out.push(Effect::Tell(GuestEvent::Moved));
            }
            self.out.push(Effect::Start(Operation::ResumeProcessors));
            self.phase = Phase::Claiming(Claiming::Resuming { has_answered: false });
        } else {
            self.runs(now);
        }
    }

    /// The VM is here: the source is told at once, for its doubt ends by that.
    fn runs(&mut self, now: Tick) {
        self.out.send(Frame::Running(self.incarnation));
        self.enter(Phase::Running(Running::new(now)));
        if self.guest_runs() {
            self.save(Stage::Running(self.incarnation));
        } else {
            self.take_aliases(now);
        }
    }

    pub(super) fn next_in_claiming(
        &mut self,
        now: Tick,
        claiming: Claiming,
        loan: &mut TargetLoan<'_>,
    ) -> Option<Effect> {
        let plan = Plan::Attach { conducts: Conducts::MOVE, epoch: self.claimed_epoch() };
        let devices = present(loan, self.announced);
        match claiming {
            Claiming::Saving
            | Claiming::Asked(_)
            | Claiming::Waiting { .. }
            | Claiming::Resuming { .. }
            | Claiming::Retry { .. } => None,
            Claiming::Attaching(_) => self.devices.poll_operation(devices).map(Effect::Start),
            Claiming::Won(standing) => match self.devices.begin(plan, devices) {
                Ok(Progress::UnderWay) => {
                    self.phase = Phase::Claiming(Claiming::Attaching(standing));
                    self.devices.poll_operation(devices).map(Effect::Start)
                }
                Ok(Progress::Finished) => {
                    self.has_devices(now, standing);
                    self.out.pop()
                }
                Ok(Progress::Failed(_)) | Err(_) => {
                    self.claim_retry(now, standing);
                    self.out.pop()
                }
            },
        }
    }
}
