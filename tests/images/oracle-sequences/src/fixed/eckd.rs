//! Extents and domains of the count-key-data disk: DEFINE EXTENT, LOCATE RECORD, and what they
//! admit.
//!
//! Source of truth: IBM 3990 storage control reference (GA32-0099). Invariant: the tracks are those
//! that the sequences of `ckd` have formatted. Deliberately not here: LOCATE RECORD EXTENDED.

use super::{
    Tell,
    ckd::{READ_DATA, READ_KEY_DATA, SEEK, WRITE_DATA, seek},
};
use crate::{
    area::{A, ARGUMENTS, B, D},
    sequence::{CC, SLI, Sequence},
    step::Unit,
};

const DEFINE_EXTENT: u8 = 0x63;
const LOCATE_RECORD: u8 = 0x47;
const READ_COUNT: u8 = 0x12;
const READ_TRACK: u8 = 0xDE;
const UPDATE_DATA: u8 = 0x85;
const FILE_MASK: u8 = 0x1F;
const NOP: u8 = 0x03;

/// Bytes of the parameters of both commands.
const PARAMETERS: u16 = 16;
/// Where those of DEFINE EXTENT lie, and of LOCATE RECORD.
const EXTENT_AT: u32 = ARGUMENTS + 16;
const LOCATION_AT: u32 = ARGUMENTS + 32;

/// An extent of whole tracks.
#[derive(Clone, Copy)]
struct Extent {
    mask: u8,
    attributes: u8,
    block_bytes: u16,
    /// Cylinder and head.
    first: (u8, u8),
    last: (u8, u8),
}

/// The tracks 0 to 4 of the cylinder that the sequences use, with all that may be done.
const WHOLE: Extent =
    Extent { mask: 0xC0, attributes: 0xC0, block_bytes: 512, first: (1, 0), last: (1, 4) };

/// Parameters of LOCATE RECORD.
#[derive(Clone, Copy)]
struct Location {
    operation: u8,
    auxiliary: u8,
    count: u8,
    seek: (u8, u8),
    search: (u8, u8, u8),
    sector: u8,
    length: u16,
}

/// The data of record 2 of track 0, which is read.
const READ_SECOND: Location = Location {
    operation: 0x06,
    auxiliary: 0,
    count: 1,
    seek: (1, 0),
    search: (1, 0, 2),
    sector: 0xFF,
    length: 0,
};

pub(super) fn all(tell: &mut Tell<'_>) {
    extents(tell);
    refused_extents(tell);
    reads(tell);
    writes(tell);
    refused_locations(tell);
}

fn new(name: &str) -> Sequence {
    Sequence::new(Unit::Ckd, format_args!("eckd/{name}"))
}

/// Adds DEFINE EXTENT.
fn extent(sequence: Sequence, extent: Extent, flags: u8) -> Sequence {
    let Extent { mask, attributes, block_bytes, first, last } = extent;
    let [high, low] = block_bytes.to_be_bytes();
    let head = [mask, attributes, high, low, 0, 0, 0, 0];
    let tracks = [0, first.0, 0, first.1, 0, last.0, 0, last.1];
    let it = sequence.bytes(EXTENT_AT, &head).bytes(EXTENT_AT + 8, &tracks);
    it.ccw(DEFINE_EXTENT, flags, PARAMETERS, EXTENT_AT)
}

/// Adds LOCATE RECORD.
fn locate(sequence: Sequence, location: Location, flags: u8) -> Sequence {
    let Location { operation, auxiliary, count, seek, search, sector, length } = location;
    let [high, low] = length.to_be_bytes();
    let place = [operation, auxiliary, 0, count, 0, seek.0, 0, seek.1];
    let id = [0, search.0, 0, search.1, search.2, sector, high, low];
    let it = sequence.bytes(LOCATION_AT, &place).bytes(LOCATION_AT + 8, &id);
    it.ccw(LOCATE_RECORD, flags, PARAMETERS, LOCATION_AT)
}

/// An extent, and LOCATE RECORD chained to what follows.
fn located(name: &str, location: Location) -> Sequence {
    locate(extent(new(name), WHOLE, CC), location, CC)
}

fn extents(tell: &mut Tell<'_>) {
    tell(&extent(new("extent"), WHOLE, 0).execute());
    let within = Extent { first: (1, 2), last: (1, 3), ..WHOLE };
    let nop = extent(new("extent-then-nop"), within, CC);
    tell(&nop.ccw(NOP, SLI, 1, A).execute());
    for (name, head) in
        [("seek-before", 1), ("seek-first", 2), ("seek-last", 3), ("seek-behind", 4)]
    {
        let it = extent(new(name), within, CC).bytes(ARGUMENTS, &[0, 0, 0, 1, 0, head, 0, 0]);
        tell(&it.ccw(SEEK, 0, 6, ARGUMENTS).execute().sense());
    }
    let mask = extent(new("extent-then-mask"), within, CC).bytes(ARGUMENTS, &[0]);
    tell(&mask.ccw(FILE_MASK, 0, 1, ARGUMENTS).execute().sense());
    let mask = new("mask-then-extent").bytes(ARGUMENTS, &[0]).ccw(FILE_MASK, CC, 1, ARGUMENTS);
    tell(&extent(mask, within, 0).execute().sense());
    let ends = extent(new("extent-ends-with-the-program"), within, 0).execute();
    tell(&seek(ends.at(crate::area::PROGRAM), 1, 4).ccw(NOP, SLI, 1, A).execute());
}

fn refused_extents(tell: &mut Tell<'_>) {
    let wrong = [
        ("extent-backwards", Extent { first: (1, 3), last: (1, 2), ..WHOLE }),
        ("extent-head-beyond", Extent { last: (1, 15), ..WHOLE }),
        ("extent-without-architecture", Extent { attributes: 0, ..WHOLE }),
        ("extent-mask-reserved", Extent { mask: 0x20, ..WHOLE }),
    ];
    for (name, wrong) in wrong {
        tell(&extent(new(name), wrong, 0).execute().sense());
    }
    let short = new("extent-short").bytes(EXTENT_AT, &[0xC0, 0xC0, 2, 0]);
    tell(&short.ccw(DEFINE_EXTENT, SLI, 15, EXTENT_AT).execute().sense());
}

fn reads(tell: &mut Tell<'_>) {
    let it = located("read", READ_SECOND).ccw(READ_DATA, 0, 512, A);
    tell(&it.execute().show(A, 512));
    let two = Location { count: 2, ..READ_SECOND };
    let it = located("read-two", two).ccw(READ_DATA, CC, 512, A).ccw(READ_DATA, 0, 512, B);
    tell(&it.execute().show(A, 512).show(B, 512));
    let it = located("read-more-than-located", READ_SECOND).ccw(READ_DATA, CC, 512, A);
    tell(&it.ccw(READ_DATA, 0, 512, B).execute().sense());
    let it = located("read-fewer-than-located", two).ccw(READ_DATA, 0, 512, A);
    tell(&it.execute().sense());
    let nothing = locate(extent(new("read-nothing-located"), WHOLE, CC), READ_SECOND, 0);
    tell(&nothing.execute().sense());
    let it = located("read-count-in-domain-of-data", READ_SECOND).ccw(READ_COUNT, 0, 8, A);
    tell(&it.execute().sense());
    let it = located("write-in-domain-of-reads", READ_SECOND).ccw(UPDATE_DATA, 0, 512, D);
    tell(&it.execute().sense());
    let it = located("nop-in-domain", READ_SECOND).ccw(NOP, CC | SLI, 1, B);
    tell(&it.ccw(READ_DATA, 0, 512, A).execute().sense());
    let keyed = Location { seek: (1, 1), search: (1, 1, 2), ..READ_SECOND };
    let it = located("read-key-and-data", keyed).ccw(READ_KEY_DATA, SLI, 108, A);
    tell(&it.execute().show(A, 108));
    let at_data = Location { operation: 0x86, ..READ_SECOND };
    let it = located("read-behind-the-count", at_data).ccw(READ_DATA, 0, 512, A);
    tell(&it.execute().show(A, 512));
    let tracks = Location { operation: 0x4C, search: (1, 0, 0), ..READ_SECOND };
    let it = located("read-track", tracks).ccw(READ_TRACK, SLI, 4096, A);
    tell(&it.execute().show(A, 64));
    let it = located("orient", Location { operation: 0x00, count: 0, ..READ_SECOND });
    tell(&it.ccw(READ_COUNT, 0, 8, A).execute().show(A, 8));
}

fn writes(tell: &mut Tell<'_>) {
    let write = Location { operation: 0x01, search: (1, 0, 3), length: 0, ..READ_SECOND };
    let it = located("write", write).pattern(D, 512, 0x21).ccw(UPDATE_DATA, 0, 512, D).execute();
    let again = Location { search: (1, 0, 3), ..READ_SECOND };
    let it = locate(extent(it.at(crate::area::PROGRAM), WHOLE, CC), again, CC);
    tell(&it.ccw(READ_DATA, 0, 512, A).execute().show(A, 512));
    let it = located("write-by-the-old-command", write).pattern(D, 512, 0x22);
    tell(&it.ccw(WRITE_DATA, 0, 512, D).execute().sense());
    let it = located("read-in-domain-of-writes", write).ccw(READ_DATA, 0, 512, A);
    tell(&it.execute().sense());
    let inhibited = Extent { mask: 0x40, ..WHOLE };
    let it = locate(extent(new("write-inhibited"), inhibited, CC), write, CC).pattern(D, 512, 3);
    tell(&it.ccw(UPDATE_DATA, 0, 512, D).execute().sense());
    let it = located("write-short", write).pattern(D, 512, 0x23).ccw(UPDATE_DATA, 0, 100, D);
    tell(&it.execute().sense());
}

fn refused_locations(tell: &mut Tell<'_>) {
    tell(&locate(new("locate-alone"), READ_SECOND, 0).execute().sense());
    let wrong = [
        ("locate-no-record", Location { search: (1, 0, 9), ..READ_SECOND }),
        ("locate-outside", Location { seek: (1, 5), search: (1, 5, 0), ..READ_SECOND }),
        ("locate-head-beyond", Location { seek: (1, 15), ..READ_SECOND }),
        ("locate-nothing", Location { count: 0, ..READ_SECOND }),
        ("locate-unknown", Location { operation: 0x3F, ..READ_SECOND }),
        ("locate-auxiliary", Location { auxiliary: 0x40, ..READ_SECOND }),
        ("locate-length-without-factor", Location { length: 512, ..READ_SECOND }),
        ("locate-factor-without-length", Location { auxiliary: 0x80, ..READ_SECOND }),
    ];
    for (name, wrong) in wrong {
        let it = located(name, wrong).ccw(READ_DATA, SLI, 512, A);
        tell(&it.execute().sense());
    }
    let short = extent(new("locate-short"), WHOLE, CC).bytes(LOCATION_AT, &[6, 0, 0, 1]);
    tell(&short.ccw(LOCATE_RECORD, SLI, 15, LOCATION_AT).execute().sense());
}
