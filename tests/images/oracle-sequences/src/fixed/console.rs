//! The typewriter console.
//!
//! Source of truth: IBM 3215 console printer-keyboard. Invariant: nothing that is written can be
//! taken for a line of the outcome. Deliberately not here: how text is shown.

use super::Tell;
use crate::{
    area::{A, B},
    sequence::{CC, CD, SKIP, SLI, Sequence},
    step::{Step, Unit},
};

/// `HELLO` in EBCDIC.
const HELLO: [u8; 8] = [0xC8, 0xC5, 0xD3, 0xD3, 0xD6, 0x40, 0x40, 0x40];

pub(super) fn all(tell: &mut Tell<'_>) {
    let new = |name| Sequence::new(Unit::Console, format_args!("console/{name}"));
    let text = |name| new(name).bytes(A, &HELLO).bytes(B, &HELLO);
    tell(&new("sense-id").ccw(0xE4, SLI, 7, A).execute().show(A, 7));
    tell(&new("nop").ccw(0x03, SLI, 1, A).execute());
    tell(&new("alarm").ccw(0x0B, SLI, 1, A).execute());
    tell(&text("write").ccw(0x09, 0, 5, A).execute());
    tell(&text("write-no-return").ccw(0x01, CC, 5, A).ccw(0x09, 0, 5, B).execute());
    tell(&text("write-zero").ccw(0x09, SLI, 0, A).execute());
    tell(&text("write-chained-data").ccw(0x09, CD, 5, A).ccw(0, 0, 5, B).execute());
    tell(&text("write-twice").ccw(0x09, CC, 5, A).ccw(0x09, 0, 5, B).execute());
    tell(&text("write-skip").ccw(0x09, SKIP, 5, A).execute());
    tell(&text("write-key").ccw(0x09, 0, 5, A).set_key(A, 0x60).access_key(5).execute().key(A));
    for command in [0x02, 0x05, 0x06, 0x07, 0x0C, 0x14] {
        let it = Sequence::new(Unit::Console, format_args!("console/command-{command:02X}"));
        tell(&it.ccw(command, SLI, 4, A).execute().sense());
    }
    let read = |name, flags, count| {
        let it = new(name).step(Step::Type);
        it.test().ccw(0x0A, flags, count, A).execute().show(A, 16)
    };
    tell(&read("attention-read", SLI, 16));
    tell(&read("attention-read-exact", 0, 5));
    tell(&read("attention-read-long", 0, 16));
    tell(&read("attention-read-short", SLI, 3));
    tell(&read("attention-read-short-no-sli", 0, 3));
    let busy = new("start-while-attention").step(Step::Type);
    tell(&busy.ccw(0x03, SLI, 1, A).start().test().execute());
}
