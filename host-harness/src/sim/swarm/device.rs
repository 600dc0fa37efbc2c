//! Devices of a world: a console, a line, and a disk that judges the journal as it is written.
//!
//! Source of truth: the workload `journal` for what a record is. Invariants: a device keeps the
//! highest epoch that it has seen and refuses lower ones; each record comes once and in order.
//! Deliberately not here: latency, and what a guest says.

use std::sync::{Mutex, MutexGuard, PoisonError};

use monitor_core::units::Epoch;

use crate::machine::{Access, Device, Disk, Refusal};

/// What a device remembers.
#[derive(Debug, Default)]
struct Memory {
    highest: Epoch,
    refused: u64,
    /// The latest record, its block, and its bytes: what the guest reads back.
    last: u64,
    block: Option<u32>,
    content: Vec<u8>,
    /// The first thing that was wrong.
    fault: Option<&'static str>,
    /// The epoch of the latest accepted transfer that has not been asked for.
    transfer: Option<Epoch>,
}

/// What a checker sees of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The highest epoch that was seen.
    pub(super) highest: Epoch,
    /// The epoch of the latest transfer since the last look.
    pub(super) transfer: Option<Epoch>,
    /// What was wrong first, if anything was.
    pub(super) fault: Option<&'static str>,
}

/// A device that all SUs reach.
#[derive(Debug)]
pub(super) struct SimDevice {
    memory: Mutex<Memory>,
    /// Whether the guest keeps its journal here.
    keeps_journal: bool,
}

impl SimDevice {
    pub(super) fn new(keeps_journal: bool) -> Self {
        Self { memory: Mutex::default(), keeps_journal }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a checker looks at; a transfer is shown once.
    pub(super) fn look(&self) -> Look {
        let mut memory = self.memory();
        let (highest, fault) = (memory.highest, memory.fault);
        Look { highest, transfer: memory.transfer.take(), fault }
    }

    /// The latest record of the journal.
    pub(super) fn last_record(&self) -> u64 {
        self.memory().last
    }
}

impl Memory {
    fn pass(&mut self, access: &Access) -> Result<(), Refusal> {
        if access.epoch < self.highest {
            self.refused += 1;
            return Err(Refusal::Fenced);
        }
        self.highest = access.epoch;
        Ok(())
    }
}

impl Device for SimDevice {
    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.memory().pass(access)
    }

    fn control(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal> {
        self.memory().pass(access)?;
        let (block, _) = data.split_first_chunk().ok_or(Refusal::CommandReject)?;
        access.block = Some(u32::from_be_bytes(*block));
        Ok(())
    }

    fn write(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal> {
        let mut memory = self.memory();
        memory.pass(access)?;
        memory.transfer = Some(access.epoch);
        if self.keeps_journal {
            let number = data.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
            if number != memory.last + 1 {
                memory.fault.get_or_insert("a journal record was lost or written twice");
            }
            memory.last = number;
            memory.block = access.block;
            memory.content.clear();
            memory.content.extend_from_slice(data);
        }
        Ok(())
    }

    fn read(&self, access: &mut Access, target: &mut [u8]) -> Result<usize, Refusal> {
        let mut memory = self.memory();
        memory.pass(access)?;
        memory.transfer = Some(access.epoch);
        // The guest reads back what it has written last; anything else it would find wrong.
        let length = target.len().min(Disk::BLOCK_BYTES);
        target[..length].fill(0);
        if memory.block == access.block {
            for (place, byte) in target.iter_mut().zip(&memory.content) {
                *place = *byte;
            }
        }
        Ok(length)
    }

    fn fenced_count(&self) -> u64 {
        self.memory().refused
    }
}
