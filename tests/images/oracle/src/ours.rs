//! The emulated hardware of the harness, as a subject of the sequences.
//!
//! Source of truth: `host_harness::machine`. Invariants: time passes only where a sequence waits,
//! so an outcome is the same each time; the units have the numbers and the contents that Hercules
//! gives them. Deliberately not here: processors, whose part in I/O is to name a subchannel.

use std::{collections::VecDeque, ops::Range, path::Path as FilePath, sync::Arc};

use host_harness::machine::{
    AttachedDevice, CkdDisk, ConditionCode, Console, Ctc, Device, Exception, FbaDisk,
    IoInterruption, LineSink, Path, Storage, Subsystem,
};
use monitor_core::{
    channel::{ChannelReportWord, Orb, Schib},
    device::{Assignment, DeviceDescriptor, DeviceKind},
    units::{
        DeviceNumber, DeviceSlot, Epoch, Micros, Mnemonic, PageCount, PageNumber, SubchannelNumber,
        Tick, VmName,
    },
};
use oracle_sequences::{
    Code, Sequence, Subject, Unit, area,
    disk::BLOCK_COUNT,
    fixed, random,
    subject::{self, Irb},
};

use crate::{
    disks,
    failure::{Failure, Result},
    transcript::Transcript,
};

/// Set in each subsystem-identification word.
const IDENTIFICATION: u32 = 0x0001_0000;
/// Cylinders of the count-key-data disk.
const CYLINDER_COUNT: u16 = 5;
/// How much time passes at a look of somebody who waits, and how often he looks.
const PAUSE_US: u64 = 10;
const ROUNDS: u32 = 20_000;

/// Interruptions of every subclass are pending, though none is taken.
const EVERY_SUBCLASS: u8 = 0xFF;

/// Runs the sequences of these seeds, or the fixed ones when there are none.
pub(crate) fn run(folder: &FilePath, seeds: &Range<u64>) -> Result<Transcript> {
    let mut emulated = Emulated::new(folder)?;
    let mut text = String::new();
    let mut ask = |sequence: &Sequence| {
        // Writing to a string cannot fail.
        let _ = oracle_sequences::run(sequence, &mut emulated, &mut text);
    };
    if seeds.is_empty() {
        fixed::all(&mut ask);
    } else {
        seeds.clone().for_each(|seed| ask(&random::sequence(seed)));
    }
    Transcript::of_lines(&text.lines().collect::<Vec<_>>())
}

/// The emulated hardware.
#[derive(Debug)]
struct Emulated {
    storage: Storage,
    subsystem: Subsystem,
    console: Arc<Console>,
    reports: VecDeque<u32>,
    now: Tick,
}

/// Nobody looks at what the console shows.
#[derive(Debug)]
struct Nobody;

impl LineSink for Nobody {
    fn line(&self, _: &str) {}
}

impl Emulated {
    fn new(folder: &FilePath) -> Result<Self> {
        let (ctc, peer) = Ctc::pair();
        let console = Arc::new(Console::new(Arc::new(Nobody)));
        let mut devices = Vec::new();
        for unit in Unit::ALL {
            let device: Arc<dyn Device> = match unit {
                Unit::Plain | Unit::Fba => Arc::new(fixed_block_disk(folder, unit)?),
                Unit::Ckd => Arc::new(CkdDisk::in_memory(CYLINDER_COUNT)),
                Unit::Console => Arc::<Console>::clone(&console),
                Unit::Ctc => Arc::<Ctc>::clone(&ctc),
                Unit::CtcPeer => Arc::<Ctc>::clone(&peer),
                Unit::Absent => continue,
            };
            let path = Path { system: 1, channel: 0 };
            devices.push(AttachedDevice::new(descriptor(unit)?, device, Micros::new(1), path));
        }
        let count = u16::try_from(devices.len()).unwrap_or(0);
        let name = VmName::new("ORACLE").ok_or_else(|| Failure::new("no name of a VM"))?;
        let mut subsystem = Subsystem::new(name, devices);
        for slot in 0..count {
            subsystem
                .attach(DeviceSlot::new(slot), Epoch::new(1))
                .map_err(|error| Failure::new(format!("a device is not attached: {error}")))?;
        }
        let storage = Storage::new(PageCount::new(u64::from(area::END / area::PAGE_BYTES)));
        let reports = VecDeque::new();
        Ok(Self { storage, subsystem, console, reports, now: Tick::new(0) })
    }
}

/// A disk that holds what Hercules is given.
fn fixed_block_disk(folder: &FilePath, unit: Unit) -> Result<FbaDisk> {
    let path = folder.join(format!("ours-{:04X}", unit.device_number()));
    disks::write(&path)?;
    FbaDisk::in_file(&path, BLOCK_COUNT)
        .map_err(|error| Failure::of_io("open", &path.display().to_string(), &error))
}

fn descriptor(unit: Unit) -> Result<DeviceDescriptor> {
    let kind = match unit {
        Unit::Plain | Unit::Fba | Unit::Ckd => DeviceKind::Disk,
        Unit::Console | Unit::Absent => DeviceKind::Console,
        Unit::Ctc | Unit::CtcPeer => DeviceKind::ChannelToChannel,
    };
    let number = unit.device_number();
    let mnemonic = Mnemonic::from_bytes(format!("{number:04X}").as_bytes());
    Ok(DeviceDescriptor {
        mnemonic: mnemonic.ok_or_else(|| Failure::new("no name of a device"))?,
        number: DeviceNumber::new(number),
        kind,
        assignment: Assignment::Exclusive,
        subchannel: subchannel(unit),
        identity: u64::from(number),
        ..DeviceDescriptor::VACANT
    })
}

/// The subchannel of a unit; nobody has that of the absent one.
const fn subchannel(unit: Unit) -> SubchannelNumber {
    SubchannelNumber::new(unit as u16)
}

/// How an instruction ends that has a program exception as well.
fn outcome(ended: std::result::Result<ConditionCode, Exception>) -> Code {
    ended.map_or_else(|exception| Code::Exception(exception.code()), code)
}

const fn code(condition: ConditionCode) -> Code {
    Code::Condition(match condition {
        ConditionCode::Done => 0,
        ConditionCode::Status => 1,
        ConditionCode::Busy => 2,
        ConditionCode::NotOperational => 3,
    })
}

const fn page(at: u32) -> PageNumber {
    PageNumber::new((at / area::PAGE_BYTES) as u64)
}

impl Subject for Emulated {
    fn has(&self, _: Unit) -> bool {
        true
    }

    fn start(&mut self, unit: Unit, block: &[u8; 32]) -> Code {
        let orb = Orb::from_bytes(block);
        outcome(self.subsystem.start(subchannel(unit), &orb, self.now))
    }

    fn test(&mut self, unit: Unit) -> (Code, Irb) {
        let (condition, irb) = self.subsystem.test(subchannel(unit));
        (code(condition), irb.to_bytes())
    }

    fn store_subchannel(&mut self, unit: Unit) -> (Code, subject::Schib) {
        match self.subsystem.store(subchannel(unit)) {
            Some(block) => (Code::Condition(0), block.to_bytes()),
            None => (Code::Condition(3), [0; 52]),
        }
    }

    fn modify(&mut self, unit: Unit, block: &subject::Schib) -> Code {
        outcome(self.subsystem.modify(subchannel(unit), &Schib::from_bytes(block)))
    }

    fn halt(&mut self, unit: Unit) -> Code {
        code(self.subsystem.halt(subchannel(unit)))
    }

    fn clear(&mut self, unit: Unit) -> Code {
        code(self.subsystem.clear(subchannel(unit)))
    }

    fn cancel(&mut self, unit: Unit) -> Code {
        code(self.subsystem.cancel(subchannel(unit)))
    }

    fn resume(&mut self, unit: Unit) -> Code {
        code(self.subsystem.resume(subchannel(unit), self.now))
    }

    fn test_pending(&mut self) -> (Code, subject::Interruption) {
        let (condition, interruption) = self.subsystem.test_pending(EVERY_SUBCLASS);
        let mut block = [0; 12];
        let words = interruption.map_or([0; 3], IoInterruption::to_words);
        for (bytes, word) in block.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        (code(condition), block)
    }

    fn store_report(&mut self) -> (Code, u32) {
        self.reports.extend(self.subsystem.take_reports().into_iter().map(ChannelReportWord::get));
        let word = self.reports.pop_front();
        (Code::Condition(u8::from(word.is_none())), word.unwrap_or(0))
    }

    fn unit_of(&self, identification: u32) -> Option<Unit> {
        let number = u16::try_from(identification & !IDENTIFICATION).ok()?;
        Unit::ALL.into_iter().find(|unit| subchannel(*unit).get() == number)
    }

    fn type_line(&mut self) {
        self.console.enter("hello");
    }

    fn pause(&mut self, round: u32) -> bool {
        self.now = self.now.after(Micros::new(PAUSE_US));
        self.subsystem.step(self.now, &self.storage);
        round < ROUNDS
    }

    fn store(&mut self, at: u32, value: u64) {
        // The area lies within storage.
        self.storage.store(u64::from(at), value).ok();
    }

    fn load(&mut self, at: u32) -> u8 {
        let mut byte = [0];
        self.storage.load_bytes(u64::from(at), &mut byte).ok();
        byte[0]
    }

    fn key(&mut self, at: u32) -> u8 {
        self.storage.key(page(at))
    }

    fn set_key(&mut self, at: u32, key: u8) {
        self.storage.set_key(page(at), key);
    }

    fn reset_reference(&mut self, at: u32) -> Code {
        Code::Condition(self.storage.reset_reference(page(at)))
    }
}
