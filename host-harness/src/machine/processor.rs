//! One virtual processor: registers, interruptions, and the step that runs guest code.
//!
//! Source of truth: Principles of Operation, chapter "Interruptions" (masks, PSW swap, assigned
//! storage locations).
//!
//! Invariants: every store of an interruption is a logged store, so that it marks the prefix
//! area's page; only processor 0 takes external events and I/O. Deliberately not here: scheduling.

use super::{AddressFault, Context, lock, vm::Machine};
use monitor_core::{
    processor::{CpuState, ProcessorImage, Psw},
    units::Tick,
};
use std::collections::VecDeque;

/// External-interruption code of a service signal.
const SERVICE_SIGNAL: u16 = 0x2401;

/// Subclass mask of the service signal in control register 0.
const SERVICE_SIGNAL_MASK: u64 = 0x200;

/// Assigned storage locations in the prefix area.
mod location {
    pub(super) const EXTERNAL_PARAMETER: u64 = 0x80;
    pub(super) const EXTERNAL_CPU_ADDRESS: u64 = 0x84;
    pub(super) const EXTERNAL_CODE: u64 = 0x86;
    pub(super) const SUBSYSTEM_ID: u64 = 0xB8;
    pub(super) const IO_PARAMETER: u64 = 0xBC;
    pub(super) const IO_WORD: u64 = 0xC0;
    pub(super) const EXTERNAL_OLD: u64 = 0x130;
    pub(super) const IO_OLD: u64 = 0x170;
    pub(super) const EXTERNAL_NEW: u64 = 0x1B0;
    pub(super) const IO_NEW: u64 = 0x1F0;
}

/// What a processor did in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Units of work that were done.
    pub worked: u32,
    /// There is nothing to do before this moment. `None` with nothing worked means that only an
    /// interruption wakes the processor. A program gives it in the guest's time, a processor
    /// passes it on in the host's.
    pub next_due: Option<Tick>,
}

/// One virtual processor.
#[derive(Debug)]
pub struct Processor {
    /// The architected registers.
    pub state: ProcessorImage,
    index: u16,
    /// Service signals behind the pending one, which is in the registers and moves with them.
    waiting: VecDeque<u32>,
}

impl Processor {
    /// A processor as it is after an initial reset, which is stopped.
    #[must_use]
    pub fn new(index: u16) -> Self {
        Self { state: ProcessorImage::initial(), index, waiting: VecDeque::new() }
    }

    /// Makes a service signal pending; one that is pending already is taken before it.
    pub fn post_service_signal(&mut self, parameter: u32) {
        self.waiting.push_back(parameter);
        if self.state.service_signal.is_none() {
            self.state.service_signal = self.waiting.pop_front();
        }
    }

    /// Takes the pending interruptions that are admitted, then runs the guest's program for at
    /// most `budget` units of work.
    pub fn step(&mut self, now: Tick, budget: u32, vm: &Machine) -> Step {
        if self.state.state != CpuState::Operating {
            return Step::default();
        }
        self.advance(now, budget, vm).unwrap_or_else(|error| {
            let psw = self.state.psw.with_wait(true).with_io(false);
            self.state.psw = psw.with_external(false).with_machine_check(false);
            vm.note_fault(self.index, error);
            Step::default()
        })
    }

    fn advance(&mut self, now: Tick, budget: u32, vm: &Machine) -> Result<Step, AddressFault> {
        while self.take_external(vm)? || self.take_io(vm)? {}
        if self.state.psw.wait() {
            return Ok(Step::default());
        }
        let mut context = Context::new(self.index, &mut self.state, vm, now);
        let step = vm.program.run(&mut context, budget)?;
        Ok(Step { next_due: step.next_due.map(|due| host_time(&self.state, due)), ..step })
    }

    fn take_external(&mut self, vm: &Machine) -> Result<bool, AddressFault> {
        let subclass = self.state.control[0] & SERVICE_SIGNAL_MASK != 0;
        let admitted = self.state.psw.external() && subclass;
        if self.index != 0 || !admitted {
            return Ok(false);
        }
        let Some(parameter) = self.state.service_signal.take() else {
            return Ok(false);
        };
        self.state.service_signal = self.waiting.pop_front();
        let prefix = u64::from(self.state.prefix);
        let store = |at, bytes: &[u8]| vm.storage.store_bytes(prefix + at, bytes);
        store(location::EXTERNAL_PARAMETER, &parameter.to_be_bytes())?;
        store(location::EXTERNAL_CPU_ADDRESS, &[0; 2])?;
        store(location::EXTERNAL_CODE, &SERVICE_SIGNAL.to_be_bytes())?;
        self.swap_psw(vm, location::EXTERNAL_OLD, location::EXTERNAL_NEW)
    }

    fn take_io(&mut self, vm: &Machine) -> Result<bool, AddressFault> {
        if self.index != 0 || !self.state.psw.io() {
            return Ok(false);
        }
        let admitted = self.state.control[6].to_be_bytes()[4];
        let Some(interruption) = lock(&vm.subsystem).take_interruption(admitted) else {
            return Ok(false);
        };
        let prefix = u64::from(self.state.prefix);
        let store = |at, word: u32| vm.storage.store_bytes(prefix + at, &word.to_be_bytes());
        store(location::SUBSYSTEM_ID, 0x0001_0000 | u32::from(interruption.subchannel.get()))?;
        store(location::IO_PARAMETER, interruption.parameter)?;
        store(location::IO_WORD, u32::from(interruption.subclass) << 27)?;
        self.swap_psw(vm, location::IO_OLD, location::IO_NEW)
    }

    /// Stores the old PSW and loads the new one; `true` says that an interruption was taken.
    fn swap_psw(&mut self, vm: &Machine, old: u64, new: u64) -> Result<bool, AddressFault> {
        let prefix = u64::from(self.state.prefix);
        vm.storage.store_bytes(prefix + old, &self.state.psw.to_bytes())?;
        let mut bytes = [0; 16];
        vm.storage.load_bytes(prefix + new, &mut bytes)?;
        self.state.psw = Psw::from_bytes(bytes);
        Ok(true)
    }
}

/// The time that the guest's clock shows when the host's shows `host`.
pub(super) const fn guest_time(state: &ProcessorImage, host: Tick) -> Tick {
    Tick::new(host.get().wrapping_add_signed(epoch_us(state)))
}

/// The time on the host's clock when the guest's shows `guest`.
const fn host_time(state: &ProcessorImage, guest: Tick) -> Tick {
    Tick::new(guest.get().wrapping_sub(epoch_us(state).cast_unsigned()))
}

/// The epoch of the guest's clock: a unit of the TOD clock is 1/4096 of a microsecond.
const fn epoch_us(state: &ProcessorImage) -> i64 {
    state.tod_epoch.difference.cast_signed() >> 12
}
