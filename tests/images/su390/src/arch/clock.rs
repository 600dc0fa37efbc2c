//! Clock, timers, and waiting.
//!
//! Source of truth: Principles of Operation, "Timing". Invariants: a [`Tick`] is the TOD clock in
//! microseconds; a timer that is not armed never interrupts. Deliberately not here: the guest's
//! timers.

use super::interruption::{self, Exit};
use core::arch::asm;
use monitor_core::units::Tick;

/// Units of the TOD clock, of the comparator and of the CPU timer in one microsecond.
pub const UNITS_PER_US: u64 = 4096;

/// The TOD clock.
#[must_use]
pub fn tod() -> u64 {
    let mut value = 0_u64;
    // SAFETY: the instruction stores 8 bytes at the address of a local.
    unsafe { asm!("stckf 0({0})", in(reg_addr) &raw mut value, options(nostack)) };
    value
}

/// The present moment.
#[must_use]
pub fn now() -> Tick {
    Tick::new(tod() / UNITS_PER_US)
}

/// Lets the clock comparator interrupt from `deadline` on, or never.
pub fn arm_comparator(deadline: Option<Tick>) {
    let tod = deadline.map_or(u64::MAX, |tick| tick.get().saturating_mul(UNITS_PER_US));
    // SAFETY: the instruction fetches 8 bytes of a local; there is a handler.
    unsafe { asm!("sckc 0({0})", in(reg_addr) &raw const tod, options(nostack)) };
}

/// Lets the CPU timer interrupt when it has run for so many microseconds, or never.
pub fn arm_cpu_timer(span_us: Option<u64>) {
    let span = span_us.map_or(u64::MAX / 2, |span| span.saturating_mul(UNITS_PER_US));
    let span = span.min(u64::MAX / 2);
    // SAFETY: the instruction fetches 8 bytes of a local; there is a handler.
    unsafe { asm!("spt 0({0})", in(reg_addr) &raw const span, options(nostack)) };
}

/// What is left of the CPU timer in its own units; negative when it has run out.
#[must_use]
pub fn cpu_timer() -> i64 {
    let mut value = 0_i64;
    // SAFETY: the instruction stores 8 bytes at the address of a local.
    unsafe { asm!("stpt 0({0})", in(reg_addr) &raw mut value, options(nostack)) };
    value
}

/// Waits for the next interruption: of a device, of the service processor, or of the comparator
/// at `deadline`. Says which; the comparator is not armed afterwards.
pub fn wait_until(deadline: Option<Tick>) -> Exit {
    arm_comparator(deadline);
    let exit = interruption::wait();
    arm_comparator(None);
    exit
}
