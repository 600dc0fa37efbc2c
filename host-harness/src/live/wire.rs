//! What a link between monitors goes over: a socket, or channel-to-channel adapters.
//!
//! The ends over adapters are two channel subsystems, each stepped by the thread of its monitor.
//! What one has done wakes the other.
//!
//! Source of truth: `monitor_core::ports::Link`. Invariants: nothing blocks but [`Wire::wait`],
//! which is bounded; nobody is woken by a step that has done nothing. Deliberately not here: the
//! protocol on the adapters, and sockets.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use monitor_core::{
    ports::{ErrorType, Link},
    units::Tick,
};

use super::{
    Clock, LinkError, SocketLink,
    socket::{SocketKind, connected},
};
use crate::{
    config::LinkKind,
    ctc::{CtcCable, CtcLink},
};

/// The shortest wait: an adapter that waits for the other side has nothing to do at once.
const WAIT_MIN: Duration = Duration::from_micros(20);

/// How long an end that is dropped goes on with what it was sending.
const LINGER_MAX: Duration = Duration::from_millis(100);

/// One end of a link.
#[derive(Debug)]
pub enum Wire {
    /// A socket.
    Socket(SocketLink),
    /// A channel subsystem with adapters.
    Ctc(Box<CtcWire>),
}

/// Tells one thread what the other one has done.
#[derive(Debug, Default)]
struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.rung.notify_all();
    }

    fn count(&self) -> u64 {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has rung more often than that, or the time has passed.
    fn wait(&self, known: u64, time: Duration) {
        let until = Instant::now() + time;
        let mut rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        while *rings == known {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.rung.wait_timeout(rings, left);
            rings = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// An end over adapters.
#[derive(Debug)]
pub struct CtcWire {
    link: CtcLink,
    clock: Clock,
    bell: Arc<Bell>,
    /// How often the bell had rung before the latest step.
    rings: u64,
    /// When there is more to do, as far as this end knows.
    due: Option<Tick>,
}

impl CtcWire {
    const fn new(link: CtcLink, clock: Clock, bell: Arc<Bell>) -> Self {
        Self { link, clock, bell, rings: 0, due: None }
    }

    /// Does something at the present moment, and rings if anything has happened at the adapters.
    fn at_once<T>(&mut self, action: impl FnOnce(&mut CtcLink) -> T) -> T {
        self.rings = self.bell.count();
        let before = self.link.event_count();
        self.link.step(self.clock.now());
        let value = action(&mut self.link);
        self.due = self.link.step(self.clock.now());
        if self.link.event_count() != before {
            self.bell.ring();
            self.rings += 1;
        }
        value
    }

    fn wait(&self, time: Duration) {
        let due = self.due.map_or(time, |due| self.clock.until(due));
        self.bell.wait(self.rings, time.min(due.max(WAIT_MIN)));
    }
}

/// Two ends on this machine that are connected: the source's, which opens further connections, and
/// the target's.
///
/// # Errors
/// Fails when the operating system gives none.
pub fn joined(kind: LinkKind, clock: Clock) -> io::Result<(Wire, Wire)> {
    let sockets = |kind| connected(kind).map(|(here, there)| (here.into(), there.into()));
    match kind {
        LinkKind::Tcp => sockets(SocketKind::Tcp),
        LinkKind::Unix => sockets(SocketKind::Unix),
        LinkKind::Ctc => {
            let (_cable, here, there) = CtcCable::new();
            let bell = Arc::<Bell>::default();
            let end = |link| Wire::Ctc(Box::new(CtcWire::new(link, clock, Arc::clone(&bell))));
            Ok((end(here), end(there)))
        }
    }
}

impl From<SocketLink> for Wire {
    fn from(socket: SocketLink) -> Self {
        Self::Socket(socket)
    }
}

impl Wire {
    /// Waits until there is something to receive, or room to send if that is wanted, or news of a
    /// connection, or the time has passed; over adapters, until anything has happened.
    pub fn wait(&self, to_send: bool, time: Duration) {
        match self {
            Self::Socket(socket) => socket.wait(to_send, time),
            Self::Ctc(wire) => wire.wait(time),
        }
    }

    /// Cuts the present connection, as a fault of the network would.
    pub fn cut(&mut self) {
        match self {
            Self::Socket(socket) => socket.cut(),
            Self::Ctc(wire) => wire.at_once(CtcLink::cut),
        }
    }
}

impl Drop for CtcWire {
    /// What was taken to be sent is sent, as a socket that is closed does.
    fn drop(&mut self) {
        let until = Instant::now() + LINGER_MAX;
        while self.at_once(|link| link.is_sending()) && Instant::now() < until {
            self.wait(WAIT_MIN);
        }
        self.at_once(CtcLink::cut);
    }
}

impl ErrorType for Wire {
    type Error = LinkError;
}

impl Link for Wire {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, LinkError> {
        match self {
            Self::Socket(socket) => socket.try_send(source),
            Self::Ctc(wire) => {
                wire.at_once(|link| link.try_send(source)).map_err(|_| LinkError::Closed)
            }
        }
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, LinkError> {
        match self {
            Self::Socket(socket) => socket.try_receive(target),
            Self::Ctc(wire) => {
                wire.at_once(|link| link.try_receive(target)).map_err(|_| LinkError::Closed)
            }
        }
    }

    fn reconnect(&mut self) {
        match self {
            Self::Socket(socket) => socket.reconnect(),
            Self::Ctc(wire) => wire.at_once(CtcLink::reconnect),
        }
    }

    fn poll_connected(&mut self) -> bool {
        match self {
            Self::Socket(socket) => socket.poll_connected(),
            Self::Ctc(wire) => wire.at_once(CtcLink::poll_connected),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn ends() -> (Wire, Wire) {
        joined(LinkKind::Ctc, Clock::start()).unwrap()
    }

    /// Receives so many bytes; waits are bounded, and so is their number.
    fn receive(wire: &mut Wire, count: usize) -> Result<Vec<u8>, LinkError> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        for _ in 0..100_000 {
            filled += wire.try_receive(&mut bytes[filled..])?;
            if filled == count {
                return Ok(bytes);
            }
            wire.wait(false, Duration::from_millis(5));
        }
        panic!("nothing comes");
    }

    fn send(wire: &mut Wire, bytes: &[u8]) {
        let mut rest = bytes;
        for _ in 0..100_000 {
            rest = &rest[wire.try_send(rest).unwrap()..];
            if rest.is_empty() {
                return;
            }
            wire.wait(true, Duration::from_millis(5));
        }
        panic!("nothing is taken");
    }

    fn connect(wire: &mut Wire) {
        for _ in 0..10_000 {
            if wire.poll_connected() {
                return;
            }
            wire.wait(false, Duration::from_millis(5));
        }
        panic!("no connection stands");
    }

    #[test]
    fn two_threads_talk_over_adapters_and_connect_again_after_a_cut() {
        let (mut here, mut there) = ends();
        let sent: Vec<u8> = (0..400_000_u32).map(|number| (number % 241) as u8).collect();
        thread::scope(|scope| {
            let echo = scope.spawn(|| {
                for round in 0..3 {
                    if round > 0 {
                        there.reconnect();
                        connect(&mut there);
                    }
                    let bytes = receive(&mut there, sent.len()).unwrap();
                    send(&mut there, &bytes);
                    assert!(receive(&mut there, 1).is_err());
                }
            });
            for round in 0..3 {
                if round > 0 {
                    here.reconnect();
                    connect(&mut here);
                }
                send(&mut here, &sent);
                assert!(receive(&mut here, sent.len()).unwrap() == sent);
                here.cut();
                assert!(receive(&mut here, 1).is_err());
            }
            echo.join().unwrap();
        });
    }

    #[test]
    fn wait_ends_when_the_other_end_has_done_something() {
        let (mut here, mut there) = ends();
        assert_eq!(there.try_receive(&mut [0]).unwrap(), 0);
        let begun = Instant::now();
        here.try_send(b"x").unwrap();
        there.wait(false, Duration::from_secs(10));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
