//! A bare /390 image that runs the sequences and tells what the machine makes of them.
//!
//! It runs on machines that were not built here. The program `oracle` builds it, runs it, and holds
//! what it tells against the emulated hardware of the harness.
//!
//! Source of truth: `oracle-sequences` for what is asked and how it is told. Invariants: `unsafe`
//! is in `arch` and `console` alone, each with its reason; the image knows no right answer.
//! Deliberately not here: any judgement.

#![no_std]
#![no_main]

mod arch;
mod boot;
mod channel;
mod console;
mod machine;

use crate::{console::Console, machine::Machine};
use oracle_sequences::{Sequence, area, fixed, random, run};

/// Called once by the entry, on the image's stack, with every interruption disabled.
#[unsafe(no_mangle)]
extern "C" fn oracle_start() -> ! {
    console::open();
    assert!(boot::image_end() <= area::PROGRAM as usize, "the image lies in the area");
    let mut lines = Console::default();
    let mut machine = Machine::new();
    machine.wake();
    let mut count = 0_u64;
    let mut ask = |sequence: &Sequence| {
        count += 1;
        // The console takes whatever it is given.
        let _ = run(sequence, &mut machine, &mut lines);
    };
    let seeds = boot::seeds();
    if seeds.is_empty() {
        fixed::all(&mut ask);
    } else {
        seeds.for_each(|seed| ask(&random::sequence(seed)));
    }
    console::write(format_args!("DONE {count}"));
    boot::end()
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    console::write(format_args!("PANIC {information}"));
    boot::end()
}
