//! A server unit of the harness and a machine: the same guest, one wire format, two byte orders.
//!
//! The harness is the process `su390 su`, whose guest is the memory-only workload; the machine
//! executes the same workload, which is written once.
//!
//! Source of truth: the help of `su390 su`. Invariant: the harness judges the guest by its own
//! oracle, on memory that a machine of the other byte order has changed. Deliberately not here:
//! faults.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    case::Case,
    console::Console,
    directory::Directory,
    failure::{Failure, Result, ensure},
    image::{self, Images},
    machine::Machine,
    pair::{MOVES_WITHIN, Pair, SUS, Setup, command_move, wait_moved},
};

/// How long the process may take to end once it has nothing more to do.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// The cases of this module.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "harness-to-machine",
            "a guest of the harness moves to a machine and comes back",
            |images| mixed(images, 0),
        ),
        Case::new(
            "machine-to-harness",
            "a guest of a machine moves to the harness and comes back",
            |images| mixed(images, 1),
        ),
    ]
}

/// An SU of the harness, which ends with the value.
struct Harness {
    process: Child,
    console: Console,
}

impl Harness {
    /// Starts the SU with these deeds; the directory is in the folder.
    fn start(deeds: &[&str], link: &Path, folder: &Path) -> Result<Self> {
        let program = image::harness()?;
        let mut process = Command::new(&program)
            .args(["su", SUS[0]])
            .args(deeds)
            .args(["--memory", "8MiB", "--rate", "200", "--budget", "2s", "--color", "never"])
            .arg("--connect")
            .arg(link)
            .arg("--directory")
            .arg(Directory::file(folder))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::of_io("cannot start", &program, &error))?;
        let screen = process.stdout.take().ok_or_else(|| Failure::new("no output of su390"))?;
        Ok(Self { process, console: Console::follow("su390 su", screen) })
    }

    /// Waits for the end, which must be a good one.
    fn wait_end(&mut self) -> Result<()> {
        let end = Instant::now() + ENDS_WITHIN;
        self.console.wait_end(ENDS_WITHIN);
        loop {
            let status = self.process.try_wait();
            match status.map_err(|error| Failure::new(format!("su390 su: {error}")))? {
                Some(status) => {
                    return ensure(status.success(), || {
                        format!("su390 su ended with {status}\n{}", self.console.shown())
                    });
                }
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
                None => return Err(Failure::new("su390 su does not end")),
            }
        }
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // A process that has ended cannot be killed, which is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Waits until the machine has got the VM, or will not get it.
fn wait_arrived(machine: &Machine) -> Result<()> {
    let (place, line) = machine.wait_any(&[("VMS2431", 1), ("VMS2433", 1)], MOVES_WITHIN)?;
    ensure(place == 0, || format!("the VM has not come: {line}"))
}

/// The VM begins with the harness (`first` is 0) or with the machine, goes over and comes back.
fn mixed(images: &Images, first: usize) -> Result<String> {
    let mut setup = Setup::new(8);
    setup.has_devices = false;
    setup.lines = vec!["guest = emulated".to_owned(), "link = socket".to_owned()];
    let (mut machine, mut directory, folder) = Pair::alone(&images.monitor()?, &setup, first)?;
    let deeds: &[&str] = match first {
        0 => &["start", "send", "receive", "run:300ms"],
        _ => &["receive", "run:300ms", "send"],
    };
    let mut harness = Harness::start(deeds, &machine.socket("mig"), folder.path())?;
    let told = |failure: Failure, harness: &Harness| failure.with(&harness.console.shown());
    if first == 0 {
        wait_arrived(&machine).map_err(|failure| told(failure, &harness))?;
    }
    command_move(&mut machine, SUS[0])?;
    wait_moved(&machine, 1).map_err(|failure| told(failure, &harness))?;
    if first == 1 {
        wait_arrived(&machine).map_err(|failure| told(failure, &harness))?;
    }
    harness.wait_end().map_err(|failure| machine.told(failure))?;
    directory.check_serves(1)?;
    machine.end()?;
    Ok(harness.console.lines().last().cloned().unwrap_or_default())
}
