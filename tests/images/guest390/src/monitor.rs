//! What the guest asks of its monitor, by DIAGNOSE, and its parameters.
//!
//! Source of truth: [`crate::interface`]. Invariant: no request changes storage of the guest other
//! than where it says. Deliberately not here: when something is asked.

use core::{
    arch::asm,
    fmt::{self, Write},
    ptr,
};

use crate::interface::{
    CONFIGURATION_BYTES, DIAGNOSE, INPUT, INPUT_BYTES, LAN_BYTES, LAN_NAME_BYTES, LAN_TABLE,
    LATEST_CLOCK, function,
};

/// Bytes of the longest console line.
const LINE_BYTES: usize = 240;

/// One request; gives what is in register 2 afterwards.
fn diagnose(function: u64, first: u64, second: u64) -> u64 {
    let mut value = first;
    // SAFETY: the monitor reads and writes where the functions of the interface say, which are
    // variables of the callers.
    unsafe {
        asm!(
            "diag 0, 0, {code}",
            code = const DIAGNOSE,
            in("r1") function,
            inout("r2") value,
            in("r3") second,
        );
    }
    value
}

/// The guest's clock, in TOD-clock units.
pub(crate) fn clock() -> u64 {
    diagnose(function::CLOCK, LATEST_CLOCK, 0)
}

/// Answers the last event of a migration.
pub(crate) fn answer(answer: u64) {
    diagnose(function::ANSWER, answer, 0);
}

/// What was typed on the guest's console since the last time.
pub(crate) fn input() -> impl Iterator<Item = u8> {
    let count = diagnose(function::INPUT, INPUT, 0).min(INPUT_BYTES as u64);
    (INPUT..INPUT + count).map(|address| text::<1>(address).0[0])
}

/// Ends the guest.
pub(crate) fn end(is_good: bool) -> ! {
    loop {
        diagnose(function::END, u64::from(!is_good), 0);
    }
}

/// A name, padded with blanks.
#[derive(Clone, Copy)]
pub(crate) struct Name<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> fmt::Display for Name<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(str::from_utf8(&self.0).unwrap_or("?").trim_end_matches([' ', '\0']))
    }
}

/// The name of the present server configuration.
pub(crate) fn configuration() -> Name<CONFIGURATION_BYTES> {
    let mut name = [b' '; CONFIGURATION_BYTES];
    diagnose(function::CONFIGURATION, (&raw mut name).expose_provenance() as u64, 0);
    Name(name)
}

/// A text of the parameters.
pub(crate) fn text<const N: usize>(address: u64) -> Name<N> {
    // SAFETY: the parameters are initialized bytes below the program, which nobody changes.
    Name(unsafe { ptr::with_exposed_provenance::<[u8; N]>(address as usize).read_volatile() })
}

/// A doubleword of the parameters.
pub(crate) fn parameter(address: u64) -> u64 {
    u64::from_be_bytes(text::<8>(address).0)
}

/// Changes a doubleword of the parameters that the guest alone writes.
pub(crate) fn set_parameter(address: u64, value: u64) {
    let target = ptr::with_exposed_provenance_mut::<u64>(address as usize);
    // SAFETY: the parameters lie below the program and hold no Rust object.
    unsafe { target.write_volatile(value) };
}

/// A LAN line of the parameters: its name, and whether it is a VLAN line.
pub(crate) fn lan_line(number: u64) -> (Name<LAN_NAME_BYTES>, bool) {
    let entry = LAN_TABLE + number * LAN_BYTES as u64;
    (text(entry), text::<1>(entry + LAN_NAME_BYTES as u64).0 == [1])
}

/// A console line under construction; what does not fit is cut off.
struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let Some(target) = self.bytes.get_mut(self.length) else { break };
            *target = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Writes a console line.
pub(crate) fn say(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; LINE_BYTES], length: 0 };
    // A line takes everything, so this cannot fail.
    let _ = line.write_fmt(text);
    diagnose(function::LINE, line.bytes.as_ptr().expose_provenance() as u64, line.length as u64);
}
