//! The channel subsystem of one VM on one SU: subchannels, and the channel programs they run.
//!
//! `subsystem` has the I/O instructions and what the monitor does, `subchannel` the functions of
//! one subchannel, `status` how they end, `program` the channel program, `ccw` its words, and
//! `data` the bytes of one command; `operand` says which operands of instructions are refused.
//!
//! Source of truth: Principles of Operation, chapters "I/O Overview" to "I/O Interruptions".
//! Invariants: a channel program is asynchronous, it takes the latency of its device and the time
//! of its commands, and touches storage when these are due; it does so by logged accesses.
//! Deliberately not here: devices.

mod ccw;
mod data;
mod operand;
mod program;
mod status;
mod subchannel;
mod subsystem;

pub use subsystem::{AttachedDevice, ChannelError, IoInterruption, Subsystem};
