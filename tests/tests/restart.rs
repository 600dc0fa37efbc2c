//! What a restarted target answers to a source that asks where its load stands.
//!
//! Source of truth: PROTOCOL.md, "STATUS"; ARCHITECTURE.md, "Restart of a monitor". Deliberately
//! not here: the rules that hold in every state, which the test `phase_table` searches.

use integration_tests::machines::{
    Case, EPOCH, End, FIRST_LOAD, NOW, Name, STREAM, Stimulus, TargetEnd,
};
use monitor_core::{
    migrate::{Arrival, Effect, Input, Stage},
    wire::{Frame, LoadState},
};

/// What comes in, as a case without a name.
fn case(input: Input) -> Case {
    Case { name: Name { kind: "", detail: "" }, stimulus: Stimulus::Input(NOW, input) }
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
