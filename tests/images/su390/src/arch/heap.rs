//! A heap, for the portable tests alone: the monitor itself has no allocator.
//!
//! Source of truth: the crate linked_list_allocator. Invariant: the heap is a region of its own,
//! carved for ever. Deliberately not here: who allocates.

use linked_list_allocator::LockedHeap;

use super::storage::{PAGE_BYTES, Region};

const HEAP_BYTES: usize = 2 << 20;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Gives the allocator its memory; called once, before anything is allocated.
pub fn give() {
    let arena = Region::carve(HEAP_BYTES, PAGE_BYTES);
    let start = core::ptr::with_exposed_provenance_mut(arena.origin());
    // SAFETY: the region was carved for this alone, outside of every Rust object, and stays so.
    unsafe { HEAP.lock().init(start, HEAP_BYTES) };
}
