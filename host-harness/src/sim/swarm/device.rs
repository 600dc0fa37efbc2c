//! Devices of a world: a console, disks that judge the journal as it is written, adapters.
//!
//! Source of truth: the workload `journal` for what a record is. Invariants: the devices are those
//! of the harness; every write to a disk is looked at; each record comes once and in order; an
//! adapter of the local network is that of the SU where the guest is. Deliberately not here:
//! latency, what a guest says, and who is at the other end of a line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monitor_core::{
    channel::DeviceStatus,
    units::{Epoch, Micros},
};

use super::fault::FaultKind;
use crate::{
    machine::{
        Access, CkdDisk, Console, Ctc, Device, DiskFormat, DiskWrite, Faulty, FbaDisk, Lan,
        LineSink, LoggedDisk, Misbehavior, Outcome, Refusal, SenseId, Transfer,
    },
    workload::{JOURNAL_BLOCKS, JOURNAL_CYLINDERS},
};

/// About how often a device that waits is asked again; one that is busy is tried less often.
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

/// The adapters of all SUs on one line: each SU reaches its own.
#[derive(Debug)]
pub(super) struct Adapters(pub(super) Vec<Lan>);

impl Adapters {
    fn of(&self, access: &Access) -> &Lan {
        // The paths of an SU are numbered like the SU.
        &self.0[usize::from(access.path.system)]
    }
}

/// What a device is.
#[derive(Debug)]
enum Behind {
    Console,
    /// A disk of the journal.
    Disk(Arc<dyn LoggedDisk>),
    /// An adapter, whose other end is no guest.
    Adapter,
}

/// A device that all SUs reach.
#[derive(Debug)]
pub(super) struct SimDevice {
    device: Faulty,
    behind: Behind,
    memory: Mutex<Memory>,
}

impl SimDevice {
    fn new(device: Arc<dyn Device>, behind: Behind) -> Self {
        Self { device: Faulty::new(device), behind, memory: Mutex::default() }
    }

    /// A console.
    pub(super) fn console() -> Self {
        Self::new(Arc::new(Console::new(Arc::new(Nowhere))), Behind::Console)
    }

    /// A disk of the journal.
    pub(super) fn disk_of_journal(format: DiskFormat) -> Self {
        fn of(disk: Arc<impl LoggedDisk + 'static>) -> SimDevice {
            let device: Arc<dyn Device> = Arc::clone(&disk) as _;
            SimDevice::new(device, Behind::Disk(disk))
        }
        match format {
            DiskFormat::Fba => of(Arc::new(FbaDisk::in_memory(JOURNAL_BLOCKS))),
            DiskFormat::Ckd => of(Arc::new(CkdDisk::in_memory(JOURNAL_CYLINDERS))),
        }
    }

    /// A line of the local network.
    pub(super) fn line(adapters: Arc<Adapters>) -> Self {
        Self::new(adapters, Behind::Adapter)
    }

    /// A side of a channel-to-channel adapter.
    pub(super) fn side(side: Arc<Ctc>) -> Self {
        Self::new(side, Behind::Adapter)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the next command go wrong, of a device without which the guest can do for a while.
    pub(super) fn misbehave(&self, kind: FaultKind, span: Micros) {
        let misbehavior = match kind {
            FaultKind::IoFails => {
                let mut sense = [0; 32];
                sense[0] = EQUIPMENT_CHECK;
                Misbehavior::UnitCheck(sense)
            }
            FaultKind::IoLate => Misbehavior::LateDeviceEnd(span),
            FaultKind::IoLost => Misbehavior::LostDeviceEnd,
            // Busy programs are at rest between two attempts, and slow ones are not.
            _ if span.get().is_multiple_of(2) => Misbehavior::Busy((span.get() / ASK_US) as u32),
            _ => Misbehavior::Slow((span.get() / ASK_US) as u32),
        };
        match self.behind {
            Behind::Console => {}
            // Only the journal notices that an interruption is missing.
            Behind::Adapter if misbehavior == Misbehavior::LostDeviceEnd => {}
            Behind::Disk(_) | Behind::Adapter => self.device.inject_next(misbehavior),
        }
    }

    /// What a checker looks at; a transfer is shown once.
    pub(super) fn look(&self) -> Look {
        let mut memory = self.memory();
        let (highest, fault) = (memory.highest, memory.fault);
        Look { highest, transfer: memory.transfer.take(), fault }
    }

    /// The disk of the journal, if this is it.
    pub(super) fn disk(&self) -> Option<&dyn LoggedDisk> {
        match &self.behind {
            Behind::Disk(disk) => Some(&**disk),
            Behind::Console | Behind::Adapter => None,
        }
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
        if let Some(disk) = self.disk()
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

impl Device for Adapters {
    fn sense_id(&self) -> SenseId {
        self.0[0].sense_id()
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.of(access).admit(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        self.of(access).execute(access, command, data)
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        self.of(access).take_unsolicited(access)
    }

    fn adopt(&self, from: &Access, to: &Access) -> Result<(), Refusal> {
        self.of(to).adopt(from, to)
    }

    fn reset(&self, access: &Access) {
        self.of(access).reset(access);
    }

    fn fenced_count(&self) -> u64 {
        self.0.iter().map(Device::fenced_count).sum()
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
        let outcome = self.device.execute(access, command, data);
        self.watch(access, data.moved() > 0, outcome);
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

    fn adopt(&self, from: &Access, to: &Access) -> Result<(), Refusal> {
        self.device.adopt(from, to)?;
        self.memory().highest = to.epoch;
        Ok(())
    }

    fn reset(&self, access: &Access) {
        self.device.reset(access);
    }

    fn fenced_count(&self) -> u64 {
        self.device.fenced_count()
    }
}
