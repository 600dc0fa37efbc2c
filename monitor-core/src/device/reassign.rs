//! The reassignment machine: brings all devices of a VM to where one step of a move wants them.
//!
//! Source of truth: ARCHITECTURE.md, "Devices"; the ownership rule in [`super`]. The migration
//! machines choose the plan and the moment; this machine names the operations of the ports one by
//! one, takes their ends, and changes the leases accordingly.
//!
//! Invariants: at most [`CONCURRENT_MAX`] operations are under way; an end that nobody waits for is
//! an error and changes nothing; a plan ends only when none of its operations is under way.
//! Assigning, quiescing and detaching stop at the first failure, for the move is given up then.
//! Attaching and removing go on with the other devices, for a guest needs every device that it can
//! have, and so does assigning aliases when the guest runs. What the guest had detached before the
//! move is never attached. Deliberately not here: limits of time, and the epochs, which come with
//! the plan.

use super::{
    descriptor::{Conduct, Conducts, DeviceDescriptor},
    lease::{Lease, LeaseMove},
};
use crate::{
    limits::DEVICES_MAX,
    units::{DeviceSlot, Epoch},
    vm::Operation,
};
use core::fmt;

/// Operations of ports that are under way at the same time.
pub const CONCURRENT_MAX: u16 = 16;

/// A device of the VM with its lease on this SU; the place in the lent slice is its slot.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "_model", derive(Clone, Hash))]
pub struct DeviceEntry {
    /// Who the device is.
    pub descriptor: DeviceDescriptor,
    /// Whether this SU may use it.
    pub lease: Lease,
}

impl DeviceEntry {
    /// A device that the VM does not have on this SU yet.
    #[must_use]
    pub const fn free(descriptor: DeviceDescriptor) -> Self {
        Self { descriptor, lease: Lease::free() }
    }

    /// A device that the VM uses on this SU under `generation`, unless the guest has detached it.
    #[must_use]
    pub const fn attached(descriptor: DeviceDescriptor, generation: Epoch) -> Self {
        let is_detached = descriptor.is_detached;
        let lease = if is_detached { Lease::assigned() } else { Lease::attached(generation) };
        Self { descriptor, lease }
    }

    /// A device of a VM whose monitor was restarted at the source: whether it was quiesced or
    /// detached is not known any more, so that it is made usable under `generation` once more,
    /// unless the guest had detached it before the move.
    #[must_use]
    pub const fn quiesced(descriptor: DeviceDescriptor, generation: Epoch) -> Self {
        let is_detached = descriptor.is_detached;
        let lease = if is_detached { Lease::assigned() } else { Lease::quiesced(generation) };
        Self { descriptor, lease }
    }

    /// A device of a VM whose monitor was restarted at the target: whether it was assigned or
    /// attached is not known any more, so that either is done once more.
    #[must_use]
    pub const fn assigned(descriptor: DeviceDescriptor) -> Self {
        let is_alias = matches!(descriptor.conduct(), Conduct::Alias);
        Self { descriptor, lease: if is_alias { Lease::free() } else { Lease::assigned() } }
    }

    /// A slot without a device, for storage that is lent before the devices are known.
    #[must_use]
    pub const fn vacant() -> Self {
        Self::free(DeviceDescriptor::VACANT)
    }
}

/// What is to become of the devices of these conducts. A device whose lease does not admit it is
/// passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Plan {
    /// On the target: free to assigned.
    Assign(Conducts),
    /// On the source: attached to quiesced.
    Quiesce(Conducts),
    /// On the source: quiesced to assigned, of devices that do not go with the guest.
    Detach,
    /// On the target when it has won the record: assigned to attached. On the source when the VM
    /// is given back: quiesced, in part or whole, or detached for the move, to attached.
    Attach {
        /// Which devices.
        conducts: Conducts,
        /// The epoch of ownership that the I/O of the devices carries.
        epoch: Epoch,
    },
    /// On the source when the VM runs on the target, on the target when the move is given up:
    /// assigned, quiesced or attached to free, of all devices.
    Remove,
}

impl Plan {
    const fn lease_move(self) -> LeaseMove {
        match self {
            Self::Assign(_) => LeaseMove::Assign,
            Self::Quiesce(_) => LeaseMove::Quiesce,
            Self::Detach => LeaseMove::Detach,
            Self::Attach { .. } => LeaseMove::Attach,
            Self::Remove => LeaseMove::Remove,
        }
    }

    const fn goes_on_after_failure(self) -> bool {
        match self {
            Self::Assign(conducts) => !conducts.contains(Conducts::MOVE),
            Self::Quiesce(_) | Self::Detach => false,
            Self::Attach { .. } | Self::Remove => true,
        }
    }

    /// Whether the plan is for this device, wherever its lease stands.
    fn concerns(self, device: &DeviceDescriptor) -> bool {
        let conduct = Conducts::from(device.conduct());
        match self {
            // An alias that the guest had detached is not the VM's.
            Self::Assign(conducts) => {
                let is_unwanted = device.is_detached && conduct == Conducts::ALIAS;
                conducts.contains(conduct) && !is_unwanted
            }
            Self::Quiesce(conducts) => conducts.contains(conduct),
            Self::Detach => Conducts::STAY.contains(conduct),
            Self::Attach { conducts, .. } => !device.is_detached && conducts.contains(conduct),
            Self::Remove => true,
        }
    }

    /// Whether the plan has something to do with this device now.
    fn admits(self, entry: &DeviceEntry) -> bool {
        self.concerns(&entry.descriptor) && entry.lease.admits(self.lease_move())
    }

    fn start(self, entry: &mut DeviceEntry) -> bool {
        let lease = &mut entry.lease;
        self.concerns(&entry.descriptor)
            && match self {
                Self::Assign(_) => lease.start_assign(),
                Self::Quiesce(_) => lease.start_quiesce(),
                Self::Detach => lease.start_detach(),
                Self::Attach { epoch, .. } => lease.start_attach(epoch),
                Self::Remove => lease.start_remove(),
            }
            .is_ok()
    }

    const fn operation(self, slot: DeviceSlot) -> Operation {
        match self {
            Self::Assign(_) => Operation::AssignDevice(slot),
            Self::Quiesce(_) => Operation::QuiesceDevice(slot),
            Self::Detach => Operation::DetachDevice(slot),
            Self::Attach { .. } => Operation::AttachDevice(slot),
            Self::Remove => Operation::RemoveDevice(slot),
        }
    }
}

/// How far a plan is after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub enum Progress {
    /// No plan has ended by this call.
    UnderWay,
    /// The plan has ended: every device is where it was to be, or the plan was abandoned.
    Finished,
    /// The plan has ended, and this device was the first that failed.
    Failed(DeviceSlot),
}

/// Why a call was refused; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ReassignError {
    /// Another plan is under way, or a former quiesce is still to end.
    Busy,
    /// There are more devices than [`DEVICES_MAX`].
    TooManyDevices,
    /// The device was attached under a later epoch already.
    StaleEpoch(DeviceSlot),
    /// Nobody waits for the end of this operation.
    Unexpected(Operation),
}

impl fmt::Display for ReassignError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => formatter.write_str("another plan for the devices is under way"),
            Self::TooManyDevices => formatter.write_str("too many devices"),
            Self::StaleEpoch(slot) => {
                write!(formatter, "device slot {slot} was attached under a later epoch")
            }
            Self::Unexpected(operation) => {
                write!(formatter, "nobody waits for the end of {operation:?}")
            }
        }
    }
}

impl core::error::Error for ReassignError {}

/// The machine. It holds no device; the entries are lent to each call, always the same ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reassignment {
    plan: Option<Plan>,
    next: u16,
    outstanding: u16,
    failed: Option<DeviceSlot>,
    abandoned: bool,
}

impl Reassignment {
    /// Begins a plan. An attach overtakes a quiesce that is under way, since a device that does not
    /// become quiet must not keep the guest from going on where it was.
    ///
    /// # Errors
    /// Fails while another plan is under way; while a quiesce that the plan does not take up is
    /// still to end; for more devices than there may be; and for an attach under an epoch older
    /// than that of a device.
    pub fn begin(
        &mut self,
        plan: Plan,
        entries: &[DeviceEntry],
    ) -> Result<Progress, ReassignError> {
        if !self.admits(plan, entries) {
            return Err(ReassignError::Busy);
        }
        if entries.len() > usize::from(DEVICES_MAX) {
            return Err(ReassignError::TooManyDevices);
        }
        if let Plan::Attach { epoch, .. } = plan {
            for (slot, entry) in (0..DEVICES_MAX).zip(entries) {
                if plan.admits(entry) && entry.lease.generation() > epoch {
                    return Err(ReassignError::StaleEpoch(DeviceSlot::new(slot)));
                }
            }
        }
        let begun = entries.iter().filter(|entry| entry.lease.is_under_way(plan.lease_move()));
        let outstanding = begun.fold(0_u16, |count, _| count.saturating_add(1));
        *self = Self { plan: Some(plan), outstanding, ..Self::default() };
        Ok(self.progress(entries))
    }

    /// The next operation to start, if one may start now; its lease has begun to change. When the
    /// port refuses to start it, the caller says so by `handle_failed`.
    pub fn poll_operation(&mut self, entries: &mut [DeviceEntry]) -> Option<Operation> {
        let plan = self.plan?;
        if self.is_stopped(plan) || self.outstanding >= CONCURRENT_MAX {
            return None;
        }
        let mut rest = entries.iter_mut().skip(usize::from(self.next));
        loop {
            let entry = rest.next()?;
            let slot = DeviceSlot::new(self.next);
            self.next = self.next.saturating_add(1);
            if plan.start(entry) {
                self.outstanding = self.outstanding.saturating_add(1);
                return Some(plan.operation(slot));
            }
        }
    }

    /// Takes the success of an operation.
    ///
    /// # Errors
    /// Fails when nobody waits for it.
    pub fn handle_done(
        &mut self,
        operation: Operation,
        entries: &mut [DeviceEntry],
    ) -> Result<Progress, ReassignError> {
        self.handle_end(operation, entries, true)
    }

    /// Takes the failure of an operation; the device's lease is again what it was before.
    ///
    /// # Errors
    /// Fails when nobody waits for it.
    pub fn handle_failed(
        &mut self,
        operation: Operation,
        entries: &mut [DeviceEntry],
    ) -> Result<Progress, ReassignError> {
        self.handle_end(operation, entries, false)
    }

    /// Gives the plan up: no further operation starts. It ends when those under way have ended.
    pub fn abandon(&mut self) -> Progress {
        if self.plan.is_none() {
            return Progress::Finished;
        }
        self.abandoned = true;
        self.progress(&[])
    }

    /// Whether no plan is under way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.plan.is_none()
    }

    /// The plan that is under way.
    #[must_use]
    pub const fn plan(&self) -> Option<Plan> {
        self.plan
    }

    fn handle_end(
        &mut self,
        operation: Operation,
        entries: &mut [DeviceEntry],
        success: bool,
    ) -> Result<Progress, ReassignError> {
        let unexpected = ReassignError::Unexpected(operation);
        let (lease_move, slot) = device_move(operation).ok_or(unexpected)?;
        let lease = &mut entries.get_mut(usize::from(slot.get())).ok_or(unexpected)?.lease;
        let ended = if success { lease.finish(lease_move) } else { lease.fail(lease_move) };
        ended.map_err(|_| unexpected)?;
        if self.plan.map(Plan::lease_move) == Some(lease_move) {
            self.outstanding = self.outstanding.saturating_sub(1);
            if !success {
                self.failed = self.failed.or(Some(slot));
            }
        }
        Ok(self.progress(entries))
    }

    /// Whether a plan may begin now. Quiesces may be under way without a plan, since an attach
    /// overtakes them: a new quiesce takes up those that an abandoned attach has not reached.
    fn admits(&self, plan: Plan, entries: &[DeviceEntry]) -> bool {
        let mut leases = entries.iter().map(|entry| &entry.lease);
        match plan {
            Plan::Attach { .. } => matches!(self.plan, None | Some(Plan::Quiesce(_))),
            Plan::Quiesce(_) => self.is_idle() && !leases.any(Lease::owes_quiesce),
            Plan::Assign(_) | Plan::Detach | Plan::Remove => {
                self.is_idle() && !leases.any(|lease| lease.is_under_way(LeaseMove::Quiesce))
            }
        }
    }

    const fn is_stopped(&self, plan: Plan) -> bool {
        self.abandoned || (self.failed.is_some() && !plan.goes_on_after_failure())
    }

    /// Says whether the plan has ended, and forgets it then.
    fn progress(&mut self, entries: &[DeviceEntry]) -> Progress {
        let Some(plan) = self.plan else {
            return Progress::UnderWay;
        };
        let mut rest = entries.iter().skip(usize::from(self.next));
        let stopped = self.is_stopped(plan);
        let starts_more = !stopped && rest.any(|entry| plan.admits(entry));
        if starts_more || self.outstanding > 0 {
            return Progress::UnderWay;
        }
        let outcome = self.failed.map_or(Progress::Finished, Progress::Failed);
        *self = Self::default();
        outcome
    }
}

/// The change of a lease that an operation performs, and on which device.
const fn device_move(operation: Operation) -> Option<(LeaseMove, DeviceSlot)> {
    match operation {
        Operation::AssignDevice(slot) => Some((LeaseMove::Assign, slot)),
        Operation::QuiesceDevice(slot) => Some((LeaseMove::Quiesce, slot)),
        Operation::DetachDevice(slot) => Some((LeaseMove::Detach, slot)),
        Operation::AttachDevice(slot) => Some((LeaseMove::Attach, slot)),
        Operation::RemoveDevice(slot) => Some((LeaseMove::Remove, slot)),
        Operation::CheckVm
        | Operation::BuildVm
        | Operation::DestroyVm
        | Operation::TrackChanges
        | Operation::StopProcessors
        | Operation::ResumeProcessors
        | Operation::MoveState
        | Operation::TellGuest
        | Operation::SaveJournal => None,
    }
}

#[cfg(test)]
#[path = "reassign_tests.rs"]
mod tests;
