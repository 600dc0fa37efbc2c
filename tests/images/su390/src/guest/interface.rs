//! What the monitor and the guest program agree on: the guest program's own file.
//!
//! Source of truth: `tests/images/guest390/src/interface.rs`. Invariant: both programs compile the
//! same text. Deliberately not here: anything else.

#[path = "../../../guest390/src/interface.rs"]
#[allow(unreachable_pub, dead_code, reason = "the file belongs to two programs")]
mod shared;

pub use shared::*;
