//! The monitor thread of the target: runs one driver, and another one after each restart.
//!
//! Source of truth: `monitor_core::driver::TargetDriver`; ARCHITECTURE.md, "Restart of a monitor".
//! Invariants: the time of each step is the same for the driver and for the machine behind its
//! ports; a restarted monitor knows its journal and its hardware, and nothing else. Deliberately
//! not here: decisions about a migration.

use std::sync::Arc;

use monitor_core::{
    device::{DeviceDescriptor, DeviceEntry},
    driver::{BUFFER_BYTES, Ports, TargetDriver, TargetMemory},
    limits::DEVICES_MAX,
    migrate::{Reception, Statistics, TargetJournal, TargetPhase},
    units::Incarnation,
    vm::{Disposition, Findings, Reason, VmBlock},
};

use super::{
    Clock,
    clock::unique_stamp,
    faults::{Faults, Side},
    monitor::{End, Kept, Left, Life, PATIENCE_US, pause, restart_note, wake_if_resumed},
    processors::Processors,
    watch::{WatchedAccess, WatchedLink},
};
use crate::{
    cluster::{HubConsole, SuMonitor},
    config::Fault,
    machine::{Crc32c, VmPorts},
};

/// Everything that the target's thread needs.
#[derive(Debug)]
pub(super) struct TargetEnd<'a> {
    pub(super) reception: Reception,
    /// The devices of the VM as this SU has them.
    pub(super) devices: Vec<DeviceDescriptor>,
    pub(super) link: WatchedLink,
    pub(super) console: HubConsole,
    pub(super) directory: WatchedAccess,
    pub(super) journal: Kept,
    pub(super) faults: Arc<Faults>,
    pub(super) processors: &'a Processors,
    pub(super) clock: Clock,
}

type Driver<'s> =
    TargetDriver<'s, VmPorts, &'s mut WatchedLink, &'s mut WatchedAccess, HubConsole, Crc32c>;

/// What a restarted monitor knows: its journal, and the VM as the SU's list of VMs has it.
type Restored = (TargetJournal, VmBlock);

impl TargetEnd<'_> {
    /// Runs the target to its end, and with it its end of the link.
    pub(super) fn run(mut self, monitor: SuMonitor) -> End {
        let end = self.serve(monitor);
        drop(self.link);
        self.faults.leave(Side::Target);
        end
    }

    /// Runs the target to the end of an attempt.
    pub(super) fn serve(&mut self, monitor: SuMonitor) -> End {
        let mut vm =
            VmPorts::new().with_monitor(Box::new(monitor)).with_journal(self.journal.journal());
        let began = self.clock.now();
        let mut restored = None;
        let end = loop {
            let (life, definition) = self.live(vm, restored);
            match life.left {
                Left::Over => break life.end,
                Left::Lost(due) => {
                    self.faults.lose(Side::Target, life.end.machine.as_deref());
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
                    restored = journal.zip(definition);
                    self.faults.done(due, restart_note(restored.is_some()));
                }
            }
        };
        End { began, ended: self.clock.now(), ..end }
    }

    /// What a restarted monitor finds, unless it is unreadable.
    fn journal_found(&self) -> Option<Option<TargetJournal>> {
        let record = self.journal.record().ok()?;
        if record.is_empty() { Some(None) } else { TargetJournal::parse(&record).ok().map(Some) }
    }

    /// One life of the monitor: from its start, or restart, to its end.
    fn live(&mut self, vm: VmPorts, restored: Option<Restored>) -> (Life, Option<VmBlock>) {
        let known = if restored.is_some() { self.devices.as_slice() } else { &[] };
        let mut devices: Vec<_> = known.iter().copied().map(DeviceEntry::assigned).collect();
        devices.resize_with(usize::from(DEVICES_MAX), DeviceEntry::vacant);
        let (mut outgoing, mut incoming) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
        let memory = TargetMemory {
            devices: &mut devices,
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
        let (began, reception) = (self.clock.now(), self.reception);
        // The loads of a monitor's next life have other incarnations.
        self.reception.incarnation = Incarnation::new(unique_stamp());
        let mut driver = match restored {
            Some((journal, block)) => {
                TargetDriver::restore(began, reception, &journal, block, memory, ports)
            }
            None => TargetDriver::new(reception, memory, ports),
        };
        let mut runs = false;
        let mut idle_since = None;
        let left = loop {
            let now = self.clock.now();
            driver.ports().vm.set_now(now);
            let wait = driver.step(now);
            if let Some(built) = driver.ports().vm.machine() {
                wake_if_resumed(built, &mut runs, self.processors);
                self.faults.built(built);
            }
            if let Some(left) = befalls(&self.faults) {
                break left;
            }
            idle_since = awaits_nothing(&driver, &self.faults).then(|| idle_since.unwrap_or(now));
            let is_idle = idle_since.is_some_and(|since| now.since(since).get() >= PATIENCE_US);
            let is_held = driver.machine().disposition() == Disposition::HeldAtTarget;
            let is_over = wait.finished && !is_asked(&driver, &self.faults);
            if is_over || is_idle || (is_held && self.faults.gave_up()) {
                break Left::Over;
            }
            // While the guest stands still each moment counts, unless something is waited for.
            let is_short = is_held && wait.deadline.is_none();
            pause(driver.ports().link, wait, self.clock, is_short);
        };
        let definition = driver.definition().copied();
        let end = End {
            disposition: driver.machine().disposition(),
            reason: driver.machine().reason(),
            findings: Findings::new(),
            statistics: Statistics::default(),
            drains: Vec::new(),
            bytes: 0,
            machine: self.faults.copy(),
            held_for: None,
            decision: None,
            is_lost: false,
            began,
            ended: began,
        };
        (Life { end, vm: std::mem::take(&mut driver.ports().vm), left }, definition)
    }
}

/// The fault that is due here, each of which ends the life of the monitor.
fn befalls(faults: &Faults) -> Option<Left> {
    let due = faults.due(Side::Target)?;
    Some(if due.fault == Fault::LoseTarget { Left::Lost(due) } else { Left::Restarted(due) })
}

/// Whether nothing more is owed to anybody who is still there. A guest that runs here is owed the
/// rest of the move, which comes to its end by itself.
fn awaits_nothing(driver: &Driver<'_>, faults: &Faults) -> bool {
    let target = driver.machine();
    let runs = target.disposition() == Disposition::RunsAtTarget;
    target.phase() == TargetPhase::Dropped || (faults.has_left(Side::Source) && !runs)
}

/// Whether the source may still ask what has become of a load that a restarted monitor dropped.
fn is_asked(driver: &Driver<'_>, faults: &Faults) -> bool {
    let target = driver.machine();
    target.phase() == TargetPhase::Dropped && target.wants_link() && !faults.has_left(Side::Source)
}
