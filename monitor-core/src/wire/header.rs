//! The frame header: 48 bytes before each body.
//!
//! Source of truth: PROTOCOL.md, "Header". Invariants: the header's own check value covers the
//! body's, so both together cover the frame; the length is within `limits` once parsed.

use bitflags::bitflags;

use super::{
    checksum::crc32c,
    error::{DecodeError, Fault, Field},
    field::{Reader, Writer},
};
use crate::{
    limits::{BODY_BYTES_MAX, HEADER_BYTES},
    units::{Epoch, Sequence, StreamId},
};

/// First four bytes of each frame: `VMLM` in ASCII.
pub const MAGIC: u32 = 0x564D_4C4D;

/// The oldest version of the protocol that this library speaks.
pub const VERSION_MIN: u16 = 1;

/// The newest version of the protocol that this library speaks.
pub const VERSION_MAX: u16 = 1;

/// Type of a frame that means nothing and is skipped: it takes the place of a frame whose body
/// could not be read, so that the numbers have no gap.
pub const FILLER_TYPE: u16 = 0x7F00;

/// Type of what opens a connection on a serial line; no frame of a stream has it.
pub const CONNECT_TYPE: u16 = 0x7F01;

/// Type of what answers [`CONNECT_TYPE`].
pub const CONNECTED_TYPE: u16 = 0x7F02;

/// Bytes of the header that its check value covers.
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

bitflags! {
    /// Flags of a frame.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct FrameFlags: u16 {
        /// A receiver that does not know the type must end the stream, not skip the frame.
        const MUST_UNDERSTAND = 0x0001;
    }
}

/// Types of frames. Numbers are never reused; zero is never valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
#[expect(missing_docs, reason = "each is the type of the same name in PROTOCOL.md")]
pub enum FrameType {
    Hello = 0x01,
    Abort = 0x02,
    Resume = 0x03,
    Status = 0x04,
    Definition = 0x10,
    Device = 0x11,
    Check = 0x12,
    Build = 0x13,
    Pages = 0x20,
    Keys = 0x21,
    PassEnd = 0x22,
    Processor = 0x23,
    Subchannel = 0x24,
    RehearsalEnd = 0x25,
    LoadEnd = 0x26,
    Recopy = 0x27,
    Machine = 0x28,
    Commit = 0x30,
    Released = 0x31,
    Findings = 0x40,
    Built = 0x41,
    Ack = 0x42,
    Rehearsed = 0x43,
    Ready = 0x50,
    Running = 0x51,
    Completed = 0x52,
    Aborted = 0x53,
}

impl FrameType {
    /// Every type, in the order of the numbers.
    pub const ALL: [Self; 27] = [
        Self::Hello,
        Self::Abort,
        Self::Resume,
        Self::Status,
        Self::Definition,
        Self::Device,
        Self::Check,
        Self::Build,
        Self::Pages,
        Self::Keys,
        Self::PassEnd,
        Self::Processor,
        Self::Subchannel,
        Self::RehearsalEnd,
        Self::LoadEnd,
        Self::Recopy,
        Self::Machine,
        Self::Commit,
        Self::Released,
        Self::Findings,
        Self::Built,
        Self::Ack,
        Self::Rehearsed,
        Self::Ready,
        Self::Running,
        Self::Completed,
        Self::Aborted,
    ];

    /// The number of the type.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "a fieldless enum with its own u16 values")]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The type of this number, or `None`.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A parsed header. The type may be one that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Version of the protocol that the frame follows.
    pub version: u16,
    /// Number of the type; see [`Header::frame_type`].
    pub type_code: u16,
    /// Flags.
    pub flags: FrameFlags,
    /// Bytes of the body.
    pub length: u32,
    /// The attempt that the frame belongs to.
    pub stream: StreamId,
    /// The epoch of the VM's ownership at the source.
    pub epoch: Epoch,
    /// Number of the frame in its direction.
    pub sequence: Sequence,
    /// CRC-32C of the body.
    pub body_check: u32,
}

impl Header {
    /// The 48 bytes of this header.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u32(MAGIC);
        writer.u16(self.version);
        writer.u16(self.type_code);
        writer.u16(self.flags.bits());
        writer.u16(0);
        writer.u32(self.length);
        writer.u64(self.stream.get());
        writer.u64(self.epoch.get());
        writer.u64(self.sequence.get());
        writer.u32(self.body_check);
        let check = crc32c(0, bytes.get(..CHECKED_BYTES).unwrap_or(&[]));
        if let Some(last) = bytes.last_chunk_mut::<4>() {
            *last = check.to_be_bytes();
        }
        bytes
    }

    /// Parses and checks 48 bytes.
    ///
    /// # Errors
    /// Names the first field that is wrong: magic, then the check value, then the others, so that
    /// a foreign stream, a damaged one and a wrong peer are told apart.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u32(Field::Magic)? != MAGIC {
            return Err(DecodeError::new(Fault::Unknown, Field::Magic));
        }
        let check = bytes.last_chunk::<4>().map_or(0, |last| u32::from_be_bytes(*last));
        if crc32c(0, bytes.get(..CHECKED_BYTES).unwrap_or(&[])) != check {
            return Err(DecodeError::new(Fault::Damaged, Field::HeaderCheck));
        }
        let version = reader.u16(Field::Version)?;
        if !(VERSION_MIN..=VERSION_MAX).contains(&version) {
            return Err(DecodeError::new(Fault::Unknown, Field::Version));
        }
        let type_code = reader.u16(Field::Type)?;
        let flags = FrameFlags::from_bits(reader.u16(Field::Flags)?)
            .ok_or(DecodeError::new(Fault::Unknown, Field::Flags))?;
        reader.reserved::<2>()?;
        let length = reader.u32(Field::Length)?;
        if usize::try_from(length).map_or(true, |length| length > BODY_BYTES_MAX) {
            return Err(DecodeError::new(Fault::OutOfRange, Field::Length));
        }
        let header = Self {
            version,
            type_code,
            flags,
            length,
            stream: StreamId::new(reader.u64(Field::Stream)?),
            epoch: Epoch::new(reader.u64(Field::Epoch)?),
            sequence: Sequence::new(reader.u64(Field::Sequence)?),
            body_check: reader.u32(Field::BodyCheck)?,
        };
        header.frame_type().map(|_| header)
    }

    /// The type, or `None` for an unknown one that may be skipped.
    ///
    /// # Errors
    /// Refuses zero, and an unknown type that must be understood.
    pub fn frame_type(&self) -> Result<Option<FrameType>, DecodeError> {
        let kind = FrameType::from_code(self.type_code);
        let skippable = !self.flags.contains(FrameFlags::MUST_UNDERSTAND) && self.type_code != 0;
        if kind.is_none() && !skippable {
            return Err(DecodeError::new(Fault::Unknown, Field::Type));
        }
        Ok(kind)
    }

    /// The length of the body in the platform's size type.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        usize::try_from(self.length).unwrap_or(BODY_BYTES_MAX)
    }
}
