//! The ownership record of a VM in the cluster directory, and the directory's answers.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariant: a copy of a VM may run only if
//! the record equals its SU and its epoch, exactly; both together, since a VM that moved away and
//! back meets its own SU's name again under a later epoch.

use crate::units::{Epoch, SuName};

/// Who owns a VM, since which change of ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ownership {
    /// The SU on which the VM may run.
    pub owner: SuName,
    /// Grows by one with each change of the record.
    pub epoch: Epoch,
}

/// What the cluster directory answers to a read or a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DirectoryAnswer {
    /// The record as it is (answer to a read).
    Record(Ownership),
    /// The compare-and-set took place.
    Won,
    /// The record was not equal to the expected value; it is this.
    Lost(Ownership),
    /// There is no record of this VM.
    Missing,
    /// The directory did not answer in time or cannot be reached; the change may have happened.
    Unreachable,
}
