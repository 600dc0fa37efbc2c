//! How often each phase met each fault, and how the attempts ended.
//!
//! Source of truth: the worlds. Invariant: sums of tallies do not depend on the order in which
//! worlds were run. Deliberately not here: which combinations there can be.

use monitor_core::migrate::{SourcePhase, TargetPhase};

use super::fault::FaultKind;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The VM runs on the target, over one connection.
    Completed,
    /// The VM runs on the target, and the link was lost in between.
    Resumed,
    /// The VM runs on the source, as if nothing had been.
    RolledBack,
    /// The VM runs on the source, which took it back from the record.
    TakenBack,
    /// An operator had to decide.
    Decided,
    /// The guest is held on the source.
    Held,
    /// An SU was lost with it.
    Lost,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::Resumed,
        Self::RolledBack,
        Self::TakenBack,
        Self::Decided,
        Self::Held,
        Self::Lost,
    ];

    /// How tables name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Resumed => "resumed",
            Self::RolledBack => "rolled back",
            Self::TakenBack => "taken back",
            Self::Decided => "decided",
            Self::Held => "held",
            Self::Lost => "lost",
        }
    }
}

/// A phase of either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Of the source.
    Source(SourcePhase),
    /// Of the target.
    Target(TargetPhase),
}

/// The phases of a source.
const SOURCE_PHASES: [SourcePhase; 11] = [
    SourcePhase::Idle,
    SourcePhase::Checking,
    SourcePhase::Preparing,
    SourcePhase::Precopy,
    SourcePhase::Suspended,
    SourcePhase::Offered,
    SourcePhase::InDoubt,
    SourcePhase::Releasing,
    SourcePhase::Undoing,
    SourcePhase::Released,
    SourcePhase::RolledBack,
];

impl Phase {
    /// Every phase: those of the source, then those of the target.
    pub fn all() -> impl Iterator<Item = Self> {
        let targets = TargetPhase::ALL.into_iter().map(Self::Target);
        SOURCE_PHASES.into_iter().map(Self::Source).chain(targets)
    }

    /// Its place in [`Self::all`].
    const fn place(self) -> usize {
        match self {
            Self::Source(phase) => phase as usize,
            Self::Target(phase) => SOURCE_PHASES.len() + phase as usize,
        }
    }

    /// How tables name it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Source(phase) => format!("source {phase:?}"),
            Self::Target(phase) => format!("target {phase:?}"),
        }
    }
}

/// Phases of both ends.
const PHASES: usize = SOURCE_PHASES.len() + TargetPhase::ALL.len();

/// The counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// By phase, fault and ending.
    cells: Vec<u64>,
    /// All attempts, by ending.
    attempts: [u64; Ending::ALL.len()],
    /// Worlds.
    pub worlds: u64,
    /// Worlds with a violation.
    pub violations: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let cells = vec![0; PHASES * FaultKind::ALL.len() * Ending::ALL.len()];
        Self { cells, attempts: [0; Ending::ALL.len()], worlds: 0, violations: 0 }
    }
}

impl Tally {
    /// Notes an attempt with all that it met.
    pub(super) fn note(&mut self, met: &[(Phase, FaultKind)], ending: Ending) {
        self.attempts[ending as usize] += 1;
        for (phase, kind) in met {
            self.cells[place(*phase, *kind, ending)] += 1;
        }
    }

    /// Adds the counts of another tally.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.cells.iter_mut().zip(&other.cells) {
            *sum += count;
        }
        for (sum, count) in self.attempts.iter_mut().zip(&other.attempts) {
            *sum += count;
        }
        self.worlds += other.worlds;
        self.violations += other.violations;
    }

    /// Attempts that met this fault in this phase and ended so.
    #[must_use]
    pub fn count(&self, phase: Phase, kind: FaultKind, ending: Ending) -> u64 {
        self.cells[place(phase, kind, ending)]
    }

    /// Attempts that met this fault in this phase.
    #[must_use]
    pub fn met(&self, phase: Phase, kind: FaultKind) -> u64 {
        Ending::ALL.into_iter().map(|ending| self.count(phase, kind, ending)).sum()
    }

    /// How often this fault was met, in whatever phase.
    #[must_use]
    pub fn met_anywhere(&self, kind: FaultKind) -> u64 {
        Phase::all().map(|phase| self.met(phase, kind)).sum()
    }

    /// All attempts.
    #[must_use]
    pub fn all_attempts(&self) -> u64 {
        self.attempts.iter().sum()
    }

    /// Attempts that ended so.
    #[must_use]
    pub const fn attempts(&self, ending: Ending) -> u64 {
        self.attempts[ending as usize]
    }
}

const fn place(phase: Phase, kind: FaultKind, ending: Ending) -> usize {
    (phase.place() * FaultKind::ALL.len() + kind.place()) * Ending::ALL.len() + ending as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_and_ending_has_its_place() {
        assert!(Phase::all().enumerate().all(|(place, phase)| phase.place() == place));
        assert_eq!(Phase::all().count(), PHASES);
        let places = Ending::ALL.into_iter().enumerate();
        assert!(places.into_iter().all(|(place, ending)| ending as usize == place));
    }

    #[test]
    fn sums_hold_what_both_have_met() {
        let phase = Phase::Target(TargetPhase::Claiming);
        let mut sum = Tally::default();
        for ending in [Ending::Completed, Ending::TakenBack] {
            let mut tally = Tally::default();
            tally.note(&[(phase, FaultKind::Cut)], ending);
            sum.add(&tally);
        }
        assert_eq!(sum.met(phase, FaultKind::Cut), 2);
        assert_eq!(sum.count(phase, FaultKind::Cut, Ending::TakenBack), 1);
        assert_eq!(sum.attempts(Ending::Completed), 1);
    }
}
