//! The judgement of the processors workload.
//!
//! Registers of one class are in step with each other at any point of a task, and one class is at
//! most a round ahead of the next. What passes between two processors is judged when both stand
//! still; while they run, the receivers and the senders judge it themselves.
//!
//! Source of truth: `workload::processors`. Invariant: no register is taken for right because
//! another one is wrong in the same way. Deliberately not here: registers that no task uses.

use monitor_core::processor::ProcessorImage;

use super::{
    super::{
        nucleus::prefix,
        processors::{
            self, BLOCK, WAYS, access_pattern, cell, floating_control, random_after, register,
            timer_interval, vector_pattern,
        },
        verdict::Fault,
    },
    Case, Looked, registers,
};
use crate::machine::AddressFault;

/// Units of the TOD clock in a microsecond.
const MICROSECOND: u64 = 1 << 12;

impl Case<'_> {
    pub(super) fn processors(&mut self, seed: u64, interval_us: u64) -> Looked {
        let count = self.machine.processor_count();
        let stands = !self.machine.is_running();
        for processor in 0..count {
            let image = registers(self.machine, processor)?;
            for (name, holds) in classes(seed, processor, &image) {
                self.verdict.require(holds, Fault::Register { processor, name });
            }
            for (word, name) in processors::FAULTS {
                let count = self.cell(processor, word)?;
                self.verdict.require(count == 0, Fault::Reported { name, count });
            }
            if stands {
                self.still(processor, &image, interval_us)?;
            }
            let counts = &mut self.verdict.counts;
            counts.rounds += image.general[register::ROUNDS];
            let ticks = self.cell(processor, cell::TICKS)?;
            let ticks = ticks + self.cell(processor, cell::TIMER_TICKS)?;
            self.verdict.counts.timer_interruptions += ticks;
            for way in WAYS {
                let received = self.cell(processor, way.received())?;
                self.verdict.counts.signals += received;
            }
        }
        Ok(())
    }

    /// What holds of a processor that stands still.
    fn still(&mut self, processor: u16, image: &ProcessorImage, interval_us: u64) -> Looked {
        let rounds = image.general[register::ROUNDS];
        let traps = self.cell(processor, cell::TRAPS)?;
        let comparator = self.cell(processor, cell::COMPARATOR)?;
        let longest = timer_interval(interval_us.max(1).saturating_mul(MICROSECOND));
        for (name, holds) in [
            ("the count of rounds", traps == rounds || traps.wrapping_add(1) == rounds),
            ("the clock comparator", image.clock_comparator == comparator),
            ("the CPU timer", image.cpu_timer <= longest.cast_signed()),
        ] {
            self.verdict.require(holds, Fault::Register { processor, name });
        }
        let count = self.machine.processor_count();
        for way in WAYS {
            let receiver = way.receiver(processor, count);
            let received = self.cell(receiver, way.received())?;
            let state = registers(self.machine, receiver)?;
            let mut words = [0; 2];
            for (word, target) in way.sender_words().into_iter().zip(&mut words) {
                *target = self.cell(processor, word)?;
            }
            let is_whole = way.is_whole(processor, words, received, &state);
            self.verdict.require(is_whole, Fault::Signals { sender: processor, receiver });
        }
        Ok(())
    }

    /// A word of a processor's block, as it is now.
    fn cell(&mut self, processor: u16, word: u64) -> Result<u64, AddressFault> {
        self.view.page = None;
        self.view.word(prefix(processor) + BLOCK + 8 * word)
    }
}

/// Whether the registers of each class are in step.
fn classes(seed: u64, processor: u16, image: &ProcessorImage) -> [(&'static str, bool); 5] {
    let general = &image.general;
    let rounds = general[register::ROUNDS];
    let counted = general[register::EVEN].wrapping_add(general[register::ODD]);
    let (access, vector) = (image.access[0], image.vector[0] as u64);
    let follows = |ahead: u64, behind: u64| ahead.wrapping_sub(behind) <= 1;
    let random = random_after(seed, processor, rounds);
    [
        ("the task's random state", general[register::RANDOM] == random),
        ("the count of rounds", follows(rounds, counted)),
        (
            "an access register",
            image.access == access_pattern(access)
                && follows(u64::from(counted as u32), u64::from(access)),
        ),
        ("a vector register", image.vector == vector_pattern(vector) && follows(counted, vector)),
        ("the floating-point control", image.floating_control == floating_control(vector)),
    ]
}
