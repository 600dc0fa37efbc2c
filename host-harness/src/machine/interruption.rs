//! Interruptions: when they are admitted, in which order they are taken, and what they store.
//!
//! Source of truth: Principles of Operation, chapter "Interruptions" (classes, masks, priority) and
//! "Assigned Storage Locations".
//!
//! Invariants: every store of an interruption is a logged store at its absolute address, so that it
//! marks the prefix area's page; a condition that is not admitted stays as it is. I/O, service
//! signals and channel reports float: any processor that admits them takes them. A channel report
//! interrupts until the program has stored all reports. Deliberately not here: where conditions
//! come from.

use super::{
    AddressFault, Storage, exception::Exception, lock, processor::Processor, timing, vm::Machine,
};
use monitor_core::{
    processor::{ProcessorImage, Psw, STATUS_BYTES},
    units::Tick,
};

/// Bytes of an instruction: the PSW points so far behind the one that is carried out.
pub const INSTRUCTION_BYTES: u64 = 4;

/// Instruction-length code as it is stored: bytes of the instruction.
const LENGTH_CODE: u16 = 4;

/// The most interruptions that one step takes. Handlers that let in again what has interrupted
/// them would hold a step for ever.
const INTERRUPTIONS_MAX: u32 = 64;

/// Assigned storage locations in the prefix area.
mod location {
    pub(super) const EXTERNAL_PARAMETER: u64 = 0x80;
    pub(super) const EXTERNAL_CPU_ADDRESS: u64 = 0x84;
    pub(super) const EXTERNAL_CODE: u64 = 0x86;
    pub(super) const SUPERVISOR_LENGTH: u64 = 0x88;
    pub(super) const SUPERVISOR_CODE: u64 = 0x8A;
    pub(super) const PROGRAM_LENGTH: u64 = 0x8C;
    pub(super) const PROGRAM_CODE: u64 = 0x8E;
    pub(super) const TRANSLATION: u64 = 0xA8;
    pub(super) const SUBSYSTEM_ID: u64 = 0xB8;
    pub(super) const IO_PARAMETER: u64 = 0xBC;
    pub(super) const IO_WORD: u64 = 0xC0;
    pub(super) const MACHINE_CHECK_CODE: u64 = 0xE8;
    pub(super) const BREAKING_EVENT: u64 = 0x110;
    pub(super) const REGISTERS: u64 = 0x1200;
}

/// The old and the new PSW of a class in the prefix area.
#[derive(Clone, Copy)]
struct Class {
    old: u64,
    new: u64,
}

const RESTART: Class = Class { old: 0x120, new: 0x1A0 };
const EXTERNAL: Class = Class { old: 0x130, new: 0x1B0 };
const SUPERVISOR: Class = Class { old: 0x140, new: 0x1C0 };
const PROGRAM: Class = Class { old: 0x150, new: 0x1D0 };
const MACHINE_CHECK: Class = Class { old: 0x160, new: 0x1E0 };
const IO: Class = Class { old: 0x170, new: 0x1F0 };

/// External-interruption codes.
mod code {
    pub(super) const CLOCK_COMPARATOR: u16 = 0x1004;
    pub(super) const CPU_TIMER: u16 = 0x1005;
    pub(super) const EMERGENCY_SIGNAL: u16 = 0x1201;
    pub(super) const EXTERNAL_CALL: u16 = 0x1202;
    pub(super) const SERVICE_SIGNAL: u16 = 0x2401;
}

/// Subclass masks of external interruptions in control register 0.
mod subclass {
    pub(super) const EMERGENCY_SIGNAL: u64 = 0x4000;
    pub(super) const EXTERNAL_CALL: u64 = 0x2000;
    pub(super) const CLOCK_COMPARATOR: u64 = 0x800;
    pub(super) const CPU_TIMER: u64 = 0x400;
    pub(super) const SERVICE_SIGNAL: u64 = 0x200;
}

/// Subclass mask of channel reports in control register 14.
const CHANNEL_REPORTS: u64 = 0x1000_0000;

/// Machine-check-interruption code: a channel report is pending, and all that is stored is valid.
const CHANNEL_REPORT_PENDING: u64 = 0x0040_0F0F_4033_0000;

/// Where PSW and prefix are in a stored status, which a machine check does not store.
const PSW_AND_PREFIX: std::ops::Range<usize> = 0x100..0x11C;

/// An external interruption, as it is stored.
#[derive(Default)]
struct External {
    code: u16,
    cpu_address: u16,
    parameter: Option<u32>,
}

impl Processor {
    /// Takes the interruptions that are admitted, the first of them by priority first, until no
    /// more is.
    pub(super) fn take_interruptions(
        &mut self,
        now: Tick,
        vm: &Machine,
    ) -> Result<(), AddressFault> {
        for _ in 0..INTERRUPTIONS_MAX {
            let taken = self.take_machine_check(vm)?
                || self.take_external(now, vm)?
                || self.take_io(vm)?
                || self.take_restart(vm)?;
            if !taken {
                break;
            }
        }
        Ok(())
    }

    /// When, on the host's clock, a timer interrupts, if nothing else happens.
    pub(super) fn next_timer(&self, now: Tick) -> Option<Tick> {
        let state = &self.state;
        if !state.psw.external() {
            return None;
        }
        let is_open = |mask| state.control[0] & mask != 0;
        let comparator = is_open(subclass::CLOCK_COMPARATOR);
        let comparator = comparator.then(|| timing::comparator_due(state, now));
        let timer = is_open(subclass::CPU_TIMER).then(|| timing::timer_due(state, now));
        comparator.into_iter().chain(timer).min()
    }

    /// Takes a program interruption. One that leads nowhere, as there is no new PSW, leaves the
    /// processor in a disabled wait.
    pub(super) fn take_program(
        &mut self,
        exception: Exception,
        vm: &Machine,
    ) -> Result<(), AddressFault> {
        let area = self.area(&vm.storage);
        area.store(location::PROGRAM_LENGTH, &LENGTH_CODE.to_be_bytes())?;
        area.store(location::PROGRAM_CODE, &exception.code().to_be_bytes())?;
        area.store(location::BREAKING_EVENT, &self.state.breaking_event.to_be_bytes())?;
        if let Some(identification) = exception.identification() {
            area.store(location::TRANSLATION, &identification.to_be_bytes())?;
        }
        swap_psw(&mut self.state, &vm.storage, PROGRAM)?;
        if self.state.psw == Psw::default() {
            self.state.psw = self.state.psw.with_wait(true);
        }
        Ok(())
    }

    fn take_machine_check(&mut self, vm: &Machine) -> Result<bool, AddressFault> {
        let is_open =
            self.state.psw.machine_check() && self.state.control[14] & CHANNEL_REPORTS != 0;
        if !is_open || !vm.with_floating(|floating| floating.has_report()) {
            return Ok(false);
        }
        let area = self.area(&vm.storage);
        area.store(location::MACHINE_CHECK_CODE, &CHANNEL_REPORT_PENDING.to_be_bytes())?;
        let mut status = [0; STATUS_BYTES];
        area.load(location::REGISTERS, &mut status)?;
        let kept = status;
        self.state.store_status(&mut status);
        status[PSW_AND_PREFIX].copy_from_slice(&kept[PSW_AND_PREFIX]);
        area.store(location::REGISTERS, &status)?;
        swap_psw(&mut self.state, &vm.storage, MACHINE_CHECK)?;
        Ok(true)
    }

    fn take_external(&mut self, now: Tick, vm: &Machine) -> Result<bool, AddressFault> {
        if !self.state.psw.external() {
            return Ok(false);
        }
        let Some(external) = self.admitted_external(now, vm) else {
            return Ok(false);
        };
        let area = self.area(&vm.storage);
        if let Some(parameter) = external.parameter {
            area.store(location::EXTERNAL_PARAMETER, &parameter.to_be_bytes())?;
        }
        area.store(location::EXTERNAL_CPU_ADDRESS, &external.cpu_address.to_be_bytes())?;
        area.store(location::EXTERNAL_CODE, &external.code.to_be_bytes())?;
        swap_psw(&mut self.state, &vm.storage, EXTERNAL)?;
        Ok(true)
    }

    /// The external condition of the highest priority among those that control register 0 admits.
    /// It is no longer pending then, but for timers, whose conditions last as long as their values.
    fn admitted_external(&self, now: Tick, vm: &Machine) -> Option<External> {
        let is_open = |mask| self.state.control[0] & mask != 0;
        if is_open(subclass::EMERGENCY_SIGNAL | subclass::EXTERNAL_CALL) {
            let mut signals = lock(vm.signals(self.index())?);
            if is_open(subclass::EMERGENCY_SIGNAL) && signals.emergency != 0 {
                let sender = signals.emergency.trailing_zeros();
                signals.emergency &= signals.emergency - 1;
                let cpu_address = sender as u16;
                return Some(External {
                    code: code::EMERGENCY_SIGNAL,
                    cpu_address,
                    parameter: None,
                });
            }
            if is_open(subclass::EXTERNAL_CALL)
                && let Some(cpu_address) = signals.external_call.take()
            {
                return Some(External { code: code::EXTERNAL_CALL, cpu_address, parameter: None });
            }
        }
        if is_open(subclass::CLOCK_COMPARATOR) && timing::is_comparator_due(&self.state, now) {
            return Some(External { code: code::CLOCK_COMPARATOR, ..External::default() });
        }
        if is_open(subclass::CPU_TIMER) && self.state.cpu_timer < 0 {
            return Some(External { code: code::CPU_TIMER, ..External::default() });
        }
        if is_open(subclass::SERVICE_SIGNAL) {
            let parameter = Some(vm.take_service_signal()?);
            return Some(External { code: code::SERVICE_SIGNAL, cpu_address: 0, parameter });
        }
        None
    }

    fn take_io(&mut self, vm: &Machine) -> Result<bool, AddressFault> {
        let admitted = self.state.control[6].to_be_bytes()[4];
        if !self.state.psw.io() || admitted == 0 {
            return Ok(false);
        }
        let Some(interruption) = lock(&vm.subsystem).take_interruption(admitted) else {
            return Ok(false);
        };
        let area = self.area(&vm.storage);
        let subsystem = 0x0001_0000 | u32::from(interruption.subchannel.get());
        area.store(location::SUBSYSTEM_ID, &subsystem.to_be_bytes())?;
        area.store(location::IO_PARAMETER, &interruption.parameter.to_be_bytes())?;
        let word = u32::from(interruption.subclass) << 27;
        area.store(location::IO_WORD, &word.to_be_bytes())?;
        swap_psw(&mut self.state, &vm.storage, IO)?;
        Ok(true)
    }

    fn take_restart(&mut self, vm: &Machine) -> Result<bool, AddressFault> {
        let Some(signals) = vm.signals(self.index()) else {
            return Ok(false);
        };
        if !std::mem::take(&mut lock(signals).restart) {
            return Ok(false);
        }
        swap_psw(&mut self.state, &vm.storage, RESTART)?;
        Ok(true)
    }

    const fn area<'a>(&self, storage: &'a Storage) -> PrefixArea<'a> {
        PrefixArea { storage, prefix: self.state.prefix as u64 }
    }
}

/// The supervisor-call interruption, which the instruction of this code makes.
pub(super) fn supervisor_call(
    state: &mut ProcessorImage,
    storage: &Storage,
    code: u8,
) -> Result<(), AddressFault> {
    let area = PrefixArea { storage, prefix: u64::from(state.prefix) };
    area.store(location::SUPERVISOR_LENGTH, &LENGTH_CODE.to_be_bytes())?;
    area.store(location::SUPERVISOR_CODE, &u16::from(code).to_be_bytes())?;
    swap_psw(state, storage, SUPERVISOR)
}

/// The prefix area of a processor.
struct PrefixArea<'a> {
    storage: &'a Storage,
    prefix: u64,
}

impl PrefixArea<'_> {
    fn load(&self, at: u64, bytes: &mut [u8]) -> Result<(), AddressFault> {
        self.storage.load_bytes(self.prefix + at, bytes)
    }

    fn store(&self, at: u64, bytes: &[u8]) -> Result<(), AddressFault> {
        self.storage.store_bytes(self.prefix + at, bytes)
    }
}

/// Stores the old PSW and loads the new one.
fn swap_psw(
    state: &mut ProcessorImage,
    storage: &Storage,
    class: Class,
) -> Result<(), AddressFault> {
    let prefix = u64::from(state.prefix);
    storage.store_bytes(prefix + class.old, &state.psw.to_bytes())?;
    let mut bytes = [0; 16];
    storage.load_bytes(prefix + class.new, &mut bytes)?;
    state.psw = Psw::from_bytes(bytes);
    Ok(())
}
