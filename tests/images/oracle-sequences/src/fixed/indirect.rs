//! Indirect data addressing.
//!
//! Source of truth: Principles of Operation, "Channel Indirect Data Addressing". Invariant: the
//! data are blocks of the fixed-block disk, which hold the same everywhere. Deliberately not here:
//! modified indirect addressing.

use super::{Tell, fba::reading};
use crate::{
    area::{A, B, BEYOND, C, D, LIST},
    sequence::{CD, IDA, SKIP, SLI, Sequence},
    step::{Request, Unit},
};

const SENSE_ID: u8 = 0xE4;

pub(super) fn all(tell: &mut Tell<'_>) {
    short_words(tell);
    wide_words(tell);
    disk(tell);
}

/// A SENSE ID through a list of 31-bit words.
fn short(name: &str, list: &[u32], flags: u8, count: u16) -> Sequence {
    let mut it = Sequence::new(Unit::Plain, format_args!("idaw/{name}"));
    for (index, pair) in list.chunks(2).enumerate() {
        let word = |place: usize| u64::from(pair.get(place).copied().unwrap_or(0));
        let at = LIST + u32::try_from(index).unwrap_or(0) * 8;
        it = it.bytes(at, &(word(0) << 32 | word(1)).to_be_bytes());
    }
    it.ccw(SENSE_ID, IDA | flags, count, LIST)
}

fn short_words(tell: &mut Tell<'_>) {
    tell(&short("one", &[A], SLI, 7).execute().show(A, 1));
    tell(&short("one-middle", &[A + 0x123], SLI, 7).execute().show(A + 0x123, 1));
    tell(&short("two-over-2k", &[A + 0x7FE, C], SLI, 4).execute().show(A + 0x7FE, 1));
    tell(&short("second-not-aligned", &[A + 0x7FE, C + 4], SLI, 4).execute().show(A + 0x7FE, 1));
    tell(&short("second-half-page", &[A + 0x7FE, C + 0x800], SLI, 4).execute());
    tell(&short("beyond", &[BEYOND], SLI, 4).execute());
    tell(&short("second-beyond", &[A + 0x7FE, BEYOND], SLI, 4).execute().show(A + 0x7FE, 1));
    tell(&short("second-not-needed", &[A + 0x7FC, BEYOND], SLI, 4).execute());
    tell(&short("above-31-bits", &[0x8000_0000 | A], SLI, 4).execute());
    tell(&short("skip", &[A], SLI | SKIP, 4).execute().show(A, 1));
    tell(&short("no-sli", &[A], 0, 3).execute());
    let at = |name, address| {
        let it = Sequence::new(Unit::Plain, format_args!("idaw/{name}"));
        it.bytes(LIST, &[0, 0x10, 0x20, 0, 0, 0x10, 0x20, 0]).ccw(SENSE_ID, IDA | SLI, 4, address)
    };
    tell(&at("list-odd", LIST + 2).execute());
    tell(&at("list-second-word", LIST + 4).execute().show(A, 1));
    tell(&at("list-beyond", BEYOND).execute());
    tell(
        &short("data-chained", &[A, B], IDA | CD, 1)
            .ccw(0, IDA | SLI, 2, LIST + 4)
            .execute()
            .show(A, 1),
    );
    let nop = Sequence::new(Unit::Plain, format_args!("idaw/nop"));
    tell(&nop.ccw(0x03, IDA | SLI, 1, LIST).execute());
    let nop = Sequence::new(Unit::Plain, format_args!("idaw/nop-beyond"));
    tell(&nop.ccw(0x03, IDA | SLI, 1, BEYOND).execute());
}

/// A SENSE ID through a list of 64-bit words.
fn wide(name: &str, list: &[u64], flags: u16, count: u16) -> Sequence {
    let mut it = Sequence::new(Unit::Plain, format_args!("idaw-64/{name}"));
    for (index, word) in list.iter().enumerate() {
        let at = LIST + u32::try_from(index).unwrap_or(0) * 8;
        it = it.bytes(at, &word.to_be_bytes());
    }
    it.orb(Request::WIDE_LISTS | flags).ccw(SENSE_ID, IDA | SLI, count, LIST)
}

fn wide_words(tell: &mut Tell<'_>) {
    let [a, c, beyond] = [A, C, BEYOND].map(u64::from);
    let small = Request::SMALL_BLOCKS;
    tell(&wide("one", &[a], 0, 7).execute().show(A, 1));
    tell(&wide("two-over-4k", &[a + 0xFFE, c], 0, 4).execute().show(A + 0xFFE, 1));
    tell(&wide("over-2k-in-page", &[a + 0x7FE, c], 0, 4).execute().show(A + 0x7FE, 1));
    tell(&wide("two-over-2k-small", &[a + 0x7FE, c], small, 4).execute().show(A + 0x7FE, 1));
    tell(&wide("half-page-second", &[a + 0xFFE, c + 0x800], 0, 4).execute());
    tell(&wide("half-page-second-small", &[a + 0x7FE, c + 0x800], small, 4).execute());
    tell(&wide("beyond", &[beyond], 0, 4).execute());
    tell(&wide("above-31-bits", &[0x1_0000_0000 | a], 0, 4).execute());
    let odd = Sequence::new(Unit::Plain, format_args!("idaw-64/list-odd"));
    let odd = odd.orb(Request::WIDE_LISTS).bytes(LIST, &[0; 8]);
    tell(&odd.ccw(SENSE_ID, IDA | SLI, 4, LIST + 4).execute());
}

/// A read of whole blocks, whose data end in the middle of lists.
fn disk(tell: &mut Tell<'_>) {
    let list = [A + 0x600, B, B + 0x800, D];
    for (name, count) in [("short", 600), ("exact", 1024), ("long", 3000), ("many", 4096)] {
        let mut it = reading(Unit::Fba, format_args!("idaw-disk/{name}"), 4, 2);
        for (index, word) in list.iter().enumerate() {
            let at = LIST + u32::try_from(index).unwrap_or(0) / 2 * 8;
            if index % 2 == 0 {
                let next = u64::from(list.get(index + 1).copied().unwrap_or(0));
                it = it.bytes(at, &(u64::from(*word) << 32 | next).to_be_bytes());
            }
        }
        let it = it.ccw(0x42, IDA | SLI, count, LIST).execute();
        tell(&it.show(A + 0x600, 512).show(B, 2048).show(D, 8));
    }
}
