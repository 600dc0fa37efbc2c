//! Key-controlled protection of channel programs.
//!
//! Source of truth: Principles of Operation, "Key-Controlled Protection", "Protection Check".
//! Invariant: the storage is shown behind each refusal. Deliberately not here: protection of the
//! processor's own accesses.

use super::{Tell, fba};
use crate::{
    area::{A, ARGUMENTS, B, LIST, PROGRAM},
    sequence::{CD, IDA, SKIP, SLI, Sequence},
    step::Unit,
};

const SENSE_ID: u8 = 0xE4;
/// Fetch protection in a storage key.
const FETCH: u8 = 0x08;

pub(super) fn all(tell: &mut Tell<'_>) {
    input(tell);
    program(tell);
    output(tell);
}

fn input(tell: &mut Tell<'_>) {
    for (access, key) in
        [(0, 0x50), (5, 0x50), (5, 0x58), (5, 0x00), (5, 0x60), (5, 0x68), (0, 0xF8), (15, 0x08)]
    {
        let it = Sequence::new(Unit::Plain, format_args!("protection/input-{access}-{key:02X}"));
        let it = it.ccw(SENSE_ID, SLI, 7, A).set_key(A, key).access_key(access);
        tell(&it.execute().key(A).show(A, 1));
    }
    let new = |name| Sequence::new(Unit::Plain, format_args!("protection/{name}"));
    let it = new("input-second-page").ccw(SENSE_ID, SLI, 6, B - 2).set_key(B, 0x60);
    tell(&it.set_key(A, 0x50).access_key(5).execute().key(A).key(B).show(B - 2, 1).show(B, 4));
    let it = new("input-skipped").ccw(SENSE_ID, SLI | SKIP, 6, A).set_key(A, 0x60);
    tell(&it.access_key(5).execute().key(A).show(A, 1));
    let it = new("input-chained").ccw(SENSE_ID, CD, 1, A).ccw(0, SLI, 2, B).set_key(B, 0x60);
    tell(&it.set_key(A, 0x50).access_key(5).execute().key(A).key(B).show(A, 1));
    let it = new("nop").ccw(0x03, SLI, 1, A).set_key(A, 0x68).access_key(5);
    tell(&it.execute().key(A));
}

fn program(tell: &mut Tell<'_>) {
    let new = |name| Sequence::new(Unit::Plain, format_args!("protection/{name}"));
    let it = new("program-other-key").ccw(0x03, SLI, 1, A).set_key(PROGRAM, 0x60);
    tell(&it.access_key(5).execute().key(PROGRAM));
    let it = new("program-fetch").ccw(0x03, SLI, 1, A).set_key(PROGRAM, 0x60 | FETCH);
    tell(&it.access_key(5).execute().key(PROGRAM));
    let it = new("program-fetch-same-key").ccw(0x03, SLI, 1, A).set_key(PROGRAM, 0x50 | FETCH);
    tell(&it.access_key(5).execute().key(PROGRAM));
    let it = new("program-second-page").ccw(0x03, 0x60, 1, A).tic(B).at(B).ccw(0x03, SLI, 1, A);
    tell(&it.set_key(B, 0x60 | FETCH).access_key(5).execute().key(PROGRAM).key(B));
    for (name, key) in [("list-other-key", 0x60), ("list-fetch", 0x60 | FETCH)] {
        let it = new(name).bytes(LIST, &A.to_be_bytes()).ccw(SENSE_ID, SLI | IDA, 7, LIST);
        let it = it.set_key(LIST, key).set_key(A, 0x50).access_key(5);
        tell(&it.execute().key(LIST).key(A).show(A, 1));
    }
    let it = new("list-data").bytes(LIST, &A.to_be_bytes()).ccw(SENSE_ID, SLI | IDA, 7, LIST);
    tell(&it.set_key(A, 0x60).access_key(5).execute().key(LIST).key(A).show(A, 1));
}

fn output(tell: &mut Tell<'_>) {
    for (access, key) in [(0, 0x68), (5, 0x60), (5, 0x68), (5, 0x58), (5, 0x08)] {
        let it = Sequence::new(Unit::Fba, format_args!("protection/output-{access}-{key:02X}"));
        let it = fba::extent(it, 0).ccw(0x63, SLI, 16, ARGUMENTS).set_key(ARGUMENTS, key);
        tell(&it.access_key(access).execute().key(ARGUMENTS));
    }
    let it = fba::reading(Unit::Fba, format_args!("protection/read-into-two-pages"), 4, 4);
    let it = it.ccw(0x42, SLI, 2048, B - 700).set_key(B, 0x60).set_key(A, 0x50).access_key(5);
    tell(&it.execute().key(A).key(B).show(B - 700, 700).show(B, 8));
    let it = fba::writing(Unit::Fba, format_args!("protection/write-from-two-pages"), 40, 4);
    let it = it.pattern(A, 0x1000, 1).pattern(B, 0x1000, 2).ccw(0x41, SLI, 2048, B - 700);
    let it = it.set_key(B, 0x60 | FETCH).set_key(A, 0x50).access_key(5).execute();
    tell(&it.key(A).key(B));
}
