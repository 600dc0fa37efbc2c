//! Source, behind COMMIT: the target claims the VM, or the doubt is resolved by the record.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariants: from here the guest runs on this
//! end again only after ABORTED of the offered incarnation, or after this source has won the
//! record; a compare-and-set without an answer is settled by another one on the same expected
//! value, never by a read; what the target has claimed and not started is taken back after a
//! while, by the record; the record alone does not make this end give up its stopped copy.

use super::{Phase, Said, Source, Step, StepError, release::Moved};
use crate::{
    message::Notice,
    migrate::{
        attempt::Limits,
        effect::Effect,
        input::{Arrival, Input},
        line::Line,
    },
    units::{Epoch, Incarnation, Tick},
    vm::{DirectoryAnswer, Operation, Ownership, Reason, Standing},
    wire::{Frame, LoadState, Status},
};

/// COMMIT is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Offered {
    /// The load that was offered.
    pub(super) incarnation: Incarnation,
    /// When the guest was stopped.
    pub(super) suspended: Tick,
    /// When COMMIT was sent.
    pub(super) since: Tick,
}

impl Offered {
    pub(super) const fn deadline(&self, limits: Limits) -> Tick {
        self.since.after(limits.peer_answer)
    }
}

/// COMMIT is sent and what came of it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Doubt {
    incarnation: Incarnation,
    suspended: Tick,
    step: DoubtStep,
    /// How far the target had come when the record was seen to be its own.
    seen: Option<Standing>,
    /// Whether the monitor was restarted in the doubt.
    is_restored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum DoubtStep {
    /// The monitor was restarted: the processors are stopped, whatever they do, before the record
    /// may change.
    Stopping,
    /// They did not stop; it is tried again then.
    StillRunning { until: Tick },
    /// A compare-and-set that takes the VM back is under way.
    Asking(Take),
    /// The directory gave no answer; the same compare-and-set is tried again then.
    Waiting { take: Take, until: Tick },
    /// The target has claimed the VM and may be starting it: it has time to do so until then, and
    /// loses the VM afterwards.
    Claimed { until: Tick },
    /// The target may run the VM: the copy here is kept until the target is heard to run it, or
    /// an operator decides. Both are asked again then: the VM may have gone on from the target.
    Lost { until: Tick },
}

/// Which change of the record takes the VM back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Take {
    /// From this end's own record: COMMIT is revoked.
    Back,
    /// From the target's record: the target has claimed the VM and not started it; or it may run
    /// the VM, and an operator knows that it is lost.
    Over(Standing),
}

/// What an operator has found out about a VM that is held in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Verdict {
    /// The target runs the VM under this epoch, as its console says.
    TargetRuns(Epoch),
    /// The target, whose record has this epoch, is lost: nothing runs on it, or ever will under
    /// this epoch.
    TargetLost(Epoch),
}

impl Doubt {
    /// Whether the record is known to let the target run the VM.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.seen, Some(Standing::Running))
    }

    /// Whether the target has time to start what it has claimed.
    pub(super) const fn is_claimed(&self) -> bool {
        matches!(self.step, DoubtStep::Claimed { .. })
    }

    /// The doubt of a monitor that was restarted behind its offer of this load.
    pub(super) const fn restored(now: Tick, incarnation: Incarnation, runs: bool) -> Self {
        let waiting = DoubtStep::Waiting { take: Take::Back, until: now };
        let step = if runs { DoubtStep::Stopping } else { waiting };
        Self { incarnation, suspended: now, step, seen: None, is_restored: true }
    }

    /// When the directory or the target is asked again.
    pub(super) const fn deadline(&self) -> Option<Tick> {
        match self.step {
            DoubtStep::Waiting { until, .. }
            | DoubtStep::StillRunning { until }
            | DoubtStep::Claimed { until }
            | DoubtStep::Lost { until } => Some(until),
            DoubtStep::Stopping | DoubtStep::Asking(_) => None,
        }
    }
}

impl From<Offered> for Doubt {
    fn from(offered: Offered) -> Self {
        let Offered { incarnation, suspended, .. } = offered;
        let step = DoubtStep::Asking(Take::Back);
        Self { incarnation, suspended, step, seen: None, is_restored: false }
    }
}

impl Source {
    pub(super) fn in_offered(&mut self, now: Tick, offered: Offered, input: Input) -> Step {
        match input {
            Input::Frame(arrival) => {
                self.resolve(now, offered.incarnation, offered.suspended, input, arrival.frame)
            }
            Input::Deadline => {
                let limits = self.attempt.as_ref().map_or(Limits::DEFAULT, |it| it.limits);
                if offered.deadline(limits) <= now {
                    self.revoke(now, offered.into());
                }
                Ok(())
            }
            Input::Guest(_)
            | Input::Done(_)
            | Input::Failed(_)
            | Input::Directory(_)
            | Input::Checked(_)
            | Input::Stored(_)
            | Input::LinkLost(_)
            | Input::LinkUp => Err(self.out_of_phase(input)),
        }
    }

    /// RUNNING or ABORTED of the same incarnation ends the doubt.
    fn resolve(
        &mut self,
        now: Tick,
        incarnation: Incarnation,
        suspended: Tick,
        input: Input,
        frame: Frame,
    ) -> Step {
        if frame == Frame::Running(incarnation) {
            self.statistics.blackout = Some(now.since(suspended));
            self.enter(Phase::Moved(Moved::awaiting(now)));
            return Ok(());
        }
        if let Frame::Aborted { incarnation: named, reason } = frame
            && named == incarnation
        {
            self.abort(now, Reason::PeerAborted.unless_known(reason));
            return Ok(());
        }
        // What names another load says nothing about this one.
        let says_nothing =
            matches!(frame, Frame::Running(_) | Frame::Aborted { .. } | Frame::Ack(_));
        if says_nothing { Ok(()) } else { Err(self.out_of_phase(input)) }
    }

    /// Tries to take the VM back: this end wins the record or learns that the target has it.
    pub(super) fn revoke(&mut self, now: Tick, doubt: Doubt) {
        self.ask(now, doubt, Take::Back);
    }

    fn ask(&mut self, now: Tick, doubt: Doubt, take: Take) {
        let Some((expected, new)) = self.take_records(take) else {
            return;
        };
        self.out.push(Effect::CompareAndSet { expected, new });
        self.enter(Phase::InDoubt(Doubt { step: DoubtStep::Asking(take), ..doubt }));
        crate::fmt::trace!("the record is asked for at {}", now.get());
    }

    /// The record before and after this end takes the VM back.
    fn take_records(&self, take: Take) -> Option<(Ownership, Ownership)> {
        let own = self.own_record()?;
        let expected = match take {
            Take::Back => own,
            Take::Over(standing) => self.target_record()?.at(standing),
        };
        Some((expected, Ownership::running(own.owner, expected.epoch.next())))
    }

    /// The record as it is when the target has claimed the VM.
    fn target_record(&self) -> Option<Ownership> {
        let owner = self.attempt.as_ref()?.target;
        Some(Ownership::claimed(owner, self.epoch.next()))
    }

    /// Takes an operator's decision about a VM that is held in doubt. The record decides all the
    /// same: a lost target is fenced by taking the record from it.
    ///
    /// # Errors
    /// Refused when nothing is in doubt, and while a change of the record is under way; a target
    /// is not lost before the record was seen to be its own, nor while it answers. `Mismatch` when
    /// the epoch is not the one under which the target would run the VM: the evidence is about
    /// something else.
    pub fn decide(&mut self, now: Tick, verdict: Verdict) -> Step {
        let Phase::InDoubt(doubt) = self.phase else {
            return Err(self.refused_command());
        };
        if !self.out.has_room() {
            return Err(StepError::EffectsPending);
        }
        let epoch = match verdict {
            Verdict::TargetRuns(epoch) | Verdict::TargetLost(epoch) => epoch,
        };
        if epoch != self.epoch.next() {
            return Err(StepError::Mismatch);
        }
        match (doubt.step, verdict, doubt.seen) {
            // A record that lets the target run the VM is out of reach of what this end has asked.
            (
                DoubtStep::Claimed { .. }
                | DoubtStep::Lost { .. }
                | DoubtStep::Waiting { take: Take::Back | Take::Over(Standing::Claimed), .. },
                Verdict::TargetRuns(_),
                _,
            ) => {
                self.enter(Phase::Moved(Moved::beginning(now)));
                Ok(())
            }
            // A target that answers is not lost.
            (
                DoubtStep::Claimed { .. }
                | DoubtStep::Lost { .. }
                | DoubtStep::Waiting { take: Take::Back | Take::Over(Standing::Claimed), .. },
                Verdict::TargetLost(_),
                Some(standing),
            ) if !self.line.is_up() => {
                self.ask(now, doubt, Take::Over(standing));
                Ok(())
            }
            // What a change of the record under way comes to has to be known first.
            (
                DoubtStep::Stopping
                | DoubtStep::StillRunning { .. }
                | DoubtStep::Asking(_)
                | DoubtStep::Waiting { .. }
                | DoubtStep::Claimed { .. }
                | DoubtStep::Lost { .. },
                _,
                _,
            ) => Err(self.refused_command()),
        }
    }

    pub(super) fn in_doubt(&mut self, now: Tick, doubt: Doubt, input: Input) -> Step {
        match (doubt.step, input) {
            (_, Input::Frame(Arrival { frame: Frame::Aborted { incarnation, .. }, .. })) => {
                self.target_has_dropped(now, doubt, incarnation);
                Ok(())
            }
            // An operator has said that the target is lost: what it says counts no more.
            (
                DoubtStep::Asking(Take::Over(Standing::Running))
                | DoubtStep::Waiting { take: Take::Over(Standing::Running), .. },
                Input::Frame(Arrival { frame: Frame::Running(_), .. }),
            ) => Ok(()),
            (_, Input::Frame(arrival)) => {
                self.resolve(now, doubt.incarnation, doubt.suspended, input, arrival.frame)
            }
            (DoubtStep::Asking(take), Input::Directory(answer)) => {
                self.taking_answered(now, doubt, take, answer);
                Ok(())
            }
            (DoubtStep::Waiting { take, until }, Input::Deadline) => {
                if until <= now {
                    self.forsake_silent_line(now);
                    self.ask(now, doubt, take);
                }
                Ok(())
            }
            // The target has had its time: what it has not started it will not start any more.
            (DoubtStep::Claimed { until }, Input::Deadline) => {
                if until <= now {
                    self.forsake_silent_line(now);
                    self.ask(now, doubt, Take::Over(Standing::Claimed));
                }
                Ok(())
            }
            // A target that was silent meanwhile is asked on another line.
            (DoubtStep::Lost { until }, Input::Deadline) => {
                if until <= now {
                    self.forsake_silent_line(now);
                    self.ask(now, doubt, Take::Back);
                }
                Ok(())
            }
            // A former monitor may have let the guest run again without saying so in its journal:
            // it must not run under an epoch that the record is about to leave.
            (
                DoubtStep::Stopping,
                Input::Done(Operation::StopProcessors) | Input::Failed(Operation::StopProcessors),
            ) => {
                self.stopped_in_doubt(now, doubt, input);
                Ok(())
            }
            (DoubtStep::StillRunning { until }, Input::Deadline) => {
                if until <= now {
                    self.out.push(Effect::Start(Operation::StopProcessors));
                    self.phase = Phase::InDoubt(Doubt { step: DoubtStep::Stopping, ..doubt });
                }
                Ok(())
            }
            (DoubtStep::Stopping | DoubtStep::Asking(_), Input::Deadline) => Ok(()),
            (
                _,
                Input::Guest(_)
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

    /// The load that was offered is dropped. A compare-and-set of this end may have been written
    /// all the same: only its answer tells under which epoch the guest may run here.
    fn target_has_dropped(&mut self, now: Tick, doubt: Doubt, incarnation: Incarnation) {
        let take = match doubt.step {
            DoubtStep::Waiting {
                take: take @ (Take::Back | Take::Over(Standing::Claimed)),
                ..
            } => take,
            DoubtStep::Claimed { .. } => Take::Over(Standing::Claimed),
            DoubtStep::Stopping
            | DoubtStep::StillRunning { .. }
            | DoubtStep::Asking(_)
            | DoubtStep::Waiting { .. }
            | DoubtStep::Lost { .. } => return,
        };
        if incarnation == doubt.incarnation {
            self.ask(now, doubt, take);
        }
    }

    /// The target has said on a new line where its load stands.
    pub(super) fn status_in_doubt(&mut self, now: Tick, doubt: Doubt, status: Status) {
        if status.incarnation != doubt.incarnation {
            return;
        }
        let takes_over = matches!(
            doubt.step,
            DoubtStep::Asking(Take::Over(Standing::Running))
                | DoubtStep::Waiting { take: Take::Over(Standing::Running), .. }
        );
        match status.state {
            LoadState::Running | LoadState::Completed if takes_over => {}
            LoadState::Running => {
                self.statistics.blackout = Some(now.since(doubt.suspended));
                self.enter(Phase::Moved(Moved::awaiting(now)));
            }
            LoadState::Completed => self.enter(Phase::Moved(Moved::beginning(now))),
            LoadState::Dropped(_) => self.target_has_dropped(now, doubt, status.incarnation),
            // Nothing of this is an end. What is unknown is not dropped.
            LoadState::Unknown
            | LoadState::Receiving
            | LoadState::Loaded
            | LoadState::Claiming
            | LoadState::Ending => {}
        }
    }

    /// A line on which the target has said nothing for a while is given up for another one.
    fn forsake_silent_line(&mut self, now: Tick) {
        let limits = self.attempt.as_ref().map_or(Limits::DEFAULT, |it| it.limits);
        let since = if let Line::Greeting { since, .. } = self.line { since } else { self.heard };
        if !self.line.wants_link() && since.after(limits.peer_answer) <= now {
            self.out.give_up_link();
            self.line = Line::Up.after_loss(now);
        }
    }

    /// The processors stand still, or the stopping is tried again.
    fn stopped_in_doubt(&mut self, now: Tick, doubt: Doubt, input: Input) {
        if matches!(input, Input::Done(_)) {
            self.ask(now, doubt, Take::Back);
        } else {
            let retry = self.attempt.as_ref().map_or(Limits::DEFAULT, |it| it.limits).retry;
            self.say_once(Said::NOT_STOPPED, Notice::NotStoppedAtSource);
            let step = DoubtStep::StillRunning { until: now.after(retry) };
            self.phase = Phase::InDoubt(Doubt { step, ..doubt });
        }
    }

    fn taking_answered(&mut self, now: Tick, doubt: Doubt, take: Take, answer: DirectoryAnswer) {
        let (Some(attempt), Some(target)) = (self.attempt, self.target_record()) else {
            return;
        };
        let Some((expected, new)) = self.take_records(take) else {
            return;
        };
        crate::fmt::trace!("the record was epoch {}, if it was mine", expected.epoch.get());
        match answer {
            DirectoryAnswer::Won => self.takes_back(now, doubt, new),
            // An earlier try of this end was written although its answer was lost. Nobody else
            // names this SU in the record: before a restart of this monitor it may have been
            // taken over, too.
            DirectoryAnswer::Lost(record)
                if record == new
                    || take == Take::Back
                        && record == Ownership::running(new.owner, target.epoch.next()) =>
            {
                self.takes_back(now, doubt, record);
            }
            DirectoryAnswer::Lost(record) if record.at(target.standing) == target => {
                self.is_the_targets(now, doubt, record.standing, attempt.limits);
            }
            // The target has owned the VM and it has gone on from there: this copy is outdated,
            // and nothing can ever make it run again.
            DirectoryAnswer::Lost(record)
                if record.epoch > target.epoch && record.owner != attempt.source =>
            {
                self.enter(Phase::Moved(Moved::beginning(now)));
            }
            DirectoryAnswer::Lost(_)
            | DirectoryAnswer::Record(_)
            | DirectoryAnswer::Missing
            | DirectoryAnswer::Unreachable => {
                self.say_once(Said::HELD, Notice::HeldAtSource);
                let until = now.after(attempt.limits.retry);
                let step = DoubtStep::Waiting { take, until };
                self.phase = Phase::InDoubt(Doubt { step, ..doubt });
            }
        }
    }

    /// The record is this end's again: the guest may run here under its epoch.
    fn takes_back(&mut self, now: Tick, doubt: Doubt, record: Ownership) {
        self.epoch = record.epoch;
        let reason = match self.line {
            _ if doubt.is_restored => Reason::MonitorRestarted,
            Line::Up => Reason::PeerSilent,
            Line::Down { .. } | Line::Greeting { .. } | Line::Gone => Reason::LinkLost,
        };
        self.abort(now, reason);
    }

    /// The record says that the target has the VM, and how far it has come.
    fn is_the_targets(&mut self, now: Tick, doubt: Doubt, standing: Standing, limits: Limits) {
        let epoch = self.epoch.next();
        let until = now.after(limits.peer_answer);
        let step = match standing {
            Standing::Claimed => {
                self.say_once(Said::CLAIMED, Notice::ClaimedByTarget(epoch));
                DoubtStep::Claimed { until }
            }
            Standing::Running => {
                self.say_once(Said::HELD_FOR_TARGET, Notice::HeldForTarget(epoch));
                DoubtStep::Lost { until }
            }
        };
        self.phase = Phase::InDoubt(Doubt { step, seen: Some(standing), ..doubt });
    }
}
