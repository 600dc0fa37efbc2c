//! Storage keys: the reference and change bits that the processor keeps for each page.
//!
//! Source of truth: Principles of Operation, "Storage Key". Invariants: addresses are real and
//! anywhere in the page; keys tell of accesses only after [`switch_on`]. Deliberately not here:
//! what a guest believes its keys to be.
//!
//! QEMU begins to keep keys with the first instruction that asks for one. Whatever was stored
//! before counts as changed, though its key says otherwise.

use core::arch::asm;
use monitor_core::memory::StorageKey;

/// Makes the processor keep keys. What was stored before is not told by them.
pub fn switch_on() {
    let _ = get(0);
}

/// The key of a page.
#[must_use]
pub fn get(address: usize) -> StorageKey {
    let mut key = 0_u64;
    // SAFETY: the instruction reads a key and changes nothing.
    unsafe {
        asm!("iske {key}, {page}", key = inout(reg) key, page = in(reg) address,
             options(nostack, preserves_flags));
    }
    let [.., key] = key.to_be_bytes();
    StorageKey::new(key)
}

/// Sets the key of a page.
pub fn set(address: usize, key: StorageKey) {
    let key = u64::from(key.get());
    // SAFETY: the monitor runs with access key 0, which every key lets in; no contents change.
    unsafe {
        asm!("sske {key}, {page}", key = in(reg) key, page = in(reg) address, options(nostack));
    }
}

/// Clears the reference bit of a page and returns the condition code: 2 for the reference bit
/// that was, 1 for the change bit.
pub fn reset_reference(address: usize) -> u8 {
    let condition: u64;
    // SAFETY: the instruction changes the reference bit alone.
    unsafe {
        asm!("rrbe {zero}, {page}", "ipm {condition}", zero = in(reg) 0_u64,
             page = in(reg) address, condition = lateout(reg) condition, options(nostack));
    }
    u8::from(condition >> 28 & 1 != 0) | u8::from(condition >> 28 & 2 != 0) << 1
}
