//! The machine that the image runs on, as a subject of the sequences.
//!
//! Source of truth: `oracle_sequences::Subject`. Invariant: subchannels are found once, by the
//! numbers of their devices. Deliberately not here: instructions, see `arch` and `channel`.

use crate::{
    arch,
    channel::{self, Block},
    console,
};
use oracle_sequences::{
    Code, Request, Subject, Unit, area,
    subject::{Interruption, Irb, Schib},
};

/// Set in each subsystem-identification word.
const IDENTIFICATION: u32 = 0x0001_0000;
/// Subchannels that are looked at.
const SUBCHANNEL_COUNT: u32 = 64;
/// How often a wait looks, and how far it counts in between.
const ROUNDS: u32 = 20_000;
const COUNT: u64 = 5_000;
/// Interruptions of every subclass are pending, though none is taken.
const EVERY_SUBCLASS: u64 = 0xFF00_0000;

/// The machine.
pub(crate) struct Machine {
    /// The subsystem-identification words of the units, in their order; 0 for none.
    words: [u32; Unit::ALL.len()],
}

impl Machine {
    /// Looks for the units.
    pub(crate) fn new() -> Self {
        arch::load_control::<6>(EVERY_SUBCLASS);
        let mut words = [0; Unit::ALL.len()];
        for number in 0..SUBCHANNEL_COUNT {
            let word = IDENTIFICATION | number;
            let (code, block) = channel::store(word);
            let has_device = block.0[5] & 1 != 0;
            let device = u16::from_be_bytes([block.0[6], block.0[7]]);
            for (known, unit) in words.iter_mut().zip(Unit::ALL) {
                let is_it = has_device && unit.device_number() == device;
                if code == Code::Condition(0) && is_it {
                    *known = word;
                }
            }
        }
        Self { words }
    }

    /// Lets the two ends of the channel-to-channel adapter connect, which the first command of each
    /// begins. It takes a while, in which the other units are asked.
    pub(crate) fn wake(&mut self) {
        arch::store(area::PROGRAM, 0x0320_0001_0000_0000);
        let request = Request {
            parameter: 0,
            flags: Request::FORMAT_1,
            paths: 0xFF,
            extension: 0,
            program: area::PROGRAM,
        };
        let change = [0, 0, 0, 0, 0, 0x81];
        for unit in [Unit::Ctc, Unit::CtcPeer] {
            let (_, mut block) = self.store_subchannel(unit);
            block[..change.len()].copy_from_slice(&change);
            self.modify(unit, &block);
            self.start(unit, &request.to_bytes());
            let mut round = 0;
            while self.test(unit).0 == Code::Condition(1) && self.pause(round) {
                round += 1;
            }
        }
    }

    fn word(&self, unit: Unit) -> u32 {
        let known = self.words.iter().zip(Unit::ALL).find(|(_, it)| *it == unit);
        match known {
            Some((word, _)) if *word != 0 => *word,
            // The last subchannel of the set, which nobody has.
            _ => IDENTIFICATION | 0xFFFF,
        }
    }
}

impl Subject for Machine {
    fn has(&self, unit: Unit) -> bool {
        unit == Unit::Absent || self.word(unit) != IDENTIFICATION | 0xFFFF
    }

    fn start(&mut self, unit: Unit, block: &[u8; 32]) -> Code {
        channel::start(self.word(unit), &Block(*block))
    }

    fn test(&mut self, unit: Unit) -> (Code, Irb) {
        let (code, block) = channel::test(self.word(unit));
        (code, block.0)
    }

    fn store_subchannel(&mut self, unit: Unit) -> (Code, Schib) {
        let (code, block) = channel::store(self.word(unit));
        (code, block.0)
    }

    fn modify(&mut self, unit: Unit, block: &Schib) -> Code {
        channel::modify(self.word(unit), &Block(*block))
    }

    fn halt(&mut self, unit: Unit) -> Code {
        channel::halt(self.word(unit))
    }

    fn clear(&mut self, unit: Unit) -> Code {
        channel::clear(self.word(unit))
    }

    fn cancel(&mut self, unit: Unit) -> Code {
        channel::cancel(self.word(unit))
    }

    fn resume(&mut self, unit: Unit) -> Code {
        channel::resume(self.word(unit))
    }

    fn test_pending(&mut self) -> (Code, Interruption) {
        let (code, block) = channel::test_pending();
        (code, block.0)
    }

    fn store_report(&mut self) -> (Code, u32) {
        channel::store_report()
    }

    fn unit_of(&self, identification: u32) -> Option<Unit> {
        let mut known = self.words.iter().zip(Unit::ALL);
        known.find(|(word, _)| **word == identification).map(|(_, unit)| unit)
    }

    fn type_line(&mut self) {
        // The program that has started Hercules lets its operator answer this line.
        console::write(format_args!("TYPE"));
    }

    fn pause(&mut self, round: u32) -> bool {
        // The first looks come at once.
        arch::pause(if round < 16 { 1 + u64::from(round) * 16 } else { COUNT });
        round < ROUNDS
    }

    fn store(&mut self, at: u32, value: u64) {
        arch::store(at, value);
    }

    fn load(&mut self, at: u32) -> u8 {
        arch::load(at)
    }

    fn key(&mut self, at: u32) -> u8 {
        arch::key(at)
    }

    fn set_key(&mut self, at: u32, key: u8) {
        arch::set_key(at, key);
    }

    fn reset_reference(&mut self, at: u32) -> Code {
        arch::reset_reference(at)
    }
}
