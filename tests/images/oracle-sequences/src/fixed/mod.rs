//! The fixed sequences, by theme.
//!
//! Source of truth: Principles of Operation, "I/O Instructions", "Basic I/O Functions", "Storage
//! Key"; for disks and adapters the commands of 3990, 9336, 3215 and 3088. Invariant: the order is
//! always the same, and names are unique. Deliberately not here: what the right outcome is.

mod chaining;
pub(crate) mod ckd;
mod commands;
mod console;
mod ctc;
mod eckd;
pub(crate) mod fba;
mod functions;
mod indirect;
mod keys;
mod protection;
mod suspension;

use crate::sequence::Sequence;

/// What takes the sequences, one after the other.
pub type Tell<'a> = dyn FnMut(&Sequence) + 'a;

/// Every theme.
const THEMES: [fn(&mut Tell<'_>); 13] = [
    keys::all,
    commands::all,
    chaining::all,
    indirect::all,
    protection::all,
    suspension::all,
    functions::all,
    commands::paths,
    fba::all,
    ckd::all,
    eckd::all,
    console::all,
    ctc::all,
];

/// Tells all fixed sequences.
pub fn all(tell: &mut Tell<'_>) {
    for theme in THEMES {
        theme(tell);
    }
}
