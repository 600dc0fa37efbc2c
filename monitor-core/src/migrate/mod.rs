//! The migration machines of both ends, without I/O.
//!
//! Both ends are machines with the same contract. Four kinds of methods: commands (`start`,
//! `cancel`); `handle(now, input)` for everything from outside; `poll_effect` for what is to be
//! done; getters. After each input, and whenever the link takes more, `poll_effect` is called
//! until it gives `None`; then `poll_deadline` tells when to come back with `Input::Deadline`.
//!
//! ```text
//! source: Idle -> Checking -> Preparing -> Precopy -> Suspended -> Offered -> Releasing
//!                    |           |           | ^----------'|          |            |
//!                    |           |           |             |          v            v
//!                    |           |           |             |       InDoubt      Released
//!                    v           v           v             v          |
//!                    '-----------'-----------'---> Undoing <----------'
//!                                                     |
//!                                                     v
//!                                                 RolledBack
//!
//! target: Empty -> Answering -> Building -> Receiving <-> Loaded -> Claiming -> Running
//!                     |            |            |            |          |          |
//!                     v            v            v            v          v          v
//!                     '------------'------------'--> Undoing <----------'      Completed
//!                                                       |
//!                                                       v
//!                                                    Dropped
//! ```
//!
//! Who may run the guest: the source in every phase up to `Precopy` and in `RolledBack`; nobody
//! in `Suspended`, `Offered`, `InDoubt`, `Loaded` and `Claiming`; the target in `Running` and
//! `Completed`.
//!
//! Source of truth: ARCHITECTURE.md. Invariants: machines hold plain values; work per call is
//! bounded; an illegal pair of phase and input is an error and changes nothing. Deliberately not
//! here: ports, threads, page bodies.

mod admit;
mod attempt;
mod effect;
mod input;
mod journal;
mod line;
pub mod policy;
mod source;
mod target;

pub use admit::{Circumstances, Offer, admit, admit_incoming};
pub use attempt::{Attempt, Coordination, Limits, Reception, SourceLoan, TargetLoan};
pub use effect::{Effect, STEP_EFFECTS};
pub use input::{Arrival, Input, InputKind, LinkFault, StepError};
pub use journal::{SourceJournal, Stage, TargetJournal};
pub use source::{KeysSent, SentRun, Source, SourcePhase, Statistics, Verdict};
pub use target::{Announcement, Target, TargetPhase};
