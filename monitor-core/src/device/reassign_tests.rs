//! Tests of the reassignment machine: both sides' courses, failures, and every order of events.
//!
//! Source of truth: the invariants at the head of `reassign.rs`. Deliberately not here: moves of a
//! single lease, which are tested where they are defined.

use super::*;
use crate::device::{DeviceKind, LeaseState};
use std::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

const OWN: Epoch = Epoch::new(4);
const NEXT: Epoch = Epoch::new(5);
const ASSIGN: Plan = Plan::Assign(Conducts::all());
const QUIESCE: Plan = Plan::Quiesce(Conducts::all());

const fn attach(epoch: Epoch) -> Plan {
    Plan::Attach { conducts: Conducts::all(), epoch }
}

fn of_kind(kind: DeviceKind) -> DeviceDescriptor {
    DeviceDescriptor { kind, ..DeviceDescriptor::VACANT }
}

/// A console, a tape, and an alias, each as `entry` makes it.
fn mixed(entry: impl Fn(DeviceDescriptor) -> DeviceEntry) -> Vec<DeviceEntry> {
    let kinds = [DeviceKind::Console, DeviceKind::Tape, DeviceKind::PavAlias];
    kinds.into_iter().map(|kind| entry(of_kind(kind))).collect()
}

fn free(count: usize) -> Vec<DeviceEntry> {
    (0..count).map(|_| DeviceEntry::vacant()).collect()
}

fn attached(count: usize) -> Vec<DeviceEntry> {
    (0..count).map(|_| DeviceEntry::attached(DeviceDescriptor::VACANT, OWN)).collect()
}

fn slot(number: u16) -> DeviceSlot {
    DeviceSlot::new(number)
}

fn states(entries: &[DeviceEntry]) -> Vec<LeaseState> {
    entries.iter().map(|entry| entry.lease.state()).collect()
}

/// Begins a plan and lets every operation succeed; gives the operations in their order.
fn complete(plan: Plan, entries: &mut [DeviceEntry]) -> Vec<Operation> {
    let mut machine = Reassignment::default();
    let mut progress = machine.begin(plan, entries).unwrap();
    let mut operations = Vec::new();
    while let Some(operation) = machine.poll_operation(entries) {
        assert_eq!(progress, Progress::UnderWay);
        progress = machine.handle_done(operation, entries).unwrap();
        operations.push(operation);
    }
    assert_eq!(progress, Progress::Finished);
    assert!(machine.is_idle());
    operations
}

#[test]
fn target_assigns_then_attaches_under_the_new_epoch() {
    let mut entries = free(2);
    let assigned = complete(ASSIGN, &mut entries);
    assert_eq!(assigned, [Operation::AssignDevice(slot(0)), Operation::AssignDevice(slot(1))]);
    assert!(entries.iter().all(|entry| !entry.lease.is_usable()));
    let attached = complete(attach(NEXT), &mut entries);
    assert_eq!(attached, [Operation::AttachDevice(slot(0)), Operation::AttachDevice(slot(1))]);
    assert!(entries.iter().all(|entry| entry.lease.is_usable()));
    assert!(entries.iter().all(|entry| entry.lease.generation() == NEXT));
}

#[test]
fn source_quiesces_then_removes() {
    let mut entries = attached(2);
    let quiesced = complete(QUIESCE, &mut entries);
    assert_eq!(quiesced, [Operation::QuiesceDevice(slot(0)), Operation::QuiesceDevice(slot(1))]);
    assert_eq!(states(&entries), [LeaseState::Quiesced; 2]);
    let removed = complete(Plan::Remove, &mut entries);
    assert_eq!(removed, [Operation::RemoveDevice(slot(0)), Operation::RemoveDevice(slot(1))]);
    assert_eq!(states(&entries), [LeaseState::Free; 2]);
}

#[test]
fn source_gives_back_under_its_own_epoch_and_passes_over_attached_devices() {
    let mut entries = attached(3);
    entries[1].lease.start_quiesce().unwrap();
    entries[1].lease.finish(LeaseMove::Quiesce).unwrap();
    let operations = complete(attach(OWN), &mut entries);
    assert_eq!(operations, [Operation::AttachDevice(slot(1))]);
    assert!(entries.iter().all(|entry| entry.lease == Lease::attached(OWN)));
}

#[test]
fn source_detaches_what_does_not_go_with_the_guest_and_gives_back_all_of_it() {
    let mut entries = mixed(|descriptor| DeviceEntry::attached(descriptor, OWN));
    let quiesced = complete(Plan::Quiesce(Conducts::STAY), &mut entries);
    assert_eq!(quiesced, [Operation::QuiesceDevice(slot(1)), Operation::QuiesceDevice(slot(2))]);
    let detached = complete(Plan::Detach, &mut entries);
    assert_eq!(detached, [Operation::DetachDevice(slot(1)), Operation::DetachDevice(slot(2))]);
    let expected = [LeaseState::Attached, LeaseState::Assigned, LeaseState::Assigned];
    assert_eq!(states(&entries), expected);
    complete(Plan::Quiesce(Conducts::MOVE), &mut entries);
    let moving = Plan::Attach { conducts: Conducts::MOVE, epoch: OWN };
    assert_eq!(complete(moving, &mut entries), [Operation::AttachDevice(slot(0))]);
    let staying = Plan::Attach { conducts: Conducts::STAY, epoch: OWN };
    let again = [Operation::AttachDevice(slot(1)), Operation::AttachDevice(slot(2))];
    assert_eq!(complete(staying, &mut entries), again);
    assert!(entries.iter().all(|entry| entry.lease == Lease::attached(OWN)));
}

#[test]
fn target_assigns_an_alias_by_itself() {
    let mut entries = mixed(DeviceEntry::free);
    let assigned = complete(Plan::Assign(Conducts::ASSIGNED), &mut entries);
    assert_eq!(assigned, [Operation::AssignDevice(slot(0)), Operation::AssignDevice(slot(1))]);
    let moving = Plan::Attach { conducts: Conducts::MOVE, epoch: NEXT };
    assert_eq!(complete(moving, &mut entries), [Operation::AttachDevice(slot(0))]);
    let alias = complete(Plan::Assign(Conducts::ALIAS), &mut entries);
    assert_eq!(alias, [Operation::AssignDevice(slot(2))]);
}

#[test]
fn detached_device_stays_so_on_both_ends_and_behind_a_restart() {
    let detached = |kind| DeviceDescriptor { is_detached: true, ..of_kind(kind) };
    for kind in [DeviceKind::Disk, DeviceKind::Tape] {
        for entry in [
            DeviceEntry::attached(detached(kind), OWN),
            DeviceEntry::quiesced(detached(kind), OWN),
            DeviceEntry::assigned(detached(kind)),
        ] {
            let mut entries = [entry];
            for plan in [QUIESCE, Plan::Detach, attach(NEXT)] {
                assert!(complete(plan, &mut entries).is_empty(), "{plan:?} of {kind:?}");
            }
            assert_eq!(complete(Plan::Remove, &mut entries), [Operation::RemoveDevice(slot(0))]);
        }
    }
}

#[test]
fn restarted_target_assigns_aliases_anew() {
    let restarted = mixed(DeviceEntry::assigned);
    let expected = [LeaseState::Assigned, LeaseState::Assigned, LeaseState::Free];
    assert_eq!(states(&restarted), expected);
}

#[test]
fn plan_with_nothing_to_do_is_finished_at_once() {
    let mut machine = Reassignment::default();
    assert_eq!(machine.begin(ASSIGN, &[]), Ok(Progress::Finished));
    let mut entries = attached(2);
    let plan = attach(OWN);
    assert_eq!(machine.begin(plan, &entries), Ok(Progress::Finished));
    assert_eq!(machine.poll_operation(&mut entries), None);
    assert!(machine.is_idle());
}

#[test]
fn operations_under_way_are_bounded() {
    let mut entries = free(40);
    let mut machine = Reassignment::default();
    assert_eq!(machine.begin(ASSIGN, &entries), Ok(Progress::UnderWay));
    let first: Vec<_> = core::iter::from_fn(|| machine.poll_operation(&mut entries)).collect();
    assert_eq!(first.len(), usize::from(CONCURRENT_MAX));
    assert_eq!(machine.handle_done(first[3], &mut entries), Ok(Progress::UnderWay));
    let next = Some(Operation::AssignDevice(slot(CONCURRENT_MAX)));
    assert_eq!(machine.poll_operation(&mut entries), next);
    assert_eq!(machine.poll_operation(&mut entries), None);
}

#[test]
fn assign_and_quiesce_stop_at_a_failure_and_end_when_the_others_have_ended() {
    for (plan, mut entries) in [(ASSIGN, free(40)), (QUIESCE, attached(40))] {
        let before = entries[1].lease.state();
        let mut machine = Reassignment::default();
        assert_eq!(machine.begin(plan, &entries), Ok(Progress::UnderWay));
        let operations: Vec<_> =
            core::iter::from_fn(|| machine.poll_operation(&mut entries)).collect();
        let failed = machine.handle_failed(operations[1], &mut entries);
        assert_eq!(failed, Ok(Progress::UnderWay));
        assert_eq!(entries[1].lease.state(), before);
        assert_eq!(machine.poll_operation(&mut entries), None);
        let mut last = Ok(Progress::UnderWay);
        for operation in operations.iter().filter(|operation| **operation != operations[1]) {
            assert_eq!(last, Ok(Progress::UnderWay));
            last = machine.handle_done(*operation, &mut entries);
        }
        assert_eq!(last, Ok(Progress::Failed(slot(1))));
        assert!(machine.is_idle());
        assert_eq!(entries[16].lease.state(), before);
    }
}

#[test]
fn attach_and_remove_go_on_after_a_failure_and_can_be_tried_again() {
    for plan in [attach(NEXT), Plan::Remove] {
        let mut entries = free(3);
        complete(ASSIGN, &mut entries);
        let mut machine = Reassignment::default();
        assert_eq!(machine.begin(plan, &entries), Ok(Progress::UnderWay));
        let first = machine.poll_operation(&mut entries).unwrap();
        assert_eq!(machine.handle_failed(first, &mut entries), Ok(Progress::UnderWay));
        assert_eq!(entries[0].lease.state(), LeaseState::Assigned);
        let mut progress = Ok(Progress::UnderWay);
        while let Some(operation) = machine.poll_operation(&mut entries) {
            progress = machine.handle_done(operation, &mut entries);
        }
        assert_eq!(progress, Ok(Progress::Failed(slot(0))));
        assert_eq!(complete(plan, &mut entries), [first]);
    }
}

#[test]
fn plan_names_the_first_device_that_failed() {
    let mut entries = free(3);
    complete(ASSIGN, &mut entries);
    let mut machine = Reassignment::default();
    assert_eq!(machine.begin(Plan::Remove, &entries), Ok(Progress::UnderWay));
    let operations: Vec<_> = core::iter::from_fn(|| machine.poll_operation(&mut entries)).collect();
    for number in [1, 2] {
        let progress = machine.handle_failed(operations[number], &mut entries);
        assert_eq!(progress, Ok(Progress::UnderWay));
    }
    let progress = machine.handle_done(operations[0], &mut entries);
    assert_eq!(progress, Ok(Progress::Failed(slot(1))));
}

#[test]
fn ends_that_nobody_waits_for_are_refused_and_change_nothing() {
    let mut entries = free(1);
    let mut machine = Reassignment::default();
    assert_eq!(machine.begin(ASSIGN, &entries), Ok(Progress::UnderWay));
    let started = machine.poll_operation(&mut entries).unwrap();
    let (machine_before, states_before) = (machine.clone(), states(&entries));
    for operation in [
        Operation::AttachDevice(slot(0)),
        Operation::QuiesceDevice(slot(0)),
        Operation::RemoveDevice(slot(0)),
        Operation::AssignDevice(slot(1)),
        Operation::StopProcessors,
    ] {
        let unexpected = Err(ReassignError::Unexpected(operation));
        assert_eq!(machine.handle_done(operation, &mut entries), unexpected);
        assert_eq!(machine.handle_failed(operation, &mut entries), unexpected);
    }
    assert_eq!((&machine, states(&entries)), (&machine_before, states_before));
    assert_eq!(machine.handle_done(started, &mut entries), Ok(Progress::Finished));
    let twice = machine.handle_done(started, &mut entries);
    assert_eq!(twice, Err(ReassignError::Unexpected(started)));
}

#[test]
fn begin_refuses_a_second_plan_too_many_devices_and_an_old_epoch() {
    let mut machine = Reassignment::default();
    let mut entries = attached(1);
    assert_eq!(machine.begin(QUIESCE, &entries), Ok(Progress::UnderWay));
    assert_eq!(machine.begin(Plan::Remove, &entries), Err(ReassignError::Busy));
    complete(QUIESCE, &mut entries);
    let mut machine = Reassignment::default();
    let stale = machine.begin(attach(Epoch::new(3)), &entries);
    assert_eq!(stale, Err(ReassignError::StaleEpoch(slot(0))));
    let many = free(usize::from(DEVICES_MAX) + 1);
    assert_eq!(machine.begin(ASSIGN, &many), Err(ReassignError::TooManyDevices));
    assert!(machine.is_idle());
}

#[test]
fn as_many_devices_as_there_may_be_are_taken() {
    let most = free(usize::from(DEVICES_MAX));
    assert_eq!(Reassignment::default().begin(ASSIGN, &most), Ok(Progress::UnderWay));
}

#[test]
fn plan_is_known_while_it_is_under_way() {
    let mut machine = Reassignment::default();
    assert_eq!(machine.plan(), None);
    assert_eq!(machine.begin(Plan::Remove, &attached(1)), Ok(Progress::UnderWay));
    assert_eq!(machine.plan(), Some(Plan::Remove));
}

#[test]
fn errors_say_what_is_wrong() {
    let unexpected = ReassignError::Unexpected(Operation::AssignDevice(slot(2)));
    for (error, text) in [
        (ReassignError::Busy, "another plan"),
        (ReassignError::TooManyDevices, "too many"),
        (ReassignError::StaleEpoch(slot(7)), "slot 7"),
        (unexpected, "AssignDevice"),
    ] {
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn abandoned_plan_starts_nothing_more_and_ends_with_what_is_under_way() {
    let mut entries = free(2);
    let mut machine = Reassignment::default();
    assert_eq!(machine.begin(ASSIGN, &entries), Ok(Progress::UnderWay));
    let operation = machine.poll_operation(&mut entries).unwrap();
    assert_eq!(machine.abandon(), Progress::UnderWay);
    assert_eq!(machine.poll_operation(&mut entries), None);
    assert_eq!(machine.handle_done(operation, &mut entries), Ok(Progress::Finished));
    assert_eq!(states(&entries), [LeaseState::Assigned, LeaseState::Free]);
    assert_eq!(machine.abandon(), Progress::Finished);
    assert_eq!(complete(Plan::Remove, &mut entries), [Operation::RemoveDevice(slot(0))]);
}

#[test]
fn give_back_overtakes_a_device_that_does_not_become_quiet() {
    let mut entries = attached(2);
    let mut machine = Reassignment::default();
    assert_eq!(machine.begin(QUIESCE, &entries), Ok(Progress::UnderWay));
    let stuck = machine.poll_operation(&mut entries).unwrap();
    let give_back = attach(OWN);
    assert_eq!(machine.begin(give_back, &entries), Ok(Progress::UnderWay));
    let attach = machine.poll_operation(&mut entries).unwrap();
    assert_eq!(attach, Operation::AttachDevice(slot(0)));
    assert_eq!(machine.handle_done(attach, &mut entries), Ok(Progress::Finished));
    assert!(entries.iter().all(|entry| entry.lease.is_usable()));
    assert_eq!(machine.begin(QUIESCE, &entries), Err(ReassignError::Busy));
    assert_eq!(machine.handle_done(stuck, &mut entries), Ok(Progress::UnderWay));
    assert!(entries[0].lease.is_usable());
    assert_eq!(machine.begin(QUIESCE, &entries), Ok(Progress::UnderWay));
}

/// A machine with its devices and the operations that the ports have under way.
struct World {
    machine: Reassignment,
    entries: Vec<DeviceEntry>,
    under_way: Vec<Operation>,
}

impl World {
    fn copy(&self) -> Self {
        let entries = self.entries.iter();
        let copied = entries.map(|entry| DeviceEntry {
            descriptor: entry.descriptor,
            lease: entry.lease.duplicate(),
        });
        Self {
            machine: self.machine.clone(),
            entries: copied.collect(),
            under_way: self.under_way.clone(),
        }
    }

    fn name(&self) -> String {
        let leases: Vec<_> = self.entries.iter().map(|entry| &entry.lease).collect();
        format!("{:?} {leases:?} {:?}", self.machine, self.under_way)
    }

    /// Holds what was reported of a plan against the leases.
    fn note(&self, before: &Reassignment, plan: Plan, progress: Progress) {
        if progress == Progress::UnderWay {
            return;
        }
        assert!(self.machine.is_idle());
        let lease_move = plan.lease_move();
        let left = self
            .entries
            .iter()
            .any(|entry| plan.admits(entry) || entry.lease.is_under_way(lease_move));
        let all_done = progress == Progress::Finished && !before.abandoned;
        assert!(!(all_done && left), "finished too early: {}", self.name());
    }

    /// Every world that one event leads to.
    fn successors(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        for plan in [ASSIGN, QUIESCE, Plan::Detach, attach(OWN), Plan::Remove] {
            let mut world = self.copy();
            match world.machine.begin(plan, &world.entries) {
                Ok(progress) => world.note(&self.machine, plan, progress),
                Err(error) => assert_eq!(error, ReassignError::Busy),
            }
            worlds.push(world);
        }
        let mut polled = self.copy();
        if let Some(operation) = polled.machine.poll_operation(&mut polled.entries) {
            assert!(!polled.under_way.contains(&operation), "started twice: {}", self.name());
            polled.under_way.push(operation);
            polled.under_way.sort_by_key(|operation| format!("{operation:?}"));
        } else {
            let hangs = self.under_way.is_empty() && !self.machine.is_idle();
            assert!(!hangs, "nothing can happen any more: {}", self.name());
        }
        worlds.push(polled);
        let mut abandoned = self.copy();
        let progress = abandoned.machine.abandon();
        assert_eq!(progress != Progress::UnderWay, abandoned.machine.is_idle());
        worlds.push(abandoned);
        for index in 0..self.under_way.len() {
            for success in [true, false] {
                let mut world = self.copy();
                let operation = world.under_way.remove(index);
                let outcome = world.machine.handle_end(operation, &mut world.entries, success);
                let progress = outcome.unwrap_or_else(|error| panic!("{error}: {}", self.name()));
                assert!(self.machine.plan.is_some() || progress == Progress::UnderWay);
                if let Some(plan) = self.machine.plan {
                    world.note(&self.machine, plan, progress);
                }
                worlds.push(world);
            }
        }
        worlds
    }

    /// A lease is in a transitional state exactly while the operation that ends it is under way.
    fn check(&self) {
        for (number, entry) in (0..).zip(&self.entries) {
            let runs = |operation| self.under_way.contains(&operation);
            let (slot, lease) = (slot(number), &entry.lease);
            let is = |state| lease.state() == state;
            assert_eq!(runs(Operation::AssignDevice(slot)), is(LeaseState::Assigning));
            assert_eq!(runs(Operation::AttachDevice(slot)), is(LeaseState::Attaching));
            assert_eq!(runs(Operation::DetachDevice(slot)), is(LeaseState::Detaching));
            assert_eq!(runs(Operation::RemoveDevice(slot)), is(LeaseState::Removing));
            let quiesces = is(LeaseState::Quiescing) != lease.owes_quiesce();
            assert_eq!(runs(Operation::QuiesceDevice(slot)), quiesces, "{}", self.name());
        }
    }
}

#[test]
fn every_order_of_events_keeps_leases_and_operations_together() {
    let tapes = || {
        let mut entries = mixed(|descriptor| DeviceEntry::attached(descriptor, OWN));
        entries.truncate(2);
        entries
    };
    for entries in [free(3), attached(3), tapes()] {
        let first = World { machine: Reassignment::default(), entries, under_way: vec![] };
        let mut seen = BTreeSet::from([first.name()]);
        let mut open = vec![first];
        while let Some(world) = open.pop() {
            world.check();
            open.extend(world.successors().into_iter().filter(|next| seen.insert(next.name())));
        }
        assert!(seen.len() > 900, "only {} worlds were seen", seen.len());
    }
}
