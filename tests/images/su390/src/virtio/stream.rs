//! Two queues that carry bytes, one in each direction, without ever blocking.
//!
//! Source of truth: VIRTIO 1.1, "Console Device". Invariants: bytes keep their order; a slot is
//! either at the device or here; what does not fit into free buffers is not taken. Deliberately not
//! here: whether somebody listens at the other end.

use super::ring::{Access, Queue};
use super::{Buffers, Device, VirtioError};
use heapless::Vec;

/// Buffers for what arrives. QEMU fills one with 4 KiB at most.
const IN_SLOTS: u16 = 64;
const IN_BYTES: usize = 4096;
/// Buffers for what is sent.
const OUT_SLOTS: u16 = 16;
const OUT_BYTES: usize = 16 << 10;

/// What has arrived in a slot and was not taken yet.
#[derive(Clone, Copy, Debug)]
struct Rest {
    slot: u16,
    from: usize,
    to: usize,
}

/// A stream of bytes in both directions.
#[derive(Debug)]
pub(super) struct Stream {
    incoming: Queue,
    in_buffers: Buffers,
    rest: Option<Rest>,
    outgoing: Queue,
    out_buffers: Buffers,
    free: Vec<u16, { OUT_SLOTS as usize }>,
}

impl Stream {
    /// Sets up the queues; nothing is offered before [`Stream::begin`].
    pub(super) fn new(device: Device, incoming: u16, outgoing: u16) -> Result<Self, VirtioError> {
        Ok(Self {
            incoming: device.queue(incoming, IN_SLOTS, 1)?,
            in_buffers: Buffers::carve(IN_SLOTS, IN_BYTES),
            rest: None,
            outgoing: device.queue(outgoing, OUT_SLOTS, 1)?,
            out_buffers: Buffers::carve(OUT_SLOTS, OUT_BYTES),
            free: (0..OUT_SLOTS).collect(),
        })
    }

    /// Gives the device every buffer for what arrives.
    pub(super) fn begin(&mut self) {
        for slot in 0..IN_SLOTS {
            self.offer_incoming(slot);
        }
        self.incoming.notify();
    }

    /// Takes as many bytes as there are free buffers for, and says how many.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> usize {
        while let Some((slot, _)) = self.outgoing.take() {
            // There are as many places as slots.
            let _ = self.free.push(slot);
        }
        let mut taken = 0;
        for chunk in bytes.chunks(OUT_BYTES) {
            let Some(slot) = self.free.pop() else { break };
            self.out_buffers.region.copy_in(self.out_buffers.offset(slot), chunk);
            let part = self.out_buffers.part(slot, chunk.len(), Access::Reads);
            self.outgoing.offer(slot, &[part]);
            taken += chunk.len();
        }
        if taken > 0 {
            self.outgoing.notify();
        }
        taken
    }

    /// Puts what has arrived into `target`, and says how much.
    pub(super) fn try_read(&mut self, target: &mut [u8]) -> usize {
        let mut filled = 0;
        let mut returned = false;
        while filled < target.len() {
            let Some(rest) = self.rest.take().or_else(|| self.next_rest()) else { break };
            let count = (rest.to - rest.from).min(target.len() - filled);
            let from = self.in_buffers.offset(rest.slot) + rest.from;
            self.in_buffers.region.copy_out(from, &mut target[filled..filled + count]);
            filled += count;
            if rest.from + count < rest.to {
                self.rest = Some(Rest { from: rest.from + count, ..rest });
            } else {
                self.offer_incoming(rest.slot);
                returned = true;
            }
        }
        if returned {
            self.incoming.notify();
        }
        filled
    }

    /// Whether there is something to read.
    pub(super) fn has_input(&mut self) -> bool {
        if self.rest.is_none() {
            self.rest = self.next_rest();
        }
        self.rest.is_some()
    }

    /// A mark behind everything that has arrived.
    pub(super) fn mark(&self) -> u16 {
        self.incoming.done()
    }

    /// Drops what arrived before the mark and was not taken.
    pub(super) fn drop_to(&mut self, mark: u16) {
        let Some(count) = self.incoming.untaken(mark) else { return };
        if let Some(rest) = self.rest.take() {
            self.offer_incoming(rest.slot);
        }
        for _ in 0..count {
            if let Some((slot, _)) = self.incoming.take() {
                self.offer_incoming(slot);
            }
        }
        self.incoming.notify();
    }

    fn next_rest(&mut self) -> Option<Rest> {
        let (slot, length) = self.incoming.take()?;
        Some(Rest { slot, from: 0, to: length.min(IN_BYTES) })
    }

    fn offer_incoming(&mut self, slot: u16) {
        let part = self.in_buffers.part(slot, IN_BYTES, Access::Writes);
        self.incoming.offer(slot, &[part]);
    }
}
