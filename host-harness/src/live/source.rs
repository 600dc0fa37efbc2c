//! The monitor thread of the source: runs one driver, and another one after each restart.
//!
//! Source of truth: `monitor_core::driver::SourceDriver`; ARCHITECTURE.md, "Restart of a monitor".
//! Invariants: the time of each step is the same for the driver and for the machine behind its
//! ports; a restarted monitor knows its journal and its hardware, and nothing else. Deliberately
//! not here: decisions about a migration, but for the operator's, which is held against what is
//! the case.

use std::sync::{Arc, mpsc};

use monitor_core::{
    device::DeviceEntry,
    driver::{BUFFER_BYTES, Ports, SourceDriver, SourceMemory},
    migrate::{Attempt, SentRun, SourceJournal, SourcePhase, Stage, Verdict},
    units::Tick,
    vm::{Reason, VmBlock},
};

use super::{
    Clock, Event,
    faults::{Faults, Side},
    monitor::{End, Kept, Left, Life, PATIENCE_US, pause, restart_note, wake_if_resumed},
    processors::Processors,
    watch::{WatchedAccess, WatchedLink},
};
use crate::{
    cluster::{HubConsole, SuMonitor},
    config::{Decision, Fault},
    console::{Forecast, Progress},
    machine::{Crc32c, Machine, VmPorts},
};

/// Time between two reports of progress.
const PROGRESS_US: u64 = 50_000;

/// Frames that may be under way.
const WINDOW: usize = 64;

/// Everything that the source's thread needs.
#[derive(Debug)]
pub(super) struct SourceEnd<'a> {
    pub(super) attempt: Attempt,
    pub(super) block: VmBlock,
    pub(super) machine: Arc<Machine>,
    pub(super) entries: Vec<DeviceEntry>,
    pub(super) link: WatchedLink,
    pub(super) console: HubConsole,
    pub(super) directory: WatchedAccess,
    pub(super) journal: Kept,
    pub(super) decision: Option<Decision>,
    pub(super) faults: Arc<Faults>,
    pub(super) processors: &'a Processors,
    pub(super) clock: Clock,
    pub(super) events: mpsc::Sender<Event>,
}

type Driver<'s> =
    SourceDriver<'s, VmPorts, &'s mut WatchedLink, &'s mut WatchedAccess, HubConsole, Crc32c>;

impl SourceEnd<'_> {
    /// Runs the source to its end.
    pub(super) fn run(mut self, monitor: SuMonitor) -> End {
        let end = self.serve(monitor);
        self.faults.leave(Side::Source);
        end
    }

    /// Runs the source to the end of an attempt.
    pub(super) fn serve(&mut self, monitor: SuMonitor) -> End {
        let mut vm =
            VmPorts::new().with_monitor(Box::new(monitor)).with_journal(self.journal.journal());
        vm.install(Arc::clone(&self.machine));
        let began = self.clock.now();
        let (mut restored, mut bytes) = (None, 0);
        let end = loop {
            let life = self.live(vm, restored.as_ref());
            bytes += life.end.bytes;
            match life.left {
                Left::Over => break life.end,
                Left::Lost(due) => {
                    self.faults.lose(Side::Source, Some(&self.machine));
                    self.link.close();
                    self.faults.done(due, "");
                    break End { is_lost: true, ..life.end };
                }
                Left::Restarted(due) => {
                    self.link.close();
                    self.directory.forget();
                    vm = life.vm.restarted();
                    let Some(journal) = self.journal_found() else {
                        self.faults.done(due, "; its journal cannot be read");
                        break End { reason: Some(Reason::JournalUnavailable), ..life.end };
                    };
                    for entry in &mut self.entries {
                        *entry = DeviceEntry::quiesced(entry.descriptor, journal.epoch);
                    }
                    self.faults.done(due, restart_note(journal.stage != Stage::Over));
                    restored = Some(journal);
                }
            }
        };
        self.machine.thaw();
        End { bytes, began, ended: self.clock.now(), ..end }
    }

    /// What a restarted monitor finds; with no journal there is nothing to be undone.
    fn journal_found(&self) -> Option<SourceJournal> {
        let record = self.journal.record().ok()?;
        if record.is_empty() {
            let (attempt, epoch) = (self.attempt, self.attempt.epoch);
            return Some(SourceJournal { attempt, epoch, stage: Stage::Over });
        }
        SourceJournal::parse(&record).ok()
    }

    /// One life of the monitor: from its start, or restart, to its end.
    fn live(&mut self, vm: VmPorts, restored: Option<&SourceJournal>) -> Life {
        let machine = Arc::clone(&self.machine);
        let mut window: Vec<Option<SentRun>> = vec![None; WINDOW];
        let (mut outgoing, mut incoming) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
        let memory = SourceMemory {
            pages: machine.storage.pages_map(),
            keys: machine.storage.keys_map(),
            window: &mut window,
            devices: &mut self.entries,
            outgoing: &mut outgoing,
            incoming: &mut incoming,
        };
        let ports = Ports {
            vm,
            link: &mut self.link,
            directory: &mut self.directory,
            console: self.console.clone(),
            checksum: Crc32c,
        };
        let began = self.clock.now();
        let mut driver = match restored {
            Some(journal) => SourceDriver::restore(began, journal, self.block, memory, ports),
            None => SourceDriver::new(self.block, memory, ports),
        };
        if restored.is_none() {
            // A new machine takes its first attempt.
            let started = driver.start(began, self.attempt);
            debug_assert!(started.is_ok(), "a new machine refuses an attempt");
        }
        let mut decided = None;
        let mut runs = machine.is_running();
        let (mut reported, mut idle_since) = (began, None);
        let left = loop {
            let now = self.clock.now();
            driver.ports().vm.set_now(now);
            let wait = driver.step(now);
            wake_if_resumed(&machine, &mut runs, self.processors);
            if let Some(left) = inflict(&mut driver, &self.faults, now) {
                break left;
            }
            idle_since = awaits_nothing(&driver).then(|| idle_since.unwrap_or(now));
            let is_idle = idle_since.is_some_and(|since| now.since(since).get() >= PATIENCE_US);
            let in_doubt = driver.machine().phase() == SourcePhase::InDoubt;
            if is_idle
                && in_doubt
                && let Some(decision) = self.decision.take()
            {
                decided = Some(decide(&mut driver, &self.faults, decision, now));
                continue;
            }
            if wait.finished || is_idle {
                if in_doubt {
                    self.faults.give_up();
                }
                break Left::Over;
            }
            if now.since(reported).get() >= PROGRESS_US {
                reported = now;
                drop(self.events.send(Event::Progress(progress(&driver))));
            }
            let is_short = matches!(
                driver.machine().phase(),
                SourcePhase::Suspended | SourcePhase::Offered | SourcePhase::Undoing
            );
            pause(driver.ports().link, wait, self.clock, is_short);
        };
        let drains = driver.ports().vm.drains().to_vec();
        let end = End { drains, ..end_of(&driver, &machine, decided, began) };
        Life { end, vm: std::mem::take(&mut driver.ports().vm), left }
    }
}

/// What came of the attempt at the end of a life.
fn end_of(
    driver: &Driver<'_>,
    machine: &Arc<Machine>,
    decision: Option<String>,
    began: Tick,
) -> End {
    let (sent, received) = driver.bytes();
    let source = driver.machine();
    let is_held = source.phase() == SourcePhase::InDoubt && source.is_resolved();
    End {
        disposition: source.disposition(),
        reason: source.reason(),
        findings: driver.findings().clone(),
        statistics: source.statistics().clone(),
        drains: Vec::new(),
        bytes: sent + received,
        machine: Some(Arc::clone(machine)),
        held_for: is_held.then(|| source.epoch().next()),
        decision,
        is_lost: false,
        began,
        ended: began,
    }
}

/// Inflicts the faults that are due here.
fn inflict(driver: &mut Driver<'_>, faults: &Faults, now: Tick) -> Option<Left> {
    while let Some(due) = faults.due(Side::Source) {
        let note = match due.fault {
            Fault::RestartSource => return Some(Left::Restarted(due)),
            Fault::LoseSource => return Some(Left::Lost(due)),
            Fault::Cancel if driver.cancel(now).is_err() => ", which is refused: it is too late",
            Fault::Cancel
            | Fault::CutLink
            | Fault::SeverLink
            | Fault::GoneDirectory
            | Fault::SlowDirectory
            | Fault::LostAnswer
            | Fault::RestartTarget
            | Fault::LoseTarget => "",
        };
        faults.done(due, note);
    }
    None
}

/// Gives the operator's answer, unless it is plainly wrong, and says what came of it.
fn decide(driver: &mut Driver<'_>, faults: &Faults, decision: Decision, now: Tick) -> String {
    let epoch = driver.machine().epoch().next();
    let runs = faults.copy().is_some_and(|copy| copy.is_running());
    let (verdict, refused) = match decision {
        Decision::TargetRuns if !runs => {
            return "target-runs is refused: the guest does not run on the target".to_owned();
        }
        Decision::TargetLost if !faults.is_lost(Side::Target) => {
            return "target-lost is refused: the target is not lost".to_owned();
        }
        Decision::TargetRuns => (Verdict::TargetRuns(epoch), "the directory is being asked"),
        Decision::TargetLost => {
            (Verdict::TargetLost(epoch), "the record was not seen to be the target's")
        }
    };
    let word = crate::config::Choice::word(decision);
    match driver.decide(now, verdict) {
        Ok(()) => format!("{word} for epoch {epoch} is accepted"),
        Err(_) => format!("{word} is refused: {refused}"),
    }
}

/// Whether nothing that this program does brings news, but for another connection or the return
/// of the directory: the attempt is over, or it is in doubt and cannot be resolved at present.
fn awaits_nothing(driver: &Driver<'_>) -> bool {
    let machine = driver.machine();
    match machine.phase() {
        SourcePhase::Released | SourcePhase::RolledBack => true,
        SourcePhase::InDoubt if machine.will_take_back() => false,
        SourcePhase::InDoubt => !machine.is_resolved() || !machine.uses_link(),
        SourcePhase::Idle
        | SourcePhase::Checking
        | SourcePhase::Preparing
        | SourcePhase::Precopy
        | SourcePhase::Suspended
        | SourcePhase::Offered
        | SourcePhase::Releasing
        | SourcePhase::Undoing => false,
    }
}

fn progress(driver: &Driver<'_>) -> Progress {
    let machine = driver.machine();
    let statistics = machine.statistics();
    let forecast = statistics.forecast.map(|forecast| Forecast {
        converges: forecast.converges,
        remaining_ms: forecast.time_left.get() / 1000,
        blackout_min_us: statistics.state.get(),
        blackout_max_us: forecast.blackout.get(),
        limited_by: if forecast.converges { "" } else { "link" },
    });
    let pass = u32::try_from(statistics.passes.len()).unwrap_or(u32::MAX);
    let total = statistics.passes.last().map_or(0, |pass| pass.left.get());
    let all = machine.attempt().map_or(0, |attempt| attempt.pages.get());
    let in_passes = machine.phase() == SourcePhase::Precopy;
    Progress {
        phase: phase_text(machine.phase()),
        pass: if in_passes { pass + 1 } else { pass },
        pages_left: driver.dirty_pages(),
        pages_total: if pass == 0 { all } else { total },
        bytes_per_second: statistics.bandwidth.mean(),
        forecast,
    }
}

const fn phase_text(phase: SourcePhase) -> &'static str {
    match phase {
        SourcePhase::Idle | SourcePhase::Checking => "checking",
        SourcePhase::Preparing => "preparing",
        SourcePhase::Precopy => "copying",
        SourcePhase::Suspended => "guest stopped",
        SourcePhase::Offered => "handing over",
        SourcePhase::InDoubt => "in doubt",
        SourcePhase::Releasing => "releasing",
        SourcePhase::Undoing => "undoing",
        SourcePhase::Released | SourcePhase::RolledBack => "finished",
    }
}
