//! The guest's time: TOD clock, clock comparator and CPU timer.
//!
//! A host has microseconds, a unit of the TOD clock is 1/4096 of one. Nothing here is pending:
//! whether a timer's interruption is due follows from its value and the time.
//!
//! Source of truth: Principles of Operation, chapter "Timing".
//!
//! Invariants: the TOD clock is the host's and the epoch, so that it goes on while the guest is
//! stopped; the CPU timer is counted only while the processor operates. Deliberately not here:
//! masks and interruptions.

use monitor_core::{
    processor::ProcessorImage,
    units::{Micros, Tick},
};

/// Bits of the TOD clock below a microsecond.
const MICROSECOND_SHIFT: u32 = 12;

/// The bits of a TOD clock with its epoch index.
const EXTENDED: i128 = (1 << 72) - 1;

/// What the host's TOD clock shows at `host`.
pub(super) fn clock(host: Tick) -> u64 {
    host.get().wrapping_shl(MICROSECOND_SHIFT)
}

/// What the guest's clock shows when the host's shows `host`: 64 bits, and the epoch index in
/// front of them.
pub(super) fn extended_tod(state: &ProcessorImage, host: Tick) -> u128 {
    let guest = (i128::from(host.get()) << MICROSECOND_SHIFT) + epoch(state);
    (guest & EXTENDED).cast_unsigned()
}

/// The 64 bits of the guest's clock.
pub(super) fn tod(state: &ProcessorImage, host: Tick) -> u64 {
    extended_tod(state, host) as u64
}

/// The time that the guest's clock shows when the host's shows `host`.
pub(super) fn guest_time(state: &ProcessorImage, host: Tick) -> Tick {
    Tick::new((extended_tod(state, host) >> MICROSECOND_SHIFT) as u64)
}

/// The time on the host's clock when the guest's shows `guest`.
pub(super) fn host_time(state: &ProcessorImage, guest: Tick) -> Tick {
    let host = (i128::from(guest.get()) << MICROSECOND_SHIFT) - epoch(state);
    Tick::new(((host & EXTENDED) >> MICROSECOND_SHIFT) as u64)
}

/// Whether the clock comparator has a condition: its value is behind the clock.
pub(super) fn is_comparator_due(state: &ProcessorImage, host: Tick) -> bool {
    tod(state, host) > state.clock_comparator
}

/// When, on the host's clock, the clock comparator has its condition.
pub(super) fn comparator_due(state: &ProcessorImage, host: Tick) -> Tick {
    match state.clock_comparator.checked_sub(tod(state, host)) {
        Some(ahead) => host.after(Micros::new((ahead >> MICROSECOND_SHIFT) + 1)),
        None => host,
    }
}

/// When, on the host's clock, the CPU timer has its condition: its value is negative.
pub(super) fn timer_due(state: &ProcessorImage, host: Tick) -> Tick {
    match u64::try_from(state.cpu_timer) {
        Ok(left) => host.after(Micros::new((left >> MICROSECOND_SHIFT) + 1)),
        Err(_) => host,
    }
}

/// Counts the CPU timer down by a time during which the processor has operated.
pub(super) fn count_down(state: &mut ProcessorImage, span: Micros) {
    let units = span.get().wrapping_shl(MICROSECOND_SHIFT);
    state.cpu_timer = state.cpu_timer.wrapping_sub_unsigned(units);
}

/// The epoch as one signed number.
fn epoch(state: &ProcessorImage) -> i128 {
    let epoch = state.tod_epoch;
    i128::from(epoch.index) << 64 | i128::from(epoch.difference)
}
