//! Devices of a world: a console, and a disk that judges the journal as it is written.
//!
//! Source of truth: the workload `journal` for what a record is. Invariants: the disk is the FBA
//! disk of the harness, whose every write is looked at; each record comes once and in order.
//! Deliberately not here: latency, and what a guest says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monitor_core::{channel::DeviceStatus, units::Epoch};

use crate::{
    machine::{
        Access, Console, Device, DiskWrite, FbaDisk, LineSink, Outcome, Refusal, SenseId, Transfer,
    },
    workload::JOURNAL_BLOCKS,
};

/// What is remembered of a device.
#[derive(Debug, Default)]
struct Memory {
    highest: Epoch,
    /// The latest record, and the write that brought it.
    last: u64,
    seen: u64,
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

/// Where lines go that nobody reads.
struct Nowhere;

impl LineSink for Nowhere {
    fn line(&self, _text: &str) {}
}

/// The device itself.
#[derive(Debug)]
enum Kind {
    Console(Console),
    Journal(FbaDisk),
}

/// A device that all SUs reach.
#[derive(Debug)]
pub(super) struct SimDevice {
    kind: Kind,
    memory: Mutex<Memory>,
}

impl SimDevice {
    /// The disk of the journal, or a console.
    pub(super) fn new(keeps_journal: bool) -> Self {
        let kind = if keeps_journal {
            Kind::Journal(FbaDisk::in_memory(JOURNAL_BLOCKS))
        } else {
            Kind::Console(Console::new(Arc::new(Nowhere)))
        };
        Self { kind, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn device(&self) -> &dyn Device {
        match &self.kind {
            Kind::Console(console) => console,
            Kind::Journal(disk) => disk,
        }
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

    /// Takes note of what a command has done.
    fn watch(&self, access: &Access, moved: bool, outcome: Outcome) {
        let Outcome::Ended(ending) = outcome else {
            return;
        };
        if ending.status.contains(DeviceStatus::UNIT_CHECK) {
            return;
        }
        let mut memory = self.memory();
        if moved {
            memory.transfer = Some(access.epoch);
        }
        if let Kind::Journal(disk) = &self.kind
            && let Some(write) = disk.last_write()
            && write.sequence > memory.seen
        {
            memory.record(&write);
        }
    }
}

impl Memory {
    fn record(&mut self, write: &DiskWrite) {
        let number = write.head.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        if number != self.last + 1 {
            self.fault.get_or_insert("a journal record was lost or written twice");
        }
        self.last = number;
        self.seen = write.sequence;
    }
}

impl Device for SimDevice {
    fn sense_id(&self) -> SenseId {
        self.device().sense_id()
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.device().admit(access)?;
        self.memory().highest = access.epoch;
        Ok(())
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        let room = data.room();
        let outcome = self.device().execute(access, command, data);
        self.watch(access, data.room() != room, outcome);
        outcome
    }

    fn no_operation(&self, access: &mut Access) -> Outcome {
        self.device().no_operation(access)
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        self.device().take_unsolicited(access)
    }

    fn cancel(&self, access: &Access) {
        self.device().cancel(access);
    }

    fn fenced_count(&self) -> u64 {
        self.device().fenced_count()
    }
}
