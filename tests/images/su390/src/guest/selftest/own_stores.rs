//! Self-test of the monitor's own stores: each kind of them is noted, before the guest goes on.
//!
//! The guest stands still meanwhile. So nothing that it stores into the same page, as the first
//! instruction of a handler does, can hide that a store of the monitor was not noted.
//!
//! Source of truth: [`Cause`]. Invariant: in the image that forgets stores, one kind at a time is
//! forgotten here. Deliberately not here: that a copy of the guest suffers from it.

use monitor_core::{
    limits::PAGE_BYTES,
    ports::ErrorKind,
    processor::Psw,
    units::{Micros, PageNumber},
};

use super::Test;
use crate::{
    guest::{
        Guest,
        interface::{INPUT, LATEST_CLOCK},
        interruption::ProgramInterruption,
        storage::{Beyond, Cause},
    },
    println,
};

/// Where no program of the guest stores.
const OPERAND: u64 = 0x4000;
/// Where an instruction lies for a moment.
const INSTRUCTION: u64 = 0x4800;
/// STORE PREFIX at the address in register 1.
const STORE_PREFIX: [u8; 4] = [0xB2, 0x11, 0x10, 0x00];

/// Lets the monitor store something.
type Store = fn(&mut Guest) -> Result<(), Beyond>;

/// Each kind of store: what it is called, a real address that it stores to, and how it comes.
const STORES: [(&str, u64, Store); 6] = [
    ("EXTERNAL INTERRUPTION", 0x130, |guest| {
        guest.state.service_signal = Some(0);
        if guest.interrupt_externally() { Ok(()) } else { Err(Beyond) }
    }),
    ("SUPERVISOR CALL", 0x140, |guest| {
        guest.call_supervisor(0, 2);
        Ok(())
    }),
    ("PROGRAM INTERRUPTION", 0x150, |guest| {
        guest.interrupt_program(ProgramInterruption::new(1, 2));
        Ok(())
    }),
    ("OPERAND", OPERAND, |guest| {
        guest.storage.preset(INSTRUCTION, &STORE_PREFIX)?;
        guest.registers.general[1] = OPERAND;
        let psw = Psw::new(0, INSTRUCTION + STORE_PREFIX.len() as u64);
        guest.state.psw = psw.with_extended_addressing(true).with_basic_addressing(true);
        guest.emulate(STORE_PREFIX.len() as u8).map(|_| ()).map_err(|_| Beyond)
    }),
    ("CLOCK", LATEST_CLOCK, |guest| {
        guest.note_clock();
        Ok(())
    }),
    ("INPUT", INPUT, |guest| {
        guest.registers.general[2] = INPUT;
        guest.give_input(b"X");
        Ok(())
    }),
];

impl Test {
    /// Tries each kind of store, in the image that forgets stores once for each kind forgotten.
    pub(super) fn note_own_stores(&mut self) -> Result<(), ErrorKind> {
        println!("GUEST STANDS STILL");
        self.load(1)?;
        self.guest.resume();
        self.run_for(Micros::from_millis(50))?;
        while !self.guest.state.psw.external() {
            self.run_for(Micros::new(20))?;
        }
        self.guest.stop();
        self.guest.start_tracking();
        if Cause::FORGOTTEN.is_empty() {
            self.try_stores()?;
        }
        // The guest program is none that the monitor executes.
        let kinds = Cause::FORGOTTEN.chunks(1).filter(|kind| *kind != [Cause::Workload]);
        for forgotten in kinds {
            println!("FORGOTTEN {forgotten:?}");
            self.guest.storage.forget(forgotten);
            self.try_stores()?;
        }
        self.guest.storage.forget(Cause::FORGOTTEN);
        self.guest.stop_tracking();
        self.guest.destroy();
        Ok(())
    }

    fn try_stores(&mut self) -> Result<(), ErrorKind> {
        let state = self.guest.state.clone();
        for (name, address, store) in STORES {
            self.guest.state.clone_from(&state);
            // No timer comes in between.
            (self.guest.state.clock_comparator, self.guest.state.cpu_timer) = (u64::MAX, i64::MAX);
            let page = PageNumber::new(self.guest.storage.absolute(address) / PAGE_BYTES as u64);
            self.guest.collect();
            self.maps.pages.clear_all();
            store(&mut self.guest).map_err(|Beyond| ErrorKind::Refused)?;
            self.guest.collect();
            let is_noted = self.maps.pages.is_marked(page);
            println!("{name} {}", if is_noted { "NOTED" } else { "LOST" });
        }
        self.guest.state.clone_from(&state);
        Ok(())
    }
}
