//! Devices of a VM: who they are, who may use them, and how they change hands.
//!
//! Source of truth: VM2000 manual (ASSIGN-VM-DEVICES, device usage, live migration of devices).
//!
//! Invariant: a device is usable by at most one side. The source quiesces before it gives the VM
//! away, the target attaches only after it has won the ownership record, and the source removes
//! only after the VM runs on the target; giving back is an attach under the source's own epoch.
//! What does not go with the guest is detached on the source before the guest is stopped.
//! Deliberately not here: the devices themselves and their subchannels.

mod descriptor;
mod lease;
mod reassign;

pub use descriptor::{
    Assignment, Conduct, Conducts, DESCRIPTOR_BYTES, DescriptorError, DeviceDescriptor, DeviceKind,
    Usage,
};
pub use lease::{Lease, LeaseError, LeaseMove, LeaseState};
pub use reassign::{CONCURRENT_MAX, DeviceEntry, Plan, Progress, ReassignError, Reassignment};
