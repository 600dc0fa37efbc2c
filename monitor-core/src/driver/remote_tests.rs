//! Tests of the directory behind a link, against a link that each test moves by hand.

use std::{collections::VecDeque, vec::Vec};

use super::*;
use crate::units::{Epoch, SuName};

const PATIENCE: Micros = Micros::new(1000);

/// A link whose other end is the test.
#[derive(Debug, Default)]
struct Wire {
    sent: Vec<u8>,
    room: usize,
    arrived: VecDeque<u8>,
    is_cut: bool,
    /// Whether the next connection comes at once.
    is_offered: bool,
    connects: u32,
}

impl ErrorType for Wire {
    type Error = ErrorKind;
}

impl Link for Wire {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        if self.is_cut {
            return Err(ErrorKind::Unreachable);
        }
        let count = source.len().min(self.room);
        self.room -= count;
        self.sent.extend(&source[..count]);
        Ok(count)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.is_cut && self.arrived.is_empty() {
            return Err(ErrorKind::Unreachable);
        }
        let count = target.len().min(self.arrived.len());
        for (to, from) in target.iter_mut().zip(self.arrived.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.connects += 1;
        self.arrived.clear();
        self.is_cut = false;
    }

    fn poll_connected(&mut self) -> bool {
        std::mem::take(&mut self.is_offered)
    }
}

type Remote = RemoteDirectory<Wire>;

fn vm() -> VmName {
    VmName::new("VM12PROD").unwrap()
}

fn owned(su: &str, epoch: u64) -> Ownership {
    Ownership::running(SuName::new(su).unwrap(), Epoch::new(epoch))
}

/// A directory that is connected and has asked a question, at time 10.
fn asked(operation: DirectoryOperation) -> Remote {
    let wire = Wire { room: usize::MAX, is_offered: true, ..Wire::default() };
    let mut remote = Remote::new(wire, PATIENCE, 100);
    remote.set_now(Tick::new(10));
    match operation {
        DirectoryOperation::Read => remote.start_read(vm()).unwrap(),
        DirectoryOperation::CompareAndSet { expected, new } => {
            remote.start_compare_and_set(vm(), expected, new).unwrap();
        }
    }
    assert_eq!(remote.poll_answer(), None);
    remote
}

fn claim() -> DirectoryOperation {
    DirectoryOperation::CompareAndSet { expected: owned("A", 1), new: owned("B", 2) }
}

/// What was asked, taken out of the wire.
fn question(remote: &mut Remote) -> DirectoryQuestion {
    let sent = std::mem::take(&mut remote.link().sent);
    DirectoryQuestion::parse(sent.as_slice().try_into().unwrap()).unwrap()
}

fn reply(remote: &mut Remote, number: u64, answer: DirectoryAnswer) {
    remote.link().arrived.extend(DirectoryReply { number, answer }.emit());
}

#[test]
fn question_is_asked_once_and_its_answer_is_given_once() {
    for (operation, answer) in [
        (DirectoryOperation::Read, DirectoryAnswer::Record(owned("A", 1))),
        (DirectoryOperation::Read, DirectoryAnswer::Missing),
        (claim(), DirectoryAnswer::Won),
        (claim(), DirectoryAnswer::Lost(owned("C", 7))),
        (claim(), DirectoryAnswer::Unreachable),
    ] {
        let mut remote = asked(operation);
        let asked = question(&mut remote);
        assert_eq!(asked, DirectoryQuestion { number: 101, vm: vm(), operation });
        assert_eq!(remote.poll_answer(), None);
        reply(&mut remote, 101, answer);
        assert_eq!(remote.poll_answer(), Some(answer));
        remote.set_now(Tick::new(5000));
        assert_eq!(remote.poll_answer(), None);
        assert!(remote.link().sent.is_empty());
    }
}

#[test]
fn question_that_finds_little_room_goes_out_in_pieces() {
    let mut remote = asked(claim());
    remote.link().sent.clear();
    remote.link().room = 0;
    remote.start_read(vm()).unwrap();
    for _ in 0..QUESTION_BYTES {
        assert_eq!(remote.poll_answer(), None);
        remote.link().room = 1;
    }
    assert_eq!(remote.poll_answer(), None);
    assert_eq!(question(&mut remote).number, 102);
}

#[test]
fn answer_to_another_question_is_not_heard() {
    let mut remote = asked(claim());
    reply(&mut remote, 100, DirectoryAnswer::Won);
    reply(&mut remote, 102, DirectoryAnswer::Won);
    // Not even one under the right number: nobody has read anything.
    reply(&mut remote, 101, DirectoryAnswer::Record(owned("B", 2)));
    assert_eq!(remote.poll_answer(), None);
    remote.start_read(vm()).unwrap();
    reply(&mut remote, 101, DirectoryAnswer::Lost(owned("C", 7)));
    reply(&mut remote, 102, DirectoryAnswer::Won);
    reply(&mut remote, 102, DirectoryAnswer::Record(owned("C", 7)));
    assert_eq!(remote.poll_answer(), Some(DirectoryAnswer::Record(owned("C", 7))));
}

#[test]
fn question_that_was_forgotten_has_no_answer() {
    let mut remote = asked(claim());
    remote.forget();
    reply(&mut remote, 101, DirectoryAnswer::Won);
    remote.set_now(Tick::new(5000));
    assert_eq!((remote.poll_answer(), remote.deadline()), (None, None));
}

#[test]
fn damaged_answer_is_skipped_and_the_next_one_is_heard() {
    let mut remote = asked(claim());
    let mut damaged = DirectoryReply { number: 101, answer: DirectoryAnswer::Won }.emit();
    damaged[7] ^= 1;
    remote.link().arrived.extend(&damaged[3..]);
    remote.link().arrived.extend(damaged);
    assert_eq!(remote.poll_answer(), None);
    reply(&mut remote, 101, DirectoryAnswer::Lost(owned("C", 7)));
    assert_eq!(remote.poll_answer(), Some(DirectoryAnswer::Lost(owned("C", 7))));
}

#[test]
fn silence_is_no_answer_after_the_patience_and_costs_the_connection() {
    let mut remote = asked(claim());
    assert_eq!(remote.deadline(), Some(Tick::new(1010)));
    remote.set_now(Tick::new(1009));
    assert_eq!(remote.poll_answer(), None);
    remote.set_now(Tick::new(1010));
    assert_eq!(remote.poll_answer(), Some(DirectoryAnswer::Unreachable));
    assert_eq!((remote.deadline(), remote.link().connects), (None, 2));
    // Without a connection a question waits for one, and does not disturb who is making it.
    remote.start_read(vm()).unwrap();
    remote.set_now(Tick::new(2010));
    assert_eq!(remote.poll_answer(), Some(DirectoryAnswer::Unreachable));
    assert_eq!(remote.link().connects, 2);
}

#[test]
fn cut_connection_loses_the_answer_to_what_was_sent_and_nothing_else() {
    let mut remote = asked(claim());
    remote.link().is_cut = true;
    assert_eq!(remote.poll_answer(), Some(DirectoryAnswer::Unreachable));
    assert_eq!(remote.poll_answer(), None);
    assert_eq!(remote.link().connects, 2);
    // The next question was not begun yet: it goes out on the next connection.
    remote.link().sent.clear();
    remote.start_read(vm()).unwrap();
    assert_eq!(remote.poll_answer(), None);
    assert!(remote.link().sent.is_empty());
    remote.link().is_offered = true;
    assert_eq!(remote.poll_answer(), None);
    assert_eq!(question(&mut remote).number, 102);
    // A connection that is cut behind the answer has brought it all the same.
    reply(&mut remote, 102, DirectoryAnswer::Missing);
    remote.link().is_cut = true;
    assert_eq!(remote.poll_answer(), Some(DirectoryAnswer::Missing));
}
