//! Registers that the monitor does not use, so that they hold the guest's values all the time.
//!
//! Source of truth: Principles of Operation, "Organization". Invariants: the monitor is compiled
//! without floating point, and no code of its own uses access registers. Deliberately not here:
//! general registers, which the switch between the worlds exchanges.

use super::control;
use core::arch::asm;
use monitor_core::vm::{Facility, FacilityList};

/// Control register 0: all floating-point registers.
const ADDITIONAL_FLOATING_POINT: u64 = 0x4_0000;
/// Control register 0: vector registers.
const VECTOR: u64 = 0x2_0000;

/// Bits of the floating-point control register that are not assigned.
const FLOATING_RESERVED: u32 = 0x0303_0088;
/// The floating-point extension facility.
const FLOATING_POINT_EXTENSION: Facility = Facility::new(37);
/// Bits of that register that the facility adds: quantum exceptions, and BFP rounding mode 7.
const FLOATING_EXTENSION: u32 = 0x0404_0004;

/// Vector registers of a processor.
#[repr(C, align(16))]
struct Vectors([u128; 32]);

/// Lets the guest use the registers that its control register 0 admits.
pub fn admit(control_0: u64) {
    let both = ADDITIONAL_FLOATING_POINT | VECTOR;
    let wanted = if has_vectors() { both } else { ADDITIONAL_FLOATING_POINT };
    // SAFETY: the bits say which registers a program may use, and the monitor uses none of them.
    unsafe { control::load::<0>(control::read::<0>() & !both | control_0 & wanted) };
}

/// The facilities of the processor.
#[must_use]
pub fn facilities() -> FacilityList {
    let mut words = [0_u64; 4];
    // SAFETY: the instruction stores at most 4 doublewords, as register 0 says, into a local.
    unsafe {
        asm!("stfle 0({0})", in(reg_addr) &raw mut words, inout("r0") 3_u64 => _,
             options(nostack));
    }
    FacilityList::new(words)
}

/// Whether the processor has vector registers.
#[must_use]
pub fn has_vectors() -> bool {
    facilities().has(Facility::VECTOR)
}

/// Whether the floating-point control register takes this value: bits that are not assigned, and
/// rounding modes that do not exist, are a specification exception.
#[must_use]
pub fn takes_floating_control(control: u32) -> bool {
    let has_extension = facilities().has(FLOATING_POINT_EXTENSION);
    control & FLOATING_RESERVED == 0
        && !matches!(control & 0x7, 4..=6)
        && (has_extension || control & FLOATING_EXTENSION == 0)
}

/// Reads access registers, vector registers (of a processor without them, the floating-point
/// registers in the left halves) and the floating-point control register.
pub fn save(access: &mut [u32; 16], vector: &mut [u128; 32]) -> u32 {
    let before = control::read::<0>();
    admit(u64::MAX);
    // SAFETY: the instruction stores 16 words, which the operand has.
    unsafe { asm!("stam %a0, %a15, 0({0})", in(reg_addr) &raw mut *access, options(nostack)) };
    let mut control = 0_u32;
    // SAFETY: the instruction stores a word into a local.
    unsafe { asm!("stfpc 0({0})", in(reg_addr) &raw mut control, options(nostack)) };
    let mut vectors = Vectors([0; 32]);
    if has_vectors() {
        // SAFETY: VSTM of registers 0 to 15 and 16 to 31 stores 512 bytes, which the operand has.
        unsafe {
            asm!(".short 0xE70F, 0x1000, 0x003E", ".short 0xE70F, 0x1100, 0x0C3E",
                 in("r1") &raw mut vectors, options(nostack));
        }
    } else {
        // SAFETY: the instructions store 16 doublewords, one into the left half of each value.
        unsafe {
            asm!("std %f0, 0({0})", "std %f1, 16({0})", "std %f2, 32({0})", "std %f3, 48({0})",
                 "std %f4, 64({0})", "std %f5, 80({0})", "std %f6, 96({0})", "std %f7, 112({0})",
                 "std %f8, 128({0})", "std %f9, 144({0})", "std %f10, 160({0})",
                 "std %f11, 176({0})", "std %f12, 192({0})", "std %f13, 208({0})",
                 "std %f14, 224({0})", "std %f15, 240({0})",
                 in(reg_addr) &raw mut vectors, options(nostack));
        }
    }
    *vector = vectors.0;
    admit(before);
    control
}

/// Loads what [`save`] has read.
///
/// # Panics
/// If the floating-point control register does not take its value: [`takes_floating_control`].
pub fn load(access: &[u32; 16], vector: &[u128; 32], control: u32) {
    assert!(takes_floating_control(control), "no value of the floating-point control register");
    let before = control::read::<0>();
    admit(u64::MAX);
    // SAFETY: the instruction loads registers that no code of the monitor uses.
    unsafe { asm!("lam %a0, %a15, 0({0})", in(reg_addr) &raw const *access, options(nostack)) };
    // SAFETY: as above; the register takes the value.
    unsafe { asm!("lfpc 0({0})", in(reg_addr) &raw const control, options(nostack)) };
    let vectors = Vectors(*vector);
    if has_vectors() {
        // SAFETY: VLM of registers 0 to 15 and 16 to 31, which no code of the monitor uses.
        unsafe {
            asm!(".short 0xE70F, 0x1000, 0x0036", ".short 0xE70F, 0x1100, 0x0C36",
                 in("r1") &raw const vectors, options(nostack));
        }
    } else {
        // SAFETY: the instructions load registers that no code of the monitor uses.
        unsafe {
            asm!("ld %f0, 0({0})", "ld %f1, 16({0})", "ld %f2, 32({0})", "ld %f3, 48({0})",
                 "ld %f4, 64({0})", "ld %f5, 80({0})", "ld %f6, 96({0})", "ld %f7, 112({0})",
                 "ld %f8, 128({0})", "ld %f9, 144({0})", "ld %f10, 160({0})",
                 "ld %f11, 176({0})", "ld %f12, 192({0})", "ld %f13, 208({0})",
                 "ld %f14, 224({0})", "ld %f15, 240({0})",
                 in(reg_addr) &raw const vectors, options(nostack));
        }
    }
    admit(before);
}
