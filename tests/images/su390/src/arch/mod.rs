//! What the processor offers, behind safe functions: the only place with `unsafe`.
//!
//! Source of truth: z/Architecture Principles of Operation (SA22-7832). Invariants: the monitor
//! runs disabled for interruptions, save while it waits; its own prefix is 0. Deliberately not
//! here: devices, the guest.

pub mod boot;
pub mod clock;
pub mod control;
pub mod dat;
#[cfg(feature = "portable")]
pub mod heap;
pub mod interruption;
pub mod io;
pub mod keys;
pub mod lowcore;
pub mod power;
pub mod psw;
pub mod registers;
pub mod service;
pub mod storage;

pub use interruption::{Exit, GuestRegisters, enter_guest};
