//! What people see: the operator's console and the guest's, with the time before each line.
//!
//! Source of truth: the consoles of VM2000 (`hhmmss text`). Invariant: a line behind a number sign
//! tells figures of this run, and nothing that has to be the same in the next. Deliberately not
//! here: what the lines say.

use core::{convert::Infallible, fmt};

use monitor_core::{
    ports::{ErrorType, OperatorConsole},
    units::Tick,
};

use crate::{arch::clock, println, virtio};

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Bytes of the longest line of the guest's console, with its time.
const LINE_BYTES: usize = 256;

/// The time of day, as consoles show it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(pub Tick);

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The TOD clock begins with a day.
        let second = self.0.get() / 1_000_000 % DAY;
        write!(formatter, "{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
    }
}

/// Writes a line on the operator's console, with the time before it.
macro_rules! say {
    ($($arguments:tt)*) => {
        $crate::monitor::console::line(format_args!($($arguments)*))
    };
}
pub(super) use say;

/// As the macro `say`, for text that was formatted before.
pub fn line(text: fmt::Arguments<'_>) {
    println!("{} {text}", Stamp(clock::now()));
}

/// The operator's console.
#[derive(Clone, Copy, Debug)]
pub struct Screen;

impl ErrorType for Screen {
    type Error = Infallible;
}

impl OperatorConsole for Screen {
    fn write_line(&mut self, line: &str) -> Result<(), Infallible> {
        say!("{line}");
        Ok(())
    }
}

/// The guest's console, if the machine has one.
#[derive(Debug)]
pub struct GuestScreen(pub Option<virtio::Console>);

impl GuestScreen {
    /// Puts what was typed into `target`, and says how much.
    pub fn read(&mut self, target: &mut [u8]) -> usize {
        self.0.as_mut().map_or(0, |console| console.try_read(target))
    }

    /// Writes a line. What nobody takes is dropped, as on a terminal that is switched off.
    pub fn write_line(&mut self, text: &str) {
        let Some(console) = &mut self.0 else {
            return;
        };
        let mut line = heapless::String::<LINE_BYTES>::new();
        // A line that is too long is cut.
        let _ = fmt::Write::write_fmt(&mut line, format_args!("{} {text}", Stamp(clock::now())));
        if line.push('\n').is_err() {
            line.pop();
            let _ = line.push('\n');
        }
        let _ = console.write(line.as_bytes());
    }
}
