//! Devices of the emulated machine: what a channel program reaches, and the fence against an
//! SU that no longer owns the VM.
//!
//! Source of truth: ARCHITECTURE.md ("Devices").
//!
//! Invariants: a device is shared by both SUs like one on a storage network; it keeps the highest
//! epoch that it has seen of each VM and refuses lower ones. What belongs to one channel program
//! (the selected block) is in its [`Access`] and not in the device. Deliberately not here:
//! latency, which the channel subsystem adds.

mod console;
mod disk;
mod lan;

pub use console::{Console, LineSink};
pub use disk::{Disk, DiskWrite};
pub use lan::{Lan, MacAddress};

use monitor_core::units::{Epoch, VmName};
use std::{collections::BTreeMap, fmt};

/// Who drives a channel program, and where it stands on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The VM that does I/O.
    pub vm: VmName,
    /// The epoch under which the VM's copy was attached to the device.
    pub epoch: Epoch,
    /// The block that the next transfer concerns, if one was selected.
    pub block: Option<u32>,
}

/// Why a device refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command or its data make no sense to this device.
    CommandReject,
    /// A higher epoch of the same VM has been seen: this copy no longer owns the VM.
    Fenced,
}

impl Refusal {
    /// The first two sense bytes that tell the guest.
    #[must_use]
    pub const fn sense(self) -> [u8; 2] {
        match self {
            Self::CommandReject => [0x80, 0x00],
            Self::Fenced => [0x80, 0x02],
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CommandReject => "command rejected",
            Self::Fenced => "fenced by a higher epoch",
        })
    }
}

impl std::error::Error for Refusal {}

/// A device, shared by all SUs that reach it.
pub trait Device: Send + Sync + fmt::Debug {
    /// Takes note that the VM of `access` now uses the device under this epoch.
    ///
    /// # Errors
    /// Fails when a higher epoch has been seen.
    fn admit(&self, access: &Access) -> Result<(), Refusal>;

    /// Positions for the transfers that follow in the same channel program.
    ///
    /// # Errors
    /// Fails when the device refuses.
    fn control(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal>;

    /// Takes `data`.
    ///
    /// # Errors
    /// Fails when the device refuses; nothing is written then.
    fn write(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal>;

    /// Fills `target` and says how many bytes there were.
    ///
    /// # Errors
    /// Fails when the device refuses.
    fn read(&self, access: &mut Access, target: &mut [u8]) -> Result<usize, Refusal>;

    /// How many accesses were refused because of a higher epoch.
    fn fenced_count(&self) -> u64;
}

/// The highest epoch of each VM that a device has seen.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    highest: BTreeMap<VmName, Epoch>,
    refused: u64,
}

impl Fence {
    /// Lets `access` pass and remembers its epoch.
    ///
    /// # Errors
    /// Fails when a higher epoch of the same VM has passed before; that is counted.
    pub fn pass(&mut self, access: &Access) -> Result<(), Refusal> {
        let highest = self.highest.entry(access.vm).or_insert(access.epoch);
        if access.epoch < *highest {
            self.refused += 1;
            return Err(Refusal::Fenced);
        }
        *highest = access.epoch;
        Ok(())
    }

    /// How many accesses were refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}
