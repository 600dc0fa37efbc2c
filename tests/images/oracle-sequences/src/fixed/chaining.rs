//! Command chaining, data chaining, transfer in channel, intermediate interruptions.
//!
//! Source of truth: Principles of Operation, "Chaining", "Branching in Channel Programs",
//! "Program-Controlled Interruption". Invariant: what follows an error must not be executed, which
//! the storage shows. Deliberately not here: the status modifier, which is the disks'.

use super::Tell;
use crate::{
    area::{A, B, BEYOND, PROGRAM},
    sequence::{CC, CD, PCI, SKIP, SLI, Sequence},
    step::Unit,
};

const NOP: u8 = 0x03;
const SENSE: u8 = 0x04;
const SENSE_ID: u8 = 0xE4;

pub(super) fn all(tell: &mut Tell<'_>) {
    commands(tell);
    data(tell);
    transfers_in_channel(tell);
    intermediate(tell);
}

fn new(name: core::fmt::Arguments<'_>) -> Sequence {
    Sequence::new(Unit::Plain, name)
}

fn commands(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("chain/{name}"));
    let nop = |it: Sequence| it.ccw(NOP, CC | SLI, 1, A);
    tell(&nop(nop(nop(new("nops")))).ccw(NOP, SLI, 1, A).execute());
    tell(&nop(new("nop-sense-id")).ccw(SENSE_ID, SLI, 7, A).execute().show(A, 1));
    tell(
        &new("short-without-sli-ends")
            .ccw(SENSE_ID, CC, 3, A)
            .ccw(SENSE_ID, SLI, 7, B)
            .execute()
            .show(B, 1),
    );
    tell(
        &new("long-without-sli-ends")
            .ccw(SENSE_ID, CC, 512, A)
            .ccw(SENSE_ID, SLI, 7, B)
            .execute()
            .show(B, 1),
    );
    tell(
        &new("short-with-sli")
            .ccw(SENSE_ID, CC | SLI, 3, A)
            .ccw(SENSE_ID, SLI, 7, B)
            .execute()
            .show(B, 1),
    );
    tell(
        &new("long-with-sli")
            .ccw(SENSE_ID, CC | SLI, 512, A)
            .ccw(SENSE_ID, SLI, 7, B)
            .execute()
            .show(B, 1),
    );
    tell(&new("nop-without-sli").ccw(NOP, CC, 1, A).ccw(SENSE_ID, SLI, 7, B).execute().show(B, 1));
    tell(
        &new("nop-without-sli-and-count")
            .ccw(NOP, CC, 0, A)
            .ccw(SENSE_ID, SLI, 7, B)
            .execute()
            .show(B, 1),
    );
    tell(
        &new("unit-check-ends")
            .ccw(0x2F, CC | SLI, 1, A)
            .ccw(SENSE_ID, SLI, 7, B)
            .execute()
            .show(B, 1),
    );
    tell(
        &new("bad-second-data")
            .ccw(SENSE_ID, CC | SLI, 7, A)
            .ccw(SENSE_ID, SLI, 7, BEYOND)
            .execute()
            .show(A, 1),
    );
    tell(
        &new("both-chains")
            .ccw(SENSE_ID, CC | CD | SLI, 1, A)
            .ccw(SENSE_ID, SLI, 2, B)
            .execute()
            .show(A, 1)
            .show(B, 1),
    );
    let mut long = Sequence::new(Unit::Plain, format_args!("chain/forty"));
    for _ in 0..40 {
        long = long.ccw(NOP, CC | SLI, 1, A);
    }
    tell(&long.ccw(SENSE_ID, SLI, 7, A).execute().show(A, 1));
}

fn data(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("data-chain/{name}"));
    tell(
        &new("two")
            .ccw(SENSE_ID, CD, 1, A)
            .ccw(SENSE_ID, SLI, 3, B)
            .execute()
            .show(A, 1)
            .show(B, 1),
    );
    tell(&new("code-ignored").ccw(SENSE_ID, CD, 1, A).ccw(0x00, SLI, 3, B).execute());
    tell(&new("code-2f-ignored").ccw(SENSE_ID, CD, 1, A).ccw(0x2F, SLI, 3, B).execute());
    tell(&new("short-end").ccw(SENSE_ID, CD, 1, A).ccw(0, 0, 3, B).execute());
    tell(&new("long-end").ccw(SENSE_ID, CD, 1, A).ccw(0, 0, 600, B).execute());
    tell(&new("long-end-sli").ccw(SENSE_ID, CD, 1, A).ccw(0, SLI, 600, B).execute());
    tell(&new("ends-in-first").ccw(SENSE_ID, CD, 600, A).ccw(0, 0, 4, B).execute());
    tell(&new("ends-in-first-sli").ccw(SENSE_ID, CD | SLI, 600, A).ccw(0, 0, 4, B).execute());
    tell(&new("zero-count-second").ccw(SENSE_ID, CD, 1, A).ccw(0, SLI, 0, B).execute());
    tell(&new("zero-count-first").ccw(SENSE_ID, CD, 0, A).ccw(0, SLI, 3, B).execute());
    tell(&new("beyond-second").ccw(SENSE_ID, CD, 1, A).ccw(0, SLI, 3, BEYOND).execute().show(A, 1));
    tell(&new("skip-first").ccw(SENSE_ID, CD | SKIP, 1, A).ccw(0, SLI, 1, B).execute().show(A, 1));
    tell(
        &new("skip-second")
            .ccw(SENSE_ID, CD, 1, A)
            .ccw(0, SLI | SKIP, 1, B)
            .execute()
            .show(A, 1)
            .show(B, 1),
    );
    tell(
        &new("with-tic")
            .ccw(SENSE_ID, CD, 1, A)
            .tic(PROGRAM + 24)
            .at(PROGRAM + 24)
            .ccw(0, SLI, 2, B)
            .execute()
            .show(A, 1),
    );
    tell(
        &new("then-command")
            .ccw(SENSE_ID, CD, 1, A)
            .ccw(0, CC | SLI, 2, B)
            .ccw(NOP, SLI, 1, A)
            .execute()
            .show(A, 1),
    );
    tell(&new("of-nop").ccw(NOP, CD, 1, A).ccw(0, SLI, 1, B).execute());
    tell(&new("reserved-flag-second").ccw(SENSE_ID, CD, 1, A).ccw(0, SLI | 1, 2, B).execute());
    tell(&new("of-sense").ccw(SENSE, CD, 1, A).ccw(0, SLI, 1, B).execute());
}

fn transfers_in_channel(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("tic/{name}"));
    let nop = |it: Sequence| it.ccw(NOP, CC | SLI, 1, A);
    let far = PROGRAM + 64;
    tell(&new("first").tic(far).at(far).ccw(NOP, SLI, 1, A).execute());
    tell(&nop(new("simple")).tic(far).at(far).ccw(SENSE_ID, SLI, 7, A).execute().show(A, 1));
    tell(
        &nop(new("to-tic"))
            .tic(far)
            .at(far)
            .tic(far + 16)
            .at(far + 16)
            .ccw(NOP, SLI, 1, A)
            .execute(),
    );
    tell(&nop(new("to-itself")).tic(PROGRAM + 8).execute());
    tell(&nop(new("odd-target")).tic(far + 4).execute());
    tell(&nop(new("beyond")).tic(BEYOND).execute());
    tell(&nop(new("above-31-bits")).tic(0x8010_0040).execute());
    tell(&nop(new("with-count")).ccw(0x08, 0, 1, far).at(far).ccw(NOP, SLI, 1, A).execute());
    tell(&nop(new("with-flags")).ccw(0x08, SLI, 0, far).at(far).ccw(NOP, SLI, 1, A).execute());
    tell(&nop(new("code-f8")).ccw(0xF8, 0, 0, far).at(far).ccw(NOP, SLI, 1, A).execute());
    tell(
        &nop(nop(new("twice-not-in-a-row")).tic(far).at(far))
            .tic(far + 32)
            .at(far + 32)
            .ccw(NOP, SLI, 1, A)
            .execute(),
    );
    tell(
        &new("first-of-suspended-chain")
            .ccw(NOP, CC | SLI, 1, A)
            .ccw(NOP, SLI, 1, A)
            .program(PROGRAM + 8)
            .execute(),
    );
}

fn intermediate(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("pci/{name}"));
    // One that waits sees the intermediate status, whether or not the end has come with it.
    let ended = |it: Sequence| it.start().wait().test().settle().test().test();
    tell(&ended(new("only").ccw(NOP, SLI | PCI, 1, A)));
    tell(&ended(new("first").ccw(NOP, CC | SLI | PCI, 1, A).ccw(NOP, SLI, 1, A)));
    tell(&ended(new("second").ccw(NOP, CC | SLI, 1, A).ccw(NOP, SLI | PCI, 1, A)));
    tell(&ended(new("both").ccw(NOP, CC | SLI | PCI, 1, A).ccw(NOP, SLI | PCI, 1, A)));
    tell(&ended(new("unit-check").ccw(NOP, CC | SLI | PCI, 1, A).ccw(0x2F, SLI, 1, A)));
    tell(&ended(new("program-check").ccw(NOP, CC | SLI | PCI, 1, A).ccw(0, SLI, 1, A)));
    tell(&ended(new("data-chained").ccw(SENSE_ID, CD, 1, A).ccw(0, SLI | PCI, 2, B)));
}
