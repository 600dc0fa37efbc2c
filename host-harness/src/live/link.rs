//! Links that are made slower than they are.
//!
//! Source of truth: `monitor_core::ports::Link`. Invariants: a delayed link holds back what it has
//! received, a capped one what it sends; what is held back belongs to one connection. Deliberately
//! not here: what the link goes over.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use monitor_core::ports::{ErrorType, Link};

use super::{LinkError, Wire};
use crate::config;

/// Bytes that a delayed link holds back at most.
const DELAYED_BYTES_MAX: usize = 64 << 20;

/// A capped link may send so long in advance.
const BURST: Duration = Duration::from_millis(2);

/// How much slower than it is a link is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Bytes per second, if capped.
    pub bytes_per_second: Option<u64>,
    /// Additional time that each byte takes.
    pub delay: Duration,
}

impl Shape {
    /// The shape of a configured link.
    #[must_use]
    pub fn of(link: &config::Link) -> Self {
        Self {
            bytes_per_second: link.bandwidth.map(|it| (it.bits_per_second / 8).max(1)),
            delay: link.delay.map_or(Duration::ZERO, |it| Duration::from_micros(it.get())),
        }
    }
}

/// A link with a shape.
#[derive(Debug)]
pub struct Shaped {
    wire: Wire,
    shape: Shape,
    /// The moment up to which the sent bytes have used the capped bandwidth.
    sent_until: Instant,
    delayed: VecDeque<(Instant, Vec<u8>)>,
    delayed_bytes: usize,
    taken: usize,
    closed: Option<LinkError>,
}

impl Shaped {
    /// This link in this shape.
    #[must_use]
    pub fn new(wire: impl Into<Wire>, shape: Shape) -> Self {
        Self {
            wire: wire.into(),
            shape,
            sent_until: Instant::now(),
            delayed: VecDeque::new(),
            delayed_bytes: 0,
            taken: 0,
            closed: None,
        }
    }

    /// Waits as [`Wire::wait`] does, no longer than until the shape lets bytes through.
    pub fn wait(&self, to_send: bool, time: Duration) {
        let now = Instant::now();
        let arrival = self.delayed.front().map(|(due, _)| due.saturating_duration_since(now));
        let time = arrival.map_or(time, |arrival| time.min(arrival));
        let room = self.sent_until.saturating_duration_since(now).saturating_sub(BURST);
        if to_send && !room.is_zero() {
            self.wire.wait(false, time.min(room));
        } else {
            self.wire.wait(to_send, time);
        }
    }

    /// Cuts the present connection, as a fault of the network would.
    pub fn cut(&mut self) {
        self.wire.cut();
    }

    /// Moves what has arrived into the queue.
    fn fill_delayed(&mut self) {
        while self.closed.is_none() && self.delayed_bytes < DELAYED_BYTES_MAX {
            let mut buffer = vec![0; 64 << 10];
            match self.wire.try_receive(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    buffer.truncate(count);
                    self.delayed_bytes += count;
                    self.delayed.push_back((Instant::now() + self.shape.delay, buffer));
                }
                Err(error) => self.closed = Some(error),
            }
        }
    }
}

impl ErrorType for Shaped {
    type Error = LinkError;
}

impl Link for Shaped {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, LinkError> {
        let Some(rate) = self.shape.bytes_per_second else {
            return self.wire.try_send(source);
        };
        let now = Instant::now();
        self.sent_until = self.sent_until.max(now);
        let free = (now + BURST).saturating_duration_since(self.sent_until);
        let bytes = free.as_micros().saturating_mul(u128::from(rate)) / 1_000_000;
        // A link so slow that its burst is less than a byte still carries one at a time.
        let least = usize::from(self.sent_until <= now);
        let count = usize::try_from(bytes).unwrap_or(usize::MAX).max(least).min(source.len());
        if count == 0 {
            return Ok(0);
        }
        let sent = self.wire.try_send(source.get(..count).unwrap_or(source))?;
        let nanos = (sent as u128).saturating_mul(1_000_000_000) / u128::from(rate);
        self.sent_until += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Ok(sent)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, LinkError> {
        if self.shape.delay.is_zero() {
            return self.wire.try_receive(target);
        }
        self.fill_delayed();
        let Some((due, bytes)) = self.delayed.front() else {
            return self.closed.take().map_or(Ok(0), |error| {
                self.closed = Some(LinkError::Closed);
                Err(error)
            });
        };
        if *due > Instant::now() {
            return Ok(0);
        }
        let rest = bytes.get(self.taken..).unwrap_or(&[]);
        let count = rest.len().min(target.len());
        for (to, from) in target.iter_mut().zip(rest) {
            *to = *from;
        }
        self.taken += count;
        if self.taken >= bytes.len() {
            self.taken = 0;
            self.delayed_bytes -= bytes.len();
            self.delayed.pop_front();
        }
        Ok(count)
    }

    fn reconnect(&mut self) {
        self.delayed.clear();
        (self.delayed_bytes, self.taken, self.closed) = (0, 0, None);
        self.wire.reconnect();
    }

    fn poll_connected(&mut self) -> bool {
        self.wire.poll_connected()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::LinkKind,
        live::{Clock, joined},
    };

    /// Receives until the link has closed; waits are bounded, and so is their number.
    fn drain(link: &mut Shaped) -> Vec<u8> {
        let mut received = Vec::new();
        let mut buffer = [0; 1000];
        for _ in 0..10_000 {
            match link.try_receive(&mut buffer) {
                Ok(0) => link.wait(false, Duration::from_millis(10)),
                Ok(count) => received.extend(buffer.iter().take(count)),
                Err(_) => return received,
            }
        }
        panic!("the link does not close");
    }

    #[test]
    fn every_shape_of_every_kind_delivers_all_bytes_in_order_and_then_closes() {
        let sent: Vec<u8> = (0..5_000_u32).map(|number| (number % 251) as u8).collect();
        let shapes = [
            Shape::default(),
            Shape { bytes_per_second: Some(2_000_000), delay: Duration::ZERO },
            Shape { bytes_per_second: None, delay: Duration::from_millis(2) },
        ];
        for kind in [LinkKind::Tcp, LinkKind::Unix, LinkKind::Ctc] {
            for shape in shapes {
                let (here, there) = joined(kind, Clock::start()).unwrap();
                let (mut here, mut there) = (Shaped::new(here, shape), Shaped::new(there, shape));
                let mut rest = sent.as_slice();
                let mut received = Vec::new();
                let mut buffer = [0; 1000];
                // Small pieces fill a socket early: they are taken out as they come.
                while !rest.is_empty() {
                    let count = here.try_send(rest).unwrap();
                    rest = &rest[count..];
                    let count = there.try_receive(&mut buffer).unwrap();
                    received.extend(&buffer[..count]);
                }
                // A socket has taken what it sends on by itself, adapters need both ends.
                while kind == LinkKind::Ctc && received.len() < sent.len() {
                    assert_eq!(here.try_receive(&mut buffer).unwrap(), 0);
                    let count = there.try_receive(&mut buffer).unwrap();
                    received.extend(&buffer[..count]);
                }
                drop(here);
                received.extend(drain(&mut there));
                assert!(received == sent, "{kind:?} {shape:?}");
            }
        }
    }

    #[test]
    fn a_link_slower_than_a_byte_a_burst_still_carries_bytes() {
        let (here, _there) = joined(LinkKind::Unix, Clock::start()).unwrap();
        let shape = Shape { bytes_per_second: Some(125), delay: Duration::ZERO };
        let mut here = Shaped::new(here, shape);
        assert_eq!(here.try_send(&[1, 2, 3]).unwrap(), 1);
    }
}
