//! Whole moves in the simulator: the good course, every workload, every end before COMMIT.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Each test judges from outside: who runs, what
//! both sides hold, what the consoles say, and whether a second attempt succeeds.

use host_harness::{
    config::WorkloadName,
    console::{ConsoleName, Verified},
    sim::{Course, Cut, Direction, Scenario, World},
    workload::Manner,
};
use integration_tests::worlds::{codes, other, running, says, small, started, with};
use monitor_core::{
    migrate::{SourcePhase, TargetPhase},
    units::Micros,
    vm::{Activity, Disposition, Obstacle, Reason},
};

/// The move has completed and nothing was lost.
fn assert_complete(course: &Course) {
    assert_eq!(course.source, SourcePhase::Released, "{:?}", course.reason);
    assert_eq!(course.target, TargetPhase::Completed);
    assert_eq!(course.disposition, Disposition::RunsAtTarget);
    assert_eq!(course.rounds_run_twice, 0);
    assert_eq!(course.verified, Some(Verified::ALL));
}

/// The attempt has failed for this reason and the guest goes on at the source, undisturbed: it
/// runs, and the next attempt moves it with nothing lost.
fn assert_undone(world: &mut World, course: &Course, reason: Reason) {
    assert_eq!(course.reason, Some(reason));
    assert_eq!(course.source, SourcePhase::RolledBack);
    assert_eq!(course.target, TargetPhase::Dropped);
    assert_eq!(course.disposition, Disposition::RunsAtSource);
    assert_eq!(course.rounds_run_twice, 0);
    assert!(world.machine.is_running());
    assert_eq!(world.machine.fault(), None);
}

fn second_attempt(world: &mut World, config: &host_harness::config::Config) {
    let course = world.attempt(other(config), &Scenario::default());
    assert_complete(&course);
}

#[test]
fn a_running_guest_moves_and_nothing_is_lost() {
    let config = small();
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_complete(&course);
    assert_eq!(codes(&course, ConsoleName::Source).first().map(String::as_str), Some("VMS2450"));
    assert_eq!(codes(&course, ConsoleName::Source).last().map(String::as_str), Some("VMS2451"));
}

#[test]
fn a_guest_moves_there_and_back_again_and_again() {
    let config = small();
    let mut world = started(&config);
    let home = world.at;
    for _ in 0..3 {
        assert_complete(&world.attempt(other(&config), &Scenario::default()));
        assert_complete(&world.attempt(home, &Scenario::default()));
    }
    assert_eq!(world.epoch.get(), 7);
}

#[test]
fn every_workload_moves() {
    for workload in [
        WorkloadName::Idle,
        WorkloadName::HotSet,
        WorkloadName::Sweep,
        WorkloadName::KeyValue,
        WorkloadName::Journal,
    ] {
        let config = running(&[workload]);
        let mut world = started(&config);
        let course = world.attempt(other(&config), &Scenario::default());
        assert_eq!(course.verified, Some(Verified::ALL), "{workload:?}");
    }
}

#[test]
fn a_guest_faster_than_the_link_is_left_in_peace() {
    let config = running(&[WorkloadName::SweepUnpaced]);
    // Also on a link over which the whole guest would fit the budget.
    for bytes_per_round in [4 << 10, 32 << 10] {
        let mut world = started(&config);
        let scenario = Scenario { bytes_per_round, ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_undone(&mut world, &course, Reason::WillNotConverge);
        assert!(course.statistics.passes.len() <= 3, "{:?}", course.statistics.passes);
        assert!(says(&course, ConsoleName::Source, "WILL NOT CONVERGE"));
    }
}

#[test]
fn a_small_hot_set_that_never_rests_moves_within_the_budget() {
    let config = with(|config| {
        config.workload.run = vec![WorkloadName::HotSet];
        config.workload.hot_set_rate = host_harness::workload::Rate::Unpaced;
        config.workload.hot_set_window = monitor_core::units::PageCount::new(256);
    });
    let mut world = started(&config);
    assert_complete(&world.attempt(other(&config), &Scenario::default()));
}

#[test]
fn a_link_cut_in_any_phase_before_commit_costs_the_guest_nothing() {
    let config = small();
    for phase in [
        SourcePhase::Checking,
        SourcePhase::Preparing,
        SourcePhase::Precopy,
        SourcePhase::Suspended,
    ] {
        let mut world = started(&config);
        let scenario = Scenario { cut: Some(Cut::InSourcePhase(phase)), ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_undone(&mut world, &course, Reason::LinkLost);
        second_attempt(&mut world, &config);
    }
    for phase in [TargetPhase::Answering, TargetPhase::Building, TargetPhase::Receiving] {
        let mut world = started(&config);
        let scenario = Scenario { cut: Some(Cut::InTargetPhase(phase)), ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_undone(&mut world, &course, Reason::LinkLost);
        second_attempt(&mut world, &config);
    }
}

/// Behind COMMIT the record decides: the guest runs on exactly one side, or is held on the source
/// when the record is the target's and the target was not heard.
#[test]
fn a_link_cut_at_any_moment_leaves_one_guest() {
    let config = small();
    let rounds = started(&config).attempt(other(&config), &Scenario::default()).rounds;
    let mut ends = std::collections::BTreeMap::new();
    for round in 1..=rounds {
        let mut world = started(&config);
        let scenario = Scenario { cut: Some(Cut::AtRound(round)), ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_eq!(course.rounds_run_twice, 0, "round {round}");
        let target_runs = course.target == TargetPhase::Completed;
        match course.disposition {
            Disposition::RunsAtSource => {
                assert!(!target_runs, "both sides run after a cut in round {round}");
                assert!(world.machine.is_running(), "nobody runs after a cut in round {round}");
                second_attempt(&mut world, &config);
            }
            Disposition::RunsAtTarget => {
                assert!(target_runs, "nobody runs after a cut in round {round}");
                assert_eq!(course.verified, Some(Verified::ALL), "round {round}");
            }
            Disposition::HeldAtSource => {
                assert!(target_runs, "nobody runs after a cut in round {round}");
                assert!(says(&course, ConsoleName::Source, "VMS2456"));
            }
            Disposition::HeldAtTarget => panic!("a source does not know of the target's hold"),
        }
        *ends.entry(format!("{:?}", course.disposition)).or_insert(0) += 1;
    }
    assert!(ends.len() >= 2, "the cuts met one side alone: {ends:?}");
}

/// A connection that comes back costs the attempt nothing, whenever it is lost in pre-copy or in
/// the blackout, and repeats no more than what was under way.
#[test]
fn a_link_that_comes_back_carries_on_with_the_attempt() {
    let config = small();
    let rounds = started(&config).attempt(other(&config), &Scenario::default()).rounds;
    let (mut completed, mut reconnected) = (0, 0);
    for round in 1..=rounds {
        let mut world = started(&config);
        let scenario =
            Scenario { cut: Some(Cut::AtRound(round)), comes_back: true, ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_eq!(course.rounds_run_twice, 0, "round {round}");
        assert_ne!(course.disposition, Disposition::HeldAtSource, "round {round}");
        if course.disposition == Disposition::RunsAtTarget {
            assert_eq!(course.verified, Some(Verified::ALL), "round {round}");
            completed += 1;
        }
        reconnected += u64::from(course.statistics.reconnects > 0);
        assert!(course.statistics.repeated.get() <= 16 * 64, "round {round}");
    }
    assert!(completed > rounds * 3 / 4, "{completed} of {rounds} attempts completed");
    assert!(reconnected > rounds / 3, "{reconnected} of {rounds} attempts went on");
}

#[test]
fn a_wrong_byte_costs_a_connection_that_comes_back_nothing() {
    let config = small();
    for place in [100_000, 300_000, 1_000_000] {
        let mut world = started(&config);
        let scenario = Scenario {
            wrong_byte: Some((Direction::ToTarget, place, 0x01)),
            comes_back: true,
            ..Scenario::default()
        };
        let course = world.attempt(other(&config), &scenario);
        assert_complete(&course);
        assert!(course.statistics.reconnects == 1 && course.statistics.repeated.get() > 0);
    }
}

#[test]
fn a_cancel_in_any_phase_before_commit_is_undone() {
    let config = small();
    for phase in [
        SourcePhase::Checking,
        SourcePhase::Preparing,
        SourcePhase::Precopy,
        SourcePhase::Suspended,
    ] {
        let mut world = started(&config);
        let scenario = Scenario { cancel: Some(phase), ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_undone(&mut world, &course, Reason::Cancelled);
        assert!(says(&course, ConsoleName::Source, "CANCELLED"));
        second_attempt(&mut world, &config);
    }
}

#[test]
fn a_guest_that_refuses_is_not_moved() {
    let config = with(|config| config.workload.manner = Manner::Refuse);
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_undone(&mut world, &course, Reason::GuestRefused);
    assert!(says(&course, ConsoleName::Guest, "ETMDR04"));
    assert!(!says(&course, ConsoleName::Target, "VMS2430"));
}

#[test]
fn a_silent_guest_is_not_moved_unless_the_operator_wants_it() {
    let silent = |config: &mut host_harness::config::Config| {
        config.workload.manner = Manner::Silent;
        config.limits.guest_answer = Micros::from_millis(200);
    };
    let config = with(silent);
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_undone(&mut world, &course, Reason::GuestSilent);

    let config = with(|config| {
        silent(config);
        config.limits.coordination = host_harness::config::Coordination::IfPossible;
    });
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_complete(&course);
    assert!(says(&course, ConsoleName::Target, "VMS2435"));
}

#[test]
fn a_vm_whose_guest_does_not_run_moves_too() {
    for state in [Activity::InitOnly, Activity::Down, Activity::InHold] {
        let config = with(|config| config.vm.state = state);
        let mut world = started(&config);
        let course = world.attempt(other(&config), &Scenario::default());
        assert_complete(&course);
        assert!(!world.machine.is_running(), "{state:?}");
        assert!(!says(&course, ConsoleName::Guest, "ETMDR"));
    }
}

#[test]
fn all_obstacles_on_the_target_are_reported_at_once() {
    let config = with(|config| {
        let target = config.sus.get_mut(1).expect("the example has two SUs");
        target.memory = monitor_core::units::PageCount::new(256);
        target.vms =
            vec![host_harness::config::OtherVm { index: config.vm.index, name: config.vm.name }];
        let names: Vec<_> = config.sus.iter().map(|su| su.name).collect();
        for device in &mut config.vm.devices {
            match device.mnemonic.as_str() {
                "FAA4" => device.generated_on = vec![names[0]],
                "9920" => device.held_on = Some(names[1]),
                _ => {}
            }
        }
    });
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_undone(&mut world, &course, Reason::Rejected);
    let found: Vec<_> = course.findings.listed().iter().map(|finding| finding.obstacle).collect();
    assert_eq!(
        found,
        [
            Obstacle::MemoryShort,
            Obstacle::IndexTaken,
            Obstacle::NameTaken,
            Obstacle::DeviceHeld,
            Obstacle::DeviceMissing
        ]
    );
    for reason in ["VMS4011", "VMS4012", "VMS4013", "VMS2437,9920", "VMS4034,FAA4"] {
        let line = format!("REJECTED BY TARGET SU 'ABGSE701'. REASON: {reason}");
        assert!(says(&course, ConsoleName::Source, &line), "{reason}");
    }
    assert!(!says(&course, ConsoleName::Guest, "ETMDR"));
}

#[test]
fn a_foreign_or_damaged_stream_ends_the_attempt_by_name() {
    let config = small();
    let cases: [(Scenario, Reason); 4] = [
        (
            Scenario {
                foreign: Some((Direction::ToSource, b"HTTP/1.1 400 Bad Request\r\n".repeat(4))),
                ..Scenario::default()
            },
            Reason::StreamDamaged,
        ),
        (
            Scenario { wrong_byte: Some((Direction::ToSource, 5, 0x40)), ..Scenario::default() },
            Reason::StreamDamaged,
        ),
        (
            Scenario {
                wrong_byte: Some((Direction::ToTarget, 100_000, 0x01)),
                ..Scenario::default()
            },
            Reason::LinkLost,
        ),
        (
            Scenario {
                cut: Some(Cut::AfterBytes(Direction::ToTarget, 300_000)),
                ..Scenario::default()
            },
            Reason::LinkLost,
        ),
    ];
    for (scenario, reason) in cases {
        let mut world = started(&config);
        let course = world.attempt(other(&config), &scenario);
        if reason == Reason::LinkLost && scenario.cut.is_none() {
            // The target found the wrong byte and gave up the connection.
            assert_eq!(course.target_reason, Some(Reason::LinkLost));
            assert_eq!(course.disposition, Disposition::RunsAtSource);
        } else {
            assert_undone(&mut world, &course, reason);
        }
        second_attempt(&mut world, &config);
    }
}

#[test]
fn a_directory_that_cannot_be_reached_holds_the_claim_until_it_can() {
    let config = small();
    let mut world = started(&config);
    let scenario = Scenario {
        directory_gone: Some(SourcePhase::Suspended),
        directory_back_after: 30_000,
        ..Scenario::default()
    };
    let course = world.attempt(other(&config), &scenario);
    assert_complete(&course);
    assert!(says(&course, ConsoleName::Target, "VMS2434"));
}

#[test]
fn a_source_without_its_record_does_not_begin() {
    let config = small();
    let mut world = started(&config);
    let scenario = Scenario { directory_gone: Some(SourcePhase::Checking), ..Scenario::default() };
    let course = world.attempt(other(&config), &scenario);
    assert_undone(&mut world, &course, Reason::Rejected);
    let line = "REJECTED BY SOURCE SU 'ABGSE501'. REASON: VMS2402";
    assert!(says(&course, ConsoleName::Source, line));
    second_attempt(&mut world, &config);
}

/// A link that is open and carries nothing keeps neither the guest stopped nor an attempt from
/// being undone: what the guest is owed does not wait for room on the link.
#[test]
fn a_link_that_stalls_does_not_keep_the_guest() {
    let config = small();
    let slow = Scenario { bytes_per_round: 8 << 10, ..Scenario::default() };
    let stopped = Scenario { stall: Some(SourcePhase::Suspended), ..slow.clone() };
    let cancelled =
        Scenario { stall: Some(SourcePhase::Precopy), cancel: Some(SourcePhase::Precopy), ..slow };
    for scenario in [stopped, cancelled] {
        let mut world = started(&config);
        let course = world.attempt(other(&config), &scenario);
        assert_eq!(course.source, SourcePhase::RolledBack, "{scenario:?}");
        assert_eq!(course.disposition, Disposition::RunsAtSource);
        assert_eq!(course.rounds_run_twice, 0);
        assert!(world.machine.is_running());
        second_attempt(&mut world, &config);
    }
}
