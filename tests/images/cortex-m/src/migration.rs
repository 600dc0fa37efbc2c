//! One migration: both drivers in one loop, the guest in the interruption.
//!
//! Source of truth: `monitor_core::driver`. Invariants: both copies are equal at the restart; the
//! guest has lost no step and no store; the blackout is within its budget. Deliberately not here:
//! faults.

use core::cell::Cell;

use cortex_m::{peripheral::SYST, singleton};
use defmt::{debug, println};
use monitor_core::{
    driver::{
        BUFFER_BYTES, PortableCrc32c, Ports, SourceDriver, SourceMemory, TargetDriver, TargetMemory,
    },
    migrate::{Attempt, Coordination, Limits, Reception, SentRun, SourcePhase, TargetPhase},
    units::{Epoch, Incarnation, Micros, StreamId, SuName, VmIndex, VmName},
    vm::{Activity, Ownership, VmBlock, VmState},
};

use crate::{
    board,
    guest::{PAGE_COUNT, PAGES, SOURCE, TARGET},
    link::{Console, Directory, End, Wire},
    ports::VmPorts,
};

/// The epoch under which the guest runs at the source.
const EPOCH: Epoch = Epoch::new(1);

/// Steps that the guest does before it is moved, and at the target before it is judged.
const STEPS: u32 = 300;

/// The longest attempt, in time of the board.
const DEADLINE: Micros = Micros::from_millis(60_000);

type Source<'w> = SourceDriver<'static, VmPorts, End<'w>, Directory<'w>, Console, PortableCrc32c>;
type Target<'w> = TargetDriver<'static, VmPorts, End<'w>, Directory<'w>, Console, PortableCrc32c>;

fn su(name: &str) -> SuName {
    SuName::new(name).expect("a short name")
}

fn vm() -> VmName {
    VmName::new("VM12PROD").expect("a short name")
}

fn definition() -> VmBlock {
    let index = VmIndex::new(12).expect("an index within the limits");
    let block = VmBlock::new(index, vm(), PAGE_COUNT, 1).expect("a guest within the limits");
    block.with_state(VmState::new(Activity::Running))
}

fn attempt() -> Attempt {
    Attempt {
        stream: StreamId::new(0x390),
        vm: vm(),
        source: su("ABGSE501"),
        target: su("ABGSE701"),
        epoch: EPOCH,
        activity: Activity::Running,
        pages: PAGE_COUNT,
        processors: 1,
        coordination: Coordination::Required,
        limits: Limits::DEFAULT,
    }
}

fn source<'w>(link: End<'w>, record: &'w Cell<Ownership>) -> Source<'w> {
    let memory = SourceMemory {
        pages: SOURCE.page_map(),
        keys: SOURCE.key_map(),
        window: singleton!(: [Option<SentRun>; 16] = [None; 16]).expect("there is one source"),
        devices: &mut [],
        outgoing: singleton!(: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES])
            .expect("there is one source"),
        incoming: singleton!(: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES])
            .expect("there is one source"),
    };
    let ports = Ports {
        vm: VmPorts::new(&SOURCE, false),
        link,
        directory: Directory::new(record),
        console: Console("source"),
        checksum: PortableCrc32c,
    };
    Source::new(definition(), memory, ports)
}

fn target<'w>(link: End<'w>, record: &'w Cell<Ownership>) -> Target<'w> {
    let memory = TargetMemory {
        devices: &mut [],
        outgoing: singleton!(: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES])
            .expect("there is one target"),
        incoming: singleton!(: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES])
            .expect("there is one target"),
    };
    let ports = Ports {
        vm: VmPorts::new(&TARGET, true),
        link,
        directory: Directory::new(record),
        console: Console("target"),
        checksum: PortableCrc32c,
    };
    Target::new(Reception::new(su("ABGSE701"), Incarnation::new(1), PAGE_COUNT), memory, ports)
}

/// What was seen at the restart.
struct Restart {
    /// Steps that the guest had done.
    steps: u32,
    /// How long the comparison of both copies took, which makes the blackout longer.
    comparison: Micros,
}

/// Moves the guest and judges it.
pub(crate) fn run(timer: &mut SYST) {
    let record = Cell::new(Ownership::running(su("ABGSE501"), EPOCH));
    let (there, back) = (Wire::new(), Wire::new());
    let mut source = source(End { outgoing: &there, incoming: &back }, &record);
    let mut target = target(End { outgoing: &back, incoming: &there }, &record);

    SOURCE.load();
    SOURCE.set_running(true);
    board::start_clock(timer);
    while SOURCE.steps() < STEPS {}
    source.start(board::now(), attempt()).expect("a new machine takes an attempt");
    let restart = drive(&mut source, &mut target);
    while TARGET.steps() < restart.steps + STEPS {}
    TARGET.set_running(false);
    board::stop(timer);

    let is_owned = record.get() == Ownership::running(su("ABGSE701"), EPOCH.next());
    assert!(is_owned, "the target owns the VM");
    assert!(TARGET.is_as_computed(), "a store of the guest is lost");
    println!("guest: all steps before, during and after the move are in its storage");
    judge(&mut source, &mut target);
    debug!(
        "measured: restart after {=u32} steps, {=u64} us of the blackout to compare the copies",
        restart.steps,
        restart.comparison.get()
    );
}

/// Steps both ends until they have ended; gives what was seen at the restart.
fn drive(source: &mut Source<'_>, target: &mut Target<'_>) -> Restart {
    let mut restart = None;
    loop {
        let source_has_ended = source.step(board::now()).finished;
        let target_has_ended = target.step(board::now()).finished;
        if core::mem::take(&mut target.ports().vm.may_start) {
            let begin = board::now();
            let differences = SOURCE.differences(&TARGET);
            assert!(differences == 0, "{differences} pages differ at the restart");
            assert!(SOURCE.steps() == TARGET.steps(), "the register differs at the restart");
            println!("restart: {=usize} pages and keys and the register are equal", PAGES);
            let comparison = board::now().since(begin);
            restart = Some(Restart { steps: TARGET.steps(), comparison });
            TARGET.set_running(true);
        }
        if source_has_ended && target_has_ended {
            break;
        }
        let is_late = board::now().get() > DEADLINE.get();
        assert!(!is_late, "{:?} and {:?}", source.machine().phase(), target.machine().phase());
    }
    restart.expect("the guest was started at the target")
}

/// Holds what both ends say of the attempt against what has to be.
fn judge(source: &mut Source<'_>, target: &mut Target<'_>) {
    let phases = (source.machine().phase(), target.machine().phase());
    println!("phases: source {}, target {}", phases.0, phases.1);
    assert!(phases == (SourcePhase::Released, TargetPhase::Completed), "the move is complete");
    assert!(!source.ports().vm.has_journal(), "the source's journal is over");
    assert!(!target.ports().vm.has_journal(), "the target's journal is over");
    assert!(SOURCE.differences(&TARGET) != 0, "the source's storage was given back");

    let statistics = source.machine().statistics();
    let sent: u64 = statistics.passes.iter().map(|pass| pass.pages.get()).sum();
    assert!(sent > PAGE_COUNT.get(), "the guest has changed pages while it was moved");
    println!("precopy: the guest has changed pages while it was moved");
    let blackout = statistics.blackout.expect("the guest was stopped");
    assert!(blackout <= Limits::DEFAULT.blackout, "the blackout is {} us", blackout.get());
    println!("blackout: within its budget of {=u64} us", Limits::DEFAULT.blackout.get());
    for pass in &statistics.passes {
        debug!(
            "measured: a pass sent {=u64} pages, {=u64} bytes in {=u64} us and left {=u64}",
            pass.pages.get(),
            pass.bytes.get(),
            pass.time.get(),
            pass.left.get()
        );
    }
    debug!(
        "measured: {=usize} passes, blackout {=u64} us of predicted {=u64} us",
        statistics.passes.len(),
        blackout.get(),
        statistics.predicted.map_or(0, Micros::get)
    );
}
