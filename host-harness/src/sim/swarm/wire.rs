//! The network between two monitors: segments below an ordered byte stream.
//!
//! A segment that is lost, doubled, swapped or corrupted leaves a stream with a gap or with wrong
//! bytes: what a checksum of the transport let pass. Nothing passes a partition; what was sent
//! into it comes behind it, unless the connection breaks before.
//!
//! Source of truth: `monitor_core::ports::Link`. Invariants: what arrives, arrives in the order
//! of the segments; a connection that is over stays over; a newer one takes the place of an older
//! one, and who still uses the older one finds it cut. Deliberately not here: which faults strike
//! when.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use monitor_core::{
    ports::{ErrorKind, ErrorType, Link},
    units::{Micros, Tick},
};

use super::{
    fault::{End, FaultKind},
    plan::LinkPlan,
    shared::Spot,
};

const NEVER: Tick = Tick::new(u64::MAX);

#[derive(Debug)]
struct Segment {
    arrives: Tick,
    bytes: Vec<u8>,
    taken: usize,
}

/// What one end sends.
#[derive(Debug)]
struct Lane {
    segments: VecDeque<Segment>,
    bytes: usize,
    busy_until: Tick,
    last_arrival: Tick,
    /// Nothing arrives before this moment.
    blocked_until: Tick,
    /// Bytes until the connection is cut.
    cut_after: Option<usize>,
    /// When the sender is told that the connection is over.
    ends_at: Tick,
}

impl Lane {
    const fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            bytes: 0,
            busy_until: Tick::new(0),
            last_arrival: Tick::new(0),
            blocked_until: Tick::new(0),
            cut_after: None,
            ends_at: NEVER,
        }
    }

    /// Another connection begins; what hinders the way stays.
    fn begin(&mut self) {
        let (blocked_until, cut_after) = (self.blocked_until, self.cut_after);
        let mut segments = std::mem::take(&mut self.segments);
        segments.clear();
        *self = Self { segments, blocked_until, cut_after, ..Self::new() };
    }
}

/// The connection between the two ends of an attempt.
#[derive(Debug)]
pub(super) struct Wire {
    plan: LinkPlan,
    /// By the end that sends.
    lanes: [Lane; 2],
    /// Until when everything takes longer, and by how much.
    delayed: (Tick, Micros),
    /// Until when the link carries little.
    slow_until: Tick,
    /// When another connection stands.
    connects_at: Option<Tick>,
    /// The number of the latest connection, and when it stood.
    connections: u32,
    stood_at: Tick,
    /// The connection that each end uses, and whether it waits for another one.
    uses: [u32; 2],
    waits: [bool; 2],
}

/// How long it is waited before a connection is tried again.
const TRY_AGAIN: Micros = Micros::from_millis(3);

impl Wire {
    pub(super) const fn new(plan: LinkPlan) -> Self {
        Self {
            plan,
            lanes: [Lane::new(), Lane::new()],
            delayed: (Tick::new(0), Micros::new(0)),
            slow_until: Tick::new(0),
            connects_at: None,
            connections: 1,
            stood_at: Tick::new(0),
            uses: [1; 2],
            waits: [false; 2],
        }
    }

    /// How many connections there were.
    pub(super) const fn connections(&self) -> u32 {
        self.connections
    }

    /// Cuts the connection; both ends are told, and what is under way is lost.
    pub(super) fn cut(&mut self, now: Tick) {
        for lane in &mut self.lanes {
            lane.segments.clear();
            lane.bytes = 0;
            // Later than now, so that an end that has looked at the link just now looks again.
            lane.ends_at = lane.ends_at.min(now.after(Micros::new(1)));
        }
    }

    /// One end closes: the other one is told behind what it was sent.
    pub(super) fn close(&mut self, end: End, now: Tick) {
        let last = self.lanes[end.place()].last_arrival;
        let own = &mut self.lanes[end.place()];
        own.ends_at = own.ends_at.min(now);
        let other = &mut self.lanes[end.other().place()];
        other.ends_at = other.ends_at.min(last.max(now.after(self.plan.delay)));
    }

    /// Nothing that `end` sends arrives for a while.
    pub(super) fn block(&mut self, end: End, now: Tick, span: Micros) {
        let until = now.after(span);
        let lane = &mut self.lanes[end.place()];
        lane.blocked_until = lane.blocked_until.max(until);
        for segment in &mut lane.segments {
            if segment.arrives > now {
                segment.arrives = segment.arrives.max(until);
            }
        }
        lane.last_arrival = lane.last_arrival.max(until);
        // A sender that nobody acknowledges gives up in the end, if it has sent anything.
        if span > self.plan.patience {
            lane.ends_at = lane.ends_at.min(now.after(self.plan.patience));
        }
    }

    /// Everything takes longer for a while.
    pub(super) fn delay(&mut self, now: Tick, span: Micros) {
        self.delayed = (now.after(span), Micros::new(span.get() / 4));
    }

    /// The link carries little for a while.
    pub(super) fn slow_down(&mut self, now: Tick, span: Micros) {
        self.slow_until = now.after(span);
    }

    /// The connection is cut when `end` has sent so many bytes more.
    pub(super) fn cut_after(&mut self, end: End, bytes: usize) {
        self.lanes[end.place()].cut_after = Some(bytes);
    }

    /// Whether the time for another connection has come.
    pub(super) fn is_connecting(&self, now: Tick) -> bool {
        self.connects_at.is_some_and(|at| at <= now)
    }

    /// Another connection stands if somebody listens and something passes; otherwise it is tried
    /// again.
    pub(super) fn connect(&mut self, now: Tick, is_heard: bool) -> bool {
        let blocked = self.lanes.iter().map(|lane| lane.blocked_until).max().unwrap_or(now);
        if !is_heard || blocked > now {
            self.connects_at = Some(blocked.max(now.after(TRY_AGAIN)).after(self.plan.delay));
            return false;
        }
        self.connects_at = None;
        self.connections += 1;
        self.stood_at = now.after(Micros::new(1));
        for lane in &mut self.lanes {
            lane.begin();
        }
        true
    }

    /// A monitor that has just begun uses the latest connection.
    pub(super) const fn welcome(&mut self, end: End) {
        self.uses[end.place()] = self.connections;
        self.waits[end.place()] = false;
    }

    /// The next moment after `since` at which `end` has something to do.
    pub(super) fn next_event(&self, end: End, since: Tick, is_sending: bool) -> Option<Tick> {
        let lane = &self.lanes[end.other().place()];
        let own = &self.lanes[end.place()];
        let arrival = lane.segments.front().map(|it| it.arrives);
        let ends = Some(own.ends_at).filter(|at| *at < NEVER);
        let room =
            (is_sending && own.bytes < self.plan.capacity).then(|| since.after(Micros::new(1)));
        let news = (self.uses[end.place()] < self.connections).then_some(self.stood_at);
        let events = [arrival, ends, room, news].into_iter().flatten();
        let connects = self.connects_at.filter(|_| end == End::Source);
        events.filter(|at| *at >= since).chain(connects).min()
    }

    /// Whether the connection of `end` is over, or an older one than the present.
    fn is_over(&self, end: End, now: Tick) -> bool {
        let place = end.place();
        self.uses[place] < self.connections || self.lanes[place].ends_at <= now
    }

    fn reconnect(&mut self, end: End, now: Tick) {
        self.waits[end.place()] = true;
        if end == End::Source {
            if self.uses[end.place()] == self.connections {
                self.cut(now);
            }
            let setup = self.plan.delay.plus(self.plan.delay);
            self.connects_at = Some(now.after(setup));
        }
    }

    fn poll_connected(&mut self, end: End) -> bool {
        let place = end.place();
        let is_new = self.waits[place] && self.uses[place] < self.connections;
        if is_new {
            self.welcome(end);
        }
        is_new
    }

    fn send(&mut self, spot: &Spot<'_>, source: &[u8]) -> Result<usize, ErrorKind> {
        let now = spot.shared.now();
        if self.is_over(spot.end, now) {
            return Err(ErrorKind::Unreachable);
        }
        let lane = &mut self.lanes[spot.end.place()];
        let mut count = source.len().min(self.plan.capacity.saturating_sub(lane.bytes));
        let mut is_cut = false;
        if let Some(left) = &mut lane.cut_after {
            is_cut = *left <= count;
            count = count.min(*left);
            *left -= count;
        }
        if is_cut {
            lane.cut_after = None;
        }
        let (bytes, _) = source.split_at(count);
        for segment in bytes.chunks(self.plan.segment_bytes) {
            self.carry(spot, now, segment);
        }
        if is_cut {
            spot.struck(FaultKind::CutAtByte);
            self.cut_after_arrival(now);
        }
        Ok(count)
    }

    /// Both ends are told that the connection is over once what is under way has arrived.
    fn cut_after_arrival(&mut self, now: Tick) {
        let soon = now.after(Micros::new(1));
        let last = self.lanes.iter().map(|it| it.last_arrival).fold(soon, Tick::max);
        for lane in &mut self.lanes {
            lane.ends_at = lane.ends_at.min(last);
        }
    }

    fn carry(&mut self, spot: &Spot<'_>, now: Tick, bytes: &[u8]) {
        let slow = if now < self.slow_until { 50 } else { 1 };
        let time = bytes.len() as u64 * 1_000_000 * slow / self.plan.rate;
        let late = if now < self.delayed.0 { self.delayed.1 } else { Micros::new(0) };
        let jitter = Micros::new(spot.shared.draw(self.plan.jitter.get()));
        let lane = &mut self.lanes[spot.end.place()];
        lane.busy_until = lane.busy_until.max(now).after(Micros::new(time));
        let arrives = lane.busy_until.after(self.plan.delay).after(jitter).after(late);
        let arrives = arrives.max(lane.last_arrival).max(lane.blocked_until);
        lane.last_arrival = arrives;
        if spot.strikes(FaultKind::Loss) {
            return;
        }
        let mut bytes = bytes.to_vec();
        if spot.strikes(FaultKind::Corrupt) {
            let place = spot.shared.draw(bytes.len() as u64 * 8);
            bytes[(place / 8) as usize] ^= 1 << (place % 8);
        }
        // Counted before it may change places with a segment of another length.
        lane.bytes += bytes.len();
        let before = lane.segments.back_mut().filter(|it| it.taken == 0);
        if let Some(before) = before.filter(|_| spot.strikes(FaultKind::Reorder)) {
            std::mem::swap(&mut before.bytes, &mut bytes);
        }
        if spot.strikes(FaultKind::Duplicate) {
            lane.bytes += bytes.len();
            lane.segments.push_back(Segment { arrives, bytes: bytes.clone(), taken: 0 });
        }
        lane.segments.push_back(Segment { arrives, bytes, taken: 0 });
    }

    fn receive(&mut self, end: End, now: Tick, target: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.uses[end.place()] < self.connections {
            return Err(ErrorKind::Unreachable);
        }
        let lane = &mut self.lanes[end.other().place()];
        let mut count = 0;
        while let Some(segment) = lane.segments.front_mut().filter(|it| it.arrives <= now) {
            let rest = &segment.bytes[segment.taken..];
            let room = &mut target[count..];
            let part = rest.len().min(room.len());
            room[..part].copy_from_slice(&rest[..part]);
            (segment.taken, count) = (segment.taken + part, count + part);
            if segment.taken < segment.bytes.len() {
                break;
            }
            lane.bytes -= segment.bytes.len();
            lane.segments.pop_front();
        }
        if count == 0 && !target.is_empty() && self.is_over(end, now) {
            return Err(ErrorKind::Unreachable);
        }
        Ok(count)
    }
}

/// One end of the link.
#[derive(Debug)]
pub(super) struct LinkPort<'a> {
    spot: Rc<Spot<'a>>,
    wire: Rc<RefCell<Wire>>,
}

impl<'a> LinkPort<'a> {
    pub(super) const fn new(spot: Rc<Spot<'a>>, wire: Rc<RefCell<Wire>>) -> Self {
        Self { spot, wire }
    }
}

impl ErrorType for LinkPort<'_> {
    type Error = ErrorKind;
}

impl Link for LinkPort<'_> {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        if !self.spot.lives() {
            return Ok(0);
        }
        self.wire.borrow_mut().send(&self.spot, source)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.spot.is_dead() {
            return Ok(0);
        }
        self.wire.borrow_mut().receive(self.spot.end, self.spot.shared.now(), target)
    }

    fn reconnect(&mut self) {
        if self.spot.lives() {
            self.wire.borrow_mut().reconnect(self.spot.end, self.spot.shared.now());
        }
    }

    fn poll_connected(&mut self) -> bool {
        !self.spot.is_dead() && self.wire.borrow_mut().poll_connected(self.spot.end)
    }
}
