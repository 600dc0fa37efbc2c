//! Which faults can meet which phases: the list of cells that stay empty, each with its reason.
//!
//! Source of truth: ARCHITECTURE.md, "Machines", for what an end does in a phase. Invariant: a
//! cell without a reason here has to be met by a long enough sweep. Deliberately not here: how
//! often.

use monitor_core::migrate::{SourcePhase as S, TargetPhase as T};

use super::{
    fault::FaultKind as F,
    tally::{Phase, Tally},
};

/// A sweep of so many seeds over all profiles has to meet every cell that can be met.
pub const ENOUGH_SEEDS: u64 = 200_000;

/// Why a fault cannot meet a phase; `None` when it can.
#[must_use]
pub fn why_unreachable(phase: Phase, kind: F) -> Option<&'static str> {
    match phase {
        Phase::Source(S::Idle) => return Some("the phase ends with the first step"),
        Phase::Source(S::Released | S::RolledBack) | Phase::Target(T::Completed) => {
            return Some("the attempt is over at this end");
        }
        Phase::Source(_) | Phase::Target(_) => {}
    }
    let (can, reason) = match kind {
        F::Delay | F::OneWay | F::Partition | F::Cut | F::SlowLink => return None,
        F::Loss | F::Duplicate | F::Corrupt => return None,
        F::Restart | F::ClockStep | F::SuLost => return None,
        F::IoFails | F::IoWaits | F::IoLate | F::IoLost => return None,
        F::CutAtByte => (
            !matches!(phase, Phase::Target(T::Undoing | T::Dropped)),
            "the last frame is said when the phase ends",
        ),
        F::Reorder => (is_bulky(phase), "single frames have nothing to change places with"),
        F::DirectorySlow | F::DirectoryGone | F::AnswerLate | F::AnswerLost => {
            (asks_directory(phase), "nothing is asked of the directory")
        }
        F::JournalFails => (saves(phase), "nothing is written into the journal"),
        F::DeviceBusy | F::DeviceRefuses | F::DeviceSlow => {
            (operates_devices(phase), "no device is operated")
        }
        F::DrainEndless => {
            // A stop may come, and even be taken back, within one step.
            let phases = [S::Preparing, S::Precopy, S::Suspended].map(Phase::Source);
            (phases.contains(&phase), "nothing is drained")
        }
        F::StorageFails | F::StateFails => (moves_state(phase), "no state is read or written"),
        F::TrackingFails => {
            let can = matches!(phase, Phase::Source(S::Preparing | S::Suspended));
            (can, "changes are neither tracked nor collected")
        }
        F::ProcessorsSlow | F::ProcessorsRefuse => {
            let source = matches!(phase, Phase::Source(S::Suspended | S::Undoing));
            (source || phase == Phase::Target(T::Claiming), "the processors are left alone")
        }
        F::CheckFails => (phase == Phase::Target(T::Answering), "nothing is checked"),
        F::VmRefused => {
            let target = matches!(phase, Phase::Target(T::Building | T::Undoing));
            (target || phase == Phase::Source(S::Releasing), "no VM is set up or ended")
        }
        F::TellFails => {
            let source = matches!(phase, Phase::Source(S::Preparing | S::Undoing));
            let target = matches!(phase, Phase::Target(T::Claiming | T::Running));
            (source || target, "the guest is told nothing")
        }
        F::Cancel => {
            let before_commit = [S::Checking, S::Preparing, S::Precopy, S::Suspended];
            let can = before_commit.into_iter().any(|it| phase == Phase::Source(it));
            (can, "only a source cancels, and not behind COMMIT")
        }
        F::LimitsChange => (matches!(phase, Phase::Source(_)), "only a source is commanded"),
    };
    (!can).then_some(reason)
}

/// Whether several segments are under way in one direction.
const fn is_bulky(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Source(S::Checking | S::Precopy | S::Suspended)
            | Phase::Target(T::Answering | T::Receiving)
    )
}

const fn asks_directory(phase: Phase) -> bool {
    matches!(phase, Phase::Source(S::Checking | S::InDoubt) | Phase::Target(T::Claiming))
}

const fn saves(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Source(S::Checking | S::Suspended | S::Undoing | S::Releasing)
            | Phase::Target(T::Answering | T::Claiming | T::Running | T::Undoing)
    )
}

const fn operates_devices(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Source(S::Preparing | S::Suspended | S::Undoing | S::Releasing)
            | Phase::Target(T::Building | T::Claiming | T::Running | T::Undoing)
    )
}

const fn moves_state(phase: Phase) -> bool {
    matches!(phase, Phase::Source(S::Precopy | S::Suspended) | Phase::Target(T::Receiving))
}

/// The cells that could be met and were not.
#[must_use]
pub fn missed(tally: &Tally) -> Vec<(Phase, F)> {
    let cells = Phase::all().flat_map(|phase| F::ALL.into_iter().map(move |kind| (phase, kind)));
    cells
        .filter(|(phase, kind)| why_unreachable(*phase, *kind).is_none())
        .filter(|(phase, kind)| tally.met(*phase, *kind) == 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_can_meet_some_phase_and_every_open_phase_some_fault() {
        for kind in F::ALL {
            assert!(Phase::all().any(|it| why_unreachable(it, kind).is_none()), "{kind}");
        }
        let open = |phase| F::ALL.into_iter().any(|kind| why_unreachable(phase, kind).is_none());
        assert_eq!(Phase::all().filter(|phase| open(*phase)).count(), Phase::all().count() - 4);
        assert!(missed(&Tally::default()).contains(&(Phase::Target(T::Claiming), F::AnswerLost)));
    }
}
