//! Interruptions of the virtual processor: stored into the guest's low core.
//!
//! Source of truth: Principles of Operation, "Interruption" and "Assigned Storage Locations".
//! Invariants: an external interruption comes only to a processor that is open to it; a PSW that
//! a processor would not take leads to a specification exception. Deliberately not here: input/
//! output interruptions and machine checks, which this guest has no sources of.

use monitor_core::processor::{CpuState, Psw};

use super::{Guest, storage::Cause, timing};

/// Control register 0: service signals.
const SERVICE_MASK: u64 = 0x200;
/// Interruption code of the clock comparator.
const CLOCK_COMPARATOR: u16 = 0x1004;
/// Interruption code of the CPU timer.
const CPU_TIMER: u16 = 0x1005;
/// Interruption code of a service signal.
const SERVICE_SIGNAL: u16 = 0x2401;

/// Distance from an old PSW to the new one.
const NEW_FROM_OLD: u64 = 0x80;
const EXTERNAL_OLD: u64 = 0x130;
const SUPERVISOR_CALL_OLD: u64 = 0x140;
const PROGRAM_OLD: u64 = 0x150;

/// PSW bits that may be one. Translation is not among them: this guest has none.
const PSW_BITS: u64 = 0x03F7_3F01_8000_0000;

/// A program interruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProgramInterruption {
    pub(super) code: u16,
    /// Bytes of the instruction.
    pub(super) length: u8,
    pub(super) translation: u64,
    pub(super) data: u32,
}

impl ProgramInterruption {
    /// One with nothing but a code.
    pub(super) const fn new(code: u16, length: u8) -> Self {
        Self { code, length, translation: 0, data: 0 }
    }
}

/// Specification exception.
pub(super) const SPECIFICATION: u16 = 0x0006;
/// Data exception.
const DATA: u16 = 0x0007;

impl Guest {
    /// Makes the most urgent external interruption to which the processor is open, if there is
    /// one.
    pub(super) fn interrupt_externally(&mut self) -> bool {
        let [control_0, ..] = self.state.control;
        if !self.state.psw.external() {
            return false;
        }
        if control_0 & timing::COMPARATOR_MASK != 0 && self.comparator_is_due() {
            self.note_clock();
            self.external(CLOCK_COMPARATOR, 0);
        } else if control_0 & timing::TIMER_MASK != 0 && self.state.cpu_timer < 0 {
            self.external(CPU_TIMER, 0);
        } else if let Some(parameter) = self.state.service_signal
            && control_0 & SERVICE_MASK != 0
        {
            self.state.service_signal = None;
            self.external(SERVICE_SIGNAL, parameter);
        } else {
            return false;
        }
        true
    }

    fn external(&mut self, code: u16, parameter: u32) {
        self.store_low(0x80, &(u64::from(parameter) << 32 | u64::from(code)).to_be_bytes());
        self.swap_psw(EXTERNAL_OLD);
    }

    /// Makes a supervisor-call interruption; `length` is that of the instruction.
    pub(super) fn call_supervisor(&mut self, number: u8, length: u8) {
        self.store_low(0x88, &[0, length, 0, number]);
        self.swap_psw(SUPERVISOR_CALL_OLD);
    }

    /// Makes a program interruption.
    pub(super) fn interrupt_program(&mut self, interruption: ProgramInterruption) {
        let [high, low] = interruption.code.to_be_bytes();
        self.store_low(0x8C, &[0, interruption.length, high, low]);
        if interruption.code == DATA {
            self.store_low(0x90, &interruption.data.to_be_bytes());
        }
        if interruption.translation != 0 {
            self.store_low(0xA8, &interruption.translation.to_be_bytes());
        }
        let new = self.exchange(PROGRAM_OLD);
        self.state.psw = new;
        if !is_valid(new) {
            // A processor would interrupt itself for ever; ours says that it cannot go on.
            self.state.state = CpuState::CheckStop;
        }
    }

    /// Loads a PSW, as an instruction or an interruption does.
    pub(super) fn load_psw(&mut self, psw: Psw) {
        self.state.psw = psw;
        if !is_valid(psw) {
            self.interrupt_program(ProgramInterruption::new(SPECIFICATION, 0));
        }
    }

    fn swap_psw(&mut self, old: u64) {
        let new = self.exchange(old);
        self.load_psw(new);
    }

    /// Stores the PSW as old one, and gives the new one.
    fn exchange(&mut self, old: u64) -> Psw {
        self.store_low(old, &self.state.psw.to_bytes());
        let mut new = [0; 16];
        // Low core is there: a guest has more pages than that.
        let _ = self.storage.load_real(old + NEW_FROM_OLD, &mut new);
        Psw::from_bytes(new)
    }

    fn store_low(&self, location: u64, bytes: &[u8]) {
        // As above.
        let _ = self.storage.store_real(Cause::Interruption, location, bytes);
    }
}

/// Whether a processor takes this PSW.
fn is_valid(psw: Psw) -> bool {
    psw.mask & !PSW_BITS == 0
        && (psw.basic_addressing() || !psw.extended_addressing())
        && psw.address & !address_mask(psw) == 0
        && psw.address & 1 == 0
}

/// The bits of addresses in the addressing mode of a PSW.
pub(super) fn address_mask(psw: Psw) -> u64 {
    match (psw.extended_addressing(), psw.basic_addressing()) {
        (true, _) => u64::MAX,
        (false, true) => 0x7FFF_FFFF,
        (false, false) => 0xFF_FFFF,
    }
}
