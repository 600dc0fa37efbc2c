//! Clock and timers of the guest.
//!
//! The guest's clock is that of the machine plus the epoch. The clock comparator is emulated; the
//! CPU timer counts while the virtual processor is started, also while it waits.
//!
//! Source of truth: Principles of Operation, "Timing". Invariants: a value that the guest was told
//! is not followed by a smaller one; a stopped processor's CPU timer stands still. Deliberately
//! not here: STCK, which does not trap and shows the machine's own clock.

use monitor_core::{processor::TodEpoch, units::Tick};

use super::{
    Guest,
    storage::{Beyond, Cause},
};
use crate::arch::clock;

/// Control register 0: interruptions of the clock comparator.
pub(super) const COMPARATOR_MASK: u64 = 0x800;
/// Control register 0: interruptions of the CPU timer.
pub(super) const TIMER_MASK: u64 = 0x400;

/// What the monitor remembers of the guest's time, on this machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timing {
    /// The moment up to which the CPU timer has counted.
    charged_tod: u64,
    /// Real address of the doubleword in which the guest keeps the latest time that it knows.
    cell: Option<u64>,
}

impl Timing {
    /// The processor starts now.
    pub(super) fn start(&mut self) {
        self.charged_tod = clock::tod();
    }

    /// Another guest, or one of another machine.
    pub(super) const fn forget(&mut self) {
        self.cell = None;
    }
}

impl Guest {
    /// Keeps the clock of a guest from going back that has last run where the clock of the machine
    /// showed `stopped_tod`; 0 is one that ran here.
    pub fn keep_clock(&mut self, stopped_tod: u64) {
        self.state.tod_epoch = self.state.tod_epoch.resumed(stopped_tod, clock::tod());
    }

    /// The guest's clock now.
    pub(super) fn guest_tod(&self) -> u64 {
        self.state.tod_epoch.guest_tod(clock::tod())
    }

    /// Counts the CPU timer up to now.
    pub(super) fn charge(&mut self) {
        if self.is_operating() {
            let now = clock::tod();
            let span = i64::try_from(now.saturating_sub(self.timing.charged_tod));
            self.state.cpu_timer = self.state.cpu_timer.wrapping_sub(span.unwrap_or(i64::MAX));
            self.timing.charged_tod = now;
        }
    }

    /// Whether the clock has passed the clock comparator.
    pub(super) fn comparator_is_due(&self) -> bool {
        self.guest_tod() > self.state.clock_comparator
    }

    /// When the next interruption of a timer comes to which the processor is open.
    pub(super) fn next_timer(&self) -> Option<Tick> {
        if !self.state.psw.external() {
            return None;
        }
        let [control_0, ..] = self.state.control;
        let spans = [
            (COMPARATOR_MASK, self.state.clock_comparator.saturating_sub(self.guest_tod())),
            (TIMER_MASK, u64::try_from(self.state.cpu_timer).unwrap_or(0)),
        ];
        let now = clock::tod();
        let due = |span: u64| Tick::new(now.saturating_add(span) / clock::UNITS_PER_US + 1);
        let open = spans.into_iter().filter(|(mask, _)| control_0 & mask != 0);
        open.map(|(_, span)| due(span)).min()
    }

    /// Gives the guest its clock, and stores it at `cell`, which holds what it was given before.
    /// On a machine whose clock is behind, the epoch grows by what is missing.
    pub(super) fn tell_clock(&mut self, cell: u64) -> Result<u64, Beyond> {
        let mut latest = [0; 8];
        self.storage.load_real(cell, &mut latest)?;
        let host = clock::tod();
        let latest = u64::from_be_bytes(latest);
        let mut tod = self.state.tod_epoch.guest_tod(host);
        if tod <= latest {
            tod = latest.saturating_add(1);
            self.state.tod_epoch = TodEpoch::between(host, tod);
        }
        self.storage.store_real(Cause::Clock, cell, &tod.to_be_bytes())?;
        self.timing.cell = Some(cell);
        Ok(tod)
    }

    /// An interruption of the clock comparator tells the guest the time as well.
    pub(super) fn note_clock(&self) {
        if let Some(cell) = self.timing.cell {
            // It was stored there before, so it can be again.
            let _ = self.storage.store_real(Cause::Clock, cell, &self.guest_tod().to_be_bytes());
        }
    }
}
