//! A disk: an image in memory that grows, with a log of what was written.
//!
//! Source of truth: ARCHITECTURE.md ("Devices"). Invariants: the log holds every
//! accepted write, in the order in which the device took it; a refused write changes nothing.
//! Deliberately not here: count-key-data format.

use super::{Access, Device, Fence, Refusal};
use crate::machine::lock;
use monitor_core::units::{Epoch, VmName};
use std::{collections::BTreeMap, sync::Mutex};

/// One accepted write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskWrite {
    /// The VM that wrote.
    pub vm: VmName,
    /// The epoch under which it wrote.
    pub epoch: Epoch,
    /// The block.
    pub block: u32,
    /// The first bytes of the block.
    pub head: [u8; 16],
    /// The place of this write among all writes of this disk, from 1.
    pub sequence: u64,
}

#[derive(Debug, Default)]
struct Image {
    fence: Fence,
    blocks: BTreeMap<u32, Box<[u8; Disk::BLOCK_BYTES]>>,
    log: Vec<DiskWrite>,
}

/// A disk with blocks of 4096 bytes.
#[derive(Debug, Default)]
pub struct Disk {
    image: Mutex<Image>,
}

impl Disk {
    /// Bytes of one block.
    pub const BLOCK_BYTES: usize = 4096;

    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every accepted write so far, in order.
    #[must_use]
    pub fn log(&self) -> Vec<DiskWrite> {
        lock(&self.image).log.clone()
    }
}

impl Device for Disk {
    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.image).fence.pass(access)
    }

    fn control(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal> {
        lock(&self.image).fence.pass(access)?;
        let (block, _) = data.split_first_chunk().ok_or(Refusal::CommandReject)?;
        access.block = Some(u32::from_be_bytes(*block));
        Ok(())
    }

    fn write(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal> {
        let mut image = lock(&self.image);
        image.fence.pass(access)?;
        let number = access.block.ok_or(Refusal::CommandReject)?;
        let mut block = Box::new([0; Self::BLOCK_BYTES]);
        block.get_mut(..data.len()).ok_or(Refusal::CommandReject)?.copy_from_slice(data);
        let mut head = [0; 16];
        head.copy_from_slice(&block[..16]);
        let sequence = image.log.len() as u64 + 1;
        let (vm, epoch) = (access.vm, access.epoch);
        image.log.push(DiskWrite { vm, epoch, block: number, head, sequence });
        image.blocks.insert(number, block);
        access.block = number.checked_add(1);
        Ok(())
    }

    fn read(&self, access: &mut Access, target: &mut [u8]) -> Result<usize, Refusal> {
        let mut image = lock(&self.image);
        image.fence.pass(access)?;
        let number = access.block.ok_or(Refusal::CommandReject)?;
        let length = target.len().min(Self::BLOCK_BYTES);
        match image.blocks.get(&number) {
            Some(block) => target[..length].copy_from_slice(&block[..length]),
            None => target[..length].fill(0),
        }
        access.block = number.checked_add(1);
        Ok(length)
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.image).fence.refused()
    }
}
