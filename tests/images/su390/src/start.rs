//! From the entry to the monitor: the order in which the parts of the machine come to life.
//!
//! Source of truth: this file. Invariant: a panic is told on the console and ends the machine with
//! status 1. Deliberately not here: the entry in assembler (`arch::boot`).

use crate::arch::power::{self, Status};
use crate::arch::{clock, control, dat, keys};
use crate::{monitor, println, sclp, selftest};

/// Called once by the entry, on the monitor's stack, with every interruption disabled.
pub(crate) fn start() -> ! {
    sclp::open_console();
    println!("SU390 starts");
    let Some(storage_bytes) = sclp::storage_bytes() else {
        panic!("the service processor does not tell the size of storage");
    };
    clock::arm_comparator(None);
    clock::arm_cpu_timer(None);
    control::open_interruptions();
    dat::guard_monitor(storage_bytes);
    keys::switch_on();
    match selftest::wanted() {
        Some(wanted) => selftest::run(wanted, storage_bytes),
        None => monitor::run(storage_bytes),
    }
    power::end(Status::Good)
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    println!("PANIC: {information}");
    power::end(Status::Bad)
}
