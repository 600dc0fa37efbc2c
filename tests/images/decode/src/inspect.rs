//! Where an image hangs: the registers of its machine.
//!
//! Source of truth: QEMU's `info registers` for Arm; Armv7-M architecture, "xPSR". Invariant: a
//! look is bounded in time, and its failure is text like the rest. Deliberately not here: how the
//! monitor is asked.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::human::Human;

/// How long a machine may take until its monitor listens.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

/// The bits of xPSR with the number of the exception that is handled, 0 if none is.
const EXCEPTION: u32 = 0x1FF;

/// Shows all registers of the machine whose human monitor listens here; gives the decisive ones.
pub(crate) fn place(socket: &Path) -> String {
    let registers = connect(socket).and_then(|mut human| human.ask("info registers"));
    match registers {
        Ok(registers) => {
            println!("{registers}");
            decisive(&registers).unwrap_or_else(|| "registers of another machine".to_owned())
        }
        Err(error) => format!("no look into the machine: {error}"),
    }
}

/// Connects, again while the machine is at its beginning.
fn connect(socket: &Path) -> io::Result<Human> {
    let deadline = Instant::now() + BEGINS_WITHIN;
    loop {
        match Human::connect(socket) {
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

fn decisive(registers: &str) -> Option<String> {
    let value = |name: &str| {
        let mut words = registers.split_whitespace();
        let digits = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (pc, status) = (value("R15")?, value("XPSR")?);
    let exception = status & EXCEPTION;
    Some(format!("pc {pc:#010x}, xPSR {status:#010x}, exception {exception}"))
}
