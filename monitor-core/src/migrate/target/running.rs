//! Target, behind RUNNING: the guest reports itself, gets its aliases, and the move is complete.
//!
//! Source of truth: VM2000 manual, console trace (VMS2432, VMS2431), device management at a live
//! migration (PAV aliases). Invariants: the order of the console lines follows from the guest's
//! answers, not from time; an alias that the target does not have keeps nobody; nothing here is
//! ever undone.

use super::{Phase, Step, StepError, Target, TargetLoan, TargetPhase, answer::present};
use crate::{
    device::{Conducts, Plan, Progress},
    message::Notice,
    migrate::{
        attempt::Limits,
        effect::Effect,
        input::{Arrival, Input},
        journal::Stage,
        line::Line,
    },
    units::Tick,
    vm::{GuestAnswer, GuestEvent, MigrationMark, Operation},
    wire::Frame,
};

/// The VM runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Running {
    step: RunStep,
    since: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RunStep {
    /// The guest is to report that it has resumed.
    Resumed,
    /// The guest is to report itself ready.
    Ready,
    /// Aliases are being assigned.
    Assigning,
    /// Aliases are being attached.
    Attaching,
    /// RELEASED is awaited.
    Released,
}

impl Running {
    /// The processors have just been started.
    pub(super) const fn new(now: Tick) -> Self {
        Self { step: RunStep::Resumed, since: now }
    }

    /// The VM runs here, and has perhaps reported itself, since before a restart of the monitor.
    pub(super) const fn restored(now: Tick, has_completed: bool) -> Self {
        let step = if has_completed { RunStep::Released } else { RunStep::Resumed };
        Self { step, since: now }
    }

    /// Whether the guest has reported itself ready, or is late.
    pub(super) const fn has_completed(&self) -> bool {
        matches!(self.step, RunStep::Released)
    }

    pub(super) fn deadline(&self, heard: Tick, line: Line, limits: Limits) -> Tick {
        match self.step {
            RunStep::Resumed | RunStep::Ready | RunStep::Assigning | RunStep::Attaching => {
                self.since.after(limits.guest_answer)
            }
            RunStep::Released => {
                line.deadline(self.since.max(heard), limits.peer_answer, limits.reconnect)
            }
        }
    }
}

impl Target {
    pub(super) fn in_running(
        &mut self,
        now: Tick,
        running: Running,
        input: Input,
        loan: &mut TargetLoan<'_>,
    ) -> Step {
        match (running.step, input) {
            (RunStep::Resumed, Input::Guest(GuestAnswer::Resumed)) => {
                self.guest_resumed(now);
                Ok(())
            }
            // Behind a restart of the monitor a guest may answer what its former self has asked.
            (RunStep::Resumed | RunStep::Ready, Input::Guest(GuestAnswer::Ready)) => {
                self.take_aliases(now);
                Ok(())
            }
            (RunStep::Resumed | RunStep::Ready, Input::Failed(Operation::TellGuest)) => {
                self.out.push(Effect::Notice(Notice::GuestLate));
                self.take_aliases(now);
                Ok(())
            }
            // A guest that is late may still answer.
            (
                RunStep::Assigning | RunStep::Attaching | RunStep::Released,
                Input::Guest(_) | Input::Failed(Operation::TellGuest),
            ) => Ok(()),
            (
                RunStep::Assigning | RunStep::Attaching | RunStep::Released,
                Input::Done(Operation::AssignDevice(_) | Operation::AttachDevice(_))
                | Input::Failed(Operation::AssignDevice(_) | Operation::AttachDevice(_)),
            ) => self.alias_ended(now, running, input, loan),
            (_, Input::Deadline) => {
                self.overdue(now, running);
                Ok(())
            }
            (RunStep::Released, Input::Frame(arrival)) if arrival.frame == Frame::Released => {
                // The source is content: nobody will ask any more.
                self.save(Stage::Over);
                self.finish();
                Ok(())
            }
            // The source is content before the guest is ready: an operator has told it.
            (_, Input::Frame(Arrival { frame: Frame::Released, .. })) => {
                self.let_go();
                Ok(())
            }
            (_, Input::Frame(Arrival { frame: Frame::Commit(_), .. })) => Ok(()),
            (
                _,
                Input::Frame(_)
                | Input::Guest(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Directory(_)
                | Input::Checked(_)
                | Input::Stored(_)
                | Input::LinkLost(_)
                | Input::LinkUp,
            ) => Err(self.out_of_phase(input)),
        }
    }

    /// Goes on without what has not come in time: nobody is kept by a guest that does not answer,
    /// an alias that takes too long, or a source that does not say RELEASED.
    fn overdue(&mut self, now: Tick, running: Running) {
        if running.deadline(self.heard, self.line, self.reception.limits) > now {
            return;
        }
        match running.step {
            RunStep::Resumed | RunStep::Ready => {
                self.out.push(Effect::Notice(Notice::GuestLate));
                self.take_aliases(now);
            }
            RunStep::Assigning | RunStep::Attaching => {
                if self.devices.abandon() == Progress::UnderWay {
                    crate::fmt::trace!("an alias is late, and still comes to its end");
                }
                self.complete(now);
            }
            RunStep::Released => self.finish(),
        }
    }

    /// Nobody will ask any more; to be told it again changes nothing.
    fn let_go(&mut self) {
        if self.saved != Stage::Over {
            self.save(Stage::Over);
        }
    }

    /// A source that is late with its last word still says that nobody will ask any more.
    pub(super) fn in_completed(&mut self, input: Input, loan: &mut TargetLoan<'_>) -> Step {
        match input {
            Input::Done(Operation::AssignDevice(_) | Operation::AttachDevice(_))
            | Input::Failed(Operation::AssignDevice(_) | Operation::AttachDevice(_)) => {
                self.alias_progress(input, loan).map(drop)
            }
            Input::Frame(Arrival { frame: Frame::Released, .. }) => {
                self.let_go();
                Ok(())
            }
            Input::Frame(_)
            | Input::Guest(_)
            | Input::Done(_)
            | Input::Failed(_)
            | Input::Directory(_)
            | Input::Checked(_)
            | Input::Stored(_)
            | Input::LinkLost(_)
            | Input::LinkUp
            | Input::Deadline => Err(self.out_of_phase(input)),
        }
    }

    /// The guest has reported that it runs here.
    pub(super) fn guest_resumed(&mut self, now: Tick) {
        self.out.push(Effect::Notice(Notice::ResumedAtTarget));
        self.out.push(Effect::Tell(GuestEvent::NetworkUp));
        self.phase = Phase::Running(Running { step: RunStep::Ready, since: now });
    }

    /// The guest is ready, or late, or does not run: it gets its aliases.
    pub(super) fn take_aliases(&mut self, now: Tick) {
        self.phase = Phase::Running(Running { step: RunStep::Assigning, since: now });
    }

    /// What is to be done for the aliases next; behind them the move is complete.
    pub(super) fn next_in_running(
        &mut self,
        now: Tick,
        mut running: Running,
        loan: &mut TargetLoan<'_>,
    ) -> Option<Effect> {
        let devices = present(loan, self.announced);
        let attach = Plan::Attach { conducts: Conducts::ALIAS, epoch: self.claimed_epoch() };
        for (step, plan) in
            [(RunStep::Assigning, Plan::Assign(Conducts::ALIAS)), (RunStep::Attaching, attach)]
        {
            if running.step != step {
                continue;
            }
            let is_under_way = !self.devices.is_idle()
                || self.devices.begin(plan, devices) == Ok(Progress::UnderWay);
            if is_under_way {
                return self.devices.poll_operation(devices).map(Effect::Start);
            }
            self.aliases_have_ended(now, &mut running);
        }
        self.out.pop()
    }

    /// The aliases are assigned, or attached, as far as they can be.
    fn aliases_have_ended(&mut self, now: Tick, running: &mut Running) {
        if running.step == RunStep::Assigning {
            running.step = RunStep::Attaching;
            self.phase = Phase::Running(*running);
        } else {
            self.complete(now);
        }
    }

    /// An operation of an alias has ended; the plan perhaps with it.
    fn alias_ended(
        &mut self,
        now: Tick,
        mut running: Running,
        input: Input,
        loan: &mut TargetLoan<'_>,
    ) -> Step {
        let progress = self.alias_progress(input, loan)?;
        if progress != Progress::UnderWay && running.step != RunStep::Released {
            self.aliases_have_ended(now, &mut running);
        }
        Ok(())
    }

    fn alias_progress(
        &mut self,
        input: Input,
        loan: &mut TargetLoan<'_>,
    ) -> Result<Progress, StepError<TargetPhase>> {
        let devices = present(loan, self.announced);
        let progress = if let Input::Done(operation) = input {
            self.devices.handle_done(operation, devices)
        } else if let Input::Failed(operation) = input {
            self.devices.handle_failed(operation, devices)
        } else {
            return Err(self.out_of_phase(input));
        };
        progress.map_err(|_| self.out_of_phase(input))
    }

    /// The guest has all that it gets: the move is complete at this end.
    fn complete(&mut self, now: Tick) {
        self.out.push(Effect::Mark(MigrationMark::None));
        self.out.push(Effect::Notice(Notice::IncomingCompleted));
        self.out.send(Frame::Completed);
        if self.saved != Stage::Over {
            self.save(Stage::Completed(self.incarnation));
        }
        let step = RunStep::Released;
        self.phase = Phase::Running(Running { step, since: now });
    }

    fn finish(&mut self) {
        self.enter(Phase::Completed);
    }
}
