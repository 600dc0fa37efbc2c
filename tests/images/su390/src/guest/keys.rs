//! Storage keys of the guest: the logical key, of which the real one may be a part.
//!
//! Whoever tracks changes by change bits clears them; what the guest had of its own is saved. Thus
//! the logical key has the reference and change bits that were saved *or* are set in the real key.
//!
//! Source of truth: Principles of Operation, "Storage Key". Invariants: access control and fetch
//! protection are in the real key alone; nobody but this file sets a real key of guest storage.
//! Deliberately not here: that the monitor's own reading sets reference bits, which it does.

use monitor_core::{memory::StorageKey, units::PageCount};

use crate::arch::{
    keys,
    storage::{PAGE_BYTES, Region},
};

/// The bits that the processor sets.
const NOTED: u8 = 0x06;

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
            self.saved.write(page, 0_u8);
            let real = self.real(page);
            if real.get() & !NOTED != 0 {
                self.set_real(page, StorageKey::new(0));
            }
        }
    }

    /// The logical key of a page.
    pub(super) fn get(self, page: usize) -> StorageKey {
        StorageKey::new(self.real(page).get() | self.saved.read::<u8>(page))
    }

    /// Sets the logical key of a page. The real change bit may be cleared by that, and is told.
    pub(super) fn set(self, page: usize, key: StorageKey) -> bool {
        let real = self.real(page);
        let is_covered = real.get() & !key.get() == 0 && (real.get() ^ key.get()) & !NOTED == 0;
        self.saved.write(page, key.get() & NOTED);
        if is_covered {
            return false;
        }
        self.set_real(page, StorageKey::new(key.get() & !NOTED));
        real.changed()
    }

    /// Clears the logical reference bit, and gives the logical key before.
    pub(super) fn reset_reference(self, page: usize) -> StorageKey {
        let before = self.get(page);
        let saved: u8 = self.saved.read(page);
        self.saved.write(page, StorageKey::new(saved).with_referenced(false).get());
        if self.real(page).referenced() {
            keys::reset_reference(self.address(page));
        }
        before
    }

    /// Takes the real change bit of a page: true when it was on. The logical key stays.
    pub(super) fn take_change(self, page: usize) -> bool {
        let real = self.real(page);
        if !real.changed() {
            return false;
        }
        let saved: u8 = self.saved.read(page);
        self.saved.write(page, saved | real.get() & NOTED);
        self.set_real(page, StorageKey::new(real.get() & !NOTED));
        true
    }

    fn real(self, page: usize) -> StorageKey {
        keys::get(self.address(page))
    }

    fn set_real(self, page: usize, key: StorageKey) {
        keys::set(self.address(page), key);
    }

    fn address(self, page: usize) -> usize {
        self.storage.address(page * PAGE_BYTES, PAGE_BYTES)
    }
}
