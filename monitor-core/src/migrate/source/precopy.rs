//! Source, pre-copy: passes over the memory while the guest runs, rehearsals of its state, and
//! the decision after each pass.
//!
//! Source of truth: ARCHITECTURE.md, "Memory" and "The stop rule". Invariants: a group's bits are
//! cleared immediately before its pages are copied; every cleared bit is in the window or carried
//! until it is acknowledged; a pass has ended only when its last frame is acknowledged.

use core::cmp::Ordering;

use super::{Phase, SentRun, Source, SourceLoan, Step, StepError, handover::Suspended};
use crate::{
    limits::{HEADER_BYTES, PAGE_BYTES, PASSES_MAX},
    memory::{PageRun, Sweep},
    migrate::{
        effect::Effect,
        input::Input,
        policy::{Decision, PassReport, decide, forecast},
    },
    units::{ByteCount, Incarnation, Micros, PageCount, ProcessorIndex, Sequence, Tick},
    vm::{Operation, Reason},
    wire::{
        Frame,
        pages::{keys_body_bytes, pages_body_bytes},
    },
};

/// Bytes of one sample of bandwidth.
const SAMPLE_BYTES: u64 = 4 << 20;

/// Fewer bytes than these say more about round trips than about bandwidth.
const SAMPLE_BYTES_MIN: u64 = 1 << 18;

/// One pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Precopy {
    pub(super) incarnation: Incarnation,
    step: PassStep,
    since: Tick,
    pages: u64,
    bytes: u64,
    sample: Sample,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum PassStep {
    /// Changes that the hardware alone knows are to be collected.
    Collecting,
    /// Pages are being sent.
    Pages(Sweep),
    /// Keys that changed without their pages are being sent.
    Keys(Sweep),
    /// PASS-END has this number and is not acknowledged yet.
    Draining(Sequence),
    /// The pass has ended, and what has changed in it is being collected.
    Counting { ended: Tick },
    /// So many processors of the rehearsal are sent, and the machine behind the last one.
    Rehearsing { next: u16, since: Tick },
    /// REHEARSAL-END is sent.
    Restoring { since: Tick },
    /// The rehearsal has ended, and what has changed up to now is being collected.
    Deciding,
}

/// Bytes acknowledged since a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sample {
    bytes: u64,
    since: Tick,
}

impl Precopy {
    /// The first pass, over all pages.
    pub(super) fn first(now: Tick, incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            step: PassStep::Collecting,
            since: now,
            pages: 0,
            bytes: 0,
            sample: Sample { bytes: 0, since: now },
        }
    }
}

impl Source {
    pub(super) fn in_precopy(
        &mut self,
        now: Tick,
        precopy: Precopy,
        input: Input,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        match input {
            Input::Frame(arrival) => {
                self.frame_in_precopy(now, precopy, input, arrival.frame, loan)
            }
            Input::Failed(Operation::MoveState) => {
                self.abort(now, Reason::StateUnavailable);
                Ok(())
            }
            Input::Failed(Operation::TrackChanges) => {
                self.abort(now, Reason::TrackingFailed);
                Ok(())
            }
            Input::Deadline => {
                self.late_in_precopy(now);
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

    fn frame_in_precopy(
        &mut self,
        now: Tick,
        mut precopy: Precopy,
        input: Input,
        frame: Frame,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        match (precopy.step, frame) {
            (step, Frame::Ack(sequence)) => {
                self.acknowledged(now, &mut precopy, sequence, loan)?;
                self.phase = Phase::Precopy(precopy);
                if let PassStep::Draining(last) = step
                    && last.get() <= sequence
                {
                    self.collect_in(precopy, PassStep::Counting { ended: now });
                }
                Ok(())
            }
            (PassStep::Restoring { since }, Frame::Rehearsed(_)) => {
                self.statistics.state = self.statistics.state.max(now.since(since));
                self.collect_in(precopy, PassStep::Deciding);
                Ok(())
            }
            // The target begins another load after RECOPY.
            (_, Frame::Built(incarnation)) => {
                self.phase = Phase::Precopy(Precopy { incarnation, ..precopy });
                Ok(())
            }
            // READY of a load that was given up for its budget crossed RECOPY.
            (_, Frame::Ready(_)) => Ok(()),
            (_, frame) => self.peer_ends(now, input, frame),
        }
    }

    fn late_in_precopy(&mut self, now: Tick) {
        let Some(limits) = self.attempt.as_ref().map(|attempt| attempt.limits) else {
            return;
        };
        if self.started.after(limits.total) <= now {
            self.abort(now, Reason::TimeExceeded);
        } else if self.patience(limits) <= now {
            self.lose_patience(now);
        }
    }

    pub(super) fn next_in_precopy(
        &mut self,
        mut precopy: Precopy,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<Effect> {
        let effect = loop {
            break match precopy.step {
                PassStep::Collecting => {
                    precopy.step = PassStep::Pages(Sweep::default());
                    Some(Effect::Collect)
                }
                PassStep::Pages(mut sweep) => {
                    if self.window.is_full() {
                        return None;
                    }
                    if let Some((effect, run, bytes)) = self.send_pages(&mut sweep, loan) {
                        precopy.pages = precopy.pages.saturating_add(run.page_count().get());
                        precopy.bytes = precopy.bytes.saturating_add(bytes);
                        precopy.step = PassStep::Pages(sweep);
                        effect
                    } else {
                        precopy.step = PassStep::Keys(Sweep::default());
                        self.phase = Phase::Precopy(precopy);
                        continue;
                    }
                }
                PassStep::Keys(mut sweep) => {
                    if self.window.is_full() {
                        return None;
                    }
                    if let Some((effect, _, bytes)) = self.send_keys(&mut sweep, loan) {
                        precopy.bytes = precopy.bytes.saturating_add(bytes);
                        precopy.step = PassStep::Keys(sweep);
                        effect
                    } else {
                        let pass = self.statistics.passes.len().saturating_add(1);
                        let frame = Frame::PassEnd(u16::try_from(pass).unwrap_or(u16::MAX));
                        let effect = self.out.number(frame);
                        precopy.step = PassStep::Draining(self.out.last_sequence());
                        effect
                    }
                }
                PassStep::Rehearsing { next, since } => {
                    let (frame, step) = self.rehearse(next, since);
                    precopy.step = step;
                    self.out.number(frame)
                }
                PassStep::Draining(_)
                | PassStep::Restoring { .. }
                | PassStep::Counting { .. }
                | PassStep::Deciding => return None,
            };
        };
        self.phase = Phase::Precopy(precopy);
        effect
    }

    /// The frame of pages with this number was shorter by so many bytes than if all its pages had
    /// had content: neither the pass nor the bandwidth has them.
    pub fn note_saved(
        &mut self,
        sequence: Sequence,
        bytes: ByteCount,
        loan: &mut SourceLoan<'_, '_>,
    ) {
        let saved = self.statistics.saved.get().saturating_add(bytes.get());
        self.statistics.saved = ByteCount::new(saved);
        self.window.shorten(sequence, bytes.get(), loan.window);
        if let Phase::Precopy(precopy) = &mut self.phase {
            precopy.bytes = precopy.bytes.saturating_sub(bytes.get());
        }
    }

    fn rehearse(&self, next: u16, since: Tick) -> (Frame, PassStep) {
        let processors = self.attempt.as_ref().map_or(0, |attempt| attempt.processors);
        let step = PassStep::Rehearsing { next: next.saturating_add(1), since };
        match next.cmp(&processors) {
            Ordering::Less => {
                let index = ProcessorIndex::new(next);
                (Frame::Processor { index, rehearsal: true }, step)
            }
            Ordering::Equal => (Frame::Machine { rehearsal: true }, step),
            Ordering::Greater => (Frame::RehearsalEnd(processors), PassStep::Restoring { since }),
        }
    }

    /// Takes the next dirty pages and notes them as under way. The window is not full.
    pub(super) fn send_pages(
        &mut self,
        sweep: &mut Sweep,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<(Option<Effect>, PageRun, u64)> {
        let taken = self.carried.take().or_else(|| loan.pages.take_next(sweep))?;
        let run = self.fit_frame(taken);
        let bytes = frame_bytes(pages_body_bytes(run));
        let effect = self.out.number(Frame::Pages(run));
        let sequence = self.out.last_sequence();
        self.window.push(SentRun { sequence, run, with_pages: true, bytes }, loan.window);
        Some((effect, run, bytes))
    }

    /// Takes the next changed keys and notes them as under way. The window is not full.
    pub(super) fn send_keys(
        &mut self,
        sweep: &mut Sweep,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Option<(Option<Effect>, PageRun, u64)> {
        let run = loan.keys.take_next(sweep)?;
        let bytes = frame_bytes(keys_body_bytes());
        let effect = self.out.number(Frame::Keys(run));
        let sequence = self.out.last_sequence();
        self.window.push(SentRun { sequence, run, with_pages: false, bytes }, loan.window);
        Some((effect, run, bytes))
    }

    /// The line is up again, and everything up to `stored` has arrived. What has not is dirty
    /// again; the pass goes on, a rehearsal begins anew.
    pub(super) fn precopy_goes_on(
        &mut self,
        now: Tick,
        mut precopy: Precopy,
        lost: Tick,
        stored: u64,
    ) {
        // The outage is no part of the pass and says nothing about bandwidth.
        precopy.since = precopy.since.after(now.since(lost));
        precopy.sample = Sample { bytes: 0, since: now };
        match precopy.step {
            PassStep::Draining(last) if last.get() <= stored => {
                self.collect_in(precopy, PassStep::Counting { ended: now });
                return;
            }
            PassStep::Draining(_) => precopy.step = PassStep::Pages(Sweep::default()),
            PassStep::Rehearsing { .. } | PassStep::Restoring { .. } => {
                precopy.step = PassStep::Rehearsing { next: 0, since: now };
            }
            // Much may have changed while the line was down.
            PassStep::Counting { .. } | PassStep::Deciding => {
                self.collect_in(precopy, precopy.step);
                return;
            }
            PassStep::Collecting | PassStep::Pages(_) | PassStep::Keys(_) => {}
        }
        self.phase = Phase::Precopy(precopy);
    }

    /// As many of the taken pages as the peer's frames take; the others are carried.
    fn fit_frame(&mut self, taken: PageRun) -> PageRun {
        let mut rest = taken.mask;
        for _ in 0..self.frame_pages {
            // Clears the lowest bit that is set, and leaves zero alone.
            rest &= rest.wrapping_sub(1);
        }
        if rest != 0 {
            self.carried = Some(PageRun { group: taken.group, mask: rest });
        }
        PageRun { group: taken.group, mask: taken.mask ^ rest }
    }

    fn acknowledged(
        &mut self,
        now: Tick,
        precopy: &mut Precopy,
        sequence: u64,
        loan: &mut SourceLoan<'_, '_>,
    ) -> Step {
        if sequence > self.out.last_sequence().get() {
            return Err(StepError::Mismatch);
        }
        let bytes = self.window.acknowledge(sequence, loan.window);
        precopy.sample.bytes = precopy.sample.bytes.saturating_add(bytes);
        if precopy.sample.bytes >= SAMPLE_BYTES {
            self.take_sample(now, &mut precopy.sample);
        }
        Ok(())
    }

    fn take_sample(&mut self, now: Tick, sample: &mut Sample) {
        self.statistics.bandwidth.add(ByteCount::new(sample.bytes), now.since(sample.since));
        *sample = Sample { bytes: 0, since: now };
    }

    /// Has changes collected that the hardware alone knows: what is counted without them is too
    /// little. The collecting is performed before the next effect is polled.
    fn collect_in(&mut self, mut precopy: Precopy, step: PassStep) {
        self.out.push(Effect::Collect);
        precopy.step = step;
        self.phase = Phase::Precopy(precopy);
    }

    /// Goes on with the numbers when what has changed is collected.
    pub(super) fn take_count(&mut self, now: Tick, loan: &SourceLoan<'_, '_>) {
        let Phase::Precopy(precopy) = self.phase else {
            return;
        };
        match precopy.step {
            PassStep::Counting { ended } if self.line.is_up() => {
                self.end_pass(now, ended, precopy, loan);
            }
            PassStep::Deciding if self.line.is_up() => self.after_pass(now, precopy, loan),
            PassStep::Counting { .. }
            | PassStep::Deciding
            | PassStep::Collecting
            | PassStep::Pages(_)
            | PassStep::Keys(_)
            | PassStep::Draining(_)
            | PassStep::Rehearsing { .. }
            | PassStep::Restoring { .. } => {}
        }
    }

    /// PASS-END is acknowledged, changes are collected: the pass is reported, the state rehearsed.
    fn end_pass(
        &mut self,
        now: Tick,
        ended: Tick,
        mut precopy: Precopy,
        loan: &SourceLoan<'_, '_>,
    ) {
        if precopy.sample.bytes >= SAMPLE_BYTES_MIN {
            self.take_sample(ended, &mut precopy.sample);
        }
        let report = PassReport {
            pages: PageCount::new(precopy.pages),
            bytes: ByteCount::new(precopy.bytes),
            time: ended.since(precopy.since),
            left: loan.pages.count(),
        };
        if self.statistics.passes.push(report).is_err() {
            self.abort(now, Reason::WillNotConverge);
            return;
        }
        precopy.step = PassStep::Rehearsing { next: 0, since: now };
        self.phase = Phase::Precopy(precopy);
    }

    /// The pass and its rehearsal have ended: go on, stop the guest, or give up.
    fn after_pass(&mut self, now: Tick, precopy: Precopy, loan: &SourceLoan<'_, '_>) {
        let Some(budget) = self.attempt.as_ref().map(|attempt| attempt.limits.blackout) else {
            return;
        };
        // A guest that does not run has no blackout: whatever is left may be sent at once.
        let budget = if self.guest_runs() { budget } else { Micros::new(u64::MAX) };
        let prediction = self.prediction(left(loan));
        if let Some(last) = self.statistics.passes.last() {
            self.statistics.forecast = Some(forecast(last, &prediction, budget));
        }
        let guest = loan.pages.page_count();
        match decide(&self.statistics.passes, &prediction, budget, guest) {
            Decision::AnotherPass if self.statistics.passes.len() < PASSES_MAX => {
                self.enter(Phase::Precopy(Precopy::first(now, precopy.incarnation)));
            }
            Decision::AnotherPass | Decision::GiveUp => self.abort(now, Reason::WillNotConverge),
            Decision::OverBudget => {
                self.statistics.predicted = Some(prediction.blackout());
                self.abort(now, Reason::BudgetExceeded);
            }
            Decision::Stop => {
                self.statistics.predicted = Some(prediction.blackout());
                self.suspend(now, Suspended::new(now, precopy.incarnation));
            }
        }
    }
}

/// What is left to be sent, in pages: each changed key may take a frame of its own.
fn left(loan: &SourceLoan<'_, '_>) -> PageCount {
    let key_bytes = loan.keys.count().get().saturating_mul(frame_bytes(keys_body_bytes()));
    let page_bytes = u64::try_from(PAGE_BYTES).unwrap_or(u64::MAX);
    let keys = key_bytes.saturating_add(page_bytes.saturating_sub(1)).checked_div(page_bytes);
    PageCount::new(loan.pages.count().get().saturating_add(keys.unwrap_or(u64::MAX)))
}

/// Bytes on the wire of a frame with this body.
fn frame_bytes(body: usize) -> u64 {
    u64::try_from(body.saturating_add(HEADER_BYTES)).unwrap_or(u64::MAX)
}
