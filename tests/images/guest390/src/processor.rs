//! Privileged instructions of the guest, behind safe functions.
//!
//! Source of truth: Principles of Operation, "Control Instructions". Invariant: storage operands
//! are variables of the caller. Deliberately not here: DIAGNOSE ([`crate::monitor`]).

use core::arch::asm;

/// Control register 0 as the guest runs: what it has at IPL, the clock comparator, the CPU
/// timer, service signals, all floating-point registers, and vector registers.
pub(crate) const CONTROL_0: u64 = 0xE0 | 0x800 | 0x400 | 0x200 | 0x4_0000 | 0x2_0000;
/// What control register 3 holds all the time; the guest makes no use of it.
pub(crate) const CONTROL_3: u64 = 0x0123_4567_89AB_CDEF;
/// The prefix that `start` sets.
pub(crate) const PREFIX: u32 = 0x6000;

/// Defines functions that load something from, or store something into, a variable.
macro_rules! operand {
    ($($(#[$doc:meta])* $kind:ident $name:ident($type:ty) $instruction:literal;)*) => {
        $(operand!(@$kind $(#[$doc])* $name $type, $instruction);)*
    };
    (@load $(#[$doc:meta])* $name:ident $type:ty, $instruction:literal) => {
        $(#[$doc])*
        pub(crate) fn $name(value: $type) {
            // SAFETY: the operand is a variable, and the guest's code does not depend on the state.
            unsafe { asm!(concat!($instruction, " 0({0})"), in(reg_addr) &value) };
        }
    };
    (@store $(#[$doc:meta])* $name:ident $type:ty, $instruction:literal) => {
        $(#[$doc])*
        pub(crate) fn $name() -> $type {
            let mut value: $type = 0;
            // SAFETY: the operand is a variable of the size that the instruction stores.
            unsafe { asm!(concat!($instruction, " 0({0})"), in(reg_addr) &mut value) };
            value
        }
    };
}

operand! {
    /// SET CLOCK COMPARATOR.
    load set_clock_comparator(u64) "sckc";
    /// STORE CLOCK COMPARATOR.
    store clock_comparator(u64) "stckc";
    /// SET CPU TIMER.
    load set_cpu_timer(i64) "spt";
    /// STORE CPU TIMER.
    store cpu_timer(i64) "stpt";
    /// STORE PREFIX.
    store prefix(u32) "stpx";
    /// STORE CPU ADDRESS.
    store cpu_address(u16) "stap";
    /// STORE CPU ID.
    store cpu_id(u64) "stidp";
    /// LOAD CONTROL of register 0.
    load set_control_0(u64) "lctlg 0, 0,";
    /// LOAD CONTROL of register 3.
    load set_control_3(u64) "lctlg 3, 3,";
    /// STORE CONTROL of register 0.
    store control_0(u64) "stctg 0, 0,";
    /// STORE CONTROL of register 3.
    store control_3(u64) "stctg 3, 3,";
    /// STORE CONTROL of the right half of register 3.
    store control_3_right(u32) "stctl 3, 3,";
    /// SET SYSTEM MASK.
    load set_system_mask(u8) "ssm";
}

/// STORE THEN OR SYSTEM MASK with no bits: reads the mask.
pub(crate) fn system_mask() -> u8 {
    let mut mask = 0_u8;
    // SAFETY: the operand is a variable.
    unsafe { asm!("stosm 0({0}), 0", in(reg_addr) &mut mask) };
    mask
}

/// Waits for an external interruption, enabled for it meanwhile.
pub(crate) fn wait() {
    let mut psw = [0x0102_0001_8000_0000_u64, 0];
    let mut mask = 0_u8;
    // SAFETY: the PSW leads behind the instruction; the handler keeps all registers and ends the
    // wait, and the mask is what it was afterwards.
    unsafe {
        asm!(
            "larl {next}, 0f",
            "stg {next}, 8({psw})",
            "lpswe 0({psw})",
            "0: stnsm 0({mask}), 0xFC",
            next = out(reg) _,
            psw = in(reg_addr) &mut psw,
            mask = in(reg_addr) &mut mask,
        );
    }
}

/// INSERT STORAGE KEY EXTENDED.
pub(crate) fn storage_key(address: u64) -> u8 {
    let mut key = 0_u64;
    // SAFETY: it reads the key of a page.
    unsafe { asm!("iske {0}, {1}", inout(reg) key, in(reg) address) };
    key.to_be_bytes()[7]
}

/// SET STORAGE KEY EXTENDED.
pub(crate) fn set_storage_key(address: u64, key: u8) {
    // SAFETY: the guest's program has access key 0, which no key locks out.
    unsafe { asm!("sske {0}, {1}", in(reg) u64::from(key), in(reg) address) };
}

/// RESET REFERENCE BIT EXTENDED: reference and change bit as they were, as a number of two bits.
pub(crate) fn reset_reference(address: u64) -> u8 {
    let code: u64;
    // SAFETY: it changes the reference bit of a page.
    unsafe { asm!("rrbe 0, {1}", "ipm {0}", out(reg) code, in(reg) address) };
    ((code >> 28) & 3).to_be_bytes()[7]
}

/// PURGE TLB.
pub(crate) fn purge_tlb() {
    // SAFETY: it changes nothing that the guest could see.
    unsafe { asm!("ptlb") };
}

/// Facility number: BFP rounding mode 7, among others.
const FLOATING_POINT_EXTENSION: u32 = 37;
/// Facility number: vector registers, whose left halves are floating-point registers.
const VECTORS: u32 = 129;

/// Whether the processor has a facility.
fn has(facility: u32) -> bool {
    let mut words = [0_u64; 3];
    // SAFETY: the instruction stores at most 3 doublewords, as register 0 says, into a variable.
    unsafe { asm!("stfle 0({0})", in(reg_addr) &mut words, inout("r0") 2_u64 => _) };
    words[facility as usize / 64] << (facility % 64) >> 63 != 0
}

/// What the registers hold all the time that the guest's compiled code does not use.
pub(crate) fn load_unused_registers() {
    let vector: [u128; 32] = core::array::from_fn(vector_pattern);
    let access: [u32; 16] = core::array::from_fn(access_pattern);
    let control = floating_control();
    // SAFETY: compiled code uses neither floating-point control nor access registers.
    unsafe {
        asm!("lam %a0, %a15, 0({0})", "lfpc 0({1})", in(reg_addr) &access,
             in(reg_addr) &control);
    };
    if has(VECTORS) {
        // SAFETY: VLM of registers 0 to 15 and 16 to 31, none of which compiled code uses.
        unsafe {
            asm!(".short 0xE70F, 0x1000, 0x0036", ".short 0xE70F, 0x1100, 0x0C36",
                 in("r1") &vector);
        }
    } else {
        // SAFETY: compiled code does not use floating-point registers.
        unsafe {
            asm!(
                "ld %f0, 0({0})", "ld %f1, 16({0})", "ld %f2, 32({0})", "ld %f3, 48({0})",
                "ld %f4, 64({0})", "ld %f5, 80({0})", "ld %f6, 96({0})", "ld %f7, 112({0})",
                "ld %f8, 128({0})", "ld %f9, 144({0})", "ld %f10, 160({0})", "ld %f11, 176({0})",
                "ld %f12, 192({0})", "ld %f13, 208({0})", "ld %f14, 224({0})",
                "ld %f15, 240({0})",
                in(reg_addr) &vector,
            );
        }
    }
}

/// How many of them do not.
pub(crate) fn unused_register_faults() -> u64 {
    let (mut access, mut control) = ([0_u32; 16], 0_u32);
    // SAFETY: the operands are variables of the right sizes.
    unsafe {
        asm!("stam %a0, %a15, 0({0})", "stfpc 0({1})", in(reg_addr) &mut access,
             in(reg_addr) &mut control);
    }
    let access = (0..).zip(access).filter(|(number, value)| *value != access_pattern(*number));
    let count = access.count() as u64 + u64::from(control != floating_control());
    count + vector_faults()
}

/// How many vector registers do not, or floating-point registers of a processor without them.
fn vector_faults() -> u64 {
    let mut vector = [0_u128; 32];
    let (mut right, mut length) = (u128::MAX, 32);
    if has(VECTORS) {
        // SAFETY: VSTM of registers 0 to 15 and 16 to 31 stores 512 bytes, which the variable has.
        unsafe {
            asm!(".short 0xE70F, 0x1000, 0x003E", ".short 0xE70F, 0x1100, 0x0C3E",
                 in("r1") &mut vector);
        }
    } else {
        (right, length) = (u128::MAX << 64, 16);
        // SAFETY: each instruction stores the left half of a value of the variable.
        unsafe {
            asm!(
                "std %f0, 0({0})", "std %f1, 16({0})", "std %f2, 32({0})", "std %f3, 48({0})",
                "std %f4, 64({0})", "std %f5, 80({0})", "std %f6, 96({0})", "std %f7, 112({0})",
                "std %f8, 128({0})", "std %f9, 144({0})", "std %f10, 160({0})",
                "std %f11, 176({0})", "std %f12, 192({0})", "std %f13, 208({0})",
                "std %f14, 224({0})", "std %f15, 240({0})",
                in(reg_addr) &mut vector,
            );
        }
    }
    let pairs = (0..).zip(vector).take(length);
    pairs.filter(|(number, value)| (value ^ vector_pattern(*number)) & right != 0).count() as u64
}

/// Neither half of any register is zero, nor equal to another one.
fn vector_pattern(number: usize) -> u128 {
    let half = |number: u128| (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) as u64;
    u128::from(half(number as u128)) << 64 | u128::from(half(number as u128 + 32))
}

fn access_pattern(number: usize) -> u32 {
    (number as u32 + 1).wrapping_mul(0x8123_4567)
}

/// Masks, flags, data-exception code, DFP rounding mode 7, and BFP rounding mode 7 if the processor
/// has that. Nothing in the guest is rounded.
fn floating_control() -> u32 {
    if has(FLOATING_POINT_EXTENSION) { 0xACD4_5A77 } else { 0xA8D0_5A73 }
}
