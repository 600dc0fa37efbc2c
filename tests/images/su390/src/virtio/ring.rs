//! Split virtqueue.
//!
//! Source of truth: VIRTIO 1.1, "Split Virtqueues". Invariants: slot `s` owns the descriptors from
//! `s * chain` on, so that no list of free ones is needed; what the device says is held against the
//! length of the queue. Deliberately not here: buffers, and who owns which slot.

use crate::arch::io;
use crate::arch::storage::{PAGE_BYTES, Region};
use core::sync::atomic::{Ordering, fence};

const DESCRIPTOR_BYTES: usize = 16;
/// Flag of a descriptor: another part of the same request follows.
const NEXT: u16 = 1;
/// Flag of a descriptor: the device writes.
const WRITE: u16 = 2;
/// Flag of the available ring.
const NO_INTERRUPTION: u16 = 1;
/// Where the entries of the two rings begin, behind flags and index.
const ENTRIES: usize = 4;
const USED_ENTRY_BYTES: usize = 8;

/// What the device does with a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It reads.
    Reads,
    /// It writes.
    Writes,
}

/// A part of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) address: usize,
    pub(super) length: usize,
    pub(super) access: Access,
}

/// A virtqueue.
#[derive(Debug)]
pub(super) struct Queue {
    subchannel: u32,
    index: u16,
    length: u16,
    chain: u16,
    descriptors: Region,
    available: Region,
    used: Region,
    /// How many requests were ever offered, and how many came back, each modulo 2^16.
    offered: u16,
    returned: u16,
    cookie: i64,
}

impl Queue {
    /// A queue of `length` descriptors, a power of two, whose requests have `chain` parts at most.
    pub(super) fn carve(subchannel: u32, index: u16, length: u16, chain: u16) -> Self {
        let entries = usize::from(length);
        Self {
            subchannel,
            index,
            length,
            chain,
            descriptors: Region::carve(entries * DESCRIPTOR_BYTES, PAGE_BYTES),
            available: Region::carve(ENTRIES + 2 * entries + 2, 8),
            used: Region::carve(ENTRIES + USED_ENTRY_BYTES * entries + 2, 8),
            offered: 0,
            returned: 0,
            cookie: 0,
        }
    }

    /// Asks the device for no interruptions: whoever offers a request here waits for its end.
    pub(super) fn without_interruptions(self) -> Self {
        self.available.write(0, NO_INTERRUPTION.to_le());
        self
    }

    pub(super) const fn descriptors(&self) -> usize {
        self.descriptors.origin()
    }

    pub(super) const fn available(&self) -> usize {
        self.available.origin()
    }

    pub(super) const fn used(&self) -> usize {
        self.used.origin()
    }

    /// Offers a request in a slot of which the device has nothing at present. The device looks at
    /// it after `notify` at the latest.
    pub(super) fn offer(&mut self, slot: u16, parts: &[Part]) {
        assert!(parts.len() <= usize::from(self.chain), "too many parts for the slot");
        let head = slot * self.chain;
        for (descriptor, part) in (head..).zip(parts) {
            let last = usize::from(descriptor - head) + 1 == parts.len();
            let write = if part.access == Access::Writes { WRITE } else { 0 };
            let next = if last { 0 } else { NEXT };
            let at = usize::from(descriptor) * DESCRIPTOR_BYTES;
            self.descriptors.write(at, super::word(part.address).to_le());
            self.descriptors.write(at + 8, u32::try_from(part.length).unwrap_or(0).to_le());
            self.descriptors.write(at + 12, (write | next).to_le());
            self.descriptors.write(at + 14, (descriptor + 1).to_le());
        }
        let entry = usize::from(self.offered % self.length);
        self.available.write(ENTRIES + 2 * entry, head.to_le());
        self.offered = self.offered.wrapping_add(1);
        // The device must not see the index before what it counts.
        fence(Ordering::SeqCst);
        self.available.write(2, self.offered.to_le());
        fence(Ordering::SeqCst);
    }

    /// Tells the device to look at the queue.
    pub(super) fn notify(&mut self) {
        self.cookie = io::notify_virtio(self.subchannel, self.index, self.cookie);
    }

    /// How many requests the device has done with, modulo 2^16.
    pub(super) fn done(&self) -> u16 {
        u16::from_le(self.used.read(2))
    }

    /// How many of the first `done` requests were not taken yet; none if more than these were.
    pub(super) const fn untaken(&self, done: u16) -> Option<u16> {
        let count = done.wrapping_sub(self.returned);
        if count <= self.length { Some(count) } else { None }
    }

    /// The next request that the device has done with: its slot, and how much it wrote.
    pub(super) fn take(&mut self) -> Option<(u16, usize)> {
        fence(Ordering::SeqCst);
        if self.done() == self.returned {
            return None;
        }
        fence(Ordering::SeqCst);
        let at = ENTRIES + USED_ENTRY_BYTES * usize::from(self.returned % self.length);
        let head = u32::from_le(self.used.read(at));
        let written = u32::from_le(self.used.read(at + 4));
        self.returned = self.returned.wrapping_add(1);
        let head = u16::try_from(head).unwrap_or(u16::MAX);
        assert!(head < self.length, "the device returned what it was not given");
        Some((head / self.chain, usize::try_from(written).unwrap_or(0)))
    }
}
