//! Guests that read the messages of a partner, also when they are moved, or when a request fails.
//!
//! Source of truth: the head of `messages`. Invariant: the partner writes what the test says; what
//! is asserted is what the guest has counted. Deliberately not here: the adapter, which has tests
//! of its own.

use super::*;
use crate::machine::{Access, Buffer, Misbehavior, Outcome, command};

const MESSAGES: Kind = Kind::Messages { subchannel: ADAPTER };
/// Equipment check.
const SENSE: [u8; 32] = [0x10; 32];

/// Writes a message and lets the guest run until it has taken it.
fn write(rig: &mut Rig, number: u64) {
    let name = VmName::new("PARTNER").unwrap();
    let access = Access::new(name, Epoch::new(1), Path::default());
    let (_, partner) = rig.adapter.clone();
    partner.admit(&access).unwrap();
    for _ in 0..100 {
        let mut data = Buffer::output(&message(number));
        match partner.execute(&mut access.clone(), command::WRITE, &mut data) {
            Outcome::Ended(_) => return rig.run(1000),
            Outcome::Pending => rig.run(1000),
        }
    }
    panic!("the guest does not take message {number}");
}

#[test]
fn messages_are_read_in_their_order_before_and_after_a_move() {
    let mut rig = Rig::new(&[MESSAGES]);
    for number in 1..=5 {
        write(&mut rig, number);
    }
    assert_eq!(rig.check().counts.messages, 5);
    rig.stop();
    let mut target = rig.moved();
    for number in 6..=9 {
        write(&mut target, number);
    }
    assert_eq!(names(&target.check()), Vec::<String>::new());
    assert_eq!(target.check().counts.messages, 9);
}

#[test]
fn messages_that_are_lost_or_doubled_are_reported() {
    for numbers in [[1, 2, 4], [1, 2, 2]] {
        let mut rig = Rig::new(&[MESSAGES]);
        for number in numbers {
            write(&mut rig, number);
        }
        assert_eq!(names(&rig.check()), ["messages out of their order: 1"]);
    }
}

#[test]
fn request_that_failed_is_made_once_more() {
    let mut rig = Rig::new(&[MESSAGES]);
    rig.run(1000);
    let [.., adapter] = &*rig.faults else { panic!("no adapter") };
    adapter.inject_next(Misbehavior::UnitCheck(SENSE));
    write(&mut rig, 1);
    assert_eq!(names(&rig.check()), Vec::<String>::new());
    assert_eq!((rig.check().counts.messages, rig.check().counts.io_faults), (1, 1));
}

#[test]
fn frames_that_could_not_be_read_are_read_later() {
    let mut rig = Rig::new(&[Kind::Network]);
    rig.run(1000);
    rig.faults[0].inject_next(Misbehavior::UnitCheck(SENSE));
    rig.peers =
        Arc::new(vec![Peer::new(rig.lans[0].port().switch(), 0, Micros::from_millis(100_000))]);
    rig.run(10_000);
    assert_eq!(rig.check().counts.answers, 1);
    assert_eq!(rig.check().counts.io_faults, 1);
}
