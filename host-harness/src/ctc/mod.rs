//! A migration link over channel programs: two monitor systems, joined by a pair of
//! channel-to-channel adapters, one for each direction.
//!
//! A message is written by one WRITE. The other side is told by attention, and only then reads it
//! by one READ; so the two never wait for each other. What was not taken yet keeps the next
//! message from being read, and so from being written.
//!
//! | message | from | meaning |
//! | --- | --- | --- |
//! | DATA | both | bytes of the stream, in the order of their sequence numbers |
//! | OPEN | source | a connection of a new number; said again until it is accepted |
//! | ACCEPT | target | the connection stands |
//! | CLOSE | both | this end has given the connection up |
//!
//! Source of truth: `monitor_core::ports::Link`; the protocol that works on the adapters of
//! Hercules. Invariants: bytes come in order or the connection is cut; what belongs to a former
//! connection is thrown away. Deliberately not here: threads and clocks; an end is stepped.

mod channel;
mod message;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    io::Read as _,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};

use monitor_core::{
    ports::{ErrorKind, ErrorType, Link},
    units::{Micros, Tick},
};

use self::{
    channel::{Channel, News},
    message::{DATA_BYTES_MAX, Header, Kind},
};
use crate::machine::Ctc;

/// From one OPEN to the next, as long as none is accepted.
const OPEN_INTERVAL: Micros = Micros::from_millis(10);

/// What joins two ends, and may be cut.
#[derive(Debug, Default)]
struct Cable {
    cuts: AtomicU32,
    is_severed: AtomicBool,
}

/// A pair of adapters that joins two monitor systems.
#[derive(Clone, Debug, Default)]
pub struct CtcCable {
    cable: Arc<Cable>,
}

impl CtcCable {
    /// Two ends that are connected: the source's and the target's.
    #[must_use]
    pub fn new() -> (Self, CtcLink, CtcLink) {
        let this = Self::default();
        let ((here, there), (back, forth)) = (Ctc::pair(), Ctc::pair());
        let end = |sends, receives, role| CtcLink::new(&this, Channel::new(sends, receives), role);
        let mut source = end(here, forth, Role::Source);
        let mut target = end(back, there, Role::Target);
        source.channel.open();
        target.channel.open();
        (this, source, target)
    }

    /// Cuts the present connection, as a fault of the cable would.
    pub fn cut(&self) {
        self.cable.cuts.fetch_add(1, AcqRel);
    }

    /// Keeps further connections from standing, or lets them again.
    pub fn sever(&self, is_severed: bool) {
        self.cable.is_severed.store(is_severed, Release);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Source,
    Target,
}

/// How far an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The connection stands.
    Open,
    /// It was cut.
    Cut,
    /// Another one is wanted; the source says OPEN again then.
    Wanted(Tick),
}

/// One end of a link.
#[derive(Debug)]
pub struct CtcLink {
    cable: CtcCable,
    channel: Channel,
    role: Role,
    state: State,
    now: Tick,
    /// The number of the present connection, or of the one that is wanted.
    connection: u64,
    /// The number of a newer connection that the source has opened.
    offered: Option<u64>,
    /// The connection stands, and nobody has asked yet.
    is_new: bool,
    /// Cuts of the cable that this end knows of.
    cuts: u32,
    /// The other side has called, and was not read yet.
    is_called: bool,
    /// Messages without data that are to be sent first.
    control: VecDeque<(Kind, u64)>,
    sent: u64,
    taken: u64,
    /// What has happened at the adapters.
    events: u64,
    /// Bytes that have arrived and were not taken.
    arrived: VecDeque<u8>,
}

impl CtcLink {
    fn new(cable: &CtcCable, channel: Channel, role: Role) -> Self {
        Self {
            cable: cable.clone(),
            channel,
            role,
            state: State::Open,
            now: Tick::new(0),
            connection: 0,
            offered: None,
            is_new: false,
            cuts: 0,
            is_called: false,
            control: VecDeque::new(),
            sent: 0,
            taken: 0,
            events: 0,
            arrived: VecDeque::new(),
        }
    }

    /// Lets the channel programs go on, and says when there is more to do, as far as this end
    /// knows.
    pub fn step(&mut self, now: Tick) -> Option<Tick> {
        self.now = self.now.max(now);
        let cuts = self.cable.cable.cuts.load(Acquire);
        if cuts != self.cuts {
            self.cuts = cuts;
            self.cut();
        }
        self.channel.step(self.now);
        let sent = self.channel.sent();
        if sent == Some(News::Failed) {
            self.fail();
        }
        let received = self.channel.received();
        self.events += u64::from(sent.is_some()) + u64::from(received.is_some());
        match received {
            Some(News::Called) => self.is_called = true,
            Some(News::Failed) => self.fail(),
            Some(News::Done) => self.read(),
            None => {}
        }
        if self.is_called && self.arrived.is_empty() && !self.channel.is_receiving() {
            self.is_called = !self.channel.receive(self.now);
            self.events += u64::from(!self.is_called);
        }
        self.speak();
        self.channel.step(self.now)
    }

    /// Whether something is on its way to the other end, over a connection that stands.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.state == State::Open && (self.channel.is_sending() || !self.control.is_empty())
    }

    /// How much has happened at the adapters that the other end has to look at.
    #[must_use]
    pub const fn event_count(&self) -> u64 {
        self.events
    }

    /// Cuts the present connection: both adapters are not ready for the other side either.
    pub fn cut(&mut self) {
        self.channel.close();
        self.events += 1;
        self.is_called = false;
        if self.state == State::Open {
            self.state = State::Cut;
        }
    }

    /// A program has failed: the other side is gone, and with it the connection.
    fn fail(&mut self) {
        if self.state == State::Open {
            self.state = State::Cut;
        }
    }

    /// Sends what is to be said without data.
    fn speak(&mut self) {
        if let State::Wanted(due) = self.state
            && self.role == Role::Source
            && due <= self.now
            && self.control.is_empty()
        {
            self.state = State::Wanted(self.now.after(OPEN_INTERVAL));
            self.control.push_back((Kind::Open, self.connection));
        }
        if self.channel.is_sending() || self.is_severed() {
            return;
        }
        if let Some((kind, connection)) = self.control.front().copied() {
            let message = message::emit(Header { kind, connection, sequence: 0 }, &[]);
            if self.channel.send(&message, self.now) {
                self.control.pop_front();
                self.events += 1;
            }
        }
    }

    fn is_severed(&self) -> bool {
        self.cable.cable.is_severed.load(Acquire)
    }

    /// Takes the message that was read.
    fn read(&mut self) {
        let bytes = self.channel.message();
        let Some((header, data)) = message::parse(&bytes) else {
            return self.fail();
        };
        let is_present = header.connection == self.connection;
        match (header.kind, self.role) {
            (Kind::Data, _) if is_present && self.state == State::Open => {
                if header.sequence == self.taken {
                    self.taken += 1;
                    self.arrived.extend(data);
                } else {
                    self.fail();
                }
            }
            (Kind::Close, _) if is_present => self.fail(),
            (Kind::Open, Role::Target) if header.connection > self.connection => {
                self.offered = Some(header.connection);
                self.fail();
            }
            // The answer to an earlier one may have been lost.
            (Kind::Open, Role::Target) if is_present && self.state == State::Open => {
                let accept = (Kind::Accept, self.connection);
                if !self.control.contains(&accept) {
                    self.control.push_back(accept);
                }
            }
            (Kind::Accept, Role::Source) if is_present => {
                if let State::Wanted(_) = self.state {
                    (self.state, self.is_new) = (State::Open, true);
                }
            }
            // It belongs to a connection that was given up.
            _ => {}
        }
    }

    /// Begins a connection of this number.
    fn begin(&mut self, connection: u64) {
        (self.connection, self.sent, self.taken) = (connection, 0, 0);
        self.arrived.clear();
    }
}

impl Drop for CtcLink {
    fn drop(&mut self) {
        self.channel.close();
    }
}

impl ErrorType for CtcLink {
    type Error = ErrorKind;
}

impl Link for CtcLink {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        self.step(self.now);
        if self.state != State::Open {
            return Err(ErrorKind::Unreachable);
        }
        let is_free = !self.channel.is_sending() && self.control.is_empty();
        let data = source.get(..source.len().min(DATA_BYTES_MAX)).unwrap_or(source);
        if !is_free || data.is_empty() {
            return Ok(0);
        }
        let header = Header { kind: Kind::Data, connection: self.connection, sequence: self.sent };
        if !self.channel.send(&message::emit(header, data), self.now) {
            return Ok(0);
        }
        self.sent += 1;
        self.events += 1;
        self.channel.step(self.now);
        Ok(data.len())
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        self.step(self.now);
        let count = self.arrived.read(target).unwrap_or(0);
        if count == 0 && self.state != State::Open && !target.is_empty() {
            return Err(ErrorKind::Unreachable);
        }
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.channel.close();
        self.channel.open();
        self.events += 1;
        self.control.clear();
        (self.is_called, self.is_new) = (false, false);
        if self.role == Role::Source {
            self.begin(self.connection + 1);
        } else {
            self.control.push_back((Kind::Close, self.connection));
            self.arrived.clear();
        }
        self.state = State::Wanted(self.now);
    }

    fn poll_connected(&mut self) -> bool {
        self.step(self.now);
        if self.is_severed() {
            return false;
        }
        if let (State::Wanted(_), Some(offered)) = (self.state, self.offered) {
            self.offered = None;
            self.begin(offered);
            self.control.push_back((Kind::Accept, offered));
            (self.state, self.is_new) = (State::Open, true);
        }
        std::mem::take(&mut self.is_new)
    }
}
