//! Links over adapters: order, losses, cuts and new connections.
//!
//! Source of truth: the head of `super`. Invariant: time is virtual, and each wait is bounded.
//! Deliberately not here: the adapters, which have tests of their own.

use super::*;

/// Both ends and their time.
struct Rig {
    cable: CtcCable,
    source: CtcLink,
    target: CtcLink,
    now: u64,
}

impl Rig {
    fn new() -> Self {
        let (cable, source, target) = CtcCable::new();
        Self { cable, source, target, now: 0 }
    }

    /// Lets time pass until something happens, for at most a second.
    fn until<T>(&mut self, mut seen: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..20_000 {
            self.now += 50;
            self.source.step(Tick::new(self.now));
            self.target.step(Tick::new(self.now));
            if let Some(value) = seen(self) {
                return value;
            }
        }
        panic!("it does not happen: {:?} {:?}", self.source, self.target);
    }

    fn send(&mut self, role: Role, bytes: &[u8]) {
        let mut rest = bytes;
        self.until(|rig| {
            rest = &rest[rig.end(role).try_send(rest).unwrap()..];
            rest.is_empty().then_some(())
        });
    }

    fn receive(&mut self, role: Role, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until(|rig| {
            let mut buffer = vec![0; count - bytes.len()];
            let count = rig.end(role).try_receive(&mut buffer).unwrap();
            bytes.extend(&buffer[..count]);
            (count == buffer.len()).then_some(())
        });
        bytes
    }

    fn end(&mut self, role: Role) -> &mut CtcLink {
        match role {
            Role::Source => &mut self.source,
            Role::Target => &mut self.target,
        }
    }

    /// Waits until this end knows that its connection is cut.
    fn await_cut(&mut self, role: Role) {
        self.until(|rig| rig.end(role).try_receive(&mut [0]).is_err().then_some(()));
    }

    /// Connects both ends again, which want it in this order.
    fn connect(&mut self, first: Role) {
        let second = if first == Role::Source { Role::Target } else { Role::Source };
        self.end(first).reconnect();
        self.end(second).reconnect();
        self.await_connection();
    }

    fn await_connection(&mut self) {
        let mut known = [false; 2];
        self.until(|rig| {
            known[0] |= rig.source.poll_connected();
            known[1] |= rig.target.poll_connected();
            (known == [true; 2]).then_some(())
        });
    }

    fn assert_carries(&mut self) {
        for (sends, receives) in [(Role::Source, Role::Target), (Role::Target, Role::Source)] {
            self.send(sends, b"there and back");
            assert_eq!(self.receive(receives, 14), b"there and back");
        }
    }
}

fn bytes(count: usize, seed: u64) -> Vec<u8> {
    let bytes = (0..count as u64).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 7) ^ seed);
    bytes.map(|word| word as u8).collect()
}

#[test]
fn bytes_of_many_messages_come_in_order_in_both_directions_at_once() {
    let mut rig = Rig::new();
    let sent = [bytes(500_000, 1), bytes(300_000, 2)];
    let mut received: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut rests = [&sent[0][..], &sent[1][..]];
    rig.until(|rig| {
        for (index, (sends, receives)) in
            [(Role::Source, Role::Target), (Role::Target, Role::Source)].into_iter().enumerate()
        {
            let count = rig.end(sends).try_send(rests[index]).unwrap();
            rests[index] = &rests[index][count..];
            let mut buffer = [0; 7000];
            let count = rig.end(receives).try_receive(&mut buffer).unwrap();
            received[index].extend(&buffer[..count]);
        }
        (received[0].len() + received[1].len() == 800_000).then_some(())
    });
    assert!(received == sent);
}

#[test]
fn connected_ends_are_not_new_and_empty_transfers_are_none() {
    let mut rig = Rig::new();
    assert!(!rig.source.poll_connected() && !rig.target.poll_connected());
    assert_eq!(rig.source.try_send(&[]), Ok(0));
    assert_eq!(rig.target.try_receive(&mut [0; 8]), Ok(0));
    rig.assert_carries();
}

#[test]
fn receiver_that_takes_nothing_stops_the_sender() {
    let mut rig = Rig::new();
    let mut sent = 0;
    for _ in 0..1000 {
        rig.now += 100;
        sent += rig.source.try_send(&bytes(DATA_BYTES_MAX, 3)).unwrap();
        rig.source.step(Tick::new(rig.now));
        rig.target.step(Tick::new(rig.now));
    }
    // One message has arrived, one is under way.
    assert_eq!(sent, 2 * DATA_BYTES_MAX);
    assert_eq!(rig.receive(Role::Target, sent).len(), sent);
}

#[test]
fn end_that_is_dropped_cuts_the_other_one_behind_what_has_arrived() {
    for role in [Role::Source, Role::Target] {
        let mut rig = Rig::new();
        let other = if role == Role::Source { Role::Target } else { Role::Source };
        rig.send(other, b"last words");
        rig.until(|rig| (rig.end(role).arrived.len() == 10).then_some(()));
        let (_cable, here, there) = CtcCable::new();
        let gone = if role == Role::Source {
            std::mem::replace(&mut rig.target, there)
        } else {
            std::mem::replace(&mut rig.source, here)
        };
        drop(gone);
        assert_eq!(rig.receive(role, 10), b"last words");
        rig.await_cut(role);
        let sent = rig.end(role).try_send(b"x");
        assert_eq!(sent, Err(ErrorKind::Unreachable), "{role:?}");
    }
}

#[test]
fn cut_link_is_connected_again_and_again_by_both_ends() {
    for first in [Role::Source, Role::Target] {
        let mut rig = Rig::new();
        for round in 0..10 {
            rig.assert_carries();
            // What is on the way is lost with the connection.
            rig.source.try_send(b"lost").unwrap();
            if round % 2 == 0 {
                rig.cable.cut();
            } else {
                rig.end(first).cut();
            }
            rig.await_cut(Role::Source);
            rig.await_cut(Role::Target);
            rig.connect(first);
            assert!(!rig.source.poll_connected() && !rig.target.poll_connected());
        }
        rig.assert_carries();
    }
}

#[test]
fn end_that_gives_up_its_connection_cuts_the_other_end() {
    for first in [Role::Source, Role::Target] {
        let mut rig = Rig::new();
        rig.send(Role::Source, b"taken by nobody");
        rig.end(first).reconnect();
        assert!(rig.end(first).try_send(b"x").is_err());
        let second = if first == Role::Source { Role::Target } else { Role::Source };
        rig.until(|rig| {
            let received = rig.end(second).try_receive(&mut [0; 100]);
            received.is_err().then_some(())
        });
        rig.end(second).reconnect();
        rig.await_connection();
        rig.assert_carries();
    }
}

#[test]
fn severed_cable_connects_nobody_until_it_is_mended() {
    let mut rig = Rig::new();
    rig.cable.sever(true);
    rig.cable.cut();
    rig.await_cut(Role::Source);
    rig.await_cut(Role::Target);
    rig.source.reconnect();
    rig.target.reconnect();
    for _ in 0..1000 {
        rig.now += 100;
        rig.source.step(Tick::new(rig.now));
        rig.target.step(Tick::new(rig.now));
        assert!(!rig.source.poll_connected() && !rig.target.poll_connected());
    }
    rig.cable.sever(false);
    rig.await_connection();
    rig.assert_carries();
}

#[test]
fn message_that_is_missing_or_altered_cuts_the_connection() {
    let altered = {
        let header = Header { kind: Kind::Data, connection: 0, sequence: 0 };
        let mut message = message::emit(header, b"data");
        *message.last_mut().unwrap() ^= 1;
        message
    };
    let header = Header { kind: Kind::Data, connection: 0, sequence: 1 };
    for message in [altered, message::emit(header, b"data")] {
        let mut rig = Rig::new();
        assert!(rig.source.channel.send(&message, Tick::new(0)));
        rig.await_cut(Role::Target);
        rig.connect(Role::Target);
        rig.assert_carries();
    }
}

#[test]
fn message_of_a_former_connection_is_thrown_away() {
    let mut rig = Rig::new();
    rig.cable.cut();
    rig.await_cut(Role::Source);
    rig.await_cut(Role::Target);
    rig.connect(Role::Source);
    rig.until(|rig| (!rig.source.channel.is_sending()).then_some(()));
    for kind in [Kind::Data, Kind::Open, Kind::Close] {
        let header = Header { kind, connection: 0, sequence: 0 };
        let message = message::emit(header, b"old");
        rig.until(|rig| {
            let now = Tick::new(rig.now);
            (!rig.source.channel.is_sending() && rig.source.channel.send(&message, now))
                .then_some(())
        });
    }
    rig.assert_carries();
}
