//! The guest that the monitor itself executes: the memory-only workload of the harness.
//!
//! It has the same storage, keys, tracking and image as a guest in problem state, so that it can
//! come from the harness and go back there. Its registers that the workload does not use are held
//! in the image alone.
//!
//! Source of truth: `host-harness/guest`, which is one workload for both machines. Invariants: its
//! stores go through [`Storage::store`], which marks; what it remembers is in storage and in two
//! registers. Deliberately not here: what the workload does.

use monitor_core::{
    processor::CpuState,
    units::{Micros, Tick},
    vm::GuestEvent,
};
use sweep_guest::{Processor, layout, sweep};

use super::{
    ConsoleLine, Guest, Hypercall, Ran, request,
    storage::{Beyond, Cause, Storage},
};
use crate::arch::clock;

/// Pages that are swept between two looks at the clock.
const STEP_PAGES: u32 = 64;

/// Storage and registers, as the workload sees them.
struct Lent<'a> {
    storage: &'a Storage,
    general: &'a mut [u64; 16],
}

impl sweep_guest::Storage for Lent<'_> {
    type Fault = Beyond;

    fn load(&self, address: u64) -> Result<u64, Beyond> {
        let mut bytes = [0; 8];
        self.storage.load(address, &mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), Beyond> {
        self.storage.store(Cause::Workload, address, &value.to_be_bytes())
    }
}

impl Processor for Lent<'_> {
    fn general(&self, number: usize) -> u64 {
        self.general.get(number).copied().unwrap_or(0)
    }

    fn set_general(&mut self, number: usize, value: u64) {
        if let Some(register) = self.general.get_mut(number) {
            *register = value;
        }
    }
}

impl Guest {
    fn lend(&mut self) -> Lent<'_> {
        Lent { storage: &self.storage, general: &mut self.registers.general }
    }

    /// Loads the workload, which sweeps so many pages in a second.
    pub(super) fn load_workload(&mut self, pages_per_second: u64) -> Result<(), Beyond> {
        let pages = self.page_count().get();
        let pace = (pages_per_second, 1_000_000);
        sweep_guest::load(&mut self.lend(), pages, pace)?.ok_or(Beyond)?;
        self.load_state(&sweep_guest::initial_image(
            sweep_guest::SEED,
            0,
            &sweep_guest::FACILITIES,
        ));
        Ok(())
    }

    /// Runs the workload up to the moment `until`, or to its next page.
    pub(super) fn run_workload(&mut self, until: Tick) -> Ran {
        loop {
            self.charge();
            if !self.is_operating() {
                return Ran::Stopped;
            }
            if let Some(parameter) = self.state.service_signal.take() {
                return Ran::Called(self.serve(parameter));
            }
            let now = clock::now();
            if now >= until {
                return Ran::SliceEnded;
            }
            let now_us = self.guest_tod() / clock::UNITS_PER_US;
            match sweep::run(&mut self.lend(), now_us, STEP_PAGES) {
                Ok(work) if work.count == 0 => {
                    let span = Micros::new(work.next_us.saturating_sub(now_us));
                    return Ran::Waits(Some(now.after(span)));
                }
                Ok(_) => {}
                Err(Beyond) => {
                    // What it remembers cannot be right: it does not go on.
                    self.state.state = CpuState::CheckStop;
                    return Ran::Stopped;
                }
            }
        }
    }

    /// Does in the guest's place what a service signal asks.
    fn serve(&mut self, parameter: u32) -> Hypercall {
        let event = match parameter {
            request::MOVE_COMING => GuestEvent::MoveComing,
            request::MOVE_ABANDONED => GuestEvent::MoveAbandoned,
            request::MOVED => GuestEvent::Moved,
            request::NETWORK_UP => GuestEvent::NetworkUp,
            request::END => {
                self.stop();
                return Hypercall::End { is_good: self.workload_is_in_step() };
            }
            _ => return Hypercall::Line(self.report()),
        };
        Hypercall::Answer(sweep_guest::answer(event))
    }

    /// Whether no page is out of step with the registers.
    fn workload_is_in_step(&mut self) -> bool {
        let Some(area) = layout::swept(self.page_count().get(), 1) else {
            return false;
        };
        sweep::out_of_step(&self.lend(), area) == Ok(None)
    }

    fn report(&mut self) -> ConsoleLine {
        let verdict = if self.workload_is_in_step() { "OK" } else { "FAILED" };
        let rounds = self.lend().general(layout::SWEEP_ROUNDS);
        let mut line = ConsoleLine::new();
        // The line has room for it.
        let _ = core::fmt::write(&mut line, format_args!("ORACLE {verdict} ROUNDS={rounds}"));
        line
    }
}
