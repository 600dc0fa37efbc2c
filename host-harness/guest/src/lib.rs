//! The memory-only guest: a workload that is written once and runs on emulated and on real
//! processors.
//!
//! It has one processor, no device and no operating system: the monitor answers for it when it
//! would be told of a move. All that it remembers is in guest storage and in two registers, in the
//! same places on each kind of machine, so that a copy goes on wherever it was moved to.
//!
//! A machine lends its storage and registers through [`Storage`] and [`Processor`]. The numbers in
//! storage are those of the architecture: a doubleword has its highest byte at the lowest address.
//!
//! Source of truth: [`layout`] for where things are; QEMU's migration test for the oracle.
//! Invariants: nothing is remembered here; what is read from storage and registers decides no
//! loop bound, and no value of it causes a panic. Deliberately not here: how a machine runs it.
#![no_std]

#[cfg(test)]
extern crate std;

mod image;
pub mod layout;
pub mod pace;
pub mod random;
pub mod sweep;

pub use image::{FACILITIES, SEED, initial_image, open_psw};

use monitor_core::vm::{GuestAnswer, GuestEvent};

/// Guest storage, by doublewords.
pub trait Storage {
    /// An address outside of storage.
    type Fault;

    /// Loads the doubleword at `address`, a multiple of 8.
    ///
    /// # Errors
    /// Fails outside of storage.
    fn load(&self, address: u64) -> Result<u64, Self::Fault>;

    /// Stores the doubleword at `address`, a multiple of 8. The change is noted as that of any
    /// other store of the guest.
    ///
    /// # Errors
    /// Fails outside of storage.
    fn store(&mut self, address: u64, value: u64) -> Result<(), Self::Fault>;
}

/// A processor of the guest, with the storage that it reaches.
pub trait Processor: Storage {
    /// General register `number`, 0 to 15.
    fn general(&self, number: usize) -> u64;

    /// Sets general register `number`, 0 to 15.
    fn set_general(&mut self, number: usize, value: u64);
}

/// Pages that a workload uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// Address of the first page.
    pub origin: u64,
    /// Number of pages.
    pub pages: u64,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Units of work done.
    pub count: u64,
    /// When there is more to do, in the guest's time in microseconds.
    pub next_us: u64,
}

/// What the monitor answers in place of the guest, which cannot be told anything.
#[must_use]
pub const fn answer(event: GuestEvent) -> GuestAnswer {
    match event {
        GuestEvent::MoveComing | GuestEvent::MoveAbandoned | GuestEvent::NetworkUp => {
            GuestAnswer::Ready
        }
        GuestEvent::Moved => GuestAnswer::Resumed,
    }
}

/// Loads the guest into storage of `page_count` zero pages, with `units` pages swept in each
/// period, or as many as possible if there are none. Its processor begins with [`initial_image`].
/// Gives the pages that are swept, or `None` when there is too little storage for one.
///
/// # Errors
/// Fails when storage is smaller than it was said to be.
pub fn load<S: Storage>(
    storage: &mut S,
    page_count: u64,
    (units, period_us): (u64, u64),
) -> Result<Option<Area>, S::Fault> {
    let Some(area) = layout::swept(page_count, 1) else {
        return Ok(None);
    };
    sweep::define(storage, area)?;
    pace::define(storage, layout::SWEEP_BLOCK, units, period_us)?;
    Ok(Some(area))
}

#[cfg(test)]
mod tests;
