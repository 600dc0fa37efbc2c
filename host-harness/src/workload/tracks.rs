//! The journal on a disk in tracks: where a record is, and how a channel program reaches it.
//!
//! A record of the journal is a record of a track, without a key. The guest formats a track before
//! it writes the first record to it, and updates the data from then on.
//!
//! Source of truth: 3990 Storage Control Reference (DEFINE EXTENT, LOCATE RECORD). Invariant: the
//! records of a track are those of consecutive numbers. Deliberately not here: what is in a record,
//! and when it is written ([`super::journal`]).

use super::{
    journal::{Aim, Approach},
    nucleus::PAGE,
};

/// Cylinders of the disk that the journal takes.
pub const JOURNAL_CYLINDERS: u16 = 10;
/// Tracks of a cylinder.
const HEADS: u32 = 15;
/// Records of a track.
const TRACK_RECORDS: u32 = 12;
/// Records for which the journal has room.
pub(super) const PLACES: u32 = JOURNAL_CYLINDERS as u32 * HEADS * TRACK_RECORDS;
/// What SENSE ID tells of a disk in tracks.
pub(super) const DEVICE_TYPE: u16 = 0x3390;

/// Commands of a disk in tracks.
const LOCATE_RECORD: u8 = 0x47;
const READ_DATA: u8 = 0x06;
const UPDATE_DATA: u8 = 0x85;
const WRITE_COUNT_KEY_AND_DATA: u8 = 0x1D;
/// What LOCATE RECORD positions for.
const TO_WRITE: u8 = 0x01;
const TO_FORMAT: u8 = 0x03;
const TO_READ: u8 = 0x06;
/// A sector that is not known.
const NO_SECTOR: u8 = 0xFF;

/// The parameters of DEFINE EXTENT: data and formats may be written, in blocks of a page, to the
/// cylinders of the journal.
const EXTENT: [u8; 16] = {
    let [size_high, size_low] = (PAGE as u16).to_be_bytes();
    let [a, b] = (JOURNAL_CYLINDERS - 1).to_be_bytes();
    [0, 0xC0, size_high, size_low, 0, 0, 0, 0, 0, 0, 0, 0, a, b, 0, HEADS as u8 - 1]
};

/// The track of the record with this number.
pub(super) fn track_of(number: u64) -> u32 {
    (number % u64::from(PLACES)) as u32 / TRACK_RECORDS
}

/// Cylinder, head and number of a record of a track.
fn id(track: u32, record: u32) -> [u8; 5] {
    let [_, _, a, b] = (track / HEADS).to_be_bytes();
    let [_, _, c, d] = (track % HEADS).to_be_bytes();
    let [.., record] = record.to_be_bytes();
    [a, b, c, d, record]
}

/// The parameters of LOCATE RECORD for so many commands at a record.
fn location(operation: u8, count: u32, id: [u8; 5]) -> Vec<u8> {
    let [.., count] = count.to_be_bytes();
    [&[operation, 0, 0, count][..], &id[..4], &id, &[NO_SECTOR, 0, 0]].concat()
}

/// The way to the record with this number.
pub(super) fn approach(aim: Aim, number: u64) -> Approach {
    let place = (number % u64::from(PLACES)) as u32;
    let id = id(track_of(number), place % TRACK_RECORDS + 1);
    let (operation, code) = match aim {
        Aim::Write => (TO_WRITE, UPDATE_DATA),
        Aim::Read => (TO_READ, READ_DATA),
    };
    Approach { extent: EXTENT, locate: LOCATE_RECORD, location: location(operation, 1, id), code }
}

/// The way to the begin of a track that is to be formatted, behind its record zero.
pub(super) fn format_approach(track: u32) -> Approach {
    let location = location(TO_FORMAT, TRACK_RECORDS, id(track, 0));
    Approach { extent: EXTENT, locate: LOCATE_RECORD, location, code: WRITE_COUNT_KEY_AND_DATA }
}

/// The count areas of the records of a track; the disk fills their data with zeros.
pub(super) fn counts(track: u32) -> impl Iterator<Item = [u8; 8]> {
    let [high, low] = (PAGE as u16).to_be_bytes();
    (1..=TRACK_RECORDS).map(move |record| {
        let [a, b, c, d, record] = id(track, record);
        [a, b, c, d, record, 0, high, low]
    })
}
