//! Storage keys: what instructions and channel programs do to them.
//!
//! Source of truth: Principles of Operation, "Storage Key", "Reference Recording", "Change
//! Recording". Invariant: a page is looked at once after each action. Deliberately not here:
//! protection.

use super::Tell;
use crate::{
    area::{A, ARGUMENTS, B, LIST, PROGRAM},
    sequence::{CC, IDA, SKIP, SLI, Sequence},
    step::{Step, Unit},
};

const SENSE_ID: u8 = 0xE4;

pub(super) fn all(tell: &mut Tell<'_>) {
    processor(tell);
    channel(tell);
}

fn keys_of(name: core::fmt::Arguments<'_>) -> Sequence {
    Sequence::new(Unit::Absent, name)
}

fn processor(tell: &mut Tell<'_>) {
    for key in [0x00, 0x02, 0x04, 0x06, 0x08, 0x30, 0x36, 0x3E, 0xF0, 0xFE, 0xFF, 0x01] {
        tell(&keys_of(format_args!("keys/set-{key:02X}")).set_key(A, key).key(A).key(B));
        let begun = keys_of(format_args!("keys/reset-{key:02X}")).set_key(A, key);
        let reset = Step::ResetReference { at: A };
        tell(&begun.step(reset).key(A).step(reset).key(A));
    }
    tell(&keys_of(format_args!("keys/load")).show(A, 1).key(A));
    tell(&keys_of(format_args!("keys/load-end")).show(A + 0xFFF, 1).key(A + 0x800).key(B));
    tell(&keys_of(format_args!("keys/store")).bytes(A, &[1]).key(A));
    tell(&keys_of(format_args!("keys/store-twice")).bytes(A, &[1]).bytes(A, &[2]).key(A));
    let again = keys_of(format_args!("keys/store-clear-store")).bytes(A, &[1]).key(A);
    tell(&again.set_key(A, 0).key(A).bytes(A, &[3]).key(A));
    let kept = keys_of(format_args!("keys/store-keeps-access")).set_key(A, 0x58);
    tell(&kept.bytes(A, &[1]).key(A));
    let read = keys_of(format_args!("keys/reset-then-load")).bytes(A, &[1]);
    tell(&read.step(Step::ResetReference { at: A }).key(A).show(A, 1).key(A));
    let middle = keys_of(format_args!("keys/any-address-in-page")).set_key(A + 0x7FF, 0x46);
    tell(&middle.key(A).key(A + 0xFFF).step(Step::ResetReference { at: A + 0xABC }).key(A));
}

/// The keys of the program's page and of the first two pages of data.
fn told(sequence: Sequence) -> Sequence {
    sequence.key(PROGRAM).key(A).key(B)
}

/// Clears the keys of everything that the sequence has written so far.
fn cleared(sequence: Sequence) -> Sequence {
    [PROGRAM, LIST, A, B, ARGUMENTS].into_iter().fold(sequence, |it, page| it.set_key(page, 0))
}

fn channel(tell: &mut Tell<'_>) {
    let new = |name| Sequence::new(Unit::Plain, format_args!("keys-channel/{name}"));
    tell(&told(cleared(new("nop").ccw(0x03, SLI, 1, A)).execute()));
    tell(&told(cleared(new("input").ccw(SENSE_ID, SLI, 7, A)).execute()));
    tell(&told(cleared(new("input-crosses").ccw(SENSE_ID, SLI, 7, B - 3)).execute()));
    tell(&told(cleared(new("input-skipped").ccw(SENSE_ID, SLI | SKIP, 7, A)).execute()));
    let chained = new("program-in-two-pages").ccw(0x03, CC | SLI, 1, A).tic(B + 8);
    tell(&told(cleared(chained.at(B + 8).ccw(0x03, SLI, 1, A)).execute()));
    let list = new("indirect").bytes(LIST, &A.to_be_bytes()).ccw(SENSE_ID, SLI | IDA, 7, LIST);
    tell(&told(cleared(list).execute()).key(LIST));
    let kept = cleared(new("input-keeps-access").ccw(SENSE_ID, SLI, 7, A)).set_key(A, 0x70);
    tell(&told(kept.execute()));
    tell(&told(cleared(new("rejected").ccw(0x2F, SLI, 7, A)).execute()).sense());
    tell(
        &told(cleared(new("start-not-taken").ccw(SENSE_ID, SLI, 7, A)).modify(0, 0, 0x80)).start(),
    );
    let blocks = cleared(new("start-and-wait").ccw(SENSE_ID, SLI, 7, A)).start().settle();
    tell(&told(told(blocks).test()));
    let output = |name| Sequence::new(Unit::Fba, format_args!("keys-channel/{name}"));
    let extent = output("output").bytes(ARGUMENTS, &[0xC0, 0, 0, 0, 0, 0, 0, 0]);
    let extent = extent.bytes(ARGUMENTS + 8, &[0, 0, 0, 0, 0, 0, 0x07, 0xCF]);
    tell(&told(cleared(extent.ccw(0x63, 0, 16, ARGUMENTS)).execute()).key(ARGUMENTS));
}
