//! The operator console of a guest, after the 3215 console printer-keyboard.
//!
//! | command | what it does |
//! | --- | --- |
//! | WRITE WITHOUT CARRIER RETURN 01 | writes text; the line goes on with the next WRITE |
//! | WRITE WITH CARRIER RETURN 09 | writes text and ends the line |
//! | READ INQUIRY 0A | gives the next line that was typed, or waits for one |
//! | ALARM 0B | nothing |
//!
//! A line that was typed is told by attention, as by the request key. A line that was canceled
//! ends its READ with unit exception. Text is EBCDIC; the control character NEW LINE ends a line.
//!
//! Source of truth: IBM 3215 Model 1, component description; ARCHITECTURE.md ("Devices").
//! Invariants: a refused write shows no line; typed lines are given once, in their order.
//! Deliberately not here: time stamps and colors, which belong to who shows the lines.

use super::{
    Access, Device, Ending, Fence, Outcome, Refusal, SenseId, Transfer, command, ebcdic, take_all,
};
use crate::machine::lock;
use monitor_core::channel::DeviceStatus;
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

/// Command code WRITE WITH CARRIER RETURN.
pub const WRITE_LINE: u8 = 0x09;
/// Command code READ INQUIRY.
pub const READ_INQUIRY: u8 = 0x0A;

/// Command code that sounds the alarm.
const ALARM: u8 = 0x0B;
/// The control character that ends a line.
const NEW_LINE: u8 = 0x15;

/// Where the lines of a guest's console go.
pub trait LineSink: Send + Sync {
    /// Takes one line.
    fn line(&self, text: &str);
}

#[derive(Debug, Default)]
struct Keyboard {
    fence: Fence,
    /// What was written of a line that goes on.
    begun: Vec<u8>,
    /// What was typed and not read; none is a line that was canceled.
    typed: VecDeque<Option<String>>,
    is_told: bool,
}

/// A console.
pub struct Console {
    keyboard: Mutex<Keyboard>,
    sink: Arc<dyn LineSink>,
}

impl Console {
    /// Lines that wait to be read at most; further ones are not taken.
    pub const TYPED_MAX: usize = 16;
    /// Bytes of a line that is ended by itself.
    pub const LINE_BYTES_MAX: usize = 4096;

    /// Bytes of text that a WRITE takes at most.
    pub const TEXT_BYTES_MAX: usize = 65_535;

    /// A console that shows its lines in `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn LineSink>) -> Self {
        Self { keyboard: Mutex::default(), sink }
    }

    /// Types a line; false when too many wait already.
    pub fn enter(&self, text: &str) -> bool {
        self.typed(Some(text.to_owned()))
    }

    /// Presses request and cancel; false when too many lines wait already.
    pub fn cancel_line(&self) -> bool {
        self.typed(None)
    }

    fn typed(&self, line: Option<String>) -> bool {
        let typed = &mut lock(&self.keyboard).typed;
        let has_room = typed.len() < Self::TYPED_MAX;
        if has_room {
            typed.push_back(line);
        }
        has_room
    }

    fn write(&self, keyboard: &mut Keyboard, data: &mut dyn Transfer, ends: bool) {
        // What guest storage refuses, the channel tells.
        let Some(text) = take_all(data, Self::TEXT_BYTES_MAX) else {
            return;
        };
        let returns = ends.then_some(NEW_LINE);
        for code in text.into_iter().chain(returns) {
            if code != NEW_LINE {
                keyboard.begun.push(code);
            }
            if code == NEW_LINE || keyboard.begun.len() >= Self::LINE_BYTES_MAX {
                let line = std::mem::take(&mut keyboard.begun);
                self.sink.line(&ebcdic::decode(&line));
            }
        }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Console").field("keyboard", &self.keyboard).finish_non_exhaustive()
    }
}

fn read(keyboard: &mut Keyboard, data: &mut dyn Transfer) -> Outcome {
    keyboard.is_told = false;
    match keyboard.typed.pop_front() {
        None => Outcome::Pending,
        Some(Some(line)) => {
            data.give(&ebcdic::encode(&line));
            Outcome::NORMAL
        }
        Some(None) => {
            let status = Ending::NORMAL.status.union(DeviceStatus::UNIT_EXCEPTION);
            Outcome::Ended(Ending { status, ..Ending::NORMAL })
        }
    }
}

impl Device for Console {
    fn sense_length(&self) -> usize {
        1
    }

    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x3215, unit_model: 0, device_type: 0x3215, device_model: 0 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.keyboard).fence.pass(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        let mut keyboard = lock(&self.keyboard);
        let keyboard = &mut *keyboard;
        if let Err(refusal) = keyboard.fence.pass(access) {
            return Err(refusal).into();
        }
        match command {
            command::WRITE => self.write(keyboard, data, false),
            WRITE_LINE => self.write(keyboard, data, true),
            READ_INQUIRY => return read(keyboard, data),
            ALARM => {}
            _ => return Err(Refusal::CommandReject).into(),
        }
        Outcome::NORMAL
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        let mut keyboard = lock(&self.keyboard);
        let waits = !keyboard.is_told && !keyboard.typed.is_empty();
        if !waits || keyboard.fence.pass(access).is_err() {
            return None;
        }
        keyboard.is_told = true;
        Some(DeviceStatus::ATTENTION)
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.keyboard).fence.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Buffer, Path},
        *,
    };
    use monitor_core::units::{Epoch, VmName};

    #[derive(Debug, Default)]
    struct Lines(Mutex<Vec<String>>);

    impl LineSink for Lines {
        fn line(&self, text: &str) {
            lock(&self.0).push(text.to_owned());
        }
    }

    fn console() -> (Console, Arc<Lines>) {
        let lines = Arc::<Lines>::default();
        (Console::new(lines.clone()), lines)
    }

    fn access(epoch: u64) -> Access {
        Access::new(VmName::new("VM12PROD").unwrap(), Epoch::new(epoch), Path::default())
    }

    fn write(console: &Console, epoch: u64, code: u8, text: &str) -> Outcome {
        console.execute(&mut access(epoch), code, &mut Buffer::output(&ebcdic::encode(text)))
    }

    fn inquire(console: &Console, room: usize) -> (Outcome, String) {
        let mut data = Buffer::input(room);
        let outcome = console.execute(&mut access(1), READ_INQUIRY, &mut data);
        (outcome, ebcdic::decode(data.given()))
    }

    #[test]
    fn line_ends_with_a_carriage_return_alone() {
        let (console, lines) = console();
        assert_eq!(write(&console, 1, command::WRITE, "% ETMDR"), Outcome::NORMAL);
        assert_eq!(*lock(&lines.0), [] as [String; 0]);
        write(&console, 1, WRITE_LINE, "01 STARTED");
        write(&console, 1, WRITE_LINE, "READY");
        assert_eq!(*lock(&lines.0), ["% ETMDR01 STARTED", "READY"]);
    }

    #[test]
    fn new_line_in_a_text_ends_a_line() {
        let (console, lines) = console();
        let text = [ebcdic::encode("ONE"), vec![NEW_LINE], ebcdic::encode("TWO")].concat();
        console.execute(&mut access(1), command::WRITE, &mut Buffer::output(&text));
        assert_eq!(*lock(&lines.0), ["ONE"]);
        write(&console, 1, WRITE_LINE, "");
        assert_eq!(*lock(&lines.0), ["ONE", "TWO"]);
    }

    #[test]
    fn line_without_end_is_shown_when_it_is_too_long() {
        let (console, lines) = console();
        write(&console, 1, command::WRITE, &"X".repeat(Console::LINE_BYTES_MAX + 1));
        write(&console, 1, WRITE_LINE, "Y");
        assert_eq!(*lock(&lines.0), ["X".repeat(Console::LINE_BYTES_MAX), "XY".to_owned()]);
    }

    #[test]
    fn typed_lines_are_told_and_given_once_in_their_order() {
        let (console, _) = console();
        assert_eq!(inquire(&console, 80), (Outcome::Pending, String::new()));
        assert!(console.enter("FIRST") && console.enter("SECOND"));
        assert_eq!(console.take_unsolicited(&access(1)), Some(DeviceStatus::ATTENTION));
        assert_eq!(console.take_unsolicited(&access(1)), None);
        assert_eq!(inquire(&console, 80), (Outcome::NORMAL, "FIRST".to_owned()));
        assert_eq!(console.take_unsolicited(&access(1)), Some(DeviceStatus::ATTENTION));
        // What does not fit is lost, as at the keyboard.
        assert_eq!(inquire(&console, 3), (Outcome::NORMAL, "SEC".to_owned()));
        assert_eq!(inquire(&console, 80), (Outcome::Pending, String::new()));
        assert_eq!(console.take_unsolicited(&access(1)), None);
    }

    #[test]
    fn canceled_line_ends_its_inquiry_with_unit_exception() {
        let (console, _) = console();
        assert!(console.cancel_line());
        let (outcome, text) = inquire(&console, 80);
        let Outcome::Ended(ending) = outcome else { panic!("the inquiry waits") };
        assert!(ending.status.contains(DeviceStatus::UNIT_EXCEPTION) && text.is_empty());
    }

    #[test]
    fn keyboard_takes_a_bounded_number_of_lines() {
        let (console, _) = console();
        let taken = (0..Console::TYPED_MAX + 2).filter(|_| console.enter("LINE")).count();
        assert_eq!(taken, Console::TYPED_MAX);
    }

    #[test]
    fn former_owner_shows_no_line_and_reads_none() {
        let (console, lines) = console();
        console.admit(&access(2)).unwrap();
        console.enter("FOR THE OWNER");
        let fenced = Outcome::from(Err(Refusal::Fenced));
        assert_eq!(write(&console, 1, WRITE_LINE, "GHOST"), fenced);
        assert_eq!(inquire(&console, 80), (fenced, String::new()));
        assert_eq!(console.take_unsolicited(&access(1)), None);
        assert!(lock(&lines.0).is_empty());
        let rejected = Outcome::from(Err(Refusal::CommandReject));
        assert_eq!(write(&console, 2, 0x55, ""), rejected);
    }
}
