//! Interruptions: when they are admitted, in which order they are taken, and what they store.
//!
//! Source of truth: Principles of Operation, chapter "Interruptions" (classes, masks, priority) and
//! "Assigned Storage Locations".
//!
//! Invariants: every store of an interruption is a logged store at its absolute address, so that it
//! marks the prefix area's page; a condition that is not admitted stays as it is. I/O, service
//! signals, channel reports and what [`super::floating`] has float: any processor that admits them
//! takes them. Channel reports interrupt once, and again when the program has stored all of them
//! and seen that there is none more. Deliberately not here: where conditions come from.

use super::{
    AddressFault, Floating, Storage, exception::Exception, lock, processor::Processor,
    signals::Signals, timing, vm::Machine,
};
use monitor_core::{
    processor::{MachineCheck, ProcessorImage, Psw, STATUS_BYTES},
    units::Tick,
};
use std::mem;

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
    pub(super) const EXTERNAL_DAMAGE: u64 = 0xF4;
    pub(super) const FAILING_STORAGE: u64 = 0xF8;
    pub(super) const BREAKING_EVENT: u64 = 0x110;
    pub(super) const EXTERNAL_PARAMETER_2: u64 = 0x11B8;
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
    pub(super) const INTERRUPT_KEY: u16 = 0x0040;
    pub(super) const CLOCK_COMPARATOR: u16 = 0x1004;
    pub(super) const CPU_TIMER: u16 = 0x1005;
    pub(super) const MALFUNCTION_ALERT: u16 = 0x1200;
    pub(super) const EMERGENCY_SIGNAL: u16 = 0x1201;
    pub(super) const EXTERNAL_CALL: u16 = 0x1202;
    pub(super) const SERVICE_SIGNAL: u16 = 0x2401;
    pub(super) const PAGE_FAULT: u16 = 0x2603;
}

/// Subclass masks of external interruptions in control register 0.
mod subclass {
    pub(super) const MALFUNCTION_ALERT: u64 = 0x8000;
    pub(super) const EMERGENCY_SIGNAL: u64 = 0x4000;
    pub(super) const EXTERNAL_CALL: u64 = 0x2000;
    pub(super) const CLOCK_COMPARATOR: u64 = 0x800;
    pub(super) const CPU_TIMER: u64 = 0x400;
    /// Also of page faults.
    pub(super) const SERVICE_SIGNAL: u64 = 0x200;
    pub(super) const INTERRUPT_KEY: u64 = 0x40;
}

/// Stored as CPU address with the end of a page fault.
const PAGE_FAULT_ENDED: u16 = 0x0680;

/// Subclass mask of channel reports in control register 14.
const CHANNEL_REPORTS: u64 = 0x1000_0000;

/// Machine-check-interruption code: a channel report is pending, and all that is stored is valid.
const CHANNEL_REPORT_PENDING: u64 = 0x0040_0F0F_4033_0000;

/// The conditions of a machine check that control register 14 admits, each with its mask:
/// recovery, degradation, external damage with damage of the timing facility, warning.
const CHECKS: [(u64, u64); 4] = [
    (0x0800_0000, 1 << 61),
    (0x0400_0000, 1 << 56),
    (0x0200_0000, 1 << 58 | 1 << 59),
    (0x0100_0000, 1 << 55),
];

/// The conditions of a machine check that are not repressed: damage of the system or of an
/// instruction.
const DAMAGE: u64 = 1 << 63 | 1 << 62;

/// Where PSW and prefix are in a stored status, which a machine check does not store.
const PSW_AND_PREFIX: std::ops::Range<usize> = 0x100..0x11C;

/// An external interruption, as it is stored.
#[derive(Default)]
struct External {
    code: u16,
    cpu_address: u16,
    parameter: Option<u32>,
    /// The token of a page fault.
    token: Option<u64>,
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
        if !self.state.psw.machine_check() {
            return Ok(false);
        }
        let Some(check) = self.admitted_check(vm) else {
            return Ok(false);
        };
        let area = self.area(&vm.storage);
        area.store(location::MACHINE_CHECK_CODE, &check.code.to_be_bytes())?;
        area.store(location::EXTERNAL_DAMAGE, &check.damage.to_be_bytes())?;
        area.store(location::FAILING_STORAGE, &check.address.to_be_bytes())?;
        let mut status = [0; STATUS_BYTES];
        area.load(location::REGISTERS, &mut status)?;
        let kept = status;
        self.state.store_status(&mut status);
        status[PSW_AND_PREFIX].copy_from_slice(&kept[PSW_AND_PREFIX]);
        area.store(location::REGISTERS, &status)?;
        swap_psw(&mut self.state, &vm.storage, MACHINE_CHECK)?;
        Ok(true)
    }

    /// The machine check that control register 14 admits: one of this processor, one that floats,
    /// or that of channel reports.
    fn admitted_check(&mut self, vm: &Machine) -> Option<MachineCheck> {
        let masks = self.state.control[14];
        let open = CHECKS.iter().filter(|(mask, _)| masks & mask != 0);
        let conditions = open.fold(DAMAGE, |all, (_, conditions)| all | conditions);
        if self.state.machine_check.code & conditions != 0 {
            return Some(mem::take(&mut self.state.machine_check));
        }
        let floating = vm.with_floating(|floating| floating.take_check(conditions));
        floating.or_else(|| {
            let is_open = masks & CHANNEL_REPORTS != 0;
            let reports = is_open && vm.with_floating(Floating::take_report_check);
            reports.then_some(MachineCheck { code: CHANNEL_REPORT_PENDING, ..MachineCheck::NONE })
        })
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
        if let Some(token) = external.token {
            area.store(location::EXTERNAL_PARAMETER_2, &token.to_be_bytes())?;
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
        if is_open(subclass::INTERRUPT_KEY) && vm.with_floating(Floating::take_interrupt_key) {
            return Some(External { code: code::INTERRUPT_KEY, ..External::default() });
        }
        if is_open(SIGNALS)
            && let Some(external) = admitted_signal(&mut lock(vm.signals(self.index())?), is_open)
        {
            return Some(external);
        }
        if is_open(subclass::CLOCK_COMPARATOR) && timing::is_comparator_due(&self.state, now) {
            return Some(External { code: code::CLOCK_COMPARATOR, ..External::default() });
        }
        if is_open(subclass::CPU_TIMER) && self.state.cpu_timer < 0 {
            return Some(External { code: code::CPU_TIMER, ..External::default() });
        }
        if is_open(subclass::SERVICE_SIGNAL) {
            if let Some(parameter) = vm.take_service_signal() {
                let parameter = Some(parameter);
                return Some(External {
                    code: code::SERVICE_SIGNAL,
                    parameter,
                    ..External::default()
                });
            }
            let token = Some(vm.with_floating(Floating::take_page_fault)?);
            let (code, cpu_address) = (code::PAGE_FAULT, PAGE_FAULT_ENDED);
            return Some(External { code, cpu_address, token, ..External::default() });
        }
        None
    }

    fn take_io(&mut self, vm: &Machine) -> Result<bool, AddressFault> {
        let admitted = self.state.control[6].to_be_bytes()[4];
        if !self.state.psw.io() || admitted == 0 {
            return Ok(false);
        }
        let Some(interruption) = vm.take_io_interruption(admitted) else {
            return Ok(false);
        };
        let area = self.area(&vm.storage);
        let [subsystem, parameter, word] = interruption.to_words();
        area.store(location::SUBSYSTEM_ID, &subsystem.to_be_bytes())?;
        area.store(location::IO_PARAMETER, &parameter.to_be_bytes())?;
        area.store(location::IO_WORD, &word.to_be_bytes())?;
        swap_psw(&mut self.state, &vm.storage, IO)?;
        Ok(true)
    }

    fn take_restart(&mut self, vm: &Machine) -> Result<bool, AddressFault> {
        let Some(signals) = vm.signals(self.index()) else {
            return Ok(false);
        };
        if !mem::take(&mut lock(signals).restart) {
            return Ok(false);
        }
        swap_psw(&mut self.state, &vm.storage, RESTART)?;
        Ok(true)
    }

    const fn area<'a>(&self, storage: &'a Storage) -> PrefixArea<'a> {
        PrefixArea { storage, prefix: self.state.prefix as u64 }
    }
}

/// What other processors can make pending for one.
const SIGNALS: u64 =
    subclass::MALFUNCTION_ALERT | subclass::EMERGENCY_SIGNAL | subclass::EXTERNAL_CALL;

/// Takes the signal of the highest priority among those that are admitted.
fn admitted_signal(signals: &mut Signals, is_open: impl Fn(u64) -> bool) -> Option<External> {
    let from = |code, cpu_address| External { code, cpu_address, ..External::default() };
    if is_open(subclass::MALFUNCTION_ALERT) && signals.malfunction != 0 {
        return Some(from(code::MALFUNCTION_ALERT, take_lowest(&mut signals.malfunction)));
    }
    if is_open(subclass::EMERGENCY_SIGNAL) && signals.emergency != 0 {
        return Some(from(code::EMERGENCY_SIGNAL, take_lowest(&mut signals.emergency)));
    }
    let caller = signals.external_call.take_if(|_| is_open(subclass::EXTERNAL_CALL))?;
    Some(from(code::EXTERNAL_CALL, caller))
}

/// Takes the rightmost bit, of which there is one, and says its place.
const fn take_lowest(bits: &mut u64) -> u16 {
    let place = bits.trailing_zeros();
    *bits &= *bits - 1;
    place as u16
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
