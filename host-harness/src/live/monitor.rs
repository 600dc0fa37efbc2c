//! What both monitor threads have in common: how they wait, end, and keep their journals.
//!
//! Source of truth: `monitor_core::driver::Wait`. Invariant: between two steps a monitor waits no
//! longer than [`WAIT_MAX`], since completions come without a sign. Deliberately not here: what
//! each end does (modules `source` and `target`).

use std::{io, path::Path, sync::Arc, time::Duration};

use monitor_core::{
    driver::Wait,
    migrate::Statistics,
    units::{Epoch, Micros, Tick},
    vm::{Disposition, Findings, Reason},
};

use super::{Clock, JournalFile, faults::Due, processors::Processors, watch::WatchedLink};
use crate::machine::{Journal, Machine, MemoryJournal, VmPorts};

/// The longest wait between two steps.
const WAIT_MAX: Duration = Duration::from_micros(200);

/// The longest wait while the guest stands still and something may happen at any time.
const WAIT_STOPPED_MAX: Duration = Duration::from_micros(20);

/// An end that has nothing more to do gives up its last words on the link after this time, and a
/// source in doubt its hope for news.
pub(super) const PATIENCE_US: u64 = 5_000_000;

/// What came of an attempt at one end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) disposition: Disposition,
    pub(super) reason: Option<Reason>,
    pub(super) findings: Findings,
    pub(super) statistics: Statistics,
    /// How long after the stop of the guest each device was quiet.
    pub(super) drains: Vec<Micros>,
    pub(super) bytes: u64,
    pub(super) machine: Option<Arc<Machine>>,
    /// The epoch of the target's record if that is what keeps a source in doubt.
    pub(super) held_for: Option<Epoch>,
    /// What came of the operator's answer.
    pub(super) decision: Option<String>,
    /// Whether the SU is gone.
    pub(super) is_lost: bool,
    pub(super) began: Tick,
    pub(super) ended: Tick,
}

/// What ends the life of a monitor, which may begin another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// There is nothing more to do.
    Over,
    /// The monitor is restarted.
    Restarted(Due),
    /// The SU is gone.
    Lost(Due),
}

/// What is left when the life of a monitor ends.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) end: End,
    pub(super) vm: VmPorts,
    pub(super) left: Left,
}

/// Where a monitor keeps its journal over a restart.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Memory(MemoryJournal),
    File(JournalFile),
}

impl Kept {
    /// An empty journal: in memory, or of this name in a directory.
    pub(super) fn new(directory: Option<&Path>, name: &str) -> io::Result<Self> {
        let Some(directory) = directory else {
            return Ok(Self::Memory(MemoryJournal::default()));
        };
        std::fs::create_dir_all(directory)?;
        let mut file = JournalFile::new(&directory.join(name));
        // The guest of which an earlier run has left something ended with that run.
        file.save(&[])?;
        Ok(Self::File(file))
    }

    /// The journal for the ports of a VM.
    pub(super) fn journal(&self) -> Box<dyn Journal> {
        match self {
            Self::Memory(journal) => Box::new(journal.clone()),
            Self::File(file) => Box::new(file.clone()),
        }
    }

    /// What was kept last; empty when there is nothing to be kept.
    pub(super) fn record(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Memory(journal) => Ok(journal.record()),
            Self::File(file) => Ok(file.load()?.unwrap_or_default()),
        }
    }
}

/// What is said of the restart of a monitor that had nothing to keep.
pub(super) const fn restart_note(has_journal: bool) -> &'static str {
    if has_journal { " and reads its journal" } else { "; it has no journal yet" }
}

pub(super) fn wake_if_resumed(machine: &Machine, runs: &mut bool, processors: &Processors) {
    let runs_now = machine.is_running();
    if runs_now && !*runs {
        processors.wake();
    }
    *runs = runs_now;
}

/// Waits for the link, the deadline, or a completion, which comes without a sign.
pub(super) fn pause(link: &WatchedLink, wait: Wait, clock: Clock, guest_stands_still: bool) {
    if wait.busy {
        return;
    }
    let most = if guest_stands_still { WAIT_STOPPED_MAX } else { WAIT_MAX };
    let time = wait.deadline.map_or(most, |deadline| clock.until(deadline)).min(most);
    link.wait(wait.sending, time);
}
