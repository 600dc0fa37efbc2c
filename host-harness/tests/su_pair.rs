//! Two SUs in two processes, joined by UNIX sockets: moves there and back, the directory as a file
//! and as a service, and what cannot be.
//!
//! Source of truth: the help of `su390 su` and `su390 directory serve`. Invariant: each process is
//! ended after a bound, with what it has said so far. Deliberately not here: faults of a move,
//! which the simulator and `su390 migrate` have.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The longest time that a process may take.
const BOUND: Duration = Duration::from_secs(60);

/// Options that make a small guest, which is moved within a second or so.
const SMALL: &str = "--memory 16MiB --rate 5000 --color never";

/// A process that is ended with the test.
struct Process(Option<Child>);

impl Process {
    /// Begins `su390` with these arguments, which have no spaces.
    fn start(folder: &Path, line: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_su390"));
        command.current_dir(folder).args(line.split_whitespace());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self(Some(child.expect("su390 starts")))
    }

    /// Ends it, and gives everything that it has said.
    fn stop(&mut self) -> String {
        let mut child = self.0.take().expect("a process ends once");
        child.kill().expect("a child can be ended");
        let said = child.wait_with_output().expect("output").stdout;
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits for the end; gives the exit status and everything that was said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut child = self.0.take().expect("a process ends once");
        let begun = Instant::now();
        while child.try_wait().expect("a child can be waited for").is_none() {
            if begun.elapsed() > BOUND {
                child.kill().expect("a child can be ended");
            }
            thread::sleep(Duration::from_millis(10));
        }
        let Output { status, stdout, stderr } = child.wait_with_output().expect("output");
        let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
        (status.code(), said.into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // One that has ended by itself cannot be ended again.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// What a unit has said that no console says, without the time.
fn remarks(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("su      ")?.get(7..)).collect()
}

/// The numbers of pages swept at each look, in their order.
fn swept(said: &str) -> Vec<u64> {
    let looks = remarks(said).into_iter().filter_map(|line| line.split_once(" pages swept, "));
    looks
        .map(|(before, found)| {
            assert_eq!(found, "no fault", "{said}");
            before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
        })
        .collect()
}

/// The record of the VM in a directory file.
fn record(folder: &Path) -> String {
    let (status, said) = Process::start(folder, "directory show cluster.db").end();
    assert_eq!(status, Some(0), "{said}");
    said.lines().last().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Moves the guest from ABGSE501 to ABGSE701 and back; `here` and `there` are the ends of link and
/// directory of each.
fn there_and_back(folder: &Path, here: &str, there: &str) {
    let second = format!("su ABGSE701 receive run:100ms send {there} {SMALL}");
    let first = format!("su ABGSE501 start run:100ms send receive {here} {SMALL}");
    let second = Process::start(folder, &second);
    let first = Process::start(folder, &first);
    let ((status, said), (other_status, other_said)) = (first.end(), second.end());
    assert_eq!((status, other_status), (Some(0), Some(0)), "{said}\n---\n{other_said}");
    // The guest as it was sent, as it came, a moment later, and so on: it never goes back.
    let (here, there) = (swept(&said), swept(&other_said));
    assert_eq!((here.len(), there.len()), (4, 3), "{said}\n---\n{other_said}");
    let course = [&here[..1], &there, &here[1..]].concat();
    assert!(course.is_sorted() && course[0] > 0 && course[0] < course[6], "{course:?}");
    for (text, notice) in [
        (&said, "% VMS2451 LIVE MIGRATION OF VM (12,VM12PROD) TO TARGET SU 'ABGSE701' COMPLETED"),
        (&said, "% VMS2431 LIVE MIGRATION OF VM (12,VM12PROD) FROM SOURCE SU 'ABGSE701' COMPLETED"),
        (&other_said, "MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=ABGSE501"),
    ] {
        assert!(text.contains(notice), "{notice}\n{text}");
    }
}

#[test]
fn guest_is_moved_there_and_back_whoever_opens_the_connection() {
    for (here, there) in [("--connect", "--listen"), ("--listen", "--connect")] {
        let folder = tempfile::tempdir().unwrap();
        let link = |how| format!("{how} link.sock --directory cluster.db");
        there_and_back(folder.path(), &link(here), &link(there));
        assert!(record(folder.path()).starts_with("VM12PROD ABGSE501 3"));
    }
}

#[test]
fn guest_is_moved_there_and_back_under_a_directory_that_loses_answers() {
    let folder = tempfile::tempdir().unwrap();
    let set = "directory set cluster.db VM12PROD ABGSE501 7";
    assert_eq!(Process::start(folder.path(), set).end().0, Some(0));
    // The first three questions read the record: before the start, the move, and in its check.
    let serve = "directory serve --listen dir.sock --directory cluster.db --drop-answer 4";
    let mut server = Process::start(folder.path(), serve);
    let end = |how| format!("{how} link.sock --directory-socket dir.sock");
    there_and_back(folder.path(), &end("--connect"), &end("--listen"));
    assert!(record(folder.path()).starts_with("VM12PROD ABGSE501 9"));
    let said = server.stop();
    let claim = said.lines().find(|line| line.starts_with("4: ")).unwrap_or_default();
    assert!(
        claim.contains("ABGSE501 (epoch 7") && claim.contains("-> ABGSE701 (epoch 8"),
        "{said}"
    );
    assert!(claim.ends_with(": won (not answered)"), "{said}");
}

#[test]
fn unit_that_may_not_have_the_guest_does_not_start_it() {
    let folder = tempfile::tempdir().unwrap();
    let set = "directory set cluster.db VM12PROD ABGSE701 7";
    assert_eq!(Process::start(folder.path(), set).end().0, Some(0));
    let unit = |rest: &str| {
        let line = format!("su ABGSE501 start --listen link.sock {rest} {SMALL}");
        Process::start(folder.path(), &line).end()
    };
    let (status, said) = unit("--directory cluster.db");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("cluster.db: the VM belongs to ABGSE701"), "{said}");
    let (status, said) = unit("--directory-socket nobody.sock");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("error: the directory does not answer"), "{said}");
    let serve = "directory serve --listen dir.sock --record VM12PROD:ABGSE701:1";
    let _server = Process::start(folder.path(), serve);
    let (status, said) = unit("--directory-socket dir.sock");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("error: the VM belongs to ABGSE701 (epoch 1"), "{said}");
}

#[test]
fn wrong_commands_are_told_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("file");
    std::fs::write(file, "mine").unwrap();
    for (line, told) in [
        ("su ABGSE501 start", "--directory"),
        ("su ABGSE501 --listen a --directory d", "<DEED>"),
        ("su ABGSE501 jump --listen a --directory d", "a deed is start, send, receive or run:TIME"),
        ("su ABGSE501 run:soon --listen a --directory d", "run:soon"),
        ("su ABGSE501 send --listen a --directory d", "the guest is not here yet"),
        ("su NOWHERE start --listen a --directory d", "there is no SU NOWHERE"),
        ("su ABGSE501 start --peer ABGSE501 --listen a --directory d", "there is no SU ABGSE501"),
        ("su ABGSE501 start --listen file --directory d", "file: Address already in use"),
        ("su ABGSE501 start --listen a --directory file", "file: is no cluster directory"),
        ("su ABGSE501 start --listen a --connect b --directory d", "cannot be used with"),
    ] {
        let (status, said) = Process::start(folder.path(), line).end();
        assert_eq!(status, Some(2), "{line}: {said}");
        assert!(said.contains(told), "{line}: {said}");
        assert!(!said.contains("VMS"), "{line}: {said}");
    }
}
