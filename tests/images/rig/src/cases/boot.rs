//! One machine: it boots, tests itself, and says what is wrong with its configuration and commands.
//!
//! Source of truth: `tests/images/expected`; `monitor_core::message::command` for what is wrong
//! with a command, in the words of the host. Invariants: a machine that goes wrong ends with status
//! 1, or is ended by the rig. Deliberately not here: moves.

use std::{path::PathBuf, time::Duration};

use monitor_core::message::command;

use crate::{
    case::Case,
    compare,
    failure::{Failure, Result, ensure},
    image::Images,
    link::Link,
    machine::{Machine, Plan},
};

/// How long a single machine may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A configuration without a VM.
const GOOD: &str = "su = ABGSE501\npeer = ABGSE701\nconfiguration = 390SU- 500-10B\n";

/// Configurations that are wrong in one line, each behind the good one, and what is said.
const BAD: [(&str, &str); 7] = [
    ("colour = blue", "configuration line 4: unknown key"),
    ("su = ABGSE502", "configuration line 4: the key is given twice"),
    ("vm 12", "configuration line 4: expected key = value"),
    (
        "vm = 12 VM12PROD",
        "configuration line 4: expected index, name and mebibytes, as in 12 VM12PROD 32",
    ),
    ("tracking = luck", "configuration line 4: expected keys or protection"),
    ("retry_ms = 0", "configuration line 4: expected milliseconds, from 1 to a day"),
    (
        "\n# with remarks\ndevice = FAA4 FAA4 drum",
        "configuration line 6: expected mnemonic, number and kind, as in FAA4 FAA4 disk; SD may \
         follow",
    ),
];

/// Lines that an operator may type and that are no commands.
const WRONG: [&str; 8] = [
    "MOVE-VM VM-ID=12",
    "MIGRATE-VM VM-ID=12",
    "MIGRATE-VM VM-ID=100,SERVER-UNIT-NAME=ABGSE701",
    "MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=7UP",
    "MIGRATE-VM VM-ID=12,TO=ABGSE701",
    "MIGRATE-VM VM-ID=12,VM-ID=13",
    "MIGRATE-VM 12,ABGSE701,NOW",
    "RESOLVE-VM-MIGRATION VM-ID=12,ANSWER=*MAYBE",
];

/// The cases of this module.
pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("selftest", "the platform of the image passes its own test", selftest),
        Case::new(
            "portable",
            "golden frames and properties have the digests that they have on the host",
            portable,
        ),
        Case::new("guest", "guest and tracking pass their own test", |images| {
            guest(images.monitor()?, "selftest-guest.txt")
        }),
        Case::new(
            "own-stores",
            "a monitor that forgets its own stores fails the guest's test, and the oracle sees it",
            |images| guest(images.forgetful()?, "selftest-guest-forgetful.txt"),
        ),
        Case::new(
            "crashes",
            "a monitor that goes wrong says where and with which registers, with status 1",
            crashes,
        ),
        Case::new("hang", "a machine that hangs is ended, and its state is told", hang),
        Case::new("configuration", "a wrong line of the configuration is named", configuration),
        Case::new("operands", "a wrong operand is named in the words of the host", operands),
    ]
}

fn plan(image: PathBuf, configuration: &str) -> Plan {
    Plan {
        name: "SU".to_owned(),
        image,
        storage_mib: 64,
        configuration: Some(configuration.to_owned()),
        disks: Vec::new(),
    }
}

/// A machine and the folder of its files, which must outlive it.
fn start(image: PathBuf, configuration: &str) -> Result<(Machine, tempfile::TempDir)> {
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::new(format!("no folder for a machine: {error}")))?;
    Ok((Machine::start(&plan(image, configuration), folder.path())?, folder))
}

/// The two serial ports of the machine are joined with each other.
fn selftest(images: &Images) -> Result<String> {
    let (machine, _folder) = start(images.monitor()?, "selftest = platform\n")?;
    let ports = ["mig", "dir"].map(|port| machine.socket(port));
    let _link = Link::join(ports, Vec::new(), None);
    machine.wait_end(0, LIMIT)?;
    compare::with_file("selftest-platform.txt", &machine.operator.lines())?;
    compare::with_file("selftest-platform-guest.txt", &machine.guest.lines())?;
    operator(images)?;
    Ok(String::new())
}

/// What the operator types comes line by line, however fast it is typed.
fn operator(images: &Images) -> Result<()> {
    let (mut machine, _folder) = start(images.monitor()?, "selftest = operator\n")?;
    machine.wait("LISTENS", LIMIT)?;
    machine.type_line("SHOW-VM VM-ID=12\none\ntwo\nthree\nEND")?;
    machine.wait_end(0, LIMIT)?;
    compare::with_file("selftest-operator.txt", &machine.operator.lines())
}

/// The host's test of the same name holds the file against the lines of the host.
fn portable(images: &Images) -> Result<String> {
    let (machine, _folder) = start(images.portable()?, "selftest = portable\n")?;
    machine.wait_end(0, LIMIT)?;
    compare::with_file("selftest-portable.txt", &machine.operator.lines())?;
    Ok(String::new())
}

fn guest(image: PathBuf, file: &str) -> Result<String> {
    let (machine, _folder) = start(image, "selftest = guest\n")?;
    machine.operator.wait_end(LIMIT);
    compare::with_file(file, &machine.operator.lines())?;
    Ok(String::new())
}

fn crashes(images: &Images) -> Result<String> {
    for kind in ["program-check", "deep-stack", "panic", "none"] {
        let (machine, _folder) = start(images.monitor()?, &format!("selftest = {kind}\n"))?;
        machine.wait_end(1, LIMIT)?;
        compare::crash_with_file(&format!("crash-{kind}.txt"), &machine.operator.lines())?;
    }
    Ok(String::new())
}

/// The failure text of a machine that hangs has all that is to be had of it.
fn hang(images: &Images) -> Result<String> {
    let (machine, _folder) = start(images.monitor()?, "selftest = hang\n")?;
    machine.wait("SU390 starts", LIMIT)?;
    let Err(failure) = machine.wait_end(0, Duration::from_millis(500)) else {
        return Err(Failure::new("a machine that hangs has ended"));
    };
    let text = failure.to_string();
    for part in ["does not end within", "SU390 starts", "PSW=mask ", "program interruption codes"] {
        ensure(text.contains(part), || format!("'{part}' is not in the failure:\n{text}"))?;
    }
    machine.process().kill();
    ensure(machine.operator.wait_end(LIMIT), || "the machine was not ended".to_owned())?;
    Ok(String::new())
}

fn configuration(images: &Images) -> Result<String> {
    let wrong = BAD.map(|(line, said)| (format!("{GOOD}{line}\n"), said));
    let missing = ("su = ABGSE501\n".to_owned(), "there is no line with the key peer");
    for (text, said) in wrong.into_iter().chain([missing]) {
        let (machine, _folder) = start(images.monitor()?, &text)?;
        machine.wait_end(1, LIMIT)?;
        let lines = machine.operator.lines();
        let is_last = lines.last().is_some_and(|line| line.ends_with(said));
        ensure(is_last && lines.len() == 2, || {
            format!("not one line '{said}'\n{}", machine.operator.shown())
        })?;
    }
    Ok(String::new())
}

fn operands(images: &Images) -> Result<String> {
    let (mut machine, _folder) = start(images.monitor()?, GOOD)?;
    machine.wait("is ready", LIMIT)?;
    for (count, line) in (1..).zip(WRONG) {
        let error = command::parse(line).err().ok_or_else(|| Failure::new(line))?;
        machine.type_line(line)?;
        let said = machine.wait_nth("rejected: ", count, LIMIT)?;
        ensure(said.ends_with(&format!("% command rejected: {error}")), || {
            format!("the host says '{error}'\n{}", machine.operator.shown())
        })?;
    }
    machine.end()?;
    Ok(format!("{} lines", WRONG.len()))
}
