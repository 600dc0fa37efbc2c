//! The word of a dirty bitmap on targets with atomics of 64 bits.
//!
//! This file and `word32.rs` alone name atomics, so that the bitmap's source can be compiled
//! over the other width, or over the atomics of a model checker.
//!
//! Source of truth: `target_has_atomic` of the compiler. Invariant: the words of a group, in
//! ascending order of pages, hold its 64 bits exactly. Deliberately not here: any algorithm.

pub(super) use core::sync::atomic::Ordering;

/// The unit of storage that is lent to a dirty bitmap.
pub type AtomicWord = core::sync::atomic::AtomicU64;

/// Bits of an [`AtomicWord`].
pub const WORD_BITS: u32 = Word::BITS;

/// The plain value of an [`AtomicWord`].
pub(super) type Word = u64;

/// Words that hold the bits of one group of pages.
pub(super) const GROUP_WORDS: usize = 1;

/// The words of a group whose bits are `mask`.
pub(super) const fn split(mask: u64) -> [Word; GROUP_WORDS] {
    [mask]
}

/// The bits of a group that has these words.
pub(super) const fn join([mask]: [Word; GROUP_WORDS]) -> u64 {
    mask
}
