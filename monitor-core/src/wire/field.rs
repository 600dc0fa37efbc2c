//! Cursors that read and write big-endian fields and never index.
//!
//! Invariant: a reader that failed has said which field failed; a writer that ran out of room
//! stays full, and `finish` tells. Deliberately not here: any knowledge of frames.

use super::error::{DecodeError, Fault, Field};
use crate::units::Text;

/// Reads fields from the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// `Truncated` when there are fewer.
    pub const fn array<const N: usize>(&mut self, field: Field) -> Result<[u8; N], DecodeError> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::new(Fault::Truncated, field));
        };
        self.rest = tail;
        Ok(*head)
    }

    /// The next byte.
    ///
    /// # Errors
    /// `Truncated` when there is none.
    pub fn u8(&mut self, field: Field) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(u8::from_be_bytes)
    }

    /// The next 2 bytes as a number.
    ///
    /// # Errors
    /// `Truncated` when there are fewer.
    pub fn u16(&mut self, field: Field) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// The next 4 bytes as a number.
    ///
    /// # Errors
    /// `Truncated` when there are fewer.
    pub fn u32(&mut self, field: Field) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// The next 8 bytes as a number.
    ///
    /// # Errors
    /// `Truncated` when there are fewer.
    pub fn u64(&mut self, field: Field) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A text: one byte of length, then `N` bytes, those behind the length zero.
    ///
    /// # Errors
    /// `Truncated`, or `Unknown` when it is no text of printable ASCII.
    pub fn text<const N: usize>(&mut self, field: Field) -> Result<Text<N>, DecodeError> {
        let length = usize::from(self.u8(field)?);
        let bytes: [u8; N] = self.array(field)?;
        let unknown = DecodeError::new(Fault::Unknown, field);
        let (used, padding) = bytes.split_at_checked(length).ok_or(unknown)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(DecodeError::new(Fault::NotZero, field));
        }
        Text::from_bytes(used).ok_or(unknown)
    }

    /// Reads `N` reserved bytes.
    ///
    /// # Errors
    /// `Truncated`, or `NotZero`.
    pub fn reserved<const N: usize>(&mut self) -> Result<(), DecodeError> {
        let bytes: [u8; N] = self.array(Field::Reserved)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(DecodeError::new(Fault::NotZero, Field::Reserved));
        }
        Ok(())
    }

    /// All bytes that are left.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends reading.
    ///
    /// # Errors
    /// `Trailing` when bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::new(Fault::Trailing, Field::Body))
        }
    }
}

/// Writes fields to the front of a byte slice.
#[derive(Debug)]
pub struct Writer<'a> {
    target: &'a mut [u8],
    length: usize,
    full: bool,
}

impl<'a> Writer<'a> {
    /// A writer into these bytes.
    #[must_use]
    pub const fn new(target: &'a mut [u8]) -> Self {
        Self { target, length: 0, full: false }
    }

    /// Writes these bytes.
    pub fn bytes(&mut self, source: &[u8]) {
        let end = self.length.saturating_add(source.len());
        let Some(target) = self.target.get_mut(self.length..end) else {
            self.full = true;
            return;
        };
        for (byte, value) in target.iter_mut().zip(source) {
            *byte = *value;
        }
        self.length = end;
    }

    /// Writes one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a number of 2 bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a number of 4 bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a number of 8 bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a text: one byte of length, then `N` bytes, padded with zeros.
    pub fn text<const N: usize>(&mut self, text: &Text<N>) {
        let used = text.as_bytes();
        self.u8(u8::try_from(used.len()).unwrap_or(0));
        self.bytes(used);
        for _ in used.len()..N {
            self.u8(0);
        }
    }

    /// The number of bytes written, or `None` when there was not enough room.
    #[must_use]
    pub const fn finish(self) -> Option<usize> {
        if self.full { None } else { Some(self.length) }
    }
}
