//! Control registers.
//!
//! Source of truth: Principles of Operation, "Control Registers". Invariant: registers 1 and 7 name
//! the guest's address space, 13 the monitor's. Deliberately not here: the guest's own control
//! registers, which no processor ever sees.

use core::arch::asm;

/// Register 0: access to all floating-point registers.
const ADDITIONAL_FLOATING_POINT: u64 = 0x4_0000;
/// Register 0: external interruptions of the clock comparator.
const CLOCK_COMPARATOR: u64 = 0x800;
/// Register 0: external interruptions of the CPU timer.
const CPU_TIMER: u64 = 0x400;
/// Register 0: external interruptions of the service processor.
const SERVICE_SIGNAL: u64 = 0x200;
/// Register 6: input/output interruptions of every subclass.
const EVERY_SUBCLASS: u64 = 0xFF00_0000;

/// The value of control register `N`.
#[must_use]
pub fn read<const N: u8>() -> u64 {
    let mut value = 0_u64;
    // SAFETY: the instruction stores 8 bytes at the address of a local.
    unsafe {
        asm!("stctg {n}, {n}, 0({at})", n = const N, at = in(reg_addr) &raw mut value,
             options(nostack));
    }
    value
}

/// Loads control register `N`.
///
/// # Safety
/// The register decides what the processor does with every address and interruption: the caller
/// says why the new value keeps the monitor's storage and its handlers as they are.
pub unsafe fn load<const N: u8>(value: u64) {
    // SAFETY: the instruction fetches 8 bytes of a local; the effect is the caller's affair.
    unsafe {
        asm!("lctlg {n}, {n}, 0({at})", n = const N, at = in(reg_addr) &raw const value,
             options(nostack));
    }
}

/// Opens the sources of interruptions that the monitor uses; the PSW still keeps them out.
pub fn open_interruptions() {
    let sources = ADDITIONAL_FLOATING_POINT | CLOCK_COMPARATOR | CPU_TIMER | SERVICE_SIGNAL;
    // SAFETY: more sources of interruptions, for all of which there are handlers.
    unsafe { load::<0>(read::<0>() | sources) };
    // SAFETY: as above.
    unsafe { load::<6>(EVERY_SUBCLASS) };
}

/// Runs `action` while no other source of external interruptions is open than the service
/// processor.
pub(super) fn with_service_signal_alone(action: impl FnOnce()) {
    let before = read::<0>();
    // SAFETY: fewer sources of interruptions, and one for which there is a handler.
    unsafe { load::<0>(before & !(CLOCK_COMPARATOR | CPU_TIMER) | SERVICE_SIGNAL) };
    action();
    // SAFETY: the register is as it was.
    unsafe { load::<0>(before) };
}
