//! Why a CKD disk ends a command with unit check, and the sense bytes that say so.
//!
//! Source of truth: 3990 Storage Control Reference, "Sense data" (32 bytes). Invariant: sense
//! bytes 0 and 1 and the message of byte 7 tell one reason. Deliberately not here: who keeps the
//! sense bytes.

use super::track::Track;
use crate::machine::device::Sense;
use std::io;

/// Why a command ends with unit check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The disk has no such command.
    InvalidCommand,
    /// The command may not stand here in the channel program.
    InvalidSequence,
    /// The command has fewer bytes of parameters than it needs.
    ShortParameters,
    /// The parameters make no sense.
    InvalidParameter,
    /// The reservation of this path was taken away.
    ResetNotification,
    /// The file mask or the extent forbids it.
    FileProtected,
    /// No record on the track is the wanted one.
    NoRecordFound,
    /// A multitrack operation has come to the end of the cylinder.
    EndOfCylinder,
    /// A record does not fit, or the track has changed under the channel program.
    InvalidTrackFormat,
    /// The image cannot be read or written.
    Equipment,
}

impl From<io::Error> for Check {
    fn from(_: io::Error) -> Self {
        Self::Equipment
    }
}

impl Check {
    /// Sense bytes 0, 1 and 7.
    const fn reason(self) -> [u8; 3] {
        match self {
            Self::InvalidCommand => [0x80, 0, 0x01],
            Self::InvalidSequence => [0x80, 0, 0x02],
            Self::ShortParameters => [0x80, 0, 0x03],
            Self::InvalidParameter => [0x80, 0, 0x04],
            Self::ResetNotification => [0x80, 0, 0x08],
            Self::FileProtected => [0, 0x04, 0],
            Self::NoRecordFound => [0, 0x08, 0],
            Self::EndOfCylinder => [0, 0x20, 0],
            Self::InvalidTrackFormat => [0, 0x40, 0],
            Self::Equipment => [0x10, 0, 0x10],
        }
    }

    /// The sense bytes, for a disk with its arm on `track`.
    pub(super) const fn sense(self, track: Track) -> Sense {
        let mut sense = no_error(track);
        [sense[0], sense[1], sense[7]] = self.reason();
        sense
    }
}

/// The sense bytes when there is nothing to say.
pub(super) const fn no_error(track: Track) -> Sense {
    let mut sense = [0; 32];
    let [high, low] = track.cylinder.to_be_bytes();
    let [_, head] = track.head.to_be_bytes();
    sense[5] = low;
    sense[6] = high << 4 | head;
    // The same as in the 24 bytes of older control units.
    sense[27] = 0x80;
    [sense[29], sense[30], sense[31]] = [high, low, head];
    sense
}
