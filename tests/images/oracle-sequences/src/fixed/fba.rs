//! The fixed-block disk.
//!
//! Source of truth: IBM 3370/9336 direct-access storage, as Hercules documents it. Invariants: the
//! first blocks hold a pattern that everybody has been given; sequences write behind them, and
//! first what they then read. Deliberately not here: reservation.

use super::Tell;
use crate::{
    area::{A, ARGUMENTS, B, BEYOND},
    disk::BLOCK_COUNT,
    sequence::{CC, CD, SKIP, SLI, Sequence},
    step::Unit,
};

pub(crate) const WRITE: u8 = 0x41;
pub(crate) const READ: u8 = 0x42;
const LOCATE: u8 = 0x43;
const DEFINE_EXTENT: u8 = 0x63;

/// Writes the argument of DEFINE EXTENT for the whole disk.
pub(super) fn extent(sequence: Sequence, mask: u8) -> Sequence {
    let [.., high, low] = (BLOCK_COUNT - 1).to_be_bytes();
    let sequence = sequence.bytes(ARGUMENTS, &[mask, 0, 0, 0, 0, 0, 0, 0]);
    sequence.bytes(ARGUMENTS + 8, &[0, 0, 0, 0, 0, 0, high, low])
}

/// Writes the argument of LOCATE.
fn location(sequence: Sequence, operation: u8, block: u32, count: u8) -> Sequence {
    let [a, b, c, d] = block.to_be_bytes();
    sequence.bytes(ARGUMENTS + 16, &[operation, 0, 0, count, a, b, c, d])
}

/// A program up to the command that reads `count` blocks.
pub(crate) fn reading(
    unit: Unit,
    name: core::fmt::Arguments<'_>,
    block: u32,
    count: u8,
) -> Sequence {
    located(Sequence::new(unit, name), 0x06, block, count)
}

/// A program up to the command that writes `count` blocks.
pub(crate) fn writing(
    unit: Unit,
    name: core::fmt::Arguments<'_>,
    block: u32,
    count: u8,
) -> Sequence {
    located(Sequence::new(unit, name), 0x01, block, count)
}

/// Adds the two commands that go before a transfer.
pub(crate) fn located(sequence: Sequence, operation: u8, block: u32, count: u8) -> Sequence {
    let it = location(extent(sequence, 0xC0), operation, block, count);
    it.ccw(DEFINE_EXTENT, CC, 16, ARGUMENTS).ccw(LOCATE, CC, 8, ARGUMENTS + 16)
}

pub(super) fn all(tell: &mut Tell<'_>) {
    reads(tell);
    writes(tell);
    refused(tell);
}

fn reads(tell: &mut Tell<'_>) {
    let new =
        |name: &str, block, count| reading(Unit::Fba, format_args!("fba/{name}"), block, count);
    tell(&new("read", 4, 1).ccw(READ, 0, 512, A).execute().show(A, 512));
    tell(&new("read-four", 4, 4).ccw(READ, 0, 2048, A).execute().show(A, 2048));
    tell(&new("read-first", 0, 1).ccw(READ, 0, 512, A).execute().show(A, 512));
    tell(&new("read-last", BLOCK_COUNT - 1, 1).ccw(READ, 0, 512, A).execute().show(A, 512));
    for count in [1, 100, 511, 513, 1000, 4096] {
        for flags in [0, SLI] {
            let name = format_args!("fba/read-count-{count}-{flags:02X}");
            let it = reading(Unit::Fba, name, 4, 1).ccw(READ, flags, count, A);
            tell(&it.execute().show(A, u32::from(count)));
        }
    }
    tell(&new("read-skip", 4, 1).ccw(READ, SKIP, 512, A).execute().show(A, 16));
    tell(&new("read-skip-beyond", 4, 1).ccw(READ, SKIP, 512, BEYOND).execute());
    tell(&new("read-beyond", 4, 1).ccw(READ, SLI, 512, BEYOND).execute());
    tell(
        &new("read-chained", 4, 1)
            .ccw(READ, CD, 100, A)
            .ccw(0, CD, 300, B)
            .ccw(0, 0, 112, A + 200)
            .execute()
            .show(A, 512)
            .show(B, 300),
    );
    tell(
        &new("read-chained-skip", 4, 1)
            .ccw(READ, CD, 100, A)
            .ccw(0, CD | SKIP, 300, B)
            .ccw(0, 0, 112, A + 200)
            .execute()
            .show(A, 512)
            .show(B, 300),
    );
    tell(
        &new("read-chained-short", 4, 1)
            .ccw(READ, CD, 100, A)
            .ccw(0, 0, 300, B)
            .execute()
            .show(B, 300),
    );
    tell(
        &new("read-chained-long", 4, 1)
            .ccw(READ, CD, 500, A)
            .ccw(0, CD, 300, B)
            .ccw(0, 0, 5, A)
            .execute()
            .show(B, 300),
    );
    tell(
        &new("read-twice", 4, 2)
            .ccw(READ, CC, 512, A)
            .ccw(READ, 0, 512, B)
            .execute()
            .show(A, 512)
            .show(B, 512),
    );
    tell(
        &new("read-more-than-located", 4, 1)
            .ccw(READ, CC, 512, A)
            .ccw(READ, 0, 512, B)
            .execute()
            .sense(),
    );
    let it = Sequence::new(Unit::Fba, format_args!("fba/characteristics"));
    tell(&it.ccw(0x64, SLI, 32, A).execute().show(A, 32));
    let it = Sequence::new(Unit::Fba, format_args!("fba/sense-id"));
    tell(&it.ccw(0xE4, SLI, 7, A).execute().show(A, 7));
}

fn writes(tell: &mut Tell<'_>) {
    for (count, flags) in [(512, 0), (100, 0), (100, SLI), (600, 0), (600, SLI)] {
        let name = format_args!("fba/write-count-{count}-{flags:02X}");
        let block = 100 + u32::from(count);
        let it = Sequence::new(Unit::Fba, name).pattern(B, 1024, 9);
        let it = located(it, 0x01, block, 1).ccw(WRITE, flags, count, B).execute().sense();
        let it = located(it.at(crate::area::PROGRAM), 0x06, block, 2).ccw(READ, 0, 1024, A);
        tell(&it.execute().show(A, 1024));
    }
    let it = Sequence::new(Unit::Fba, format_args!("fba/write-chained")).pattern(B, 1024, 5);
    let it = located(it, 0x01, 90, 1).ccw(WRITE, CD, 200, B).ccw(0, 0, 312, B + 512).execute();
    let it = located(it.at(crate::area::PROGRAM), 0x06, 90, 1).ccw(READ, 0, 512, A);
    tell(&it.execute().show(A, 512));
}

fn refused(tell: &mut Tell<'_>) {
    let new = |name| Sequence::new(Unit::Fba, format_args!("fba/{name}"));
    tell(&new("read-alone").ccw(READ, 0, 512, A).execute().sense());
    tell(&new("write-alone").ccw(WRITE, 0, 512, A).execute().sense());
    let it = location(new("locate-alone"), 0x06, 4, 1).ccw(LOCATE, CC, 8, ARGUMENTS + 16);
    tell(&it.ccw(READ, 0, 512, A).execute().sense());
    let it = extent(new("read-without-locate"), 0xC0).ccw(DEFINE_EXTENT, CC, 16, ARGUMENTS);
    tell(&it.ccw(READ, 0, 512, A).execute().sense());
    tell(
        &located(new("write-located-for-read"), 0x06, 50, 1)
            .ccw(WRITE, 0, 512, A)
            .execute()
            .sense(),
    );
    tell(
        &located(new("read-located-for-write"), 0x01, 50, 1).ccw(READ, 0, 512, A).execute().sense(),
    );
    tell(
        &located(new("locate-beyond-extent"), 0x06, BLOCK_COUNT, 1)
            .ccw(READ, 0, 512, A)
            .execute()
            .sense(),
    );
    tell(
        &located(new("locate-over-end"), 0x06, BLOCK_COUNT - 1, 2)
            .ccw(READ, 0, 512, A)
            .execute()
            .sense(),
    );
    tell(&located(new("locate-none"), 0x06, 4, 0).ccw(READ, 0, 512, A).execute().sense());
    tell(
        &located(new("locate-wrong-operation"), 0x0F, 4, 1).ccw(READ, 0, 512, A).execute().sense(),
    );
    let masked = location(extent(new("write-inhibited"), 0x40), 0x01, 60, 1);
    let masked = masked.ccw(DEFINE_EXTENT, CC, 16, ARGUMENTS).ccw(LOCATE, CC, 8, ARGUMENTS + 16);
    tell(&masked.ccw(WRITE, 0, 512, A).execute().sense());
    let bad = new("extent-beyond-disk").bytes(ARGUMENTS, &[0xC0, 0, 0, 0, 0, 0, 0, 0]);
    let bad = bad.bytes(ARGUMENTS + 8, &[0, 0, 0, 0, 0, 0, 0xFF, 0xFF]);
    tell(&bad.ccw(DEFINE_EXTENT, 0, 16, ARGUMENTS).execute().sense());
    let bad = new("extent-backwards").bytes(ARGUMENTS, &[0xC0, 0, 0, 0, 0, 0, 0, 0]);
    let bad = bad.bytes(ARGUMENTS + 8, &[0, 0, 0, 9, 0, 0, 0, 8]);
    tell(&bad.ccw(DEFINE_EXTENT, 0, 16, ARGUMENTS).execute().sense());
    tell(
        &extent(new("extent-short"), 0xC0).ccw(DEFINE_EXTENT, SLI, 8, ARGUMENTS).execute().sense(),
    );
    tell(
        &extent(new("extent-long"), 0xC0).ccw(DEFINE_EXTENT, SLI, 20, ARGUMENTS).execute().sense(),
    );
    tell(
        &extent(new("extent-bad-mask"), 0x31)
            .ccw(DEFINE_EXTENT, 0, 16, ARGUMENTS)
            .execute()
            .sense(),
    );
    let twice = extent(new("extent-twice"), 0xC0).ccw(DEFINE_EXTENT, CC, 16, ARGUMENTS);
    tell(&twice.ccw(DEFINE_EXTENT, 0, 16, ARGUMENTS).execute().sense());
    for command in [0x05, 0x06, 0x31, 0x07, 0xB4, 0x94, 0x14] {
        let it = Sequence::new(Unit::Fba, format_args!("fba/command-{command:02X}"));
        tell(&it.ccw(command, SLI, 32, A).execute().sense());
    }
}
