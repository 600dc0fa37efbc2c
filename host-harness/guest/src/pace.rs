//! The pace of a workload: how much is due at which time.
//!
//! Parameters and state are in the first words of the workload's control block, and move with it.
//!
//! Source of truth: this file. Invariant: a stop is not followed by a burst; what was missed
//! beyond [`CATCH_UP_US`] is forgotten. Deliberately not here: the work.

use crate::{Storage, Work};

/// Word that is not zero when the guest has the workload.
pub const PRESENT: u64 = 0;
/// Word with the moment from which work is counted; all ones before the first step.
pub const ANCHOR: u64 = 1;
/// Word with the units of work done since the anchor.
pub const DONE: u64 = 2;
/// Word with the units of work due in each period; zero for as many as possible.
pub const UNITS: u64 = 3;
/// Word with the period in microseconds.
pub const PERIOD: u64 = 4;
/// The first word that a workload has for itself.
pub const OWN: u64 = 8;

/// Work that may be caught up after a stop: what is due in this time.
pub const CATCH_UP_US: u64 = 5000;

/// The address of a word of the control block at `block`.
#[must_use]
pub const fn word(block: u64, number: u64) -> u64 {
    block.wrapping_add(number.wrapping_mul(8))
}

/// Writes the words of a workload that does `units` in each period.
///
/// # Errors
/// Fails when the block is outside of storage.
pub fn define<S: Storage>(
    storage: &mut S,
    block: u64,
    units: u64,
    period_us: u64,
) -> Result<(), S::Fault> {
    for (number, value) in
        [(PRESENT, 1), (ANCHOR, u64::MAX), (DONE, 0), (UNITS, units), (PERIOD, period_us)]
    {
        storage.store(word(block, number), value)?;
    }
    Ok(())
}

/// Units of work that are due at `now_us`, and when the next one is if there is none.
///
/// # Errors
/// Fails when the block is outside of storage.
pub fn due<S: Storage>(storage: &mut S, block: u64, now_us: u64) -> Result<Work, S::Fault> {
    let units = storage.load(word(block, UNITS))?;
    if units == 0 {
        return Ok(Work { count: u64::MAX, next_us: now_us });
    }
    let period = storage.load(word(block, PERIOD))?.max(1);
    let mut anchor = storage.load(word(block, ANCHOR))?;
    if anchor > now_us {
        // The first step, or a clock that was set back.
        anchor = now_us;
        storage.store(word(block, ANCHOR), anchor)?;
        storage.store(word(block, DONE), 0)?;
    }
    let done = storage.load(word(block, DONE))?;
    let due = units_in(now_us.saturating_sub(anchor), units, period).saturating_sub(done);
    let most = units_in(CATCH_UP_US, units, period).max(1);
    if due > most {
        let span = time_of(most, units, period);
        storage.store(word(block, ANCHOR), now_us.saturating_sub(span))?;
        storage.store(word(block, DONE), 0)?;
        return Ok(Work { count: most, next_us: now_us });
    }
    let next_us = anchor.saturating_add(time_of(done.saturating_add(1), units, period));
    Ok(Work { count: due, next_us })
}

/// Notes that `count` units are done.
///
/// # Errors
/// Fails when the block is outside of storage.
pub fn advance<S: Storage>(storage: &mut S, block: u64, count: u64) -> Result<(), S::Fault> {
    if count == 0 || storage.load(word(block, UNITS))? == 0 {
        return Ok(());
    }
    let done = storage.load(word(block, DONE))?;
    storage.store(word(block, DONE), done.wrapping_add(count))
}

/// Whole units in a span of time. A period is not zero.
fn units_in(span_us: u64, units: u64, period_us: u64) -> u64 {
    let whole = u128::from(span_us).saturating_mul(u128::from(units));
    let whole = whole.checked_div(u128::from(period_us)).unwrap_or(u128::MAX);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

/// The time after which `count` units are due. There is at least one in a period.
fn time_of(count: u64, units: u64, period_us: u64) -> u64 {
    let (span, units) =
        (u128::from(count).saturating_mul(u128::from(period_us)), u128::from(units));
    let whole = span.saturating_add(units.saturating_sub(1)).checked_div(units);
    u64::try_from(whole.unwrap_or(u128::MAX)).unwrap_or(u64::MAX)
}
