//! The part of the oracle that watches storage keys.
//!
//! Every so often one of 64 pages gets another key; before, its key must be what the guest gave
//! it the time before. A store must set the change bit, and nothing else may.
//!
//! Source of truth: Principles of Operation, "Storage Key". Invariant: what is expected is in guest
//! storage. Deliberately not here: the reference bit, which a monitor that copies a page sets, too.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::{interface::SWEEP, judge, processor};

/// Pages whose keys are changed.
const WATCHED: u64 = 64;
const PAGE: u64 = 4096;
/// Access control and fetch protection.
const LOCK: u8 = 0xF8;
/// The change bit.
const CHANGED: u8 = 0x02;

/// What access control and fetch protection of each watched page must be.
static EXPECTED: [AtomicU8; WATCHED as usize] = [const { AtomicU8::new(0) }; WATCHED as usize];
/// Keys that were not as expected.
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// The number of keys that were not as expected, with a look at all of them.
pub(crate) fn faults() -> u64 {
    for (number, expected) in (0..).zip(&EXPECTED) {
        if let Some(address) = page(number) {
            note(processor::storage_key(address) & LOCK == expected.load(Relaxed));
        }
    }
    FAULTS.load(Relaxed)
}

/// Looks at one key, and changes it.
pub(crate) fn change(tick: u64) {
    let number = tick % WATCHED;
    let (Some(address), Some(expected)) = (page(number), EXPECTED.get(number as usize)) else {
        return;
    };
    note(processor::storage_key(address) & LOCK == expected.load(Relaxed));
    let new = (tick as u8).wrapping_mul(0x28) & LOCK;
    expected.store(new, Relaxed);
    processor::set_storage_key(address, new);
    note(processor::storage_key(address) & CHANGED == 0);
    judge::stamp(address);
    note(processor::storage_key(address) & CHANGED != 0);
    note(processor::reset_reference(address) & 1 != 0);
}

fn note(is_good: bool) {
    FAULTS.fetch_add(u64::from(!is_good), Relaxed);
}

/// The address of a watched page, if storage is large enough for it.
fn page(number: u64) -> Option<u64> {
    let pages = judge::pages();
    let stride = (pages / WATCHED).max(1);
    (number * stride < pages).then_some(SWEEP + number * stride * PAGE)
}
