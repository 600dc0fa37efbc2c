//! Whole moves of a guest that stations on its LAN lines ping: the outage that they see.
//!
//! Source of truth: ARCHITECTURE.md ("The emulated machine"). Invariant: what is asserted is what
//! the stations have seen, who are no part of the guest or of a monitor. Deliberately not here:
//! the switch, the adapters and the guest's answers, which have tests of their own.

use host_harness::{
    config::{Config, WorkloadName},
    console::Verified,
    sim::{Cut, Scenario, World},
    workload::Sight,
};
use integration_tests::worlds::{other, running, started};
use monitor_core::{migrate::SourcePhase, units::Micros, vm::Disposition};

const WORKLOADS: [WorkloadName; 3] =
    [WorkloadName::HotSet, WorkloadName::Journal, WorkloadName::Network];

/// Rounds of a world, of which 20 are as long as it takes from one ping to the next.
const ROUNDS: u64 = 1000;

fn sight(world: &World) -> Sight {
    world.network().expect("there are stations")
}

/// A world in which every ping has been answered so far.
fn pinged(config: &Config) -> World {
    let world = started(config);
    let sight = sight(&world);
    assert!(sight.answered > 40 && sight.lost == 0 && sight.doubled == 0, "{sight:?}");
    world
}

/// Every ping of a while is answered, by the guest where it is now.
fn assert_answered(world: &mut World) {
    let before = sight(world);
    world.run(ROUNDS);
    let after = sight(world);
    let (sent, answered) = (after.sent - before.sent, after.answered - before.answered);
    // On each of the four lines one ping may be on its way.
    assert!(sent >= 190 && answered + 4 >= sent, "{before:?} {after:?}");
    assert_eq!((after.lost - before.lost, after.doubled), (0, 0), "{after:?}");
}

#[test]
fn stations_reach_the_moved_guest_at_the_target_and_get_no_answer_twice() {
    let config = running(&WORKLOADS);
    let mut world = pinged(&config);
    let home = world.at;
    for target in [other(&config), home, other(&config)] {
        let course = world.attempt(target, &Scenario::default());
        assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
        assert_answered(&mut world);
    }
    let sight = sight(&world);
    // The outage has the blackout in it, and ends soon after it.
    let blackout = Micros::new(50);
    assert!((blackout..Micros::from_millis(50)).contains(&sight.outage), "{sight:?}");
    assert!(sight.lost < sight.answered / 10, "{sight:?}");
}

#[test]
fn attempt_that_fails_late_leaves_the_stations_with_the_guest_where_it_is() {
    let config = running(&WORKLOADS);
    let mut world = pinged(&config);
    for phase in [SourcePhase::Precopy, SourcePhase::Suspended] {
        let scenario = Scenario { cut: Some(Cut::InSourcePhase(phase)), ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_eq!(course.disposition, Disposition::RunsAtSource, "{phase:?}");
        assert_answered(&mut world);
    }
    // Nothing was lost: what came while the guest stood still waited in its adapters.
    assert_eq!(sight(&world).lost, 0);
}

#[test]
fn same_world_sees_the_same_outage() {
    let seen = || {
        let config = running(&WORKLOADS);
        let mut world = pinged(&config);
        world.attempt(other(&config), &Scenario::default());
        sight(&world)
    };
    assert_eq!(seen(), seen());
}
