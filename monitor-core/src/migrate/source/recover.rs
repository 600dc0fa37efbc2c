//! Source, recovery: a lost connection, another one in its place, a restart of the monitor.
//!
//! Source of truth: PROTOCOL.md, "Lost connections"; ARCHITECTURE.md, "Restart of a monitor".
//! Invariants: what the target has not stored is dirty again before anything else is sent; a line
//! that comes back changes nothing about who may run the guest; a restarted monitor knows a stage
//! that is as late as what the guest, the target or the directory have seen.

use super::{
    Debts, Phase, Said, Source, SourceLoan, Step, StepError, offer::Doubt, release::Moved,
};
use crate::{
    fmt::info,
    message::Notice,
    migrate::{
        attempt::Limits,
        effect::Effect,
        input::{Input, LinkFault},
        journal::{SourceJournal, Stage},
        line::Line,
    },
    units::{PageCount, Tick},
    vm::{Operation, Reason},
    wire::{Frame, LoadState, Status},
};

use super::undo::Undoing;

impl Source {
    /// The machine of a monitor that was restarted and has found this journal. What was under
    /// way before COMMIT is undone; behind COMMIT the record is asked, and the target.
    ///
    /// The devices that are lent are to be [`crate::device::DeviceEntry::quiesced`], described as
    /// in the VM's definition: as they were before the attempt. The maps of pages and keys are of
    /// no importance. Starting processors that run, stopping ones that stand still, and attaching a
    /// device that is attached under the same epoch, have to succeed.
    #[must_use]
    pub fn restore(now: Tick, journal: &SourceJournal) -> Self {
        let SourceJournal { attempt, epoch, stage } = *journal;
        let mut source = Self::new();
        source.attempt = Some(attempt);
        source.epoch = epoch;
        (source.started, source.heard) = (now, now);
        source.saved = stage;
        source.line = Line::Gone;
        source.out.give_up_link();
        source.debts =
            Debts::TRACKING | Debts::DEVICES_QUIESCED | Debts::DEVICES_DETACHED | Debts::MARKED;
        if source.guest_runs() {
            source.debts.insert(Debts::PROCESSORS_STOPPED | Debts::GUEST_TOLD);
        }
        source.phase = match stage {
            Stage::Offered(incarnation) => {
                source.said.insert(Said::SUSPENDED);
                source.line = Line::Down { lost: now };
                let runs = source.guest_runs();
                if runs {
                    source.out.push(Effect::Start(Operation::StopProcessors));
                }
                Phase::InDoubt(Doubt::restored(now, incarnation, runs))
            }
            Stage::Undoing(reason) => Phase::Undoing(Undoing::first(reason)),
            Stage::Moved => Phase::Moved(Moved::beginning(now)),
            Stage::Over => Phase::RolledBack(Reason::MonitorRestarted),
            // The other stages are none of a source.
            Stage::Open
            | Stage::Building
            | Stage::Claiming(_)
            | Stage::Running(_)
            | Stage::Completed(_) => Phase::Undoing(Undoing::first(Reason::MonitorRestarted)),
        };
        source
    }

    /// What the journal is to say at this stage; `None` before an attempt has begun.
    #[must_use]
    pub fn journal(&self, stage: Stage) -> Option<SourceJournal> {
        let attempt = self.attempt?;
        Some(SourceJournal { attempt, epoch: self.epoch, stage })
    }

    /// Queues the writing of the journal.
    pub(super) fn save(&mut self, stage: Stage) {
        self.saved = stage;
        self.out.push(Effect::Save(stage));
    }

    /// Whether the attempt goes on when the journal is written.
    pub(super) const fn awaits_journal(&self) -> bool {
        match self.phase {
            Phase::Preparing(preparing) => preparing.awaits_journal(),
            Phase::Suspended(suspended) => suspended.awaits_journal(),
            Phase::Idle
            | Phase::Checking(_)
            | Phase::Precopy(_)
            | Phase::Offered(_)
            | Phase::InDoubt(_)
            | Phase::Moved(_)
            | Phase::Undoing(_)
            | Phase::Released
            | Phase::RolledBack(_) => false,
        }
    }

    /// Whether another connection is wanted in place of one that was lost.
    #[must_use]
    pub const fn wants_link(&self) -> bool {
        self.line.wants_link()
    }

    /// How long the peer, or a line that is lost, is waited for.
    pub(super) fn patience(&self, limits: Limits) -> Tick {
        self.line.deadline(self.heard, limits.peer_answer, limits.reconnect)
    }

    /// The peer is silent, or the line does not come back.
    pub(super) fn lose_patience(&mut self, now: Tick) {
        if self.line.lost().is_some() {
            self.out.give_up_link();
            self.line = Line::Gone;
            self.abort(now, Reason::LinkLost);
        } else {
            self.peer_is_silent(now);
        }
    }

    /// What a lost connection means depends on which side of COMMIT the attempt is.
    pub(super) fn lose_link(&mut self, now: Tick, fault: LinkFault) -> Step {
        if self.phase == Phase::Idle {
            return Err(self.out_of_phase(Input::LinkLost(fault)));
        }
        self.out.give_up_link();
        info!("link lost in phase {}", self.phase_number());
        let was_up = self.line.is_up();
        self.line = if fault.is_recoverable() { self.line.after_loss(now) } else { Line::Gone };
        match self.phase {
            Phase::Checking(_) | Phase::Preparing(_) => self.abort(now, fault.reason()),
            Phase::Precopy(_) | Phase::Suspended(_) if !fault.is_recoverable() => {
                self.abort(now, fault.reason());
            }
            Phase::Precopy(_) | Phase::Suspended(_) => {
                if was_up {
                    self.out.push(Effect::Notice(Notice::LinkInterrupted));
                }
            }
            // Both the record and the target can end the doubt.
            Phase::Offered(offered) => {
                self.line = Line::Up.after_loss(now);
                self.revoke(now, offered.into());
            }
            Phase::InDoubt(_) => self.line = Line::Up.after_loss(now),
            // The peer closes the link when it has nothing more to say.
            Phase::Idle | Phase::Undoing(_) | Phase::Released | Phase::RolledBack(_) => {
                self.line = Line::Gone;
            }
            Phase::Moved(moved) => {
                self.line = Line::Gone;
                self.target_is_on_its_own(moved);
            }
        }
        Ok(())
    }

    /// A new connection stands: the target is asked where it stands.
    pub(super) fn greet(&mut self, now: Tick) {
        if !self.line.wants_link() {
            return;
        }
        self.line = self.line.connected(now);
        self.out.take_link();
        self.out.send(Frame::Resume);
    }

    /// The target has said where it stands.
    pub(super) fn take_status(
        &mut self,
        now: Tick,
        status: Status,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        let (Some(lost), true) = (self.line.lost(), self.line.is_greeting()) else {
            return Err(self.out_of_phase(input));
        };
        match self.phase {
            Phase::Precopy(_) | Phase::Suspended(_) => {
                self.go_on(now, lost, status, input, loan)?;
            }
            Phase::InDoubt(doubt) => {
                self.line = Line::Up;
                self.status_in_doubt(now, doubt, status);
            }
            Phase::Idle
            | Phase::Checking(_)
            | Phase::Preparing(_)
            | Phase::Offered(_)
            | Phase::Moved(_)
            | Phase::Undoing(_)
            | Phase::Released
            | Phase::RolledBack(_) => {}
        }
        self.line = if self.out.link_open() { Line::Up } else { self.line };
        self.statistics.peer_state = Some(status.state);
        self.statistics.reconnects = self.statistics.reconnects.saturating_add(1);
        Ok(())
    }

    /// Before COMMIT the attempt goes on where the target stands, or ends with it.
    fn go_on(
        &mut self,
        now: Tick,
        lost: Tick,
        status: Status,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        match status.state {
            LoadState::Receiving | LoadState::Loaded => {}
            LoadState::Dropped(reason) => {
                self.abort(now, Reason::PeerAborted.unless_known(reason));
                return Ok(());
            }
            LoadState::Unknown | LoadState::Ending => {
                self.abort(now, Reason::PeerAborted);
                return Ok(());
            }
            // Nothing was offered that could be claimed.
            LoadState::Claiming | LoadState::Running | LoadState::Completed => {
                return Err(self.out_of_phase(input));
            }
        }
        if status.stored > self.out.last_sequence().get() {
            return Err(StepError::Mismatch);
        }
        if let Phase::Suspended(suspended) = self.phase {
            self.suspended_goes_on(suspended, status)?;
        }
        self.window.acknowledge(status.stored, loan.window);
        let repeated = self.window.put_back(loan.window, &loan.pages, &loan.keys);
        let before = self.statistics.repeated.get();
        self.statistics.repeated = PageCount::new(before.saturating_add(repeated));
        if let Phase::Precopy(mut precopy) = self.phase {
            precopy.incarnation = status.incarnation;
            // RECOPY of a load that was given up was lost with the line.
            if status.state == LoadState::Loaded {
                self.out.send(Frame::Recopy);
            }
            self.precopy_goes_on(now, precopy, lost, status.stored);
        }
        self.out.push(Effect::Notice(Notice::LinkRestored));
        Ok(())
    }

    /// Everything that was taken out of the maps and is not acknowledged is dirty again.
    pub(super) fn put_back(&mut self, loan: &mut SourceLoan<'_, '_>) {
        self.window.put_back(loan.window, &loan.pages, &loan.keys);
        if let Some(run) = self.carried.take() {
            // The run was taken from this very map, so it lies inside of it.
            let put_back = loan.pages.put_back(run);
            if put_back.is_err() {
                crate::fmt::warning!("a carried run lies outside of the guest");
            }
        }
    }

    /// Changes the limits of time of an attempt that is under way; they count from now on.
    ///
    /// # Errors
    /// Refused when there is no attempt.
    pub const fn set_limits(&mut self, limits: Limits) -> Step {
        match &mut self.attempt {
            Some(attempt) => {
                attempt.limits = limits;
                Ok(())
            }
            None => Err(self.refused_command()),
        }
    }
}
