//! A bare-metal monitor for /390: one guest in problem state, moved by `monitor-core`.
//!
//! Source of truth: z/Architecture Principles of Operation (SA22-7832) for [`arch`] and
//! [`channel`], Virtual I/O Device (OASIS) for [`virtio`]. Invariants: one processor; `unsafe` is
//! in `arch` alone, each with its reason. Deliberately not here: what a migration does.

#![no_std]

pub mod arch;
pub mod channel;
pub mod guest;
pub mod monitor;
pub mod sclp;
pub mod selftest;
mod start;
pub mod virtio;
