//! What the fixed-block disks hold before the first sequence.
//!
//! Source of truth: this file. Invariant: no two blocks of the pattern are alike. Deliberately not
//! here: the count-key-data disk, which the sequences format themselves.

/// Blocks of the disk.
pub const BLOCK_COUNT: u32 = 2000;
/// Blocks that hold the pattern, from the first one on; the others are zero.
pub const PATTERN_BLOCK_COUNT: u32 = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: u32 = 512;

/// The byte at this place of the pattern.
#[must_use]
pub fn pattern(offset: u32) -> u8 {
    let [.., high, low] = (offset.wrapping_mul(0x9E37) ^ offset >> 9).to_be_bytes();
    high ^ low
}
