//! The ownership record of a VM in the cluster directory, and the directory's answers.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariant: a copy of a VM may run only if
//! the record equals its SU and its epoch, exactly, and says that it may; SU and epoch together,
//! since a VM that moved away and back meets its own SU's name again under a later epoch.

use crate::units::{Epoch, SuName};

/// How far an owner has come with a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Standing {
    /// It has claimed the VM and makes it ready; whoever had it before may take it back.
    Claimed,
    /// It may run the VM.
    Running,
}

/// Who owns a VM, since which change of ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ownership {
    /// The SU that has the VM.
    pub owner: SuName,
    /// Grows by one with each change of the owner.
    pub epoch: Epoch,
    /// Whether the VM may run there.
    pub standing: Standing,
}

impl Ownership {
    /// The record of a VM that may run on this SU.
    #[must_use]
    pub const fn running(owner: SuName, epoch: Epoch) -> Self {
        Self { owner, epoch, standing: Standing::Running }
    }

    /// The record of a VM that this SU has claimed and does not run yet.
    #[must_use]
    pub const fn claimed(owner: SuName, epoch: Epoch) -> Self {
        Self { owner, epoch, standing: Standing::Claimed }
    }

    /// The same owner and epoch, however far it has come.
    #[must_use]
    pub const fn at(self, standing: Standing) -> Self {
        Self { standing, ..self }
    }
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
