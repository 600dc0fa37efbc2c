//! Whole moves over channel programs: two monitor systems, joined by channel-to-channel adapters.
//!
//! Source of truth: ARCHITECTURE.md ("The emulated machine"). Each test judges from outside, as
//! those of moves over a pipe do. Deliberately not here: the adapters and the link over them, which
//! have tests of their own.

use host_harness::{
    console::Verified,
    sim::{Cut, Scenario, WireKind},
};
use integration_tests::worlds::{other, small, started, with};
use monitor_core::{
    migrate::{SourcePhase, TargetPhase},
    units::Micros,
    vm::{Disposition, Reason},
};

fn over_adapters() -> Scenario {
    Scenario { wire: WireKind::Ctc, ..Scenario::default() }
}

#[test]
fn guest_moves_there_and_back_over_channel_programs() {
    let config = small();
    let mut world = started(&config);
    let home = world.at;
    for target in [other(&config), home, other(&config)] {
        let course = world.attempt(target, &over_adapters());
        assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
        assert_eq!(course.target, TargetPhase::Completed);
        assert_eq!(course.rounds_run_twice, 0);
    }
}

#[test]
fn cut_adapters_are_connected_again_and_the_move_completes() {
    let config = with(|config| config.limits.reconnect = Micros::from_millis(500));
    for phase in [SourcePhase::Precopy, SourcePhase::Suspended] {
        let mut world = started(&config);
        let scenario =
            Scenario { cut: Some(Cut::InSourcePhase(phase)), comes_back: true, ..over_adapters() };
        let course = world.attempt(other(&config), &scenario);
        assert_eq!(course.verified, Some(Verified::ALL), "{phase:?} {:?}", course.reason);
        assert!(course.statistics.reconnects > 0, "{phase:?}");
    }
}

#[test]
fn adapters_that_are_cut_for_good_before_commit_cost_the_guest_nothing() {
    let config = small();
    let mut world = started(&config);
    for phase in [SourcePhase::Checking, SourcePhase::Preparing, SourcePhase::Precopy] {
        let scenario = Scenario { cut: Some(Cut::InSourcePhase(phase)), ..over_adapters() };
        let course = world.attempt(other(&config), &scenario);
        assert_eq!(course.disposition, Disposition::RunsAtSource, "{phase:?}");
        assert_eq!(course.reason, Some(Reason::LinkLost), "{phase:?}");
        assert!(world.machine.is_running());
    }
    let course = world.attempt(other(&config), &over_adapters());
    assert_eq!(course.verified, Some(Verified::ALL));
}

#[test]
fn same_world_takes_the_same_course_over_adapters() {
    let course = || {
        let config = small();
        let mut world = started(&config);
        let course = world.attempt(other(&config), &over_adapters());
        (course.rounds, course.statistics, world.machine.is_running())
    };
    assert_eq!(course(), course());
}
