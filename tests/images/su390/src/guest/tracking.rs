//! Tracking of changes: by change bits of storage keys, or by write protection.
//!
//! | | when a store is noted | when noting begins anew |
//! | --- | --- | --- |
//! | keys | `collect` scans all keys, marks what changed, clears those bits | at once |
//! | protection | a protection fault marks, unprotects, and the store is tried again | `copy_out` |
//!
//! Order (monitor-core, `memory`): a fault marks, then unprotects. A page is taken from the map,
//! then protected again, then copied: a store in between is in the copy, one behind it faults. A
//! change bit is cleared, then the page is marked, then (some time later) taken and copied.
//!
//! Source of truth: Principles of Operation, "Storage Key" and "Protection". Invariant: while the
//! guest runs, every page that it could store into without a trace is marked, or will be by the
//! next `collect`. Deliberately not here: the monitor's own stores, which mark themselves.

use monitor_core::{memory::PageRun, ports::ErrorKind, units::PageNumber};

use super::Guest;
use crate::arch::{clock, dat};

/// How changes are tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// By the change bits of the storage keys.
    Keys,
    /// By write protection of the guest's tables.
    Protection,
}

/// What tracking has cost since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Change bits cleared, or protection faults taken.
    pub noted_count: u64,
    /// Pages protected again.
    pub protected_count: u64,
    /// Time to start: clearing the bits that were on, or protecting everything.
    pub start_us: u64,
    /// Time of all calls of `collect`.
    pub collect_us: u64,
    /// Time of the monitor in protection faults, without the interruption itself.
    pub fault_us: u64,
    /// Time to protect pages again.
    pub protect_us: u64,
}

/// The tracking of one guest.
#[derive(Debug)]
pub(super) struct Tracker {
    kind: Tracking,
    is_active: bool,
    /// An entry was made stricter, which the processor may not know yet.
    purge_due: bool,
    figures: Figures,
    /// Units of the TOD clock behind `figures.fault_us` and `figures.protect_us`.
    fault_units: u64,
    protect_units: u64,
}

impl Tracker {
    /// Tracking that is not active.
    pub(super) fn new(kind: Tracking) -> Self {
        Self {
            kind,
            is_active: false,
            purge_due: false,
            figures: Figures::default(),
            fault_units: 0,
            protect_units: 0,
        }
    }

    /// As it was before any guest.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.kind);
    }
}

impl Guest {
    /// From now on every change is noted.
    pub fn start_tracking(&mut self) {
        let begin = clock::tod();
        self.tracker.reset();
        match self.tracker.kind {
            Tracking::Keys => {
                for page in 0..self.storage.page_count() as usize {
                    if self.keys.take_change(page) {
                        self.mark(page);
                    }
                }
            }
            Tracking::Protection => self.space.protect_all(),
        }
        self.tracker.is_active = true;
        self.tracker.figures.start_us = since_us(begin);
    }

    /// Ends tracking; the guest's storage and keys stay as they are.
    pub fn stop_tracking(&mut self) {
        if self.tracker.is_active && self.tracker.kind == Tracking::Protection {
            self.map_all();
        }
        self.tracker.is_active = false;
    }

    /// Brings into the maps what the storage keys alone know; protection faults have marked.
    pub fn collect(&mut self) {
        if !self.tracker.is_active || self.tracker.kind == Tracking::Protection {
            return;
        }
        let begin = clock::tod();
        for page in 0..self.storage.page_count() as usize {
            if self.keys.take_change(page) {
                self.mark(page);
                self.tracker.figures.noted_count += 1;
            }
        }
        self.tracker.figures.collect_us += since_us(begin);
    }

    /// What tracking has cost since it was started.
    #[must_use]
    pub const fn figures(&self) -> Figures {
        Figures {
            fault_us: self.tracker.fault_units / clock::UNITS_PER_US,
            protect_us: self.tracker.protect_units / clock::UNITS_PER_US,
            ..self.tracker.figures
        }
    }

    /// Copies the pages of `run` into `target`; they have been taken from the map before.
    ///
    /// # Errors
    /// Fails when the run does not lie within the guest.
    pub fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.storage.check(run)?;
        if self.tracker.is_active && self.tracker.kind == Tracking::Protection {
            self.protect_again(run);
        }
        self.storage.copy_out(run, target)
    }

    /// Writes the pages of `run` from `source`.
    ///
    /// # Errors
    /// Fails when the run does not lie within the guest.
    pub fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        self.storage.copy_in(run, source)
    }

    /// Whether the pages of `run` are the guest's.
    ///
    /// # Errors
    /// Fails when the run does not lie within the guest.
    pub fn check(&self, run: PageRun) -> Result<(), ErrorKind> {
        self.storage.check(run)
    }

    /// Reads the logical keys of `run`, one byte a page.
    ///
    /// # Errors
    /// Fails when the run does not lie within the guest.
    pub fn keys_out(&self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.storage.check(run)?;
        for (page, key) in run.pages().zip(target) {
            *key = self.keys.get(page.get() as usize).get();
        }
        Ok(())
    }

    /// Sets the logical keys of `run`, one byte a page, of pages that were written before.
    ///
    /// # Errors
    /// Fails when the run does not lie within the guest.
    pub fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        self.storage.check(run)?;
        for (page, key) in run.pages().zip(source) {
            self.keys.set(page.get() as usize, monitor_core::memory::StorageKey::new(*key));
        }
        Ok(())
    }

    /// The guest stored into a protected page, given by its real number: true when that is
    /// tracking's affair, and the store is to be tried again.
    pub(super) fn note_fault(&mut self, real_page: usize) -> bool {
        let is_ours = self.tracker.is_active
            && real_page < self.space.page_count()
            && self.space.is_protected(real_page);
        if is_ours {
            let begin = clock::tod();
            self.mark(self.storage.real_page(real_page));
            self.space.unprotect(real_page);
            self.tracker.figures.noted_count += 1;
            self.tracker.fault_units += clock::tod() - begin;
        }
        is_ours
    }

    /// Makes the processor forget translations that were made stricter, before the guest runs.
    pub(super) fn purge_if_due(&mut self) {
        if self.tracker.purge_due {
            dat::purge();
            self.tracker.purge_due = false;
        }
    }

    /// After the prefix has changed: makes the tables anew. Marks stay, so that it does no harm to
    /// protect every page again.
    pub(super) fn map_again(&mut self) {
        self.map_all();
        if self.tracker.is_active && self.tracker.kind == Tracking::Protection {
            self.space.protect_all();
        }
    }

    /// Notes a change of a page, given by its absolute number.
    pub(super) fn mark(&self, page: usize) {
        if let Some(maps) = self.storage.maps() {
            // The page lies within the guest, so this cannot fail.
            let _ = maps.pages.mark(PageNumber::new(page as u64));
        }
    }

    fn protect_again(&mut self, run: PageRun) {
        let begin = clock::tod();
        for page in run.pages() {
            let page = self.storage.real_page(page.get() as usize);
            if !self.space.is_protected(page) {
                self.space.protect(page);
                self.tracker.purge_due = true;
                self.tracker.figures.protected_count += 1;
            }
        }
        // One processor: the guest cannot store between here and the copy, so that one purge
        // before it runs again does for all runs.
        self.tracker.protect_units += clock::tod() - begin;
    }
}

fn since_us(begin: u64) -> u64 {
    (clock::tod() - begin) / clock::UNITS_PER_US
}
