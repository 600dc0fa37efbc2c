//! monitor-core on a Cortex-M4 under QEMU: the portable tests, the dirty bitmap against an
//! interruption that stores, and one migration between two ends in this image.
//!
//! Source of truth: `tests/images/expected/cortex-m.txt`, which the step `cortex-m` of `tests/run`
//! holds against what is logged at `info` and above; what was measured is logged at `debug`.
//! Invariant: the image ends by itself, with status 0 only when everything was as it must be; a
//! broken rule is a panic. Deliberately not here: anything of /390, which `su390` has.
#![no_std]
#![no_main]

extern crate alloc;

use cortex_m::Peripherals;
use cortex_m_rt::entry;
use defmt::println;
use defmt_semihosting as _;

mod board;
mod guest;
mod link;
mod migration;
mod ports;
mod race;

#[entry]
fn main() -> ! {
    board::give_heap();
    println!("bitmap: words of {=u32} bits", monitor_core::memory::WORD_BITS);
    portable_tests::report(&mut |line| println!("{=str}", line));
    let mut timer = Peripherals::take().expect("they are taken here alone").SYST;
    race::run(&mut timer);
    migration::run(&mut timer);
    println!("end");
    board::end(0)
}
