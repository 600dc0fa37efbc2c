//! A station on a LAN line that pings the guest and measures what a move costs it.
//!
//! It sends a numbered frame at a fixed interval and takes the answers. It knows the guest's
//! hardware address from what the guest sends, above all from its announcement after a move; as
//! long as it does not, it asks everybody.
//!
//! Source of truth: [`super::network`] for the frames. Invariant: an answer counts once; one whose
//! number or serial number is not higher than all before is a doubled one, since a line keeps its
//! order. Deliberately not here: a clock; a peer is stepped.

use std::sync::{Arc, Mutex, PoisonError};

use monitor_core::units::{Micros, Tick};

use super::{line_address, network::Ping};
use crate::machine::{BROADCAST, Frame, MacAddress, Port, Switch, TYPE_LOCAL};

/// What peers have seen of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Pings that were sent.
    pub sent: u64,
    /// Pings that were answered.
    pub answered: u64,
    /// Pings that later ones have overtaken, so that no answer comes any more.
    pub lost: u64,
    /// Answers that came twice, or from a copy of the guest that was left behind.
    pub doubled: u64,
    /// The longest time without an answer.
    pub outage: Micros,
}

impl Sight {
    /// What two peers have seen together.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            answered: self.answered + other.answered,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            outage: self.outage.max(other.outage),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    sight: Sight,
    /// The guest's hardware address, as far as is known.
    guest: Option<MacAddress>,
    due: Tick,
    last_answer: Option<Tick>,
    last_number: u64,
    last_serial: u64,
}

/// A station that pings the guest.
#[derive(Debug)]
pub struct Peer {
    port: Port,
    line: u64,
    interval: Micros,
    patience: Micros,
    state: Mutex<State>,
}

impl Peer {
    /// Time without an answer after which it asks everybody again, if nothing else is said.
    pub const PATIENCE: Micros = Micros::from_millis(1000);

    /// A station at the switch of the guest's line with this number.
    #[must_use]
    pub fn new(switch: &Arc<Switch>, line: u64, interval: Micros) -> Self {
        let [.., low] = line.to_be_bytes();
        let port = switch.plug([2, 0, 0, 0xFF, 0, low]);
        Self { port, line, interval, patience: Self::PATIENCE, state: Mutex::default() }
    }

    /// The same with another time without an answer.
    #[must_use]
    pub fn with_patience(self, patience: Micros) -> Self {
        Self { patience, ..self }
    }

    /// The guest's hardware address, as far as it knows.
    #[must_use]
    pub fn guest(&self) -> Option<MacAddress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).guest
    }

    /// From one ping to the next.
    #[must_use]
    pub const fn interval(&self) -> Micros {
        self.interval
    }

    /// Takes what has arrived, sends a ping if one is due, and says when the next one is.
    pub fn step(&self, now: Tick) -> Tick {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.port.switch().advance(now);
        while let Some(frame) = self.port.receive() {
            self.take(&mut state, &frame, now);
        }
        if now >= state.due {
            // A peer that was not stepped for long does not make up for it.
            state.due = state.due.after(self.interval).max(now);
            if state.due == now {
                state.due = now.after(self.interval);
            }
            self.ping(&mut state, now);
        }
        state.due
    }

    fn ping(&self, state: &mut State, now: Tick) {
        if state.last_answer.is_some_and(|last| now.since(last) > self.patience) {
            state.guest = None;
        }
        state.sight.sent += 1;
        let number = state.sight.sent;
        let ping = Ping { is_answer: false, line: self.line, number, serial: 0 };
        let target = state.guest.unwrap_or(BROADCAST);
        let payload = ping.to_payload();
        self.port.send(Frame { target, source: [0; 6], kind: TYPE_LOCAL, payload });
    }

    fn take(&self, state: &mut State, frame: &Frame, now: Tick) {
        if let Some((mac, address)) = frame.announced() {
            if address == line_address(self.line) {
                state.guest = Some(mac);
            }
            return;
        }
        let Some(answer) = Ping::of_frame(frame, self.line).filter(|ping| ping.is_answer) else {
            return;
        };
        if answer.number <= state.last_number || answer.serial <= state.last_serial {
            state.sight.doubled += 1;
            return;
        }
        state.guest = Some(frame.source);
        (state.last_number, state.last_serial) = (answer.number, answer.serial);
        state.sight.answered += 1;
        state.sight.outage = outage(state, now);
        state.last_answer = Some(now);
    }

    /// It measures outages from now on, as if it had just been answered.
    pub fn forget_outage(&self, now: Tick) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sight.outage = Micros::new(0);
        state.last_answer = state.last_answer.map(|_| now);
    }

    /// What it has seen so far.
    #[must_use]
    pub fn sight(&self, now: Tick) -> Sight {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = state.last_number - state.sight.answered;
        Sight { lost, outage: outage(&state, now), ..state.sight }
    }
}

/// The longest time without an answer, the present one among them.
fn outage(state: &State, now: Tick) -> Micros {
    let present = state.last_answer.map_or(Micros::new(0), |last| now.since(last));
    state.sight.outage.max(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: MacAddress = [2, 0, 0, 0, 5, 1];
    const LINE: u64 = 3;

    fn rig() -> (Peer, Port) {
        let switch = Switch::new();
        let peer = Peer::new(&switch, LINE, Micros::new(1000));
        (peer, switch.plug(GUEST))
    }

    fn answer(guest: &Port, number: u64, serial: u64) {
        let ping = Ping { is_answer: true, line: LINE, number, serial };
        let (target, payload) = (BROADCAST, ping.to_payload());
        guest.send(Frame { target, source: [0; 6], kind: TYPE_LOCAL, payload });
    }

    #[test]
    fn pings_go_out_at_the_interval_and_none_is_made_up_for() {
        let (peer, guest) = rig();
        assert_eq!(peer.step(Tick::new(5000)), Tick::new(6000));
        assert_eq!(peer.step(Tick::new(5999)), Tick::new(6000));
        assert_eq!(peer.step(Tick::new(6100)), Tick::new(7000));
        assert_eq!(peer.step(Tick::new(99_500)), Tick::new(100_500));
        let numbers: Vec<u64> = std::iter::from_fn(|| guest.receive())
            .map(|frame| Ping::of_frame(&frame, LINE).unwrap().number)
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn outage_is_the_longest_time_without_an_answer() {
        let (peer, guest) = rig();
        let mut seen = Vec::new();
        for (now, number) in [(1000, 1), (2000, 2), (9000, 7), (10_000, 8)] {
            answer(&guest, number, number);
            peer.step(Tick::new(now));
            seen.push(peer.sight(Tick::new(now)).outage.get());
        }
        assert_eq!(seen, [0, 1000, 7000, 7000]);
        let sight = peer.sight(Tick::new(30_000));
        assert_eq!((sight.answered, sight.lost, sight.doubled), (4, 4, 0));
        assert_eq!(sight.outage, Micros::new(20_000));
    }

    #[test]
    fn answer_that_comes_twice_or_from_an_older_copy_is_a_doubled_one() {
        let (peer, guest) = rig();
        for (number, serial) in [(1, 1), (2, 2), (2, 3), (3, 2), (4, 4), (1, 9)] {
            answer(&guest, number, serial);
        }
        peer.step(Tick::new(1000));
        let sight = peer.sight(Tick::new(1000));
        assert_eq!((sight.answered, sight.doubled), (3, 3));
    }

    #[test]
    fn frames_of_others_and_wrong_ones_are_no_answers() {
        let (peer, guest) = rig();
        let ping = Ping { is_answer: true, line: LINE, number: 1, serial: 1 };
        let wrong = [Ping { is_answer: false, ..ping }, Ping { line: LINE + 1, ..ping }];
        let mut payloads: Vec<_> = wrong.map(Ping::to_payload).into();
        payloads.push(ping.to_payload());
        payloads[2][16] ^= 1;
        for payload in payloads {
            let (target, source, kind) = (BROADCAST, [0; 6], TYPE_LOCAL);
            guest.send(Frame { target, source, kind, payload });
        }
        peer.step(Tick::new(1000));
        assert_eq!(peer.sight(Tick::new(1000)).answered, 0);
    }

    #[test]
    fn peer_follows_the_announced_address_and_asks_everybody_when_nothing_answers() {
        let (peer, guest) = rig();
        let pinged = |now| {
            peer.step(Tick::new(now));
            std::iter::from_fn(|| guest.receive()).map(|frame| frame.target).last()
        };
        assert_eq!(pinged(1000), Some(BROADCAST));
        answer(&guest, 1, 1);
        assert_eq!(pinged(2000), Some(GUEST));
        guest.send(Frame::gratuitous_arp([4; 6], line_address(LINE)));
        // The own address of the port is put in, the announced one counts.
        assert_eq!(pinged(3000), None);
        guest.send(Frame::gratuitous_arp([8; 6], line_address(LINE + 1)));
        guest.send(Frame::gratuitous_arp(GUEST, line_address(LINE)));
        assert_eq!(pinged(4000), Some(GUEST));
        assert_eq!(pinged(5000 + Peer::PATIENCE.get()), Some(BROADCAST));
    }
}
