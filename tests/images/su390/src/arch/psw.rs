//! Program-status word of 128 bits.
//!
//! Source of truth: Principles of Operation, "Program-Status Word". Invariant: the layout is that
//! of the processor. Deliberately not here: what the guest believes its PSW to be.

/// Bit of the mask: dynamic address translation is on.
pub const DAT: u64 = 0x0400_0000_0000_0000;
/// Bit of the mask: input/output interruptions are taken.
pub const IO: u64 = 0x0200_0000_0000_0000;
/// Bit of the mask: external interruptions are taken.
pub const EXTERNAL: u64 = 0x0100_0000_0000_0000;
/// Bit of the mask: machine checks are taken.
pub const MACHINE_CHECK: u64 = 0x0004_0000_0000_0000;
/// Bit of the mask: the processor waits.
pub const WAIT: u64 = 0x0002_0000_0000_0000;
/// Bit of the mask: problem state.
pub const PROBLEM: u64 = 0x0001_0000_0000_0000;
/// Both bits of the mask: home-space mode.
pub const HOME_SPACE: u64 = 0x0000_C000_0000_0000;
/// Bits of the mask: the condition code.
pub const CONDITION_CODE: u64 = 0x0000_3000_0000_0000;
/// Bits of the mask: the program mask.
pub const PROGRAM_MASK: u64 = 0x0000_0F00_0000_0000;
/// Both bits of the mask: addresses have 64 bits.
pub const ADDRESSES_64: u64 = 0x0000_0001_8000_0000;

/// A program-status word as the processor loads and stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Psw {
    /// State, masks, condition code and addressing mode.
    pub mask: u64,
    /// Address of the next instruction.
    pub address: u64,
}

impl Psw {
    /// The mask with which a guest runs: problem state under translation in primary-space mode,
    /// every interruption taken, addresses of 64 bits.
    pub const GUEST_MASK: u64 = DAT | IO | EXTERNAL | MACHINE_CHECK | PROBLEM | ADDRESSES_64;

    /// The PSW with which a guest goes on at `address`.
    #[must_use]
    pub const fn of_guest(address: u64) -> Self {
        Self { mask: Self::GUEST_MASK, address }
    }

    /// The condition code, 0 to 3.
    #[must_use]
    pub const fn condition_code(self) -> u8 {
        ((self.mask & CONDITION_CODE) >> 44).to_be_bytes()[7]
    }

    /// The same PSW with another condition code, of which the low two bits count.
    #[must_use]
    pub fn with_condition_code(self, code: u8) -> Self {
        Self { mask: self.mask & !CONDITION_CODE | u64::from(code & 3) << 44, ..self }
    }

    /// Whether this is a PSW of the problem state.
    #[must_use]
    pub const fn is_problem(self) -> bool {
        self.mask & PROBLEM != 0
    }
}
