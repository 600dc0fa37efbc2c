//! The bitmap's source once more, over words of 32 bits, as a target without 64-bit atomics has
//! it; its own tests run here a second time.
//!
//! Source of truth: `bitmap.rs` and `word32.rs`. Invariant: only the word differs. Deliberately
//! not here: anything of its own.

use super::sweep;

#[path = "bitmap.rs"]
mod bitmap;
#[path = "word32.rs"]
mod word;
