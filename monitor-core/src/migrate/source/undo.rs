//! Source, undo: whatever was done to the guest is taken back, in the reverse order.
//!
//! Source of truth: VM2000 manual, "Abort" (all measures taken are undone, the guest goes on at
//! the source). Invariants: each debt is paid once, before the next; the devices that go with the
//! guest are usable before its processors run, those that were detached for the move are given
//! back while it runs; an attempt that was undone leaves every page that it had cleared marked
//! again.

use core::ops::ControlFlow;

use super::{Debts, Phase, Said, Source, SourceLoan, Step};
use crate::{
    device::{Conducts, Plan, Progress},
    message::Notice,
    migrate::{
        attempt::Limits,
        effect::Effect,
        input::{Input, LinkFault},
        journal::Stage,
        line::Line,
    },
    units::Tick,
    vm::{GuestEvent, MigrationMark, Operation, Reason},
    wire::{DecodeError, Field, Frame},
};

/// The attempt is being undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Undoing {
    reason: Reason,
    step: UndoStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum UndoStep {
    /// The next debt is to be paid.
    Next,
    /// These devices are being given back.
    Devices(Debts),
    /// Devices that are being detached come to the end of it.
    Detaching,
    /// The processors are being started.
    Processors,
    /// Devices or processors did not come back; they are tried again then.
    Retry { until: Tick },
    /// The guest was told that there will be no move.
    Guest { since: Tick },
}

impl Undoing {
    /// The first step.
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

    pub(super) const fn deadline(&self, limits: Limits) -> Option<Tick> {
        match self.step {
            UndoStep::Next | UndoStep::Devices(_) | UndoStep::Detaching | UndoStep::Processors => {
                None
            }
            UndoStep::Retry { until } => Some(until),
            UndoStep::Guest { since } => Some(since.after(limits.guest_answer)),
        }
    }
}

impl LinkFault {
    /// Whether another connection may carry on with the same attempt: a peer that breaks the
    /// protocol, or speaks another version, would do so again.
    #[must_use]
    pub const fn is_recoverable(self) -> bool {
        match self {
            Self::Damaged(DecodeError { field: Field::Version, .. }) | Self::OutOfPhase(_) => false,
            Self::Cut | Self::Damaged(_) | Self::Gap => true,
        }
    }

    /// The reason for which an attempt ends when this happens to its link.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Cut => Reason::LinkLost,
            Self::Damaged(DecodeError { field: Field::Version, .. }) => Reason::VersionUnknown,
            Self::Damaged(_) | Self::Gap => Reason::StreamDamaged,
            Self::OutOfPhase(_) => Reason::PeerProtocol,
        }
    }
}

impl Reason {
    /// The peer's own reason where it says something to an operator at this end as well.
    #[must_use]
    pub const fn unless_known(self, told: Self) -> Self {
        let says_more = matches!(
            told,
            Self::BuildFailed
                | Self::DeviceUnavailable
                | Self::VersionUnknown
                | Self::StateUnavailable
                | Self::StreamDamaged
                | Self::PeerProtocol
                | Self::NotOwner
        );
        if says_more { told } else { self }
    }
}

impl Source {
    /// Ends the attempt for `reason`; from now on its debts are paid.
    pub(super) fn abort(&mut self, now: Tick, reason: Reason) {
        crate::fmt::info!("source aborts for reason {} at {}", reason.code(), now.get());
        self.out.send(Frame::Abort(reason));
        if self.line.wants_link() {
            self.line = Line::Gone;
        }
        // Processors that are being started already are not started a second time.
        let step = if self.is_resuming() { UndoStep::Processors } else { UndoStep::Next };
        self.enter(Phase::Undoing(Undoing { reason, step }));
    }

    /// A quiesce that the giving back of its device has overtaken still ends, whatever the phase
    /// is by then; until it does, the device cannot be quiesced again. `Preparing`, `Suspended` and
    /// `Undoing` wait for quiesces themselves.
    pub(super) fn overtaken_quiesce_ends(
        &mut self,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> bool {
        if matches!(self.phase, Phase::Preparing(_) | Phase::Suspended(_) | Phase::Undoing(_)) {
            return false;
        }
        let ended = if let Input::Done(operation @ Operation::QuiesceDevice(_)) = input {
            self.devices.handle_done(operation, loan.devices)
        } else if let Input::Failed(operation @ Operation::QuiesceDevice(_)) = input {
            self.devices.handle_failed(operation, loan.devices)
        } else {
            return false;
        };
        ended.is_ok()
    }

    pub(super) fn in_undoing(
        &mut self,
        now: Tick,
        undoing: Undoing,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        let limits = self.attempt.as_ref().map_or(Limits::DEFAULT, |attempt| attempt.limits);
        match (undoing.step, input) {
            (
                _,
                Input::Done(
                    operation @ (Operation::QuiesceDevice(_)
                    | Operation::DetachDevice(_)
                    | Operation::AttachDevice(_)),
                ),
            ) => {
                let progress = self.devices.handle_done(operation, loan.devices).ok();
                self.devices_back(now, undoing, progress, limits);
            }
            (
                _,
                Input::Failed(
                    operation @ (Operation::QuiesceDevice(_)
                    | Operation::DetachDevice(_)
                    | Operation::AttachDevice(_)),
                ),
            ) => {
                let progress = self.devices.handle_failed(operation, loan.devices).ok();
                self.devices_back(now, undoing, progress, limits);
            }
            (UndoStep::Processors, Input::Done(Operation::ResumeProcessors)) => {
                self.debts.remove(Debts::PROCESSORS_STOPPED);
                // A restarted monitor starts them whether they were stopped or not.
                if self.said.contains(Said::SUSPENDED) {
                    self.out.push(Effect::Notice(Notice::ResumedAtSource));
                }
                self.undo_next(undoing);
            }
            (UndoStep::Processors, Input::Failed(Operation::ResumeProcessors)) => {
                self.undo_later(now, undoing, limits);
            }
            (UndoStep::Guest { .. }, Input::Guest(_) | Input::Failed(Operation::TellGuest)) => {
                self.undo_next(undoing);
            }
            (UndoStep::Retry { until }, Input::Deadline) if until <= now => {
                self.undo_next(undoing);
            }
            (UndoStep::Guest { since }, Input::Deadline)
                if since.after(limits.guest_answer) <= now =>
            {
                self.undo_next(undoing);
            }
            // What was under way when the attempt ended still comes to its end, and what the
            // peer still sends has lost its meaning.
            (
                _,
                Input::Frame(_)
                | Input::Guest(_)
                | Input::Done(_)
                | Input::Failed(_)
                | Input::Directory(_)
                | Input::Deadline,
            ) => {}
            (_, Input::Checked(_) | Input::Stored(_) | Input::LinkLost(_) | Input::LinkUp) => {
                return Err(self.out_of_phase(input));
            }
        }
        Ok(())
    }

    fn undo_next(&mut self, undoing: Undoing) {
        self.phase = Phase::Undoing(Undoing { step: UndoStep::Next, ..undoing });
    }

    /// What the guest had did not come back: the operator is told, and it is tried again.
    fn undo_later(&mut self, now: Tick, undoing: Undoing, limits: Limits) {
        if undoing.step == UndoStep::Devices(Debts::DEVICES_DETACHED) {
            self.say_once(Said::NOT_REATTACHED, Notice::NotReattached);
        } else {
            self.say_once(Said::NOT_STARTED, Notice::NotStartedAtSource);
        }
        let step = UndoStep::Retry { until: now.after(limits.retry) };
        self.phase = Phase::Undoing(Undoing { step, ..undoing });
    }

    fn devices_back(
        &mut self,
        now: Tick,
        undoing: Undoing,
        progress: Option<Progress>,
        limits: Limits,
    ) {
        match (undoing.step, progress) {
            (UndoStep::Devices(debt), Some(Progress::Finished)) => {
                self.debts.remove(debt);
                self.undo_next(undoing);
            }
            (UndoStep::Devices(_), Some(Progress::Failed(_))) => {
                self.undo_later(now, undoing, limits);
            }
            (UndoStep::Detaching, Some(Progress::Finished | Progress::Failed(_))) => {
                self.undo_next(undoing);
            }
            (
                UndoStep::Next
                | UndoStep::Devices(_)
                | UndoStep::Detaching
                | UndoStep::Processors
                | UndoStep::Retry { .. }
                | UndoStep::Guest { .. },
                _,
            ) => {}
        }
    }

    pub(super) fn next_in_undoing(
        &mut self,
        now: Tick,
        undoing: Undoing,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        match undoing.step {
            UndoStep::Devices(_) => self.devices.poll_operation(loan.devices).map(Effect::Start),
            UndoStep::Detaching
            | UndoStep::Processors
            | UndoStep::Retry { .. }
            | UndoStep::Guest { .. } => None,
            UndoStep::Next => self.pay_debt(now, undoing, loan),
        }
    }

    /// Pays the debt that was incurred last.
    fn pay_debt(
        &mut self,
        now: Tick,
        undoing: Undoing,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        self.put_back(loan);
        if matches!(self.saved, Stage::Open | Stage::Offered(_)) {
            self.saved = Stage::Undoing(undoing.reason);
            return Some(Effect::Save(self.saved));
        }
        if self.debts.contains(Debts::DEVICES_QUIESCED)
            && let ControlFlow::Break(effect) =
                self.give_back(now, undoing, Debts::DEVICES_QUIESCED, loan)
        {
            return effect;
        }
        if self.debts.contains(Debts::PROCESSORS_STOPPED) {
            self.phase = Phase::Undoing(Undoing { step: UndoStep::Processors, ..undoing });
            return Some(Effect::Start(Operation::ResumeProcessors));
        }
        if self.debts.contains(Debts::TRACKING) {
            self.debts.remove(Debts::TRACKING);
            return Some(Effect::StopTracking);
        }
        if self.debts.contains(Debts::DEVICES_DETACHED)
            && let ControlFlow::Break(effect) =
                self.give_back(now, undoing, Debts::DEVICES_DETACHED, loan)
        {
            return effect;
        }
        if self.debts.contains(Debts::GUEST_TOLD) {
            self.debts.remove(Debts::GUEST_TOLD);
            let step = UndoStep::Guest { since: now };
            self.phase = Phase::Undoing(Undoing { step, ..undoing });
            return Some(Effect::Tell(GuestEvent::MoveAbandoned));
        }
        if self.debts.contains(Debts::MARKED) {
            self.debts.remove(Debts::MARKED);
            return Some(Effect::Mark(MigrationMark::None));
        }
        if self.saved != Stage::Over {
            self.saved = Stage::Over;
            return Some(Effect::Save(Stage::Over));
        }
        self.enter(Phase::RolledBack(undoing.reason));
        let rejected = undoing.reason == Reason::Rejected;
        Some(Effect::Notice(if rejected {
            Notice::NotPossible
        } else {
            Notice::MigrationAborted(undoing.reason)
        }))
    }

    /// Gives back the devices of one of the two debts; goes on when all of them are back.
    fn give_back(
        &mut self,
        now: Tick,
        undoing: Undoing,
        debt: Debts,
        loan: &mut SourceLoan<'_, '_>,
    ) -> ControlFlow<Option<Effect>> {
        let conducts =
            if debt == Debts::DEVICES_DETACHED { Conducts::STAY } else { Conducts::MOVE };
        let begun = match self.devices.plan() {
            // Devices that are being given back already are only waited for.
            Some(Plan::Attach { .. }) => Ok(Progress::UnderWay),
            Some(Plan::Detach) if self.devices.abandon() == Progress::UnderWay => {
                let step = UndoStep::Detaching;
                self.phase = Phase::Undoing(Undoing { step, ..undoing });
                return ControlFlow::Break(None);
            }
            Some(Plan::Assign(_) | Plan::Quiesce(_) | Plan::Detach | Plan::Remove) | None => {
                self.devices.begin(Plan::Attach { conducts, epoch: self.epoch }, loan.devices)
            }
        };
        let undoing = Undoing { step: UndoStep::Devices(debt), ..undoing };
        self.phase = Phase::Undoing(undoing);
        match begun {
            Ok(Progress::UnderWay) => {
                ControlFlow::Break(self.devices.poll_operation(loan.devices).map(Effect::Start))
            }
            Ok(Progress::Finished) => {
                self.debts.remove(debt);
                self.undo_next(undoing);
                ControlFlow::Continue(())
            }
            Ok(Progress::Failed(_)) | Err(_) => {
                let limits = self.attempt.as_ref().map_or(Limits::DEFAULT, |it| it.limits);
                self.undo_later(now, undoing, limits);
                ControlFlow::Break(self.out.pop())
            }
        }
    }
}
