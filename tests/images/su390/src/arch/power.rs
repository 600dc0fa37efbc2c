//! The end of the machine.
//!
//! Source of truth: QEMU, `target/s390x/helper.c` (a disabled wait whose address ends with FFF is a
//! power-off; any other one is a crash, status 1 with `-action panic=exit-failure`). Invariant: no
//! return. Deliberately not here: what is said on the console before.

use super::psw::{ADDRESSES_64, Psw, WAIT};
use core::arch::asm;

/// What the machine's status is when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything was as it should be: status 0.
    Good,
    /// Something was not: status 1.
    Bad,
}

/// Ends the machine.
pub fn end(status: Status) -> ! {
    let address = match status {
        Status::Good => 0xFFF,
        Status::Bad => 0xBAD,
    };
    let wait = Psw { mask: WAIT | ADDRESSES_64, address };
    loop {
        // SAFETY: a disabled wait executes nothing more; QEMU ends on it.
        unsafe { asm!("lpswe 0({0})", in(reg_addr) &wait, options(nostack)) };
    }
}
