//! Storage keys of the guest: the logical key, of which the real one may be a part.
//!
//! Whoever tracks changes by change bits clears them; what the guest had of its own is saved. Thus
//! the logical key has the reference and change bits that were saved *or* are set in the real key.
//!
//! Source of truth: `monitor_core::memory::KeyShadow`. Invariants: access control and fetch
//! protection are in the real key alone; nobody but this file sets a real key of guest storage.
//! Deliberately not here: that the monitor's own reading sets reference bits, which it does.

use monitor_core::{
    memory::{KeyShadow, Noted, StorageKey},
    units::PageCount,
};

use crate::arch::{
    keys,
    storage::{PAGE_BYTES, Region},
};

/// The keys of one guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    storage: Region,
    /// Reference and change bit of each page that were taken from the real key.
    saved: Region,
}

impl Keys {
    /// Keys for storage of this size.
    pub(super) fn carve(storage: Region) -> Self {
        let pages = storage.length() / PAGE_BYTES;
        Self { storage, saved: Region::carve(pages, size_of::<u64>()) }
    }

    /// Gives all pages of a new guest key 0, whose reference and change bits may be on.
    pub(super) fn clear(self, pages: PageCount) {
        for page in 0..pages.get() as usize {
            let real = keys::get(self.address(page));
            let fresh = real.with_referenced(false).with_changed(false);
            self.saved.write(page, 0_u8);
            if fresh != StorageKey::new(0) {
                keys::set(self.address(page), StorageKey::new(0));
            }
        }
    }

    /// The logical key of a page.
    pub(super) fn get(self, page: usize) -> StorageKey {
        self.shadow(page).guest()
    }

    /// Sets the logical key of a page. The real change bit may be cleared by that, and is told.
    pub(super) fn set(self, page: usize, key: StorageKey) -> bool {
        let before = self.shadow(page);
        let after = before.set(key);
        self.change(page, before, after);
        before.loses_change(after)
    }

    /// Clears the logical reference bit, and gives the logical key before.
    pub(super) fn reset_reference(self, page: usize) -> StorageKey {
        let before = self.shadow(page);
        let after = before.reset_reference();
        self.saved.write(page, after.saved().get());
        // Not by setting the key, which would lose the real change bit.
        if before.real() != after.real() {
            keys::reset_reference(self.address(page));
        }
        before.guest()
    }

    /// Takes the real change bit of a page: true when it was on. The logical key stays. That a
    /// page was referenced alone is not noted, since the monitor's own reading does that as well.
    pub(super) fn take_change(self, page: usize) -> bool {
        let before = self.shadow(page);
        let (after, noted) = before.collect();
        if noted == Noted::Content {
            self.change(page, before, after);
        }
        noted == Noted::Content
    }

    fn shadow(self, page: usize) -> KeyShadow {
        let saved = StorageKey::new(self.saved.read::<u8>(page));
        KeyShadow::new(keys::get(self.address(page)), saved)
    }

    fn change(self, page: usize, before: KeyShadow, after: KeyShadow) {
        self.saved.write(page, after.saved().get());
        if before.real() != after.real() {
            keys::set(self.address(page), after.real());
        }
    }

    fn address(self, page: usize) -> usize {
        self.storage.address(page * PAGE_BYTES, PAGE_BYTES)
    }
}
