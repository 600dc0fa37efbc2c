//! Commands that every device knows, and channel-command words that are wrong.
//!
//! Source of truth: Principles of Operation, "Channel-Command Word", "Program Check", "Incorrect
//! Length". Invariant: no data depends on the device. Deliberately not here: chaining.

use super::Tell;
use crate::{
    area::{A, B, BEYOND, FAR_BEYOND, PROGRAM},
    sequence::{CC, CD, IDA, SKIP, SLI, SUSPEND, Sequence},
    step::{Request, Unit},
};

const NOP: u8 = 0x03;
const SENSE: u8 = 0x04;
const SENSE_ID: u8 = 0xE4;

pub(super) fn all(tell: &mut Tell<'_>) {
    counts(tell);
    flags(tell);
    codes(tell);
    addresses(tell);
    format_0(tell);
    requests(tell);
}

fn new(name: core::fmt::Arguments<'_>) -> Sequence {
    Sequence::new(Unit::Plain, name)
}

fn counts(tell: &mut Tell<'_>) {
    for (text, command) in [("nop", NOP), ("sense", SENSE), ("sense-id", SENSE_ID)] {
        for count in [0, 1, 3, 7, 8, 24, 32, 33, 512, 0xFFFF] {
            for flags in [0, SLI] {
                let it = new(format_args!("count/{text}-{count}-{flags:02X}"));
                tell(&it.ccw(command, flags, count, A).execute().show(A, 1));
            }
        }
    }
}

fn flags(tell: &mut Tell<'_>) {
    for (text, command) in [("nop", NOP), ("sense-id", SENSE_ID)] {
        for flag in [SKIP, SUSPEND, 0x01, SKIP | IDA] {
            let it = new(format_args!("flag/{text}-{flag:02X}"));
            tell(&it.ccw(command, flag | SLI, 7, A).execute().show(A, 1).stored());
        }
        let it = new(format_args!("flag/{text}-chained-into-nothing"));
        tell(&it.ccw(command, CC | SLI, 7, A).execute().show(A, 1));
        let it = new(format_args!("flag/{text}-data-chained-into-nothing"));
        tell(&it.ccw(command, CD | SLI, 3, A).execute().show(A, 1));
    }
}

fn codes(tell: &mut Tell<'_>) {
    for command in [0x00, 0x10, 0xF0, 0x08, 0x18, 0x2F, 0xBF, 0xFF, 0xFE, 0xFC] {
        for flags in [0, SLI] {
            let it = new(format_args!("code/{command:02X}-{flags:02X}"));
            tell(&it.ccw(command, flags, 4, A).execute().sense());
        }
        let it = new(format_args!("code/second-{command:02X}"));
        tell(&it.ccw(NOP, CC | SLI, 1, A).ccw(command, SLI, 4, A).execute());
    }
    let twice = new(format_args!("code/sense-is-gone-after-sense"));
    tell(&twice.ccw(0x2F, SLI, 1, A).execute().sense().sense());
    let kept = new(format_args!("code/sense-is-kept-over-status"));
    tell(&kept.ccw(0x2F, SLI, 1, A).execute().test().sense());
    let ended = new(format_args!("code/sense-ends-with-next-command"));
    let ended = ended.ccw(0x2F, SLI, 1, A).execute();
    tell(&ended.at(PROGRAM).ccw(NOP, SLI, 1, A).execute().sense());
}

fn addresses(tell: &mut Tell<'_>) {
    let programs = [PROGRAM + 4, PROGRAM + 1, BEYOND, FAR_BEYOND, 0x8000_0000, 0x8010_0000, 0];
    for program in programs {
        let it = new(format_args!("address/program-{program:08X}"));
        tell(&it.ccw(NOP, SLI, 1, A).ccw(NOP, SLI, 1, A).program(program).execute());
    }
    for data in [BEYOND, FAR_BEYOND, 0x8000_0000, 0x8010_2000, 0xFFFF_FFFF] {
        for (text, command) in [("nop", NOP), ("sense-id", SENSE_ID)] {
            let it = new(format_args!("address/{text}-{data:08X}"));
            tell(&it.ccw(command, SLI, 7, data).execute());
            let it = new(format_args!("address/{text}-{data:08X}-skipped"));
            tell(&it.ccw(command, SLI | SKIP, 7, data).execute());
        }
    }
    let it = new(format_args!("address/crosses-pages"));
    tell(&it.ccw(SENSE_ID, SLI, 4, B - 2).execute().show(B - 2, 1));
    let it = new(format_args!("address/program-ends-page"));
    let it = it.at(PROGRAM + 0xFF8).ccw(NOP, CC | SLI, 1, A).ccw(0, 0, 0, 0);
    tell(&it.program(PROGRAM + 0xFF8).execute());
}

fn format_0(tell: &mut Tell<'_>) {
    let new = |name| new(format_args!("format-0/{name}")).format_0();
    tell(&new("nop").ccw0(NOP, SLI, 1, A).execute());
    tell(&new("sense-id").ccw0(SENSE_ID, SLI, 7, A).execute().show(A, 1));
    tell(&new("zero-count").ccw0(SENSE_ID, SLI, 0, A).execute());
    tell(&new("zero-count-nop").ccw0(NOP, SLI, 0, A).execute());
    tell(&new("command-00").ccw0(0x00, SLI, 1, A).execute());
    tell(&new("reserved-flag").ccw0(SENSE_ID, SLI | 1, 7, A).execute());
    tell(&new("beyond").ccw0(SENSE_ID, SLI, 7, BEYOND).execute());
    tell(
        &new("tic-x8")
            .ccw0(NOP, CC | SLI, 1, A)
            .ccw0(0xF8, 0xFF, 9, PROGRAM + 24)
            .at(PROGRAM + 24)
            .ccw0(NOP, SLI, 1, A)
            .execute(),
    );
    tell(&new("tic-first").ccw0(0x08, 0, 0, PROGRAM + 8).ccw0(NOP, SLI, 1, A).execute());
    tell(&new("tic-odd").ccw0(NOP, CC | SLI, 1, A).ccw0(0x08, 0, 0, PROGRAM + 20).execute());
    tell(&new("byte-5-ignored").word([NOP, 0x10, 0x20, 0, SLI, 0xFF, 0, 1]).execute());
    tell(&new("chain").ccw0(NOP, CC | SLI, 1, A).ccw0(SENSE_ID, SLI, 7, A).execute().show(A, 1));
    tell(&new("data-chain").ccw0(SENSE_ID, CD, 1, A).ccw0(0xFF, SLI, 6, B).execute().show(A, 1));
    tell(&new("program-beyond").program(BEYOND).execute());
    tell(&new("program-above-24-bits").program(0x0110_0000).execute());
}

fn requests(tell: &mut Tell<'_>) {
    let nop = |name| new(format_args!("request/{name}")).ccw(NOP, SLI, 1, A);
    let flags = [
        ("prefetch", Request::PREFETCH),
        ("initial-status", Request::INITIAL_STATUS),
        ("suspend", Request::SUSPEND),
        ("suspend-quiet", Request::SUSPEND | Request::NO_SUSPEND_INTERRUPTION),
        ("wide-lists", Request::WIDE_LISTS),
        ("address-limit", 0x0010),
        ("streaming", 0x0400),
        ("modification", 0x0200),
        ("synchronous", 0x0100),
    ];
    for (name, flag) in flags {
        tell(&nop(name).orb(flag).execute());
    }
    tell(&nop("reserved-0004").orb(0x0004).execute());
    for flags in [0x20, 0x10, 0x08, 0x04, 0x02] {
        let it = new(format_args!("request/reserved-byte-7-{flags:02X}")).ccw(NOP, SLI, 1, A);
        tell(&it.extension(flags).execute());
    }
    let it = new(format_args!("request/initial-status-of-transfer")).ccw(SENSE_ID, SLI, 7, A);
    tell(&it.orb(Request::INITIAL_STATUS).start().wait().settle().test().test());
    for key in [1, 7, 15] {
        let it = new(format_args!("request/key-{key}")).ccw(NOP, SLI, 1, A);
        tell(&it.access_key(key).execute());
    }
}

/// Requests that name paths. QEMU remembers one without a path, so they come after all others.
pub(super) fn paths(tell: &mut Tell<'_>) {
    for paths in [0x00, 0x80, 0x40, 0x7F, 0xFF] {
        let it = new(format_args!("paths/orb-{paths:02X}")).ccw(NOP, SLI, 1, A);
        tell(&it.paths(paths).execute().stored());
    }
}
