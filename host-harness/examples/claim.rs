//! How long a compare-and-set of the directory file and a record of the journal file take, which
//! lie in the blackout of a move.
//!
//! Run with `cargo run --release -p host-harness --example claim [DIRECTORY]`: a disk that holds
//! the file decides, so that the directory of the system for temporary files says little where it
//! lies in memory.
//!
//! Source of truth: the clock of this machine. Deliberately not here: several processes.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use host_harness::{cluster::DirectoryFile, live::JournalFile};
use monitor_core::{
    limits::JOURNAL_BYTES_MAX,
    units::{Epoch, SuName, VmName},
    vm::{DirectoryAnswer, Ownership},
};

/// Calls of one timing.
const ROUNDS: u64 = 1000;

fn main() {
    let place = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(place).expect("the directory can be written");
    let path = folder.path().join("cluster.db");
    let (vm, owner) = (VmName::new("VM12PROD"), SuName::new("ABGSE501"));
    let (vm, owner) = vm.zip(owner).expect("the names are short");
    let mut file = DirectoryFile::open_or_create(&path).expect("the directory is new");
    let first = file.begin(vm, owner).expect("nobody else has the file");

    println!("microseconds               least   median     99 %     most");
    let at = |epoch| Ownership::running(owner, epoch);
    let mut epoch = first;
    let mut claim = |file: &mut DirectoryFile| {
        let answer = file.compare_and_set(vm, at(epoch), at(epoch.next()));
        assert_eq!(answer.ok(), Some(DirectoryAnswer::Won), "nobody else asks");
        epoch = epoch.next();
    };
    report("compare-and-set", || (), |()| claim(&mut file));
    // Records change seldom: nearly every change is the first one of its connection.
    let open = || DirectoryFile::open(&path).expect("the file is a directory");
    report("first of a connection", open, |mut file| claim(&mut file));
    drop(file);
    report("first of the only one", open, |mut file| claim(&mut file));
    let mut file = open();
    report(
        "compare-and-set, lost",
        || (),
        |()| {
            let answer = file.compare_and_set(vm, at(Epoch::new(0)), at(Epoch::new(1)));
            assert!(matches!(answer, Ok(DirectoryAnswer::Lost(_))), "the epoch is over");
        },
    );
    report("read", || (), |()| assert!(file.read(vm).is_ok_and(|it| it.is_some()), "is there"));
    drop(file);
    report("open", || (), |()| drop(open()));
    let mut journal = JournalFile::new(&folder.path().join("VM12PROD.journal"));
    let record = [0x39; JOURNAL_BYTES_MAX];
    report("journal, save", || (), |()| journal.save(&record).expect("the file can be written"));
}

/// Times `call`, not what is set up for it.
fn report<T>(what: &str, mut set_up: impl FnMut() -> T, mut call: impl FnMut(T)) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let given = set_up();
            let begun = Instant::now();
            call(given);
            begun.elapsed()
        })
        .collect();
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
    println!("{what:24} {:>7} {:>8} {:>8} {:>8}", at(0), at(50), at(99), at(100));
}
