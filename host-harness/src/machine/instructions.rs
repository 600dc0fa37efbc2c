//! The instructions of a processor that guest code uses, as methods of its [`Context`].
//!
//! Source of truth: Principles of Operation, chapters "Control Instructions" and "General
//! Instructions".
//!
//! Invariants: while an instruction is carried out, the PSW points behind it; one that the problem
//! state does not have ends with a privileged-operation exception there; after one that lets in
//! interruptions, or loads the PSW, guest code returns. Deliberately not here: I/O instructions
//! ([`super::context`]).

use super::{
    AddressFault, Context, INSTRUCTION_BYTES,
    access::RealStorage,
    exception::Exception,
    interruption,
    signals::{PREFIX_MASK, Signaled, is_in_storage},
    timing,
};
use monitor_core::{
    memory::{PageState, StateOrder},
    processor::Psw,
    units::PageNumber,
    vm::{Facility, FacilityList},
};
use std::cmp::Ordering;

/// The bits of SET STORAGE KEY EXTENDED that are the key.
const KEY_BITS: u8 = 0xFE;

impl Context<'_> {
    /// Storage as the processor addresses it now: behind its prefix, under its key.
    #[inline]
    #[must_use]
    pub fn real(&self) -> RealStorage<'_> {
        RealStorage::new(self.storage, self.state)
    }

    /// Whether the program has to return, so that interruptions can be taken or another one runs.
    #[must_use]
    pub const fn has_to_return(&self) -> bool {
        self.is_open_anew
    }

    /// Sets the condition code.
    pub fn set_condition_code(&mut self, code: u8) {
        self.state.psw = self.state.psw.with_condition_code(code);
    }

    /// COMPARE: sets the condition code to 0, 1 or 2 for equal, low and high.
    pub fn compare(&mut self, first: u64, second: u64) {
        self.set_condition_code(match first.cmp(&second) {
            Ordering::Equal => 0,
            Ordering::Less => 1,
            Ordering::Greater => 2,
        });
    }

    /// BRANCH: goes on at `address`, and keeps where it came from.
    pub const fn branch(&mut self, address: u64) {
        self.state.breaking_event = self.state.psw.address.wrapping_sub(INSTRUCTION_BYTES);
        self.state.psw = self.state.psw.with_address(address);
    }

    /// BRANCH ON CONDITION: goes on at `address` when the condition code is `code`.
    pub const fn branch_on(&mut self, code: u8, address: u64) {
        if self.state.psw.condition_code() == code {
            self.branch(address);
        }
    }

    /// SUPERVISOR CALL.
    ///
    /// # Errors
    /// Fails when the prefix area is outside of storage.
    pub fn supervisor_call(&mut self, code: u8) -> Result<(), Exception> {
        interruption::supervisor_call(self.state, self.storage, code)?;
        self.is_open_anew = true;
        Ok(())
    }

    /// LOAD PSW EXTENDED.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn load_psw(&mut self, psw: Psw) -> Result<(), Exception> {
        self.privileged()?;
        self.branch(psw.address);
        self.state.psw = psw;
        self.is_open_anew = true;
        Ok(())
    }

    /// LOAD PSW EXTENDED from real storage.
    ///
    /// # Errors
    /// Fails in the problem state, and when storage cannot be accessed.
    pub fn load_psw_from(&mut self, address: u64) -> Result<(), Exception> {
        self.privileged()?;
        let mut bytes = [0; 16];
        self.real().load_bytes(address, &mut bytes)?;
        self.load_psw(Psw::from_bytes(bytes))
    }

    /// LOAD PSW: the same with a PSW of 8 bytes.
    ///
    /// # Errors
    /// Fails in the problem state, when storage cannot be accessed, and when bit 12 is zero.
    pub fn load_short_psw_from(&mut self, address: u64) -> Result<(), Exception> {
        self.privileged()?;
        let mut bytes = [0; 8];
        self.real().load_bytes(address, &mut bytes)?;
        self.load_psw(Psw::from_short(bytes).ok_or(Exception::Specification)?)
    }

    /// STORE THEN AND SYSTEM MASK: gives the system mask, and leaves of it what `mask` has.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn and_system_mask(&mut self, mask: u8) -> Result<u8, Exception> {
        let former = self.system_mask()?;
        self.set_system_mask(former & mask)?;
        Ok(former)
    }

    /// STORE THEN OR SYSTEM MASK: gives the system mask, and adds `mask` to it.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn or_system_mask(&mut self, mask: u8) -> Result<u8, Exception> {
        let former = self.system_mask()?;
        self.set_system_mask(former | mask)?;
        Ok(former)
    }

    /// SET SYSTEM MASK.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn set_system_mask(&mut self, mask: u8) -> Result<(), Exception> {
        self.privileged()?;
        let [_, rest @ ..] = self.state.psw.mask.to_be_bytes();
        let [a, b, c, d, e, f, g] = rest;
        self.state.psw.mask = u64::from_be_bytes([mask, a, b, c, d, e, f, g]);
        self.is_open_anew = true;
        Ok(())
    }

    fn system_mask(&self) -> Result<u8, Exception> {
        self.privileged()?;
        let [mask, ..] = self.state.psw.mask.to_be_bytes();
        Ok(mask)
    }

    /// LOAD CONTROL of one register.
    ///
    /// # Errors
    /// Fails in the problem state, and when there is no such register.
    pub fn load_control(&mut self, number: usize, value: u64) -> Result<(), Exception> {
        self.privileged()?;
        *self.state.control.get_mut(number).ok_or(Exception::Specification)? = value;
        self.is_open_anew = true;
        Ok(())
    }

    /// SET PSW KEY FROM ADDRESS.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn set_psw_key(&mut self, key: u8) -> Result<(), Exception> {
        self.privileged()?;
        self.state.psw = self.state.psw.with_key(key);
        Ok(())
    }

    /// SET PREFIX.
    ///
    /// # Errors
    /// Fails in the problem state, and when the prefix area is outside of storage.
    pub fn set_prefix(&mut self, prefix: u32) -> Result<(), Exception> {
        self.privileged()?;
        let prefix = prefix & PREFIX_MASK;
        if !is_in_storage(self.storage, u64::from(prefix), 8192) {
            return Err(Exception::Addressing);
        }
        self.state.prefix = prefix;
        Ok(())
    }

    /// STORE PREFIX.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn store_prefix(&self) -> Result<u32, Exception> {
        self.privileged()?;
        Ok(self.state.prefix)
    }

    /// SIGNAL PROCESSOR: gives a processor an order of [`super::order`], and sets the condition
    /// code.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn signal_processor(
        &mut self,
        address: u16,
        order: u8,
        parameter: u64,
    ) -> Result<Signaled, Exception> {
        self.privileged()?;
        let signaled = self.machine.signal(self.processor, address, order, parameter);
        self.set_condition_code(signaled.condition_code());
        self.has_signaled = true;
        // A processor may have signaled itself.
        self.is_open_anew |= address == self.processor;
        Ok(signaled)
    }

    /// STORE CLOCK.
    #[must_use]
    pub fn store_clock(&self) -> u64 {
        timing::tod(self.state, self.host_now)
    }

    /// STORE CLOCK EXTENDED: epoch index, clock, and TOD programmable register.
    #[must_use]
    pub fn store_clock_extended(&self) -> [u8; 16] {
        let tod = timing::extended_tod(self.state, self.host_now);
        (tod << 56 | u128::from(self.state.tod_programmable & 0xFFFF)).to_be_bytes()
    }

    /// SET CLOCK COMPARATOR.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn set_clock_comparator(&mut self, value: u64) -> Result<(), Exception> {
        self.privileged()?;
        self.state.clock_comparator = value;
        self.is_open_anew = true;
        Ok(())
    }

    /// STORE CLOCK COMPARATOR.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn store_clock_comparator(&self) -> Result<u64, Exception> {
        self.privileged()?;
        Ok(self.state.clock_comparator)
    }

    /// SET CPU TIMER.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn set_cpu_timer(&mut self, value: i64) -> Result<(), Exception> {
        self.privileged()?;
        self.state.cpu_timer = value;
        self.is_open_anew = true;
        Ok(())
    }

    /// STORE CPU TIMER.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn store_cpu_timer(&self) -> Result<i64, Exception> {
        self.privileged()?;
        Ok(self.state.cpu_timer)
    }

    /// SET CLOCK PROGRAMMABLE FIELD.
    ///
    /// # Errors
    /// Fails in the problem state, and for more than 16 bits.
    pub fn set_clock_programmable(&mut self, value: u32) -> Result<(), Exception> {
        self.privileged()?;
        if value > 0xFFFF {
            return Err(Exception::Specification);
        }
        self.state.tod_programmable = value;
        Ok(())
    }

    /// INSERT STORAGE KEY EXTENDED: the key of the page at a real address.
    ///
    /// # Errors
    /// Fails in the problem state, outside of storage, and where the guest has no keys.
    pub fn insert_storage_key(&self, address: u64) -> Result<u8, Exception> {
        Ok(self.storage.key(self.keyed_page(address)?))
    }

    /// SET STORAGE KEY EXTENDED: all seven bits.
    ///
    /// # Errors
    /// Fails in the problem state, outside of storage, and where the guest has no keys.
    pub fn set_storage_key(&mut self, address: u64, key: u8) -> Result<(), Exception> {
        self.storage.set_key(self.keyed_page(address)?, key & KEY_BITS);
        Ok(())
    }

    /// RESET REFERENCE BIT EXTENDED: sets the condition code to twice the former reference bit
    /// and the change bit.
    ///
    /// # Errors
    /// Fails in the problem state, outside of storage, and where the guest has no keys.
    pub fn reset_reference(&mut self, address: u64) -> Result<(), Exception> {
        let code = self.storage.reset_reference(self.keyed_page(address)?);
        self.set_condition_code(code);
        Ok(())
    }

    /// EXTRACT AND SET STORAGE ATTRIBUTES: gives the former state of the page at a real address.
    ///
    /// # Errors
    /// Fails in the problem state, outside of storage, and in a VM that was not given page states.
    pub fn set_page_state(
        &mut self,
        address: u64,
        order: StateOrder,
    ) -> Result<PageState, Exception> {
        let page = self.page(address)?;
        if !self.machine.facilities().has(Facility::PAGE_STATES) {
            return Err(Exception::Operation);
        }
        Ok(self.storage.set_state(page, order))
    }

    /// STORE CPU ID: that of the SU on which the guest was started, wherever it is.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn store_cpu_id(&self) -> Result<u64, Exception> {
        self.privileged()?;
        Ok(self.machine.cpu_id())
    }

    /// STORE FACILITY LIST EXTENDED: what the guest was given at its start, wherever it is.
    #[must_use]
    pub const fn store_facility_list(&self) -> FacilityList {
        self.machine.facilities().without(Facility::PAGE_STATES)
    }

    /// The page at a real address, whose key a privileged instruction is about to use.
    fn keyed_page(&self, address: u64) -> Result<PageNumber, Exception> {
        let page = self.page(address)?;
        if self.storage.has_keys() { Ok(page) } else { Err(Exception::SpecialOperation) }
    }

    /// The page at a real address, which a privileged instruction is about to use.
    fn page(&self, address: u64) -> Result<PageNumber, Exception> {
        self.privileged()?;
        let absolute = self.real().absolute(address);
        let exists = is_in_storage(self.storage, absolute, 1);
        exists.then(|| PageNumber::new(absolute / 4096)).ok_or(Exception::from(AddressFault))
    }

    /// Fails in the problem state.
    pub(super) const fn privileged(&self) -> Result<(), Exception> {
        if self.state.psw.problem_state() { Err(Exception::PrivilegedOperation) } else { Ok(()) }
    }
}
