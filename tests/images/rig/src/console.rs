//! A console of a machine: its lines as they come, and bounded waits for them.
//!
//! A thread reads what the machine writes until the machine ends. Whoever waits for a text names
//! the how-manieth line with it, so that it does not matter whether the line came before.
//!
//! Source of truth: none. Invariants: every wait is bounded, and ends early when nothing more can
//! come; no line is lost. Deliberately not here: what the lines mean.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::failure::{Failure, Result};

/// Lines that are shown of a console in a failure; the last ones tell the most.
const SHOWN_LINES: usize = 60;

/// A console, which can be looked at from several threads.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    name: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    lines: Vec<String>,
    is_closed: bool,
}

impl Written {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.lines.push(String::from_utf8_lossy(&self.bytes).trim_end().to_owned());
                    self.bytes.clear();
                }
                b'\r' => {}
                other => self.bytes.push(*other),
            }
        }
    }

    fn close(&mut self) {
        if !self.bytes.is_empty() {
            self.take(b"\n");
        }
        self.is_closed = true;
    }
}

impl Console {
    /// Reads a console until its end.
    pub(crate) fn follow(name: &str, mut reader: impl Read + Send + 'static) -> Self {
        let console = Self { name: name.to_owned(), shared: Arc::default() };
        let shared = Arc::clone(&console.shared);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                shared.written().take(bytes.get(..count).unwrap_or(&[]));
                shared.changed.notify_all();
            }
            shared.written().close();
            shared.changed.notify_all();
        });
        console
    }

    /// Waits for a line with this text.
    pub(crate) fn wait(&self, text: &str, limit: Duration) -> Result<String> {
        self.wait_nth(text, 1, limit)
    }

    /// Waits for the `count`-th line with this text.
    pub(crate) fn wait_nth(&self, text: &str, count: usize, limit: Duration) -> Result<String> {
        self.wait_any(&[(text, count)], limit).map(|(_, line)| line)
    }

    /// Waits for one of several texts, each in its `count`-th line, and says which.
    pub(crate) fn wait_any(
        &self,
        texts: &[(&str, usize)],
        limit: Duration,
    ) -> Result<(usize, String)> {
        let found = self.until(limit, |lines| {
            texts.iter().enumerate().find_map(|(place, (text, count))| {
                let mut fitting = lines.iter().filter(|line| line.contains(text));
                fitting.nth(count.saturating_sub(1)).map(|line| (place, line.clone()))
            })
        });
        found.ok_or_else(|| {
            let wanted: Vec<_> = texts.iter().map(|(text, _)| format!("'{text}'")).collect();
            let how = if self.is_closed() { "it ended" } else { "nothing of it came in time" };
            let wanted = wanted.join(" or ");
            Failure::new(format!("{}: waited {limit:?} for {wanted}, but {how}", self.name))
                .with(&self.shown())
        })
    }

    /// Waits for the end of the console and says whether it has come.
    pub(crate) fn wait_end(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut written = self.shared.written();
        while !written.is_closed {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return false;
            };
            written = self.shared.wait(written, left);
        }
        true
    }

    /// How many lines have this text by now.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.shared.written().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// All lines by now.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.written().lines.clone()
    }

    /// The last lines and whose they are, for a failure.
    pub(crate) fn shown(&self) -> String {
        let lines = self.lines();
        let first = lines.len().saturating_sub(SHOWN_LINES);
        let mut text = format!("-- {}, {} lines:\n", self.name, lines.len());
        for line in lines.iter().skip(first) {
            text += &format!("   {line}\n");
        }
        text
    }

    fn is_closed(&self) -> bool {
        self.shared.written().is_closed
    }

    fn until<T>(&self, limit: Duration, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut written = self.shared.written();
        loop {
            if let Some(found) = find(&written.lines) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            if written.is_closed {
                return None;
            }
            written = self.shared.wait(written, left);
        }
    }
}

impl Shared {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, Written>, limit: Duration) -> MutexGuard<'a, Written> {
        self.changed.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Console;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn waits_for_a_line_by_its_number_and_ends_with_the_console() {
        let console = Console::follow("console", &b"one A\r\ntwo A\nlast"[..]);
        assert_eq!(console.wait_nth("A", 2, SOON).ok().as_deref(), Some("two A"));
        assert_eq!(console.wait("last", SOON).ok().as_deref(), Some("last"));
        let failure = console.wait_nth("A", 3, SOON).expect_err("there are two");
        assert!(failure.to_string().contains("it ended"), "{failure}");
        assert!(failure.to_string().contains("   two A"), "{failure}");
    }

    #[test]
    fn says_which_of_several_texts_came() {
        let console = Console::follow("console", &b"good\n"[..]);
        let (place, _) = console.wait_any(&[("bad", 1), ("good", 1)], SOON).expect("it is there");
        assert_eq!(place, 1);
    }
}
