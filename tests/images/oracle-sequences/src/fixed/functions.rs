//! The instructions on subchannels in every state that does not depend on time.
//!
//! Source of truth: Principles of Operation, "I/O Instructions". Invariant: each instruction meets
//! the states idle, disabled, absent, and status pending. Deliberately not here: the suspended
//! state (`suspension`).

use super::Tell;
use crate::{
    area::A,
    sequence::{CC, SLI, Sequence},
    step::{Change, Step, Unit},
};

const NOP: u8 = 0x03;

pub(super) fn all(tell: &mut Tell<'_>) {
    states(tell);
    ended(tell);
    modified(tell);
    interruptions(tell);
}

/// The instructions, each followed by what it leaves behind.
const INSTRUCTIONS: [(&str, Step); 7] = [
    ("halt", Step::Halt),
    ("clear", Step::Clear),
    ("cancel", Step::Cancel),
    ("resume", Step::Resume),
    ("test", Step::Test),
    ("modify", Step::Modify(Change { parameter: 0x1122_3344, flags: 0x1880, paths: 0x80 })),
    ("store", Step::StoreSubchannel),
];

fn states(tell: &mut Tell<'_>) {
    for (name, instruction) in INSTRUCTIONS {
        let after = |it: Sequence| it.step(instruction).settle().stored().test().stored().test();
        let idle = Sequence::new(Unit::Plain, format_args!("idle/{name}"));
        tell(&after(idle));
        let twice = Sequence::new(Unit::Plain, format_args!("idle/{name}-twice"));
        tell(&after(twice.step(instruction)));
        let disabled = Sequence::new(Unit::Plain, format_args!("disabled/{name}"));
        tell(&after(disabled.modify(0, 0x55, 0x80)));
        let absent = Sequence::new(Unit::Absent, format_args!("absent/{name}"));
        tell(&absent.step(instruction));
        let pending = Sequence::new(Unit::Plain, format_args!("pending/{name}"));
        tell(&after(pending.ccw(NOP, SLI, 1, A).start().settle()));
        let alert = Sequence::new(Unit::Plain, format_args!("alert/{name}"));
        tell(&after(alert.ccw(0x2F, SLI, 1, A).start().settle()).sense());
        let checked = Sequence::new(Unit::Plain, format_args!("program-check/{name}"));
        tell(&after(checked.ccw(0, 0, 1, A).start().settle()));
    }
    let nop = |name| Sequence::new(Unit::Plain, format_args!("{name}")).ccw(NOP, SLI, 1, A);
    tell(&nop("idle/start").execute().stored());
    tell(&nop("disabled/start").modify(0, 0, 0x80).start().stored().test());
    tell(&nop("pending/start").start().settle().start().stored().test());
    tell(&nop("alert/start-after-test").ccw(NOP, SLI, 1, A).execute().execute());
    let absent = Sequence::new(Unit::Absent, format_args!("absent/start"));
    tell(&absent.ccw(NOP, SLI, 1, A).start());
}

fn ended(tell: &mut Tell<'_>) {
    let new = |name| Sequence::new(Unit::Plain, format_args!("ended/{name}"));
    tell(&new("test-twice").ccw(NOP, SLI, 1, A).execute().test().stored());
    tell(
        &new("store-changes-nothing").ccw(NOP, SLI, 1, A).start().settle().stored().stored().test(),
    );
    tell(
        &new("halt-then-start")
            .ccw(NOP, SLI, 1, A)
            .step(Step::Halt)
            .settle()
            .start()
            .settle()
            .test()
            .execute(),
    );
    tell(
        &new("clear-then-start")
            .ccw(NOP, SLI, 1, A)
            .step(Step::Clear)
            .settle()
            .start()
            .settle()
            .test()
            .execute(),
    );
    tell(
        &new("clear-takes-status")
            .ccw(NOP, SLI, 1, A)
            .start()
            .settle()
            .step(Step::Clear)
            .settle()
            .test()
            .test(),
    );
    tell(
        &new("halt-keeps-status")
            .ccw(NOP, SLI, 1, A)
            .start()
            .settle()
            .step(Step::Halt)
            .test()
            .test(),
    );
    tell(
        &new("clear-after-unit-check")
            .ccw(0x2F, SLI, 1, A)
            .start()
            .settle()
            .step(Step::Clear)
            .settle()
            .test()
            .sense(),
    );
    tell(&new("halt-clear").step(Step::Halt).settle().step(Step::Clear).settle().test().test());
    tell(&new("clear-halt").step(Step::Clear).settle().step(Step::Halt).settle().test().test());
    tell(&new("cancel-after-start").ccw(NOP, SLI, 1, A).start().settle().step(Step::Cancel).test());
}

fn modified(tell: &mut Tell<'_>) {
    let flags = [
        ("enable", 0x0080),
        ("disable", 0x0000),
        ("subclass-3", 0x1880),
        ("subclass-7", 0x3880),
        ("limit-low", 0x00A0),
        ("limit-high", 0x00C0),
        ("limit-both", 0x00E0),
        ("measurement", 0x0090),
        ("connect-time", 0x0088),
        ("multipath", 0x0084),
        ("timing", 0x0082),
        ("qdio", 0x8080),
        ("reserved-4000", 0x4080),
        ("reserved-0200", 0x0280),
        ("reserved-0100", 0x0180),
        ("ignored-0400", 0x0480),
    ];
    for (name, flags) in flags {
        let it = Sequence::new(Unit::Plain, format_args!("modify/{name}"));
        tell(&it.modify(flags, 0x0102_0304, 0x80).stored());
    }
    for paths in [0x00, 0x40, 0xC0, 0xFF] {
        let it = Sequence::new(Unit::Plain, format_args!("modify/paths-{paths:02X}"));
        let it = it.modify(0x80, 0, paths).stored().ccw(NOP, SLI, 1, A);
        tell(&it.execute().stored());
    }
    let new = |name| Sequence::new(Unit::Plain, format_args!("modify/{name}"));
    tell(
        &new("parameter-is-replaced-by-start")
            .modify(0x80, 0x0BAD_F00D, 0x80)
            .ccw(NOP, SLI, 1, A)
            .start()
            .settle()
            .stored()
            .test()
            .stored(),
    );
    tell(&new("reenable").modify(0, 0, 0x80).modify(0x80, 0, 0x80).ccw(NOP, SLI, 1, A).execute());
}

fn interruptions(tell: &mut Tell<'_>) {
    let new = |name| Sequence::new(Unit::Plain, format_args!("tpi/{name}"));
    let pending = Step::TestPending;
    tell(&new("none").step(pending).step(pending));
    tell(
        &new("one")
            .ccw(NOP, SLI, 1, A)
            .start()
            .settle()
            .step(pending)
            .stored()
            .step(pending)
            .test(),
    );
    tell(&new("test-takes-it").ccw(NOP, SLI, 1, A).execute().step(pending));
    tell(
        &new("subclass-5")
            .modify(0x2880, 0, 0x80)
            .ccw(NOP, SLI, 1, A)
            .start()
            .settle()
            .step(pending)
            .test(),
    );
    tell(&new("of-clear").step(Step::Clear).settle().step(pending).step(pending).test());
    tell(&new("of-halt").step(Step::Halt).settle().step(pending).step(pending).test());
    tell(
        &new("clear-takes-it")
            .ccw(NOP, SLI, 1, A)
            .start()
            .settle()
            .step(Step::Clear)
            .settle()
            .step(pending)
            .step(pending)
            .test(),
    );
    tell(
        &new("parameter-modified-meanwhile")
            .ccw(NOP, SLI, 1, A)
            .start()
            .settle()
            .modify(0x80, 0x0BAD_F00D, 0x80)
            .step(pending)
            .test(),
    );
    tell(
        &new("of-unit-check")
            .ccw(NOP, CC | SLI, 1, A)
            .ccw(0x2F, SLI, 1, A)
            .start()
            .settle()
            .step(pending)
            .test()
            .step(pending),
    );
    let two = Sequence::new(Unit::Fba, format_args!("tpi/two-units")).ccw(NOP, SLI, 1, A);
    let two = two.modify(0x2080, 0, 0x80).start().settle().step(Step::On(Unit::Plain));
    let two = two.start().settle().step(pending).step(pending).step(pending).test();
    tell(&two.step(Step::On(Unit::Fba)).test());
    tell(&Sequence::new(Unit::Absent, format_args!("report/none")).step(Step::StoreReport));
}
