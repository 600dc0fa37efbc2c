//! Storage of the guest: absolute addresses from 0, and real addresses over the prefix area.
//!
//! Source of truth: Principles of Operation, "Prefixing". Invariants: nothing beyond the guest's
//! pages is reached; [`Storage::store`] marks what it stores. Deliberately not here: storage keys,
//! and the tables by which the guest itself reaches its storage.

use monitor_core::{
    limits::PAGE_BYTES,
    memory::PageRun,
    ports::ErrorKind,
    units::{PageCount, PageNumber},
};

use super::Maps;
use crate::arch::storage::Region;

/// Bytes of a page.
const PAGE: u64 = PAGE_BYTES as u64;
/// Pages of the prefix area.
const PREFIX_PAGES: u64 = 2;

/// There is no such storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beyond;

/// Why the monitor stores for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An interruption stores its code and the old PSW.
    Interruption,
    /// An instruction that the monitor does stores its operand.
    Operand,
    /// The guest is told the time.
    Clock,
    /// The guest is given what was typed.
    Input,
    /// The monitor executes the workload in the guest's place.
    Workload,
}

impl Cause {
    /// Each of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Interruption, Self::Operand, Self::Clock, Self::Input, Self::Workload];
    /// Those whose stores are not marked: none, save in the image that shows that it matters.
    pub(super) const FORGOTTEN: &'static [Self] =
        if cfg!(feature = "forget-own-stores") { &Self::ALL } else { &[] };
}

/// The storage of one guest.
#[derive(Debug)]
pub(super) struct Storage {
    region: Region,
    pages: u64,
    maps: Option<Maps>,
    /// First page of the prefix area.
    prefix_page: u64,
    /// Stores that are not marked.
    forgotten: &'static [Cause],
}

impl Storage {
    /// Storage without a guest.
    pub(super) const fn new(region: Region) -> Self {
        Self { region, pages: 0, maps: None, prefix_page: 0, forgotten: Cause::FORGOTTEN }
    }

    /// Gives zeroed storage to a guest of so many pages.
    pub(super) fn create(&mut self, pages: PageCount, maps: Maps) -> Result<(), ErrorKind> {
        let length = usize::try_from(pages.bytes().get()).map_err(|_| ErrorKind::NoResource)?;
        if pages.get() <= PREFIX_PAGES || !self.region.holds(0, length) {
            return Err(ErrorKind::NoResource);
        }
        if maps.pages.page_count() != pages || maps.keys.page_count() != pages {
            return Err(ErrorKind::OutOfRange);
        }
        self.region.fill(0, length, 0);
        (self.pages, self.maps, self.prefix_page) = (pages.get(), Some(maps), 0);
        Ok(())
    }

    /// Takes the storage from the guest.
    pub(super) const fn destroy(&mut self) {
        (self.pages, self.maps) = (0, None);
    }

    /// From now on stores of these causes are not marked.
    pub(super) const fn forget(&mut self, causes: &'static [Cause]) {
        self.forgotten = causes;
    }

    /// The number of pages of the guest, 0 without one.
    pub(super) const fn page_count(&self) -> u64 {
        self.pages
    }

    /// The maps of changes.
    pub(super) const fn maps(&self) -> Option<Maps> {
        self.maps
    }

    /// Whether the guest has both pages of a prefix area at this address.
    pub(super) const fn has_prefix_area(&self, prefix: u32) -> bool {
        self.page_of(prefix as u64) + PREFIX_PAGES <= self.pages
    }

    /// Changes the prefix.
    pub(super) const fn set_prefix(&mut self, prefix: u32) {
        self.prefix_page = self.page_of(prefix as u64);
    }

    /// The real page at an absolute one, and the other way round: prefixing swaps two areas.
    pub(super) fn swap(&self, page: u64) -> u64 {
        if page < PREFIX_PAGES {
            page + self.prefix_page
        } else if page.wrapping_sub(self.prefix_page) < PREFIX_PAGES {
            page - self.prefix_page
        } else {
            page
        }
    }

    /// As [`Self::swap`], for indexes of tables.
    pub(super) fn real_page(&self, page: usize) -> usize {
        self.swap(page as u64) as usize
    }

    /// The address, in the real machine, of an absolute page of the guest.
    pub(super) fn address_of_page(&self, page: u64) -> Option<usize> {
        (page < self.pages).then(|| self.region.origin() + page as usize * PAGE_BYTES)
    }

    /// The absolute address of a real one.
    pub(super) fn absolute(&self, real: u64) -> u64 {
        self.swap(self.page_of(real)) * PAGE + real % PAGE
    }

    const fn page_of(&self, address: u64) -> u64 {
        address / PAGE
    }

    /// Reads bytes at a real address.
    pub(super) fn load_real(&self, real: u64, target: &mut [u8]) -> Result<(), Beyond> {
        let (first, second) = target.split_at_mut(bytes_in_page(real, target.len()));
        self.load(self.absolute(real), first)?;
        if second.is_empty() {
            return Ok(());
        }
        self.load(self.absolute(real.wrapping_add(first.len() as u64)), second)
    }

    /// Stores bytes at a real address, marking the pages.
    pub(super) fn store_real(&self, cause: Cause, real: u64, source: &[u8]) -> Result<(), Beyond> {
        let (first, second) = source.split_at(bytes_in_page(real, source.len()));
        let next = self.absolute(real.wrapping_add(first.len() as u64));
        if !second.is_empty() {
            self.offset(next, second.len())?;
        }
        self.store(cause, self.absolute(real), first)?;
        if second.is_empty() {
            return Ok(());
        }
        self.store(cause, next, second)
    }

    /// Reads bytes at an absolute address.
    pub(super) fn load(&self, absolute: u64, target: &mut [u8]) -> Result<(), Beyond> {
        self.region.copy_out(self.offset(absolute, target.len())?, target);
        Ok(())
    }

    /// Stores what the monitor itself stores for the guest, and marks the pages: neither a table
    /// of the guest's nor, on every machine, a change bit tells of such a store.
    pub(super) fn store(&self, cause: Cause, absolute: u64, source: &[u8]) -> Result<(), Beyond> {
        self.region.copy_in(self.offset(absolute, source.len())?, source);
        if self.forgotten.contains(&cause) {
            return Ok(());
        }
        let first = absolute / PAGE;
        let end = (absolute + source.len() as u64).div_ceil(PAGE);
        if let Some(maps) = self.maps {
            let count = PageCount::new(end - first);
            maps.pages.mark_range(PageNumber::new(first), count).map_err(|_| Beyond)?;
        }
        Ok(())
    }

    /// Loads bytes of the guest's first program; nobody has seen the storage before.
    pub(super) fn preset(&self, absolute: u64, source: &[u8]) -> Result<(), Beyond> {
        self.region.copy_in(self.offset(absolute, source.len())?, source);
        Ok(())
    }

    /// Copies the pages of a run into `target`.
    pub(super) fn copy_out(&self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        self.check(run)?;
        for (page, bytes) in run.pages().zip(target.chunks_exact_mut(PAGE_BYTES)) {
            self.load(page.get() * PAGE, bytes).map_err(|_| ErrorKind::OutOfRange)?;
        }
        Ok(())
    }

    /// Writes the pages of a run from `source`, unmarked: the guest does not run here yet.
    pub(super) fn copy_in(&self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        self.check(run)?;
        for (page, bytes) in run.pages().zip(source.chunks_exact(PAGE_BYTES)) {
            self.preset(page.get() * PAGE, bytes).map_err(|_| ErrorKind::OutOfRange)?;
        }
        Ok(())
    }

    /// Refuses a run that does not lie within the guest.
    pub(super) fn check(&self, run: PageRun) -> Result<(), ErrorKind> {
        if run.fits(PageCount::new(self.pages)) { Ok(()) } else { Err(ErrorKind::OutOfRange) }
    }

    /// The offset of these bytes in the region.
    const fn offset(&self, absolute: u64, length: usize) -> Result<usize, Beyond> {
        match absolute.checked_add(length as u64) {
            Some(end) if end <= self.pages * PAGE => Ok(absolute as usize),
            _ => Err(Beyond),
        }
    }
}

/// How many of `length` bytes from `address` on lie in its page.
const fn bytes_in_page(address: u64, length: usize) -> usize {
    let room = (PAGE - address % PAGE) as usize;
    if room < length { room } else { length }
}
