//! Ports: the traits through which the driver reaches hardware, and their error kinds.
//!
//! Rules of this folder, after embedded-hal and Tock's TRD 3:
//! 1. One trait per use, control and data apart; `&mut self`; an associated error with a kind.
//! 2. Synchronous where the hardware is (copying a page, registers of a stopped processor). What
//!    takes time starts with `start_*`: `Ok` promises exactly one [`Completion`], `Err` none.
//! 3. A port never calls back. No method has a default that reports success for doing nothing.
//! 4. A port behind a mutable reference is that port: a driver can borrow what a monitor keeps.
//! 5. An implementation keeps its rich error; the driver reacts to [`ErrorKind`] alone.
//!
//! Deliberately not here: implementations, timers (time enters as a parameter), and any state.

use core::fmt;

mod forward;
mod host;
mod link;
mod machine;
mod storage;

pub use host::{ClusterDirectory, MonitorJournal, OperatorConsole, VmHost};
pub use link::{Checksum, Link};
pub use machine::{
    Completion, Completions, DeviceControl, GuestAnswer, GuestEvent, GuestEvents, GuestProcessors,
    Operation,
};
pub use storage::{DirtyTracking, GuestStorage, PageStates, StorageKeys};

/// What kind of failure a port reports; the driver decides on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operation is under way already, or the unit is busy.
    Busy,
    /// The unit is not in a state in which it can do this.
    NotReady,
    /// The unit refused: held by somebody else, fenced, or protected.
    Refused,
    /// An address, an index or a length lies outside of what exists.
    OutOfRange,
    /// Not enough storage or another resource.
    NoResource,
    /// The far side cannot be reached, or closed the connection.
    Unreachable,
    /// Data came back damaged.
    Damaged,
    /// The limit of time passed.
    TimedOut,
    /// Anything else.
    Other,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Busy => "busy",
            Self::NotReady => "not ready",
            Self::Refused => "refused",
            Self::OutOfRange => "out of range",
            Self::NoResource => "no resource left",
            Self::Unreachable => "unreachable",
            Self::Damaged => "data damaged",
            Self::TimedOut => "timed out",
            Self::Other => "other failure",
        })
    }
}

impl core::error::Error for ErrorKind {}

/// An error of a port: any error type that knows its kind.
pub trait PortError: core::error::Error {
    /// The kind, on which the driver decides.
    fn kind(&self) -> ErrorKind;
}

impl PortError for ErrorKind {
    fn kind(&self) -> ErrorKind {
        *self
    }
}

impl PortError for core::convert::Infallible {
    fn kind(&self) -> ErrorKind {
        match *self {}
    }
}

/// The error type that all ports of one implementation share.
pub trait ErrorType {
    /// The rich error of the implementation.
    type Error: PortError;
}

impl<T: ErrorType + ?Sized> ErrorType for &mut T {
    type Error = T::Error;
}
