//! The registers with which a processor of a guest begins.
//!
//! Source of truth: Principles of Operation for what each register is. Invariants: registers that
//! no workload uses hold a pattern that follows from the seed, so that a lost one shows; processor
//! 0 alone takes the interruptions that float. Deliberately not here: who looks.

use monitor_core::{
    processor::{CpuState, ProcessorImage, Psw},
    vm::FacilityList,
};

use crate::{
    layout::{
        CODE, HOT_COUNT, HOT_RANDOM, STORE_COUNT, STORE_RANDOM, SWEEP_POSITION, SWEEP_ROUNDS,
        prefix,
    },
    random::{mix, next},
};

/// Opens the processor to service signals (control register 0).
const SERVICE_SIGNALS: u64 = 0x200;

/// Opens the processor to I/O interruptions of all subclasses (control register 6).
const ALL_SUBCLASSES: u64 = 0xFF00_0000;

/// A PSW that runs the code at `address`, open to interruptions.
#[must_use]
pub const fn open_psw(address: u64) -> Psw {
    Psw::new(0, address)
        .with_io(true)
        .with_external(true)
        .with_extended_addressing(true)
        .with_basic_addressing(true)
}

/// The seed of a guest for which nobody has chosen another one; the example of the harness has it.
pub const SEED: u64 = 1;

/// The facilities of a machine for which nobody has chosen others: those that bring state, and what
/// goes with them on machines of that time.
pub const FACILITIES: FacilityList = FacilityList::numbered(&[
    0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30,
    31, 32, 33, 34, 35, 37, 40, 41, 42, 43, 44, 45, 47, 48, 49, 51, 52, 57, 64, 74, 75, 76, 77, 78,
    80, 82, 129, 130, 131, 133, 134, 135, 138, 139, 144, 145, 146, 149, 151, 152, 155, 156,
]);

/// The registers of a processor before its first step, on a machine with these facilities.
#[must_use]
pub fn initial_image(seed: u64, processor: u16, facilities: &FacilityList) -> ProcessorImage {
    let mut state = seed ^ mix(u64::from(processor).wrapping_add(1));
    let mut pattern = || next(&mut state);
    let mut image = ProcessorImage::initial();
    image.general = core::array::from_fn(|_| pattern());
    image.access = core::array::from_fn(|_| low_word(pattern()));
    image.vector = core::array::from_fn(|_| u128::from(pattern()) << 64 | u128::from(pattern()));
    image.floating_control = 0x0070_0000;
    image.program_parameter = pattern();
    image.guarded_storage = [0, pattern(), pattern(), pattern()];
    image.etoken = [pattern(), pattern()];
    image.tod_programmable = low_word(pattern()) & 0xFFFF;
    for (number, value) in [
        (SWEEP_POSITION, 0),
        (SWEEP_ROUNDS, 0),
        (STORE_RANDOM, seed),
        (STORE_COUNT, 0),
        (HOT_RANDOM, seed),
        (HOT_COUNT, 0),
    ] {
        if let Some(register) = image.general.get_mut(number) {
            *register = value;
        }
    }
    if processor == 0 {
        image.control[0] |= SERVICE_SIGNALS;
        image.control[6] = ALL_SUBCLASSES;
    }
    image.prefix = low_word(prefix(processor));
    image.psw = open_psw(CODE);
    image.state = CpuState::Operating;
    image.confine(facilities);
    image
}

/// The rightmost 32 bits.
const fn low_word(number: u64) -> u32 {
    let [_, _, _, _, a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
