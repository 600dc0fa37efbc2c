//! Dynamic address translation: the guest's address space and the monitor's own.
//!
//! Source of truth: Principles of Operation, "Dynamic Address Translation". Invariants: the tables
//! are regions, so no Rust object lies in them; an entry is made stricter or invalid together with
//! a purge, before the guest runs again. Deliberately not here: which page is dirty.

use super::storage::{PAGE_BYTES, Region, code, stack_guard};
use super::{control, interruption};
use core::arch::asm;

const SEGMENT_BYTES: usize = 1 << 20;
const PAGES_PER_SEGMENT: usize = SEGMENT_BYTES / PAGE_BYTES;
const ENTRY_BYTES: usize = 8;
const PAGE_TABLE_BYTES: usize = PAGES_PER_SEGMENT * ENTRY_BYTES;
/// Segment entries come in quarters of a full table.
const ENTRIES_PER_QUARTER: usize = 512;

/// Bit of a page-table entry: nobody reaches the page.
const INVALID: u64 = 0x400;
/// Bit of a page-table entry: nobody stores into the page.
const PROTECTED: u64 = 0x200;
/// Bit of a segment-table entry: there is no page table.
const SEGMENT_INVALID: u64 = 0x20;

/// An address space from virtual address 0 on, of at most 2 GiB.
#[derive(Debug)]
pub struct AddressSpace {
    segments: Region,
    entries: Region,
    page_count: usize,
}

impl AddressSpace {
    /// A space of so many bytes in which no page is valid yet; its tables are carved from the
    /// storage behind the image, for ever.
    ///
    /// # Panics
    /// If it is larger than 2 GiB, or no storage is left.
    #[must_use]
    pub fn carve(length: usize) -> Self {
        let segment_count = length.div_ceil(SEGMENT_BYTES);
        let table_count = segment_count.next_multiple_of(ENTRIES_PER_QUARTER);
        assert!(table_count <= 4 * ENTRIES_PER_QUARTER, "the address space is too large");
        let segments = Region::carve(table_count * ENTRY_BYTES, PAGE_BYTES);
        let entries = Region::carve(segment_count * PAGE_TABLE_BYTES, PAGE_TABLE_BYTES);
        for segment in 0..table_count {
            let entry = if segment < segment_count {
                word(entries.address(segment * PAGE_TABLE_BYTES, PAGE_TABLE_BYTES))
            } else {
                SEGMENT_INVALID
            };
            segments.write(segment * ENTRY_BYTES, entry);
        }
        for page in 0..segment_count * PAGES_PER_SEGMENT {
            entries.write(page * ENTRY_BYTES, INVALID);
        }
        Self { segments, entries, page_count: length / PAGE_BYTES }
    }

    /// The number of its pages.
    #[must_use]
    pub const fn page_count(&self) -> usize {
        self.page_count
    }

    /// Lays virtual page `page` at a real address. The caller purges if the page was valid.
    pub fn map(&self, page: usize, real: usize) {
        self.entries.write(page * ENTRY_BYTES, word(real & !(PAGE_BYTES - 1)));
    }

    /// Lets nobody reach a page. The caller purges.
    pub fn unmap(&self, page: usize) {
        self.entries.write(page * ENTRY_BYTES, INVALID);
    }

    /// The real address of a page, if it is valid.
    #[must_use]
    pub fn real(&self, page: usize) -> Option<usize> {
        let entry = self.entry(page);
        let real = usize::try_from(entry).ok()? & !(PAGE_BYTES - 1);
        (entry & INVALID == 0).then_some(real)
    }

    /// Whether stores into a page are kept out.
    #[must_use]
    pub fn is_protected(&self, page: usize) -> bool {
        self.entry(page) & PROTECTED != 0
    }

    /// Keeps stores into a page out. The caller purges.
    pub fn protect(&self, page: usize) {
        self.entries.write(page * ENTRY_BYTES, self.entry(page) | PROTECTED);
    }

    /// Keeps stores into every page out, and purges.
    pub fn protect_all(&self) {
        for page in 0..self.page_count {
            self.protect(page);
        }
        purge();
    }

    /// Lets stores into a page in again; what the processor remembers of the page goes with it.
    pub fn unprotect(&self, page: usize) {
        let entry = self.entry(page);
        let segment = page / PAGES_PER_SEGMENT * PAGE_TABLE_BYTES;
        let table = self.entries.address(segment, PAGE_TABLE_BYTES);
        // SAFETY: the instruction sets the invalid bit of one entry of a table that is a region;
        // the entry is written anew before anybody uses the page.
        unsafe {
            asm!("ipte {table}, {page}", table = in(reg) table, page = in(reg) page * PAGE_BYTES,
                 options(nostack, preserves_flags));
        }
        self.entries.write(page * ENTRY_BYTES, entry & !PROTECTED);
    }

    /// Makes it the space in which problem-state programs run.
    pub fn use_for_guest(&self) {
        // SAFETY: the monitor runs without translation or in home-space mode: neither asks this
        // register, and a guest in it reaches only what the tables give it.
        unsafe { control::load::<1>(self.designation()) };
        // SAFETY: as above; a guest that chooses its secondary space finds the same.
        unsafe { control::load::<7>(self.designation()) };
    }

    /// The address-space-control element: where the segment table lies, and how long it is.
    fn designation(&self) -> u64 {
        let quarters = self.segments.length() / (ENTRIES_PER_QUARTER * ENTRY_BYTES);
        word(self.segments.origin()) | word(quarters - 1)
    }

    #[track_caller]
    fn entry(&self, page: usize) -> u64 {
        self.entries.read(page * ENTRY_BYTES)
    }
}

/// Makes the processor forget every translation.
pub fn purge() {
    // SAFETY: the instruction changes nothing but what the processor remembers of the tables.
    unsafe { asm!("ptlb", options(nostack, preserves_flags)) };
}

/// Puts the monitor itself under translation: every address stays what it is, but the page below
/// the stack is out of reach and nobody stores into code, so that either is told at once.
pub fn guard_monitor(storage_bytes: usize) {
    let space = AddressSpace::carve(storage_bytes);
    for page in 0..space.page_count() {
        space.map(page, page * PAGE_BYTES);
    }
    space.unmap(stack_guard() / PAGE_BYTES);
    for page in code().start / PAGE_BYTES..code().end / PAGE_BYTES {
        space.protect(page);
    }
    // SAFETY: in the new space each address means what it meant before, save the guard page, in
    // which nothing lies; code is not stored into, and constants begin on a page of their own.
    unsafe { control::load::<13>(space.designation()) };
    interruption::translate_monitor();
}

const fn word(address: usize) -> u64 {
    // An address has 64 bits on this machine.
    address as u64
}
