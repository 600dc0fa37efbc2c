//! Entry of the image: new PSWs, stack, zeroed variables, and on to [`start`].
//!
//! Source of truth: linker/sections.ld for the symbols, Principles of Operation for the assigned
//! storage locations. Invariant: the new PSWs are loaded by the first instructions, since all of
//! them are zero at entry and a program check would loop for ever. Deliberately not here: the
//! handlers, see `interruption`.

use crate::start::start;
use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.boot, "ax"
    .globl _start
_start:
    larl    %r1, new_psws
    mvc     0x1A0(96), 0(%r1)
    larl    %r15, __stack_top
    aghi    %r15, -160

    # Zero the variables: MVCL from a source of length 0 pads with the byte in %r5.
    larl    %r2, __bss_start
    larl    %r3, __bss_end
    slgr    %r3, %r2
    lghi    %r4, 0
    lghi    %r5, 0
0:  mvcle   %r2, %r4, 0
    jo      0b

    # A stack frame without a caller, so that nothing walks beyond it.
    xc      0(8,%r15), 0(%r15)
    brasl   %r14, monitor_start
    j       .

    .section .rodata.new_psws, "a"
    .balign 8
new_psws:
    .quad   0x0000000180000000, restart_interruption
    .quad   0x0000000180000000, external_interruption
    .quad   0x0000000180000000, supervisor_call_interruption
    .quad   0x0000000180000000, program_interruption
    .quad   0x0000000180000000, machine_check_interruption
    .quad   0x0000000180000000, input_output_interruption
"#
);

/// The monitor, as the entry knows it.
// SAFETY: nothing else has this name; the entry calls it by this convention, on the stack.
#[unsafe(no_mangle)]
extern "C" fn monitor_start() -> ! {
    start()
}
