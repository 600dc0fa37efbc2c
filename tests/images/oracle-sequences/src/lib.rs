//! Sequences of I/O instructions, channel programs and storage-key instructions, and how they run.
//!
//! The same sequences run as a bare image on implementations of /390 that are not ours, and on the
//! emulated hardware of the harness. Each line of the outcome is written here, so the texts of two
//! implementations differ only where their behavior does.
//!
//! Source of truth: Principles of Operation, "I/O Instructions" and "Storage Key", for what is
//! asked; nothing here says what the right answer is. Invariants: a sequence depends on nothing
//! that an earlier one has left behind, disks excepted, whose records each sequence formats anew;
//! no outcome depends on time. Deliberately not here: how an instruction is carried out.

#![no_std]

pub mod area;
pub mod ask;
pub mod disk;
pub mod fixed;
pub mod outcome;
pub mod random;
pub mod sequence;
pub mod step;
pub mod subject;

pub use ask::run;
pub use sequence::Sequence;
pub use step::{Request, Step, Unit};
pub use subject::{Code, Subject};
