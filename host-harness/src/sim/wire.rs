//! What two simulated ends talk over: a pipe in memory, or channel-to-channel adapters.
//!
//! Source of truth: `monitor_core::ports::Link`. Invariant: both kinds are stepped by the virtual
//! clock and give the same course each time. Deliberately not here: wrong and foreign bytes, which
//! only a [`Pipe`] carries: adapters tell them from their own.

use monitor_core::{
    ports::{ErrorKind, ErrorType, Link},
    units::Tick,
};

use super::{Pipe, PipeEnd};
use crate::ctc::{CtcCable, CtcLink};

/// What the ends of an attempt talk over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireKind {
    /// A pipe in memory.
    #[default]
    Pipe,
    /// Channel programs of both monitor systems.
    Ctc,
}

/// A link between two simulated ends.
#[derive(Clone, Debug)]
pub(super) enum Wire {
    Pipe(Pipe),
    Ctc(CtcCable),
}

impl Wire {
    /// A link of this kind with its ends: the source's and the target's.
    pub(super) fn new(kind: WireKind) -> (Self, WireEnd, WireEnd) {
        match kind {
            WireKind::Pipe => {
                let pipe = Pipe::new();
                let (here, there) = pipe.ends();
                (Self::Pipe(pipe), WireEnd::Pipe(here), WireEnd::Pipe(there))
            }
            WireKind::Ctc => {
                let (cable, here, there) = CtcCable::new();
                let end = |link| WireEnd::Ctc(Box::new(link));
                (Self::Ctc(cable), end(here), end(there))
            }
        }
    }

    /// Lets so many bytes pass in each direction until the next call. Adapters have their own
    /// speed, which nothing slows down.
    pub(super) fn refill(&self, allowance: usize) {
        match self {
            Self::Pipe(pipe) => pipe.refill(allowance),
            Self::Ctc(_) => {}
        }
    }

    /// Cuts the present connection.
    pub(super) fn cut(&self) {
        match self {
            Self::Pipe(pipe) => pipe.cut(),
            Self::Ctc(cable) => cable.cut(),
        }
    }

    /// Makes the present connection the last one.
    pub(super) fn sever(&self) {
        match self {
            Self::Pipe(pipe) => pipe.sever(),
            Self::Ctc(cable) => cable.sever(true),
        }
    }

    /// The pipe, if it is one.
    pub(super) const fn pipe(&self) -> Option<&Pipe> {
        match self {
            Self::Pipe(pipe) => Some(pipe),
            Self::Ctc(_) => None,
        }
    }
}

/// One end of a link between two simulated ends.
#[derive(Debug)]
pub(super) enum WireEnd {
    Pipe(PipeEnd),
    Ctc(Box<CtcLink>),
}

impl WireEnd {
    /// Tells the time.
    pub(super) fn set_now(&mut self, now: Tick) {
        if let Self::Ctc(link) = self {
            link.step(now);
        }
    }

    fn link(&mut self) -> &mut dyn Link<Error = ErrorKind> {
        match self {
            Self::Pipe(end) => end,
            Self::Ctc(link) => &mut **link,
        }
    }
}

impl ErrorType for WireEnd {
    type Error = ErrorKind;
}

impl Link for WireEnd {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        self.link().try_send(source)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        self.link().try_receive(target)
    }

    fn reconnect(&mut self) {
        self.link().reconnect();
    }

    fn poll_connected(&mut self) -> bool {
        self.link().poll_connected()
    }
}
