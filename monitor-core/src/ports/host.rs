//! Ports of the monitor system around a VM: its definitions, the cluster directory, the console.
//!
//! Source of truth: VM2000 manual (VM definitions, configuration disk, operator messages).
//! Invariants: the directory changes a record by compare-and-set alone; a check changes nothing.
//! Deliberately not here: the operator's command language.

use super::ErrorType;
use crate::{
    device::DeviceDescriptor,
    units::VmName,
    vm::{DirectoryAnswer, Findings, MigrationMark, Ownership, VmBlock},
};

/// The monitor's list of VMs and its storage for them.
pub trait VmHost: ErrorType {
    /// Holds the announced VM against this SU, reports every obstacle, and notes how many
    /// processors the VM can use here ([`Findings::set_pool`]). Changes nothing.
    /// [`crate::migrate::admit_incoming`] is the part of it that needs no books.
    ///
    /// # Errors
    /// Fails when the check itself cannot be made.
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) -> Result<(), Self::Error>;

    /// Starts to set up the VM: control block, storage (touched, zero), processors, which stand
    /// on this SU as `definition` says; ends with `Operation::BuildVm`.
    ///
    /// # Errors
    /// Fails when it cannot be tried; nothing is left behind then.
    fn start_build(&mut self, definition: &VmBlock) -> Result<(), Self::Error>;

    /// Starts to end the VM on this SU and give back its storage and definition; ends with
    /// `Operation::DestroyVm`.
    ///
    /// # Errors
    /// Fails when it cannot be tried.
    fn start_destroy(&mut self) -> Result<(), Self::Error>;

    /// Shows or takes back the migration suffix of the VM's state, `(MIGR)` or `SETUP(MIGR)`.
    ///
    /// # Errors
    /// Fails when the state does not admit the mark.
    fn mark(&mut self, mark: MigrationMark) -> Result<(), Self::Error>;
}

/// What a monitor keeps over a restart of itself: one short record a VM under migration.
///
/// Only a restart of the monitor is meant, which storage and processors of the guest survive; so
/// the record need not survive the loss of the SU. A target's record outlives its driver until the
/// source has said RELEASED: when a connection comes for an attempt without a driver, the host
/// restores the target from it, and the source learns what it asks.
pub trait MonitorJournal: ErrorType {
    /// Keeps `record` in place of the one before, whole or not at all; an empty one says that
    /// nothing is to be kept. It stands when the call returns.
    ///
    /// # Errors
    /// Fails when the record could not be kept; the one before is still there then.
    fn save(&mut self, record: &[u8]) -> Result<(), Self::Error>;
}

/// The cluster directory with the ownership records.
pub trait ClusterDirectory: ErrorType {
    /// Starts to read the record of `vm`; ends with one answer.
    ///
    /// # Errors
    /// Fails when the directory cannot be asked; nothing is under way then.
    fn start_read(&mut self, vm: VmName) -> Result<(), Self::Error>;

    /// Starts to replace `expected` by `new`; ends with one answer, won only if the record was
    /// equal to `expected` in owner, epoch and standing.
    ///
    /// # Errors
    /// Fails when the directory cannot be asked; the record is unchanged then.
    fn start_compare_and_set(
        &mut self,
        vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), Self::Error>;

    /// The answer to what was started last, once it has come or its time has passed.
    fn poll_answer(&mut self) -> Option<DirectoryAnswer>;
}

/// The console of the monitor system.
pub trait OperatorConsole: ErrorType {
    /// Writes one line, without time stamp; the port adds the stamp and the code page.
    ///
    /// # Errors
    /// Fails when the console cannot take the line; the migration goes on without it.
    fn write_line(&mut self, line: &str) -> Result<(), Self::Error>;
}
