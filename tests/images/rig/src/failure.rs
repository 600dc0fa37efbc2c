//! Why a case has failed, as text for a reader.
//!
//! Source of truth: none. Invariant: a failure says what was expected of whom, and what there was
//! instead. Deliberately not here: kinds of failures, since nothing depends on them.

use std::{fmt, io, path::Path};

/// What went wrong, in one or many lines.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// What a case gives.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that is told so.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What the system refused to do with a file or a program.
    pub(crate) fn of_io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self(format!("{what} {}: {error}", path.display()))
    }

    /// The same failure with more to read below it.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.0.push('\n');
        self.0.push_str(more);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.trim_end())
    }
}

/// Fails with this text unless it is so.
pub(crate) fn ensure(is_so: bool, text: impl FnOnce() -> String) -> Result<()> {
    if is_so { Ok(()) } else { Err(Failure::new(text())) }
}
