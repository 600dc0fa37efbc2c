//! Guest memory as a migration sees it: which pages the target lacks, runs of pages, storage keys,
//! page states.
//!
//! A bit in a [`DirtyBitmap`] means: the target does not have this page as it is now. Whoever
//! writes guest storage marks; the migration takes runs for sending and puts them back when they
//! were not acknowledged.
//!
//! Source of truth: Principles of Operation, chapter "Storage" (page size, storage key).
//! Invariants: a group is 64 pages on every target, whatever the width of a word. Deliberately
//! not here: page contents (a port moves them) and when to sweep (a policy).

mod bitmap;
mod key;
mod shadow;
mod state;
mod sweep;

#[cfg(not(target_has_atomic = "64"))]
#[path = "word32.rs"]
mod word;
#[cfg(target_has_atomic = "64")]
#[path = "word64.rs"]
mod word;

#[cfg(test)]
#[cfg(target_has_atomic = "64")]
#[expect(
    clippy::duplicate_mod,
    unreachable_pub,
    reason = "the same source, compiled a second time for nothing but its tests"
)]
mod narrow;

pub use bitmap::{BitmapError, DirtyBitmap, OutOfRange};
pub use key::StorageKey;
pub use shadow::{KeyShadow, Noted};
pub use state::{PageState, StateOrder};
pub use sweep::{PageRun, Sweep};
pub use word::{AtomicWord, WORD_BITS};
