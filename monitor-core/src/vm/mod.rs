//! Virtual machines as the monitor knows them: control blocks, processors, facilities, states,
//! table, ownership, outcome.
//!
//! Source of truth: VM2000 manual (CREATE-VM, VM states, MIGRATE-VM). Deliberately not here: the
//! course of a migration, which is in [`crate::migrate`].

mod block;
mod facility;
mod finding;
mod guest;
mod machine;
mod operation;
mod outcome;
mod ownership;
mod processors;
mod state;
mod table;

pub use block::{BlockError, Privileges, VmBlock};
pub use facility::{Facility, FacilityList};
pub use finding::{Finding, Findings, Obstacle};
pub use guest::{GuestAnswer, GuestEvent};
pub use machine::{AdapterMasks, EventMasks, FloatingInterruptions, MachineImage, Measurement};
pub use operation::Operation;
pub use outcome::{Blame, Disposition, Reason};
pub use ownership::{DirectoryAnswer, Ownership, Standing};
pub use processors::{ProcessorSet, ProcessorStanding, Processors, StandingError};
pub use state::{Activity, MigrationMark, StateError, VmState};
pub use table::{SharedVmTable, TableError, VmId, VmTable};
