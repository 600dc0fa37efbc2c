//! The word of a dirty bitmap over the atomics of loom.
//!
//! Source of truth, invariant and limits: as in monitor-core's `word64.rs`, which has the same
//! items.

pub(super) use loom::sync::atomic::Ordering;

/// The unit of storage that is lent to a dirty bitmap.
pub type AtomicWord = loom::sync::atomic::AtomicU64;

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
