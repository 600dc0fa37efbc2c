//! Devices of a world: a console, and a disk that judges the journal as it is written.
//!
//! Source of truth: the workload `journal` for what a record is. Invariants: the disk is the FBA
//! disk of the harness, whose every write is looked at; each record comes once and in order.
//! Deliberately not here: latency, and what a guest says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monitor_core::{
    channel::DeviceStatus,
    units::{Epoch, Micros},
};

use super::fault::FaultKind;
use crate::{
    machine::{
        Access, Console, Device, DiskWrite, Faulty, FbaDisk, LineSink, Misbehavior, Outcome,
        Refusal, SenseId, Transfer,
    },
    workload::JOURNAL_BLOCKS,
};

/// About how often a device that waits is asked again.
const ASK_US: u64 = 100;

/// What is remembered of a device.
#[derive(Debug, Default)]
struct Memory {
    highest: Epoch,
    /// The latest record, and the write that brought it.
    last: u64,
    seen: u64,
    /// Commands that failed by a fault of the world.
    failed: u64,
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

/// The sense bytes of a command that fails by a fault of the world.
const EQUIPMENT_CHECK: u8 = 0x10;

/// A device that all SUs reach.
#[derive(Debug)]
pub(super) struct SimDevice {
    device: Faulty,
    /// The disk, if it keeps the journal.
    disk: Option<Arc<FbaDisk>>,
    memory: Mutex<Memory>,
}

impl SimDevice {
    /// The disk of the journal, or a console.
    pub(super) fn new(keeps_journal: bool) -> Self {
        let disk = keeps_journal.then(|| Arc::new(FbaDisk::in_memory(JOURNAL_BLOCKS)));
        let device: Arc<dyn Device> = match &disk {
            Some(disk) => Arc::<FbaDisk>::clone(disk),
            None => Arc::new(Console::new(Arc::new(Nowhere))),
        };
        Self { device: Faulty::new(device), disk, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next command of the journal go wrong.
    pub(super) fn misbehave(&self, kind: FaultKind, span: Micros) {
        let misbehavior = match kind {
            FaultKind::IoFails => {
                let mut sense = [0; 32];
                sense[0] = EQUIPMENT_CHECK;
                Misbehavior::UnitCheck(sense)
            }
            FaultKind::IoLate => Misbehavior::LateDeviceEnd(span),
            FaultKind::IoLost => Misbehavior::LostDeviceEnd,
            // A device is asked again with each step of the machine.
            _ => Misbehavior::Busy((span.get() / ASK_US) as u32),
        };
        if self.disk.is_some() {
            self.device.inject_next(misbehavior);
        }
    }

    /// What a checker looks at; a transfer is shown once.
    pub(super) fn look(&self) -> Look {
        let mut memory = self.memory();
        let (highest, fault) = (memory.highest, memory.fault);
        Look { highest, transfer: memory.transfer.take(), fault }
    }

    /// The disk of the journal, if this is it.
    pub(super) fn disk(&self) -> Option<&FbaDisk> {
        self.disk.as_deref()
    }

    /// How many commands have failed by a fault of the world.
    pub(super) fn failed(&self) -> u64 {
        self.memory().failed
    }

    /// Takes note of what a command has done.
    fn watch(&self, access: &Access, moved: bool, outcome: Outcome) {
        let Outcome::Ended(ending) = outcome else {
            return;
        };
        let mut memory = self.memory();
        if ending.status.contains(DeviceStatus::UNIT_CHECK) {
            memory.failed += u64::from(ending.sense[0] == EQUIPMENT_CHECK);
            return;
        }
        if moved {
            memory.transfer = Some(access.epoch);
        }
        if let Some(disk) = &self.disk
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
        self.device.sense_id()
    }

    fn sense_length(&self) -> usize {
        self.device.sense_length()
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.device.admit(access)?;
        self.memory().highest = access.epoch;
        Ok(())
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        let room = data.room();
        let outcome = self.device.execute(access, command, data);
        self.watch(access, data.room() != room, outcome);
        outcome
    }

    fn no_operation(&self, access: &mut Access) -> Outcome {
        self.device.no_operation(access)
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        self.device.take_unsolicited(access)
    }

    fn cancel(&self, access: &Access) {
        self.device.cancel(access);
    }

    fn fenced_count(&self) -> u64 {
        self.device.fenced_count()
    }
}
