//! What the processor offers: program interruptions that come back, keys, and storage.
//!
//! Source of truth: Principles of Operation. Invariants: one processor, disabled for interruptions
//! save where it waits for the service processor; a program interruption is expected only between
//! two labels of one assembler block, and ends the machine elsewhere. Deliberately not here: I/O
//! instructions, see `channel`.
//!
//! Low core from 0x200 is scratch: 0x200 where to go on after an expected program interruption,
//! 0x208 an old mask.

use core::{arch::asm, arch::global_asm, ptr};
use oracle_sequences::Code;

/// Where a program interruption leaves its code.
const PROGRAM_CODE: usize = 0x8E;
/// Where to go on after a program interruption, or 0.
const RECOVERY: usize = 0x200;

global_asm!(
    r#"
    .text
    .balign 16
    .globl program_interruption
program_interruption:
    mvc     0x158(8), 0x200
    xc      0x200(8), 0x200
    lpswe   0x150

    .balign 16
    .globl external_interruption
external_interruption:
    lpswe   0x130
"#
);

/// Runs an instruction that sets the condition code or ends with a program interruption, which is
/// then told in place of it. `operand` is a list of further operands of `asm!`.
macro_rules! instruction {
    ($text:expr, $($operand:tt)*) => {{
        let condition: u64;
        crate::arch::expect_interruption();
        // SAFETY: the caller names operands that the instruction needs; it goes on at the label
        // whether or not there is a program interruption.
        unsafe {
            core::arch::asm!(
                "larl {condition}, 9f",
                "stg {condition}, 0x200",
                $text,
                "9: ipm {condition}",
                "xc 0x200(8), 0x200",
                condition = out(reg) condition,
                $($operand)*
                options(nostack)
            );
        }
        crate::arch::code(condition)
    }};
}
pub(crate) use instruction;

/// Forgets the code of an earlier program interruption.
pub(crate) fn expect_interruption() {
    // SAFETY: the location holds no Rust object.
    unsafe { ptr::with_exposed_provenance_mut::<u16>(PROGRAM_CODE).write_volatile(0) };
}

/// How the instruction has ended that set this register by IPM.
pub(crate) fn code(condition: u64) -> Code {
    // SAFETY: the location holds no Rust object.
    let exception = unsafe { ptr::with_exposed_provenance::<u16>(PROGRAM_CODE).read_volatile() };
    match exception {
        0 => Code::Condition((condition >> 28 & 3).to_be_bytes()[7]),
        code => Code::Exception(code),
    }
}
const _: () = assert!(RECOVERY == 0x200);

/// Executes nothing more.
pub(crate) fn disabled_wait(address: u64) -> ! {
    let wait = [0x0002_0001_8000_0000_u64, address];
    loop {
        // SAFETY: a disabled wait executes nothing more.
        unsafe { asm!("lpswe 0({0})", in(reg_addr) &raw const wait, options(nostack)) };
    }
}

/// Opens external interruptions for a moment, so that a signal of the service processor is taken.
pub(crate) fn take_service_signal() {
    // SAFETY: the handler of external interruptions goes on where it was.
    unsafe { asm!("stosm 0x208, 1", "stnsm 0x208, 0xFE", options(nostack)) };
}

/// Loads control register `N`.
pub(crate) fn load_control<const N: u8>(value: u64) {
    // SAFETY: only registers 0 and 6 are loaded, with sources of interruptions that are handled.
    unsafe {
        asm!("lctlg {n}, {n}, 0({at})", n = const N, at = in(reg_addr) &raw const value,
             options(nostack));
    }
}

/// Gives a command to the service processor: the condition code.
pub(crate) fn service_call(command: u32, block: *mut u8) -> Code {
    instruction!(
        ".insn rre, 0xb2200000, {command}, {block}",
        command = in(reg) u64::from(command),
        block = in(reg) block,
    )
}

/// Stores a doubleword of the area.
pub(crate) fn store(at: u32, value: u64) {
    let at = ptr::with_exposed_provenance_mut::<u64>(at as usize);
    // SAFETY: the area of the sequences lies behind the image and holds no Rust object.
    unsafe { at.write_volatile(value) };
}

/// Fetches a byte of the area.
pub(crate) fn load(at: u32) -> u8 {
    // SAFETY: the area of the sequences lies behind the image and holds no Rust object.
    unsafe { ptr::with_exposed_provenance::<u8>(at as usize).read_volatile() }
}

/// INSERT STORAGE KEY EXTENDED.
pub(crate) fn key(at: u32) -> u8 {
    let mut key = 0_u64;
    // SAFETY: the instruction reads a key and changes nothing.
    unsafe {
        asm!("iske {key}, {page}", key = inout(reg) key, page = in(reg) u64::from(at),
             options(nostack));
    }
    key.to_be_bytes()[7]
}

/// SET STORAGE KEY EXTENDED.
pub(crate) fn set_key(at: u32, key: u8) {
    // SAFETY: the image runs with access key 0, which every key lets in.
    unsafe {
        asm!("sske {key}, {page}", key = in(reg) u64::from(key), page = in(reg) u64::from(at),
             options(nostack));
    }
}

/// RESET REFERENCE BIT EXTENDED: the condition code.
pub(crate) fn reset_reference(at: u32) -> Code {
    instruction!("rrbe {zero}, {page}", zero = in(reg) 0_u64, page = in(reg) u64::from(at),)
}

/// Counts, so that devices get on meanwhile. The clock is not looked at: Hercules lets it run ahead
/// of time when it is looked at often.
pub(crate) fn pause(count: u64) {
    // SAFETY: the instruction counts in a register.
    unsafe { asm!("0: brctg {0}, 0b", inout(reg) count => _, options(nostack)) };
}
