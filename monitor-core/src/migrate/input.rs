//! What can come in, and what the machines answer to input that they cannot take.
//!
//! Source of truth: ARCHITECTURE.md, "Machines". Invariant: everything that the outside tells a
//! machine is one of these values; a deadline that has passed is one of them, so a machine needs
//! no clock.

use core::fmt;

use crate::{
    units::{Epoch, StreamId},
    vm::{DirectoryAnswer, GuestAnswer, Operation},
    wire::{DecodeError, Frame, FrameType},
};

/// A frame that arrived whole and undamaged, in its place in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Arrival {
    /// The attempt that it names.
    pub stream: StreamId,
    /// The epoch that it names.
    pub epoch: Epoch,
    /// Its number.
    pub sequence: u64,
    /// What it says.
    pub frame: Frame,
}

/// What is wrong with the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkFault {
    /// It was cut, or the peer closed it.
    Cut,
    /// It carried bytes that are no frame; the field is named.
    Damaged(DecodeError),
    /// A frame is missing or came twice.
    Gap,
    /// The peer sent what it may not send now.
    OutOfPhase(FrameType),
}

/// What comes in from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Input {
    /// A frame from the peer.
    Frame(Arrival),
    /// The guest answered.
    Guest(GuestAnswer),
    /// An operation has succeeded.
    Done(Operation),
    /// An operation has failed.
    Failed(Operation),
    /// The cluster directory answered.
    Directory(DirectoryAnswer),
    /// The target's check found this many obstacles.
    Checked(u16),
    /// The target has stored the bulk of the frame with this number.
    Stored(u64),
    /// The present connection is lost.
    LinkLost(LinkFault),
    /// A new connection stands in its place.
    LinkUp,
    /// The deadline of `poll_deadline` has passed.
    Deadline,
}

/// The kind of an input, for tables, logs and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(missing_docs, reason = "each is the kind of the input of the same name")]
pub enum InputKind {
    Frame(u16),
    Guest,
    Done,
    Failed,
    Directory,
    Checked,
    Stored,
    LinkLost,
    LinkUp,
    Deadline,
    Command,
}

impl Input {
    /// The kind of this input.
    #[must_use]
    pub const fn kind(&self) -> InputKind {
        match self {
            Self::Frame(arrival) => InputKind::Frame(arrival.frame.frame_type().code()),
            Self::Guest(_) => InputKind::Guest,
            Self::Done(_) => InputKind::Done,
            Self::Failed(_) => InputKind::Failed,
            Self::Directory(_) => InputKind::Directory,
            Self::Checked(_) => InputKind::Checked,
            Self::Stored(_) => InputKind::Stored,
            Self::LinkLost(_) => InputKind::LinkLost,
            Self::LinkUp => InputKind::LinkUp,
            Self::Deadline => InputKind::Deadline,
        }
    }
}

/// Why a machine did not take an input or a command. The machine is unchanged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StepError<Phase> {
    /// The input has no meaning in this phase.
    OutOfPhase {
        /// The phase.
        phase: Phase,
        /// The input.
        input: InputKind,
    },
    /// The frame belongs to another attempt or another epoch.
    Foreign,
    /// The frame names a page, device, processor or load that this VM does not have.
    Mismatch,
    /// Effects of earlier steps must be taken first.
    EffectsPending,
}

impl<Phase: fmt::Debug> fmt::Display for StepError<Phase> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfPhase { phase, input } => {
                write!(formatter, "input {input:?} has no meaning in phase {phase:?}")
            }
            Self::Foreign => formatter.write_str("frame of another attempt"),
            Self::Mismatch => formatter.write_str("frame does not fit this VM"),
            Self::EffectsPending => formatter.write_str("effects of earlier steps are pending"),
        }
    }
}

impl<Phase: fmt::Debug> core::error::Error for StepError<Phase> {}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn refusals_say_why_an_input_is_not_taken() {
        let refused = StepError::OutOfPhase { phase: 7, input: InputKind::Command };
        assert_eq!(format!("{refused}"), "input Command has no meaning in phase 7");
        assert_eq!(format!("{}", StepError::<u8>::Foreign), "frame of another attempt");
        assert_eq!(format!("{}", StepError::<u8>::Mismatch), "frame does not fit this VM");
        let pending = StepError::<u8>::EffectsPending;
        assert_eq!(format!("{pending}"), "effects of earlier steps are pending");
    }
}
