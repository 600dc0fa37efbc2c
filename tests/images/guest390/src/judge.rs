//! The judgement of storage and registers.
//!
//! Source of truth: `start` for the sweep. Invariant: a judgement reads only. Deliberately not
//! here: how faults become known at once, which `supervisor` counts.

use core::ptr;

use crate::{
    interface::{CPU_ID, STORAGE_BYTES, SWEEP, SWEEP_OFFSET},
    keys, monitor,
    processor::{self, CONTROL_0, CONTROL_3, PREFIX},
    supervisor,
};

const PAGE: u64 = 4096;

/// Pages of the sweep's area.
pub(crate) fn pages() -> u64 {
    (monitor::parameter(STORAGE_BYTES) - SWEEP) / PAGE
}

/// Writes into a page what its first doubleword holds all the time.
pub(crate) fn stamp(address: u64) {
    let target = ptr::with_exposed_provenance_mut::<u64>(address as usize);
    // SAFETY: the page is one of the sweep's area, which holds no Rust object.
    unsafe { target.write_volatile(stamp_of(address)) };
}

fn stamp_of(address: u64) -> u64 {
    address.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1
}

/// Pages that are not as they must be with the sweep at `position` of round `rounds`.
fn page_faults(position: u64, rounds: u64) -> u64 {
    let is_bad = |page: &u64| {
        let address = SWEEP + page * PAGE;
        let stamp = ptr::with_exposed_provenance::<u64>(address as usize);
        let count = ptr::with_exposed_provenance::<u8>((address + SWEEP_OFFSET) as usize);
        // SAFETY: the page is one of the sweep's area, which holds no Rust object.
        let stamp = unsafe { stamp.read_volatile() };
        // SAFETY: as above.
        let count = unsafe { count.read_volatile() };
        stamp != stamp_of(address) || count != (rounds + u64::from(*page < position)) as u8
    };
    (0..pages()).filter(is_bad).count() as u64
}

/// Judges everything and says on the console what was found; true when all is well.
pub(crate) fn report(position: u64, rounds: u64) -> bool {
    let control = processor::control_0() == CONTROL_0
        && processor::control_3() == CONTROL_3
        && processor::prefix() == PREFIX
        && processor::cpu_id() == CPU_ID;
    let registers = processor::unused_register_faults() + u64::from(!control);
    let found = [
        ("PAGES", page_faults(position, rounds)),
        ("KEYS", keys::faults()),
        ("REGISTERS", registers),
        ("SWEEP", supervisor::counts().out_of_step),
        ("CLOCK", supervisor::counts().time_faults),
        ("TIMERS", supervisor::counts().timer_faults),
        ("PROBES", supervisor::counts().probe_faults()),
    ];
    for (what, faults) in found.into_iter().filter(|(_, faults)| *faults != 0) {
        monitor::say(format_args!("ORACLE FOUND {faults} FAULTS OF {what}"));
    }
    let is_good = found.iter().all(|(_, faults)| *faults == 0);
    monitor::say(format_args!(
        "ORACLE {} ROUNDS={rounds} TICKS={}",
        if is_good { "OK" } else { "FAILED" },
        supervisor::counts().ticks
    ));
    is_good
}
