//! A disk: an image in memory that grows, with a log of what was written.
//!
//! Source of truth: ARCHITECTURE.md ("Devices"). Invariants: the log holds every
//! accepted write, in the order in which the device took it; a refused write changes nothing.
//! Deliberately not here: count-key-data format.

use super::{
    Access, Device, Fence, Outcome, Position, Refusal, SenseId, Transfer, command, take_all,
};
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
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x6310, unit_model: 0x80, device_type: 0x9336, device_model: 0x10 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.image).fence.pass(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        lock(&self.image).carry_out(access, command, data).into()
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.image).fence.refused()
    }
}

impl Image {
    fn carry_out(
        &mut self,
        access: &mut Access,
        command: u8,
        data: &mut dyn Transfer,
    ) -> Result<Outcome, Refusal> {
        self.fence.pass(access)?;
        match command {
            command::WRITE => self.write(access, data)?,
            command::READ => self.read(access, data)?,
            command::CONTROL => {
                if let Some(bytes) = take_all(data) {
                    let (block, _) = bytes.split_first_chunk().ok_or(Refusal::CommandReject)?;
                    access.position = Position::Block(u32::from_be_bytes(*block));
                }
            }
            _ => return Err(Refusal::CommandReject),
        }
        Ok(Outcome::NORMAL)
    }

    fn write(&mut self, access: &mut Access, data: &mut dyn Transfer) -> Result<(), Refusal> {
        let number = selected(access)?;
        let mut block = Box::new([0; Disk::BLOCK_BYTES]);
        let length = data.room();
        let target = block.get_mut(..length).ok_or(Refusal::CommandReject)?;
        if data.take(target) < length {
            return Ok(());
        }
        let mut head = [0; 16];
        head.copy_from_slice(&block[..16]);
        let sequence = self.log.len() as u64 + 1;
        let (vm, epoch) = (access.vm, access.epoch);
        self.log.push(DiskWrite { vm, epoch, block: number, head, sequence });
        self.blocks.insert(number, block);
        access.position = behind(number);
        Ok(())
    }

    fn read(&self, access: &mut Access, data: &mut dyn Transfer) -> Result<(), Refusal> {
        let number = selected(access)?;
        match self.blocks.get(&number) {
            Some(block) => data.give(&block[..]),
            None => data.give(&[0; Disk::BLOCK_BYTES]),
        };
        access.position = behind(number);
        Ok(())
    }
}

/// The block that the next transfer concerns.
const fn selected(access: &Access) -> Result<u32, Refusal> {
    match access.position {
        Position::Block(number) => Ok(number),
        _ => Err(Refusal::CommandReject),
    }
}

/// The position behind a block.
fn behind(block: u32) -> Position {
    block.checked_add(1).map_or(Position::None, Position::Block)
}
