//! The channel subsystem of one VM on one SU: subchannels, and the channel programs they run.
//!
//! Source of truth: Principles of Operation, chapters "I/O Overview" to "I/O Interruptions".
//! Invariants: a channel program is asynchronous, it takes the latency of its device and touches
//! storage when it is due; it does so by logged accesses. Deliberately not here: devices.

mod program;
mod subsystem;

pub use subsystem::{AttachedDevice, ChannelError, Subsystem};
