//! A look into a machine that does not say what is wrong with it.
//!
//! Source of truth: Principles of Operation, assigned storage locations.
//! Invariant: a look is bounded in time, and its failure is text like the rest. Deliberately not
//! here: what the state means, and how the monitor is asked.

use std::{fmt::Write as _, io, path::Path};

use crate::human::Human;

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
    let mut human = Human::connect(socket)?;
    let mut text = String::from("-- registers:\n");
    for line in human.ask("info registers")?.lines() {
        // Floating-point registers tell nothing about a monitor that has none.
        if !line.starts_with("F") && !line.starts_with("V") {
            text += &format!("   {line}\n");
        }
    }
    text += "-- low storage:\n";
    for (title, address, count) in LOW_STORAGE {
        let dump = human.ask(&format!("xp /{count}gx {address:#x}"))?;
        let values: Vec<_> =
            dump.split_whitespace().filter(|word| word.starts_with("0x")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "   {address:#05X} {title}: {}", values.join(" "));
    }
    Ok(text)
}
