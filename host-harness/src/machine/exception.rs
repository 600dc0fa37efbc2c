//! Program exceptions: what an instruction meets that cannot go on.
//!
//! Source of truth: Principles of Operation, "Program Interruptions" (codes) and "Assigned Storage
//! Locations" (translation-exception identification of a protection exception).
//!
//! Invariant: an exception suppresses its instruction, of which nothing is seen in storage.
//! Deliberately not here: the interruption that it leads to.

use super::AddressFault;
use std::fmt;

/// Whether storage is fetched from or stored into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A load.
    Fetch,
    /// A store.
    Store,
}

/// Which protection refuses an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The access key does not match the storage key.
    Key,
    /// A store into locations that the machine uses, with low-address protection on.
    LowAddress,
}

/// A program exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// There is no such instruction, or no code at the PSW's address.
    Operation,
    /// An instruction of the supervisor state in the problem state.
    PrivilegedOperation,
    /// An access that protection refuses.
    Protection {
        /// The address in the page that is protected, as the program has given it.
        address: u64,
        /// What it was to be used for.
        access: Use,
        /// Which protection refuses.
        cause: Protection,
    },
    /// An address outside of storage.
    Addressing,
    /// An operand or a PSW that is not well formed.
    Specification,
    /// An instruction that a control or a facility turns off.
    SpecialOperation,
    /// An operand of an I/O instruction with bits that must be zero.
    Operand,
    /// An access to a page whose content the host has dropped, which the guest has allowed.
    BlockVolatility,
}

impl Exception {
    /// The program-interruption code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Operation => 0x0001,
            Self::PrivilegedOperation => 0x0002,
            Self::Protection { .. } => 0x0004,
            Self::Addressing => 0x0005,
            Self::Specification => 0x0006,
            Self::SpecialOperation => 0x0013,
            Self::Operand => 0x0015,
            Self::BlockVolatility => 0x001A,
        }
    }

    /// The translation-exception identification, where there is one: the address of the page,
    /// what it was to be used for, and by which protection it was refused.
    #[must_use]
    pub const fn identification(self) -> Option<u64> {
        let Self::Protection { address, access, cause } = self else {
            return None;
        };
        let access = match access {
            Use::Fetch => 0x800,
            Use::Store => 0x400,
        };
        let cause = match cause {
            Protection::Key => 0x08,
            Protection::LowAddress => 0x80,
        };
        Some(address & !0xFFF | access | cause)
    }
}

impl From<AddressFault> for Exception {
    fn from(_: AddressFault) -> Self {
        Self::Addressing
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation => formatter.write_str("operation exception"),
            Self::PrivilegedOperation => formatter.write_str("privileged-operation exception"),
            Self::Protection { address, .. } => {
                write!(formatter, "protection exception at {address:#x}")
            }
            Self::Addressing => formatter.write_str("addressing exception"),
            Self::Specification => formatter.write_str("specification exception"),
            Self::SpecialOperation => formatter.write_str("special-operation exception"),
            Self::Operand => formatter.write_str("operand exception"),
            Self::BlockVolatility => formatter.write_str("block-volatility exception"),
        }
    }
}

impl std::error::Error for Exception {}
