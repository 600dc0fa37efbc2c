//! Source, behind COMMIT: the target claims the VM, or the doubt is resolved by the record.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariants: from here the guest runs on this
//! end again only after ABORTED of the offered incarnation, or after this source has won the
//! record; a compare-and-set without an answer is settled by another one on the same expected
//! value, never by a read; the record alone does not make this end give up its stopped copy.

use super::{Phase, Source, Step, release::Moved};
use crate::{
    migrate::{
        attempt::Limits,
        effect::Effect,
        input::{Arrival, Input},
    },
    units::{Incarnation, Tick},
    vm::{DirectoryAnswer, Ownership, Reason},
    wire::Frame,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum DoubtStep {
    /// A compare-and-set that takes the VM back is under way.
    Revoking,
    /// The directory gave no answer; the same compare-and-set is tried again then.
    Waiting { until: Tick },
    /// The record is the target's: the copy here is kept until the target is heard to run it.
    Lost,
}

impl Doubt {
    /// Whether the record is known to be the target's.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.step, DoubtStep::Lost)
    }

    pub(super) const fn deadline(&self) -> Option<Tick> {
        match self.step {
            DoubtStep::Waiting { until } => Some(until),
            DoubtStep::Revoking | DoubtStep::Lost => None,
        }
    }
}

impl From<Offered> for Doubt {
    fn from(offered: Offered) -> Self {
        let Offered { incarnation, suspended, .. } = offered;
        Self { incarnation, suspended, step: DoubtStep::Revoking }
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
            | Input::LinkLost(_) => Err(self.out_of_phase(input)),
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
        let Some(expected) = self.own_record() else {
            return;
        };
        let new = Ownership { epoch: expected.epoch.next(), ..expected };
        self.out.push(Effect::CompareAndSet { expected, new });
        self.enter(Phase::InDoubt(Doubt { step: DoubtStep::Revoking, ..doubt }));
        crate::fmt::trace!("revocation starts at {}", now.get());
    }

    pub(super) fn in_doubt(&mut self, now: Tick, doubt: Doubt, input: Input) -> Step {
        match (doubt.step, input) {
            // A compare-and-set of this end may have been written: only its answer tells under
            // which epoch the guest may run here. Behind ABORTED it cannot be the target's.
            (
                DoubtStep::Revoking | DoubtStep::Lost,
                Input::Frame(Arrival { frame: Frame::Aborted { .. }, .. }),
            ) => Ok(()),
            (
                DoubtStep::Waiting { .. },
                Input::Frame(Arrival { frame: Frame::Aborted { incarnation, .. }, .. }),
            ) => {
                if incarnation == doubt.incarnation {
                    self.revoke(now, doubt);
                }
                Ok(())
            }
            (_, Input::Frame(arrival)) => {
                self.resolve(now, doubt.incarnation, doubt.suspended, input, arrival.frame)
            }
            (DoubtStep::Revoking, Input::Directory(answer)) => {
                self.revocation_answered(now, doubt, answer);
                Ok(())
            }
            (DoubtStep::Waiting { until }, Input::Deadline) => {
                if until <= now {
                    self.revoke(now, doubt);
                }
                Ok(())
            }
            (DoubtStep::Revoking | DoubtStep::Lost, Input::Deadline) => Ok(()),
            (
                _,
                Input::Guest(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Directory(_)
                | Input::Checked(_)
                | Input::Stored(_)
                | Input::LinkLost(_),
            ) => Err(self.out_of_phase(input)),
        }
    }

    fn revocation_answered(&mut self, now: Tick, doubt: Doubt, answer: DirectoryAnswer) {
        let Some(attempt) = self.attempt else {
            return;
        };
        let epoch = self.epoch.next();
        let taken_back = Ownership { owner: attempt.source, epoch };
        // Only a record of the target says that the target has won. An earlier try of this end
        // may have been written although its answer was lost.
        let (won, lost) = match answer {
            DirectoryAnswer::Won => (true, false),
            DirectoryAnswer::Lost(record) => {
                (record == taken_back, record == Ownership { owner: attempt.target, epoch })
            }
            DirectoryAnswer::Record(_)
            | DirectoryAnswer::Missing
            | DirectoryAnswer::Unreachable => (false, false),
        };
        if won {
            self.epoch = epoch;
            let reason = if self.uses_link() { Reason::PeerSilent } else { Reason::LinkLost };
            self.abort(now, reason);
            return;
        }
        self.say_held();
        let until = now.after(attempt.limits.retry);
        let step = if lost { DoubtStep::Lost } else { DoubtStep::Waiting { until } };
        self.phase = Phase::InDoubt(Doubt { step, ..doubt });
    }
}
