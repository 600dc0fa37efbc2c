//! What a source's monitor tells of a move in figures.
//!
//! Source of truth: `tests/images/su390/src/monitor/report.rs` (`# MOVE … name=number …`).
//! Invariant: a figure that is missing is a failure, not a zero. Deliberately not here: a verdict.

use std::fmt;

use crate::failure::{Failure, Result};

/// The figures of one move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// From the guest's stop to the word that it runs again, by the source's clock.
    pub(crate) blackout_us: u64,
    /// Bytes that the source has sent.
    pub(crate) bytes_sent: u64,
    /// Passes over the memory.
    pub(crate) passes: u64,
    /// What the link carried, as the source has measured it.
    pub(crate) bytes_per_second: u64,
}

impl Figures {
    /// Reads the line with the figures of a move.
    pub(crate) fn read(line: &str) -> Result<Self> {
        Self::all(line).ok_or_else(|| Failure::new(format!("not all figures are in '{line}'")))
    }

    fn all(line: &str) -> Option<Self> {
        let figure = |name: &str| {
            let mut words = line.split_whitespace().filter_map(|word| word.split_once('='));
            words.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        Some(Self {
            blackout_us: figure("blackout_us")?,
            bytes_sent: figure("bytes_sent")?,
            passes: figure("passes")?,
            bytes_per_second: figure("bytes_per_second")?,
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            formatter,
            "blackout {:.1} ms, {:.1} MiB in {} passes, {:.1} MiB/s",
            self.blackout_us as f64 / 1000.0,
            mib(self.bytes_sent),
            self.passes,
            mib(self.bytes_per_second)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn a_missing_figure_is_noticed() {
        let line = "# MOVE Done blackout_us=5 bytes_sent=6 passes=2 bytes_per_second=7";
        assert!(Figures::all(line).is_some_and(|it| it.blackout_us == 5 && it.passes == 2));
        assert!(Figures::all("# MOVE Done blackout_us=5 bytes_sent=6 passes=2").is_none());
    }
}
