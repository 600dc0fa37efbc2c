//! What a target answers to a source that greets it or asks where a load stands, when a
//! restarted source tries again, and that both ends say when they are full.
//!
//! Source of truth: PROTOCOL.md, "HELLO" and "STATUS"; ARCHITECTURE.md, "Restart of a monitor".
//! Deliberately not here: the rules that hold in every state, which the test `phase_table`
//! searches.

use integration_tests::machines::{
    Case, EPOCH, End, FIRST_LOAD, NOW, Name, Refusal, STREAM, SourceEnd, Stimulus, TargetEnd,
};
use monitor_core::{
    message::Notice,
    migrate::{Arrival, Coordination, Effect, Input, Limits, SourcePhase, Stage},
    units::{PageCount, SuName, Tick, VmName},
    vm::{Activity, DirectoryAnswer, Operation, Ownership, Reason},
    wire::{Frame, Hello, LoadState, VERSION_MAX, VERSION_MIN},
};

/// What comes in, as a case without a name.
fn case_at(now: Tick, input: Input) -> Case {
    Case { name: Name { kind: "", detail: "" }, stimulus: Stimulus::Input(now, input) }
}

fn case(input: Input) -> Case {
    case_at(NOW, input)
}

fn received(frame: Frame) -> Input {
    Input::Frame(Arrival { stream: STREAM, epoch: EPOCH, sequence: 1, frame })
}

/// Greets an end with HELLO of these versions.
fn greet(end: &mut impl End, version_min: u16, version_max: u16) {
    let name = |text| SuName::new(text).unwrap();
    let hello = Hello {
        version_min,
        version_max,
        frame_bytes_max: 1 << 18,
        window: 4,
        pages: PageCount::new(2),
        vm: VmName::new("VM2").unwrap(),
        source: name("ABG-SU1"),
        target: name("ABG-SU2"),
    };
    end.apply(&case(received(Frame::Hello(hello)))).unwrap();
}

/// The frame with which a new target answers HELLO of these versions.
fn greeting(version_min: u16, version_max: u16) -> Option<Frame> {
    let mut target = TargetEnd::new();
    greet(&mut target, version_min, version_max);
    core::iter::from_fn(|| target.poll(NOW)).find_map(|effect| match effect {
        Effect::Send { frame, .. } => Some(frame),
        _ => None,
    })
}

#[test]
fn target_greets_a_source_that_speaks_its_version_among_others() {
    for (version_min, version_max) in [(VERSION_MIN, VERSION_MAX), (0, u16::MAX)] {
        assert!(matches!(greeting(version_min, version_max), Some(Frame::Hello(_))));
    }
    for (version_min, version_max) in [(VERSION_MAX + 1, u16::MAX), (0, VERSION_MIN - 1)] {
        let answer = greeting(version_min, version_max);
        assert!(matches!(answer, Some(Frame::Aborted { reason: Reason::VersionUnknown, .. })));
    }
}

#[test]
fn source_goes_on_with_a_target_that_speaks_its_version_among_others() {
    for (version_min, version_max, expected) in [
        (VERSION_MIN, VERSION_MAX, SourcePhase::Checking),
        (0, u16::MAX, SourcePhase::Checking),
        (VERSION_MAX + 1, u16::MAX, SourcePhase::Undoing),
        (0, VERSION_MIN - 1, SourcePhase::Undoing),
    ] {
        let mut source = SourceEnd::new(Activity::Running, Coordination::Required);
        let start = Case { stimulus: Stimulus::Start, ..case(Input::Deadline) };
        source.apply(&start).unwrap();
        while source.poll(NOW).is_some() {}
        let own = Ownership::running(SuName::new("ABG-SU1").unwrap(), EPOCH);
        source.apply(&case(Input::Directory(DirectoryAnswer::Record(own)))).unwrap();
        while source.poll(NOW).is_some() {}
        greet(&mut source, version_min, version_max);
        assert_eq!(source.phase(), expected, "versions {version_min} to {version_max}");
    }
}

/// What a target that has found this stage in its journal answers to RESUME.
fn answer_behind(stage: Stage) -> LoadState {
    let mut target = TargetEnd::new().restored(stage);
    target.apply(&case(Input::LinkUp)).unwrap();
    target.apply(&case(received(Frame::Resume))).unwrap();
    while let Some(effect) = target.poll(NOW) {
        if let Effect::Send { frame: Frame::Status(status), .. } = effect {
            assert_eq!(status.incarnation, FIRST_LOAD);
            return status.state;
        }
    }
    panic!("RESUME has no answer");
}

#[test]
fn restarted_target_says_what_its_journal_says() {
    assert_eq!(answer_behind(Stage::Claiming(FIRST_LOAD)), LoadState::Claiming);
    assert_eq!(answer_behind(Stage::Running(FIRST_LOAD)), LoadState::Running);
    assert_eq!(answer_behind(Stage::Completed(FIRST_LOAD)), LoadState::Completed);
}

#[test]
fn restarted_target_that_has_claimed_nothing_gives_the_load_up() {
    assert_eq!(answer_behind(Stage::Building), LoadState::Ending);
}

#[test]
fn restarted_source_stops_the_processors_again_when_it_is_due_and_not_before() {
    let source = SourceEnd::new(Activity::Running, Coordination::IfPossible);
    let mut source = source.restored(Stage::Offered(FIRST_LOAD));
    let stop = Operation::StopProcessors;
    source.apply(&case(Input::Failed(stop))).unwrap();
    let told = Effect::Notice(Notice::NotStoppedAtSource);
    assert_eq!(source.poll(NOW), Some(told));
    assert_eq!(source.poll(NOW), None);
    source.apply(&case(Input::Deadline)).unwrap();
    assert_eq!(source.poll(NOW), None);
    let due = NOW.after(Limits::DEFAULT.retry);
    source.apply(&case_at(due, Input::Deadline)).unwrap();
    assert_eq!(source.poll(NOW), Some(Effect::Start(stop)));
    source.apply(&case(Input::Failed(stop))).unwrap();
    assert_eq!(source.poll(NOW), None);
}

/// Where a source stands that was restarted behind its offer and hears of this record.
fn phase_behind(owner: &str, epochs_on: u32) -> SourcePhase {
    let source = SourceEnd::new(Activity::Down, Coordination::IfPossible);
    let mut source = source.restored(Stage::Offered(FIRST_LOAD));
    source.apply(&case(Input::Deadline)).unwrap();
    assert!(matches!(source.poll(NOW), Some(Effect::CompareAndSet { .. })));
    let epoch = (0..epochs_on).fold(EPOCH, |epoch, _| epoch.next());
    let record = Ownership::running(SuName::new(owner).unwrap(), epoch);
    source.apply(&case(Input::Directory(DirectoryAnswer::Lost(record)))).unwrap();
    while source.poll(NOW).is_some() {}
    source.phase()
}

#[test]
fn source_gives_its_copy_up_when_the_vm_has_gone_on_to_a_third_su() {
    assert_eq!(phase_behind("ABG-SU3", 2), SourcePhase::Releasing);
    assert_eq!(phase_behind("ABG-SU3", 1), SourcePhase::InDoubt);
    assert_eq!(phase_behind("ABG-SU1", 3), SourcePhase::InDoubt);
}

/// Gives these inputs again and again, without polling: the end says beforehand that it is full.
fn fill<E: End>(mut end: E, inputs: &[(Tick, Input)]) {
    for (now, input) in inputs.iter().cycle().take(100) {
        let takes = end.takes_input();
        let taken = end.apply(&case_at(*now, *input));
        assert_eq!(taken, if takes { Ok(()) } else { Err(Refusal::EffectsPending) });
        if !takes {
            return;
        }
    }
    panic!("the end takes input for ever");
}

#[test]
fn ends_say_when_they_take_no_more_input() {
    let source = SourceEnd::new(Activity::Down, Coordination::IfPossible);
    let unreachable = Input::Directory(DirectoryAnswer::Unreachable);
    let later = NOW.after(Limits::DEFAULT.retry);
    let doubtful = source.restored(Stage::Offered(FIRST_LOAD));
    fill(doubtful, &[(later, Input::Deadline), (NOW, unreachable)]);
    let mut dropped = TargetEnd::new();
    greet(&mut dropped, VERSION_MAX + 1, u16::MAX);
    fill(dropped, &[(NOW, received(Frame::Commit(FIRST_LOAD)))]);
}
