//! Where the connection to the other end stands, for both machines.
//!
//! Source of truth: PROTOCOL.md, "Lost connections". Invariants: frames go out only on a line
//! that is up, but for RESUME; the moment of the loss is kept until the other end has answered,
//! so that a line that comes and goes does not prolong the attempt. Deliberately not here: what
//! a loss means in a phase.

use crate::units::{Micros, Tick};

/// The connection, as a machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    /// It carries frames.
    Up,
    /// It was lost then; a new one is wanted.
    Down {
        /// When it was lost first.
        lost: Tick,
    },
    /// A new one stands; RESUME was sent (source), or is awaited (target).
    Greeting {
        /// When the former one was lost.
        lost: Tick,
        /// When the new one stood.
        since: Tick,
    },
    /// It was given up for the rest of the attempt.
    Gone,
}

impl Line {
    /// Whether frames of the attempt may go out.
    pub(crate) const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// Whether a new connection is wanted.
    pub(crate) const fn wants_link(self) -> bool {
        matches!(self, Self::Down { .. })
    }

    /// Whether the other end is to answer on a new connection.
    pub(crate) const fn is_greeting(self) -> bool {
        matches!(self, Self::Greeting { .. })
    }

    /// When the connection was lost, if it is not up again.
    pub(crate) const fn lost(self) -> Option<Tick> {
        match self {
            Self::Down { lost } | Self::Greeting { lost, .. } => Some(lost),
            Self::Up | Self::Gone => None,
        }
    }

    /// The line after a loss.
    pub(crate) const fn after_loss(self, now: Tick) -> Self {
        match self {
            Self::Down { lost } | Self::Greeting { lost, .. } => Self::Down { lost },
            Self::Up => Self::Down { lost: now },
            Self::Gone => Self::Gone,
        }
    }

    /// The line when a new connection stands.
    pub(crate) const fn connected(self, now: Tick) -> Self {
        match self {
            Self::Down { lost } => Self::Greeting { lost, since: now },
            Self::Up | Self::Greeting { .. } | Self::Gone => self,
        }
    }

    /// When patience ends: with a peer that is silent on a line that is up, or with a line that
    /// does not come back.
    pub(crate) fn deadline(self, heard: Tick, peer_answer: Micros, reconnect: Micros) -> Tick {
        self.lost().map_or_else(|| heard.after(peer_answer), |lost| lost.after(reconnect))
    }
}
