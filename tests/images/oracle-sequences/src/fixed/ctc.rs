//! The channel-to-channel adapter: two ends, each the other's peer.
//!
//! Source of truth: IBM 3088, basic mode. Invariant: no end reads before the other one writes, so
//! that the order is always the same. Deliberately not here: extended mode.

use super::Tell;
use crate::{
    area::{A, B, C, OTHER_PROGRAM},
    sequence::{CD, SLI, Sequence},
    step::{Step, Unit},
};

const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const CONTROL: u8 = 0x07;
const SENSE_COMMAND: u8 = 0x14;

pub(super) fn all(tell: &mut Tell<'_>) {
    let new = |name| {
        let it = Sequence::new(Unit::Ctc, format_args!("ctc/{name}"));
        it.step(Step::On(Unit::CtcPeer)).step(Step::On(Unit::Ctc))
    };
    tell(&new("sense-id").ccw(0xE4, SLI, 7, A).execute().show(A, 7));
    tell(&new("nop").ccw(0x03, SLI, 1, A).execute());
    tell(&new("sense-command-idle").ccw(SENSE_COMMAND, SLI, 1, A).execute().show(A, 1));
    for (sent, wanted, flags) in [
        (64, 64, 0),
        (64, 64, SLI),
        (64, 32, 0),
        (64, 32, SLI),
        (32, 64, 0),
        (32, 64, SLI),
        (1, 1, 0),
        (4096, 4096, SLI),
    ] {
        let it =
            Sequence::new(Unit::Ctc, format_args!("ctc/write-{sent}-read-{wanted}-{flags:02X}"));
        let it = it.step(Step::On(Unit::CtcPeer)).step(Step::On(Unit::Ctc));
        let it = it.pattern(C, 4096, 3).ccw(WRITE, flags, sent, C).start();
        let it = it.step(Step::On(Unit::CtcPeer)).wait().test();
        let it = it.program(OTHER_PROGRAM).at(OTHER_PROGRAM).ccw(READ, flags, wanted, A).execute();
        let it = it.show(A, 64).step(Step::On(Unit::Ctc)).settle().test();
        tell(&it.show(OTHER_PROGRAM, 1));
    }
    let it = new("sense-command-of-write").pattern(C, 64, 3).ccw(WRITE, 0, 16, C).start();
    let it = it.step(Step::On(Unit::CtcPeer)).wait().test();
    let it = it.program(OTHER_PROGRAM).at(OTHER_PROGRAM).ccw(SENSE_COMMAND, SLI, 1, A).execute();
    let it = it.show(A, 1).at(OTHER_PROGRAM).ccw(READ, 0, 16, A).execute();
    tell(&it.step(Step::On(Unit::Ctc)).settle().test());
    let it = new("control").ccw(CONTROL, SLI, 1, C).start();
    let it = it.step(Step::On(Unit::CtcPeer)).wait().test();
    let it = it.program(OTHER_PROGRAM).at(OTHER_PROGRAM).ccw(SENSE_COMMAND, SLI, 1, A).execute();
    tell(&it.show(A, 1).step(Step::On(Unit::Ctc)).settle().test());
    let it = new("chained-data").pattern(C, 4096, 3).ccw(WRITE, CD, 10, C).ccw(0, 0, 20, C + 64);
    let it = it.start().step(Step::On(Unit::CtcPeer)).wait().test();
    let it = it.program(OTHER_PROGRAM).at(OTHER_PROGRAM).ccw(READ, CD, 10, A).ccw(0, 0, 20, B);
    tell(&it.execute().show(A, 16).show(B, 24).step(Step::On(Unit::Ctc)).settle().test());
}
