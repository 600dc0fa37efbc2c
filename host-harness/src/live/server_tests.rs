//! Tests of the service, asked as a monitor asks it. Every wait is bounded.

use std::fs;

use monitor_core::{
    driver::RemoteDirectory,
    units::{Epoch, Micros, SuName},
};

use super::*;
use crate::live::{Clock, SocketLink};

const PATIENCE: Micros = Micros::from_millis(2_000);

fn vm() -> VmName {
    VmName::new("VM12PROD").unwrap()
}

fn owned(su: &str, epoch: u64) -> Ownership {
    Ownership::running(SuName::new(su).unwrap(), Epoch::new(epoch))
}

/// A monitor that asks and waits.
struct Monitor {
    remote: RemoteDirectory<SocketLink>,
    clock: Clock,
}

impl Monitor {
    fn new(link: SocketLink, patience: Micros) -> Self {
        Self { remote: RemoteDirectory::new(link, patience, 7), clock: Clock::start() }
    }

    fn answer(&mut self) -> DirectoryAnswer {
        loop {
            self.remote.set_now(self.clock.now());
            if let Some(answer) = self.remote.poll_answer() {
                return answer;
            }
            self.remote.link().wait(false, Duration::from_millis(5));
        }
    }

    fn read(&mut self) -> DirectoryAnswer {
        self.remote.set_now(self.clock.now());
        self.remote.start_read(vm()).unwrap();
        self.answer()
    }

    fn set(&mut self, expected: Ownership, new: Ownership) -> DirectoryAnswer {
        self.remote.set_now(self.clock.now());
        self.remote.start_compare_and_set(vm(), expected, new).unwrap();
        self.answer()
    }
}

/// A server of the record of VM12PROD, at a socket in a folder.
fn served(folder: &Path, mishaps: Vec<Mishap>) -> (PathBuf, mpsc::Receiver<String>) {
    let path = folder.join("directory.sock");
    let server = Server::of_records(&[(vm(), owned("A", 1))], mishaps);
    let lines = server.start(&[Endpoint::Listen(path.clone())]).unwrap();
    (path, lines)
}

#[test]
fn monitors_at_several_sockets_share_the_records_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let [file, here, there] = ["cluster.db", "here", "there"].map(|name| folder.path().join(name));
    let listening = SocketLink::listening(&there).unwrap();
    let server = Server::of_file(&file, Vec::new()).unwrap();
    let endpoints = [Endpoint::Listen(here.clone()), Endpoint::Connect(there)];
    let _lines = server.start(&endpoints).unwrap();
    let mut source = Monitor::new(SocketLink::connecting(&here).unwrap(), PATIENCE);
    let mut target = Monitor::new(listening, PATIENCE);
    assert_eq!(source.read(), DirectoryAnswer::Missing);
    assert_eq!(target.set(owned("A", 1), owned("B", 2)), DirectoryAnswer::Missing);
    let mut records = DirectoryFile::open(&file).unwrap();
    records.set(vm(), owned("A", 1), false).unwrap();
    assert_eq!(source.read(), DirectoryAnswer::Record(owned("A", 1)));
    assert_eq!(target.set(owned("A", 1), owned("B", 2)), DirectoryAnswer::Won);
    assert_eq!(source.set(owned("A", 1), owned("A", 2)), DirectoryAnswer::Lost(owned("B", 2)));
    assert_eq!(records.read(vm()).unwrap(), Some(owned("B", 2)));
}

#[test]
fn lost_answer_leaves_the_change_and_is_found_out_by_asking_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, lines) = served(folder.path(), vec![Mishap::Dropped(1)]);
    let patience = Micros::from_millis(200);
    let mut monitor = Monitor::new(SocketLink::connecting(&path).unwrap(), patience);
    let claim = (owned("A", 1), owned("B", 2));
    assert_eq!(monitor.set(claim.0, claim.1), DirectoryAnswer::Unreachable);
    assert_eq!(monitor.set(claim.0, claim.1), DirectoryAnswer::Lost(owned("B", 2)));
    let said: Vec<String> = lines.try_iter().filter(|line| line.contains("VM12PROD")).collect();
    let asked = "VM12PROD: A (epoch 1) -> B (epoch 2)";
    assert_eq!(said[0], format!("1: {asked}: won (not answered)"));
    assert_eq!(said[1], format!("2: {asked}: lost to B (epoch 2)"));
}

#[test]
fn late_answer_is_waited_for_no_longer_than_the_patience() {
    let folder = tempfile::tempdir().unwrap();
    let late = |number, ms| Mishap::Late(number, Duration::from_millis(ms));
    let (path, _lines) = served(folder.path(), vec![late(1, 50), late(2, 60_000)]);
    let patience = Micros::from_millis(500);
    let mut monitor = Monitor::new(SocketLink::connecting(&path).unwrap(), patience);
    assert_eq!(monitor.read(), DirectoryAnswer::Record(owned("A", 1)));
    assert_eq!(monitor.read(), DirectoryAnswer::Unreachable);
    assert_eq!(monitor.read(), DirectoryAnswer::Record(owned("A", 1)));
}

#[test]
fn question_is_found_behind_bytes_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (path, lines) = served(folder.path(), Vec::new());
    let mut stream = UnixStream::connect(&path).unwrap();
    let operation = DirectoryOperation::Read;
    let question = DirectoryQuestion { number: 5, vm: vm(), operation };
    let nameless = DirectoryQuestion { vm: VmName::EMPTY, ..question };
    stream
        .write_all(&[&b"\r\nVMDQ VMDQ"[..], &nameless.emit(), &question.emit()].concat())
        .unwrap();
    let mut bytes = [0; monitor_core::wire::ANSWER_BYTES];
    stream.read_exact(&mut bytes).unwrap();
    let answer = DirectoryAnswer::Record(owned("A", 1));
    assert_eq!(DirectoryReply::parse(&bytes), Ok(DirectoryReply { number: 5, answer }));
    let said: Vec<String> = lines.try_iter().collect();
    let refused = format!("{}: a question is wrong: unknown value in field VmName", path.display());
    assert_eq!(said[1..], [refused, "1: VM12PROD: read: A (epoch 1)".to_owned()]);
}

#[test]
fn socket_that_was_left_is_replaced_and_anything_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sock");
    drop(UnixListener::bind(&path).unwrap());
    let begin = |path: &Path| {
        Server::of_records(&[], Vec::new()).start(&[Endpoint::Listen(path.to_owned())])
    };
    let _lines = begin(&path).unwrap();
    let refused = begin(&path).unwrap_err().to_string();
    assert!(refused.contains("directory.sock: Address already in use"), "{refused}");
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    begin(&file).unwrap_err();
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let foreign = Server::of_file(&file, Vec::new()).unwrap_err().to_string();
    assert!(foreign.ends_with("file: is no cluster directory"), "{foreign}");
}
