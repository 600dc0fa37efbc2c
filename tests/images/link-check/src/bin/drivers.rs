//! Both drivers over opaque ports: the core as a monitor links it, for its size and its stack.
//!
//! Each call of the core is a function of this file, the first of its stack. The frames of the
//! ports are not the core's and do not count.
//!
//! Source of truth: `monitor_core::driver`. Invariant: everything but the ports and `calls` is of
//! the core. Deliberately not here: what only tests and special monitors call.
#![no_std]
#![no_main]

use core::hint::black_box;

use link_check::{any, consume, ports::Opaque, start};
use monitor_core::{
    device::DeviceEntry,
    driver::{PortableCrc32c, Ports, SourceMemory, TargetMemory, Wait},
    driver::{SourceDriver, TargetDriver},
    memory::{AtomicWord, DirtyBitmap},
    migrate::{SentRun, SourcePhase, StepError},
};

link_check::entry!(calls);

type OpaquePorts = Ports<Opaque, Opaque, Opaque, Opaque, PortableCrc32c>;
type Source<'s> = SourceDriver<'s, Opaque, Opaque, Opaque, Opaque, PortableCrc32c>;
type Target<'s> = TargetDriver<'s, Opaque, Opaque, Opaque, Opaque, PortableCrc32c>;

/// Memory to be lent; the optimizer does not know its size.
struct Lent {
    words: [AtomicWord; 8],
    window: [Option<SentRun>; 1],
    devices: [DeviceEntry; 1],
    outgoing: [u8; 64],
    incoming: [u8; 64],
}

impl Lent {
    fn new() -> Self {
        Self {
            words: Default::default(),
            window: [None],
            devices: [any()],
            outgoing: any(),
            incoming: any(),
        }
    }
}

fn ports() -> OpaquePorts {
    Ports { vm: Opaque, link: Opaque, directory: Opaque, console: Opaque, checksum: PortableCrc32c }
}

fn source_memory(lent: &mut Lent) -> Option<SourceMemory<'_>> {
    let bitmap = DirtyBitmap::try_new(black_box(&lent.words[..]), any()).ok()?;
    Some(SourceMemory {
        pages: bitmap,
        keys: bitmap,
        window: black_box(&mut lent.window[..]),
        devices: black_box(&mut lent.devices[..]),
        outgoing: black_box(&mut lent.outgoing[..]),
        incoming: black_box(&mut lent.incoming[..]),
    })
}

fn target_memory(lent: &mut Lent) -> TargetMemory<'_> {
    TargetMemory {
        devices: black_box(&mut lent.devices[..]),
        outgoing: black_box(&mut lent.outgoing[..]),
        incoming: black_box(&mut lent.incoming[..]),
    }
}

#[inline(never)]
fn source_new(memory: SourceMemory<'_>) -> Source<'_> {
    SourceDriver::new(any(), memory, ports())
}

#[inline(never)]
fn source_restore(memory: SourceMemory<'_>) -> Source<'_> {
    SourceDriver::restore(any(), &any(), any(), memory, ports())
}

#[inline(never)]
fn source_start(source: &mut Source<'_>) -> Result<(), StepError<SourcePhase>> {
    source.start(any(), any())
}

#[inline(never)]
fn source_cancel(source: &mut Source<'_>) -> Result<(), StepError<SourcePhase>> {
    source.cancel(any())
}

#[inline(never)]
fn source_decide(source: &mut Source<'_>) -> Result<(), StepError<SourcePhase>> {
    source.decide(any(), any())
}

#[inline(never)]
fn source_step(source: &mut Source<'_>) -> Wait {
    source.step(any())
}

#[inline(never)]
fn target_new(memory: TargetMemory<'_>) -> Target<'_> {
    TargetDriver::new(any(), memory, ports())
}

#[inline(never)]
fn target_restore(memory: TargetMemory<'_>) -> Target<'_> {
    TargetDriver::restore(any(), any(), &any(), any(), memory, ports())
}

#[inline(never)]
fn target_step(target: &mut Target<'_>) -> Wait {
    target.step(any())
}

#[inline(never)]
fn calls() {
    start();
    let mut lent = Lent::new();
    if let Some(memory) = source_memory(&mut lent) {
        let mut source = if any() { source_new(memory) } else { source_restore(memory) };
        consume(source_start(black_box(&mut source)));
        consume(source_cancel(black_box(&mut source)));
        consume(source_decide(black_box(&mut source)));
        consume(source_step(black_box(&mut source)));
    }
    let memory = target_memory(&mut lent);
    let mut target = if any() { target_new(memory) } else { target_restore(memory) };
    consume(target_step(black_box(&mut target)));
}
