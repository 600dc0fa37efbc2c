//! Devices of a world: a console, a line, and a disk that judges the journal as it is written.
//!
//! Source of truth: the workload `journal` for what a record is. Invariants: a device keeps the
//! highest epoch that it has seen and refuses lower ones; each record comes once and in order.
//! Deliberately not here: latency, and what a guest says.

use std::sync::{Mutex, MutexGuard, PoisonError};

use monitor_core::units::Epoch;

use crate::machine::{
    Access, Device, Disk, Outcome, Position, Refusal, SenseId, Transfer, command, take_all,
};

/// What a device remembers.
#[derive(Debug, Default)]
struct Memory {
    highest: Epoch,
    refused: u64,
    /// The latest record, its position, and its bytes: what the guest reads back.
    last: u64,
    position: Position,
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
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x6310, unit_model: 0x80, device_type: 0x9336, device_model: 0x10 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.memory().pass(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        self.memory().carry_out(access, command, data, self.keeps_journal).into()
    }

    fn fenced_count(&self) -> u64 {
        self.memory().refused
    }
}

impl Memory {
    fn carry_out(
        &mut self,
        access: &mut Access,
        command: u8,
        data: &mut dyn Transfer,
        keeps_journal: bool,
    ) -> Result<Outcome, Refusal> {
        self.pass(access)?;
        match command {
            command::WRITE => {
                if let Some(bytes) = take_all(data) {
                    self.transfer = Some(access.epoch);
                    if keeps_journal {
                        self.record(access.position, bytes);
                    }
                }
            }
            command::READ => {
                self.transfer = Some(access.epoch);
                // The guest reads back what it has written last; anything else it would find
                // wrong.
                let mut block = vec![0; Disk::BLOCK_BYTES];
                if self.position == access.position {
                    for (place, byte) in block.iter_mut().zip(&self.content) {
                        *place = *byte;
                    }
                }
                data.give(&block);
            }
            command::CONTROL => {
                if let Some(bytes) = take_all(data) {
                    let (block, _) = bytes.split_first_chunk().ok_or(Refusal::CommandReject)?;
                    access.position = Position::Block(u32::from_be_bytes(*block));
                }
            }
            _ => return Err(Refusal::CommandReject),
        }
        Ok(Outcome::NORMAL)
    }

    fn record(&mut self, position: Position, bytes: Vec<u8>) {
        let number = bytes.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        if number != self.last + 1 {
            self.fault.get_or_insert("a journal record was lost or written twice");
        }
        self.last = number;
        self.position = position;
        self.content = bytes;
    }
}
