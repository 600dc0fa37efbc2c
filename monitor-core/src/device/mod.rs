//! Devices of a VM: who they are, who may use them, and how they change hands.
//!
//! Source of truth: VM2000 manual (ASSIGN-VM-DEVICES, device usage, live migration of devices).
//!
//! Invariant: a device is usable by at most one side. The source quiesces before it gives the VM
//! away, the target attaches only after it has won the ownership record, and the source removes
//! only after the VM runs on the target; giving back is an attach under the source's own epoch.
//! Deliberately not here: the devices themselves and their subchannels.

mod descriptor;
mod lease;
mod reassign;

pub use descriptor::{Assignment, DESCRIPTOR_BYTES, DescriptorError, DeviceDescriptor, DeviceKind};
pub use lease::{Lease, LeaseError, LeaseMove, LeaseState};
pub use reassign::{CONCURRENT_MAX, DeviceEntry, Plan, Progress, ReassignError, Reassignment};
