//! The word of a dirty bitmap on targets whose atomics have 32 bits.
//!
//! Source of truth, invariant and limits: as in `word64.rs`, which has the same items.

pub(super) use core::sync::atomic::Ordering;

/// The unit of storage that is lent to a dirty bitmap.
pub type AtomicWord = core::sync::atomic::AtomicU32;

/// Bits of an [`AtomicWord`].
pub const WORD_BITS: u32 = Word::BITS;

/// The plain value of an [`AtomicWord`].
pub(super) type Word = u32;

/// Words that hold the bits of one group of pages.
pub(super) const GROUP_WORDS: usize = 2;

/// The words of a group whose bits are `mask`.
pub(super) const fn split(mask: u64) -> [Word; GROUP_WORDS] {
    let [a, b, c, d, e, f, g, h] = mask.to_be_bytes();
    [Word::from_be_bytes([e, f, g, h]), Word::from_be_bytes([a, b, c, d])]
}

/// The bits of a group that has these words.
pub(super) const fn join([low, high]: [Word; GROUP_WORDS]) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (high.to_be_bytes(), low.to_be_bytes());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
