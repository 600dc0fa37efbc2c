//! What befalls a run on purpose: faults at chosen moments, and what the operator answers.
//!
//! Source of truth: the help of `su390 migrate` and the table of README.md, "Faults". Invariants:
//! each fault and each moment has one word; a moment is known by a frame that is about to be
//! sent, or by a question to the cluster directory, so that it is the same moment in every run.
//! Deliberately not here: how a fault is inflicted, which is in `live`.

use std::{fmt, num::NonZeroU32, path::PathBuf};

use super::{Choice, FromText, choices};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut once; both ends may connect again.
    CutLink,
    /// The connection is cut, and there is no other one.
    SeverLink,
    /// The cluster directory cannot be reached any more.
    GoneDirectory,
    /// The cluster directory cannot be reached for a while.
    SlowDirectory,
    /// The cluster directory does what it is asked next, and the answer is lost.
    LostAnswer,
    /// The monitor of the source is restarted.
    RestartSource,
    /// The monitor of the target is restarted.
    RestartTarget,
    /// The source SU is gone for good, with all that was on it.
    LoseSource,
    /// The target SU is gone for good, with all that was on it.
    LoseTarget,
    /// The operator cancels the move.
    Cancel,
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The source has read the ownership record and has not heard the answer.
    Check,
    /// The target has set up the VM and is about to say BUILT.
    Setup,
    /// Half of the memory was sent.
    Precopy,
    /// The guest is stopped and everything was sent; LOAD-END is about to be.
    Stop,
    /// The target has everything and is about to say READY.
    Ready,
    /// The source is about to send COMMIT.
    Commit,
    /// The target has claimed the ownership record and has not heard the answer.
    Claim,
    /// The target has its devices and has entered in the record that it runs the VM, and has not
    /// heard the answer.
    Start,
    /// The guest runs on the target, which is about to say RUNNING.
    Running,
    /// The target is about to say COMPLETED, upon which the source gives back what it had.
    Release,
}

choices! {
    Fault {
        "cut-link" => Self::CutLink,
        "sever-link" => Self::SeverLink,
        "gone-directory" => Self::GoneDirectory,
        "slow-directory" => Self::SlowDirectory,
        "lost-answer" => Self::LostAnswer,
        "restart-source" => Self::RestartSource,
        "restart-target" => Self::RestartTarget,
        "lose-source" => Self::LoseSource,
        "lose-target" => Self::LoseTarget,
        "cancel" => Self::Cancel,
    }
    Moment {
        "check" => Self::Check,
        "setup" => Self::Setup,
        "precopy" => Self::Precopy,
        "stop" => Self::Stop,
        "ready" => Self::Ready,
        "commit" => Self::Commit,
        "claim" => Self::Claim,
        "start" => Self::Start,
        "running" => Self::Running,
        "release" => Self::Release,
    }
    Decision {
        "target-runs" => Self::TargetRuns,
        "target-lost" => Self::TargetLost,
    }
}

/// A fault and its moment, written `FAULT@MOMENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPoint {
    /// What goes wrong.
    pub fault: Fault,
    /// When.
    pub moment: Moment,
}

impl fmt::Display for FaultPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.fault.word(), self.moment.word())
    }
}

impl FromText for FaultPoint {
    fn from_text(text: &str) -> Result<Self, String> {
        let point = text.split_once('@').and_then(|(fault, moment)| {
            let (fault, moment) = (Fault::from_text(fault).ok()?, Moment::from_text(moment).ok()?);
            Some(Self { fault, moment })
        });
        point.ok_or_else(|| {
            let (faults, moments) = (Fault::words().join(", "), Moment::words().join(", "));
            format!(
                "a point is FAULT@MOMENT, where FAULT is one of {faults}, and MOMENT one of \
                     {moments}"
            )
        })
    }
}

/// What an operator answers when the VM is held in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The guest runs on the target: the source gives its copy up.
    TargetRuns,
    /// The target is lost: the source takes the VM back.
    TargetLost,
}

/// What befalls a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// How often the VM is moved, there and back in turn; once if not given.
    pub moves: Option<NonZeroU32>,
    /// The faults, each of which happens once in each move.
    pub faults: Vec<FaultPoint>,
    /// The operator's answer; without it, nobody decides.
    pub decision: Option<Decision>,
    /// Where the monitors' journals are kept; in memory if not given.
    pub journals: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_read_as_it_is_written() {
        for (_, fault) in Fault::CHOICES {
            for (_, moment) in Moment::CHOICES {
                let point = FaultPoint { fault: *fault, moment: *moment };
                assert_eq!(FaultPoint::from_text(&point.to_string()), Ok(point));
            }
        }
    }

    #[test]
    fn a_wrong_point_is_refused_with_all_that_there_is() {
        for text in ["", "cut-link", "cut-link@", "@commit", "commit@cut-link", "cut-link@lunch"] {
            let refused = FaultPoint::from_text(text).unwrap_err();
            for word in Fault::words().into_iter().chain(Moment::words()) {
                assert!(refused.contains(word), "{text}: no {word} in {refused}");
            }
        }
    }
}
