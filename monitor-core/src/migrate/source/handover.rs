//! Source, handover: the guest is stopped, the rest is sent, COMMIT is given.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariants: everything here can be rolled
//! back, and is when the budget is spent; the last harvest follows the end of all I/O; COMMIT is
//! sent once for a load, after READY of the same incarnation, while the budget still holds.

use super::{
    Debts, KeysSent, Phase, Said, Source, SourceLoan, SourcePhase, Step, StepError, offer::Offered,
    precopy::Precopy,
};
use crate::{
    device::{Conducts, Plan, Progress},
    memory::{PageRun, Sweep},
    message::Notice,
    migrate::{attempt::Limits, effect::Effect, input::Input, journal::Stage},
    units::{DeviceSlot, Incarnation, Micros, PageCount, ProcessorIndex, Tick},
    vm::{Operation, Reason},
    wire::{Frame, LoadState, Status},
};

/// The guest is stopped, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Suspended {
    pub(super) incarnation: Incarnation,
    step: StopStep,
    since: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum StopStep {
    /// The processors are being stopped.
    Stopping,
    /// Started I/O is coming to its end.
    Draining { since: Tick },
    /// The last pages are being sent.
    Pages(Sweep),
    /// The last keys are being sent.
    Keys(Sweep),
    /// The processors are being sent, and the machine behind the last one.
    Processors(u16),
    /// The subchannels are being sent.
    Subchannels(u16),
    /// LOAD-END is sent.
    Loading,
    /// READY has come; the journal is being written before COMMIT.
    Committing,
    /// The budget is spent: the devices are being given back to the guest.
    GivingBack,
    /// The budget is spent: the processors are being started again.
    Resuming,
}

impl Suspended {
    pub(super) const fn new(now: Tick, incarnation: Incarnation) -> Self {
        Self { incarnation, step: StopStep::Stopping, since: now }
    }

    /// Whether the stop is being taken back.
    pub(super) const fn is_giving_back(&self) -> bool {
        matches!(self.step, StopStep::GivingBack | StopStep::Resuming)
    }

    /// Whether the journal is being written.
    pub(super) const fn awaits_journal(&self) -> bool {
        matches!(self.step, StopStep::Committing)
    }

    /// When the budget forbids to go on, or an operation has taken too long.
    pub(super) fn deadline(&self, source: &Source, limits: Limits) -> Tick {
        match self.step {
            StopStep::GivingBack | StopStep::Resuming => self.since.after(limits.peer_answer),
            StopStep::Draining { since } => {
                source.commit_deadline(self.since, limits).min(since.after(limits.drain))
            }
            StopStep::Stopping
            | StopStep::Pages(_)
            | StopStep::Keys(_)
            | StopStep::Processors(_)
            | StopStep::Subchannels(_)
            | StopStep::Loading
            | StopStep::Committing => {
                source.commit_deadline(self.since, limits).min(source.patience(limits))
            }
        }
    }
}

impl Source {
    /// The last moment at which COMMIT may be sent. A guest that does not run has no budget.
    fn commit_deadline(&self, since: Tick, limits: Limits) -> Tick {
        if !self.guest_runs() {
            return Tick::new(u64::MAX);
        }
        let commit = self.prediction(PageCount::new(0)).commit().get();
        since.after(Micros::new(limits.blackout.get().saturating_sub(commit)))
    }

    /// Stops the guest, if it runs, and then its I/O.
    pub(super) fn suspend(&mut self, now: Tick, suspended: Suspended) {
        self.enter(Phase::Suspended(suspended));
        self.statistics.stopped_keys = KeysSent::default();
        if self.guest_runs() {
            self.debts.insert(Debts::PROCESSORS_STOPPED);
            self.statistics.stopped_at = Some(now);
            // What the peer owes, it owes from the stop on.
            self.heard = now;
            self.out.push(Effect::Start(Operation::StopProcessors));
        } else {
            let step = StopStep::Draining { since: now };
            self.phase = Phase::Suspended(Suspended { step, ..suspended });
        }
    }

    pub(super) fn in_suspended(
        &mut self,
        now: Tick,
        suspended: Suspended,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        match (suspended.step, input) {
            (StopStep::Stopping, Input::Done(Operation::StopProcessors)) => {
                self.said.insert(Said::SUSPENDED);
                self.out.push(Effect::Notice(Notice::SuspendedAtSource));
                let step = StopStep::Draining { since: now };
                self.phase = Phase::Suspended(Suspended { step, ..suspended });
                Ok(())
            }
            (StopStep::Stopping, Input::Failed(Operation::StopProcessors)) => {
                self.abort(now, Reason::ProcessorsNotStopped);
                Ok(())
            }
            (_, Input::Done(operation @ Operation::QuiesceDevice(_)))
            | (StopStep::GivingBack, Input::Done(operation @ Operation::AttachDevice(_))) => {
                let progress = self.devices.handle_done(operation, loan.devices);
                self.device_ended(now, suspended, input, progress.ok())
            }
            (_, Input::Failed(operation @ Operation::QuiesceDevice(_)))
            | (StopStep::GivingBack, Input::Failed(operation @ Operation::AttachDevice(_))) => {
                let progress = self.devices.handle_failed(operation, loan.devices);
                self.device_ended(now, suspended, input, progress.ok())
            }
            (StopStep::Resuming, Input::Done(Operation::ResumeProcessors)) => {
                self.copy_again(now, suspended);
                Ok(())
            }
            (StopStep::Resuming, Input::Failed(Operation::ResumeProcessors)) => {
                // Back to the step before: nothing is under way that the undoing could wait for.
                let step = StopStep::GivingBack;
                self.phase = Phase::Suspended(Suspended { step, ..suspended });
                self.abort(now, Reason::BudgetExceeded);
                Ok(())
            }
            (StopStep::Committing, Input::Done(Operation::SaveJournal)) => {
                self.commit(now, suspended);
                Ok(())
            }
            (StopStep::Committing, Input::Failed(Operation::SaveJournal)) => {
                self.abort(now, Reason::JournalUnavailable);
                Ok(())
            }
            (_, Input::Failed(Operation::MoveState)) => {
                self.abort(now, Reason::StateUnavailable);
                Ok(())
            }
            (_, Input::Failed(Operation::TrackChanges)) => {
                self.abort(now, Reason::TrackingFailed);
                Ok(())
            }
            (_, Input::Frame(arrival)) => {
                self.frame_in_suspended(now, suspended, input, arrival.frame, loan)
            }
            (_, Input::Deadline) => {
                self.late_in_suspended(now, suspended, loan);
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

    /// The guest runs here again after a stop that took too long: copying goes on.
    fn copy_again(&mut self, now: Tick, suspended: Suspended) {
        self.debts.remove(Debts::PROCESSORS_STOPPED);
        self.out.push(Effect::Notice(Notice::ResumedAtSource));
        if self.statistics.passes.is_full() {
            self.abort(now, Reason::WillNotConverge);
        } else {
            self.out.send(Frame::Recopy);
            self.enter(Phase::Precopy(Precopy::first(now, suspended.incarnation)));
        }
    }

    fn frame_in_suspended(
        &mut self,
        now: Tick,
        suspended: Suspended,
        input: Input,
        frame: Frame,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        match (suspended.step, frame) {
            (_, Frame::Ack(sequence)) => {
                if sequence > self.out.last_sequence().get() {
                    return Err(StepError::Mismatch);
                }
                self.window.acknowledge(sequence, loan.window);
                Ok(())
            }
            (StopStep::Loading, Frame::Ready(incarnation)) => {
                if incarnation != suspended.incarnation {
                    return Err(StepError::Mismatch);
                }
                self.offer(suspended);
                Ok(())
            }
            // READY of a load that was given up for its budget crossed RECOPY.
            (StopStep::GivingBack | StopStep::Resuming, Frame::Ready(_)) => Ok(()),
            // The target begins another load after RECOPY.
            (step, Frame::Built(incarnation)) if step != StopStep::Committing => {
                self.phase = Phase::Suspended(Suspended { incarnation, ..suspended });
                Ok(())
            }
            (_, frame) => self.peer_ends(now, input, frame),
        }
    }

    /// An operation of a device has ended; the plan perhaps with it.
    fn device_ended(
        &mut self,
        now: Tick,
        suspended: Suspended,
        input: Input,
        progress: Option<Progress>,
    ) -> Step {
        match progress {
            None => return Err(self.out_of_phase(input)),
            Some(Progress::UnderWay) => {}
            Some(Progress::Failed(_)) => self.abort(now, Reason::DeviceNotQuiet),
            Some(Progress::Finished) => self.devices_settled(now, suspended),
        }
        Ok(())
    }

    /// Whether the processors are being started again after a stop that took too long.
    pub(super) fn is_resuming(&self) -> bool {
        matches!(self.phase, Phase::Suspended(Suspended { step: StopStep::Resuming, .. }))
            && self.debts.contains(Debts::PROCESSORS_STOPPED)
    }

    /// All devices are where the step wanted them.
    fn devices_settled(&mut self, now: Tick, suspended: Suspended) {
        let step = match suspended.step {
            StopStep::Draining { .. } => {
                // Order: I/O has ended, so what it changed can be collected now, for good.
                self.out.push(Effect::Collect);
                StopStep::Pages(Sweep::default())
            }
            StopStep::GivingBack => {
                self.debts.remove(Debts::DEVICES_QUIESCED);
                if self.debts.contains(Debts::PROCESSORS_STOPPED) {
                    self.out.push(Effect::Start(Operation::ResumeProcessors));
                }
                StopStep::Resuming
            }
            step @ (StopStep::Stopping
            | StopStep::Pages(_)
            | StopStep::Keys(_)
            | StopStep::Processors(_)
            | StopStep::Subchannels(_)
            | StopStep::Loading
            | StopStep::Committing
            | StopStep::Resuming) => step,
        };
        self.phase = Phase::Suspended(Suspended { step, since: suspended.since, ..suspended });
        crate::fmt::trace!("devices settled at {}", now.get());
    }

    fn late_in_suspended(
        &mut self,
        now: Tick,
        suspended: Suspended,
        loan: &mut SourceLoan<'_, '_>,
    ) {
        let Some(limits) = self.attempt.as_ref().map(|attempt| attempt.limits) else {
            return;
        };
        if suspended.deadline(self, limits) > now {
            return;
        }
        match suspended.step {
            StopStep::Stopping => self.abort(now, Reason::ProcessorsNotStopped),
            // I/O that is slower than the budget would be so at the next stop, too.
            StopStep::Draining { .. } => self.abort(now, Reason::DeviceNotQuiet),
            StopStep::GivingBack | StopStep::Resuming => self.abort(now, Reason::BudgetExceeded),
            StopStep::Pages(_)
            | StopStep::Keys(_)
            | StopStep::Processors(_)
            | StopStep::Subchannels(_)
            | StopStep::Loading
            | StopStep::Committing => {
                if self.commit_deadline(suspended.since, limits) <= now {
                    self.overrun(now, suspended, limits, loan);
                } else {
                    self.lose_patience(now);
                }
            }
        }
    }

    /// The budget is spent before COMMIT: the guest goes on here, and copying with it, a limited
    /// number of times.
    fn overrun(
        &mut self,
        now: Tick,
        suspended: Suspended,
        limits: Limits,
        loan: &mut SourceLoan<'_, '_>,
    ) {
        self.statistics.overruns = self.statistics.overruns.saturating_add(1);
        if self.statistics.overruns > limits.overruns {
            self.abort(now, Reason::BudgetExceeded);
            return;
        }
        if self.saved != Stage::Open {
            self.save(Stage::Open);
        }
        let suspended = Suspended { step: StopStep::GivingBack, since: now, ..suspended };
        self.phase = Phase::Suspended(suspended);
        // What was detached for the move stays so: copying goes on.
        let plan = Plan::Attach { conducts: Conducts::MOVE, epoch: self.epoch };
        match self.devices.begin(plan, loan.devices) {
            Ok(Progress::UnderWay) => {}
            Ok(Progress::Finished) => self.devices_settled(now, suspended),
            Ok(Progress::Failed(_)) | Err(_) => self.abort(now, Reason::BudgetExceeded),
        }
    }

    pub(super) fn next_in_suspended(
        &mut self,
        now: Tick,
        mut suspended: Suspended,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        let effect = loop {
            break match suspended.step {
                // Frames wait for the line; the stop itself does not.
                StopStep::Pages(_)
                | StopStep::Keys(_)
                | StopStep::Processors(_)
                | StopStep::Subchannels(_)
                    if !self.line.is_up() =>
                {
                    return None;
                }
                StopStep::Draining { .. } if !self.debts.contains(Debts::DEVICES_QUIESCED) => {
                    return self.begin_quiesce(now, suspended, loan);
                }
                StopStep::Draining { .. } | StopStep::GivingBack => {
                    return self.devices.poll_operation(loan.devices).map(Effect::Start);
                }
                StopStep::Pages(mut sweep) => {
                    if self.window.is_full() {
                        return None;
                    }
                    match self.send_pages(&mut sweep, loan) {
                        Some((effect, _, _)) => {
                            suspended.step = StopStep::Pages(sweep);
                            effect
                        }
                        None => {
                            suspended.step = StopStep::Keys(Sweep::default());
                            continue;
                        }
                    }
                }
                StopStep::Keys(mut sweep) => {
                    if self.window.is_full() {
                        return None;
                    }
                    match self.send_keys(&mut sweep, loan) {
                        Some((effect, run, _)) => {
                            self.count_keys(run);
                            suspended.step = StopStep::Keys(sweep);
                            effect
                        }
                        None => {
                            suspended.step = StopStep::Processors(0);
                            continue;
                        }
                    }
                }
                StopStep::Processors(_) | StopStep::Subchannels(_) => {
                    let (frame, step) = self.next_state(suspended.step, loan.devices.len());
                    suspended.step = step;
                    self.out.number(frame)
                }
                StopStep::Stopping
                | StopStep::Loading
                | StopStep::Committing
                | StopStep::Resuming => {
                    return None;
                }
            };
        };
        self.phase = Phase::Suspended(suspended);
        effect
    }

    fn count_keys(&mut self, run: PageRun) {
        let sent = &mut self.statistics.stopped_keys;
        sent.frames = sent.frames.saturating_add(1);
        sent.keys = PageCount::new(sent.keys.get().saturating_add(run.page_count().get()));
    }

    fn begin_quiesce(
        &mut self,
        now: Tick,
        suspended: Suspended,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        self.debts.insert(Debts::DEVICES_QUIESCED);
        match self.devices.begin(Plan::Quiesce(Conducts::MOVE), loan.devices) {
            Ok(Progress::UnderWay) => self.devices.poll_operation(loan.devices).map(Effect::Start),
            Ok(Progress::Finished) => {
                self.devices_settled(now, suspended);
                self.out.pop()
            }
            Ok(Progress::Failed(_)) | Err(_) => {
                self.abort(now, Reason::DeviceNotQuiet);
                self.out.pop()
            }
        }
    }

    /// The next frame of registers, machine or subchannels, and the step behind it.
    fn next_state(&self, step: StopStep, subchannels: usize) -> (Frame, StopStep) {
        let processors = self.attempt.as_ref().map_or(0, |attempt| attempt.processors);
        let subchannels = u16::try_from(subchannels).unwrap_or(u16::MAX);
        if let StopStep::Processors(next) = step {
            if next >= processors {
                return (Frame::Machine { rehearsal: false }, StopStep::Subchannels(0));
            }
            let index = ProcessorIndex::new(next);
            let behind = StopStep::Processors(next.saturating_add(1));
            return (Frame::Processor { index, rehearsal: false }, behind);
        }
        let next = if let StopStep::Subchannels(next) = step { next } else { 0 };
        if next < subchannels {
            let behind = StopStep::Subchannels(next.saturating_add(1));
            return (Frame::Subchannel(DeviceSlot::new(next)), behind);
        }
        (Frame::LoadEnd { processors, subchannels }, StopStep::Loading)
    }

    /// READY has come: the journal says so before the target can hear of it.
    fn offer(&mut self, suspended: Suspended) {
        self.save(Stage::Offered(suspended.incarnation));
        self.phase = Phase::Suspended(Suspended { step: StopStep::Committing, ..suspended });
    }

    /// The line is up again. A load that was complete is offered; any other is completed, with
    /// what was not stored, and the state anew.
    pub(super) fn suspended_goes_on(
        &mut self,
        mut suspended: Suspended,
        status: Status,
    ) -> Result<(), StepError<SourcePhase>> {
        let is_loaded = status.state == LoadState::Loaded;
        match suspended.step {
            StopStep::Loading | StopStep::Committing if is_loaded => {
                if status.incarnation != suspended.incarnation {
                    return Err(StepError::Mismatch);
                }
                self.offer(suspended);
                return Ok(());
            }
            StopStep::Pages(_)
            | StopStep::Keys(_)
            | StopStep::Processors(_)
            | StopStep::Subchannels(_)
            | StopStep::Loading
            | StopStep::Committing => {
                if is_loaded {
                    return Err(StepError::Mismatch);
                }
                suspended.step = StopStep::Pages(Sweep::default());
            }
            // RECOPY follows when the guest runs again.
            StopStep::GivingBack | StopStep::Resuming => {}
            // RECOPY of a load that was given up was lost with the line.
            StopStep::Stopping | StopStep::Draining { .. } => {
                if is_loaded {
                    self.out.send(Frame::Recopy);
                }
            }
        }
        suspended.incarnation = status.incarnation;
        self.phase = Phase::Suspended(suspended);
        Ok(())
    }

    /// The journal is written: COMMIT is sent if the budget still holds, which the deadline
    /// ensures.
    fn commit(&mut self, now: Tick, suspended: Suspended) {
        let Some(limits) = self.attempt.as_ref().map(|attempt| attempt.limits) else {
            return;
        };
        if self.commit_deadline(suspended.since, limits) <= now {
            // The deadline comes as an input of its own, which rolls the stop back.
            return;
        }
        if !self.line.is_up() {
            // The link was lost meanwhile: STATUS takes the place of READY.
            self.phase = Phase::Suspended(Suspended { step: StopStep::Loading, ..suspended });
            return;
        }
        let incarnation = suspended.incarnation;
        self.out.send(Frame::Commit(incarnation));
        self.enter(Phase::Offered(Offered { incarnation, suspended: suspended.since, since: now }));
    }
}
