//! Interruptions, and the switch between the worlds of monitor and guest.
//!
//! Source of truth: Principles of Operation, "Interruptions". Invariants: the guest runs in problem
//! state and the monitor does not, which is how a handler tells them apart; the general registers
//! of each are saved on the way out and loaded on the way in; access and floating-point registers
//! are the guest's all the time, since the monitor uses none. Deliberately not here: what an exit
//! means for the guest.
//!
//! Low core from 0x200 is scratch of this file: 0x200 the guest's general registers, 0x280 where
//! they go, 0x288 the monitor's stack pointer, 0x290 the PSW of the guest, 0x300 the monitor's own
//! registers when it ends on an interruption, 0x380 its wait PSW.

use super::io;
use super::lowcore::{self, Class};
use super::power::{self, Status};
use super::psw::{self, Psw};
use super::service;
use crate::println;
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

/// Code of the external interruption by which the service processor makes itself heard.
pub const SERVICE_SIGNAL: u16 = 0x2401;

/// The bits of the monitor's own PSW that say how its addresses are translated.
static TRANSLATION: AtomicU64 = AtomicU64::new(0);

/// What of the guest is loaded when it is entered and stored when it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct GuestRegisters {
    /// The real PSW, with which the processor runs the guest: see [`Psw::GUEST_MASK`].
    pub psw: Psw,
    /// General registers.
    pub general: [u64; 16],
}

/// Why a guest left problem state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Program interruption.
    Program {
        /// The interruption code.
        code: u16,
        /// Bytes of the instruction: 0, 2, 4 or 6.
        length: u8,
        /// Translation-exception identification.
        translation: u64,
        /// Data-exception code.
        data: u32,
    },
    /// Supervisor call.
    SupervisorCall {
        /// The number of the call.
        number: u8,
        /// Bytes of the instruction: 2, or 4 of EXECUTE.
        length: u8,
    },
    /// External interruption, of the monitor's own timers for instance.
    External {
        /// The interruption code.
        code: u16,
        /// The parameter, for instance of a service signal.
        parameter: u32,
    },
    /// Input/output interruption of the monitor's own devices; its status is taken already.
    InputOutput {
        /// Subsystem-identification word.
        subchannel: u32,
        /// Interruption parameter.
        parameter: u32,
        /// Interruption-identification word.
        word: u32,
    },
}

global_asm!(
    r#"
    .text

    # enter_problem_state(%r2 = GuestRegisters): returns in %r2 the class that ended it.
    .globl enter_problem_state
    .balign 16
enter_problem_state:
    stmg    %r6, %r15, 48(%r15)
    stg     %r15, 0x288
    stg     %r2, 0x280
    mvc     0x290(16), 0(%r2)
    lmg     %r0, %r15, 16(%r2)
    lpswe   0x290

    .balign 16
supervisor_call_interruption:
    tm      0x141, 1
    jz      monitor_supervisor_call
    stmg    %r0, %r15, 0x200
    lghi    %r2, 2
    lghi    %r3, 0x140
    j       leave_problem_state

    .balign 16
program_interruption:
    tm      0x151, 1
    jz      monitor_program
    stmg    %r0, %r15, 0x200
    lghi    %r2, 3
    lghi    %r3, 0x150

    # %r2 is the class, %r3 where its old PSW lies.
leave_problem_state:
    lg      %r4, 0x280
    mvc     0(16,%r4), 0(%r3)
    mvc     16(128,%r4), 0x200
    lg      %r15, 0x288
    lmg     %r6, %r15, 48(%r15)
    br      %r14

    # The monitor takes external and input/output interruptions only while it waits. Its wait PSW
    # leads behind the wait, so it goes on with that one, no longer waiting and disabled.
    .balign 16
external_interruption:
    tm      0x131, 1
    jnz     0f
    ni      0x131, 0xFD
    ni      0x130, 0xFC
    lpswe   0x130
0:  stmg    %r0, %r15, 0x200
    lghi    %r2, 1
    lghi    %r3, 0x130
    j       leave_problem_state

    .balign 16
input_output_interruption:
    tm      0x171, 1
    jnz     0f
    ni      0x171, 0xFD
    ni      0x170, 0xFC
    lpswe   0x170
0:  stmg    %r0, %r15, 0x200
    lghi    %r2, 5
    lghi    %r3, 0x170
    j       leave_problem_state

    # load_mask(%r2 = mask): goes on at the caller with a PSW of this mask; a mask of the enabled
    # wait makes that the moment after the next interruption.
    .globl load_mask
    .balign 16
load_mask:
    stg     %r2, 0x380
    stg     %r14, 0x388
    lpswe   0x380

    # What the monitor does not survive: told on the console on a stack of its own, which
    # lies at 0x5000, between prefix area and image.
restart_interruption:
    stmg    %r0, %r15, 0x300
    lghi    %r2, 0
    j       end_by_interruption
monitor_supervisor_call:
    stmg    %r0, %r15, 0x300
    lghi    %r2, 2
    j       end_by_interruption
monitor_program:
    stmg    %r0, %r15, 0x300
    lghi    %r2, 3
    j       end_by_interruption
machine_check_interruption:
    stmg    %r0, %r15, 0x300
    lghi    %r2, 4
end_by_interruption:
    llill   %r15, 0x9000 - 160
    xc      0(8,%r15), 0(%r15)
    brasl   %r14, monitor_interrupted
    j       .
"#
);

// SAFETY: the routines are those above, with these operands and this convention.
unsafe extern "C" {
    fn enter_problem_state(registers: *mut GuestRegisters) -> u64;
    fn load_mask(mask: u64);
}

/// Runs the guest until the next interruption, of its own or of the monitor's.
///
/// The mask of the PSW is taken as it is, except that the guest always runs in problem state.
pub fn enter_guest(registers: &mut GuestRegisters) -> Exit {
    registers.psw.mask |= psw::PROBLEM;
    // SAFETY: the routine saves and restores what the calling convention asks for, and stores into
    // the registers alone; the guest runs in problem state and reaches storage by its tables only.
    let class = unsafe { enter_problem_state(registers) };
    match class {
        1 => external(),
        2 => {
            let [_, number] = lowcore::read::<u16>(lowcore::SUPERVISOR_CALL_CODE).to_be_bytes();
            let length = lowcore::read(lowcore::SUPERVISOR_CALL_LENGTH);
            Exit::SupervisorCall { number, length }
        }
        3 => Exit::Program {
            code: lowcore::read(lowcore::PROGRAM_CODE),
            length: lowcore::read(lowcore::PROGRAM_LENGTH),
            translation: lowcore::read(lowcore::TRANSLATION_EXCEPTION),
            data: lowcore::read(lowcore::DATA_EXCEPTION_CODE),
        },
        _ => input_output(),
    }
}

/// Waits for an external or input/output interruption of the monitor's, and says which it was.
pub(super) fn wait() -> Exit {
    // No external interruption has code 0, so it stays 0 unless there is one.
    lowcore::write(lowcore::EXTERNAL_CODE, 0_u16);
    load_wait(psw::EXTERNAL | psw::IO);
    if lowcore::read::<u16>(lowcore::EXTERNAL_CODE) == 0 { input_output() } else { external() }
}

/// Waits for an external interruption, which the caller has seen to is a service signal, and
/// returns its parameter.
pub(super) fn wait_for_service_signal() -> u32 {
    load_wait(psw::EXTERNAL);
    match external() {
        Exit::External { parameter, .. } => parameter,
        Exit::Program { .. } | Exit::SupervisorCall { .. } | Exit::InputOutput { .. } => 0,
    }
}

/// Waits, enabled for these interruptions.
fn load_wait(enabled: u64) {
    let mask = TRANSLATION.load(Ordering::Relaxed) | psw::ADDRESSES_64;
    // SAFETY: the handlers lead back here without changing a register.
    unsafe { load_mask(mask | psw::WAIT | enabled) };
}

/// Puts the monitor into home-space mode, now and after each interruption.
pub(super) fn translate_monitor() {
    let translation = psw::DAT | psw::HOME_SPACE;
    TRANSLATION.store(translation, Ordering::Relaxed);
    lowcore::add_to_new_psws(translation);
    // SAFETY: the routine comes back at once; that addresses stay the same is the affair of who
    // loaded the control register.
    unsafe { load_mask(translation | psw::ADDRESSES_64) };
}

fn external() -> Exit {
    let code = lowcore::read(lowcore::EXTERNAL_CODE);
    let parameter = lowcore::read(lowcore::EXTERNAL_PARAMETER);
    if code == SERVICE_SIGNAL {
        service::note_signal(parameter);
    }
    Exit::External { code, parameter }
}

/// Also takes the status that the interruption announces, so that there can be another. Whoever
/// looks at the device afterwards misses nothing.
fn input_output() -> Exit {
    let subchannel = lowcore::read(lowcore::SUBSYSTEM_IDENTIFICATION);
    let _ = io::test_subchannel(subchannel);
    Exit::InputOutput {
        subchannel,
        parameter: lowcore::read(lowcore::IO_PARAMETER),
        word: lowcore::read(lowcore::IO_WORD),
    }
}

/// Tells what interrupted the monitor itself, and ends.
// SAFETY: nothing else has this name; the handlers call it by this convention, on their own stack.
#[unsafe(no_mangle)]
extern "C" fn monitor_interrupted(class: u64) -> ! {
    let index = usize::try_from(class).unwrap_or(0);
    let class = Class::ALL.get(index).copied().unwrap_or(Class::Restart);
    let psw = lowcore::old_psw(class);
    println!("{class:?} interruption in the monitor");
    println!("PSW {:016X} {:016X}", psw.mask, psw.address);
    match class {
        Class::Program => println!(
            "code {:04X} length {} translation {:016X}",
            lowcore::read::<u16>(lowcore::PROGRAM_CODE),
            lowcore::read::<u8>(lowcore::PROGRAM_LENGTH),
            lowcore::read::<u64>(lowcore::TRANSLATION_EXCEPTION)
        ),
        Class::MachineCheck => {
            println!("code {:016X}", lowcore::read::<u64>(lowcore::MACHINE_CHECK_CODE));
        }
        Class::SupervisorCall => {
            println!("code {:04X}", lowcore::read::<u16>(lowcore::SUPERVISOR_CALL_CODE));
        }
        Class::Restart | Class::External | Class::InputOutput => {}
    }
    for row in 0..4 {
        let register = |column: usize| lowcore::read::<u64>(0x300 + (row * 4 + column) * 8);
        println!(
            "GR{:02} {:016X} {:016X} {:016X} {:016X}",
            row * 4,
            register(0),
            register(1),
            register(2),
            register(3)
        );
    }
    power::end(Status::Bad)
}

/// Interrupts the monitor itself, by a fetch from this address, at which there must be no storage.
/// Each general register holds its number in each of its bytes, save the second, which holds the
/// address, and the condition code is 0.
pub fn interrupt_monitor(address: usize) -> ! {
    let mut general: [u64; 16] =
        core::array::from_fn(|number| number as u64 * 0x0101_0101_0101_0101);
    general[2] = address as u64;
    // SAFETY: the handler needs no register, stack included, and does not come back.
    unsafe {
        asm!(
            "cr %r1, %r1",
            "lmg %r0, %r15, 0(%r1)",
            "lg %r0, 0(%r2)",
            "j .",
            in("r1") &raw const general,
            options(noreturn),
        );
    }
}
