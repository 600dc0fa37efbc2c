//! A device that goes wrong as it is told to: for tests, and for the simulator.
//!
//! Source of truth: this file. Invariants: the same script and the same commands give the same
//! faults; a command that is not in the script is the device's own. Deliberately not here: when a
//! fault is worth while.

use super::{Access, Device, Ending, Outcome, Path, Refusal, Sense, SenseId, Transfer};
use crate::machine::lock;
use monitor_core::{
    channel::DeviceStatus,
    units::{Micros, VmName},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

/// What goes wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehavior {
    /// It is not done, and ends with unit check and these sense bytes.
    UnitCheck(Sense),
    /// The device is busy: it answers so to the first command of so many programs, and then tells
    /// them of its end. In the middle of a program, which has the device, it waits so many times.
    Busy(u32),
    /// It waits while it is asked so many times, wherever it stands, and then it is done.
    Slow(u32),
    /// It waits for ever, or until it is canceled.
    Endless,
    /// It is done, but device end comes so long after channel end.
    LateDeviceEnd(Micros),
    /// It is done, but its device end never comes: the interruption is lost.
    LostDeviceEnd,
}

/// Device end that never comes is this long after channel end.
pub const NEVER: Micros = Micros::new(u64::MAX);

/// How a command goes on that was begun and waits.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// It has to be asked for so many times more.
    Asks(u32),
    /// It goes on waiting.
    Forever,
    /// The device itself waits; what goes wrong when it does not any more.
    Device(Option<Misbehavior>),
}

/// A command that waits: whose, and its place in the channel program.
type Key = (VmName, Path, u16);

#[derive(Debug, Default)]
struct Script {
    /// Commands that were begun; the first one has number 1.
    begun: u64,
    faults: BTreeMap<u64, Misbehavior>,
    waiting: BTreeMap<Key, Waiting>,
    /// How many programs find the device busy from now on, and who has found it so.
    busy: u32,
    refused: BTreeSet<(VmName, Path)>,
    struck: u64,
}

/// How a command goes on.
#[derive(Clone, Copy, Debug)]
enum Next {
    Waits,
    Busy,
    /// It is done, and this goes wrong.
    Goes(Option<Misbehavior>),
}

impl Script {
    fn step(&mut self, key: Key) -> Next {
        let waiting = match self.waiting.remove(&key) {
            Some(waiting) => waiting,
            None if self.is_busy_for(key) => return Next::Busy,
            None => self.begin(),
        };
        let rest = match waiting {
            Waiting::Asks(0) => return Next::Goes(None),
            Waiting::Device(fault) => return Next::Goes(fault),
            Waiting::Asks(count) => Waiting::Asks(count - 1),
            Waiting::Forever => Waiting::Forever,
        };
        self.waiting.insert(key, rest);
        Next::Waits
    }

    /// Whether the device does not take this command because it is busy; then it is not begun.
    fn is_busy_for(&mut self, (vm, path, index): Key) -> bool {
        if index > 0 {
            return false;
        }
        let next = self.begun + 1;
        if let (0, Some(Misbehavior::Busy(count))) = (self.busy, self.faults.get(&next)) {
            self.busy = *count;
            self.struck += 1;
            self.faults.remove(&next);
        }
        let is_busy = self.busy > 0;
        self.busy = self.busy.saturating_sub(1);
        if is_busy {
            self.refused.insert((vm, path));
        }
        is_busy
    }

    /// Whether the end of being busy is to be told to this one; it is told once.
    fn has_ended(&mut self, access: &Access) -> bool {
        self.busy == 0 && self.refused.remove(&(access.vm, access.path))
    }

    fn begin(&mut self) -> Waiting {
        self.begun += 1;
        let fault = self.faults.remove(&self.begun);
        self.struck += u64::from(fault.is_some());
        match fault {
            Some(Misbehavior::Busy(count) | Misbehavior::Slow(count)) => Waiting::Asks(count),
            Some(Misbehavior::Endless) => Waiting::Forever,
            fault => Waiting::Device(fault),
        }
    }
}

/// A device with a script of faults.
#[derive(Debug)]
pub struct Faulty {
    device: Arc<dyn Device>,
    script: Mutex<Script>,
}

impl Faulty {
    /// This device without faults so far.
    #[must_use]
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self { device, script: Mutex::default() }
    }

    /// Has the command of this number go wrong; the first one of all has number 1.
    pub fn inject(&self, command: u64, misbehavior: Misbehavior) {
        lock(&self.script).faults.insert(command, misbehavior);
    }

    /// Has the next command go wrong that is begun.
    pub fn inject_next(&self, misbehavior: Misbehavior) {
        let mut script = lock(&self.script);
        let next = script.begun + 1;
        script.faults.insert(next, misbehavior);
    }

    /// How many commands were begun.
    #[must_use]
    pub fn begun(&self) -> u64 {
        lock(&self.script).begun
    }

    /// How many commands have gone wrong.
    #[must_use]
    pub fn struck(&self) -> u64 {
        lock(&self.script).struck
    }

    fn strike(
        &self,
        access: &mut Access,
        device: impl FnOnce(&dyn Device, &mut Access) -> Outcome,
    ) -> Outcome {
        let key = (access.vm, access.path, access.command_index);
        let fault = match lock(&self.script).step(key) {
            Next::Waits => return Outcome::Pending,
            Next::Busy => {
                return Outcome::Ended(Ending { status: DeviceStatus::BUSY, ..Ending::NORMAL });
            }
            Next::Goes(fault) => fault,
        };
        if let Some(Misbehavior::UnitCheck(sense)) = fault {
            return Outcome::Ended(Ending { sense, ..Ending::unit_check([0, 0]) });
        }
        match (device(&*self.device, access), fault) {
            (Outcome::Pending, fault) => {
                lock(&self.script).waiting.insert(key, Waiting::Device(fault));
                Outcome::Pending
            }
            (Outcome::Ended(ending), Some(Misbehavior::LateDeviceEnd(device_end_after))) => {
                Outcome::Ended(Ending { device_end_after, ..ending })
            }
            (Outcome::Ended(ending), Some(Misbehavior::LostDeviceEnd)) => {
                Outcome::Ended(Ending { device_end_after: NEVER, ..ending })
            }
            (outcome, _) => outcome,
        }
    }
}

impl Device for Faulty {
    fn sense_id(&self) -> SenseId {
        self.device.sense_id()
    }

    fn sense_length(&self) -> usize {
        self.device.sense_length()
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.device.admit(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        self.strike(access, |device, access| device.execute(access, command, data))
    }

    fn no_operation(&self, access: &mut Access) -> Outcome {
        self.strike(access, |device, access| device.no_operation(access))
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        if lock(&self.script).has_ended(access) {
            return Some(DeviceStatus::DEVICE_END);
        }
        self.device.take_unsolicited(access)
    }

    fn cancel(&self, access: &Access) {
        let is_own = |key: &Key| (key.0, key.1) == (access.vm, access.path);
        let mut script = lock(&self.script);
        script.waiting.retain(|key, _| !is_own(key));
        script.refused.remove(&(access.vm, access.path));
        drop(script);
        self.device.cancel(access);
    }

    fn adopt(&self, from: &Access, to: &Access) -> Result<(), Refusal> {
        self.device.adopt(from, to)
    }

    fn reset(&self, access: &Access) {
        self.device.reset(access);
    }

    fn fenced_count(&self) -> u64 {
        self.device.fenced_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::device::{Buffer, FbaDisk};
    use monitor_core::units::Epoch;

    const SENSE: Sense = [0x10; 32];

    fn access() -> Access {
        let path = Path { system: 1, channel: 0 };
        Access::new(VmName::new("VM1").unwrap(), Epoch::new(1), path)
    }

    fn faulty() -> Faulty {
        Faulty::new(Arc::new(FbaDisk::in_memory(8)))
    }

    /// Device status and the time of device end; `None` while the device waits.
    fn ask(device: &Faulty) -> Option<(u8, u64)> {
        match device.execute(&mut access(), 0x64, &mut Buffer::input(32)) {
            Outcome::Ended(ending) => Some((ending.status.bits(), ending.device_end_after.get())),
            Outcome::Pending => None,
        }
    }

    #[test]
    fn command_of_the_script_goes_wrong_and_the_others_do_not() {
        let device = faulty();
        device.inject(2, Misbehavior::UnitCheck(SENSE));
        device.inject(3, Misbehavior::LateDeviceEnd(Micros::new(77)));
        device.inject(4, Misbehavior::LostDeviceEnd);
        let good = Some((0x0C, 0));
        let ends: Vec<_> = (0..5).map(|_| ask(&device)).collect();
        let never = Some((0x0C, u64::MAX));
        assert_eq!(ends, [good, Some((0x0E, 0)), Some((0x0C, 77)), never, good]);
        assert_eq!(device.struck(), 3);
    }

    #[test]
    fn busy_device_takes_the_command_when_it_was_asked_often_enough_and_tells_its_end_once() {
        const BUSY: Option<(u8, u64)> = Some((0x10, 0));
        let device = faulty();
        device.inject_next(Misbehavior::Busy(2));
        assert_eq!(
            [ask(&device), device.take_unsolicited(&access()).map(|_| (0, 0))],
            [BUSY, None]
        );
        assert_eq!(ask(&device), BUSY);
        assert_eq!(device.take_unsolicited(&access()), Some(DeviceStatus::DEVICE_END));
        assert_eq!(device.take_unsolicited(&access()), None);
        assert_eq!([ask(&device), ask(&device)], [Some((0x0C, 0)); 2]);
        device.inject_next(Misbehavior::UnitCheck(SENSE));
        assert_eq!(ask(&device), Some((0x0E, 0)), "what was asked again was one command");
        device.inject_next(Misbehavior::Busy(1));
        assert_eq!(ask(&device), BUSY);
        device.cancel(&access());
        assert_eq!(device.take_unsolicited(&access()), None, "nobody waits for its end");
        assert_eq!(ask(&device), Some((0x0C, 0)));
    }

    #[test]
    fn busy_device_waits_in_the_middle_of_a_program() {
        let device = faulty();
        device.inject_next(Misbehavior::Busy(2));
        let mut second = access();
        second.command_index = 1;
        let ask = || device.execute(&mut second.clone(), 0x64, &mut Buffer::input(32));
        assert_eq!([ask(), ask()], [Outcome::Pending; 2]);
        assert!(matches!(ask(), Outcome::Ended(ending) if ending.status.bits() == 0x0C));
    }

    #[test]
    fn endless_command_ends_when_it_is_canceled() {
        let device = faulty();
        device.inject_next(Misbehavior::Endless);
        assert!((0..100).all(|_| ask(&device).is_none()));
        device.cancel(&access());
        assert_eq!(ask(&device), Some((0x0C, 0)));
    }

    #[test]
    fn command_for_which_the_device_waits_is_one_command() {
        let device = faulty();
        let mut other = access();
        other.vm = VmName::new("VM2").unwrap();
        device.execute(&mut other.clone(), 0xB4, &mut Buffer::input(32));
        device.inject_next(Misbehavior::LateDeviceEnd(Micros::new(5)));
        assert!((0..3).all(|_| ask(&device).is_none()), "reserved for another VM");
        device.execute(&mut other, 0x94, &mut Buffer::input(32));
        assert_eq!(ask(&device), Some((0x0C, 5)));
    }

    #[test]
    fn sense_bytes_are_those_of_the_script() {
        let device = faulty();
        device.inject_next(Misbehavior::UnitCheck(SENSE));
        let outcome = device.no_operation(&mut access());
        assert!(matches!(outcome, Outcome::Ended(Ending { sense: SENSE, .. })));
    }
}
