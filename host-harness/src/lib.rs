//! Emulated /390 server units that run real live migrations on a developer's machine.
//!
//! The library behind the program `su390`: machines with storage, processors, channel subsystem
//! and devices; guests that run on them; and what people see of a migration.
//!
//! Source of truth: `ARCHITECTURE.md` for the parts, `monitor_core` for the migration itself.
//!
//! Invariants: [`machine`] and [`workload`] are values that are stepped with the time as a
//! parameter; they know no thread, no clock and no socket. Deliberately not here: any decision
//! about a migration, which the core takes.

pub mod cli;
pub mod cluster;
pub mod config;
pub mod console;
pub mod ctc;
pub mod live;
pub mod machine;
pub mod plan;
pub mod sim;
pub mod workload;
