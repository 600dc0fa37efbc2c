//! Versioned blocks: the tag-version-length-value form in which images of state are sent.
//!
//! Source of truth: PROTOCOL.md ("Blocks"). A block is a head of 8 bytes, all big-endian (tag 2,
//! version 2, length of the value 4), and its value. Bit 15 of the tag says that the receiver must
//! understand the block; the other bits are its number, which is never used for another purpose.
//!
//! Invariants: numbers ascend strictly, so no block comes twice and one image has one encoding;
//! number 0 does not occur, so zeros mean nothing. A block whose number or version is unknown is
//! skipped, or refused when it must be understood. A value has exactly the length of its version:
//! what is added later becomes a block of its own.
//!
//! Deliberately not here: what the blocks mean, which is said where the images are.

use super::field::Writer;
use core::fmt;

/// Bit of a tag: a receiver that does not know this block must refuse the image.
pub const MUST_UNDERSTAND: u16 = 0x8000;

/// Bytes of the head of a block.
pub const BLOCK_HEAD_BYTES: usize = 8;

/// Why an image cannot be encoded or decoded; each names the tag of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ImageError {
    /// The buffer for the encoding ends before this block does.
    NoRoom(u16),
    /// The encoding is longer than an image of this kind may be.
    TooLong,
    /// The encoding ends inside this block; 0 when its head is not whole.
    Truncated(u16),
    /// The block must be understood and is unknown, or its version is.
    Unknown(u16),
    /// The value has not the length of its version.
    WrongLength(u16),
    /// The block comes for the second time.
    Duplicate(u16),
    /// The block comes after one of a higher number, or has number 0.
    OutOfOrder(u16),
    /// The block is not there and there is no image without it.
    Missing(u16),
    /// The value holds something that has no meaning.
    Invalid(u16),
}

impl fmt::Display for ImageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom(tag) => write!(formatter, "no room for block {tag:#06x}"),
            Self::TooLong => formatter.write_str("image too long"),
            Self::Truncated(tag) => write!(formatter, "image ends inside block {tag:#06x}"),
            Self::Unknown(tag) => write!(formatter, "block {tag:#06x} is not understood"),
            Self::WrongLength(tag) => write!(formatter, "wrong length of block {tag:#06x}"),
            Self::Duplicate(tag) => write!(formatter, "block {tag:#06x} comes twice"),
            Self::OutOfOrder(tag) => write!(formatter, "block {tag:#06x} is out of order"),
            Self::Missing(tag) => write!(formatter, "block {tag:#06x} is missing"),
            Self::Invalid(tag) => write!(formatter, "block {tag:#06x} holds an invalid value"),
        }
    }
}

impl core::error::Error for ImageError {}

/// Tag, version and length of one kind of block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BlockHead {
    /// Number, with [`MUST_UNDERSTAND`] where that is so.
    pub tag: u16,
    /// Version of the layout of the value, from 1.
    pub version: u16,
    /// Bytes of the value.
    pub length: usize,
}

/// Writes blocks one behind the other into a lent buffer.
#[derive(Debug)]
pub struct BlockWriter<'b> {
    target: &'b mut [u8],
    length: usize,
}

impl<'b> BlockWriter<'b> {
    /// A writer at the beginning of `target`.
    #[must_use]
    pub const fn new(target: &'b mut [u8]) -> Self {
        Self { target, length: 0 }
    }

    /// Writes one block, whose value `fill` must fill completely.
    ///
    /// # Errors
    /// Fails when the buffer has no room left, or when `fill` writes fewer or more bytes.
    pub fn write(
        &mut self,
        head: BlockHead,
        fill: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), ImageError> {
        let no_room = ImageError::NoRoom(head.tag);
        let wrong_length = ImageError::WrongLength(head.tag);
        let room = self.target.get_mut(self.length..).ok_or(no_room)?;
        let (front, rest) = room.split_first_chunk_mut::<BLOCK_HEAD_BYTES>().ok_or(no_room)?;
        let value = rest.get_mut(..head.length).ok_or(no_room)?;
        let mut head_writer = Writer::new(front);
        head_writer.u16(head.tag);
        head_writer.u16(head.version);
        head_writer.u32(u32::try_from(head.length).map_err(|_| wrong_length)?);
        let mut value_writer = Writer::new(value);
        fill(&mut value_writer);
        if value_writer.finish() != Some(head.length) {
            return Err(wrong_length);
        }
        self.length = self.length.saturating_add(BLOCK_HEAD_BYTES).saturating_add(head.length);
        Ok(())
    }

    /// The number of bytes written so far.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }
}

/// One block as it was received; head and value are whole, nothing else is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block<'b> {
    /// Number, with [`MUST_UNDERSTAND`] where that is so.
    pub tag: u16,
    /// Version of the layout of the value.
    pub version: u16,
    /// The value.
    pub value: &'b [u8],
}

impl<'b> Block<'b> {
    /// The number without [`MUST_UNDERSTAND`].
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.tag & !MUST_UNDERSTAND
    }

    /// A reader of the value.
    ///
    /// # Errors
    /// Fails when the value is not `length` bytes long.
    pub const fn fields(&self, length: usize) -> Result<FieldReader<'b>, ImageError> {
        if self.value.len() == length {
            Ok(FieldReader::new(self.value))
        } else {
            Err(ImageError::WrongLength(self.tag))
        }
    }

    /// Passes over a block that is unknown.
    ///
    /// # Errors
    /// Fails when the block must be understood.
    pub const fn skip(&self) -> Result<(), ImageError> {
        if self.tag & MUST_UNDERSTAND == 0 { Ok(()) } else { Err(ImageError::Unknown(self.tag)) }
    }
}

/// Reads blocks one behind the other; gives each number once, in ascending order.
#[derive(Clone, Debug)]
pub struct BlockReader<'b> {
    rest: &'b [u8],
    last_number: u16,
}

impl<'b> BlockReader<'b> {
    /// A reader at the beginning of `source`.
    #[must_use]
    pub const fn new(source: &'b [u8]) -> Self {
        Self { rest: source, last_number: 0 }
    }

    /// The next block, or `None` behind the last one.
    ///
    /// # Errors
    /// Fails when the source ends inside a block, or the numbers do not ascend.
    pub fn next_block(&mut self) -> Result<Option<Block<'b>>, ImageError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (front, rest) =
            self.rest.split_first_chunk::<BLOCK_HEAD_BYTES>().ok_or(ImageError::Truncated(0))?;
        let mut head = FieldReader::new(front);
        let (tag, version, length) = (head.u16(), head.u16(), head.u32());
        let truncated = ImageError::Truncated(tag);
        let length = usize::try_from(length).map_err(|_| truncated)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(truncated)?;
        let block = Block { tag, version, value };
        let number = block.number();
        if number == 0 || number < self.last_number {
            return Err(ImageError::OutOfOrder(tag));
        }
        if number == self.last_number {
            return Err(ImageError::Duplicate(tag));
        }
        self.last_number = number;
        self.rest = rest;
        Ok(Some(block))
    }
}

/// Reads big-endian fields one behind the other. What is not there reads as zero, so the caller
/// makes sure of the length before.
#[derive(Clone, Debug)]
pub struct FieldReader<'b> {
    rest: &'b [u8],
}

impl<'b> FieldReader<'b> {
    /// A reader at the beginning of `source`.
    #[must_use]
    pub const fn new(source: &'b [u8]) -> Self {
        Self { rest: source }
    }

    /// Reads `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        if let Some((field, rest)) = self.rest.split_first_chunk() {
            self.rest = rest;
            *field
        } else {
            [0; N]
        }
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.bytes())
    }

    /// Reads two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    /// Reads four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    /// Reads eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// Reads `N` words of four bytes.
    pub fn u32s<const N: usize>(&mut self) -> [u32; N] {
        core::array::from_fn(|_| self.u32())
    }

    /// Reads `N` doublewords of eight bytes.
    pub fn u64s<const N: usize>(&mut self) -> [u64; N] {
        core::array::from_fn(|_| self.u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: BlockHead = BlockHead { tag: 0x8002, version: 1, length: 4 };

    #[test]
    fn a_block_is_head_and_value_in_big_endian() {
        let mut buffer = [0xEE; 16];
        let mut writer = BlockWriter::new(&mut buffer);
        assert_eq!(writer.write(WORD, |value| value.u32(0x0102_0304)), Ok(()));
        assert_eq!(writer.length(), 12);
        assert_eq!(buffer[..12], [0x80, 2, 0, 1, 0, 0, 0, 4, 1, 2, 3, 4]);
        assert_eq!(buffer[12..], [0xEE; 4]);
    }

    #[test]
    fn writer_refuses_a_value_of_another_length_and_a_short_buffer() {
        let mut buffer = [0; 12];
        let mut writer = BlockWriter::new(&mut buffer);
        let wrong = Err(ImageError::WrongLength(0x8002));
        assert_eq!(writer.write(WORD, |value| value.u16(1)), wrong);
        assert_eq!(writer.write(WORD, |value| value.u64(1)), wrong);
        assert_eq!(writer.length(), 0);
        let mut writer = BlockWriter::new(&mut buffer[..11]);
        assert_eq!(writer.write(WORD, |value| value.u32(1)), Err(ImageError::NoRoom(0x8002)));
    }

    #[test]
    fn reader_refuses_numbers_that_do_not_ascend() {
        let next = |bytes: &[u8]| {
            let mut reader = BlockReader::new(bytes);
            reader.next_block().and_then(|_| reader.next_block()).map(|_| ())
        };
        let head = |tag: u8| [0x80, tag, 0, 1, 0, 0, 0, 0];
        assert_eq!(next(&[head(1), head(2)].concat()), Ok(()));
        assert_eq!(next(&[head(2), head(2)].concat()), Err(ImageError::Duplicate(0x8002)));
        assert_eq!(next(&[head(2), head(1)].concat()), Err(ImageError::OutOfOrder(0x8001)));
        assert_eq!(next(&head(0)), Err(ImageError::OutOfOrder(0x8000)));
    }

    #[test]
    fn duplicate_is_found_whether_or_not_it_must_be_understood() {
        let bytes = [0x80, 2, 0, 1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0];
        let mut reader = BlockReader::new(&bytes);
        assert!(matches!(reader.next_block(), Ok(Some(_))));
        assert_eq!(reader.next_block(), Err(ImageError::Duplicate(2)));
    }

    #[test]
    fn reader_finds_every_truncation() {
        let bytes = [0x80, 2, 0, 1, 0, 0, 0, 4, 1, 2, 3, 4];
        for length in 1..bytes.len() {
            let expected = if length < BLOCK_HEAD_BYTES { 0 } else { 0x8002 };
            let outcome = BlockReader::new(&bytes[..length]).next_block();
            assert_eq!(outcome, Err(ImageError::Truncated(expected)), "{length} bytes");
        }
        let huge = [0x80, 2, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF];
        let outcome = BlockReader::new(&huge).next_block();
        assert_eq!(outcome, Err(ImageError::Truncated(0x8002)));
    }
}
