//! Several live moves in turn of a guest that does everything at once, with real threads and
//! sockets.
//!
//! Source of truth: the report of each move, and the image files of the journal's disks, which
//! somebody else than the judge reads here. Invariant: what is asserted holds whatever else this
//! machine does at the time. Deliberately not here: moves in virtual time, of which `many_moves`
//! makes a hundred; faults.

use std::{fs, path::PathBuf};

use host_harness::{
    config::{Config, Request, VmSelector, WorkloadName},
    console::{ConsoleLine, ConsoleName, Observer, Outcome, Progress, Report, Verified},
    live,
    workload::JOURNAL_BLOCKS,
};
use integration_tests::worlds::{other, with};
use monitor_core::units::{Micros, PageCount};

/// Moves: there, back, and there again.
const MOVES: u32 = 3;

/// Bytes of the place of a record on a disk in blocks.
const RECORD_BYTES: usize = 4096;

/// The last record of each disk at the end of each move.
struct Listener {
    images: Vec<PathBuf>,
    records: Vec<Vec<u64>>,
}

impl Observer for Listener {
    fn line(&mut self, line: &ConsoleLine) {
        let is_end = line.text.contains("VMS2451") && line.text.contains("COMPLETED");
        if line.console == ConsoleName::Source && is_end {
            self.records.push(self.images.iter().map(|image| last(&places(image))).collect());
        }
    }

    fn progress(&mut self, _progress: &Progress) {}
}

/// The numbers of the records of a disk, by their places.
fn places(image: &PathBuf) -> Vec<u64> {
    let disk = fs::read(image).expect("the image is there");
    let (places, rest) = disk.as_chunks::<RECORD_BYTES>();
    assert!(rest.is_empty() && places.len() == JOURNAL_BLOCKS as usize / 8);
    let number = |place: &[u8; RECORD_BYTES]| u64::from_be_bytes(*place.first_chunk().unwrap());
    places.iter().map(number).collect()
}

fn last(places: &[u64]) -> u64 {
    places.iter().copied().max().unwrap_or(0)
}

/// The guest of 16 MiB that runs every workload, with its disks in files.
fn full(folder: &tempfile::TempDir) -> (Config, Vec<PathBuf>) {
    let mut images = Vec::new();
    let config = with(|config| {
        config.workload.run = vec![WorkloadName::Full];
        config.vm.memory = PageCount::new(4096);
        config.workload.hot_set_window = PageCount::new(512);
        config.trial.moves = MOVES.try_into().ok();
        // Nothing but a fault of the move ends it, whatever else this machine does.
        config.limits.reconnect = Micros::from_millis(5_000);
        config.limits.peer_answer = Micros::from_millis(4_000);
        config.limits.blackout_budget = Micros::from_millis(3_000);
        for device in config.vm.devices.iter_mut().filter(|device| device.takes_journal()) {
            let image = folder.path().join(device.mnemonic.as_str());
            device.image = Some(image.clone());
            images.push(image);
        }
    });
    (config, images)
}

/// What each move has to report, whatever came before.
fn assert_good(number: usize, report: &Report) {
    let Report { outcome, verified, runs_on, ran_twice, .. } = report;
    let ended = (*outcome, *verified, *ran_twice, &runs_on[..]);
    let expected = (Outcome::Completed, Some(Verified::ALL), false, &[report.target][..]);
    assert_eq!(ended, expected, "move {number}: {:?}", report.reason);
    assert!(report.blackout_us.is_some_and(|time| time > 0), "move {number}");
    assert!(report.saved_bytes > 0, "move {number}: no page without content was spared");
}

#[test]
fn several_live_moves_of_a_guest_that_does_everything_lose_and_double_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, images) = full(&folder);
    let (home, away) = (config.vm.on, other(&config));
    let request = Request { vm: VmSelector::Index(config.vm.index), target: away };
    let mut listener = Listener { images, records: Vec::new() };
    let reports = live::migrate_repeatedly(&config, &request, &mut listener).expect("a move");
    assert_eq!(reports.len(), MOVES as usize, "{:?}", reports.last().map(|it| it.reason));
    let mut answered = 0;
    for (number, report) in reports.iter().enumerate() {
        assert_good(number, report);
        let way = if number % 2 == 0 { (home, away) } else { (away, home) };
        assert_eq!((report.source, report.target), way, "move {number}");
        let network = report.network.expect("there are stations");
        assert!(network.doubled == 0 && network.answered > answered, "move {number}: {network:?}");
        answered = network.answered;
    }
    let Listener { images, mut records } = listener;
    assert!(images.len() >= 3, "the journal is on all disks that move");
    let found: Vec<_> = images.iter().map(places).collect();
    records.push(found.iter().map(|places| last(places)).collect());
    assert_eq!(records.len(), MOVES as usize + 1);
    let grew = |(one, next): (&u64, &u64)| 0 < *one && one <= next;
    for pair in records.windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(grew), "{records:?}");
    }
    for pair in records[..MOVES as usize].windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(one, next)| one < next), "{records:?}");
    }
    // Each place has the latest record that belongs there: none is missing, none came twice.
    for places in &found {
        let (count, last) = (places.len() as u64, last(places));
        for (place, number) in (0..count).zip(places) {
            let behind = (last + count - place) % count;
            assert_eq!(*number, last.saturating_sub(behind), "place {place}, last {last}");
        }
    }
}
