//! Two server units, each a machine, with a link, a directory and a VM.
//!
//! ```text
//!   machine A (ABGSE501) --- link --- machine B (ABGSE701)
//!        |                                  |
//!        +---- su390 directory serve -------+     (a process, and a file)
//! ```
//!
//! Source of truth: the configuration's keys in `tests/images/su390/src/monitor/config.rs`.
//! Invariants: both machines boot the same image; all files are in one folder, which goes with the
//! pair. Deliberately not here: what is done with the pair.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use host_harness::{cluster::shown, live::Mishap};
use monitor_core::{
    units::{SuName, VmName},
    vm::Ownership,
};
use tempfile::TempDir;

use crate::{
    console::Console,
    directory::Directory,
    failure::{Failure, Result, ensure},
    figures::Figures,
    link::{Link, Trigger},
    machine::{Machine, Plan, Process, socket},
};

/// The names of the two SUs.
pub(crate) const SUS: [&str; 2] = ["ABGSE501", "ABGSE701"];

/// Storage of a machine that is not its guest's.
const MONITOR_MIB: u32 = 32;

/// How long a boot may take, on a busy machine.
const BOOTS_WITHIN: Duration = Duration::from_secs(30);

/// How long a move may take.
pub(crate) const MOVES_WITHIN: Duration = Duration::from_secs(90);

/// For how long a guest is watched, to see whether it runs.
const WATCHED: Duration = Duration::from_millis(1_500);

/// A longest stop that a machine keeps which shares its processor with others.
const PATIENT_MS: u32 = 1_000;

/// What the guest says now and then.
pub(crate) const PULSE: &str = "GUEST ROUNDS=";

/// What the guest says when its oracle has found something.
const FAULT: &str = "ORACLE FOUND";

/// What pairs differ in.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) guest_mib: u32,
    /// Pages that the guest writes in a second; 0 is as many as it can.
    pub(crate) pace: u64,
    /// Whether the VM has devices.
    pub(crate) has_devices: bool,
    /// The longest stop of the guest.
    pub(crate) blackout_ms: u32,
    /// More lines of both configurations.
    pub(crate) lines: Vec<String>,
    /// The most that the link carries.
    pub(crate) bytes_per_second: Option<u64>,
    /// What befalls answers of the directory.
    pub(crate) mishaps: Vec<Mishap>,
}

impl Setup {
    /// A guest of this size, which is busy but not too busy.
    pub(crate) fn new(guest_mib: u32) -> Self {
        Self {
            guest_mib,
            pace: 200,
            has_devices: true,
            blackout_ms: PATIENT_MS,
            lines: Vec::new(),
            bytes_per_second: None,
            mishaps: Vec::new(),
        }
    }
}

/// Two machines that run.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The machines by their SUs; the VM is on the first at the beginning.
    pub(crate) machines: [Machine; 2],
    /// What joins them.
    pub(crate) link: Link,
    plans: [Plan; 2],
    directory: Directory,
    folder: TempDir,
}

/// Who has the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where guests run, by the consoles.
    pub(crate) runs: [bool; 2],
    /// Whose the VM is, by the record.
    pub(crate) owner: SuName,
}

impl Pair {
    /// Starts both machines and waits until they are ready and the guest runs.
    pub(crate) fn start(
        image: &Path,
        setup: &Setup,
        triggers: impl FnOnce([Process; 2]) -> Vec<Trigger>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::new(format!("no folder for a pair: {error}")))?;
        let directory = serve(folder.path(), 0, &setup.mishaps)?;
        let plans = [0, 1].map(|place| plan(image, setup, place, 0));
        let [first, second] = &plans;
        let machines =
            [Machine::start(first, folder.path())?, Machine::start(second, folder.path())?];
        let triggers = triggers(machines.each_ref().map(Machine::process));
        let sockets = machines.each_ref().map(|machine| machine.socket("mig"));
        let link = Link::join(sockets, triggers, setup.bytes_per_second);
        let pair = Self { machines, link, plans, directory, folder };
        for machine in &pair.machines {
            machine.wait(READY, BOOTS_WITHIN)?;
        }
        let [first, _] = &pair.machines;
        first.guest.wait("GUEST STARTS", BOOTS_WITHIN).map_err(|failure| pair.told(failure))?;
        Ok(pair)
    }

    /// Starts the second SU's machine alone, whose peer is something else; the VM is the SU's at
    /// the place `first` in the beginning. Everything is in the folder, with the directory.
    pub(crate) fn alone(
        image: &Path,
        setup: &Setup,
        first: usize,
    ) -> Result<(Machine, Directory, TempDir)> {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::new(format!("no folder for a machine: {error}")))?;
        let directory = serve(folder.path(), first, &setup.mishaps)?;
        let machine = Machine::start(&plan(image, setup, 1, first), folder.path())?;
        machine.wait(READY, BOOTS_WITHIN)?;
        Ok((machine, directory, folder))
    }

    /// The operator of SU `from` moves the VM to the other one, for the `count`-th time there.
    pub(crate) fn move_vm(&mut self, from: usize, count: usize) -> Result<Figures> {
        self.command_move(from)?;
        wait_moved(&self.machines[from], count).map_err(|failure| self.told(failure))?;
        self.figures(from, count)
    }

    /// The figures of the `count`-th move away from this SU.
    pub(crate) fn figures(&self, from: usize, count: usize) -> Result<Figures> {
        let line = self.machines[from].wait_nth("# MOVE ", count, Duration::from_secs(5));
        Figures::read(&line.map_err(|failure| self.told(failure))?)
    }

    /// The operator of SU `from` types the command.
    pub(crate) fn command_move(&mut self, from: usize) -> Result<()> {
        let commanded = command_move(&mut self.machines[from], SUS[1 - from]);
        commanded.map_err(|failure| self.told(failure))
    }

    /// Starts the machine of an SU again that has ended, with its disk as it was left.
    pub(crate) fn restart(&mut self, place: usize) -> Result<()> {
        let machine = Machine::start(&self.plans[place], self.folder.path())?;
        machine.wait(READY, BOOTS_WITHIN)?;
        self.machines[place] = machine;
        Ok(())
    }

    /// Looks for a while where guests run, and then at the record.
    pub(crate) fn standing(&self) -> Result<Standing> {
        let count = || self.machines.each_ref().map(|machine| machine.guest.count(PULSE));
        let before = count();
        let end = Instant::now() + WATCHED;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        let after = count();
        let runs = [after[0] > before[0], after[1] > before[1]];
        Ok(Standing { runs, owner: self.record()?.owner })
    }

    /// Fails unless the guest runs on the SU at this place and nowhere else, and is its by record.
    pub(crate) fn check_stands(&self, place: usize) -> Result<()> {
        let expected = Standing { runs: [place == 0, place == 1], owner: su(SUS[place])? };
        let standing = self.standing()?;
        ensure(standing == expected, || format!("{standing:?}, not {expected:?}"))
            .and_then(|()| self.check_oracles())
            .map_err(|failure| self.told(failure))
    }

    /// Ends both monitors; the guest, which is on the SU at this place, judges itself before.
    pub(crate) fn end(&mut self, place: usize) -> Result<()> {
        self.directory.check_serves(SUS.len())?;
        for machine in &mut self.machines {
            machine.end()?;
        }
        let guest = &self.machines[place].guest;
        ensure(guest.count("ORACLE OK") > 0, || "no last word of the guest".to_owned())
            .and_then(|()| self.check_oracles())
            .map_err(|failure| self.told(failure))
    }

    /// The record of the VM.
    pub(crate) fn record(&self) -> Result<Ownership> {
        self.directory.record()
    }

    /// Fails when an oracle has found something, on either console.
    pub(crate) fn check_oracles(&self) -> Result<()> {
        for machine in &self.machines {
            let guest: &Console = &machine.guest;
            ensure(guest.count(FAULT) == 0, || {
                format!("the guest's storage is damaged\n{}", guest.shown())
            })?;
        }
        Ok(())
    }

    /// A failure with all four consoles, and the record.
    pub(crate) fn told(&self, failure: Failure) -> Failure {
        let mut text = String::new();
        for machine in &self.machines {
            text += &machine.operator.shown();
            text += &machine.guest.shown();
        }
        let [source, target] = self.link.bytes();
        text += &format!("-- the link: {source} bytes there, {target} bytes back\n");
        text += &self.directory.shown();
        if let Ok(record) = self.record() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "-- the record: {}", shown(&record));
        }
        failure.with(&text)
    }
}

/// The operator types the command to move the VM to this SU, again if it comes too early: a target
/// is busy for a moment after it has told the end of a move.
pub(crate) fn command_move(machine: &mut Machine, target: &str) -> Result<()> {
    const BUSY: &str = "a VM is being moved here";
    for _ in 0..50 {
        let next = |text| (text, machine.operator.count(text) + 1);
        let answers = [next(BUSY), next("VMS24")];
        machine.type_line(&format!("MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME={target}"))?;
        if machine.wait_any(&answers, MOVES_WITHIN)?.0 != 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(machine.told(Failure::new("the machine stays busy")))
}

/// Waits until a source says that the `count`-th move from it is over, or that none will be.
pub(crate) fn wait_moved(machine: &Machine, count: usize) -> Result<()> {
    let ends = [("VMS2451", count), ("VMS2453", 1), ("VMS2461", 1)];
    let (place, line) = machine.wait_any(&ends, MOVES_WITHIN)?;
    ensure(place == 0, || format!("the VM was not moved: {line}\n{}", machine.operator.shown()))
}

/// What a monitor says when it waits for its operator.
const READY: &str = "is ready";

/// Serves the record of the VM, which is the SU's at the place `first`, to both machines.
fn serve(folder: &Path, first: usize, mishaps: &[Mishap]) -> Result<Directory> {
    let sockets = SUS.map(|name| socket(folder, name, "dir"));
    Directory::serve(folder, (vm()?, su(SUS[first])?), &sockets, mishaps)
}

/// The devices of the VM, and what its guest knows of them.
const DEVICES: &str = "device = CS 0003 console\n\
                       device = FAA4 FAA4 disk\n\
                       device = FAA5 FAA5 disk SD\n\
                       lan = L#MANLO1\n\
                       lan = L1#DANPU VLAN\n\
                       lan = L1#MANPU VLAN\n\
                       lan = L1#MCNPR VLAN\n";

/// The plan of the machine of an SU.
fn plan(image: &Path, setup: &Setup, place: usize, first: usize) -> Plan {
    let configuration = ["390SU- 500-10B", "390SU- 700-70"][place];
    let mut text = format!(
        "su = {}\npeer = {}\nconfiguration = {configuration}\n",
        SUS[place],
        SUS[1 - place]
    );
    if place == first {
        text += &format!("vm = 12 VM12PROD {}\n", setup.guest_mib);
        text += "initial_configuration = 390SU- 700-70\n";
    }
    if setup.has_devices {
        text += DEVICES;
    }
    text += "line_interval = 25\n";
    text += &format!("pace = {}\nblackout_ms = {}\n", setup.pace, setup.blackout_ms);
    for line in &setup.lines {
        text += line;
        text.push('\n');
    }
    Plan {
        name: SUS[place].to_owned(),
        image: image.to_owned(),
        storage_mib: MONITOR_MIB + setup.guest_mib,
        configuration: Some(text),
        disks: vec!["faa4", "faa5"],
    }
}

fn vm() -> Result<VmName> {
    VmName::new("VM12PROD").ok_or_else(|| Failure::new("the VM has no name"))
}

fn su(name: &str) -> Result<SuName> {
    SuName::new(name).ok_or_else(|| Failure::new(format!("{name} is no name of an SU")))
}
