//! A machine with one device that does as it is told, for tests of the channel subsystem.
//!
//! Source of truth: the head of [`super::super::channel`]. Invariant: the bench steps with the time
//! that the channel subsystem asks for, or that the test says. Deliberately not here: rules, which
//! the tests hold.

use super::*;
use crate::machine::{Taken, take_up_to};
use monitor_core::channel::Irb;
use std::{collections::VecDeque, sync::Mutex};

/// Where channel programs and data lie.
pub(super) const PROGRAM: u32 = 0x1000;
pub(super) const AREA: u32 = 0x5000;

/// The most bytes that a write of the device takes.
const TAKEN_MAX: usize = 65_536;

/// Flags of a channel-command word.
pub(super) const CHAIN_DATA: u8 = 0x80;
pub(super) const CHAIN: u8 = 0x40;
pub(super) const SUPPRESS: u8 = 0x20;
pub(super) const SKIP: u8 = 0x10;
pub(super) const INTERRUPT: u8 = 0x08;
pub(super) const INDIRECT: u8 = 0x04;
pub(super) const SUSPEND: u8 = 0x02;
pub(super) const MODIFIED: u8 = 0x01;

/// Commands of the device, beside those that all have.
pub(super) const IMMEDIATE: u8 = 0x0B;
pub(super) const READ_BACKWARD: u8 = 0x0C;
pub(super) const TRANSFER: u8 = 0x08;

/// Flags of an operation-request block.
pub(super) const FORMAT_1: u16 = 0x0080;
pub(super) const MAY_SUSPEND: u16 = 0x0800;

/// How a device ends a command, other than normally and at once.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Ends(Ending),
    Waits,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The commands that were carried out, with what they took.
    pub(super) log: Vec<(u8, Vec<u8>)>,
    /// What a read gives.
    pub(super) record: Vec<u8>,
    /// How many bytes a write asks for; as many as there are, if zero.
    pub(super) wanted: usize,
    pub(super) unsolicited: Option<DeviceStatus>,
    pub(super) cancelled: u32,
    /// The paths of the commands.
    pub(super) paths: Vec<Path>,
}

/// A device that does as it is told.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) memory: Mutex<Memory>,
    pub(super) answers: Mutex<VecDeque<Answer>>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.memory.fmt(formatter)
    }
}

impl Probe {
    fn carry_out(&self, access: &Access, code: u8, data: &mut dyn Transfer) {
        let mut memory = lock(&self.memory);
        let mut taken = Vec::new();
        match code & 0x0F {
            0x02 | 0x0C => drop(data.give(&memory.record)),
            0x0B => {}
            _ => {
                if memory.wanted == 0 {
                    (taken, _) = take_up_to(data, TAKEN_MAX);
                } else {
                    taken = vec![0; memory.wanted];
                    if let Taken::Ended(count) | Taken::Refused(count) = data.take(&mut taken) {
                        taken.truncate(count);
                    }
                }
            }
        }
        memory.log.push((code, taken));
        memory.paths.push(access.path);
    }
}

impl Device for Probe {
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x3990, unit_model: 0xC2, device_type: 0x3390, device_model: 0x0A }
    }

    fn admit(&self, _access: &Access) -> Result<(), Refusal> {
        Ok(())
    }

    fn execute(&self, access: &mut Access, code: u8, data: &mut dyn Transfer) -> Outcome {
        match lock(&self.answers).pop_front() {
            None => {
                self.carry_out(access, code, data);
                Outcome::NORMAL
            }
            Some(Answer::Waits) => Outcome::Pending,
            Some(Answer::Ends(ending)) => {
                // A command that a device refuses, or is too busy for, moves nothing.
                if ending.status.contains(DeviceStatus::CHANNEL_END) {
                    self.carry_out(access, code, data);
                }
                Outcome::Ended(ending)
            }
        }
    }

    fn take_unsolicited(&self, _access: &Access) -> Option<DeviceStatus> {
        lock(&self.memory).unsolicited.take()
    }

    fn cancel(&self, _access: &Access) {
        lock(&self.memory).cancelled += 1;
    }

    fn fenced_count(&self) -> u64 {
        0
    }
}

/// A channel-command word of format 1.
pub(super) fn ccw(code: u8, flags: u8, count: u16, address: u32) -> u64 {
    u64::from(code) << 56 | u64::from(flags) << 48 | u64::from(count) << 32 | u64::from(address)
}

/// A channel-command word of format 0.
pub(super) fn ccw_0(code: u8, flags: u8, count: u16, address: u32) -> u64 {
    u64::from(code) << 56 | u64::from(address) << 32 | u64::from(flags) << 24 | u64::from(count)
}

/// A machine with the device.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) probe: Arc<Probe>,
    pub(super) now: u64,
}

impl Bench {
    /// The device is attached, and its subchannel enabled.
    pub(super) fn new() -> Self {
        Self::with_paths(vec![Path { system: 1, channel: 0x11 }])
    }

    pub(super) fn with_paths(paths: Vec<Path>) -> Self {
        let bench = Self::cold(&Arc::default(), paths);
        ready(&bench.machine, 1);
        bench
    }

    /// A machine whose device is not attached.
    pub(super) fn cold(probe: &Arc<Probe>, paths: Vec<Path>) -> Self {
        Self::cold_as(probe, AttachedDevice { paths, ..attached(Arc::<Probe>::clone(probe)) })
    }

    /// The same, whose device is known so.
    pub(super) fn cold_as(probe: &Arc<Probe>, attached: AttachedDevice) -> Self {
        let name = VmName::new("VM12PROD").unwrap();
        let block = VmBlock::new(VmIndex::new(12).unwrap(), name, PageCount::new(16), 1).unwrap();
        let configuration = ConfigurationName::new("390SU- 500-10B").unwrap();
        let machine = Machine::new(&block, configuration, Arc::new(Code(count)), vec![attached]);
        Self { machine, probe: Arc::clone(probe), now: 0 }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.probe.memory)
    }

    /// What reads give.
    pub(super) fn record(&self, bytes: &[u8]) {
        self.memory().record = bytes.to_vec();
    }

    /// How the next commands end.
    pub(super) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.probe.answers).extend(answers);
    }

    /// A request of format 1 for these words.
    pub(super) fn program(&self, words: &[u64]) -> Orb {
        self.put(PROGRAM, words);
        Orb::of_program(PROGRAM, PARAMETER)
    }

    pub(super) fn put(&self, address: u32, words: &[u64]) {
        for (word, place) in words.iter().zip((u64::from(address)..).step_by(8)) {
            self.machine.storage.store(place, *word).unwrap();
        }
    }

    pub(super) fn bytes(&self, address: u32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.machine.storage.load_bytes(u64::from(address), &mut bytes).unwrap();
        bytes
    }

    pub(super) fn fill(&self, address: u32, bytes: &[u8]) {
        self.machine.storage.store_bytes(u64::from(address), bytes).unwrap();
    }

    /// Does something with the channel subsystem.
    pub(super) fn on<T>(&self, action: impl FnOnce(&mut Subsystem) -> T) -> T {
        self.machine.with_subsystem(action)
    }

    pub(super) fn start(&self, orb: &Orb) -> ConditionCode {
        self.on(|subsystem| subsystem.start(SUBCHANNEL, orb, at(self.now)).unwrap())
    }

    /// Steps once after this time.
    pub(super) fn step(&mut self, after: u64) -> Option<Tick> {
        self.now += after;
        self.machine.step_channel(at(self.now))
    }

    /// Steps whenever there is something to do, at most so often.
    pub(super) fn settle(&mut self, steps: usize) {
        let mut due = self.step(0);
        for _ in 0..steps {
            let Some(next) = due else {
                return;
            };
            due = self.step(next.get().saturating_sub(self.now));
        }
    }

    pub(super) fn scsw(&self) -> monitor_core::channel::Scsw {
        self.on(|subsystem| subsystem.store(SUBCHANNEL).unwrap().scsw)
    }

    pub(super) fn pmcw(&self) -> monitor_core::channel::Pmcw {
        self.on(|subsystem| subsystem.store(SUBCHANNEL).unwrap().pmcw)
    }

    pub(super) fn test(&self) -> (ConditionCode, Irb) {
        self.on(|subsystem| subsystem.test(SUBCHANNEL))
    }

    /// Runs a request to its end and gives the status.
    pub(super) fn run(&mut self, orb: &Orb) -> Irb {
        assert_eq!(self.start(orb), ConditionCode::Done);
        self.settle(1000);
        let (condition, irb) = self.test();
        assert_eq!(condition, ConditionCode::Done, "status is pending");
        irb
    }

    /// Runs words of format 1 to their end and gives device status, subchannel status, residual
    /// count, and the place behind the last word, counted in words.
    pub(super) fn end(&mut self, words: &[u64]) -> (u8, u8, u16, u32) {
        let orb = self.program(words);
        end_of(&self.run(&orb))
    }
}

/// Device status, subchannel status, residual count, and the place behind the last word.
pub(super) fn end_of(irb: &Irb) -> (u8, u8, u16, u32) {
    let scsw = irb.scsw;
    let place = scsw.program_address.wrapping_sub(PROGRAM) / 8;
    let (device, subchannel) = (scsw.device_status.bits(), scsw.subchannel_status.bits());
    (device, subchannel, scsw.residual_count, place)
}

/// An ending with this status.
pub(super) fn ends(status: DeviceStatus) -> Answer {
    Answer::Ends(Ending { status, ..Ending::NORMAL })
}

/// A normal ending that takes `duration` until channel end, and `later` until device end.
pub(super) fn takes(duration: u64, later: u64) -> Answer {
    let (duration, device_end_after) = (Micros::new(duration), Micros::new(later));
    Answer::Ends(Ending { duration, device_end_after, ..Ending::NORMAL })
}

/// A request with these flags in addition.
pub(super) fn with_flags(orb: Orb, flags: u16) -> Orb {
    Orb { flags: orb.flags | flags, ..orb }
}

/// Whether the status has these flags.
pub(super) fn has(irb: &Irb, flags: ScswFlags) -> bool {
    irb.scsw.flags.contains(flags)
}
