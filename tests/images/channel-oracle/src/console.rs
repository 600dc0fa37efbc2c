//! The operator's console in line mode, which QEMU and Hercules both have.
//!
//! Source of truth: QEMU, `hw/char/sclpconsole-lm.c`; the layout of the message was measured on
//! both. Invariant: a line is letters, digits and a few signs, which both show as they are.
//! Deliberately not here: input.

use crate::arch;
use core::fmt;
use heapless::Vec;
use oracle_sequences::Code;

const WRITE_EVENT_MASK: u32 = 0x0078_0005;
const WRITE_EVENT_DATA: u32 = 0x0076_0005;
/// External interruptions of the service processor, and what control register 0 has at entry.
const SERVICE_SIGNAL: u64 = 0x2E0;
/// Most bytes of a line; what is longer is continued in another one.
const LINE_BYTES: usize = 500;
/// What each line begins with.
const MARK: [u8; 2] = *b"::";
/// Where the text of a message begins.
const TEXT: usize = 92;
/// How often a busy service processor is asked again.
const REPEATS: u32 = 1_000_000;

/// A block for the service processor: within one page, at a multiple of 8.
#[repr(C, align(4096))]
struct Block([u8; 4096]);

/// Tells the service processor that messages will come.
pub(crate) fn open() {
    arch::load_control::<0>(SERVICE_SIGNAL);
    let mut block = Block([0; 4096]);
    put(&mut block, 0, &[0, 28]);
    put(&mut block, 10, &[0, 4]);
    put(&mut block, 12, &[0x80, 0, 0, 0]);
    put(&mut block, 16, &[0x40, 0, 0, 0]);
    call(WRITE_EVENT_MASK, &mut block);
}

/// Writes one line.
pub(crate) fn write(text: fmt::Arguments<'_>) {
    let mut console = Console::default();
    // The console takes whatever it is given.
    let _ = fmt::Write::write_fmt(&mut console, text);
    console.flush();
}

/// The line that is being written.
#[derive(Default)]
pub(crate) struct Console {
    line: Vec<u8, LINE_BYTES>,
}

impl Console {
    fn flush(&mut self) {
        // What the console writes of its own, and other devices too, may stand before it.
        let length = MARK.len() + self.line.len();
        let mut block = Block([0; 4096]);
        let number = |value: usize| u16::try_from(value).unwrap_or(0).to_be_bytes();
        put(&mut block, 0, &number(TEXT + length));
        put(&mut block, 8, &number(TEXT - 8 + length));
        put(&mut block, 10, &[2]);
        put(&mut block, 14, &number(12 + 56 + 10 + length));
        put(&mut block, 16, &[0, 1]);
        put(&mut block, 18, &[0xD4, 0xC4, 0xC2, 0x40]);
        put(&mut block, 22, &[0, 0, 0, 1]);
        put(&mut block, 26, &[0, 56, 0, 1]);
        put(&mut block, 82, &number(10 + length));
        put(&mut block, 84, &[0, 4, 0x10, 0]);
        put(&mut block, TEXT, &MARK.map(ebcdic));
        put(&mut block, TEXT + MARK.len(), &self.line);
        call(WRITE_EVENT_DATA, &mut block);
        self.line.clear();
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // A line that is too long is told in two, which nobody will take for one.
            if byte == b'\n' || self.line.push(ebcdic(byte)).is_err() {
                self.flush();
            }
        }
        Ok(())
    }
}

fn put(block: &mut Block, at: usize, bytes: &[u8]) {
    for (target, byte) in block.0.iter_mut().skip(at).zip(bytes) {
        *target = *byte;
    }
}

/// Gives a command to the service processor until it takes it, and takes its signal.
fn call(command: u32, block: &mut Block) {
    for _ in 0..REPEATS {
        let code = arch::service_call(command, (&raw mut *block).cast());
        arch::take_service_signal();
        if code != Code::Condition(2) {
            return;
        }
    }
}

/// A letter, digit or sign of a line in the code of the console.
fn ebcdic(byte: u8) -> u8 {
    match byte {
        b'a'..=b'i' => byte - b'a' + 0x81,
        b'j'..=b'r' => byte - b'j' + 0x91,
        b's'..=b'z' => byte - b's' + 0xA2,
        b'A'..=b'I' => byte - b'A' + 0xC1,
        b'J'..=b'R' => byte - b'J' + 0xD1,
        b'S'..=b'Z' => byte - b'S' + 0xE2,
        b'0'..=b'9' => byte - b'0' + 0xF0,
        b'.' => 0x4B,
        b',' => 0x6B,
        b':' => 0x7A,
        b'-' => 0x60,
        b'+' => 0x4E,
        b'=' => 0x7E,
        b'/' => 0x61,
        b'(' => 0x4D,
        b')' => 0x5D,
        _ => 0x40,
    }
}
