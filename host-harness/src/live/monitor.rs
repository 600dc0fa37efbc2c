//! The two monitor threads: each runs one driver until its attempt has ended.
//!
//! Source of truth: `monitor_core::driver::Wait`. Invariants: between two steps a monitor waits
//! no longer than [`WAIT_MAX`], since completions come without a sign; the time of each step is
//! the same for the driver and for the machine behind its ports.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use monitor_core::{
    device::DeviceEntry,
    driver::{BUFFER_BYTES, Ports, SourceDriver, SourceMemory, TargetDriver, TargetMemory, Wait},
    limits::DEVICES_MAX,
    migrate::{Attempt, Reception, SentRun, SourcePhase, Statistics, TargetPhase},
    units::Tick,
    vm::{Disposition, Findings, Reason, VmBlock},
};

use super::{Clock, Event, Shaped, directory::Access, processors::Processors};
use crate::{
    cluster::{HubConsole, SuMonitor},
    console::{Forecast, Progress},
    machine::{Crc32c, Machine, VmPorts},
};

/// The longest wait between two steps.
const WAIT_MAX: Duration = Duration::from_micros(200);

/// The longest wait while the guest stands still.
const WAIT_STOPPED_MAX: Duration = Duration::from_micros(20);

/// Time between two reports of progress.
const PROGRESS_US: u64 = 50_000;

/// Frames that may be under way.
const WINDOW: usize = 64;

/// An end that has nothing more to do gives up its last words on the link after this time, and a
/// source in doubt its hope for another connection.
const FAREWELL_US: u64 = 5_000_000;

/// What came of an attempt at one end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) disposition: Disposition,
    pub(super) reason: Option<Reason>,
    pub(super) findings: Findings,
    pub(super) statistics: Statistics,
    pub(super) bytes: u64,
    pub(super) machine: Option<Arc<Machine>>,
    pub(super) began: Tick,
    pub(super) ended: Tick,
}

/// Everything that the source's thread needs.
#[derive(Debug)]
pub(super) struct SourceEnd<'a> {
    pub(super) attempt: Attempt,
    pub(super) block: VmBlock,
    pub(super) monitor: SuMonitor,
    pub(super) machine: Arc<Machine>,
    pub(super) entries: Vec<DeviceEntry>,
    pub(super) link: Shaped,
    pub(super) console: HubConsole,
    pub(super) directory: Access,
    pub(super) processors: &'a Processors,
    pub(super) clock: Clock,
    pub(super) events: mpsc::Sender<Event>,
}

type Driver<'s> = SourceDriver<'s, VmPorts, Shaped, Access, HubConsole, Crc32c>;

impl SourceEnd<'_> {
    /// Runs the source to its end.
    pub(super) fn run(mut self) -> End {
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
        let mut vm = VmPorts::new().with_monitor(Box::new(self.monitor));
        vm.install(Arc::clone(&machine));
        let ports = Ports {
            vm,
            link: self.link,
            directory: self.directory,
            console: self.console,
            checksum: Crc32c,
        };
        let mut driver = SourceDriver::new(self.block, memory, ports);
        let began = self.clock.now();
        // A new machine takes its first attempt.
        let started = driver.start(began, self.attempt);
        debug_assert!(started.is_ok(), "a new machine refuses an attempt");
        let mut runs = machine.is_running();
        let mut reported = began;
        let mut over_at = None;
        loop {
            let now = self.clock.now();
            driver.ports().vm.set_now(now);
            let wait = driver.step(now);
            wake_if_resumed(&machine, &mut runs, self.processors);
            over_at = awaits_nothing(&driver).then(|| over_at.unwrap_or(now));
            let said = over_at.is_some_and(|since| now.since(since).get() >= FAREWELL_US);
            if wait.finished || said {
                break;
            }
            if now.since(reported).get() >= PROGRESS_US {
                reported = now;
                drop(self.events.send(Event::Progress(progress(&driver))));
            }
            let stopped = driver.machine().disposition() == Disposition::HeldAtSource;
            pause(&driver.ports().link, wait, self.clock, stopped);
        }
        let (sent, received) = driver.bytes();
        End {
            disposition: driver.machine().disposition(),
            reason: driver.machine().reason(),
            findings: driver.findings().clone(),
            statistics: driver.machine().statistics().clone(),
            bytes: sent + received,
            machine: Some(Arc::clone(&machine)),
            began,
            ended: self.clock.now(),
        }
    }
}

/// Whether nothing that this program does brings news, but for another connection: the attempt is
/// over, or it is in doubt, the record is the target's, and there is no link to ask the target.
fn awaits_nothing(driver: &Driver<'_>) -> bool {
    let machine = driver.machine();
    match machine.phase() {
        SourcePhase::Released | SourcePhase::RolledBack => true,
        phase => phase == SourcePhase::InDoubt && machine.is_resolved() && !machine.uses_link(),
    }
}

/// Everything that the target's thread needs.
#[derive(Debug)]
pub(super) struct TargetEnd<'a> {
    pub(super) reception: Reception,
    pub(super) monitor: SuMonitor,
    pub(super) link: Shaped,
    pub(super) console: HubConsole,
    pub(super) directory: Access,
    pub(super) processors: &'a Processors,
    pub(super) clock: Clock,
}

impl TargetEnd<'_> {
    /// Runs the target to its end.
    pub(super) fn run(self) -> End {
        let vacant = std::iter::repeat_with(DeviceEntry::vacant);
        let mut devices: Vec<_> = vacant.take(usize::from(DEVICES_MAX)).collect();
        let (mut outgoing, mut incoming) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
        let memory = TargetMemory {
            devices: &mut devices,
            outgoing: &mut outgoing,
            incoming: &mut incoming,
        };
        let ports = Ports {
            vm: VmPorts::new().with_monitor(Box::new(self.monitor)),
            link: self.link,
            directory: self.directory,
            console: self.console,
            checksum: Crc32c,
        };
        let mut driver = TargetDriver::new(self.reception, memory, ports);
        let began = self.clock.now();
        let mut machine = None;
        let mut runs = false;
        let mut dropped_at = None;
        loop {
            let now = self.clock.now();
            driver.ports().vm.set_now(now);
            let wait = driver.step(now);
            if let Some(built) = driver.ports().vm.machine() {
                wake_if_resumed(built, &mut runs, self.processors);
                machine.get_or_insert_with(|| Arc::clone(built));
            }
            if driver.machine().phase() == TargetPhase::Dropped {
                dropped_at.get_or_insert(now);
            }
            let farewell = |since: &Tick| now.since(*since).get() >= FAREWELL_US;
            if wait.finished || dropped_at.as_ref().is_some_and(farewell) {
                break;
            }
            let stopped = driver.machine().disposition() == Disposition::HeldAtTarget;
            pause(&driver.ports().link, wait, self.clock, stopped);
        }
        End {
            disposition: driver.machine().disposition(),
            reason: driver.machine().reason(),
            findings: Findings::new(),
            statistics: Statistics::default(),
            bytes: 0,
            machine,
            began,
            ended: self.clock.now(),
        }
    }
}

fn wake_if_resumed(machine: &Machine, runs: &mut bool, processors: &Processors) {
    let runs_now = machine.is_running();
    if runs_now && !*runs {
        processors.wake();
    }
    *runs = runs_now;
}

/// Waits for the link, the deadline, or a completion, which comes without a sign.
fn pause(link: &Shaped, wait: Wait, clock: Clock, guest_stands_still: bool) {
    if wait.busy {
        return;
    }
    let most = if guest_stands_still { WAIT_STOPPED_MAX } else { WAIT_MAX };
    let time = wait.deadline.map_or(most, |deadline| clock.until(deadline)).min(most);
    link.wait(wait.sending, time);
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
