//! Entry, interruption handlers and the sweep, in assembler.
//!
//! The sweep adds one to a byte of each page of its area, page after page. Position and round are
//! in registers 6 and 7 and nowhere else. At each visit the byte must equal the round, modulo
//! 256: a page that was lost, moved twice or mixed up is out of step.
//!
//! Source of truth: Principles of Operation, "Assigned Storage Locations"; the migration test of
//! QEMU uses the same oracle. Invariants: a handler ends by loading the old PSW with all registers
//! as they were, apart from the results of a supervisor call. Deliberately not here: what the
//! handlers do ([`crate::supervisor`]).
//!
//! Low core from 0x400: registers at a supervisor call (0x400), an external interruption (0x500)
//! and a program interruption (0x600).

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.boot, "ax"
    .globl _start
_start:
    larl    %r1, prefix
    spx     0(%r1)
    larl    %r1, new_psws
    mvc     0x1A0(96), 0(%r1)
    larl    %r15, __stack_top
    aghi    %r15, -160

    # A short PSW leads to 31-bit addressing, from which the guest returns.
    larl    %r1, short_psw
    larl    %r2, 0f
    st      %r2, 4(%r1)
    oi      4(%r1), 0x80
    lpsw    0(%r1)
0:  sam64

    xc      0(8,%r15), 0(%r15)
    brasl   %r14, guest_start
    lghi    %r6, 0
    lghi    %r7, 0
    larl    %r1, sweep_psw
    lpswe   0(%r1)

    .text
    # The sweep runs in the problem state, where a privileged instruction is refused.
    # %r8 number of pages, %r9 address of the byte in the first page, %r10 pages that are due.
sweep:
    svc     2
    stap    0x700
0:  svc     0
    lgr     %r10, %r2
    lgr     %r9, %r3
    lgr     %r8, %r4
1:  sllg    %r11, %r6, 12
    agr     %r11, %r9
    llgc    %r1, 0(%r11)
    llgcr   %r0, %r7
    cgr     %r1, %r0
    jne     4f
2:  aghi    %r1, 1
    stc     %r1, 0(%r11)
    aghi    %r6, 1
    clgr    %r6, %r8
    jl      3f
    lghi    %r6, 0
    aghi    %r7, 1
3:  brctg   %r10, 1b
    j       0b
4:  svc     1
    llgcr   %r1, %r7
    j       2b

    .balign 16
external_interruption:
    stmg    %r0, %r15, 0x500
    larl    %r15, external_stack_top
    aghi    %r15, -160
    brasl   %r14, external
    lmg     %r0, %r15, 0x500
    ni      0x131, 0xFD
    lpswe   0x130

    .balign 16
supervisor_call_interruption:
    stmg    %r0, %r15, 0x400
    larl    %r15, __stack_top
    aghi    %r15, -160
    llgh    %r2, 0x8A
    lg      %r3, 0x430
    lg      %r4, 0x438
    brasl   %r14, supervisor_call
    lmg     %r0, %r15, 0x400
    lpswe   0x140

    .balign 16
program_interruption:
    stmg    %r0, %r15, 0x600
    larl    %r15, program_stack_top
    aghi    %r15, -160
    llgh    %r2, 0x8E
    lg      %r3, 0x158
    brasl   %r14, program
    lmg     %r0, %r15, 0x600
    lpswe   0x150

    .balign 16
unexpected_interruption:
    larl    %r15, program_stack_top
    aghi    %r15, -160
    brasl   %r14, unexpected
    j       .

    .section .rodata.start, "a"
    .balign 8
new_psws:
    .quad   0x0000000180000000, unexpected_interruption
    .quad   0x0000000180000000, external_interruption
    .quad   0x0000000180000000, supervisor_call_interruption
    .quad   0x0000000180000000, program_interruption
    .quad   0x0000000180000000, unexpected_interruption
    .quad   0x0000000180000000, unexpected_interruption
sweep_psw:
    .quad   0x0101000180000000, sweep
prefix:
    .long   0x6000

    .section .data.start, "aw"
    .balign 8
short_psw:
    .long   0x00080000, 0

    .section .bss.start, "aw", @nobits
    .balign 8
    .skip   8192
external_stack_top:
    .skip   8192
program_stack_top:
"#
);
