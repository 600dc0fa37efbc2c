//! Random numbers whose whole state is a number and a count: SplitMix64.
//!
//! Invariant: after `n` steps the state is the seed plus `n` times [`STEP`]. Deliberately not here:
//! any seed.

/// What the state grows by in each step.
pub const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Scrambles a number (the finalizer of SplitMix64).
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let one = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    two ^ (two >> 31)
}

/// Steps the state and gives the next random number.
pub const fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(STEP);
    mix(*state)
}
