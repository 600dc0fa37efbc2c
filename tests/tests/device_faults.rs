//! Disks that go wrong before, during and after a move, under the guest's journal.
//!
//! Source of truth: ARCHITECTURE.md, "The handover": I/O that does not come to its end ends the
//! attempt before COMMIT. Invariant: whatever a disk does, every record is on it once and in order,
//! and the guest goes on. Deliberately not here: faults of monitors, links and directories.

use host_harness::{
    config::{Config, WorkloadName},
    console::Verified,
    machine::{Faulty, Misbehavior},
    sim::{Course, Scenario, World},
    workload::{Verdict, check},
};
use integration_tests::worlds::{other, running, started};
use monitor_core::{
    migrate::SourcePhase,
    units::{Micros, Mnemonic},
    vm::{Disposition, Reason},
};

/// Commands of each channel program of the journal.
const COMMANDS: u64 = 3;
/// Longer than it takes the guest to miss an interruption.
const MISSING: Micros = Micros::from_millis(16_000);
/// Equipment check.
const SENSE: [u8; 32] = {
    let mut sense = [0; 32];
    sense[0] = 0x10;
    sense
};

/// When a disk goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    During,
    After,
}

const ALWAYS: [When; 3] = [When::Before, When::During, When::After];

fn config() -> Config {
    let mut config = running(&[WorkloadName::Idle, WorkloadName::Journal]);
    config.limits.drain = Micros::from_millis(20);
    config
}

/// The disk that goes wrong: the first of the journal's.
fn disk(world: &World) -> &Faulty {
    let name = Mnemonic::new("FAA5").expect("a short name");
    world.cluster().faults_of(name).expect("the example has the disk")
}

/// Has a command of the next channel program that is begun go wrong.
fn inject(disk: &Faulty, command: u64, misbehavior: Misbehavior) {
    let next = disk.begun().div_ceil(COMMANDS) * COMMANDS;
    disk.inject(next + command, misbehavior);
}

fn judged(world: &World) -> Verdict {
    let cluster = world.cluster();
    let verdict = check(&world.machine, &cluster.plan, &cluster.journal_disks());
    assert!(verdict.is_clean(), "{:?}", verdict.faults);
    verdict
}

/// How many records the disk that goes wrong has.
fn records(world: &World) -> usize {
    world.cluster().journal_disks()[0].log().len()
}

/// A move during which, before or after which a command goes wrong.
fn moved(world: &mut World, config: &Config, when: When, fault: (u64, Misbehavior)) -> Course {
    let (command, misbehavior) = fault;
    if when == When::Before {
        inject(disk(world), command, misbehavior);
        world.run(100);
    }
    let cluster = std::sync::Arc::clone(world.cluster());
    let mut is_injected = when != When::During;
    let course = world.attempt_watched(other(config), &Scenario::default(), &mut |glimpse| {
        if glimpse.source == SourcePhase::Precopy && !is_injected {
            is_injected = true;
            let name = Mnemonic::new("FAA5").expect("a short name");
            let disk = cluster.faults_of(name).expect("the example has the disk");
            inject(disk, command, misbehavior);
        }
    });
    if when == When::After {
        inject(disk(world), command, misbehavior);
        world.run(400);
    }
    assert_eq!(disk(world).struck(), 1, "{when:?} {fault:?}");
    course
}

#[test]
fn faults_that_end_cost_the_move_nothing() {
    use Misbehavior::{Busy, Endless, LateDeviceEnd, UnitCheck};
    let config = config();
    for when in ALWAYS {
        for fault in [
            (1, UnitCheck(SENSE)),
            (3, UnitCheck(SENSE)),
            (1, Busy(8)),
            (2, Busy(8)),
            (3, LateDeviceEnd(Micros::from_millis(3))),
            // Nothing of the program was carried out: it begins anew, at the target if need be.
            (1, Endless),
        ] {
            let mut world = started(&config);
            let course = moved(&mut world, &config, when, fault);
            assert_eq!(course.disposition, Disposition::RunsAtTarget, "{when:?} {fault:?}");
            assert_eq!(course.verified, Some(Verified::ALL), "{when:?} {fault:?}");
            let is_check = matches!(fault.1, UnitCheck(_));
            assert_eq!(judged(&world).counts.io_faults > 0, is_check, "{when:?} {fault:?}");
            let before = records(&world);
            world.pass(if fault.1 == Endless { MISSING } else { Micros::new(0) });
            world.run(200);
            judged(&world);
            assert!(records(&world) > before, "{when:?} {fault:?}");
        }
    }
}

#[test]
fn drain_that_never_ends_leaves_the_guest_at_the_source_and_the_next_attempt_moves_it() {
    use Misbehavior::{Endless, LostDeviceEnd};
    let config = config();
    for when in [When::Before, When::During] {
        for fault in [(2, Endless), (3, Endless), (2, LostDeviceEnd), (3, LostDeviceEnd)] {
            let mut world = started(&config);
            let epoch = world.epoch;
            let course = moved(&mut world, &config, when, fault);
            assert_eq!(course.reason, Some(Reason::DeviceNotQuiet), "{when:?} {fault:?}");
            assert_eq!(course.source, SourcePhase::RolledBack, "{when:?} {fault:?}");
            assert_eq!((course.rounds_run_twice, world.epoch), (0, epoch));
            assert!(world.machine.is_running());
            assert_eq!(judged(&world).counts.io_missed, 0, "{when:?} {fault:?}");
            // The guest finds that an interruption is missing, and uses the disk again.
            let before = records(&world);
            world.pass(MISSING);
            world.run(200);
            assert_eq!(judged(&world).counts.io_missed, 1, "{when:?} {fault:?}");
            assert!(records(&world) > before, "{when:?} {fault:?}");
            let course = world.attempt(other(&config), &Scenario::default());
            assert_eq!(course.verified, Some(Verified::ALL), "{when:?} {fault:?}");
            judged(&world);
        }
    }
}

#[test]
fn interruption_that_is_lost_after_the_move_is_missed_at_the_target() {
    use Misbehavior::{Endless, LostDeviceEnd};
    let config = config();
    for fault in [(2, Endless), (3, Endless), (2, LostDeviceEnd), (3, LostDeviceEnd)] {
        let mut world = started(&config);
        let course = moved(&mut world, &config, When::After, fault);
        assert_eq!(course.verified, Some(Verified::ALL), "{fault:?}");
        let before = records(&world);
        world.pass(MISSING);
        world.run(200);
        assert_eq!(judged(&world).counts.io_missed, 1, "{fault:?}");
        assert!(records(&world) > before, "{fault:?}");
    }
}
