//! Service-call logical processor: the operator's console, and how much storage there is.
//!
//! Source of truth: QEMU, `hw/char/sclpconsole.c` and `hw/s390x/sclp.c` (the ASCII console, event
//! type 0x1A). Invariants: the two blocks lie in free storage below the image, so that text can be
//! written whatever has happened. Deliberately not here: what the lines say.

use crate::arch::service::{ServiceBlock, service_call, take_event_pending};
use core::fmt;
use heapless::{Deque, String};

const WRITE_EVENT_MASK: u32 = 0x0078_0005;
const WRITE_EVENT_DATA: u32 = 0x0076_0005;
const READ_EVENT_DATA: u32 = 0x0077_0005;
const READ_SCP_INFORMATION: u32 = 0x0002_0001;

const EVENT_ASCII: u8 = 0x1A;
const MASK_ASCII: u32 = 0x40;
const RESPONSE_NORMAL: u16 = 0x0020;

/// Bytes of the header of a block.
const HEADER_BYTES: usize = 8;
/// Bytes of the header of an event.
const EVENT_HEADER_BYTES: usize = 6;
/// Where the text of the only event of a block begins.
const TEXT: usize = HEADER_BYTES + EVENT_HEADER_BYTES;
/// How much text goes into one event.
const TEXT_BYTES: usize = 1024;

/// Longest line that the operator can type; what is longer is cut.
pub const LINE_BYTES: usize = 256;
/// One line of the operator, without its end.
pub type Line = String<LINE_BYTES>;

/// Writes formatted text to the operator's console.
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut writer = Writer { block: ServiceBlock::output(), length: 0 };
    // The writer itself cannot fail, and text that refuses to be formatted has no better place.
    let _ = fmt::Write::write_fmt(&mut writer, arguments);
    writer.flush();
}

/// Writes a line to the operator's console.
#[macro_export]
macro_rules! println {
    ($($arguments:tt)*) => {
        $crate::sclp::print(format_args!("{}\n", format_args!($($arguments)*)))
    };
}

struct Writer {
    block: ServiceBlock,
    length: usize,
}

impl Writer {
    fn flush(&mut self) {
        if self.length == 0 {
            return;
        }
        let event = EVENT_HEADER_BYTES + self.length;
        self.block.begin(HEADER_BYTES + event);
        self.block.write(HEADER_BYTES, u16::try_from(event).unwrap_or(0));
        self.block.write(HEADER_BYTES + 2, EVENT_ASCII);
        self.block.write(HEADER_BYTES + 3, 0_u8);
        self.block.write(HEADER_BYTES + 4, 0_u16);
        service_call(WRITE_EVENT_DATA, self.block);
        self.length = 0;
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.block.write(TEXT + self.length, byte);
            self.length += 1;
            if self.length == TEXT_BYTES {
                self.flush();
            }
        }
        Ok(())
    }
}

/// Tells the service processor that this program writes to the console and reads from it.
pub fn open_console() {
    let block = ServiceBlock::output();
    block.begin(28);
    block.write(HEADER_BYTES, 0_u16);
    block.write(HEADER_BYTES + 2, 4_u16);
    block.write(HEADER_BYTES + 4, MASK_ASCII);
    block.write(HEADER_BYTES + 8, MASK_ASCII);
    service_call(WRITE_EVENT_MASK, block);
}

/// How many bytes of storage this machine has, if the service processor says so.
#[must_use]
pub fn storage_bytes() -> Option<usize> {
    let block = ServiceBlock::input();
    block.begin(ServiceBlock::BYTES);
    service_call(READ_SCP_INFORMATION, block);
    let increments = match block.read::<u16>(HEADER_BYTES) {
        0 => usize::try_from(block.read::<u64>(104)).ok()?,
        increments => usize::from(increments),
    };
    let mebibytes = match block.read::<u8>(HEADER_BYTES + 2) {
        0 => usize::try_from(block.read::<u32>(100)).ok()?,
        mebibytes => usize::from(mebibytes),
    };
    (increments != 0).then_some((increments * mebibytes) << 20)
}

/// What the operator types, line by line.
#[derive(Debug, Default)]
pub struct Operator {
    typed: Deque<u8, { 2 * ServiceBlock::BYTES }>,
}

impl Operator {
    /// An operator who has typed nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { typed: Deque::new() }
    }

    /// The next line that is complete, if any.
    pub fn poll_line(&mut self) -> Option<Line> {
        self.read_events();
        if !self.typed.iter().any(|byte| is_end(*byte)) {
            self.typed.truncate(LINE_BYTES);
            return None;
        }
        let mut line = Line::new();
        while let Some(byte) = self.typed.pop_front() {
            if is_end(byte) {
                break;
            }
            // What does not fit is cut, as the documentation of the length says.
            let _ = line.push(char::from(byte));
        }
        Some(line)
    }

    /// Takes what was typed since the last time; too full a buffer leaves the rest where it is.
    fn read_events(&mut self) {
        let block = ServiceBlock::input();
        let room = self.typed.capacity() - self.typed.len();
        if room < ServiceBlock::BYTES || !take_event_pending() {
            return;
        }
        block.begin(ServiceBlock::BYTES);
        service_call(READ_EVENT_DATA, block);
        if block.read::<u16>(6) != RESPONSE_NORMAL {
            return;
        }
        let end = usize::from(block.read::<u16>(0)).min(ServiceBlock::BYTES);
        let mut event = HEADER_BYTES;
        while event + EVENT_HEADER_BYTES < end {
            let length = usize::from(block.read::<u8>(event)) << 8
                | usize::from(block.read::<u8>(event + 1));
            if length < EVENT_HEADER_BYTES || event + length > end {
                return;
            }
            if block.read::<u8>(event + 2) & 0x7F == EVENT_ASCII {
                // The first byte of the data is its kind, of which there is only one.
                for offset in event + EVENT_HEADER_BYTES + 1..event + length {
                    let _ = self.typed.push_back(block.read(offset));
                }
            }
            event += length;
        }
    }
}

const fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
