//! A hundred moves back and forth of a guest that does everything at once.
//!
//! Source of truth: the judge of `host_harness::cluster` after each move, and the disks at the end.
//! Invariant: what is asserted holds over all moves and not only over one. Deliberately not here:
//! faults, which other tests bring about; figures, which are printed and not asserted.

use host_harness::{
    config::{Config, WorkloadName},
    console::Verified,
    machine::{DiskFormat, LoggedDisk},
    sim::{Scenario, World},
};
use integration_tests::worlds::{other, started, with};
use monitor_core::units::{Micros, PageCount};

/// Moves, there and back in turn.
const MOVES: u64 = 100;

/// Devices of the example.
const DEVICES: usize = 8;

/// Rounds between two moves: 10 ms.
const ROUNDS_BETWEEN: u64 = 200;

/// Records of the journal for which a disk in tracks has room.
const ROOM: u64 = 1800;

/// The virtual time of a round.
const ROUND: Micros = Micros::new(50);

/// A guest of 4 MiB with two processors that runs every workload.
fn full() -> Config {
    with(|config| {
        config.workload.run = vec![WorkloadName::Full];
        config.vm.memory = PageCount::new(1024);
        config.workload.hot_set_window = PageCount::new(128);
        config.workload.key_value_slots = 512;
        config.workload.attribute_pages = 128;
        // At most stops a request is under way on one of the disks.
        config.workload.journal_interval_us = 300;
    })
}

/// Least, median, nine in ten, ninety-nine in a hundred, greatest.
fn spread(mut times: Vec<Micros>) -> [u64; 5] {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    [0, 50, 90, 99, 100].map(|part| times.get(last * part / 100).map_or(0, |time| time.get()))
}

/// Each disk of the journal has every record once, in order; gives how many.
fn records(world: &World) -> Vec<u64> {
    let disks = world.cluster().journal_disks();
    let in_order = |disk: &&dyn LoggedDisk| {
        let mut count = 0;
        for write in disk.log() {
            count += 1;
            let number = write.head.first_chunk().map(|head| u64::from_be_bytes(*head));
            assert_eq!(number, Some(count), "a record was lost or doubled");
        }
        count
    };
    disks.iter().map(in_order).collect()
}

/// Moves the guest there and back, so many times, and prints what it has cost; gives the records
/// of each disk.
fn moved(config: &Config, moves: u64) -> Vec<u64> {
    let (home, away) = (config.vm.on, other(config));
    let mut world = started(config);
    let (mut blackouts, mut drains, mut before) = (Vec::new(), Vec::new(), records(&world));
    assert!(before.len() >= 3, "the journal is on all disks that move");
    for number in 1..=moves {
        let target = if number % 2 == 0 { home } else { away };
        let course = world.attempt(target, &Scenario::default());
        assert_eq!(course.verified, Some(Verified::ALL), "move {number}: {:?}", course.reason);
        assert_eq!((course.rounds_run_twice, world.at), (0, target), "move {number}");
        blackouts.extend(course.statistics.blackout);
        drains.extend(course.drains);
        world.run(ROUNDS_BETWEEN);
        let now = records(&world);
        let grew = now.iter().zip(&before).all(|(now, before)| now > before);
        assert!(grew, "move {number}: {before:?}, then {now:?}");
        before = now;
    }
    let network = world.network().expect("there are stations");
    assert_eq!((world.epoch.get(), network.doubled), (moves + 1, 0));
    // The monitor itself looks at a device one round after the stop.
    let waited = drains.iter().filter(|time| **time > ROUND).count();
    let busy = |times: &&[Micros]| times.iter().filter(|time| **time > ROUND).count() > 1;
    let several = drains.chunks(DEVICES).filter(busy).count();
    let (drain_count, sum) = (drains.len(), before.iter().sum::<u64>());
    println!("blackout {:?} us, LAN outage {} us", spread(blackouts), network.outage);
    println!("drain {:?} us; {waited} of {drain_count} devices not quiet at once", spread(drains));
    println!("{several} stops met several channel programs under way");
    println!("{sum} records; {} of {} pings lost", network.lost, network.sent);
    assert!(several as u64 > moves / 10, "{several} stops met several channel programs under way");
    before
}

#[test]
fn hundred_moves_under_load_lose_and_double_nothing() {
    moved(&full(), MOVES);
}

#[test]
fn journal_on_disks_in_tracks_moves_under_load() {
    let mut config = full();
    for device in config.vm.devices.iter_mut().filter(|device| device.takes_journal()) {
        device.format = Some(DiskFormat::Ckd);
    }
    let records = moved(&config, MOVES / 3);
    assert!(records.iter().all(|count| *count > ROOM), "no disk is full: {records:?}");
}
