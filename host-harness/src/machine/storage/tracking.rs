//! The noting of changes: which page is marked in which map, and when.
//!
//! Source of truth: ARCHITECTURE.md ("Memory").
//!
//! Invariants: what has changed is marked after it has changed. While stores mark, each does; while
//! keys are collected, each sets the change bit anew, and [`Storage::collect`] clears it before it
//! marks. What the guest does to a key or state by an instruction marks at once in either way.
//! Deliberately not here: keeping former content.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use monitor_core::{
    memory::{DirtyBitmap, KeyShadow, Noted},
    units::PageNumber,
};

use super::{BY_KEYS, CHANGE, COLLECTING, KEYLESS, REFERENCE, Storage, TRACKING, page_index};

/// How changes are tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// Each store marks its page, at once.
    #[default]
    Marks,
    /// The change bits of the hardware's keys are collected, as the architecture has them.
    Keys,
}

impl Storage {
    /// Changes are to be tracked in this way; to be said before tracking starts.
    pub fn track_by(&self, tracking: Tracking) {
        match tracking {
            Tracking::Marks => self.mode.fetch_and(!BY_KEYS, Release),
            Tracking::Keys => self.mode.fetch_or(BY_KEYS, Release),
        };
    }

    /// Changes are noted from now on. A store that has begun may still escape: who owns the
    /// processors lets each of them end its step, as [`crate::machine::Machine::start_tracking`]
    /// does.
    pub fn start_tracking(&self) {
        let by_keys = self.mode.load(Acquire) & BY_KEYS != 0;
        self.mode.fetch_or(if by_keys { COLLECTING } else { TRACKING }, Release);
    }

    /// Brings into the maps what the keys alone know. While stores and loads mark, there is
    /// nothing of the kind.
    pub fn collect(&self) {
        if self.mode.load(Acquire) & COLLECTING == 0 {
            return;
        }
        let (pages, keys) = (self.pages_map(), self.keys_map());
        for page in 0..self.page_count.get() {
            let map = match self.keys.collect(page_index(PageNumber::new(page))) {
                Noted::Key if self.has_keys() => &keys,
                Noted::Nothing | Noted::Key => continue,
                Noted::Content => &pages,
            };
            let marked = map.mark(PageNumber::new(page));
            debug_assert!(marked.is_ok(), "the page has a key");
        }
    }

    /// Forgets what the keys have noted so far, of which there is no need any more.
    pub fn forget_noted(&self) {
        if self.mode.load(Acquire) & COLLECTING != 0 {
            (0..self.states.len()).for_each(|page| _ = self.keys.collect(page));
        }
    }

    /// Changes are no longer noted.
    pub fn stop_tracking(&self) {
        self.mode.fetch_and(!(TRACKING | COLLECTING), Release);
    }

    /// The map of changed pages.
    ///
    /// # Panics
    /// Does not panic: the map was made for this number of pages.
    #[must_use]
    pub fn pages_map(&self) -> DirtyBitmap<'_> {
        DirtyBitmap::try_new(&self.pages_map, self.page_count).expect("a map of this size")
    }

    /// The map of pages whose keys changed without their content.
    ///
    /// # Panics
    /// Does not panic: the map was made for this number of pages.
    #[must_use]
    pub fn keys_map(&self) -> DirtyBitmap<'_> {
        DirtyBitmap::try_new(&self.keys_map, self.page_count).expect("a map of this size")
    }

    /// Makes a step of the guest with a key; gives the guest's former key.
    pub(super) fn change_key(&self, page: usize, step: impl Fn(KeyShadow) -> KeyShadow) -> u8 {
        self.prepare_key(page);
        let (before, after) = self.keys.change(page, step);
        if before.loses_change(after) && self.mode.load(Relaxed) & COLLECTING != 0 {
            self.note_content(page);
        }
        if before.guest() != after.guest() {
            self.note_key(page);
        }
        before.guest().get()
    }

    #[inline]
    pub(super) fn note_store(&self, page: usize) {
        let is_new = self.keys.guest(page) & (REFERENCE | CHANGE) != REFERENCE | CHANGE;
        if is_new {
            self.prepare_key(page);
        }
        let mode = self.mode.load(Relaxed);
        // Who collects clears the bit: to test it first and skip one that is set would lose a
        // store that lies between the clearing and the copy.
        if is_new || mode & COLLECTING != 0 {
            self.keys.note(page, REFERENCE | CHANGE);
        }
        if mode & TRACKING != 0 {
            let marked = self.pages_map().mark(PageNumber::new(page as u64));
            debug_assert!(marked.is_ok(), "the page was stored into");
        }
    }

    #[inline]
    pub(super) fn note_load(&self, page: usize) {
        if self.keys.guest(page) & REFERENCE == 0 {
            self.prepare_key(page);
            self.keys.note(page, REFERENCE);
            if self.mode.load(Relaxed) & (TRACKING | KEYLESS) == TRACKING {
                self.note_key(page);
            }
        }
    }

    /// Marks a page for its content, beside any store.
    pub(super) fn note_content(&self, page: usize) {
        if self.mode.load(Relaxed) & (TRACKING | COLLECTING) != 0 {
            let marked = self.pages_map().mark(PageNumber::new(page as u64));
            debug_assert!(marked.is_ok(), "the page has a state");
        }
    }

    pub(super) fn note_key(&self, page: usize) {
        if self.mode.load(Relaxed) & (TRACKING | COLLECTING) != 0 {
            let marked = self.keys_map().mark(PageNumber::new(page as u64));
            debug_assert!(marked.is_ok(), "the page has a key");
        }
    }
}
