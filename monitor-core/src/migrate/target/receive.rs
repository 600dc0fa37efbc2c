//! Target, receiving: pages, keys, rehearsals, and in the end the state in earnest.
//!
//! Source of truth: ARCHITECTURE.md, "Memory" and "The handover". Invariants: nothing is stored
//! that does not fit the VM; a frame is acknowledged after it is stored; READY is said only when
//! every processor, the machine and every subchannel of this load is stored; RECOPY begins a new
//! load.

use super::{Phase, Step, StepError, Target, TargetLoan, claim::Claiming};
use crate::{
    migrate::{
        effect::Effect,
        input::{Arrival, Input},
        journal::Stage,
    },
    units::{Incarnation, Tick},
    vm::{Operation, Reason},
    wire::Frame,
};

/// A load is arriving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Receiving {
    /// The frame that is being stored, which the source waits for.
    storing: Option<u64>,
    /// Processors that have come in earnest, and the machine behind the last one.
    loaded: u16,
    subchannels: u16,
    /// The same in rehearsal.
    rehearsed: u16,
    /// When the first processor of a rehearsal came.
    rehearsal_since: Option<Tick>,
}

impl Receiving {
    /// The same load after a lost connection: the state that had arrived comes anew.
    pub(super) const fn anew(self) -> Self {
        Self { storing: self.storing, ..Self::new() }
    }

    /// Counts a processor, or the machine behind the last one; whether it is the one that is due.
    /// Each comes once, in order, so that their number says which came.
    fn counts(&mut self, now: Tick, number: u16, rehearsal: bool) -> bool {
        let count = if rehearsal {
            self.rehearsal_since = self.rehearsal_since.or(Some(now));
            &mut self.rehearsed
        } else {
            &mut self.loaded
        };
        let is_due = number == *count;
        *count = count.saturating_add(1);
        is_due
    }

    /// A load of which nothing has arrived.
    pub(super) const fn new() -> Self {
        Self { storing: None, loaded: 0, subchannels: 0, rehearsed: 0, rehearsal_since: None }
    }
}

impl Target {
    pub(super) fn in_receiving(
        &mut self,
        now: Tick,
        mut receiving: Receiving,
        input: Input,
        loan: &TargetLoan<'_>,
    ) -> Step {
        match input {
            Input::Frame(arrival) => self.take_frame(now, receiving, &arrival, loan),
            Input::Stored(sequence) => {
                if receiving.storing != Some(sequence) {
                    return Err(self.out_of_phase(input));
                }
                receiving.storing = None;
                self.phase = Phase::Receiving(receiving);
                self.acknowledge(sequence);
                Ok(())
            }
            Input::Failed(Operation::MoveState) if receiving.storing.is_some() => {
                self.abort(now, Reason::StateUnavailable);
                Ok(())
            }
            Input::Deadline => {
                self.late(now);
                Ok(())
            }
            Input::Guest(_)
            | Input::Done(_)
            | Input::Failed(_)
            | Input::Directory(_)
            | Input::Checked(_)
            | Input::LinkLost(_)
            | Input::LinkUp => Err(self.out_of_phase(input)),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`source_ends` lists every other frame")]
    fn take_frame(
        &mut self,
        now: Tick,
        mut receiving: Receiving,
        arrival: &Arrival,
        loan: &TargetLoan<'_>,
    ) -> Step {
        let Some(known) = self.announced else {
            return Err(self.out_of_phase(Input::Frame(*arrival)));
        };
        // The next frame waits until this one is stored; an end of the attempt need not.
        if receiving.storing.is_some() && !matches!(arrival.frame, Frame::Abort(_)) {
            return Err(StepError::EffectsPending);
        }
        let fits = match arrival.frame {
            Frame::Pages(run) | Frame::Keys(run) => run.fits(known.pages),
            Frame::Processor { index, rehearsal } => {
                index.get() < known.processors && receiving.counts(now, index.get(), rehearsal)
            }
            Frame::Machine { rehearsal } => receiving.counts(now, known.processors, rehearsal),
            Frame::Subchannel(slot) => {
                let is_due = slot.get() == receiving.subchannels;
                receiving.subchannels = receiving.subchannels.saturating_add(1);
                let is_known = slot.get() < known.devices;
                is_due && is_known && usize::from(slot.get()) < loan.devices.len()
            }
            Frame::PassEnd(_) => {
                self.acknowledge(arrival.sequence);
                return Ok(());
            }
            Frame::RehearsalEnd(count) => {
                let since = receiving.rehearsal_since.take().unwrap_or(now);
                if count != known.processors || receiving.rehearsed != count.saturating_add(1) {
                    return Err(StepError::Mismatch);
                }
                receiving.rehearsed = 0;
                self.phase = Phase::Receiving(receiving);
                self.out.send(Frame::Rehearsed(now.since(since)));
                return Ok(());
            }
            Frame::LoadEnd { processors, subchannels } => {
                let told = (processors, subchannels);
                let came = (receiving.loaded, receiving.subchannels);
                if came != (processors.saturating_add(1), subchannels)
                    || told != (known.processors, known.devices)
                {
                    return Err(StepError::Mismatch);
                }
                self.out.send(Frame::Ready(self.incarnation));
                self.enter(Phase::Loaded { since: now });
                return Ok(());
            }
            Frame::Recopy => {
                self.begin_anew();
                return Ok(());
            }
            frame => return self.source_ends(now, Input::Frame(*arrival), frame),
        };
        if !fits {
            return Err(StepError::Mismatch);
        }
        receiving.storing = Some(arrival.sequence);
        self.phase = Phase::Receiving(receiving);
        self.out.push(Effect::Store { sequence: arrival.sequence, frame: arrival.frame });
        Ok(())
    }

    fn acknowledge(&mut self, sequence: u64) {
        self.stored = sequence;
        self.out.send(Frame::Ack(sequence));
    }

    /// The source runs the guest again: what it sends from now on is another load. The source
    /// is told the new incarnation as it was told the first one.
    fn begin_anew(&mut self) {
        self.incarnation = Incarnation::new(self.incarnation.get().saturating_add(1));
        self.out.send(Frame::Built(self.incarnation));
        self.enter(Phase::Receiving(Receiving::new()));
    }

    pub(super) fn in_loaded(&mut self, now: Tick, since: Tick, input: Input) -> Step {
        match input {
            Input::Frame(Arrival { frame: Frame::Commit(incarnation), .. }) => {
                if incarnation != self.incarnation {
                    return Err(StepError::Mismatch);
                }
                self.claim(now);
                Ok(())
            }
            Input::Frame(Arrival { frame: Frame::Recopy, .. }) => {
                self.begin_anew();
                Ok(())
            }
            Input::Frame(arrival) => self.source_ends(now, input, arrival.frame),
            Input::Deadline => {
                crate::fmt::trace!("loaded since {}", since.get());
                self.late(now);
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

    fn claim(&mut self, now: Tick) {
        // A restarted monitor that did not know of the claim would drop what it may have won.
        self.save(Stage::Claiming(self.incarnation));
        self.enter(Phase::Claiming(Claiming::saving()));
        crate::fmt::trace!("claim starts at {}", now.get());
    }

    /// A dropped target still answers COMMIT, so that the source need not wait; what else the
    /// source had under way has lost its meaning.
    pub(super) fn in_dropped(&mut self, reason: Reason, input: Input) -> Step {
        match input {
            Input::Frame(Arrival { frame: Frame::Commit(incarnation), .. }) => {
                self.out.send(Frame::Aborted { incarnation, reason });
                Ok(())
            }
            Input::Frame(_) | Input::Deadline => Ok(()),
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
}
