//! Sequences that a seed decides.
//!
//! Source of truth: SplitMix64 (Steele, Lea, Flood 2014). Invariant: a seed makes the same sequence
//! on every machine. Deliberately not here: what is special, see [`crate::fixed`].

use crate::sequence::Sequence;
use crate::step::Unit;

/// The sequence of a seed.
#[must_use]
pub fn sequence(seed: u64) -> Sequence {
    Sequence::new(Unit::Plain, format_args!("random/{seed}"))
}
