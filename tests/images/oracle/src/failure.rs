//! Why there is nothing to judge, as text for a reader.
//!
//! Source of truth: none. Invariant: a failure says what was wanted of whom. Deliberately not here:
//! kinds of failures, since nothing depends on them.

use std::{fmt, io};

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// What a part of the program gives.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that is told so.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What the system refused to do with a file or a program.
    pub(crate) fn of_io(what: &str, path: &str, error: &io::Error) -> Self {
        Self(format!("cannot {what} {path}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.trim_end())
    }
}
