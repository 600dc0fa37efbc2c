//! A disk, one request at a time.
//!
//! Source of truth: VIRTIO 1.1, "Block Device". Invariants: without the feature of a cache, a
//! write that has ended is on the disk; a request waits for its end with a bound, and a disk that
//! missed it is not used again. Deliberately not here: what lies where on the disk.

use super::ring::{Access, Part, Queue};
use super::{Device, Kind, VirtioError};
use crate::arch::clock;
use crate::arch::storage::{PAGE_BYTES, Region};
use monitor_core::units::{DeviceNumber, Tick};

/// Bytes of a sector, in which places on the disk are counted.
pub const SECTOR_BYTES: usize = 512;

const READ: u32 = 0;
const WRITE: u32 = 1;
const HEADER_BYTES: usize = 16;
/// Where the status that the device writes lies, behind the header.
const STATUS: usize = HEADER_BYTES;
/// Most bytes of one request.
const DATA_BYTES: usize = 64 << 10;
const REQUEST_BOUND_US: u64 = 5_000_000;

/// A disk.
#[derive(Debug)]
pub struct Block {
    queue: Queue,
    header: Region,
    data: Region,
    sectors: u64,
    failed: bool,
}

impl Block {
    /// Opens the disk with this device number.
    ///
    /// # Errors
    /// Fails when there is no such device or it is none.
    pub fn open(number: DeviceNumber) -> Result<Self, VirtioError> {
        let device = Device::open(number, Kind::Block, 0)?;
        let sectors = u64::from_le_bytes(device.configuration()?);
        let queue = device.queue(0, 1, 3)?.without_interruptions();
        device.ready()?;
        let header = Region::carve(HEADER_BYTES + 1, 8);
        let data = Region::carve(DATA_BYTES, PAGE_BYTES);
        Ok(Self { queue, header, data, sectors, failed: false })
    }

    /// How many sectors the disk has.
    #[must_use]
    pub const fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Reads whole sectors from `sector` on.
    ///
    /// # Errors
    /// Fails when they are not on the disk, or when the device fails.
    pub fn read(&mut self, sector: u64, target: &mut [u8]) -> Result<(), VirtioError> {
        self.check(sector, target.len())?;
        let sectors = (sector..).step_by(DATA_BYTES / SECTOR_BYTES);
        for (chunk, from) in target.chunks_mut(DATA_BYTES).zip(sectors) {
            self.request(READ, from, chunk.len(), Access::Writes)?;
            self.data.copy_out(0, chunk);
        }
        Ok(())
    }

    /// Writes whole sectors from `sector` on; they are on the disk when this returns.
    ///
    /// # Errors
    /// Fails when they are not on the disk, or when the device fails.
    pub fn write(&mut self, sector: u64, source: &[u8]) -> Result<(), VirtioError> {
        self.check(sector, source.len())?;
        let sectors = (sector..).step_by(DATA_BYTES / SECTOR_BYTES);
        for (chunk, from) in source.chunks(DATA_BYTES).zip(sectors) {
            self.data.copy_in(0, chunk);
            self.request(WRITE, from, chunk.len(), Access::Reads)?;
        }
        Ok(())
    }

    fn check(&self, sector: u64, length: usize) -> Result<(), VirtioError> {
        let count = u64::try_from(length / SECTOR_BYTES).unwrap_or(u64::MAX);
        let end = sector.checked_add(count);
        let whole = length.is_multiple_of(SECTOR_BYTES);
        if whole && end.is_some_and(|end| end <= self.sectors) {
            Ok(())
        } else {
            Err(VirtioError::OutOfRange)
        }
    }

    fn request(
        &mut self,
        kind: u32,
        sector: u64,
        length: usize,
        access: Access,
    ) -> Result<(), VirtioError> {
        if self.failed {
            return Err(VirtioError::Late);
        }
        self.header.write(0, kind.to_le());
        self.header.write(4, 0_u32);
        self.header.write(8, sector.to_le());
        self.header.write(STATUS, 0xFF_u8);
        let part = |region: Region, from, length, access| Part {
            address: region.address(from, length),
            length,
            access,
        };
        self.queue.offer(
            0,
            &[
                part(self.header, 0, HEADER_BYTES, Access::Reads),
                part(self.data, 0, length, access),
                part(self.header, STATUS, 1, Access::Writes),
            ],
        );
        self.queue.notify();
        let deadline = Tick::new(clock::now().get() + REQUEST_BOUND_US);
        while self.queue.take().is_none() {
            if clock::now() >= deadline {
                // The device may still store into the buffers, whenever it likes.
                self.failed = true;
                return Err(VirtioError::Late);
            }
        }
        if self.header.read::<u8>(STATUS) == 0 { Ok(()) } else { Err(VirtioError::Refused) }
    }
}
