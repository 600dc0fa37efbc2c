//! The time of day on a console line.
//!
//! Source of truth: the console format, six digits hhmmss. Invariant: UTC, so that the consoles
//! of two SUs agree. Deliberately not here: any clock that decides something.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// A time of day, shown as hhmmss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    second: u32,
}

impl Stamp {
    /// The present time of day.
    #[must_use]
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_seconds(since_epoch.as_secs())
    }

    /// The time of day so many seconds after a midnight.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        Self { second: u32::try_from(seconds % 86_400).unwrap_or(0) }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minute, second) = (self.second / 60, self.second % 60);
        write!(formatter, "{:02}{:02}{second:02}", minute / 60, minute % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_is_six_digits_and_begins_again_at_midnight() {
        assert_eq!(Stamp::from_seconds(7 * 60 + 1).to_string(), "000701");
        assert_eq!(Stamp::from_seconds(86_399).to_string(), "235959");
        assert_eq!(Stamp::from_seconds(86_400).to_string(), "000000");
    }
}
