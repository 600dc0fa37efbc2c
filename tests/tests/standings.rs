//! Whole moves between server units with different processors and facilities, in the simulator.
//!
//! Source of truth: VM2000 manual, CPU management at a live migration; ARCHITECTURE.md,
//! "Processors and facilities". Invariant: the judge compares both sides after each move, and the
//! guest says itself what it has. Deliberately not here: devices.

use host_harness::{
    config::{Config, Coordination, Domain, WorkloadName},
    console::{ConsoleName, Verified},
    sim::{Course, Cut, Scenario, World},
    workload::{Manner, has_left},
};
use integration_tests::worlds::{codes, name, other, says, started, with};
use monitor_core::{
    migrate::SourcePhase,
    units::ProcessorIndex,
    vm::{Activity, Disposition, Facility, Obstacle, ProcessorSet, Reason},
};

const FIRST: &str = "ABGSE501";
const SECOND: &str = "ABGSE701";

/// The example with four virtual processors; the target has this many real ones.
fn narrow(pool: u16) -> Config {
    with(|config| {
        config.vm.processor_count = 4;
        config.sus[1].processor_count = pool;
        config.workload.run =
            vec![WorkloadName::HotSet, WorkloadName::Journal, WorkloadName::Processors];
    })
}

fn blocked(world: &World) -> u64 {
    world.machine.processors().blocked().bits()
}

fn go(world: &mut World, target: &str) -> Course {
    world.attempt(name(target), &Scenario::default())
}

/// Every processor's count of what its task has done.
fn rounds(world: &World) -> Vec<u64> {
    let images = host_harness::cluster::Witness::of(&world.machine).processors;
    images.iter().map(|image| image.general[12]).collect()
}

#[track_caller]
fn assert_verified(course: &Course) {
    assert_eq!(course.source, SourcePhase::Released, "{:?}", course.reason);
    assert_eq!(course.verified, Some(Verified::ALL));
}

#[test]
fn surplus_processors_are_blocked_and_come_back_by_themselves() {
    let mut world = started(&narrow(2));
    let there = go(&mut world, SECOND);
    assert_verified(&there);
    assert_eq!(blocked(&world), 0b1100);
    let warning = "% VMS2472 PROCESSORS OF VM (12,VM12PROD) TO BE BLOCKED AT LIVE MIGRATION TO \
                   TARGET SU 'ABGSE701': 2";
    assert!(says(&there, ConsoleName::Source, warning), "{:?}", there.lines);
    let before = rounds(&world);
    world.run(2_000);
    let after = rounds(&world);
    for processor in 0..4 {
        assert_eq!(after[processor] > before[processor], processor < 2, "{processor}");
    }
    let back = go(&mut world, FIRST);
    assert_verified(&back);
    assert_eq!(blocked(&world), 0);
    assert!(!codes(&back, ConsoleName::Source).contains(&"VMS2472".to_owned()));
    world.run(2_000);
    let at_last = rounds(&world);
    assert!(at_last.iter().zip(&after).all(|(last, before)| last > before), "{at_last:?}");
}

#[test]
fn the_work_of_a_lost_processor_stands_still_and_goes_on_where_it_was() {
    let mut world = started(&narrow(1));
    assert_verified(&go(&mut world, SECOND));
    assert_eq!(blocked(&world), 0b1110);
    assert!((1..4).map(ProcessorIndex::new).all(|index| has_left(&world.machine, index)));
    assert_verified(&go(&mut world, FIRST));
    assert_eq!(blocked(&world), 0);
    world.run(2_000);
    assert!(!(1..4).map(ProcessorIndex::new).any(|index| has_left(&world.machine, index)));
    assert_verified(&go(&mut world, SECOND));
}

#[test]
fn an_su_with_more_processors_changes_nothing() {
    let mut world = started(&narrow(64));
    assert_verified(&go(&mut world, SECOND));
    assert_eq!(blocked(&world), 0);
    assert_eq!(world.machine.processors().attached().count(), 4);
}

#[test]
fn a_processor_that_the_guest_detached_stays_detached_wherever_it_goes() {
    let mut config = narrow(2);
    config.vm.detached_processors = ProcessorSet::of(ProcessorIndex::new(2));
    let mut world = started(&config);
    assert_verified(&go(&mut world, SECOND));
    let there = world.machine.processors();
    assert_eq!((there.detached().bits(), there.blocked().bits()), (0b0100, 0b1000));
    assert_verified(&go(&mut world, FIRST));
    let back = world.machine.processors();
    assert_eq!((back.detached().bits(), back.blocked().bits()), (0b0100, 0));
}

#[test]
fn a_failed_attempt_leaves_every_processor_at_its_work() {
    for phase in [SourcePhase::Precopy, SourcePhase::Suspended] {
        let mut world = started(&narrow(1));
        let cut = Some(Cut::InSourcePhase(phase));
        let course = world.attempt(name(SECOND), &Scenario { cut, ..Scenario::default() });
        assert_eq!(course.source, SourcePhase::RolledBack, "{phase:?}");
        assert_eq!(blocked(&world), 0);
        let before = rounds(&world);
        world.run(2_000);
        let after = rounds(&world);
        assert!(after.iter().zip(&before).all(|(after, before)| after > before), "{after:?}");
        assert_verified(&go(&mut world, SECOND));
    }
}

#[test]
fn a_guest_that_does_not_consent_loses_no_processor() {
    for (manner, reason) in
        [(Manner::Refuse, Reason::GuestRefused), (Manner::Silent, Reason::GuestSilent)]
    {
        let mut config = narrow(1);
        config.workload.manner = manner;
        config.limits.guest_answer = monitor_core::units::Micros::from_millis(20);
        config.limits.coordination = Coordination::IfPossible;
        let course = go(&mut started(&config), SECOND);
        assert_eq!(course.reason, Some(reason), "{manner:?}");
        assert_eq!(course.disposition, Disposition::RunsAtSource);
        // Where it loses none it is moved all the same.
        config.sus[1].processor_count = 4;
        assert_eq!(go(&mut started(&config), SECOND).source, SourcePhase::Released);
    }
}

#[test]
fn a_guest_in_hold_cannot_leave_a_processor() {
    let mut config = narrow(1);
    config.vm.state = Activity::InHold;
    let course = go(&mut started(&config), SECOND);
    assert_eq!(course.reason, Some(Reason::GuestSilent));
    config.vm.state = Activity::Down;
    assert_eq!(go(&mut started(&config), SECOND).source, SourcePhase::Released);
}

#[test]
fn an_su_without_any_processor_is_an_obstacle() {
    let course = go(&mut started(&narrow(0)), SECOND);
    let found: Vec<_> = course.findings.listed().iter().map(|it| it.obstacle).collect();
    assert_eq!(found, [Obstacle::NoProcessor]);
}

/// The example, whose target lacks two facilities.
fn lacking() -> Config {
    with(|config| {
        let target = &mut config.sus[1];
        target.facilities =
            target.facilities.without(Facility::GUARDED_STORAGE).without(Facility::ETOKEN);
    })
}

#[test]
fn a_target_that_lacks_facilities_is_refused_by_their_numbers_before_anything_is_done() {
    let config = lacking();
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.reason, Some(Reason::Rejected));
    for number in [133, 156] {
        let line = format!("REJECTED BY TARGET SU 'ABGSE701'. REASON: VMS2410,{number}");
        assert!(says(&course, ConsoleName::Source, &line), "{:?}", course.lines);
    }
    assert_eq!(course.findings.listed().len(), 2);
    assert_eq!(codes(&course, ConsoleName::Target), Vec::<String>::new());
    let guest = course.lines.iter().filter(|line| line.console == ConsoleName::Guest);
    assert_eq!(guest.count(), 0);
}

/// A guest may use page states at any time, and so in the last pass, behind the stop.
#[test]
fn a_target_without_page_states_is_refused_for_a_guest_that_may_use_them_and_for_no_other() {
    for (name, is_refused) in [(WorkloadName::PageStates, true), (WorkloadName::HotSet, false)] {
        let config = with(|config| {
            let target = &mut config.sus[1];
            target.facilities = target.facilities.without(Facility::PAGE_STATES);
            config.workload.run = vec![name];
        });
        let mut world = started(&config);
        let course = world.attempt(other(&config), &Scenario::default());
        if is_refused {
            assert_eq!(course.reason, Some(Reason::Rejected));
            let line = "REJECTED BY TARGET SU 'ABGSE701'. REASON: VMS2410,255";
            assert!(says(&course, ConsoleName::Source, line), "{:?}", course.lines);
            assert_eq!(codes(&course, ConsoleName::Target), Vec::<String>::new());
            assert_eq!(course.statistics.passes.len(), 0, "something was copied");
        } else {
            assert_verified(&course);
        }
    }
}

#[test]
fn a_vm_that_is_started_in_a_domain_moves_to_each_su_and_keeps_what_it_was_given() {
    let mut config = lacking();
    config.cluster.facilities = Some(Domain::Common);
    let mut world = started(&config);
    let given = world.machine.facilities();
    let cpu_id = world.machine.cpu_id();
    assert!(!given.has(Facility::ETOKEN) && given.has(Facility::VECTOR));
    for target in [SECOND, FIRST, SECOND] {
        assert_verified(&go(&mut world, target));
        assert_eq!((world.machine.facilities(), world.machine.cpu_id()), (given, cpu_id));
    }
}
