//! Guests that answer the pings of stations on their LAN lines, also when they are moved.
//!
//! Source of truth: the heads of `network` and `peer`. Invariant: what is asserted is what the
//! stations see, or what the guest's storage says. Deliberately not here: the switch and the
//! adapters, which have tests of their own.

use monitor_core::vm::GuestEvent;

use super::*;
use crate::machine::Misbehavior;

/// From one ping of a line to the next.
const INTERVAL: Micros = Micros::new(1000);

impl Rig {
    /// A guest that answers, with a station on each of its lines.
    fn pinged(kinds: &[Kind]) -> Self {
        let mut rig = Self::new(kinds);
        let peer = |(lan, line): (&Arc<Lan>, u64)| Peer::new(lan.port().switch(), line, INTERVAL);
        rig.peers = Arc::new(rig.lans.iter().zip(0..).map(peer).collect());
        rig
    }

    fn sights(&self) -> Vec<Sight> {
        self.peers.iter().map(|peer| peer.sight(Tick::new(self.now))).collect()
    }

    /// Lets time pass for the stations alone.
    fn idle(&mut self, span_us: u64) {
        for now in (self.now..self.now + span_us).step_by(100) {
            for peer in &*self.peers {
                peer.step(Tick::new(now));
            }
        }
        self.now += span_us;
    }
}

#[test]
fn every_ping_is_answered_once_on_every_line() {
    let mut rig = Rig::pinged(&[Kind::Network]);
    rig.run(200_000);
    for sight in rig.sights() {
        assert!(sight.sent >= 199 && sight.answered + 1 >= sight.sent, "{sight:?}");
        assert_eq!((sight.lost, sight.doubled), (0, 0));
        assert!(sight.outage <= Micros::new(1500), "{sight:?}");
    }
    let verdict = rig.check();
    assert_eq!(names(&verdict), Vec::<String>::new());
    let answered: u64 = rig.sights().iter().map(|sight| sight.answered).sum();
    assert!((answered..=answered + 4).contains(&verdict.counts.answers), "{verdict:?}");
    assert_eq!(verdict.counts.io_faults, 0);
}

#[test]
fn frames_that_came_while_the_guest_stood_still_are_answered_together() {
    let mut rig = Rig::pinged(&[Kind::Network]);
    rig.run(20_000);
    rig.machine.stop();
    rig.idle(30_000);
    rig.machine.resume(Tick::new(rig.now));
    rig.run(20_000);
    for (sight, lan) in rig.sights().iter().zip(&rig.lans) {
        assert!(sight.answered + 1 >= sight.sent && sight.lost == 0, "{sight:?}");
        assert!((30_000..32_000).contains(&sight.outage.get()), "{sight:?}");
        assert_eq!(lan.counts().dropped, 0);
    }
}

#[test]
fn moved_guest_answers_at_the_target_once_it_was_announced() {
    let mut source = Rig::pinged(&ALL_AND_NETWORK);
    source.tell(GuestEvent::MoveComing);
    source.run(50_000);
    source.stop();
    source.idle(10_000);
    let mut target = source.moved();
    target.tell(GuestEvent::Moved);
    let silent: Vec<u64> = target.sights().iter().map(|sight| sight.answered).collect();
    target.tell(GuestEvent::NetworkUp);
    target.run(50_000);
    for ((sight, lan), before) in target.sights().iter().zip(&target.lans).zip(silent) {
        assert!(sight.answered >= before + 40, "{sight:?}");
        assert_eq!(sight.doubled, 0, "{sight:?}");
        // The pings of the blackout went to the adapter that the guest has left.
        assert!(sight.lost >= 9 && sight.answered + sight.lost + 1 >= sight.sent, "{sight:?}");
        assert!(sight.outage >= Micros::new(10_000), "{sight:?}");
        let port = lan.port();
        assert_eq!(port.switch().port_of(port.mac()), Some(port.number()));
    }
    assert_eq!(names(&target.check()), Vec::<String>::new());
    assert_eq!(target.check().counts.io_faults, 0);
}

#[test]
fn copy_that_was_left_behind_and_runs_on_is_seen() {
    let mut source = Rig::pinged(&[Kind::Network]);
    source.run(50_000);
    source.stop();
    let mut target = source.moved();
    target.tell(GuestEvent::NetworkUp);
    let answered: u64 = target.sights().iter().map(|sight| sight.answered).sum();
    // The pings of the blackout still wait in the adapters of the source.
    for slot in source.slots() {
        source.machine.with_subsystem(|subsystem| subsystem.release(slot)).unwrap();
    }
    source.machine.resume(Tick::new(source.now));
    for _ in 0..50 {
        target.run(1000);
        source.run(1000);
    }
    let sights = target.sights();
    assert!(sights.iter().all(|sight| sight.doubled > 0), "{sights:?}");
    // The stations stay with the copy that was announced.
    let after: u64 = sights.iter().map(|sight| sight.answered).sum();
    assert!(after >= answered + 4 * 40, "{sights:?}");
}

#[test]
fn announcement_waits_until_the_device_has_ended_what_it_does_for_the_line() {
    // For each ping two READ, of which the second one finds no frame, and a WRITE.
    for command in 1..=3 {
        let mut rig = Rig::pinged(&[Kind::Network]);
        rig.run(20_000);
        let late = Misbehavior::LateDeviceEnd(Micros::from_millis(5));
        rig.faults[0].inject(rig.faults[0].begun() + command, late);
        while rig.faults[0].struck() == 0 {
            rig.run(50);
        }
        rig.tell(GuestEvent::NetworkUp);
        let before = rig.sights()[0].answered;
        rig.run(20_000);
        let after = rig.sights()[0].answered;
        assert!(after >= before + 15, "command {command}: {before}, {after}");
        assert_eq!(names(&rig.check()), Vec::<String>::new());
    }
}

#[test]
fn frame_that_is_no_ping_is_reported() {
    let mut rig = Rig::new(&[Kind::Network]);
    let station = rig.lans[0].port().switch().plug([2; 6]);
    let frame = crate::machine::Frame {
        target: rig.lans[0].port().mac(),
        source: [0; 6],
        kind: crate::machine::TYPE_LOCAL,
        payload: vec![1; 46],
    };
    station.send(frame);
    rig.run(10_000);
    assert_eq!(names(&rig.check()), ["wrong frames on the lines: 1"]);
}
