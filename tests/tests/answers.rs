//! What a target answers to a source that greets it or asks where a load stands, and when a
//! restarted source tries again.
//!
//! Source of truth: PROTOCOL.md, "HELLO" and "STATUS"; ARCHITECTURE.md, "Restart of a monitor".
//! Deliberately not here: the rules that hold in every state, which the test `phase_table`
//! searches.

use integration_tests::machines::{
    Case, EPOCH, End, FIRST_LOAD, NOW, Name, STREAM, SourceEnd, Stimulus, TargetEnd,
};
use monitor_core::{
    message::Notice,
    migrate::{Arrival, Coordination, Effect, Input, Limits, Stage},
    units::{PageCount, SuName, VmName},
    vm::{Activity, Operation, Reason},
    wire::{Frame, Hello, LoadState, VERSION_MAX, VERSION_MIN},
};

/// What comes in, as a case without a name.
fn case(input: Input) -> Case {
    Case { name: Name { kind: "", detail: "" }, stimulus: Stimulus::Input(NOW, input) }
}

/// The frame with which a new target answers HELLO of these versions.
fn greeting(version_min: u16, version_max: u16) -> Option<Frame> {
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
    let frame = Frame::Hello(hello);
    let mut target = TargetEnd::new();
    let arrival = Arrival { stream: STREAM, epoch: EPOCH, sequence: 1, frame };
    target.apply(&case(Input::Frame(arrival))).unwrap();
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

/// What a target that has found this stage in its journal answers to RESUME.
fn answer_behind(stage: Stage) -> LoadState {
    let mut target = TargetEnd::new().restored(stage);
    let frame = Frame::Resume;
    let resume = Arrival { stream: STREAM, epoch: EPOCH, sequence: 1, frame };
    target.apply(&case(Input::LinkUp)).unwrap();
    target.apply(&case(Input::Frame(resume))).unwrap();
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
    let name = Name { kind: "", detail: "" };
    let deadline = Case { name, stimulus: Stimulus::Input(due, Input::Deadline) };
    source.apply(&deadline).unwrap();
    assert_eq!(source.poll(NOW), Some(Effect::Start(stop)));
    source.apply(&case(Input::Failed(stop))).unwrap();
    assert_eq!(source.poll(NOW), None);
}
