//! The image under Hercules, with its disks, its console and its adapter.
//!
//! Source of truth: the Hercules manual, and what was measured (the facts are in the comments).
//! Invariants: connections stay on this machine; the time is bounded. Deliberately not here: what
//! is compared.

use std::{fmt::Write as _, fs, net::TcpListener, path::Path, process::Command, time::Duration};

use oracle_sequences::Unit;

use crate::{
    bounded, disks,
    failure::{Failure, Result},
    image::Image,
    transcript::Transcript,
};

const PROGRAM: &str = "hercules";
/// What the image or Hercules says last, whatever comes first: the command of Hercules to end would
/// lose what its logger has not written yet.
const LAST: [&str; 2] = ["::DONE ", "Disabled wait state"];
const DISK_MAKER: &str = "dasdinit";
/// The fixed sequences take less than ten seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(100);
/// A disk is made at once.
const MADE_WITHIN: Duration = Duration::from_secs(30);
/// Cylinders of the count-key-data disk.
const CYLINDER_COUNT: u16 = 5;

/// Runs the image and gives what it tells.
pub(crate) fn run(image: &Image, folder: &Path) -> Result<Transcript> {
    make_disks(folder)?;
    let configuration = folder.join("hercules.cnf");
    save(&configuration, &configuration_text(folder, ports()?))?;
    let script = folder.join("hercules.rc");
    save(&script, &script_text(image))?;
    let mut command = Command::new(PROGRAM);
    command.arg("-d").arg("-f").arg(&configuration).env("HERCULES_RC", &script);
    let said = bounded::run_until(&mut command, &folder.join("hercules.log"), ENDS_WITHIN, &LAST)?;
    Transcript::of_console(PROGRAM, &said)
}

fn make_disks(folder: &Path) -> Result<()> {
    for unit in [Unit::Fba, Unit::Plain] {
        disks::write(Path::new(&file(folder, unit)))?;
    }
    let mut maker = Command::new(DISK_MAKER);
    let cylinders = CYLINDER_COUNT.to_string();
    maker.args([&file(folder, Unit::Ckd), "3390", "ORACLE", &cylinders]);
    bounded::run(&mut maker, &folder.join("dasdinit.log"), MADE_WITHIN).map(drop)
}

/// The file of a disk.
fn file(folder: &Path, unit: Unit) -> String {
    folder.join(format!("disk-{:04X}", unit.device_number())).display().to_string()
}

/// Two pairs of ports that nobody has: an end of the adapter uses the even one and the next.
fn ports() -> Result<(u16, u16)> {
    let mut found = Vec::new();
    for first in (20_000..60_000).step_by(2) {
        let is_free = [first, first + 1]
            .into_iter()
            .all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        if is_free {
            found.push(first);
        }
        if let [one, other] = found[..] {
            return Ok((one, other));
        }
    }
    Err(Failure::new("no free ports for the channel-to-channel adapter"))
}

fn configuration_text(folder: &Path, (one, other): (u16, u16)) -> String {
    let number = |unit: Unit| format!("{:04X}", unit.device_number());
    format!(
        "CPUSERIAL 002623\nCPUMODEL 2097\nMAINSIZE 8\nXPNDSIZE 0\nNUMCPU 1\nARCHMODE z/Arch\n\
         SYSEPOCH 1900\nPANRATE FAST\nOSTAILOR QUIET\n\
         {} 3215-C / noprompt\n{} 3390 {}\n{} 9336 {}\n{} 9336 {}\n\
         {} CTCE {one} 127.0.0.1 {other}\n{} CTCE {other} 127.0.0.1 {one}\n",
        number(Unit::Console),
        number(Unit::Ckd),
        file(folder, Unit::Ckd),
        number(Unit::Fba),
        file(folder, Unit::Fba),
        number(Unit::Plain),
        file(folder, Unit::Plain),
        number(Unit::Ctc),
        number(Unit::CtcPeer),
    )
}

/// What the operator does: the image asks for a line by the word TYPE.
fn script_text(image: &Image) -> String {
    let mut text = "hao tgt TYP[E]\nhao cmd /hello\npause 1\n".to_owned();
    for (path, address) in &image.parts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "loadcore {} {address:x}", path.display());
    }
    let _ = writeln!(text, "r 1A0=0000000180000000\nr 1A8={:016X}\nrestart", image.entry);
    // Hercules is ended from outside: its script waits this long.
    text + "pause 999\n"
}

fn save(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .map_err(|error| Failure::of_io("write", &path.display().to_string(), &error))
}
