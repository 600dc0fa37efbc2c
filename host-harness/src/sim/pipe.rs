//! A link in memory that can be cut, capped, and made to carry wrong bytes.
//!
//! Source of truth: `monitor_core::ports::Link`. Invariants: bytes arrive in order; what is in
//! the pipe when it is cut is lost. Deliberately not here: time; a cap is one of bytes between
//! two calls of [`Pipe::refill`].

use std::{
    collections::VecDeque,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use monitor_core::ports::{ErrorKind, ErrorType, Link};

/// Bytes that each direction holds at most.
const CAPACITY: usize = 1 << 20;

/// One of the two directions of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the source sends.
    ToTarget,
    /// What the target sends.
    ToSource,
}

#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    allowance: usize,
    passed: u64,
    /// Replaces the byte at this place of the stream by itself exclusive-or the mask.
    wrong: Option<(u64, u8)>,
    cut_after: Option<u64>,
}

#[derive(Debug, Default)]
struct Lanes {
    to_target: Lane,
    to_source: Lane,
    cut: bool,
    /// Which ends want another connection: the source's, the target's.
    wanted: [bool; 2],
    /// Which ends do not know yet that another one stands.
    news: [bool; 2],
    is_severed: bool,
}

impl Lanes {
    const fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::ToTarget => &mut self.to_target,
            Direction::ToSource => &mut self.to_source,
        }
    }
}

/// A link between two ends.
#[derive(Clone, Debug, Default)]
pub struct Pipe {
    lanes: Arc<Mutex<Lanes>>,
}

impl Pipe {
    /// A pipe through which nothing has gone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The two ends: the source's and the target's.
    #[must_use]
    pub fn ends(&self) -> (PipeEnd, PipeEnd) {
        let end = |sends| PipeEnd { pipe: self.clone(), sends };
        (end(Direction::ToTarget), end(Direction::ToSource))
    }

    /// Lets so many bytes pass in each direction until the next call.
    pub fn refill(&self, allowance: usize) {
        let mut lanes = self.lanes();
        lanes.to_target.allowance = allowance;
        lanes.to_source.allowance = allowance;
    }

    /// Cuts the pipe now.
    pub fn cut(&self) {
        let mut lanes = self.lanes();
        lanes.cut = true;
        lanes.to_target.bytes.clear();
        lanes.to_source.bytes.clear();
    }

    /// Makes the present connection the last one, until the pipe is mended.
    pub fn sever(&self) {
        self.lanes().is_severed = true;
    }

    /// Lets a pipe be connected again.
    pub fn mend(&self) {
        self.lanes().is_severed = false;
    }

    /// Cuts the pipe when so many bytes have passed in a direction.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.lanes().lane(direction).cut_after = Some(bytes);
    }

    /// Makes the byte at this place of a direction wrong.
    pub fn falsify(&self, direction: Direction, place: u64, mask: u8) {
        self.lanes().lane(direction).wrong = Some((place, mask));
    }

    /// Puts bytes into a direction that nobody has sent.
    pub fn inject(&self, direction: Direction, bytes: &[u8]) {
        self.lanes().lane(direction).bytes.extend(bytes);
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, direction: Direction, source: &[u8]) -> Result<usize, ErrorKind> {
        let mut lanes = self.lanes();
        if lanes.cut {
            return Err(ErrorKind::Unreachable);
        }
        let lane = lanes.lane(direction);
        let room = CAPACITY.saturating_sub(lane.bytes.len()).min(lane.allowance);
        let count = source.len().min(room);
        let mut cut = false;
        for byte in source.iter().take(count) {
            if lane.cut_after.is_some_and(|limit| lane.passed >= limit) {
                cut = true;
                break;
            }
            let wrong = lane.wrong.filter(|(place, _)| *place == lane.passed);
            lane.bytes.push_back(byte ^ wrong.map_or(0, |(_, mask)| mask));
            lane.passed += 1;
        }
        lane.allowance -= count;
        if cut {
            lanes.cut = true;
        }
        Ok(count)
    }

    fn reconnect(&self, end: usize) {
        self.cut();
        let mut lanes = self.lanes();
        lanes.wanted[end] = true;
        lanes.news[end] = false;
    }

    /// Another connection stands when both ends want one.
    fn connected(&self, end: usize) -> bool {
        let mut lanes = self.lanes();
        if lanes.wanted == [true; 2] && !lanes.is_severed {
            lanes.wanted = [false; 2];
            lanes.news = [true; 2];
            lanes.cut = false;
            lanes.to_target.cut_after = None;
            lanes.to_source.cut_after = None;
        }
        std::mem::take(&mut lanes.news[end])
    }

    fn receive(&self, direction: Direction, target: &mut [u8]) -> Result<usize, ErrorKind> {
        let mut lanes = self.lanes();
        let count = lanes.lane(direction).bytes.read(target).unwrap_or(0);
        if count == 0 && lanes.cut && !target.is_empty() {
            return Err(ErrorKind::Unreachable);
        }
        Ok(count)
    }
}

/// One end of a pipe.
#[derive(Clone, Debug)]
pub struct PipeEnd {
    pipe: Pipe,
    sends: Direction,
}

impl PipeEnd {
    const fn index(&self) -> usize {
        match self.sends {
            Direction::ToTarget => 0,
            Direction::ToSource => 1,
        }
    }
}

impl ErrorType for PipeEnd {
    type Error = ErrorKind;
}

impl Link for PipeEnd {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        self.pipe.send(self.sends, source)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        let receives = match self.sends {
            Direction::ToTarget => Direction::ToSource,
            Direction::ToSource => Direction::ToTarget,
        };
        self.pipe.receive(receives, target)
    }

    fn reconnect(&mut self) {
        self.pipe.reconnect(self.index());
    }

    fn poll_connected(&mut self) -> bool {
        self.pipe.connected(self.index())
    }
}
