//! What is to be done: effects, and the bounded queue in which a machine keeps them.
//!
//! Source of truth: ARCHITECTURE.md, "Machines". Invariants: the queue never overflows, since a
//! step leaves at most [`STEP_EFFECTS`] and is refused while there is no room for them and for
//! those of a loss of the connection; frames are numbered in the order in which they are queued.

use heapless::Deque;
use static_assertions::const_assert;

use crate::{
    limits::EFFECTS_MAX,
    message::Notice,
    units::Sequence,
    vm::{GuestEvent, MigrationMark, Operation, Ownership},
    wire::Frame,
};

use super::journal::Stage;

/// The most effects that one step of a machine queues.
pub const STEP_EFFECTS: usize = 5;

/// The most effects that the loss of a connection queues, which finds room always.
const LOSS_EFFECTS: usize = 2;

const_assert!(EFFECTS_MAX >= 2 * STEP_EFFECTS + LOSS_EFFECTS);

/// Something that the driver is to do, in the order in which effects are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Effect {
    /// Send this frame under this number; the driver fills the bulk part.
    Send {
        /// Number of the frame.
        sequence: Sequence,
        /// The frame.
        frame: Frame,
    },
    /// Store the bulk of the received frame; answer with `Stored` or `Failed(MoveState)`.
    Store {
        /// Number of the frame.
        sequence: u64,
        /// The frame.
        frame: Frame,
    },
    /// Start this operation; it ends with `Done` or `Failed`.
    Start(Operation),
    /// End the noting of changes.
    StopTracking,
    /// Bring into the maps what the hardware alone knows.
    Collect,
    /// Tell the guest; it answers with `Guest`.
    Tell(GuestEvent),
    /// Read the ownership record; ends with `Directory`.
    ReadRecord,
    /// Replace the ownership record; ends with `Directory`.
    CompareAndSet {
        /// What the record must be.
        expected: Ownership,
        /// What it becomes.
        new: Ownership,
    },
    /// Write this on the operator's console.
    Notice(Notice),
    /// Write every finding of the check on the operator's console.
    ReportFindings {
        /// Whether the target found them, or this end itself.
        by_target: bool,
    },
    /// Show this mark in the VM's state.
    Mark(MigrationMark),
    /// Write this stage into the monitor's journal; ends at once, with `SaveJournal`. Nothing
    /// that comes after it may be done before.
    Save(Stage),
}

/// The queue of effects of one machine, and its frame counter.
#[derive(Debug)]
#[cfg_attr(feature = "_model", derive(Clone, PartialEq, Eq))]
pub(crate) struct Outbox {
    queue: Deque<Effect, EFFECTS_MAX>,
    sequence: Sequence,
    link_open: bool,
}

impl Outbox {
    /// An empty queue for a link that is open.
    pub(crate) const fn new() -> Self {
        Self { queue: Deque::new(), sequence: Sequence::new(0), link_open: true }
    }

    /// Whether a whole step's effects find room.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len().saturating_add(STEP_EFFECTS + LOSS_EFFECTS) <= EFFECTS_MAX
    }

    /// Queues an effect. The room was checked before the step.
    pub(crate) fn push(&mut self, effect: Effect) {
        let full = self.queue.push_back(effect).is_err();
        if full {
            crate::fmt::warning!("effect queue is full, an effect is lost");
        }
    }

    /// Queues a frame, unless the link is given up.
    pub(crate) fn send(&mut self, frame: Frame) {
        if let Some(effect) = self.number(frame) {
            self.push(effect);
        }
    }

    /// Numbers a frame that is handed out at once; `None` when the link is given up.
    pub(crate) fn number(&mut self, frame: Frame) -> Option<Effect> {
        if !self.link_open {
            return None;
        }
        self.sequence = self.sequence.next();
        Some(Effect::Send { sequence: self.sequence, frame })
    }

    /// The oldest effect.
    pub(crate) fn pop(&mut self) -> Option<Effect> {
        self.queue.pop_front()
    }

    /// Number of the frame that was queued last.
    pub(crate) const fn last_sequence(&self) -> Sequence {
        self.sequence
    }

    /// Gives up the link: queued frames are dropped and no more are queued.
    pub(crate) fn give_up_link(&mut self) {
        self.link_open = false;
        for _ in 0..self.queue.len() {
            if let Some(effect) = self.queue.pop_front()
                && !matches!(effect, Effect::Send { .. })
            {
                self.push(effect);
            }
        }
    }

    /// Takes a new connection: frames are queued again, and numbered on.
    pub(crate) const fn take_link(&mut self) {
        self.link_open = true;
    }

    /// Forgets the numbers of frames, so that a search takes states for one that differ in them.
    #[cfg(feature = "_model")]
    pub(crate) fn forget_sequence(&mut self) {
        self.sequence = Sequence::default();
        for effect in &mut self.queue {
            if let Effect::Send { sequence, .. } = effect {
                *sequence = Sequence::default();
            }
        }
    }

    /// Whether the machine still uses its link.
    pub(crate) const fn link_open(&self) -> bool {
        self.link_open
    }
}

// A deque with the same effects in the same order is the same queue, wherever its ring begins.
#[cfg(feature = "_model")]
impl core::hash::Hash for Outbox {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.queue.len().hash(state);
        for effect in &self.queue {
            effect.hash(state);
        }
        self.sequence.hash(state);
        self.link_open.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outbox_has_room_for_a_step_and_a_loss_or_none() {
        let mut out = Outbox::new();
        for _ in 0..EFFECTS_MAX - STEP_EFFECTS - LOSS_EFFECTS {
            assert!(out.has_room());
            out.push(Effect::Collect);
        }
        assert!(out.has_room());
        out.push(Effect::Collect);
        assert!(!out.has_room());
    }

    #[test]
    fn outbox_without_a_link_drops_frames_alone_and_numbers_on_with_another_link() {
        let mut out = Outbox::new();
        for effect in [Effect::Collect, Effect::ReadRecord] {
            out.send(Frame::Build);
            out.push(effect);
        }
        assert!(out.link_open());
        out.give_up_link();
        out.send(Frame::Build);
        assert!(!out.link_open());
        assert_eq!(out.pop(), Some(Effect::Collect));
        assert_eq!(out.pop(), Some(Effect::ReadRecord));
        assert_eq!((out.pop(), out.last_sequence()), (None, Sequence::new(2)));
        out.take_link();
        out.send(Frame::Recopy);
        let expected = Effect::Send { sequence: Sequence::new(3), frame: Frame::Recopy };
        assert_eq!(out.pop(), Some(expected));
    }
}
