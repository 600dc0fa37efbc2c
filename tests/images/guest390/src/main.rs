//! A guest for the bare /390 monitor: it sweeps its storage, counts ticks, and judges itself.
//!
//! It runs where a monitor puts it, in what it takes for a machine of its own: it sets its prefix
//! and its new PSWs, takes interruptions, and uses privileged instructions, storage keys,
//! supervisor calls and both states. A monitor that loses or invents anything shows in its report.
//!
//! Source of truth: z/Architecture Principles of Operation; [`interface`] for the monitor.
//! Invariants: whatever it remembers is in its storage and registers. Deliberately not here:
//! devices, dynamic address translation.

#![no_std]
#![no_main]

#[allow(unreachable_pub, dead_code, reason = "the monitor compiles this file, too")]
mod interface;
mod judge;
mod keys;
mod listen;
mod monitor;
mod processor;
mod script;
mod start;
mod supervisor;
