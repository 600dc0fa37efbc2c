//! The log of a disk: what was written to it, by whom, in the order in which it was taken.
//!
//! Source of truth: this file. Invariants: a write is entered when the image has it; a refused one
//! is not. The log is of the process's own writes, also when others have the image, too.
//! Deliberately not here: the judgement of what was written.

use std::sync::Mutex;

use monitor_core::units::{Epoch, VmName};

use super::{Access, Device};
use crate::machine::lock;

/// One accepted write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskWrite {
    /// The VM that wrote.
    pub vm: VmName,
    /// The epoch under which it wrote.
    pub epoch: Epoch,
    /// The first block that was written; on a disk in tracks, the track.
    pub block: u32,
    /// The first bytes of the data.
    pub head: [u8; 16],
    /// The place of this write among all writes of this disk, from 1.
    pub sequence: u64,
}

/// A disk that remembers what was written to it.
pub trait LoggedDisk: Device {
    /// The latest accepted write.
    fn last_write(&self) -> Option<DiskWrite>;

    /// Every accepted write so far, in order.
    fn log(&self) -> Vec<DiskWrite>;
}

/// The writes of a disk.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<DiskWrite>>);

impl Log {
    /// Enters a write of `bytes`.
    pub(super) fn enter(&self, access: &Access, block: u32, bytes: &[u8]) {
        let mut writes = lock(&self.0);
        let mut head = [0; 16];
        for (target, byte) in head.iter_mut().zip(bytes) {
            *target = *byte;
        }
        let (Access { vm, epoch, .. }, sequence) = (*access, writes.len() as u64 + 1);
        writes.push(DiskWrite { vm, epoch, block, head, sequence });
    }

    /// The latest write.
    pub(super) fn last(&self) -> Option<DiskWrite> {
        lock(&self.0).last().copied()
    }

    /// Every write, in order.
    pub(super) fn all(&self) -> Vec<DiskWrite> {
        lock(&self.0).clone()
    }
}
