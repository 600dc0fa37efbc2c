//! Entry and end of the image, and what the program that starts it has written into it.
//!
//! Source of truth: linker/sections.ld for the symbols, Principles of Operation for the assigned
//! storage locations; QEMU, `target/s390x/helper.c`, and the Hercules manual for the end.
//! Invariant: the new PSWs are loaded by the first instructions. Deliberately not here: the
//! handlers, see `arch`.

use crate::arch;
use core::{arch::global_asm, ops::Range, ptr};

global_asm!(
    r#"
    .section .text.boot, "ax"
    .globl _start
_start:
    larl    %r1, new_psws
    mvc     0x1A0(96), 0(%r1)
    larl    %r15, __stack_top
    aghi    %r15, -160

    # Zero the variables: MVCLE from a source of length 0 pads with zero.
    larl    %r2, __bss_start
    larl    %r3, __bss_end
    slgr    %r3, %r2
    lghi    %r4, 0
    lghi    %r5, 0
0:  mvcle   %r2, %r4, 0
    jo      0b

    xc      0(8,%r15), 0(%r15)
    brasl   %r14, oracle_start
    j       .

    .section .rodata.new_psws, "a"
    .balign 8
new_psws:
    .quad   0x0002000180000000, 0x1BAD
    .quad   0x0000000180000000, external_interruption
    .quad   0x0002000180000000, 0x3BAD
    .quad   0x0000000180000000, program_interruption
    .quad   0x0002000180000000, 0x5BAD
    .quad   0x0002000180000000, 0x6BAD
"#
);

unsafe extern "C" {
    static __image_end: u8;
}

/// Where the image ends.
pub(crate) fn image_end() -> usize {
    (&raw const __image_end).addr()
}

/// What the program that starts the image finds by its first bytes, and writes two numbers behind:
/// the first seed, and the one behind the last.
#[repr(C)]
struct Seeds {
    mark: [u8; 16],
    from: u64,
    to: u64,
}

static SEEDS: Seeds = Seeds { mark: *b"seeds, from..to:", from: 0, to: 0 };

/// The seeds of the sequences that are run, or none for the fixed ones.
pub(crate) fn seeds() -> Range<u64> {
    // SAFETY: a static, which may have been changed in the file of the image.
    let Seeds { from, to, .. } = unsafe { ptr::read_volatile(&raw const SEEDS) };
    from..to
}

/// Ends the machine by a disabled wait. QEMU ends then, and Hercules says so.
pub(crate) fn end() -> ! {
    arch::disabled_wait(0xFFF)
}
