//! Answers that overtake each other behind COMMIT: the epoch of the guest stays that of the record.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". The source is driven by inputs alone.

use integration_tests::worlds::name;
use monitor_core::{
    device::DeviceEntry,
    memory::{AtomicWord, DirtyBitmap},
    migrate::{
        Arrival, Attempt, Coordination, Effect, Input, Limits, Source, SourceLoan, SourcePhase,
    },
    units::{Epoch, Incarnation, Micros, PageCount, StreamId, Tick, VmName},
    vm::{
        Activity, DirectoryAnswer, Disposition, Findings, GuestAnswer, Operation, Ownership, Reason,
    },
    wire::{Frame, Hello},
};

const LOAD: Incarnation = Incarnation::new(7);
const PAGES: PageCount = PageCount::new(2);

fn vm() -> VmName {
    VmName::new("VM2").unwrap()
}

fn frame(frame: Frame) -> Input {
    let (stream, epoch) = (StreamId::new(1), Epoch::new(3));
    Input::Frame(Arrival { stream, epoch, sequence: 1, frame })
}

fn record(epoch: u64) -> Ownership {
    Ownership::running(name("S"), Epoch::new(epoch))
}

fn hello() -> Frame {
    Frame::Hello(Hello {
        version_min: 1,
        version_max: 1,
        frame_bytes_max: 262_336,
        window: 4,
        pages: PAGES,
        vm: vm(),
        source: name("S"),
        target: name("T"),
    })
}

/// Drives a source under epoch 3 to where COMMIT has had no answer and a revocation is under way,
/// gives it these inputs, and lets the guest go on. Gives the machine and the compare-and-sets.
fn doubtful(inputs: &[Input]) -> (Source, usize) {
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
        vm: vm(),
        source: name("S"),
        target: name("T"),
        epoch: Epoch::new(3),
        activity: Activity::Running,
        pages: PAGES,
        processors: 1,
        coordination: Coordination::Required,
        limits: Limits::DEFAULT,
    };
    source.start(Tick::new(0), attempt).unwrap();
    let late = Tick::new(10_000_001);
    let offered = [
        Input::Directory(DirectoryAnswer::Record(record(3))),
        frame(hello()),
        frame(Frame::Findings(0)),
        Input::Guest(GuestAnswer::Ready),
        frame(Frame::Built(LOAD)),
        Input::Done(Operation::TrackChanges),
        frame(Frame::Ack(6)),
        frame(Frame::Rehearsed(Micros::new(1))),
        Input::Done(Operation::StopProcessors),
        frame(Frame::Ready(LOAD)),
    ];
    let mut asked = 0;
    let mut poll = |source: &mut Source, now, loan: &mut SourceLoan<'_, '_>| {
        while let Some(effect) = source.poll_effect(now, loan) {
            asked += usize::from(matches!(effect, Effect::CompareAndSet { .. }));
            if matches!(effect, Effect::Save(_)) {
                let saved = Input::Done(Operation::SaveJournal);
                source.handle(now, saved, loan).unwrap();
            }
        }
    };
    poll(&mut source, Tick::new(0), &mut loan);
    for input in offered {
        source.handle(Tick::new(0), input, &mut loan).unwrap();
        poll(&mut source, Tick::new(0), &mut loan);
    }
    assert_eq!(source.phase(), SourcePhase::Offered);
    let rest = [Input::Done(Operation::ResumeProcessors), Input::Guest(GuestAnswer::Ready)];
    for input in [Input::Deadline].iter().chain(inputs).chain(&rest) {
        // What has come too late to mean anything may be refused.
        let taken = source.handle(late, *input, &mut loan);
        assert!(taken.is_ok() || source.phase() == SourcePhase::InDoubt, "{input:?}: {taken:?}");
        poll(&mut source, late, &mut loan);
    }
    (source, asked)
}

const ABORTED: Frame = Frame::Aborted { incarnation: LOAD, reason: Reason::NotOwner };

#[test]
fn aborted_does_not_overtake_the_answer_to_a_revocation() {
    let won = Input::Directory(DirectoryAnswer::Won);
    for inputs in [[frame(ABORTED), won], [won, frame(ABORTED)]] {
        let (source, asked) = doubtful(&inputs);
        assert_eq!(source.phase(), SourcePhase::RolledBack);
        assert_eq!(source.disposition(), Disposition::RunsAtSource);
        // The record is (S, 4): the guest runs under no other epoch.
        assert_eq!((source.epoch(), asked), (Epoch::new(4), 1));
    }
}

#[test]
fn aborted_behind_a_lost_answer_is_settled_by_another_compare_and_set() {
    let inputs = [
        Input::Directory(DirectoryAnswer::Unreachable),
        frame(ABORTED),
        Input::Directory(DirectoryAnswer::Lost(record(4))),
    ];
    let (source, asked) = doubtful(&inputs);
    assert_eq!(source.phase(), SourcePhase::RolledBack);
    assert_eq!((source.epoch(), asked), (Epoch::new(4), 2));
}

#[test]
fn a_record_of_the_target_keeps_the_copy_stopped() {
    let lost = Ownership::running(name("T"), Epoch::new(4));
    let (source, _) = doubtful(&[Input::Directory(DirectoryAnswer::Lost(lost)), frame(ABORTED)]);
    assert_eq!(source.phase(), SourcePhase::InDoubt);
    assert_eq!(source.disposition(), Disposition::HeldAtSource);
    assert!(source.is_resolved() && !source.will_take_back());
}

/// The record is the target's, which has claimed the VM and not started it.
const CLAIMED: fn() -> Input =
    || Input::Directory(DirectoryAnswer::Lost(Ownership::claimed(name("T"), Epoch::new(4))));

#[test]
fn a_target_that_has_claimed_the_vm_is_given_time_to_start_it() {
    let (source, asked) = doubtful(&[CLAIMED(), Input::Deadline]);
    assert_eq!((source.phase(), asked), (SourcePhase::InDoubt, 1));
    assert!(source.will_take_back() && !source.is_resolved());
    let time = Limits::DEFAULT.peer_answer;
    assert_eq!(source.poll_deadline(), Some(Tick::new(10_000_001).after(time)));
}

#[test]
fn what_the_target_has_claimed_and_dropped_is_taken_back_by_the_record_at_once() {
    let won = Input::Directory(DirectoryAnswer::Won);
    let lost_answer = Input::Directory(DirectoryAnswer::Unreachable);
    let written = Ownership::running(name("S"), Epoch::new(5));
    let found = Input::Directory(DirectoryAnswer::Lost(written));
    let courses = [vec![won], vec![lost_answer, frame(ABORTED), found]];
    for (course, expected) in courses.iter().zip([2, 3]) {
        let inputs = [&[CLAIMED(), frame(ABORTED)], course.as_slice()].concat();
        let (source, asked) = doubtful(&inputs);
        assert_eq!(source.phase(), SourcePhase::RolledBack);
        assert_eq!((source.epoch(), asked), (Epoch::new(5), expected));
    }
}

#[test]
fn a_target_that_starts_the_vm_before_it_is_taken_back_keeps_it() {
    let running = Ownership::running(name("T"), Epoch::new(4));
    let started = Input::Directory(DirectoryAnswer::Lost(running));
    let (source, asked) = doubtful(&[CLAIMED(), frame(ABORTED), started]);
    assert_eq!((source.phase(), asked), (SourcePhase::InDoubt, 2));
    assert!(source.is_resolved() && !source.will_take_back());
}
