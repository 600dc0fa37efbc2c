//! A look into a machine that does not say what is wrong with it.
//!
//! Source of truth: QEMU's human monitor; Principles of Operation, assigned storage locations.
//! Invariant: a look is bounded in time, and its failure is text like the rest. Deliberately not
//! here: what the state means.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long the human monitor may be silent.
const SILENCE: Duration = Duration::from_secs(2);

/// What ends each answer.
const PROMPT: &[u8] = b"(qemu) ";

/// What is looked at: a title, the address in low storage, and the doublewords there.
const LOW_STORAGE: [(&str, u64, usize); 9] = [
    ("external interruption code (bytes 6, 7)", 0x80, 1),
    ("SVC and program interruption codes", 0x88, 1),
    ("translation-exception address", 0xA8, 1),
    ("I/O interruption: subchannel and parameter", 0xB8, 1),
    ("external old PSW", 0x130, 2),
    ("SVC old PSW", 0x140, 2),
    ("program old PSW", 0x150, 2),
    ("I/O old PSW", 0x170, 2),
    ("program new PSW", 0x1D0, 2),
];

/// The registers and interruption codes of the machine whose human monitor listens here.
pub(crate) fn state(socket: &Path) -> String {
    match look(socket) {
        Ok(text) => text,
        Err(error) => format!("-- no look into the machine: {error}\n"),
    }
}

fn look(socket: &Path) -> io::Result<String> {
    let mut monitor = UnixStream::connect(socket)?;
    monitor.set_read_timeout(Some(SILENCE))?;
    answer(&mut monitor)?;
    let mut text = String::from("-- registers:\n");
    for line in ask(&mut monitor, "info registers")?.lines() {
        // Floating-point registers tell nothing about a monitor that has none.
        if !line.starts_with("F") && !line.starts_with("V") {
            text += &format!("   {line}\n");
        }
    }
    text += "-- low storage:\n";
    for (title, address, count) in LOW_STORAGE {
        let dump = ask(&mut monitor, &format!("xp /{count}gx {address:#x}"))?;
        let values: Vec<_> =
            dump.split_whitespace().filter(|word| word.starts_with("0x")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "   {address:#05X} {title}: {}", values.join(" "));
    }
    Ok(text)
}

fn ask(monitor: &mut UnixStream, command: &str) -> io::Result<String> {
    monitor.write_all(command.as_bytes())?;
    monitor.write_all(b"\n")?;
    // The first line is the command's echo.
    let said = answer(monitor)?;
    Ok(said.split_once('\n').map_or(String::new(), |(_, rest)| rest.replace('\r', "")))
}

fn answer(monitor: &mut UnixStream) -> io::Result<String> {
    let mut said = Vec::new();
    let mut bytes = [0; 4096];
    while !said.ends_with(PROMPT) {
        match monitor.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => said.extend_from_slice(bytes.get(..count).unwrap_or(&[])),
        }
    }
    said.truncate(said.len() - PROMPT.len());
    Ok(String::from_utf8_lossy(&said).into_owned())
}
