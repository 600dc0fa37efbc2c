//! What the fuzz targets do with their bytes: functions from any bytes to nothing, which panic
//! when something is wrong.
//!
//! They are here and not in the package of the fuzz targets, so that plain tests can run them
//! too: over the corpus that is checked in, and over bytes at random.
//!
//! Source of truth: `tests/fuzz/README.md` for how they are run. Invariants: a function depends
//! on its bytes alone; bytes that have run out end a course, so that every prefix of an input is
//! an input. Deliberately not here: what may not happen to a machine ([`crate::machines`]).

mod bodies;
mod bytes;
mod frame;
mod images;
mod line;
mod machine;
mod seeds;
mod stream;

pub use frame::frame;
pub use images::images;
pub use line::line;
pub use machine::{source_course, target_course};
pub use seeds::{source_seeds, target_seeds};
pub use stream::{DriverPhase, stream_course};

/// What a fuzz target does with its bytes.
pub type Body = fn(&[u8]);

/// Every fuzz target: the name of its corpus, and what it does.
pub const TARGETS: [(&str, Body); 6] = [
    ("frame", frame),
    ("images", images),
    ("line", line),
    ("stream", stream),
    ("source", source),
    ("target", target),
];

/// Takes bytes as a course of the source machine.
///
/// # Panics
/// When a rule is broken.
pub fn source(data: &[u8]) {
    let _ = source_course(data);
}

/// Takes bytes as a course of the target machine.
///
/// # Panics
/// When a rule is broken.
pub fn target(data: &[u8]) {
    let _ = target_course(data);
}

/// Takes bytes as what happens to a driver of either end.
///
/// # Panics
/// When a driver breaks a rule.
pub fn stream(data: &[u8]) {
    let _ = stream_course(data);
}
