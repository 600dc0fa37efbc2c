//! The privileged instructions, done for the virtual processor.
//!
//! Source of truth: Principles of Operation, "Control Instructions". Invariants: an instruction
//! that ends with an exception has changed nothing; the PSW points behind it already. Deliberately
//! not here: low-address protection and key-controlled protection of the operands.

use monitor_core::{memory::StorageKey, processor::Psw, units::PageNumber, vm::GuestAnswer};

use super::{
    ConsoleLine, Guest, Hypercall, LINE_BYTES,
    decode::{Instruction, Operation, decode, length},
    interface::{CONFIGURATION_BYTES, DIAGNOSE, INPUT_BYTES, answer, function},
    interruption::{SPECIFICATION, address_mask},
    storage::{Beyond, Cause},
};
use crate::arch::registers;

const OPERATION: u16 = 0x0001;
const PAGE: u64 = 4096;
/// The bits of an address that a prefix has.
const PREFIX_BITS: u32 = 0x7FFF_E000;

/// A program exception: its interruption code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exception(pub(super) u16);

impl From<Beyond> for Exception {
    fn from(_: Beyond) -> Self {
        Self(0x0005)
    }
}

/// What an instruction asks of the monitor beyond the processor.
type Done = Result<Option<Hypercall>, Exception>;

impl Guest {
    /// Executes the instruction of `behind` bytes before the address of the PSW.
    pub(super) fn emulate(&mut self, behind: u8) -> Done {
        let start = self.state.psw.address.wrapping_sub(u64::from(behind));
        let mut bytes = [0; 6];
        let count = usize::from(behind).min(bytes.len());
        if let Some(bytes) = bytes.get_mut(..count) {
            self.storage.load_real(start & address_mask(self.state.psw), bytes)?;
        }
        let instruction = decode(bytes).filter(|_| length(bytes[0]) == count);
        self.perform(instruction.ok_or(Exception(OPERATION))?)
    }

    fn perform(&mut self, instruction: Instruction) -> Done {
        use Operation as Op;
        let Instruction { r1, r3, immediate, .. } = instruction;
        let address = self.operand(instruction);
        match instruction.operation {
            Op::LoadPsw => {
                let short = self.fetch(address)?;
                let psw = Psw::from_short(short).ok_or(Exception(SPECIFICATION))?;
                self.load_psw(psw);
            }
            Op::LoadPswExtended => {
                aligned(address, 8)?;
                let mut psw = [0; 16];
                self.storage.load_real(address, &mut psw)?;
                self.load_psw(Psw::from_bytes(psw));
            }
            Op::SetSystemMask => {
                let [mask] = self.fetch(address)?;
                self.set_system_mask(mask);
            }
            Op::StoreThenAnd => {
                let mask = self.system_mask();
                self.storage.store_real(Cause::Operand, address, &[mask])?;
                self.set_system_mask(mask & immediate);
            }
            Op::StoreThenOr => {
                let mask = self.system_mask();
                self.storage.store_real(Cause::Operand, address, &[mask])?;
                self.set_system_mask(mask | immediate);
            }
            Op::StoreControl => self.store_control::<4>(r1, r3, address)?,
            Op::StoreControlLong => self.store_control::<8>(r1, r3, address)?,
            Op::LoadControl => self.load_control::<4>(r1, r3, address)?,
            Op::LoadControlLong => self.load_control::<8>(r1, r3, address)?,
            Op::SetPrefix => {
                let prefix = u32::from_be_bytes(self.fetch(address)?) & PREFIX_BITS;
                if !self.storage.has_prefix_area(prefix) {
                    return Err(Beyond.into());
                }
                self.state.prefix = prefix;
                self.map_again();
            }
            Op::StorePrefix => self.put(address, self.state.prefix.to_be_bytes())?,
            Op::SetClockComparator => {
                self.state.clock_comparator = u64::from_be_bytes(self.fetch(address)?);
            }
            Op::StoreClockComparator => {
                self.put(address, self.state.clock_comparator.to_be_bytes())?;
            }
            Op::SetCpuTimer => self.state.cpu_timer = i64::from_be_bytes(self.fetch(address)?),
            Op::StoreCpuTimer => self.put(address, self.state.cpu_timer.to_be_bytes())?,
            Op::StoreCpuAddress => self.put(address, [0; 2])?,
            Op::StoreCpuId => self.put(address, self.cpu_id.to_be_bytes())?,
            Op::SetPswKey => {
                let [.., low] = address.to_be_bytes();
                self.state.psw = self.state.psw.with_key(low >> 4);
            }
            Op::InsertStorageKey | Op::SetStorageKey | Op::ResetReference => {
                self.storage_key(instruction)?;
            }
            // Tables of the guest's own, of which a processor could remember something, do not
            // exist.
            Op::PurgeTlb => {}
            Op::Diagnose => return self.diagnose(address),
        }
        Ok(None)
    }

    /// The address of the storage operand.
    fn operand(&self, instruction: Instruction) -> u64 {
        let base = match instruction.base {
            0 => 0,
            register => self.general(register),
        };
        base.wrapping_add_signed(instruction.displacement) & address_mask(self.state.psw)
    }

    fn general(&self, register: usize) -> u64 {
        self.registers.general.get(register).copied().unwrap_or(0)
    }

    fn set_general(&mut self, register: usize, value: u64) {
        if let Some(target) = self.registers.general.get_mut(register) {
            *target = value;
        }
    }

    /// The operand of `N` bytes, which lies at a multiple of its size.
    fn fetch<const N: usize>(&self, address: u64) -> Result<[u8; N], Exception> {
        aligned(address, N as u64)?;
        let mut bytes = [0; N];
        self.storage.load_real(address, &mut bytes)?;
        Ok(bytes)
    }

    /// Stores an operand that lies at a multiple of its size.
    fn put<const N: usize>(&self, address: u64, bytes: [u8; N]) -> Result<(), Exception> {
        aligned(address, N as u64)?;
        Ok(self.storage.store_real(Cause::Operand, address, &bytes)?)
    }

    fn system_mask(&self) -> u8 {
        let [mask, ..] = self.state.psw.mask.to_be_bytes();
        mask
    }

    fn set_system_mask(&mut self, mask: u8) {
        let psw = self.state.psw;
        let mask = psw.mask & (u64::MAX >> 8) | u64::from(mask) << 56;
        self.load_psw(Psw::new(mask, psw.address));
    }

    /// Stores the right `N` bytes of control registers.
    fn store_control<const N: usize>(
        &self,
        first: usize,
        last: usize,
        address: u64,
    ) -> Result<(), Exception> {
        aligned(address, N as u64)?;
        let mut operand = [0; 16 * 8];
        let mut length = 0;
        for (register, slot) in range(first, last).zip(operand.chunks_exact_mut(N)) {
            let value = self.state.control.get(register).copied().unwrap_or(0);
            slot.copy_from_slice(&value.to_be_bytes()[8 - N..]);
            length += N;
        }
        Ok(self.storage.store_real(
            Cause::Operand,
            address,
            operand.get(..length).unwrap_or(&[]),
        )?)
    }

    /// Loads the right `N` bytes of control registers.
    fn load_control<const N: usize>(
        &mut self,
        first: usize,
        last: usize,
        address: u64,
    ) -> Result<(), Exception> {
        aligned(address, N as u64)?;
        let mut operand = [0; 16 * 8];
        let bytes = operand.get_mut(..range(first, last).count() * N).unwrap_or(&mut []);
        self.storage.load_real(address, bytes)?;
        for (register, slot) in range(first, last).zip(bytes.chunks_exact(N)) {
            if let Some(target) = self.state.control.get_mut(register) {
                let mut value = target.to_be_bytes();
                value[8 - N..].copy_from_slice(slot);
                *target = u64::from_be_bytes(value);
            }
        }
        registers::admit(self.state.control[0]);
        Ok(())
    }

    /// The instructions on the key of the page that R2 addresses.
    fn storage_key(&mut self, instruction: Instruction) -> Result<(), Exception> {
        let Instruction { operation, r1, r3: r2, .. } = instruction;
        let page = self.page_of_register(r2)?;
        let [.., key] = self.general(r1).to_be_bytes();
        if operation == Operation::SetStorageKey {
            if self.keys.set(page, StorageKey::new(key)) {
                // The change bit told of a store that nobody has collected yet.
                self.mark(page);
            }
            self.mark_key(page);
        } else if operation == Operation::ResetReference {
            let before = self.keys.reset_reference(page);
            if before.referenced() {
                self.mark_key(page);
            }
            let code = u8::from(before.referenced()) << 1 | u8::from(before.changed());
            self.state.psw = self.state.psw.with_condition_code(code);
        } else {
            let key = self.keys.get(page);
            self.set_general(r1, self.general(r1) & !0xFF | u64::from(key.get()));
        }
        Ok(())
    }

    /// The absolute page that a register addresses.
    fn page_of_register(&self, register: usize) -> Result<usize, Exception> {
        let real = self.general(register) & address_mask(self.state.psw);
        let page = self.storage.absolute(real) / PAGE;
        if page >= self.storage.page_count() {
            return Err(Beyond.into());
        }
        Ok(page as usize)
    }

    fn mark_key(&self, page: usize) {
        if let Some(maps) = self.storage.maps() {
            // The page lies within the guest, so this cannot fail.
            let _ = maps.keys.mark(PageNumber::new(page as u64));
        }
    }

    /// Stores what was typed, of which there may be nothing, where the guest has asked for it: the
    /// answer to [`Hypercall::Input`], before the guest runs again.
    pub fn give_input(&mut self, typed: &[u8]) {
        let typed = typed.get(..INPUT_BYTES).unwrap_or(typed);
        // That there is such storage was found out when it asked.
        let stored = self.storage.store_real(Cause::Input, self.general(2), typed);
        self.set_general(2, if stored.is_ok() { typed.len() as u64 } else { 0 });
    }

    fn diagnose(&mut self, code: u64) -> Done {
        let [_, function, first, second, ..] = self.registers.general;
        if code & 0xFFFF != DIAGNOSE {
            return Err(Exception(SPECIFICATION));
        }
        match function {
            function::LINE => {
                let mut text = [0; LINE_BYTES];
                let count = usize::try_from(second).unwrap_or(LINE_BYTES).min(LINE_BYTES);
                let text = text.get_mut(..count).unwrap_or(&mut []);
                self.storage.load_real(first, text)?;
                Ok(Some(Hypercall::Line(console_line(text))))
            }
            function::ANSWER => match first {
                answer::READY => Ok(Some(Hypercall::Answer(GuestAnswer::Ready))),
                answer::REFUSED => Ok(Some(Hypercall::Answer(GuestAnswer::Refused))),
                answer::RESUMED => Ok(Some(Hypercall::Answer(GuestAnswer::Resumed))),
                _ => Err(Exception(SPECIFICATION)),
            },
            function::END => Ok(Some(Hypercall::End { is_good: first == 0 })),
            function::CLOCK => {
                let tod = self.tell_clock(first)?;
                self.set_general(2, tod);
                Ok(None)
            }
            function::INPUT => {
                // There must be room for as much as may be typed.
                self.storage.load_real(first, &mut [0; INPUT_BYTES])?;
                Ok(Some(Hypercall::Input))
            }
            function::CONFIGURATION => {
                let mut name = [b' '; CONFIGURATION_BYTES];
                for (target, byte) in name.iter_mut().zip(self.configuration.as_bytes()) {
                    *target = *byte;
                }
                self.storage.store_real(Cause::Operand, first, &name)?;
                Ok(None)
            }
            _ => Err(Exception(SPECIFICATION)),
        }
    }
}

/// Refuses an operand that does not lie at a multiple of `size`.
const fn aligned(address: u64, size: u64) -> Result<(), Exception> {
    if address.is_multiple_of(size) { Ok(()) } else { Err(Exception(SPECIFICATION)) }
}

/// The numbers of registers from `first` to `last`, with 0 behind 15.
fn range(first: usize, last: usize) -> impl Iterator<Item = usize> {
    let count = (last + 16 - first) % 16 + 1;
    (0..count).map(move |step| (first + step) % 16)
}

/// The text as a console shows it: what is not printable is a full stop.
fn console_line(text: &[u8]) -> ConsoleLine {
    let printable = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
    text.iter().map(printable).collect()
}
