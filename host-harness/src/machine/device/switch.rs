//! A switch of the local network: it learns behind which port an address is, and sends there.
//!
//! A frame to an address that it has not learned, or to a group, goes to all other ports. A port
//! has the queue of its station: what comes from the switch and is for the station's address.
//!
//! Source of truth: IEEE 802.1D, "Operation of bridges" (learning, filtering, aging).
//! Invariants: table and queues are bounded; an address is behind one port at a time, that of its
//! latest frame; the same frames at the same times go the same ways. Deliberately not here: a
//! clock (whoever steps the network tells the time), spanning trees, VLANs.

use super::ethernet::{Frame, MacAddress, is_group};
use crate::machine::lock;
use monitor_core::units::{Micros, Tick};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

/// Where an address was seen, and when.
#[derive(Clone, Copy, Debug)]
struct Entry {
    port: usize,
    seen: Tick,
}

#[derive(Debug)]
struct Station {
    mac: MacAddress,
    queue: VecDeque<Frame>,
    dropped: u64,
}

/// What a switch has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwitchCounts {
    /// Frames that went to the one port behind which their address is.
    pub forwarded: u64,
    /// Frames that went to all other ports.
    pub flooded: u64,
    /// Frames whose address is behind the port that they came from.
    pub filtered: u64,
    /// Addresses that were found behind another port than before.
    pub moved: u64,
}

#[derive(Debug, Default)]
struct State {
    now: Tick,
    stations: Vec<Station>,
    table: BTreeMap<MacAddress, Entry>,
    counts: SwitchCounts,
}

impl State {
    fn learn(&mut self, mac: MacAddress, port: usize) {
        if is_group(mac) {
            return;
        }
        if self.table.len() >= Switch::TABLE_MAX && !self.table.contains_key(&mac) {
            let oldest = self.table.iter().min_by_key(|(_, entry)| entry.seen);
            let oldest = oldest.map(|(mac, _)| *mac);
            oldest.and_then(|oldest| self.table.remove(&oldest));
        }
        let before = self.table.insert(mac, Entry { port, seen: self.now });
        self.counts.moved += u64::from(before.is_some_and(|entry| entry.port != port));
    }

    fn send(&mut self, from: usize, frame: Frame) {
        self.learn(frame.source, from);
        match self.table.get(&frame.target).map(|entry| entry.port) {
            Some(port) if port == from => self.counts.filtered += 1,
            Some(port) => {
                self.counts.forwarded += 1;
                self.deliver(port, frame);
            }
            None => {
                self.counts.flooded += 1;
                for port in (0..self.stations.len()).filter(|port| *port != from) {
                    self.deliver(port, frame.clone());
                }
            }
        }
    }

    fn deliver(&mut self, port: usize, frame: Frame) {
        let Some(station) = self.stations.get_mut(port) else {
            return;
        };
        if frame.target != station.mac && !is_group(frame.target) {
            return;
        }
        if station.queue.len() < Switch::QUEUE_MAX {
            station.queue.push_back(frame);
        } else {
            station.dropped += 1;
        }
    }
}

/// A switch.
#[derive(Debug, Default)]
pub struct Switch {
    state: Mutex<State>,
}

impl Switch {
    /// Addresses that it learns at most; a further one takes the place of the oldest.
    pub const TABLE_MAX: usize = 1024;
    /// How long it remembers an address that sends nothing.
    pub const AGE_MAX: Micros = Micros::from_millis(300_000);
    /// Frames that wait for a station at most; further ones are dropped.
    pub const QUEUE_MAX: usize = 256;

    /// A switch that has learned nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Tells the time, which does not go back, and forgets addresses that are too old.
    pub fn advance(&self, now: Tick) {
        let mut state = lock(&self.state);
        let now = state.now.max(now);
        state.now = now;
        state.table.retain(|_, entry| now.since(entry.seen) <= Self::AGE_MAX);
    }

    /// A new port with a station that has this address.
    pub fn plug(self: &Arc<Self>, mac: MacAddress) -> Port {
        let stations = &mut lock(&self.state).stations;
        stations.push(Station { mac, queue: VecDeque::new(), dropped: 0 });
        Port { switch: Arc::clone(self), number: stations.len() - 1, mac }
    }

    /// The port behind which an address is, if it was learned.
    #[must_use]
    pub fn port_of(&self, mac: MacAddress) -> Option<usize> {
        lock(&self.state).table.get(&mac).map(|entry| entry.port)
    }

    /// How many addresses it has learned.
    #[must_use]
    pub fn learned_count(&self) -> usize {
        lock(&self.state).table.len()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> SwitchCounts {
        lock(&self.state).counts
    }
}

/// A port of a switch, with the station that is plugged into it.
#[derive(Debug)]
pub struct Port {
    switch: Arc<Switch>,
    number: usize,
    mac: MacAddress,
}

impl Port {
    /// The port's number, from 0 in the order of plugging.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// The hardware address of its station.
    #[must_use]
    pub const fn mac(&self) -> MacAddress {
        self.mac
    }

    /// The switch.
    #[must_use]
    pub const fn switch(&self) -> &Arc<Switch> {
        &self.switch
    }

    /// Sends a frame. It comes from the station's own address, whatever it says.
    pub fn send(&self, frame: Frame) {
        lock(&self.switch.state).send(self.number, Frame { source: self.mac, ..frame });
    }

    /// The frame that has waited longest.
    #[must_use]
    pub fn receive(&self) -> Option<Frame> {
        self.with_station(|station| station.queue.pop_front())
    }

    /// How many frames wait.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.with_station(|station| station.queue.len())
    }

    /// How many frames were dropped because too many waited.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.with_station(|station| station.dropped)
    }

    /// Throws away the frames that wait.
    pub fn clear(&self) {
        self.with_station(|station| station.queue.clear());
    }

    fn with_station<T>(&self, action: impl FnOnce(&mut Station) -> T) -> T {
        // A port is made together with its station, and stations stay.
        action(&mut lock(&self.switch.state).stations[self.number])
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::ethernet::{BROADCAST, TYPE_LOCAL},
        *,
    };

    const A: MacAddress = [2, 0, 0, 0, 0, 1];
    const B: MacAddress = [2, 0, 0, 0, 0, 2];
    const C: MacAddress = [2, 0, 0, 0, 0, 3];

    fn to(target: MacAddress) -> Frame {
        Frame { target, source: [0; 6], kind: TYPE_LOCAL, payload: vec![0; 46] }
    }

    /// Which of the ports have a frame; takes it.
    fn reached(ports: &[Port]) -> Vec<usize> {
        let got = ports.iter().filter(|port| port.receive().is_some());
        got.map(Port::number).collect()
    }

    fn three() -> (Arc<Switch>, [Port; 3]) {
        let switch = Switch::new();
        let ports = [A, B, C].map(|mac| switch.plug(mac));
        (switch, ports)
    }

    #[test]
    fn broadcast_goes_to_all_others_and_a_learned_address_to_its_port_alone() {
        let (switch, ports) = three();
        ports[0].send(to(BROADCAST));
        assert_eq!(reached(&ports), [1, 2]);
        assert_eq!((switch.port_of(A), switch.port_of(B)), (Some(0), None));
        // Not learned yet: everybody gets it, and the station whose address it is takes it.
        ports[0].send(to(B));
        assert_eq!(reached(&ports), [1]);
        ports[1].send(to(A));
        assert_eq!(reached(&ports), [0]);
        let counts = SwitchCounts { forwarded: 1, flooded: 2, ..SwitchCounts::default() };
        assert_eq!(switch.counts(), counts);
        assert_eq!(switch.learned_count(), 2);
    }

    #[test]
    fn address_that_sends_from_another_port_is_found_there() {
        let switch = Switch::new();
        let ports = [A, A, B].map(|mac| switch.plug(mac));
        ports[0].send(to(BROADCAST));
        reached(&ports);
        ports[2].send(to(A));
        assert_eq!(reached(&ports), [0]);
        ports[1].send(to(BROADCAST));
        assert_eq!(reached(&ports), [0, 2]);
        assert_eq!((switch.port_of(A), switch.counts().moved), (Some(1), 1));
        ports[2].send(to(A));
        assert_eq!(reached(&ports), [1]);
        // What is for the port that it came from goes nowhere.
        ports[1].send(to(A));
        assert_eq!(reached(&ports), [] as [usize; 0]);
        assert_eq!(switch.counts().filtered, 1);
    }

    #[test]
    fn address_that_is_silent_for_too_long_is_forgotten() {
        let (switch, ports) = three();
        switch.advance(Tick::new(1000));
        ports[0].send(to(BROADCAST));
        switch.advance(Tick::new(1000).after(Switch::AGE_MAX));
        assert_eq!(switch.port_of(A), Some(0));
        // The clock does not go back.
        switch.advance(Tick::new(0));
        ports[1].send(to(BROADCAST));
        switch.advance(Tick::new(1001).after(Switch::AGE_MAX));
        assert_eq!((switch.port_of(A), switch.port_of(B)), (None, Some(1)));
    }

    #[test]
    fn table_is_bounded_and_loses_the_oldest_first() {
        let switch = Switch::new();
        let ports: Vec<_> = (0..Switch::TABLE_MAX as u64 + 2)
            .map(|number| {
                switch.advance(Tick::new(number));
                let [.., a, b] = number.to_be_bytes();
                let port = switch.plug([2, 0, 0, 0, a, b]);
                port.send(to(port.mac()));
                port
            })
            .collect();
        assert_eq!(switch.learned_count(), Switch::TABLE_MAX);
        let known = |number: usize| switch.port_of(ports[number].mac()).is_some();
        assert!(!known(0) && !known(1) && known(2) && known(Switch::TABLE_MAX + 1));
    }

    #[test]
    fn queue_is_bounded_and_keeps_the_oldest() {
        let (_switch, ports) = three();
        for number in 0..Switch::QUEUE_MAX as u16 + 3 {
            ports[0].send(Frame { kind: number, ..to(B) });
        }
        assert_eq!(ports[1].waiting_count(), Switch::QUEUE_MAX);
        assert_eq!((ports[1].dropped_count(), ports[2].dropped_count()), (3, 0));
        assert_eq!(ports[1].receive().unwrap().kind, 0);
        ports[1].clear();
        assert_eq!(ports[1].receive(), None);
    }

    #[test]
    fn group_address_is_never_learned() {
        let switch = Switch::new();
        let port = switch.plug(BROADCAST);
        port.send(to(A));
        assert_eq!(switch.learned_count(), 0);
    }
}
