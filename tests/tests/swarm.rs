//! The swarm: worlds without a violation, the same twice, and checkers that have teeth.
//!
//! Source of truth: `sim::swarm`. Invariant: each flaw is planted in a port or a device, and the
//! checkers find it by what it does. Deliberately not here: long sweeps, which the step `sweep`
//! of `tests/run` makes.

use host_harness::sim::swarm::{
    Bench, Ending, FaultKind, Flaw, Order, Outcome, Profile, Tally, run,
};

fn worlds(profile: Profile, seeds: std::ops::Range<u64>) -> Vec<Outcome> {
    let mut bench = Bench::new();
    seeds.map(|seed| run(Order::new(seed, profile), &mut bench)).collect()
}

#[test]
fn worlds_of_every_profile_keep_every_rule() {
    for profile in Profile::ALL {
        for (seed, outcome) in worlds(profile, 0..40).iter().enumerate() {
            let violations = &outcome.violations;
            assert!(violations.is_empty(), "{profile:?}, seed {seed}: {violations:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_world_to_the_last_event() {
    for profile in Profile::ALL {
        let first = worlds(profile, 100..106);
        assert_eq!(first, worlds(profile, 100..106), "{profile:?}");
        assert!(first.windows(2).all(|pair| pair[0].hash != pair[1].hash));
        // Memory that other worlds have used makes no difference either.
        let fresh = run(Order::new(105, profile), &mut Bench::new());
        assert_eq!(first.last(), Some(&fresh), "{profile:?}");
    }
}

#[test]
fn a_trace_changes_nothing_and_names_phases_and_faults() {
    let mut lines = Vec::new();
    for seed in 0..8 {
        let order = Order::new(seed, Profile::All);
        let plain = run(order, &mut Bench::new());
        let traced = run(Order { is_traced: true, ..order }, &mut Bench::new());
        assert_eq!(plain.hash, traced.hash);
        assert!(plain.lines.is_empty());
        lines.extend(traced.lines);
    }
    for part in ["Checking", "strikes", "VMS2450"] {
        assert!(lines.iter().any(|line| line.contains(part)), "no {part}");
    }
}

#[test]
fn neighbors_of_some_guests_hear_of_them_and_journals_are_on_disks_of_each_sort() {
    let mut lines = Vec::new();
    for seed in 0..100 {
        let order = Order { is_traced: true, ..Order::new(seed, Profile::All) };
        lines.extend(run(order, &mut Bench::new()).lines);
    }
    for part in [
        " pings were answered",
        " messages were taken",
        " records on 3 disks",
        " records are in tracks",
    ] {
        let counts =
            lines.iter().filter_map(|line| line.strip_suffix(part)?.split(' ').next_back());
        let counts: Vec<u64> = counts.map(|count| count.parse().expect("a count")).collect();
        assert!(counts.len() > 5 && counts.iter().sum::<u64>() > 100, "{part}: {counts:?}");
    }
}

#[test]
fn worlds_without_faults_meet_none_and_most_of_their_moves_complete() {
    let mut tally = Tally::default();
    for outcome in worlds(Profile::Calm, 0..60) {
        tally.add(&outcome.tally);
    }
    let met = FaultKind::ALL.into_iter().map(|kind| tally.met_anywhere(kind)).sum::<u64>();
    assert_eq!(met, 0);
    let completed = tally.attempts(Ending::Completed);
    assert!(completed > 100, "{completed} of {} completed", tally.all_attempts());
    assert!(tally.all_attempts() >= 120, "a world has two moves");
}

/// Plants a flaw; one of the first worlds has to find it, by what it does.
fn assert_found(flaw: Flaw, profile: Profile, what: &str) {
    let mut bench = Bench::new();
    let mut found = Vec::new();
    for seed in 0..2000 {
        let order = Order { flaw: Some(flaw), ..Order::new(seed, profile) };
        found.extend(run(order, &mut bench).violations.into_iter().map(|it| it.what));
        if found.iter().any(|it| it.contains(what)) {
            return;
        }
    }
    panic!("{flaw:?} is not found: {found:?}");
}

#[test]
fn a_forgotten_mark_is_found() {
    assert_found(Flaw::ForgottenMark, Profile::Calm, "is not what it was at the source");
}

#[test]
fn a_forgotten_store_is_found() {
    assert_found(Flaw::ForgottenStore, Profile::Calm, "is not what it was at the source");
    assert_found(Flaw::ForgottenStore, Profile::Budget, "was forgotten");
}

#[test]
fn forgotten_keys_are_found() {
    assert_found(Flaw::ForgottenKeys, Profile::Calm, "the key of page");
}

#[test]
fn a_changed_key_that_is_not_sent_is_found() {
    assert_found(Flaw::ForgottenKey, Profile::Calm, "the key of page");
    assert_found(Flaw::ForgottenKey, Profile::Calm, "the state of page");
}

#[test]
fn forgotten_page_states_are_found() {
    assert_found(Flaw::ForgottenState, Profile::Calm, "the state of page");
}

/// Guests use keys and page states in some worlds, and other pages than stable ones are moved.
#[test]
fn keys_and_page_states_change_in_some_worlds() {
    let mut lines = Vec::new();
    for seed in 0..100 {
        let order = Order { is_traced: true, ..Order::new(seed, Profile::Calm) };
        lines.extend(run(order, &mut Bench::new()).lines);
    }
    for part in [" visits to keys", " visits to page states"] {
        let counts =
            lines.iter().filter_map(|line| line.strip_suffix(part)?.split(' ').next_back());
        let counts: Vec<u64> = counts.map(|count| count.parse().expect("a count")).collect();
        assert!(counts.len() > 10 && counts.iter().sum::<u64>() > 1_000, "{part}: {counts:?}");
    }
}

#[test]
fn a_device_that_goes_on_after_its_quiesce_is_found() {
    assert_found(Flaw::ForgottenQuiesce, Profile::Calm, "is not what it was at the source");
    assert_found(Flaw::ForgottenQuiesce, Profile::Calm, "is taken over with its I/O under way");
}

#[test]
fn io_at_the_source_behind_commit_is_found() {
    assert_found(Flaw::ForgottenHold, Profile::Hardware, "at the source behind COMMIT");
}

#[test]
fn a_device_that_stays_attached_where_it_was_is_found() {
    assert_found(Flaw::ForgottenDetach, Profile::Calm, "is still attached at the source");
}

#[test]
fn io_under_the_epoch_before_is_found() {
    assert_found(Flaw::StaleEpoch, Profile::Calm, "can be used on two SUs");
}

#[test]
fn a_device_that_can_be_used_on_two_sus_is_found() {
    assert_found(Flaw::EarlyAttach, Profile::Calm, "can be used on two SUs");
}

#[test]
fn a_directory_that_grants_twice_is_found() {
    assert_found(Flaw::DoubleGrant, Profile::Link, "runs");
}

#[test]
fn processors_that_run_on_are_found() {
    assert_found(Flaw::RunsOn, Profile::Calm, "the record is");
}

#[test]
fn more_processors_than_an_su_has_are_found() {
    assert_found(Flaw::ForgottenBlock, Profile::Calm, "and its SU has");
}

#[test]
fn a_guest_that_is_not_found_where_it_is_is_found() {
    assert_found(Flaw::WrongAdapter, Profile::Calm, "a neighbor does not hear of it");
}

#[test]
fn a_processor_that_is_lost_at_its_work_is_found() {
    assert_found(Flaw::ForgottenWord, Profile::Calm, "was lost at its work");
}
