//! Source, before the first page: the check on both ends, the guest's consent, the VM's shell.
//!
//! Source of truth: VM2000 manual, MIGRATE-VM (synchronous part, setup phase). Invariants:
//! nothing is done to the guest before the check has succeeded on both ends; the guest is told
//! before the target sets up the VM, so that a guest that refuses costs the target nothing; a
//! guest that runs loses no processor that it has not left. Deliberately not here: the devices
//! that do not go with the guest, which have a file of their own.

use super::{
    Debts, Phase, Source, SourceLoan, SourcePhase, Step, StepError, precopy::Precopy,
    window::Window,
};
use crate::{
    device::{DeviceEntry, LeaseState},
    limits::{DEVICES_MAX, HEADER_BYTES, PAGE_BYTES, PAGES_PREFIX_BYTES},
    message::Notice,
    migrate::{
        attempt::{Attempt, Coordination, Limits},
        effect::Effect,
        input::{Arrival, Input},
        journal::Stage,
        line::Line,
    },
    units::{DeviceSlot, Incarnation, Tick},
    vm::{
        Activity, DirectoryAnswer, GuestAnswer, GuestEvent, MigrationMark, Obstacle, Operation,
        ProcessorSet, Reason,
    },
    wire::{Frame, Hello, VERSION_MAX, VERSION_MIN},
};

/// The check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Checking {
    step: CheckStep,
    since: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum CheckStep {
    /// The ownership record is being read.
    Reading,
    /// HELLO is sent.
    Greeting,
    /// The definition and this many devices are sent.
    Describing(u16),
    /// CHECK is sent.
    Judged,
    /// The findings have come; the devices that a move takes from the guest are being named to
    /// the operator, this slot next.
    Warning(u16),
}

impl Checking {
    /// The first step: the record is being read.
    pub(super) const fn reading(now: Tick) -> Self {
        Self { step: CheckStep::Reading, since: now }
    }

    pub(super) fn deadline(&self, source: &Source, limits: Limits) -> Tick {
        self.since.max(source.heard).after(limits.peer_answer)
    }
}

/// The preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Preparing {
    pub(super) step: PrepareStep,
    pub(super) since: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PrepareStep {
    /// The journal is being written.
    Saving {
        /// Whether the guest loses processors, which it has to leave before.
        must_leave: bool,
    },
    /// The guest was told and is to answer.
    Telling {
        /// Whether it loses processors, which it has to leave before.
        must_leave: bool,
    },
    /// The devices that do not go with the guest are about to be detached.
    Taking,
    /// Their I/O is coming to its end.
    Draining,
    /// They are being detached.
    Detaching,
    /// BUILD is sent.
    Building,
    /// The VM is set up; changes are about to be noted.
    Tracking(Incarnation),
}

impl Preparing {
    /// Whether the journal is being written.
    pub(super) const fn awaits_journal(&self) -> bool {
        matches!(self.step, PrepareStep::Saving { .. })
    }

    pub(super) const fn deadline(&self, limits: Limits) -> Tick {
        match self.step {
            PrepareStep::Saving { .. } | PrepareStep::Telling { .. } => {
                self.since.after(limits.guest_answer)
            }
            PrepareStep::Taking | PrepareStep::Draining | PrepareStep::Detaching => {
                self.since.after(limits.drain)
            }
            PrepareStep::Building | PrepareStep::Tracking(_) => self.since.after(limits.build),
        }
    }
}

impl Source {
    pub(super) fn in_checking(
        &mut self,
        now: Tick,
        checking: Checking,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        let Some(attempt) = self.attempt else {
            return Err(self.out_of_phase(input));
        };
        match (checking.step, input) {
            (CheckStep::Reading, Input::Directory(answer)) => {
                self.statistics.claim = now.since(checking.since);
                if answer != DirectoryAnswer::Record(self.owner_of(&attempt)) {
                    loan.findings.add(Obstacle::RecordUnusable);
                    self.reject(now, false);
                    return Ok(());
                }
                self.out.send(Frame::Hello(hello(&attempt)));
                self.phase = Phase::Checking(Checking { step: CheckStep::Greeting, since: now });
                Ok(())
            }
            (CheckStep::Greeting, Input::Frame(Arrival { frame: Frame::Hello(peer), .. })) => {
                self.greeted(now, checking, &attempt, &peer, loan)
            }
            (CheckStep::Judged, Input::Frame(Arrival { frame: Frame::Findings(_), .. })) => {
                self.phase = Phase::Checking(Checking { step: CheckStep::Warning(0), since: now });
                Ok(())
            }
            (_, Input::Deadline) => {
                if checking.deadline(self, attempt.limits) <= now {
                    match checking.step {
                        CheckStep::Reading => self.abort(now, Reason::DirectoryUnreachable),
                        CheckStep::Greeting
                        | CheckStep::Describing(_)
                        | CheckStep::Judged
                        | CheckStep::Warning(_) => self.peer_is_silent(now),
                    }
                } else if self.started.after(attempt.limits.total) <= now {
                    self.abort(now, Reason::TimeExceeded);
                }
                Ok(())
            }
            (_, Input::Frame(arrival)) => self.peer_ends(now, input, arrival.frame),
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

    fn owner_of(&self, attempt: &Attempt) -> crate::vm::Ownership {
        crate::vm::Ownership::running(attempt.source, self.epoch)
    }

    /// The target answered HELLO: versions and limits are settled, the smaller one counts.
    fn greeted(
        &mut self,
        now: Tick,
        checking: Checking,
        attempt: &Attempt,
        peer: &Hello,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        if peer.version_min > VERSION_MAX || peer.version_max < VERSION_MIN {
            self.abort(now, Reason::VersionUnknown);
            return Ok(());
        }
        if peer.vm != attempt.vm || peer.target != attempt.target || peer.source != attempt.source {
            return Err(StepError::Mismatch);
        }
        self.statistics.round_trip = now.since(checking.since);
        let body = usize::try_from(peer.frame_bytes_max)
            .unwrap_or(usize::MAX)
            .saturating_sub(HEADER_BYTES)
            .saturating_sub(PAGES_PREFIX_BYTES);
        self.frame_pages = u32::try_from(body / PAGE_BYTES).unwrap_or(64).clamp(1, 64);
        self.window = Window::new(peer.window, loan.window.len());
        self.out.send(Frame::Definition);
        self.phase = Phase::Checking(Checking { step: CheckStep::Describing(0), since: now });
        Ok(())
    }

    pub(super) fn next_in_checking(
        &mut self,
        now: Tick,
        checking: Checking,
        loan: &SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        if let CheckStep::Warning(slot) = checking.step {
            return self.warn(now, slot, loan);
        }
        let CheckStep::Describing(next) = checking.step else {
            return None;
        };
        if usize::from(next) < loan.devices.len() {
            let step = CheckStep::Describing(next.saturating_add(1));
            self.phase = Phase::Checking(Checking { step, since: now });
            return self.out.number(Frame::Device(DeviceSlot::new(next)));
        }
        self.phase = Phase::Checking(Checking { step: CheckStep::Judged, since: now });
        self.out.number(Frame::Check(next))
    }

    /// Names the next device that a move takes from the guest; behind the last one the check ends.
    fn warn(&mut self, now: Tick, from: u16, loan: &SourceLoan<'_, '_>) -> Option<Effect> {
        let entries = (0..DEVICES_MAX).zip(loan.devices.iter()).skip(usize::from(from));
        // An alias that the guest goes without on this SU cannot be taken from it.
        let is_taken = |it: &DeviceEntry| it.lease.state() != LeaseState::Free;
        let mut taken =
            entries.filter(|(_, entry)| entry.descriptor.is_taken_by_move() && is_taken(entry));
        if let Some((slot, entry)) = taken.next() {
            let step = CheckStep::Warning(slot.saturating_add(1));
            self.phase = Phase::Checking(Checking { step, since: now });
            let device = entry.descriptor.mnemonic;
            return Some(Effect::Notice(Notice::DetachWarning { device }));
        }
        if loan.findings.is_empty() {
            self.accepted(now, loan.findings.surplus());
        } else {
            self.reject(now, true);
        }
        self.out.pop()
    }

    /// The check found obstacles: all of them are reported, nothing was done to the guest.
    fn reject(&mut self, now: Tick, by_target: bool) {
        self.out.push(Effect::ReportFindings { by_target });
        self.abort(now, Reason::Rejected);
    }

    /// Nothing is in the way. From here on a restarted monitor has something to take back.
    fn accepted(&mut self, now: Tick, surplus: ProcessorSet) {
        let must_leave = !surplus.is_empty();
        // A guest that is held cannot leave a processor: it goes where there is one for each.
        let is_held = self.attempt.is_some_and(|it| it.activity == Activity::InHold);
        if must_leave && is_held {
            self.abort(now, Reason::GuestSilent);
            return;
        }
        if must_leave {
            self.out.push(Effect::Notice(Notice::ProcessorsBlocked(surplus)));
        }
        self.save(Stage::Open);
        let step = PrepareStep::Saving { must_leave };
        self.enter(Phase::Preparing(Preparing { step, since: now }));
    }

    /// The journal is written; or it is not, and nothing was done that were to be undone.
    fn begin_saved(&mut self, now: Tick, must_leave: bool, input: Input) {
        if matches!(input, Input::Done(_)) {
            self.begin(now, must_leave);
        } else {
            self.abort(now, Reason::JournalUnavailable);
        }
    }

    fn begin(&mut self, now: Tick, must_leave: bool) {
        self.out.push(Effect::Notice(Notice::MigrationStarted));
        self.out.push(Effect::Mark(MigrationMark::Outgoing));
        self.debts.insert(Debts::MARKED);
        if self.guest_runs() {
            self.out.push(Effect::Tell(GuestEvent::MoveComing));
            self.debts.insert(Debts::GUEST_TOLD);
            let step = PrepareStep::Telling { must_leave };
            self.enter(Phase::Preparing(Preparing { step, since: now }));
        } else {
            self.take_devices(now);
        }
    }

    /// Every device is where the move wants it.
    pub(super) fn build(&mut self, now: Tick) {
        self.out.send(Frame::Build);
        self.enter(Phase::Preparing(Preparing { step: PrepareStep::Building, since: now }));
    }

    pub(super) fn in_preparing(
        &mut self,
        now: Tick,
        preparing: Preparing,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        let limits = self.attempt.as_ref().map_or(Limits::DEFAULT, |attempt| attempt.limits);
        match (preparing.step, input) {
            (
                PrepareStep::Draining | PrepareStep::Detaching,
                Input::Done(Operation::QuiesceDevice(_) | Operation::DetachDevice(_))
                | Input::Failed(Operation::QuiesceDevice(_) | Operation::DetachDevice(_)),
            ) => self.device_taken(now, preparing, input, loan),
            (
                PrepareStep::Saving { must_leave },
                Input::Done(Operation::SaveJournal) | Input::Failed(Operation::SaveJournal),
            ) => {
                self.begin_saved(now, must_leave, input);
                Ok(())
            }
            (PrepareStep::Telling { .. }, Input::Guest(GuestAnswer::Ready)) => {
                self.take_devices(now);
                Ok(())
            }
            (PrepareStep::Telling { must_leave }, Input::Guest(GuestAnswer::Refused)) => {
                // A guest that refused has secured nothing and needs no word of an end.
                self.debts.remove(Debts::GUEST_TOLD);
                self.without_consent(now, must_leave, Reason::GuestRefused);
                Ok(())
            }
            (PrepareStep::Telling { must_leave }, Input::Failed(Operation::TellGuest)) => {
                self.without_consent(now, must_leave, Reason::GuestSilent);
                Ok(())
            }
            (
                PrepareStep::Building,
                Input::Frame(Arrival { frame: Frame::Built(incarnation), .. }),
            ) => {
                self.track(preparing, incarnation, loan);
                Ok(())
            }
            (PrepareStep::Tracking(incarnation), Input::Done(Operation::TrackChanges)) => {
                loan.pages.mark_all();
                self.enter(Phase::Precopy(Precopy::first(now, incarnation)));
                Ok(())
            }
            (PrepareStep::Tracking(_), Input::Failed(Operation::TrackChanges)) => {
                self.abort(now, Reason::TrackingFailed);
                Ok(())
            }
            (_, Input::Frame(arrival)) => self.peer_ends(now, input, arrival.frame),
            (_, Input::Deadline) => {
                self.late_in_preparing(now, preparing, limits, loan);
                Ok(())
            }
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

    fn late_in_preparing(
        &mut self,
        now: Tick,
        preparing: Preparing,
        limits: Limits,
        loan: &SourceLoan<'_, '_>,
    ) {
        if preparing.deadline(limits) <= now {
            match preparing.step {
                PrepareStep::Saving { .. } => self.abort(now, Reason::JournalUnavailable),
                PrepareStep::Telling { must_leave } => {
                    self.without_consent(now, must_leave, Reason::GuestSilent);
                }
                PrepareStep::Taking | PrepareStep::Draining | PrepareStep::Detaching => {
                    self.device_in_use(now, None, loan);
                }
                PrepareStep::Building | PrepareStep::Tracking(_) => self.peer_is_silent(now),
            }
        } else if self.started.after(limits.total) <= now {
            self.abort(now, Reason::TimeExceeded);
        }
    }

    /// The target has set up the VM: from now on changes are noted. Order: the map of keys is
    /// emptied, tracking starts, all pages are marked; a key that changed before tracking goes with
    /// its page in the first pass.
    fn track(&mut self, preparing: Preparing, incarnation: Incarnation, loan: &SourceLoan<'_, '_>) {
        loan.keys.clear_all();
        self.out.push(Effect::Start(Operation::TrackChanges));
        self.debts.insert(Debts::TRACKING);
        let step = PrepareStep::Tracking(incarnation);
        self.phase = Phase::Preparing(Preparing { step, ..preparing });
    }

    /// The guest refused or is silent: the attempt goes on only where it need not consent. A guest
    /// that loses processors must: one that it is at work on may hold what the others wait for.
    fn without_consent(&mut self, now: Tick, must_leave: bool, reason: Reason) {
        match self.attempt.as_ref().map(|attempt| attempt.coordination) {
            Some(Coordination::IfPossible) if !must_leave => self.take_devices(now),
            Some(Coordination::IfPossible | Coordination::Required) | None => {
                self.abort(now, reason);
            }
        }
    }

    /// The peer owes an answer and its time has passed: the link is given up with it.
    pub(super) fn peer_is_silent(&mut self, now: Tick) {
        self.out.give_up_link();
        self.line = Line::Gone;
        self.abort(now, Reason::PeerSilent);
    }
}

/// What the source says first.
fn hello(attempt: &Attempt) -> Hello {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        frame_bytes_max: u32::try_from(crate::limits::FRAME_BYTES_MAX).unwrap_or(u32::MAX),
        window: u32::MAX,
        pages: attempt.pages,
        vm: attempt.vm,
        source: attempt.source,
        target: attempt.target,
    }
}

impl SourcePhase {
    /// Every phase.
    pub const ALL: [Self; 11] = [
        Self::Idle,
        Self::Checking,
        Self::Preparing,
        Self::Precopy,
        Self::Suspended,
        Self::Offered,
        Self::InDoubt,
        Self::Releasing,
        Self::Undoing,
        Self::Released,
        Self::RolledBack,
    ];
}
