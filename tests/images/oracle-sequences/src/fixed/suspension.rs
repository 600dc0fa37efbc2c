//! Suspension of channel programs, and what can be done to a suspended one.
//!
//! Source of truth: Principles of Operation, "Suspension of Channel-Program Execution", "RESUME
//! SUBCHANNEL". Invariant: a sequence ends with the subchannel idle or is cleaned up by the next.
//! Deliberately not here: suspension in the middle of data, which does not exist.

use super::Tell;
use crate::{
    area::{A, B, PROGRAM},
    sequence::{CC, CD, SLI, SUSPEND, Sequence},
    step::{Request, Step, Unit},
};

const NOP: u8 = 0x03;
const SENSE_ID: u8 = 0xE4;

pub(super) fn all(tell: &mut Tell<'_>) {
    refused(tell);
    resumed(tell);
    others(tell);
}

fn new(name: &str) -> Sequence {
    Sequence::new(Unit::Plain, format_args!("suspend/{name}"))
}

/// A program that suspends itself before its second command.
fn second(name: &str, flags: u16) -> Sequence {
    let it = new(name).ccw(NOP, CC | SLI, 1, A).ccw(SENSE_ID, SLI | SUSPEND, 7, B);
    it.orb(Request::SUSPEND | flags).start().settle()
}

fn refused(tell: &mut Tell<'_>) {
    tell(&new("not-allowed").ccw(NOP, CC | SLI, 1, A).ccw(NOP, SLI | SUSPEND, 1, A).execute());
    tell(&new("not-allowed-first").ccw(NOP, SLI | SUSPEND, 1, A).execute());
    let it = new("flag-in-data-chain").ccw(SENSE_ID, CD, 1, A).ccw(0, SLI | SUSPEND, 2, B);
    tell(&it.orb(Request::SUSPEND).execute().show(B, 1));
    let it = new("flag-on-tic").ccw(NOP, CC | SLI, 1, A).ccw(0x08, SUSPEND, 0, PROGRAM + 32);
    tell(&it.at(PROGRAM + 32).ccw(NOP, SLI, 1, A).orb(Request::SUSPEND).execute());
    tell(&new("resume-idle").step(Step::Resume));
    tell(&new("resume-pending").ccw(NOP, SLI, 1, A).start().settle().step(Step::Resume).test());
    let ended = new("resume-ended").ccw(NOP, SLI, 1, A).orb(Request::SUSPEND);
    tell(&ended.execute().step(Step::Resume));
    let mut absent = new("resume-absent").step(Step::Resume);
    absent.unit = Unit::Absent;
    tell(&absent);
}

fn resumed(tell: &mut Tell<'_>) {
    let cleared = (CC | SLI, SLI);
    let go = |it: Sequence| {
        it.at(PROGRAM + 8).ccw(SENSE_ID, cleared.1, 7, B).step(Step::Resume).settle().stored()
    };
    tell(&go(second("second", 0).stored().test().stored()).test().show(B, 1));
    tell(&go(second("second-quiet", Request::NO_SUSPEND_INTERRUPTION).stored().test()).test());
    tell(&second("resumed-before-test", 0).step(Step::Resume).test());
    let again = second("again", 0).test().step(Step::Resume).settle().stored().test();
    tell(&go(again).test());
    let first = new("first").ccw(NOP, CC | SLI | SUSPEND, 1, A).ccw(SENSE_ID, SLI, 7, B);
    let first = first.orb(Request::SUSPEND).start().settle().stored().test().stored();
    let first = first.at(PROGRAM).ccw(NOP, cleared.0, 1, A).step(Step::Resume).settle();
    tell(&first.test().show(B, 1));
    let changed = second("changed-meanwhile", 0).test().at(PROGRAM + 8).tic(PROGRAM + 64);
    let changed = changed.at(PROGRAM + 64).ccw(SENSE_ID, SLI, 3, A);
    tell(&changed.step(Step::Resume).settle().test().show(A, 1));
    tell(&go(second("resumed-twice", 0).test()).step(Step::Resume).test());
    tell(&second("pending-tpi", 0).step(Step::TestPending).step(Step::TestPending).test());
}

fn others(tell: &mut Tell<'_>) {
    for is_tested in [true, false] {
        let text = if is_tested { "suspended" } else { "suspended-pending" };
        let begun = |name: &str| {
            let it = Sequence::new(Unit::Plain, format_args!("suspend/{name}-{text}"));
            let it = it.ccw(NOP, CC | SLI, 1, A).ccw(SENSE_ID, SLI | SUSPEND, 7, B);
            let it = it.orb(Request::SUSPEND).start().settle();
            if is_tested { it.test() } else { it }
        };
        if !is_tested {
            tell(&begun("start").start().stored());
        }
        tell(&begun("halt").step(Step::Halt).settle().stored().test().stored());
        tell(&begun("clear").step(Step::Clear).settle().stored().test().stored());
        tell(&begun("cancel").step(Step::Cancel).stored().test());
        tell(&begun("modify").modify(0, 0, 0x80).stored());
        tell(&begun("test").test().test());
    }
}
