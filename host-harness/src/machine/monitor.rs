//! What the ports of a VM need of the monitor system around it, and the port made of that.
//!
//! Source of truth: `monitor_core::ports::VmHost`. Invariant: a machine is behind the ports from
//! the end of its building to the begin of its destruction. Deliberately not here: what an SU is
//! made of, which is in `cluster`.

use super::{Machine, PortFailure, VmPorts};
use monitor_core::{
    device::DeviceDescriptor,
    ports::{ErrorKind, MonitorJournal, Operation, VmHost},
    units::DeviceSlot,
    vm::{Findings, MigrationMark, VmBlock},
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// The monitor system of one SU, as one VM's ports see it.
pub trait Monitor: Send + fmt::Debug {
    /// Reports what is in the way of the announced VM; changes nothing.
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    );

    /// Begins to set up the machine of the VM.
    ///
    /// # Errors
    /// Fails when the SU cannot hold it; nothing is left behind then.
    fn start_build(&mut self, definition: &VmBlock) -> Result<(), PortFailure>;

    /// The machine, once it is set up, or why it was not.
    fn poll_built(&mut self) -> Option<Result<Arc<Machine>, PortFailure>>;

    /// The VM has ended on this SU.
    fn destroyed(&mut self, machine: Option<Arc<Machine>>);

    /// Shows a migration mark in the VM's state.
    ///
    /// # Errors
    /// Fails when the state does not admit it.
    fn mark(&mut self, mark: MigrationMark) -> Result<(), PortFailure>;

    /// Gives the device to the VM; its subchannel number differs from the one that the guest knows,
    /// or not.
    ///
    /// # Errors
    /// Fails when the SU does not have it.
    fn assign(&mut self, device: &DeviceDescriptor, differs: bool) -> Result<(), PortFailure>;

    /// Whether a job of the guest uses the device, so that it cannot be detached.
    fn is_in_use(&self, slot: DeviceSlot) -> bool;

    /// The machine is about to work here: its processors are about to run, and with them the I/O
    /// that was held.
    fn beginning(&mut self, machine: &Machine);
}

/// Where a monitor keeps what it needs after a restart of itself.
pub trait Journal: Send + fmt::Debug {
    /// Keeps `record` in place of the one before.
    ///
    /// # Errors
    /// Fails when it cannot be kept; the one before is still there then.
    fn save(&mut self, record: &[u8]) -> Result<(), PortFailure>;
}

/// A journal in memory, of which any clone is another view.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal(Arc<Mutex<Vec<u8>>>);

impl MemoryJournal {
    /// What was kept last; empty when nothing is to be kept.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Journal for MemoryJournal {
    fn save(&mut self, record: &[u8]) -> Result<(), PortFailure> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.extend_from_slice(record);
        Ok(())
    }
}

impl Default for Box<dyn Journal> {
    fn default() -> Self {
        Box::new(MemoryJournal::default())
    }
}

impl MonitorJournal for VmPorts {
    fn save(&mut self, record: &[u8]) -> Result<(), PortFailure> {
        self.journal.save(record)
    }
}

impl VmPorts {
    fn monitor(&mut self) -> Result<&mut (dyn Monitor + 'static), PortFailure> {
        const NONE: PortFailure =
            PortFailure { kind: ErrorKind::NotReady, text: "there is no monitor system" };
        self.monitor.as_deref_mut().ok_or(NONE)
    }

    /// Puts a machine behind the ports that the monitor system has set up meanwhile.
    pub(super) fn take_built(&mut self) {
        match self.monitor.as_deref_mut().and_then(Monitor::poll_built) {
            Some(Ok(machine)) => {
                self.install(machine);
                self.done(Operation::BuildVm);
            }
            Some(Err(failure)) => self.fail(Operation::BuildVm, failure.kind),
            None => {}
        }
    }

    /// Tells the monitor system that the machine is about to work.
    pub(super) fn announce_work(&mut self) {
        if let (Some(monitor), Some(machine)) = (&mut self.monitor, &self.machine) {
            monitor.beginning(machine);
        }
    }
}

impl VmHost for VmPorts {
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) -> Result<(), PortFailure> {
        self.monitor()?.check(definition, devices, findings);
        Ok(())
    }

    fn start_build(&mut self, definition: &VmBlock) -> Result<(), PortFailure> {
        self.monitor()?.start_build(definition)
    }

    fn start_destroy(&mut self) -> Result<(), PortFailure> {
        let machine = self.remove();
        self.monitor()?.destroyed(machine);
        self.done(Operation::DestroyVm);
        Ok(())
    }

    fn mark(&mut self, mark: MigrationMark) -> Result<(), PortFailure> {
        self.monitor()?.mark(mark)
    }
}
