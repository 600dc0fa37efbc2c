//! A source at its limits: a blackout that takes too long, a pass that is too short to measure.
//!
//! Source of truth: ARCHITECTURE.md, "Limits" and "The stop rule". The source is driven by inputs
//! alone, up to the moment at which everything of a small guest is sent and READY is awaited.

use integration_tests::worlds::name;
use monitor_core::{
    device::DeviceEntry,
    memory::{AtomicWord, DirtyBitmap},
    migrate::{
        Arrival, Attempt, Coordination, Effect, Input, Limits, Source, SourceLoan, SourcePhase,
        Statistics,
    },
    units::{Epoch, Incarnation, Micros, PageCount, StreamId, Tick, VmName},
    vm::{Activity, DirectoryAnswer, Findings, GuestAnswer, Operation, Ownership, Reason},
    wire::{Frame, Hello},
};

const PAGES: PageCount = PageCount::new(2);

fn frame(frame: Frame) -> Input {
    let (stream, epoch) = (StreamId::new(1), Epoch::new(3));
    Input::Frame(Arrival { stream, epoch, sequence: 1, frame })
}

/// What leads an attempt to the end of its load, a millisecond apart.
fn course() -> [Input; 9] {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        frame_bytes_max: 262_336,
        window: 4,
        pages: PAGES,
        vm: VmName::new("VM2").unwrap(),
        source: name("S"),
        target: name("T"),
    };
    let record = Ownership::running(name("S"), Epoch::new(3));
    [
        Input::Directory(DirectoryAnswer::Record(record)),
        frame(Frame::Hello(hello)),
        frame(Frame::Findings(0)),
        Input::Guest(GuestAnswer::Ready),
        frame(Frame::Built(Incarnation::new(7))),
        Input::Done(Operation::TrackChanges),
        frame(Frame::Ack(6)),
        frame(Frame::Rehearsed(Micros::new(1))),
        Input::Done(Operation::StopProcessors),
    ]
}

/// Leads a source behind this course; what is done to it then is up to the test.
fn loaded<R>(overruns: u8, then: impl FnOnce(&mut Source, &mut SourceLoan<'_, '_>) -> R) -> R {
    let [pages, keys] = [[const { AtomicWord::new(0) }; 3], [const { AtomicWord::new(0) }; 3]];
    let map = |words| DirtyBitmap::try_new(words, PAGES).unwrap();
    let mut devices: [DeviceEntry; 0] = [];
    let (mut window, mut findings) = ([None; 4], Findings::new());
    let mut loan = SourceLoan {
        pages: map(&pages),
        keys: map(&keys),
        window: &mut window,
        devices: &mut devices,
        findings: &mut findings,
    };
    let mut source = Source::new();
    let attempt = Attempt {
        stream: StreamId::new(1),
        vm: VmName::new("VM2").unwrap(),
        source: name("S"),
        target: name("T"),
        epoch: Epoch::new(3),
        activity: Activity::Running,
        pages: PAGES,
        processors: 1,
        coordination: Coordination::Required,
        limits: Limits { overruns, ..Limits::DEFAULT },
    };
    source.start(Tick::new(0), attempt).unwrap();
    poll(&mut source, Tick::new(0), &mut loan);
    for (input, millis) in course().into_iter().zip(1_u64..) {
        let now = Tick::new(millis * 1_000);
        source.handle(now, input, &mut loan).unwrap();
        poll(&mut source, now, &mut loan);
    }
    assert_eq!(source.phase(), SourcePhase::Suspended);
    then(&mut source, &mut loan)
}

/// Polls all effects; the journal is written at once.
fn poll(source: &mut Source, now: Tick, loan: &mut SourceLoan<'_, '_>) {
    while let Some(effect) = source.poll_effect(now, loan) {
        if matches!(effect, Effect::Save(_)) {
            source.handle(now, Input::Done(Operation::SaveJournal), loan).unwrap();
        }
    }
}

/// A source whose load is not answered until long after the blackout budget.
fn late_source(overruns: u8) -> (SourcePhase, Option<Reason>, Statistics) {
    loaded(overruns, |source, loan| {
        let late = Tick::new(1_000_000);
        source.handle(late, Input::Deadline, loan).unwrap();
        poll(source, late, loan);
        (source.phase(), source.reason(), source.statistics().clone())
    })
}

#[test]
fn load_of_which_the_journal_is_being_told_is_not_replaced_by_another() {
    let (ready, other) = (Frame::Ready(Incarnation::new(7)), Frame::Built(Incarnation::new(8)));
    loaded(1, |source, loan| {
        let now = Tick::new(10_000);
        source.handle(now, frame(ready), loan).unwrap();
        assert!(source.handle(now, frame(other), loan).is_err());
        poll(source, now, loan);
        assert_eq!(source.phase(), SourcePhase::Offered);
    });
}

#[test]
fn blackout_beyond_the_budget_is_rolled_back_as_often_as_the_limit_says() {
    let (phase, reason, statistics) = late_source(1);
    assert_eq!((phase, reason, statistics.overruns), (SourcePhase::Suspended, None, 1));
    let (phase, reason, _) = late_source(0);
    assert_eq!((phase, reason), (SourcePhase::Undoing, Some(Reason::BudgetExceeded)));
}

#[test]
fn pass_of_a_few_pages_says_nothing_of_the_bandwidth() {
    let (.., statistics) = late_source(1);
    assert_eq!(statistics.passes.len(), 1);
    assert_eq!(statistics.bandwidth.mean(), 0);
}
