//! The journal of an attempt on the disk, from byte 8192 on.
//!
//! Two slots take turns, so that the record before is whole until the next one is.
//!
//! Source of truth: `monitor_core::ports::MonitorJournal`. Invariants: a slot is one request to
//! the disk; the valid slot with the higher number counts. Deliberately not here: what a record
//! says.

use monitor_core::{limits::JOURNAL_BYTES_MAX, ports::ErrorKind, wire::checksum::crc32c};

use crate::virtio::{Block, SECTOR_BYTES};

/// First sector of the journal.
const SECTOR: u64 = 8192 / SECTOR_BYTES as u64;
/// Sectors of a slot: number 8, length 2, check 4, then the record.
const SLOT_SECTORS: u64 = 2;
const SLOT_BYTES: usize = SLOT_SECTORS as usize * SECTOR_BYTES;
const HEAD_BYTES: usize = 14;

/// A record.
pub type Record = heapless::Vec<u8, JOURNAL_BYTES_MAX>;

/// The journal of this SU.
#[derive(Debug)]
pub struct Journal {
    disk: Block,
    number: u64,
    record: Record,
}

impl Journal {
    /// The journal on this disk, with the record that stands there; empty when there is none.
    #[must_use]
    pub fn open(mut disk: Block) -> Self {
        let slots = [0, 1].map(|slot| read(&mut disk, slot));
        let newest = slots.into_iter().flatten().max_by_key(|(number, _)| *number);
        let (number, record) = newest.unwrap_or_default();
        Self { disk, number, record }
    }

    /// The record that stands.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        &self.record
    }

    /// Keeps a record in place of the one before.
    ///
    /// # Errors
    /// Fails when the disk does, or the record is too long.
    pub fn save(&mut self, record: &[u8]) -> Result<(), ErrorKind> {
        let kept = Record::from_slice(record).map_err(|_| ErrorKind::OutOfRange)?;
        let number = self.number + 1;
        let mut slot = [0; SLOT_BYTES];
        let length = u16::try_from(record.len()).map_err(|_| ErrorKind::OutOfRange)?;
        slot[..8].copy_from_slice(&number.to_be_bytes());
        slot[8..10].copy_from_slice(&length.to_be_bytes());
        slot[HEAD_BYTES..HEAD_BYTES + record.len()].copy_from_slice(record);
        let check = check(&slot, record).to_be_bytes();
        slot[10..HEAD_BYTES].copy_from_slice(&check);
        let sector = SECTOR + number % 2 * SLOT_SECTORS;
        self.disk.write(sector, &slot).map_err(|_| ErrorKind::Other)?;
        (self.number, self.record) = (number, kept);
        Ok(())
    }
}

/// The check value of a slot, of its head and its record.
fn check(slot: &[u8; SLOT_BYTES], record: &[u8]) -> u32 {
    crc32c(crc32c(0, &slot[..10]), record)
}

fn read(disk: &mut Block, slot: u64) -> Option<(u64, Record)> {
    let mut bytes = [0; SLOT_BYTES];
    disk.read(SECTOR + slot * SLOT_SECTORS, &mut bytes).ok()?;
    let number = u64::from_be_bytes(*bytes.first_chunk()?);
    let length = u16::from_be_bytes([bytes[8], bytes[9]]);
    let record = bytes.get(HEAD_BYTES..HEAD_BYTES + usize::from(length))?;
    let written = u32::from_be_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]);
    let is_valid = number != 0 && written == check(&bytes, record);
    Some((number, Record::from_slice(record).ok()?)).filter(|_| is_valid)
}
