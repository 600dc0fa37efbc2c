//! Body of a STATUS frame: where the target stands, for a source whose connection was lost.
//!
//! Source of truth: PROTOCOL.md, "STATUS". Invariants: a status stands for every frame of the
//! target that may have been lost; asking for it changes nothing that decides. "Unknown" says
//! nothing about a load: it is never taken for "dropped".

use super::error::{DecodeError, Fault, Field};
use super::field::{Reader, Writer};
use crate::{units::Incarnation, vm::Reason};

/// Where the load of an attempt stands on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LoadState {
    /// The target knows nothing of the attempt.
    Unknown,
    /// Pages and state arrive.
    Receiving,
    /// Everything has arrived: READY.
    Loaded,
    /// COMMIT has come; the record is being claimed, or the VM is being started.
    Claiming,
    /// The VM runs on the target: RUNNING.
    Running,
    /// The guest has reported itself ready: COMPLETED.
    Completed,
    /// Nothing of the load can run any more: ABORTED.
    Dropped(Reason),
    /// The load is being given up; ABORTED will follow.
    Ending,
}

impl LoadState {
    const fn code(self) -> u16 {
        match self {
            Self::Unknown => 1,
            Self::Receiving => 2,
            Self::Loaded => 3,
            Self::Claiming => 4,
            Self::Running => 5,
            Self::Completed => 6,
            Self::Dropped(_) => 7,
            Self::Ending => 8,
        }
    }

    const fn reason_code(self) -> u16 {
        match self {
            Self::Dropped(reason) => reason.code(),
            Self::Unknown
            | Self::Receiving
            | Self::Loaded
            | Self::Claiming
            | Self::Running
            | Self::Completed
            | Self::Ending => 0,
        }
    }
}

/// What the target answers to RESUME.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Status {
    /// Where the load stands.
    pub state: LoadState,
    /// Which load.
    pub incarnation: Incarnation,
    /// The last frame of the source that is stored, as an ACK names it.
    pub stored: u64,
}

impl Status {
    /// Writes the body.
    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        writer.u16(self.state.code());
        writer.u16(self.state.reason_code());
        writer.u64(self.incarnation.get());
        writer.u64(self.stored);
    }

    /// Reads the body.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.u16(Field::LoadState)?;
        let reason = reader.u16(Field::Reason)?;
        let state = match code {
            1 => LoadState::Unknown,
            2 => LoadState::Receiving,
            3 => LoadState::Loaded,
            4 => LoadState::Claiming,
            5 => LoadState::Running,
            6 => LoadState::Completed,
            7 => LoadState::Dropped(
                Reason::from_code(reason).ok_or(DecodeError::new(Fault::Unknown, Field::Reason))?,
            ),
            8 => LoadState::Ending,
            _ => return Err(DecodeError::new(Fault::Unknown, Field::LoadState)),
        };
        if state.reason_code() != reason {
            return Err(DecodeError::new(Fault::NotZero, Field::Reason));
        }
        let incarnation = Incarnation::new(reader.u64(Field::Incarnation)?);
        let stored = reader.u64(Field::Sequence)?;
        Ok(Self { state, incarnation, stored })
    }
}
