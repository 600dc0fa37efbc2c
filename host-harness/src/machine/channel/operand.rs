//! Operands of I/O instructions that are not well formed.
//!
//! Source of truth: Principles of Operation, "START SUBCHANNEL" and "MODIFY SUBCHANNEL" (program
//! exceptions), "Operation-Request Block", "Path-Management-Control Word".
//!
//! Invariant: an operand is looked at by itself, before there is a subchannel. Deliberately not
//! here: a channel-program address that is no doubleword boundary, which is a program check of the
//! channel program; bit 5 of the flags and the subchannel type in the path-management-control
//! word, which are ignored; the words of an extended request; measurement blocks.

use crate::machine::Exception;
use monitor_core::channel::{Orb, Pmcw};

/// Asks for a transport-mode program, which there is not.
const REQUEST_FLAGS_RESERVED: u16 = 0x0004;
const REQUEST_EXTENSION_FLAGS_RESERVED: u8 = 0x3E;
/// The addresses of format-1 channel programs have 31 bits.
const REQUEST_ADDRESS_RESERVED: u32 = 0x8000_0000;

/// Bits 0, 1, 6 and 7.
const CONTROL_FLAGS_RESERVED: u16 = 0xC300;
/// Both of these bits together are no limit mode.
const LIMIT_MODE: u16 = 0x0060;
/// All but the subchannel type and what the program sets.
const CHARACTERISTICS_RESERVED: u32 = 0xFF1F_FFF8;

/// Refuses a request that START SUBCHANNEL does not take.
pub(super) fn check_request(orb: &Orb) -> Result<(), Exception> {
    let is_well_formed = orb.flags & REQUEST_FLAGS_RESERVED == 0
        && orb.extension_flags & REQUEST_EXTENSION_FLAGS_RESERVED == 0
        && orb.program_address & REQUEST_ADDRESS_RESERVED == 0;
    is_well_formed.then_some(()).ok_or(Exception::Operand)
}

/// Refuses a path-management-control word that MODIFY SUBCHANNEL does not take.
pub(super) fn check_control_word(pmcw: &Pmcw) -> Result<(), Exception> {
    let is_well_formed = pmcw.flags & CONTROL_FLAGS_RESERVED == 0
        && pmcw.flags & LIMIT_MODE != LIMIT_MODE
        && pmcw.characteristics & CHARACTERISTICS_RESERVED == 0;
    is_well_formed.then_some(()).ok_or(Exception::Operand)
}
