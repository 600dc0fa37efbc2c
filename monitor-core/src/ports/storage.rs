//! Ports of guest storage: page contents, storage keys, page states, and the noting of changes.
//!
//! Source of truth: Principles of Operation, chapter "Storage" (storage key: access-control
//! bits, fetch protection, reference, change). Invariants: a run lies inside the guest, the
//! driver has checked it; buffers hold 4096 bytes (or one key or state) for each page of the run,
//! in ascending order of pages. Deliberately not here: bitmaps, which are lent to the driver.

use super::ErrorType;
use crate::{
    memory::{DirtyBitmap, PageRun},
    units::PageCount,
};

/// Data path of guest storage.
pub trait GuestStorage: ErrorType {
    /// The number of pages that the guest has.
    fn page_count(&self) -> PageCount;

    /// Copies the pages of `run` into `target`, once, while the guest may go on writing.
    ///
    /// # Errors
    /// Fails when a page cannot be read; `target` is then undefined.
    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes the pages of `run` from `source`.
    ///
    /// # Errors
    /// Fails when a page cannot be written; the pages of the run are then undefined.
    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), Self::Error>;
}

/// Data path of the storage keys: one byte a page, bits ACC 0xF0, F 0x08, R 0x04, C 0x02.
pub trait StorageKeys: ErrorType {
    /// Whether the guest has storage keys. A guest with the storage-key-removal facility (169) has
    /// none: they are then neither read nor set.
    fn has_keys(&self) -> bool {
        true
    }

    /// Reads the keys of `run` into `target`, one byte a page.
    ///
    /// # Errors
    /// Fails when a key cannot be read.
    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), Self::Error>;

    /// Sets the keys of `run` from `source`, one byte a page.
    ///
    /// # Errors
    /// Fails when a key cannot be set.
    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), Self::Error>;
}

/// Data path of the page states: one byte a page, [`PageState::code`](crate::memory::PageState).
///
/// A change of a state is noted like a change of a key; one by which a page has content again,
/// like a store. It is noted after it is made.
pub trait PageStates: ErrorType {
    /// Reads the states of `run` into `target`, one byte a page. Without page states all pages are
    /// stable, which is 0.
    ///
    /// # Errors
    /// Fails when a state cannot be read.
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), Self::Error>;

    /// Sets the states of `run` from `source`, one byte a page. A page without content reads as
    /// zero from then on, or is not read: nothing of what it has held may come back.
    ///
    /// # Errors
    /// Fails when a state cannot be set, as any but stable where there are no page states. Such an
    /// SU does not offer [`Facility::PAGE_STATES`](crate::vm::Facility::PAGE_STATES), so that the
    /// check refuses a guest that may use them.
    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), Self::Error>;
}

/// Control path of change tracking.
pub trait DirtyTracking: ErrorType {
    /// From now on every change of a page or key is noted.
    ///
    /// # Errors
    /// Fails when the hardware cannot track; nothing is tracked then.
    fn start_tracking(&mut self) -> Result<(), Self::Error>;

    /// Ends tracking.
    ///
    /// # Errors
    /// Fails when the hardware cannot be set back; the guest is not harmed by that.
    fn stop_tracking(&mut self) -> Result<(), Self::Error>;

    /// Brings into the maps what the hardware alone knows so far. Implementations that mark at
    /// the moment of the store have nothing to bring and say so in their own words.
    ///
    /// # Errors
    /// Fails when the hardware cannot be read; the attempt cannot go on then.
    fn collect(
        &mut self,
        pages: &DirtyBitmap<'_>,
        keys: &DirtyBitmap<'_>,
    ) -> Result<(), Self::Error>;
}
