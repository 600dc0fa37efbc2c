//! The count-key-data disk.
//!
//! Source of truth: IBM 3990 storage control reference (GA32-0099). Invariant: the first sequence
//! formats the tracks that the others read. Deliberately not here: extents and domains.

use super::Tell;
use crate::{
    area::{A, ARGUMENTS, B, C, D, PROGRAM},
    sequence::{CC, CD, SKIP, SLI, Sequence},
    step::Unit,
};

pub(super) const WRITE_DATA: u8 = 0x05;
pub(crate) const READ_DATA: u8 = 0x06;
pub(super) const SEEK: u8 = 0x07;
const WRITE_KEY_DATA: u8 = 0x0D;
pub(super) const READ_KEY_DATA: u8 = 0x0E;
const READ_COUNT: u8 = 0x12;
const READ_RECORD_0: u8 = 0x16;
const READ_HOME: u8 = 0x1A;
const WRITE_RECORD: u8 = 0x1D;
const READ_RECORD: u8 = 0x1E;
const FILE_MASK: u8 = 0x1F;
const SEARCH_ID: u8 = 0x31;

/// The cylinder that the sequences use; that of the volume label stays as it is.
const CYLINDER: u8 = 1;
/// Where the address for SEEK lies.
const SEEK_AT: u32 = ARGUMENTS;
/// Where the argument of a search lies.
const SEARCH_AT: u32 = ARGUMENTS + 8;

pub(super) fn all(tell: &mut Tell<'_>) {
    format(tell);
    positions(tell);
    reads(tell);
    writes(tell);
    searches(tell);
    refused(tell);
    path_groups(tell);
}

fn new(name: core::fmt::Arguments<'_>) -> Sequence {
    Sequence::new(Unit::Ckd, name)
}

/// Adds a seek.
pub(crate) fn seek(sequence: Sequence, cylinder: u8, head: u8) -> Sequence {
    let it = sequence.bytes(SEEK_AT, &[0, 0, 0, cylinder, 0, head, 0, 0]);
    it.ccw(SEEK, CC, 6, SEEK_AT)
}

/// Adds a search for a record, and the way back to it.
pub(crate) fn search(sequence: Sequence, place: u32, head: u8, record: u8) -> Sequence {
    let it = sequence.bytes(SEARCH_AT, &[0, CYLINDER, 0, head, record, 0, 0, 0]);
    it.ccw(SEARCH_ID, CC, 5, SEARCH_AT).tic(PROGRAM + place * 8)
}

/// Seek and search, from the beginning of the program.
fn found(name: core::fmt::Arguments<'_>, head: u8, record: u8) -> Sequence {
    search(seek(new(name), CYLINDER, head), 1, head, record)
}

/// The count field of a record.
fn count_field(head: u8, record: u8, key: u8, length: u16) -> [u8; 8] {
    let [high, low] = length.to_be_bytes();
    [0, CYLINDER, 0, head, record, key, high, low]
}

/// Bytes of each record of [`formatted`].
pub(crate) const RANDOM_RECORD_BYTES: u16 = 200;

/// The number of a record of [`formatted`], for 0 to 2.
pub(crate) const fn record(number: u16) -> u8 {
    1 + number.to_be_bytes()[1]
}

/// Formats track 4 with three records.
pub(crate) fn formatted(name: core::fmt::Arguments<'_>, seed: u8) -> Sequence {
    let mut it = found(name, 4, 0).pattern(D, 0x400, seed);
    for record in 1..=3_u8 {
        let flags = if record == 3 { 0 } else { CC };
        let at = B + u32::from(record) * 8;
        it = it.bytes(at, &count_field(4, record, 0, RANDOM_RECORD_BYTES));
        it = it.ccw(WRITE_RECORD, CD, 8, at);
        it = it.ccw(0, flags, RANDOM_RECORD_BYTES, D + u32::from(record) * 40);
    }
    it.execute()
}

/// Formats three tracks: records without keys, with keys, and none.
fn format(tell: &mut Tell<'_>) {
    let mut it = found(format_args!("ckd-format/track-0"), 0, 0).pattern(D, 0x1000, 7);
    for record in 1..=4_u8 {
        let flags = if record == 4 { 0 } else { CC };
        let at = B + u32::from(record) * 8;
        it = it.bytes(at, &count_field(0, record, 0, 512));
        it = it.ccw(WRITE_RECORD, CD, 8, at).ccw(0, flags, 512, D + u32::from(record) * 40);
    }
    tell(&it.execute().sense());
    let mut it = found(format_args!("ckd-format/track-1"), 1, 0).pattern(D, 0x1000, 11);
    for record in 1..=3_u8 {
        let flags = if record == 3 { 0 } else { CC };
        let at = B + u32::from(record) * 8;
        it = it.bytes(at, &count_field(1, record, 8, 100));
        it = it.ccw(WRITE_RECORD, CD, 8, at).ccw(0, flags, 108, D + u32::from(record) * 40);
    }
    tell(&it.execute().sense());
    let it = found(format_args!("ckd-format/track-2"), 2, 0);
    let it = it.bytes(B, &count_field(2, 1, 0, 0)).ccw(WRITE_RECORD, 0, 8, B);
    tell(&it.execute().sense());
}

fn positions(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("ckd/{name}"));
    tell(&new("sense-id").ccw(0xE4, SLI, 7, A).execute().show(A, 7));
    tell(&seek(new("seek"), CYLINDER, 0).ccw(0x03, SLI, 1, A).execute());
    let only = |name, address: [u8; 8], command| {
        new(name).bytes(SEEK_AT, &address).ccw(command, 0, 6, SEEK_AT).execute().sense()
    };
    tell(&only("seek-only", [0, 0, 0, 1, 0, 2, 0, 0], SEEK));
    tell(&only("seek-beyond", [0, 0, 0x7F, 0, 0, 0, 0, 0], SEEK));
    tell(&only("seek-head-beyond", [0, 0, 0, 1, 0, 15, 0, 0], SEEK));
    tell(&only("seek-bin", [1, 0, 0, 1, 0, 0, 0, 0], SEEK));
    tell(&only("seek-cylinder", [0, 0, 0, 1, 0, 1, 0, 0], 0x0B));
    tell(&only("seek-head-alone", [0, 0, 0, 1, 0, 1, 0, 0], 0x1B));
    let short = new("seek-short").bytes(SEEK_AT, &[0, 0, 0, 1, 0, 0]);
    tell(&short.ccw(SEEK, SLI, 5, SEEK_AT).execute().sense());
    tell(&new("recalibrate").ccw(0x13, SLI, 1, A).execute());
    let head = seek(new("seek-head"), CYLINDER, 0).bytes(C, &[0, 0, 0, CYLINDER, 0, 1]);
    let head = head.ccw(0x1B, CC, 6, C).ccw(READ_HOME, SLI, 5, A);
    tell(&head.execute().show(A, 5));
    tell(&seek(new("home-address"), CYLINDER, 2).ccw(READ_HOME, SLI, 5, A).execute().show(A, 5));
    tell(&seek(new("record-0"), CYLINDER, 0).ccw(READ_RECORD_0, SLI, 16, A).execute().show(A, 16));
    tell(&seek(new("count"), CYLINDER, 0).ccw(READ_COUNT, 0, 8, A).execute().show(A, 8));
    let it = seek(new("counts"), CYLINDER, 0).ccw(READ_COUNT, CC, 8, A);
    tell(&it.ccw(READ_COUNT, 0, 8, A + 8).execute().show(A, 16));
}

fn reads(tell: &mut Tell<'_>) {
    for record in 1..=4 {
        let it = found(format_args!("ckd/read-{record}"), 0, record).ccw(READ_DATA, 0, 512, A);
        tell(&it.execute().show(A, 512));
    }
    for (count, flags) in
        [(1, 0), (1, SLI), (511, 0), (511, SLI), (513, 0), (513, SLI), (4096, 0), (4096, SLI)]
    {
        let it = found(format_args!("ckd/read-count-{count}-{flags:02X}"), 0, 2);
        tell(&it.ccw(READ_DATA, flags, count, A).execute().show(A, u32::from(count)));
    }
    let rec = |name, head, record| found(format_args!("ckd/{name}"), head, record);
    tell(&rec("read-skip", 0, 1).ccw(READ_DATA, SKIP, 512, A).execute().show(A, 16));
    tell(
        &rec("read-chained", 0, 1)
            .ccw(READ_DATA, CD, 12, A)
            .ccw(0, 0, 500, B)
            .execute()
            .show(A, 12)
            .show(B, 500),
    );
    tell(
        &rec("read-next-too", 0, 1)
            .ccw(READ_DATA, CC, 512, A)
            .ccw(READ_DATA, 0, 512, B)
            .execute()
            .show(A, 512)
            .show(B, 512),
    );
    tell(&rec("read-key-and-data", 1, 1).ccw(READ_KEY_DATA, 0, 108, A).execute().show(A, 108));
    tell(&rec("read-data-of-keyed", 1, 2).ccw(READ_DATA, 0, 100, A).execute().show(A, 100));
    tell(&rec("read-count-key-data", 1, 0).ccw(READ_RECORD, 0, 116, A).execute().show(A, 116));
    tell(
        &rec("read-all-counts", 0, 0)
            .ccw(READ_RECORD, CC | SLI, 8, A)
            .ccw(READ_RECORD, CC | SLI, 8, A + 8)
            .ccw(READ_RECORD, CC | SLI, 8, A + 16)
            .ccw(READ_RECORD, SLI, 8, A + 24)
            .execute()
            .show(A, 32),
    );
    tell(&rec("read-end-of-file", 2, 1).ccw(READ_DATA, SLI, 512, A).execute().show(A, 16));
    tell(&rec("read-key-data-unkeyed", 0, 1).ccw(READ_KEY_DATA, SLI, 512, A).execute().show(A, 16));
}

fn writes(tell: &mut Tell<'_>) {
    for (count, flags) in [(512, 0), (100, 0), (100, SLI), (600, 0), (600, SLI)] {
        let it = found(format_args!("ckd/write-count-{count}-{flags:02X}"), 0, 3);
        let it = it.pattern(D, 1024, 0x40).ccw(WRITE_DATA, flags, count, D).execute().sense();
        let it = search(seek(it.at(PROGRAM), CYLINDER, 0), 1, 0, 3).ccw(READ_DATA, 0, 512, A);
        tell(&it.execute().show(A, 512));
    }
    let it = found(format_args!("ckd/write-key-and-data"), 1, 2).pattern(D, 1024, 0x50);
    let it = it.ccw(WRITE_KEY_DATA, 0, 108, D).execute();
    let it = search(seek(it.at(PROGRAM), CYLINDER, 1), 1, 1, 2).ccw(READ_KEY_DATA, 0, 108, A);
    tell(&it.execute().show(A, 108));
    let it = found(format_args!("ckd/format-erases-the-rest"), 3, 0).pattern(D, 0x1000, 3);
    let it = it.bytes(B, &count_field(3, 1, 0, 64)).bytes(B + 8, &count_field(3, 2, 0, 64));
    let it = it.ccw(WRITE_RECORD, CD, 8, B).ccw(0, CC, 64, D);
    let it = it.ccw(WRITE_RECORD, CD, 8, B + 8).ccw(0, 0, 64, D + 64).execute();
    let it = search(seek(it.at(PROGRAM), CYLINDER, 3), 1, 3, 0);
    let it = it.ccw(WRITE_RECORD, CD, 8, B).ccw(0, 0, 64, D + 128).execute();
    let it = search(seek(it.at(PROGRAM), CYLINDER, 3), 1, 3, 2).ccw(READ_DATA, 0, 64, A);
    tell(&it.execute().sense());
}

fn searches(tell: &mut Tell<'_>) {
    let miss = found(format_args!("ckd/search-miss"), 0, 9).ccw(READ_DATA, 0, 512, A);
    tell(&miss.execute().sense());
    for (name, command, record) in
        [("high", 0x51, 2), ("equal-or-high", 0x71, 2), ("multitrack-equal", 0xB1, 2)]
    {
        let it = seek(new(format_args!("ckd/search-{name}")), CYLINDER, 0);
        let it = it.bytes(SEARCH_AT, &[0, CYLINDER, 0, 0, record, 0, 0, 0]);
        let it = it.ccw(command, CC, 5, SEARCH_AT).tic(PROGRAM + 8).ccw(READ_DATA, 0, 512, A);
        tell(&it.execute().show(A, 512));
    }
    let it = seek(new(format_args!("ckd/search-multitrack-next")), CYLINDER, 0);
    let it = it.bytes(SEARCH_AT, &[0, CYLINDER, 0, 1, 2, 0, 0, 0]).ccw(0xB1, CC, 5, SEARCH_AT);
    tell(&it.tic(PROGRAM + 8).ccw(READ_DATA, 0, 100, A).execute().show(A, 100));
    let it = seek(new(format_args!("ckd/search-multitrack-to-the-end")), CYLINDER, 0);
    let it = it.bytes(SEARCH_AT, &[0, CYLINDER, 0, 14, 9, 0, 0, 0]).ccw(0xB1, CC, 5, SEARCH_AT);
    tell(&it.tic(PROGRAM + 8).ccw(READ_DATA, 0, 100, A).execute().sense());
    let it = seek(new(format_args!("ckd/search-key")), CYLINDER, 1).pattern(D, 0x1000, 11);
    let it = it.ccw(0x29, CC, 8, D + 40).tic(PROGRAM + 8).ccw(READ_DATA, 0, 100, A);
    tell(&it.execute().show(A, 100));
    let once = seek(new(format_args!("ckd/search-not-repeated")), CYLINDER, 0);
    let once = once.bytes(SEARCH_AT, &[0, CYLINDER, 0, 0, 1, 0, 0, 0]);
    tell(&once.ccw(SEARCH_ID, CC, 5, SEARCH_AT).ccw(0x03, SLI, 1, A).execute());
    let short = seek(new(format_args!("ckd/search-short")), CYLINDER, 0);
    let short = short.bytes(SEARCH_AT, &[0, CYLINDER, 0, 0, 1, 0, 0, 0]);
    let short = short.ccw(SEARCH_ID, CC | SLI, 4, SEARCH_AT).tic(PROGRAM + 8);
    tell(&short.ccw(READ_DATA, 0, 512, A).execute().sense());
}

fn refused(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("ckd/{name}"));
    tell(&new("read-alone").ccw(READ_DATA, 0, 512, A).execute().sense());
    tell(&new("write-alone").ccw(WRITE_DATA, 0, 512, D).execute().sense());
    tell(&new("write-record-alone").ccw(WRITE_RECORD, 0, 8, D).execute().sense());
    tell(&seek(new("write-after-seek"), CYLINDER, 0).ccw(WRITE_DATA, 0, 512, D).execute().sense());
    for mask in [0x00, 0x20, 0x40, 0x80, 0xC0] {
        let it = Sequence::new(Unit::Ckd, format_args!("ckd/write-with-mask-{mask:02X}"));
        let it = it.bytes(C, &[mask]).ccw(FILE_MASK, CC, 1, C);
        let it = it.bytes(SEEK_AT, &[0, 0, 0, CYLINDER, 0, 0, 0, 0]).ccw(SEEK, CC, 6, SEEK_AT);
        let it = search(it, 2, 0, 4).ccw(WRITE_DATA, 0, 512, D);
        tell(&it.pattern(D, 512, 1).execute().sense());
    }
    let it =
        seek(new("mask-inhibits-seek"), CYLINDER, 0).bytes(C, &[0x18]).ccw(FILE_MASK, CC, 1, C);
    tell(&it.ccw(SEEK, 0, 6, SEEK_AT).execute().sense());
    let it = new("mask-twice").bytes(C, &[0, 0]).ccw(FILE_MASK, CC, 1, C).ccw(FILE_MASK, 0, 1, C);
    tell(&it.execute().sense());
    for command in [0x41, 0x42, 0x43, 0x27] {
        let it = Sequence::new(Unit::Ckd, format_args!("ckd/command-{command:02X}"));
        tell(&it.ccw(command, SLI, 16, A).execute().sense());
    }
    for (name, command) in [("reserve", 0xB4), ("release", 0x94), ("unconditional-reserve", 0x14)] {
        tell(&new(name).ccw(command, SLI, 32, A).execute().sense());
    }
    let it = new("reserve-release").ccw(0xB4, SLI, 32, A).execute().at(PROGRAM);
    tell(&it.ccw(0x94, SLI, 32, A).execute());
    let it = new("reserve-chained").ccw(0xB4, CC | SLI, 32, A).ccw(0x03, SLI, 1, A).execute();
    tell(&it.at(PROGRAM).ccw(0x94, SLI, 32, A).execute());
}

/// SET PATH GROUP ID and SENSE PATH GROUP ID.
fn path_groups(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("ckd/group-{name}"));
    let group = [0x00, 0x80, 0x00, 0x00, 0x12, 0x34, 0x20, 0x84, 0xAB, 0xCD, 0xEF, 0x01];
    tell(&new("none").ccw(0x34, SLI, 12, A).execute().show(A, 12).sense());
    let set = new("set").bytes(B, &group).ccw(0xAF, 0, 12, B).execute().at(PROGRAM);
    tell(&set.ccw(0x34, SLI, 12, A).execute().show(A, 12));
    let again = new("again").bytes(B, &group).ccw(0xAF, 0, 12, B).execute();
    tell(&again.sense());
    let other = group.map(|byte| if byte == 0xCD { 0xCE } else { byte });
    tell(&new("other").bytes(B, &other).ccw(0xAF, 0, 12, B).execute().sense());
    tell(&new("short").bytes(B, &group).ccw(0xAF, SLI, 11, B).execute().sense());
    let chained = new("chained").bytes(B, &group).ccw(0x03, CC | SLI, 1, A);
    tell(&chained.ccw(0xAF, 0, 12, B).execute().sense());
    let mut resigned = group;
    resigned[0] = 0x40;
    let resign = new("resign").bytes(B, &resigned);
    tell(&resign.ccw(0xAF, 0, 12, B).execute().sense());
}
