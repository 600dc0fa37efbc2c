//! Running the guest: into problem state, and out of it again.
//!
//! Source of truth: Principles of Operation, "Program Execution" and "Interruption". Invariants:
//! real and virtual PSW share condition code, program mask, addressing mode and address; the real
//! one is always open to interruptions, which are the monitor's. Deliberately not here: what the
//! instructions do ([`super::emulate`]).

use monitor_core::{
    processor::{CpuState, Psw},
    units::Tick,
};

use super::{
    Execution, Guest, Hypercall, Ran,
    emulate::Exception,
    interruption::{ProgramInterruption, address_mask},
};
use crate::arch::{Exit, clock, enter_guest, psw};

/// PSW bits that a program in problem state changes by itself.
const SHARED: u64 = psw::CONDITION_CODE | psw::PROGRAM_MASK | psw::ADDRESSES_64;
/// The access key, which the real PSW has from the virtual one.
const KEY: u64 = 0x00F0_0000_0000_0000;

const PRIVILEGED: u16 = 0x0002;
const PROTECTION: u16 = 0x0004;
const ADDRESSING: u16 = 0x0005;
/// Segment translation, page translation, and those of regions.
const TRANSLATIONS: [u16; 6] = [0x0010, 0x0011, 0x0038, 0x0039, 0x003A, 0x003B];
/// In the translation-exception identification: the tables keep the store out.
const BY_TABLES: u64 = 0x4;
const PAGE_SHIFT: u32 = 12;

/// External-interruption codes of the monitor's own timers.
const TIMERS: [u16; 2] = [0x1004, 0x1005];

impl Guest {
    /// Runs the guest up to the moment `until`, or to what it cannot go on with.
    pub fn run(&mut self, until: Tick) -> Ran {
        match self.execution {
            Execution::Native => self.run_program(until),
            Execution::Emulated => self.run_workload(until),
        }
    }

    fn run_program(&mut self, until: Tick) -> Ran {
        loop {
            self.charge();
            if !self.is_operating() {
                return Ran::Stopped;
            }
            if self.interrupt_externally() {
                continue;
            }
            if self.state.psw.wait() {
                return self.waiting();
            }
            if clock::now() >= until {
                return Ran::SliceEnded;
            }
            let deadline = self.next_timer().map_or(until, |timer| timer.min(until));
            clock::arm_comparator(Some(deadline));
            let exit = self.enter();
            clock::arm_comparator(None);
            if let Some(ran) = self.leave(exit) {
                return ran;
            }
        }
    }

    fn waiting(&self) -> Ran {
        let psw = self.state.psw;
        if psw.external() || psw.io() || psw.machine_check() {
            return Ran::Waits(self.next_timer());
        }
        Ran::DisabledWait(psw.address)
    }

    /// Runs the guest to the next interruption that is not a matter of tracking alone.
    fn enter(&mut self) -> Exit {
        let open = psw::Psw::GUEST_MASK & !psw::ADDRESSES_64;
        let own = self.state.psw;
        self.purge_if_due();
        self.registers.psw =
            psw::Psw { mask: open | own.mask & (SHARED | KEY), address: own.address };
        loop {
            let exit = enter_guest(&mut self.registers);
            if !self.is_tracked(exit) {
                let real = self.registers.psw;
                let mask = own.mask & !SHARED | real.mask & SHARED;
                self.state.psw = Psw::new(mask, real.address);
                return exit;
            }
        }
    }

    /// Whether the guest has stored into a page that tracking protects. The store is tried again.
    fn is_tracked(&mut self, exit: Exit) -> bool {
        let Exit::Program { code: PROTECTION, length, translation, .. } = exit else {
            return false;
        };
        let page = usize::try_from(translation >> PAGE_SHIFT).unwrap_or(usize::MAX);
        let is_ours = translation & BY_TABLES != 0 && self.note_fault(page);
        if is_ours {
            // The instruction was suppressed: the PSW points behind it.
            let address = &mut self.registers.psw.address;
            *address = address.wrapping_sub(u64::from(length));
        }
        is_ours
    }

    /// Does what an exit asks for; says what ends the run.
    fn leave(&mut self, exit: Exit) -> Option<Ran> {
        match exit {
            Exit::SupervisorCall { number, length } => {
                self.call_supervisor(number, length);
                None
            }
            Exit::Program { code: PRIVILEGED, length, .. } if !self.state.psw.problem_state() => {
                self.execute(length)
            }
            Exit::Program { code, length, .. } if TRANSLATIONS.contains(&code) => {
                // Nullified, but there is no such storage: addressing, which suppresses.
                let psw = self.state.psw;
                let address = psw.address.wrapping_add(u64::from(length)) & address_mask(psw);
                self.state.psw = psw.with_address(address);
                self.interrupt_program(ProgramInterruption::new(ADDRESSING, length));
                None
            }
            Exit::Program { code, length, translation, data } => {
                let translation = if code == PROTECTION { translation } else { 0 };
                self.interrupt_program(ProgramInterruption { code, length, translation, data });
                None
            }
            Exit::External { code, .. } if TIMERS.contains(&code) => None,
            Exit::External { .. } | Exit::InputOutput { .. } => Some(Ran::Interrupted),
        }
    }

    /// Executes the instruction that trapped.
    fn execute(&mut self, length: u8) -> Option<Ran> {
        self.charge();
        match self.emulate(length) {
            Ok(None) => None,
            Ok(Some(call)) => {
                if matches!(call, Hypercall::End { .. }) {
                    self.stop();
                }
                Some(Ran::Called(call))
            }
            Err(Exception(code)) => {
                self.interrupt_program(ProgramInterruption::new(code, length));
                (self.state.state == CpuState::CheckStop).then_some(Ran::Stopped)
            }
        }
    }
}
