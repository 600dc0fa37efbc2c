//! The exit status of `su390`.
//!
//! Source of truth: the help, which lists the same numbers. Invariant: after a move, 0 means that
//! the guest is on the target and that everything was compared and found equal. Deliberately
//! not here: words.

use std::process::ExitCode;

use crate::console::{Outcome, Report};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The move completed and was verified, or what was asked for was done or shown.
    Completed = 0,
    /// The move completed, and the verification failed.
    Unverified = 1,
    /// The command or the configuration is wrong, or the output could not be written.
    Usage = 2,
    /// The check rejected the move.
    Rejected = 3,
    /// The move was ended; the guest is on the source.
    Aborted = 4,
    /// The guest is held until the doubt is resolved.
    InDoubt = 5,
    /// The guest was lost with the SU that had it.
    Lost = 6,
}

impl Status {
    /// The status after a migration.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        match report.outcome {
            Outcome::Completed if report.is_verified() => Self::Completed,
            Outcome::Completed => Self::Unverified,
            Outcome::Rejected => Self::Rejected,
            Outcome::Aborted => Self::Aborted,
            Outcome::InDoubt => Self::InDoubt,
            Outcome::Lost => Self::Lost,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}
