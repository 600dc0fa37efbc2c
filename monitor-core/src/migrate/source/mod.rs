//! The source machine: checks, prepares, copies, stops the guest, hands it over, lets go of it.
//!
//! Source of truth: ARCHITECTURE.md, "Machines" and "The handover". Invariants:
//! 1. The guest runs here unless the phase is `Suspended` (stopped), `Offered`, `InDoubt` or
//!    later; behind COMMIT it runs here again only after ABORTED of the same incarnation, or
//!    after this source has won the record.
//! 2. What was done to the guest and must be undone stands in `debts`, and nothing else does.
//! 3. A page whose bit was cleared is acknowledged, under way in the window, or carried.
//!
//! Deliberately not here: ports, clocks, page bodies.

mod detach;
mod handover;
mod negotiate;
mod offer;
mod precopy;
mod recover;
mod release;
mod statistics;
mod undo;
mod window;

pub use offer::Verdict;
pub use statistics::{KeysSent, Statistics};
pub use window::SentRun;

use bitflags::bitflags;

use self::{
    handover::Suspended,
    negotiate::{Checking, Preparing},
    offer::{Doubt, Offered},
    precopy::Precopy,
    release::Moved,
    undo::Undoing,
    window::Window,
};
use super::{
    attempt::{Attempt, SourceLoan},
    effect::{Effect, Outbox},
    input::{Input, InputKind, StepError},
    journal::Stage,
    line::Line,
    policy::Prediction,
};
use crate::{
    device::Reassignment,
    fmt::info,
    memory::PageRun,
    message::Notice,
    units::{Epoch, PageCount, StreamId, Tick},
    vm::{Activity, Disposition, Operation, Ownership, Reason},
    wire::Frame,
};

bitflags! {
    /// What was done to the guest and must be undone when the attempt ends here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Debts: u8 {
        const TRACKING = 0x01;
        const DEVICES_QUIESCED = 0x02;
        const PROCESSORS_STOPPED = 0x04;
        const GUEST_TOLD = 0x08;
        const MARKED = 0x10;
        const DEVICES_DETACHED = 0x20;
    }

    /// What the operator was told once and need not be told again.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Said: u8 {
        const HELD = 0x01;
        const HELD_FOR_TARGET = 0x02;
        const NOT_STARTED = 0x04;
        const SUSPENDED = 0x08;
        const NOT_STOPPED = 0x10;
        const CLAIMED = 0x20;
        const NOT_REATTACHED = 0x40;
    }
}

/// Where the attempt stands; the data of a phase is in its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Checking(Checking),
    Preparing(Preparing),
    Precopy(Precopy),
    Suspended(Suspended),
    Offered(Offered),
    InDoubt(Doubt),
    Moved(Moved),
    Undoing(Undoing),
    Released,
    RolledBack(Reason),
}

/// The phase alone, for tables, logs and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SourcePhase {
    /// No attempt.
    Idle,
    /// Both ends check whether the move is possible.
    Checking,
    /// The guest is told, the target sets up the VM.
    Preparing,
    /// Memory is copied while the guest runs.
    Precopy,
    /// The guest is stopped, the rest is sent; everything can still be rolled back.
    Suspended,
    /// COMMIT is sent; the target may claim the VM.
    Offered,
    /// COMMIT was sent and its outcome is not known; the guest is held.
    InDoubt,
    /// The VM runs on the target; this end gives back what it had.
    Releasing,
    /// The attempt has failed and is being undone.
    Undoing,
    /// The move is complete.
    Released,
    /// The attempt is undone, the guest is where it was.
    RolledBack,
}

impl Phase {
    const fn kind(self) -> SourcePhase {
        match self {
            Self::Idle => SourcePhase::Idle,
            Self::Checking(_) => SourcePhase::Checking,
            Self::Preparing(_) => SourcePhase::Preparing,
            Self::Precopy(_) => SourcePhase::Precopy,
            Self::Suspended(_) => SourcePhase::Suspended,
            Self::Offered(_) => SourcePhase::Offered,
            Self::InDoubt(_) => SourcePhase::InDoubt,
            Self::Moved(_) => SourcePhase::Releasing,
            Self::Undoing(_) => SourcePhase::Undoing,
            Self::Released => SourcePhase::Released,
            Self::RolledBack(_) => SourcePhase::RolledBack,
        }
    }
}

/// The machine of the source end.
#[derive(Debug)]
#[cfg_attr(feature = "_model", derive(Clone, PartialEq, Eq, Hash))]
pub struct Source {
    attempt: Option<Attempt>,
    epoch: Epoch,
    phase: Phase,
    out: Outbox,
    debts: Debts,
    devices: Reassignment,
    window: Window,
    frame_pages: u32,
    carried: Option<PageRun>,
    started: Tick,
    heard: Tick,
    statistics: Statistics,
    /// What the operator knows already.
    said: Said,
    line: Line,
    /// What the journal says; `Over` while nothing is to be kept.
    saved: Stage,
}

/// The result of a step of this machine.
pub(super) type Step = Result<(), StepError<SourcePhase>>;

impl Default for Source {
    fn default() -> Self {
        Self::new()
    }
}

impl Source {
    /// A machine with no attempt yet. One machine serves one attempt.
    #[must_use]
    pub fn new() -> Self {
        Self {
            attempt: None,
            epoch: Epoch::new(0),
            phase: Phase::Idle,
            out: Outbox::new(),
            debts: Debts::empty(),
            devices: Reassignment::default(),
            window: Window::default(),
            frame_pages: 64,
            carried: None,
            started: Tick::new(0),
            heard: Tick::new(0),
            statistics: Statistics::default(),
            said: Said::empty(),
            line: Line::Up,
            saved: Stage::Over,
        }
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// Refused when an attempt was begun already.
    pub fn start(&mut self, now: Tick, attempt: Attempt) -> Step {
        if self.attempt.is_some() {
            return Err(self.refused_command());
        }
        self.epoch = attempt.epoch;
        self.started = now;
        self.heard = now;
        self.attempt = Some(attempt);
        self.enter(Phase::Checking(Checking::reading(now)));
        self.out.push(Effect::ReadRecord);
        Ok(())
    }

    /// Ends the attempt at the operator's wish, at any moment before COMMIT.
    ///
    /// # Errors
    /// Refused when there is no attempt, or when it is too late.
    pub fn cancel(&mut self, now: Tick) -> Step {
        match self.phase {
            Phase::Checking(_) | Phase::Preparing(_) | Phase::Precopy(_) | Phase::Suspended(_) => {
                if !self.out.has_room() {
                    return Err(StepError::EffectsPending);
                }
                self.abort(now, Reason::Cancelled);
                Ok(())
            }
            Phase::Idle
            | Phase::Offered(_)
            | Phase::InDoubt(_)
            | Phase::Moved(_)
            | Phase::Undoing(_)
            | Phase::Released
            | Phase::RolledBack(_) => Err(self.refused_command()),
        }
    }

    /// Takes an input.
    ///
    /// # Errors
    /// `OutOfPhase`, `Foreign` or `Mismatch`: the machine is unchanged; when the input was a
    /// frame, the link must be given up, by `LinkLost`. `EffectsPending`: poll effects first.
    pub fn handle(&mut self, now: Tick, input: Input, loan: &mut SourceLoan<'_, '_>) -> Step {
        // A lost link drops the frames that wait, so that it always finds room.
        if let Input::LinkLost(fault) = input {
            return self.lose_link(now, fault);
        }
        if let Input::Done(Operation::SaveJournal) | Input::Failed(Operation::SaveJournal) = input
            && !self.awaits_journal()
        {
            return Ok(());
        }
        if !self.out.has_room() {
            return Err(StepError::EffectsPending);
        }
        if let Input::Frame(arrival) = input {
            if arrival.stream != self.stream() {
                return Err(StepError::Foreign);
            }
            self.heard = now;
            if let Frame::Status(status) = arrival.frame {
                return self.take_status(now, status, input, loan);
            }
        }
        if input == Input::LinkUp {
            self.greet(now);
            return Ok(());
        }
        if self.overtaken_quiesce_ends(input, loan) {
            return Ok(());
        }
        match self.phase {
            Phase::Idle | Phase::Released | Phase::RolledBack(_) => Err(self.out_of_phase(input)),
            Phase::Checking(checking) => self.in_checking(now, checking, input, loan),
            Phase::Preparing(preparing) => self.in_preparing(now, preparing, input, loan),
            Phase::Precopy(precopy) => self.in_precopy(now, precopy, input, loan),
            Phase::Suspended(suspended) => self.in_suspended(now, suspended, input, loan),
            Phase::Offered(offered) => self.in_offered(now, offered, input),
            Phase::InDoubt(doubt) => self.in_doubt(now, doubt, input),
            Phase::Moved(moved) => self.in_moved(now, moved, input, loan),
            Phase::Undoing(undoing) => self.in_undoing(now, undoing, input, loan),
        }
    }

    /// The next thing to do. To be called until it gives `None` after each input, and whenever
    /// the link takes more.
    #[must_use]
    pub fn poll_effect(&mut self, now: Tick, loan: &mut SourceLoan<'_, '_>) -> Option<Effect> {
        if let Some(effect) = self.out.pop() {
            return Some(effect);
        }
        self.take_count(now, loan);
        if let Some(effect) = self.out.pop() {
            return Some(effect);
        }
        match self.phase {
            Phase::Idle
            | Phase::Offered(_)
            | Phase::InDoubt(_)
            | Phase::Released
            | Phase::RolledBack(_) => None,
            Phase::Checking(checking) => self.next_in_checking(now, checking, loan),
            Phase::Preparing(preparing) => self.next_in_preparing(now, preparing, loan),
            Phase::Precopy(precopy) if self.line.is_up() => self.next_in_precopy(precopy, loan),
            Phase::Precopy(_) => None,
            Phase::Suspended(suspended) => self.next_in_suspended(now, suspended, loan),
            Phase::Moved(moved) => self.next_in_moved(moved, loan),
            Phase::Undoing(undoing) => self.next_in_undoing(now, undoing, loan),
        }
    }

    /// When to call `handle` with `Deadline` at the latest, or `None`. Calling it early does no
    /// harm.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Tick> {
        let limits = self.attempt.as_ref()?.limits;
        let total = self.started.after(limits.total);
        match self.phase {
            Phase::Idle | Phase::Released | Phase::RolledBack(_) => None,
            Phase::Checking(checking) => Some(checking.deadline(self, limits).min(total)),
            Phase::Preparing(preparing) => Some(preparing.deadline(limits).min(total)),
            Phase::Precopy(_) => Some(self.patience(limits).min(total)),
            Phase::Suspended(suspended) => Some(suspended.deadline(self, limits)),
            Phase::Offered(offered) => Some(offered.deadline(limits)),
            Phase::InDoubt(doubt) => doubt.deadline(),
            Phase::Moved(moved) => moved.deadline(limits),
            Phase::Undoing(undoing) => undoing.deadline(limits),
        }
    }

    /// The phase.
    #[must_use]
    pub const fn phase(&self) -> SourcePhase {
        self.phase.kind()
    }

    /// Why the attempt failed, once it is undone or being undone.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self.phase {
            Phase::RolledBack(reason) => Some(reason),
            Phase::Undoing(undoing) => Some(undoing.reason()),
            Phase::Idle
            | Phase::Checking(_)
            | Phase::Preparing(_)
            | Phase::Precopy(_)
            | Phase::Suspended(_)
            | Phase::Offered(_)
            | Phase::InDoubt(_)
            | Phase::Moved(_)
            | Phase::Released => None,
        }
    }

    /// What has become of the guest.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self.phase {
            Phase::Offered(_) | Phase::InDoubt(_) => Disposition::HeldAtSource,
            Phase::Moved(_) | Phase::Released => Disposition::RunsAtTarget,
            Phase::Undoing(_) | Phase::Suspended(_)
                if self.debts.contains(Debts::PROCESSORS_STOPPED) =>
            {
                Disposition::HeldAtSource
            }
            Phase::Idle
            | Phase::Checking(_)
            | Phase::Preparing(_)
            | Phase::Precopy(_)
            | Phase::Suspended(_)
            | Phase::Undoing(_)
            | Phase::RolledBack(_) => Disposition::RunsAtSource,
        }
    }

    /// The attempt, once begun.
    #[must_use]
    pub const fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// The identity of the attempt on the wire.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.attempt.as_ref().map_or(StreamId::new(0), |attempt| attempt.stream)
    }

    /// The epoch under which the VM is owned here.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the link is still used; a driver that still has bytes for it drops them if not.
    #[must_use]
    pub const fn uses_link(&self) -> bool {
        self.out.link_open()
    }

    /// Whether this end has learned all that the directory can tell it about a doubt: the record
    /// lets the target run the VM, and only the target can say whether it does.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        if let Phase::InDoubt(doubt) = self.phase { doubt.is_lost() } else { true }
    }

    /// Whether this end is about to take back a VM that the target has claimed and not started,
    /// unless the target starts it within the time that it is given.
    #[must_use]
    pub const fn will_take_back(&self) -> bool {
        if let Phase::InDoubt(doubt) = self.phase { doubt.is_claimed() } else { false }
    }

    /// Whether effects must go on although a frame waits for room on the link: the guest stands
    /// still or is owed something, and nothing of that may depend on the peer.
    #[must_use]
    pub const fn owes_guest(&self) -> bool {
        match self.phase {
            Phase::Idle | Phase::Checking(_) | Phase::Preparing(_) | Phase::Precopy(_) => false,
            Phase::Suspended(suspended) => suspended.is_giving_back(),
            Phase::Offered(_)
            | Phase::InDoubt(_)
            | Phase::Moved(_)
            | Phase::Undoing(_)
            | Phase::Released
            | Phase::RolledBack(_) => true,
        }
    }

    /// Whether a whole step's effects find room; if not, effects must be polled first.
    #[must_use]
    pub fn takes_input(&self) -> bool {
        self.out.has_room()
    }

    /// What was measured.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Forgets how often the connection was lost and what came of it, which decides nothing.
    #[cfg(feature = "_model")]
    pub const fn forget_reconnections(&mut self) {
        self.statistics.reconnects = 0;
        self.statistics.repeated = PageCount::new(0);
        self.statistics.peer_state = None;
    }

    /// Forgets what decides nothing behind `Suspended`: measurements, frames under way and their
    /// numbers, the words for a failure. A search takes states for one that differ in these alone.
    #[cfg(feature = "_model")]
    pub fn forget_measurements(&mut self) {
        self.statistics = Statistics::default();
        self.out.forget_sequence();
        (self.window, self.carried, self.frame_pages) = (Window::default(), None, 0);
        match self.phase {
            Phase::Undoing(undoing) => {
                self.phase = Phase::Undoing(undoing.for_any_reason());
                self.said &= Said::SUSPENDED;
                if let Stage::Undoing(_) = self.saved {
                    self.saved = Stage::Undoing(Reason::Cancelled);
                }
            }
            Phase::Moved(_) | Phase::Released | Phase::RolledBack(_) => {
                self.said = Said::empty();
                self.line = if self.line.is_up() { Line::Up } else { Line::Gone };
            }
            Phase::Idle
            | Phase::Checking(_)
            | Phase::Preparing(_)
            | Phase::Precopy(_)
            | Phase::Suspended(_)
            | Phase::Offered(_)
            | Phase::InDoubt(_) => {}
        }
    }

    /// Forgets what an operator was told, and the reason in the journal.
    #[cfg(feature = "_model")]
    pub fn forget_words(&mut self) {
        self.said = Said::empty();
        if let Stage::Undoing(_) = self.saved {
            self.saved = Stage::Undoing(Reason::Cancelled);
        }
    }

    /// What the stop would cost with so many dirty pages.
    fn prediction(&self, pages: PageCount) -> Prediction {
        Prediction {
            pages,
            bandwidth: self.statistics.bandwidth.low(),
            state: self.statistics.state,
            round_trip: self.statistics.round_trip,
            claim: self.statistics.claim,
        }
    }

    /// Whether the VM's processors run, so that stopping them is a blackout.
    fn guest_runs(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.activity == Activity::Running)
    }

    /// The record as it must be while this source owns the VM.
    fn own_record(&self) -> Option<Ownership> {
        self.attempt.as_ref().map(|attempt| Ownership::running(attempt.source, self.epoch))
    }

    /// Tells the operator once what keeps the guest from running.
    fn say_once(&mut self, said: Said, notice: Notice) {
        if !self.said.contains(said) {
            self.said.insert(said);
            self.out.push(Effect::Notice(notice));
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        info!("source enters phase {}", self.phase_number());
    }

    /// The phase as a number, for logs that print no text.
    #[expect(clippy::as_conversions, reason = "a fieldless enum is numbered from 0")]
    const fn phase_number(&self) -> u8 {
        self.phase.kind() as u8
    }

    const fn refused_command(&self) -> StepError<SourcePhase> {
        StepError::OutOfPhase { phase: self.phase.kind(), input: InputKind::Command }
    }

    const fn out_of_phase(&self, input: Input) -> StepError<SourcePhase> {
        StepError::OutOfPhase { phase: self.phase.kind(), input: input.kind() }
    }

    /// A frame that says that the peer has ended the attempt; any other one is out of phase.
    fn peer_ends(&mut self, now: Tick, input: Input, frame: Frame) -> Step {
        match frame {
            Frame::Abort(reason) | Frame::Aborted { reason, .. } => {
                info!("the target ended the attempt for reason {}", reason.code());
                self.abort(now, Reason::PeerAborted.unless_known(reason));
                Ok(())
            }
            Frame::Hello(_)
            | Frame::Definition
            | Frame::Device(_)
            | Frame::Check(_)
            | Frame::Build
            | Frame::Pages(_)
            | Frame::Keys(_)
            | Frame::PassEnd(_)
            | Frame::Processor { .. }
            | Frame::Subchannel(_)
            | Frame::RehearsalEnd(_)
            | Frame::LoadEnd { .. }
            | Frame::Recopy
            | Frame::Machine { .. }
            | Frame::Commit(_)
            | Frame::Released
            | Frame::Findings(_)
            | Frame::Built(_)
            | Frame::Ack(_)
            | Frame::Rehearsed(_)
            | Frame::Ready(_)
            | Frame::Running(_)
            | Frame::Resume
            | Frame::Status(_)
            | Frame::Completed => Err(self.out_of_phase(input)),
        }
    }
}
