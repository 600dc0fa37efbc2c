//! What people see of a migration: the three consoles, its progress, and the report at the end.
//!
//! Source of truth: the transcripts of the documented example (three consoles, lines of the form
//! `hhmmss text`). Invariants: lines are shown in the order in which they arrive; whoever runs a
//! migration only knows [`Observer`]. Deliberately not here: what the lines say.

pub mod amount;
mod clock;
mod explain;
mod report;
mod series;
mod summary;
mod terminal;
mod transcript;

pub use clock::Stamp;
pub use report::{Guest, Inflicted, Network, Outcome, Pass, Report, Spread, Verified};
pub use series::write_series;
pub use summary::write_summary;
pub use terminal::Terminal;
pub use transcript::Transcripts;

/// Which of the three consoles a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleName {
    /// The monitor of the source SU.
    Source,
    /// The monitor of the target SU.
    Target,
    /// The operating system in the VM, wherever it runs.
    Guest,
}

impl ConsoleName {
    /// Every console.
    pub const ALL: [Self; 3] = [Self::Source, Self::Target, Self::Guest];

    /// What the console is called on the screen.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Guest => "guest",
        }
    }
}

/// One line of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLine {
    /// The console.
    pub console: ConsoleName,
    /// When it was written.
    pub stamp: Stamp,
    /// The text after the time, as in `% VMS2450 LIVE MIGRATION …`.
    pub text: String,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// What is being done, in a word or two.
    pub phase: &'static str,
    /// The pass over memory, from 1; 0 before the first.
    pub pass: u32,
    /// Pages that the target does not have as they are now.
    pub pages_left: u64,
    /// Pages that the pass began with.
    pub pages_total: u64,
    /// What the link carries at present.
    pub bytes_per_second: u64,
    /// What is expected, once that can be said.
    pub forecast: Option<Forecast>,
}

/// What is expected of the rest of a migration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Whether the pages left will become few enough.
    pub converges: bool,
    /// Time until the guest runs on the target.
    pub remaining_ms: u64,
    /// The shortest expected stop of the guest.
    pub blackout_min_us: u64,
    /// The longest expected stop of the guest.
    pub blackout_max_us: u64,
    /// What limits it, in a word or two; empty when nothing stands out.
    pub limited_by: &'static str,
}

/// Who is told what happens.
pub trait Observer {
    /// A console shows a line.
    fn line(&mut self, line: &ConsoleLine);

    /// The migration has got on.
    fn progress(&mut self, progress: &Progress);

    /// Something was made to go wrong.
    fn fault(&mut self, _stamp: Stamp, _text: &str) {}

    /// There is something to be known that no console says.
    fn remark(&mut self, _stamp: Stamp, _text: &str) {}
}
