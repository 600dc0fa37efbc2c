//! The directory file under several connections, threads and processes.
//!
//! Source of truth: `monitor_core::ports::ClusterDirectory`. Invariants: every process that is
//! started is waited for; no test waits for a moment, only for what happens. Deliberately not
//! here: whole moves with a directory file, which step `example` of `tests/run` makes.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use host_harness::cluster::{BUSY_MAX, DirectoryFile, FIRST_EPOCH, FileError};
use monitor_core::{
    units::{Epoch, SuName, VmName},
    vm::{DirectoryAnswer, Ownership, Standing},
};
use rusqlite::Connection;

/// The variable that tells a process of this test program that it is a racer, and for which file.
const RACE: &str = "RACE_FOR";

fn vm() -> VmName {
    VmName::new("VM12PROD").unwrap()
}

fn owned(su: &str, epoch: u64) -> Ownership {
    Ownership::running(SuName::new(su).unwrap(), Epoch::new(epoch))
}

/// A directory file whose only record says that `SOURCE` owns the VM.
fn directory() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.db");
    let mut file = DirectoryFile::open_or_create(&path).unwrap();
    assert_eq!(file.begin(vm(), SuName::new("SOURCE").unwrap()).unwrap(), FIRST_EPOCH);
    (folder, path)
}

/// The words of a problem, without its file.
fn problem<T: std::fmt::Debug>(result: Result<T, FileError>) -> String {
    let text = result.unwrap_err().to_string();
    text.split_once(".db: ").expect("the file is named").1.to_owned()
}

/// Tries again while the file is locked, which a slow disk under many processes may cause.
fn patiently<T>(mut action: impl FnMut() -> Result<T, FileError>) -> T {
    for _ in 0..1000 {
        match action() {
            Ok(value) => return value,
            Err(error) => assert!(error.to_string().contains("was locked"), "{error}"),
        }
    }
    panic!("the file stays locked");
}

#[test]
fn a_record_changes_only_from_the_expected_value() {
    let (_folder, path) = directory();
    let mut file = DirectoryFile::open(&path).unwrap();
    let mut set = |expected, new| file.compare_and_set(vm(), expected, new).unwrap();
    let (before, after) = (owned("SOURCE", 1), owned("TARGET", 2));
    assert_eq!(set(owned("SOURCE", 2), after), DirectoryAnswer::Lost(before));
    assert_eq!(set(owned("TARGET", 1), after), DirectoryAnswer::Lost(before));
    assert_eq!(set(before, after), DirectoryAnswer::Won);
    assert_eq!(set(before, after), DirectoryAnswer::Lost(after));
    let other = VmName::new("OTHER").unwrap();
    let answer = file.compare_and_set(other, before, after).unwrap();
    assert_eq!(answer, DirectoryAnswer::Missing);
    assert_eq!(file.read(other).unwrap(), None);
    assert_eq!(DirectoryFile::open(&path).unwrap().records().unwrap(), [(vm(), after)]);
}

#[test]
fn what_is_claimed_and_what_runs_are_different_records() {
    let (_folder, path) = directory();
    let mut file = DirectoryFile::open(&path).unwrap();
    let (own, running) = (owned("SOURCE", 1), owned("TARGET", 2));
    let claimed = running.at(Standing::Claimed);
    let mut set = |expected, new| file.compare_and_set(vm(), expected, new).unwrap();
    assert_eq!(set(own, claimed), DirectoryAnswer::Won);
    assert_eq!(set(running, owned("SOURCE", 3)), DirectoryAnswer::Lost(claimed));
    // A VM that is on its way is not started anew.
    let target = SuName::new("TARGET").unwrap();
    let begun = DirectoryFile::open(&path).unwrap().begin(vm(), target);
    assert_eq!(problem(begun), "the VM belongs to TARGET (epoch 2, claimed)");
    assert_eq!(set(claimed, running), DirectoryAnswer::Won);
    assert_eq!(set(claimed, owned("SOURCE", 3)), DirectoryAnswer::Lost(running));
    assert_eq!(file.read(vm()).unwrap(), Some(running));
}

#[test]
fn file_of_the_first_version_is_brought_up_to_date_when_a_vm_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.db");
    let first = "CREATE TABLE record (vm TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL,
        epoch INTEGER NOT NULL CHECK (epoch >= 0)) STRICT, WITHOUT ROWID;
        INSERT INTO record VALUES ('VM12PROD', 'SOURCE', 7);
        PRAGMA application_id = 1398092601; PRAGMA user_version = 1";
    Connection::open(&path).unwrap().execute_batch(first).unwrap();
    let refused = problem(DirectoryFile::open(&path));
    assert!(refused.starts_with("is a cluster directory of version 1, not 2"), "{refused}");
    let mut file = DirectoryFile::open_or_create(&path).unwrap();
    let (own, claimed) = (owned("SOURCE", 7), owned("TARGET", 8).at(Standing::Claimed));
    assert_eq!(file.read(vm()).unwrap(), Some(own));
    assert_eq!(file.compare_and_set(vm(), own, claimed).unwrap(), DirectoryAnswer::Won);
    assert_eq!(DirectoryFile::open(&path).unwrap().records().unwrap(), [(vm(), claimed)]);
    let newer = "PRAGMA user_version = 3";
    Connection::open(&path).unwrap().execute_batch(newer).unwrap();
    let refused = problem(DirectoryFile::open_or_create(&path));
    assert!(refused.starts_with("is a cluster directory of version 3, not 2"), "{refused}");
}

#[test]
fn each_start_of_a_vm_begins_an_epoch_on_its_own_su_only() {
    let (_folder, path) = directory();
    let mut file = DirectoryFile::open(&path).unwrap();
    let mut begin = |su| file.begin(vm(), SuName::new(su).unwrap());
    assert_eq!(begin("SOURCE").unwrap(), Epoch::new(2));
    assert_eq!(problem(begin("TARGET")), "the VM belongs to SOURCE (epoch 2)");
    assert_eq!(file.read(vm()).unwrap(), Some(owned("SOURCE", 2)));
}

#[test]
fn file_that_is_no_sound_directory_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    assert_eq!(problem(DirectoryFile::open(&path)), "there is no such file");
    fs::write(&path, "VM12PROD runs on SOURCE\n".repeat(99)).unwrap();
    assert_eq!(problem(DirectoryFile::open(&path)), "is no cluster directory");
    assert_eq!(problem(DirectoryFile::open_or_create(&path)), "is no cluster directory");
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute("CREATE TABLE record (vm TEXT)", []).unwrap();
    assert_eq!(problem(DirectoryFile::open_or_create(&path)), "is no cluster directory");

    let (_folder, path) = directory();
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[4096..4196] {
        *byte ^= 0x5A;
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(problem(DirectoryFile::open(&path)), "is damaged");

    let (_folder, path) = directory();
    let change = format!("UPDATE record SET owner = '{}'", "X".repeat(65));
    Connection::open(&path).unwrap().execute(&change, []).unwrap();
    let read = DirectoryFile::open(&path).unwrap().read(vm());
    assert_eq!(problem(read), "is damaged");
}

#[test]
fn file_that_was_replaced_is_found_out() {
    let (_folder, path) = directory();
    let file = DirectoryFile::open(&path).unwrap();
    assert!(file.is_current());
    fs::rename(&path, path.with_extension("old")).unwrap();
    assert!(!file.is_current());
    let (_other_folder, other) = directory();
    fs::copy(other, &path).unwrap();
    assert!(!file.is_current());
}

#[test]
fn locked_file_is_given_up_in_bounded_time_and_is_unchanged() {
    let (_folder, path) = directory();
    let mut file = DirectoryFile::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let answer = file.compare_and_set(vm(), owned("SOURCE", 1), owned("TARGET", 2));
    let took = begun.elapsed();
    assert_eq!(problem(answer), "was locked for more than 200 ms");
    assert!(took >= BUSY_MAX / 2 && took < Duration::from_secs(10), "{took:?}");
    // A reader does not wait for a writer.
    assert_eq!(file.read(vm()).unwrap(), Some(owned("SOURCE", 1)));
    other.execute_batch("ROLLBACK").unwrap();
    let answer = file.compare_and_set(vm(), owned("SOURCE", 1), owned("TARGET", 2));
    assert_eq!(answer.unwrap(), DirectoryAnswer::Won);
}

#[test]
fn threads_that_make_a_file_at_once_share_one() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.db");
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for su in ["A", "B", "C", "D"] {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut file = patiently(|| DirectoryFile::open_or_create(path));
                    let (vm, owner) = (VmName::new(su).unwrap(), SuName::new(su).unwrap());
                    assert_eq!(patiently(|| file.begin(vm, owner)), FIRST_EPOCH);
                });
            }
        });
        let records = DirectoryFile::open(&path).unwrap().records().unwrap();
        assert_eq!(records.len(), 4, "{records:?}");
    }
}

#[test]
fn of_two_connections_that_ask_at_once_exactly_one_wins() {
    const ROUNDS: u64 = 200;
    let (_folder, path) = directory();
    let start = Barrier::new(2);
    let race = |su: &'static str| {
        let (path, start) = (&path, &start);
        move || {
            let mut file = DirectoryFile::open(path).unwrap();
            let mut won = BTreeSet::new();
            for round in 1..=ROUNDS {
                let expected = file.read(vm()).unwrap().unwrap();
                start.wait();
                let new = owned(su, round + 1);
                let record = settle(&mut file, expected, new);
                assert_eq!(record.epoch, new.epoch);
                if record == new {
                    assert!(won.insert(round));
                }
                start.wait();
            }
            won
        }
    };
    let (a, b) = thread::scope(|scope| {
        let (a, b) = (scope.spawn(race("A")), scope.spawn(race("B")));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert!(a.is_disjoint(&b));
    assert_eq!(a.len() + b.len(), usize::try_from(ROUNDS).unwrap());
}

/// Claims the record as a monitor does, which asks the same again while there is no answer, and
/// gives the record as it is then; it is `new` if the claim is won.
fn settle(file: &mut DirectoryFile, expected: Ownership, new: Ownership) -> Ownership {
    match patiently(|| file.compare_and_set(vm(), expected, new)) {
        DirectoryAnswer::Won => new,
        DirectoryAnswer::Lost(record) => record,
        answer => panic!("{answer:?}"),
    }
}

/// What a racer does: claims the record again and again, and says which epochs it has won. It
/// stops at the epoch that it reads from its input, or where that ends.
fn race(path: &Path) {
    let mut input = BufReader::new(std::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).unwrap();
    let (su, last) = line.trim().split_once(' ').expect("name and last epoch");
    let last: u64 = last.parse().unwrap();
    let mut file = DirectoryFile::open(path).unwrap();
    let mut out = std::io::stdout();
    let mut record = file.read(vm()).unwrap().unwrap();
    while record.epoch.get() < last {
        let new = owned(su, record.epoch.get() + 1);
        record = settle(&mut file, record, new);
        if record == new {
            writeln!(out, "won {}", new.epoch.get()).unwrap();
            out.flush().unwrap();
        }
    }
}

/// Starts this test program as a racer.
fn racer(test: &str, path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(RACE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Tells a racer its name and where to stop.
fn start(racer: &mut Child, su: &str, last: u64) {
    writeln!(racer.stdin.as_mut().unwrap(), "{su} {last}").unwrap();
}

/// The epoch that a line of a racer names; the first one stands behind words of the test program.
fn won(line: &str) -> Option<u64> {
    line.rsplit_once("won ")?.1.parse().ok()
}

#[test]
fn of_processes_that_race_exactly_one_wins_each_epoch() {
    const LAST: u64 = 400;
    if let Some(path) = env::var_os(RACE) {
        return race(Path::new(&path));
    }
    let (_folder, path) = directory();
    let test = "of_processes_that_race_exactly_one_wins_each_epoch";
    let mut racers = [racer(test, &path), racer(test, &path), racer(test, &path)];
    for (racer, su) in racers.iter_mut().zip(["A", "B", "C"]) {
        start(racer, su, LAST);
    }
    let mut all = Vec::new();
    for racer in racers {
        let done = racer.wait_with_output().unwrap();
        assert!(done.status.success());
        all.extend(String::from_utf8(done.stdout).unwrap().lines().filter_map(won));
    }
    all.sort_unstable();
    assert_eq!(all, (2..=LAST).collect::<Vec<_>>());
    let record = DirectoryFile::open(&path).unwrap().read(vm()).unwrap().unwrap();
    assert_eq!(record.epoch.get(), LAST);
}

#[test]
fn a_process_that_is_killed_leaves_a_record_that_the_next_one_claims() {
    const KILLED_AFTER: usize = 7;
    if let Some(path) = env::var_os(RACE) {
        return race(Path::new(&path));
    }
    let (_folder, path) = directory();
    let test = "a_process_that_is_killed_leaves_a_record_that_the_next_one_claims";
    let mut last = FIRST_EPOCH.get();
    for _ in 0..10 {
        let mut racer = racer(test, &path);
        start(&mut racer, "A", u64::MAX);
        let lines = BufReader::new(racer.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut seen = lines.filter_map(|line| won(&line));
        let said = seen.by_ref().take(KILLED_AFTER).last().unwrap();
        racer.kill().unwrap();
        racer.wait().unwrap();
        let said = seen.last().unwrap_or(said);
        // What was said had happened; one more may have happened without a word.
        let mut file = DirectoryFile::open(&path).unwrap();
        let record = file.read(vm()).unwrap().unwrap();
        assert!((said..=said + 1).contains(&record.epoch.get()), "{record:?}, said {said}");
        assert!(record.epoch.get() > last);
        last = record.epoch.get() + 1;
        let answer = file.compare_and_set(vm(), record, owned("B", last)).unwrap();
        assert_eq!(answer, DirectoryAnswer::Won);
    }
}
