//! Questions to the cluster directory and its answers, each of a fixed length, over a byte stream.
//!
//! For a monitor that reaches the directory through a serial line or a socket and not through a
//! storage of its own. A stream may begin in the midst of a packet, or lose some of it:
//! [`Gatherer`] finds the next whole one.
//!
//! Source of truth: PROTOCOL.md, "Directory"; the golden vectors in `tests/golden/directory`.
//! Invariants: a packet is parsed only when its check value fits; a record that is not there is
//! zeros, and nothing else. Deliberately not here: who asks, when, and how long is waited.

use super::{
    checksum::crc32c,
    error::{DecodeError, Fault, Field},
    field::{Reader, Writer},
};
use crate::{
    units::{Epoch, VmName},
    vm::{DirectoryAnswer, Ownership, Standing},
};

/// First four bytes of each question: `VMDQ` in ASCII.
pub const QUESTION_MAGIC: u32 = 0x564D_4451;

/// First four bytes of each answer: `VMDA` in ASCII.
pub const ANSWER_MAGIC: u32 = 0x564D_4441;

/// Bytes of a question.
pub const QUESTION_BYTES: usize = HEAD_BYTES + VM_BYTES + 2 * RECORD_BYTES + CHECK_BYTES;

/// Bytes of an answer.
pub const ANSWER_BYTES: usize = HEAD_BYTES + RECORD_BYTES + CHECK_BYTES;

/// The version of both.
const VERSION: u16 = 1;

/// Magic, version, operation or kind of answer, number.
const HEAD_BYTES: usize = 4 + 2 + 2 + 8;

/// The name of a VM.
const VM_BYTES: usize = 1 + 8;

/// Standing, epoch, owner.
const RECORD_BYTES: usize = 1 + 8 + 1 + 64;

/// The check value behind everything else.
const CHECK_BYTES: usize = 4;

/// What the directory is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DirectoryOperation {
    /// To say what the record is.
    Read,
    /// To replace the record, if it is as expected.
    CompareAndSet {
        /// The record as it has to be.
        expected: Ownership,
        /// The record as it is to become.
        new: Ownership,
    },
}

/// A question to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DirectoryQuestion {
    /// Chosen by who asks; the answer has the same one.
    pub number: u64,
    /// The VM whose record is meant.
    pub vm: VmName,
    /// What is to be done.
    pub operation: DirectoryOperation,
}

/// An answer of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DirectoryReply {
    /// The number of the question.
    pub number: u64,
    /// What the directory says.
    pub answer: DirectoryAnswer,
}

impl DirectoryQuestion {
    /// The bytes of this question.
    #[must_use]
    pub fn emit(&self) -> [u8; QUESTION_BYTES] {
        let (code, records) = match self.operation {
            DirectoryOperation::Read => (1, [None; 2]),
            DirectoryOperation::CompareAndSet { expected, new } => (2, [Some(expected), Some(new)]),
        };
        let mut bytes = [0; QUESTION_BYTES];
        let mut writer = begun(&mut bytes, QUESTION_MAGIC, code, self.number);
        writer.text(&self.vm);
        for record in records {
            emit_record(&mut writer, record);
        }
        seal(&mut bytes);
        bytes
    }

    /// Parses and checks a question.
    ///
    /// # Errors
    /// Names the first field that is wrong: magic, then the check value, then the others.
    pub fn parse(bytes: &[u8; QUESTION_BYTES]) -> Result<Self, DecodeError> {
        let mut reader = checked(bytes, QUESTION_MAGIC)?;
        let code = reader.u16(Field::Operation)?;
        let number = reader.u64(Field::Number)?;
        let vm = reader.text(Field::VmName)?;
        if vm.is_empty() {
            return Err(DecodeError::new(Fault::Unknown, Field::VmName));
        }
        let operation = match code {
            1 => {
                reader.reserved::<RECORD_BYTES>()?;
                reader.reserved::<RECORD_BYTES>()?;
                DirectoryOperation::Read
            }
            2 => {
                let expected = parse_record(&mut reader)?;
                let new = parse_record(&mut reader)?;
                DirectoryOperation::CompareAndSet { expected, new }
            }
            _ => return Err(DecodeError::new(Fault::Unknown, Field::Operation)),
        };
        Ok(Self { number, vm, operation })
    }
}

impl DirectoryReply {
    /// The bytes of this answer.
    #[must_use]
    pub fn emit(&self) -> [u8; ANSWER_BYTES] {
        let (code, record) = match self.answer {
            DirectoryAnswer::Record(record) => (1, Some(record)),
            DirectoryAnswer::Won => (2, None),
            DirectoryAnswer::Lost(record) => (3, Some(record)),
            DirectoryAnswer::Missing => (4, None),
            DirectoryAnswer::Unreachable => (5, None),
        };
        let mut bytes = [0; ANSWER_BYTES];
        let mut writer = begun(&mut bytes, ANSWER_MAGIC, code, self.number);
        emit_record(&mut writer, record);
        seal(&mut bytes);
        bytes
    }

    /// Parses and checks an answer.
    ///
    /// # Errors
    /// Names the first field that is wrong: magic, then the check value, then the others.
    pub fn parse(bytes: &[u8; ANSWER_BYTES]) -> Result<Self, DecodeError> {
        let mut reader = checked(bytes, ANSWER_MAGIC)?;
        let code = reader.u16(Field::Answer)?;
        let number = reader.u64(Field::Number)?;
        let mut without = |answer| reader.reserved::<RECORD_BYTES>().map(|()| answer);
        let answer = match code {
            1 => DirectoryAnswer::Record(parse_record(&mut reader)?),
            2 => without(DirectoryAnswer::Won)?,
            3 => DirectoryAnswer::Lost(parse_record(&mut reader)?),
            4 => without(DirectoryAnswer::Missing)?,
            5 => without(DirectoryAnswer::Unreachable)?,
            _ => return Err(DecodeError::new(Fault::Unknown, Field::Answer)),
        };
        Ok(Self { number, answer })
    }
}

/// Finds packets of `N` bytes in a stream that may begin anywhere and may have lost bytes.
#[derive(Clone, Debug)]
pub struct Gatherer<const N: usize> {
    magic: u32,
    bytes: [u8; N],
    filled: usize,
}

impl Gatherer<QUESTION_BYTES> {
    /// Finds questions.
    #[must_use]
    pub const fn of_questions() -> Self {
        Self { magic: QUESTION_MAGIC, bytes: [0; QUESTION_BYTES], filled: 0 }
    }
}

impl Gatherer<ANSWER_BYTES> {
    /// Finds answers.
    #[must_use]
    pub const fn of_answers() -> Self {
        Self { magic: ANSWER_MAGIC, bytes: [0; ANSWER_BYTES], filled: 0 }
    }
}

impl<const N: usize> Gatherer<N> {
    /// Takes the next byte of the stream; gives the packet that it completes, whose magic and
    /// check value fit. What cannot be the beginning of one is dropped.
    pub fn take(&mut self, byte: u8) -> Option<[u8; N]> {
        if let Some(place) = self.bytes.get_mut(self.filled) {
            *place = byte;
            self.filled = self.filled.saturating_add(1);
        }
        if self.filled == N && is_sealed(&self.bytes) && self.may_begin() {
            self.filled = 0;
            return Some(self.bytes);
        }
        while self.filled == N || !self.may_begin() {
            self.drop_first();
        }
        None
    }

    /// Forgets what was taken so far: the stream begins anew.
    pub const fn clear(&mut self) {
        self.filled = 0;
    }

    /// Whether what was taken is the beginning of a packet as far as the magic says.
    fn may_begin(&self) -> bool {
        let taken = self.bytes.iter().take(self.filled);
        taken.zip(self.magic.to_be_bytes()).all(|(byte, magic)| *byte == magic)
    }

    fn drop_first(&mut self) {
        let before = self.bytes;
        for (target, source) in self.bytes.iter_mut().zip(before.iter().skip(1)) {
            *target = *source;
        }
        self.filled = self.filled.saturating_sub(1);
    }
}

/// A writer that has written what stands at the beginning of both.
fn begun(bytes: &mut [u8], magic: u32, code: u16, number: u64) -> Writer<'_> {
    let mut writer = Writer::new(bytes);
    writer.u32(magic);
    writer.u16(VERSION);
    writer.u16(code);
    writer.u64(number);
    writer
}

/// Writes the check value behind everything else.
fn seal(bytes: &mut [u8]) {
    if let Some((content, check)) = bytes.split_last_chunk_mut::<CHECK_BYTES>() {
        *check = crc32c(0, content).to_be_bytes();
    }
}

/// Whether the check value fits.
fn is_sealed(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<CHECK_BYTES>()
        .is_some_and(|(content, check)| crc32c(0, content) == u32::from_be_bytes(*check))
}

/// A reader behind magic and version, both of which fit, as the check value does.
fn checked(bytes: &[u8], magic: u32) -> Result<Reader<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.u32(Field::Magic)? != magic {
        return Err(DecodeError::new(Fault::Unknown, Field::Magic));
    }
    if !is_sealed(bytes) {
        return Err(DecodeError::new(Fault::Damaged, Field::Check));
    }
    if reader.u16(Field::Version)? != VERSION {
        return Err(DecodeError::new(Fault::Unknown, Field::Version));
    }
    Ok(reader)
}

/// Writes a record; none is zeros.
fn emit_record(writer: &mut Writer<'_>, record: Option<Ownership>) {
    let Some(Ownership { owner, epoch, standing }) = record else {
        writer.bytes(&[0; RECORD_BYTES]);
        return;
    };
    writer.u8(match standing {
        Standing::Claimed => 1,
        Standing::Running => 2,
    });
    writer.u64(epoch.get());
    writer.text(&owner);
}

fn parse_record(reader: &mut Reader<'_>) -> Result<Ownership, DecodeError> {
    let standing = match reader.u8(Field::Standing)? {
        1 => Standing::Claimed,
        2 => Standing::Running,
        _ => return Err(DecodeError::new(Fault::Unknown, Field::Standing)),
    };
    let epoch = Epoch::new(reader.u64(Field::Epoch)?);
    let owner = reader.text(Field::Owner)?;
    if owner.is_empty() {
        return Err(DecodeError::new(Fault::Unknown, Field::Owner));
    }
    Ok(Ownership { owner, epoch, standing })
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
