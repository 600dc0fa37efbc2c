//! A simple device for tests of the channel subsystem: WRITE and READ move a block of 4096 bytes,
//! CONTROL selects it.
//!
//! Source of truth: this file. Invariants: the log holds every accepted write, in the order in
//! which the device took it; a refused write changes nothing. Deliberately not here: what a real
//! disk does.

use super::*;
use crate::machine::{Fence, take_all};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Image {
    fence: Fence,
    blocks: BTreeMap<u32, Box<[u8; Disk::BLOCK_BYTES]>>,
    log: Vec<DiskWrite>,
}

/// A disk with blocks of 4096 bytes.
#[derive(Debug, Default)]
pub(super) struct Disk {
    image: Mutex<Image>,
}

impl Disk {
    /// Bytes of one block.
    pub(super) const BLOCK_BYTES: usize = 4096;

    /// An empty disk.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Every accepted write so far, in order.
    pub(super) fn log(&self) -> Vec<DiskWrite> {
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
                if let Some(bytes) = take_all(data, 64) {
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
        let Some(bytes) = take_all(data, Disk::BLOCK_BYTES + 1) else {
            return Ok(());
        };
        let mut block = Box::new([0; Disk::BLOCK_BYTES]);
        block.get_mut(..bytes.len()).ok_or(Refusal::CommandReject)?.copy_from_slice(&bytes);
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
