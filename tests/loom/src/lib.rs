//! The dirty bitmap of monitor-core over the atomics of loom, and scenarios for it.
//!
//! The crate compiles the bitmap's own source, once as it is and once with each of the faults that
//! `build.rs` plants; its tests let loom try every order in which the threads of a scenario can
//! act, with every value that a load may see.
//!
//! Source of truth: the section "Order" in the head of `memory/bitmap.rs`. Invariant: nothing of
//! the bitmap is written down here a second time but the word, which is loom's. Deliberately not
//! here: long random courses on one thread, which are property tests.

#[path = "../../../monitor-core/src/limits.rs"]
pub mod limits;
pub mod memory;
pub mod scenario;
#[path = "../../../monitor-core/src/units.rs"]
pub mod units;
