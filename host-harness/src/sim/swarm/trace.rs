//! What happens in a world, as a hash for comparisons and as lines for people.
//!
//! Source of truth: the callers. Invariants: the hash changes with every event and its order;
//! lines are made only when somebody wants them. Deliberately not here: any decision.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use monitor_core::units::Tick;

use super::draw::mix;

/// The course of a world.
#[derive(Debug)]
pub(super) struct Trace {
    hash: Cell<u64>,
    lines: Option<RefCell<Vec<String>>>,
}

impl Trace {
    pub(super) fn new(is_wanted: bool) -> Self {
        Self { hash: Cell::new(0), lines: is_wanted.then(RefCell::default) }
    }

    /// Takes an event into the hash.
    pub(super) fn note(&self, now: Tick, what: u64, value: u64) {
        let event = now.get().rotate_left(32) ^ what.rotate_left(16) ^ value;
        self.hash.set(mix(self.hash.get().rotate_left(7) ^ mix(event)));
    }

    /// Writes a line.
    pub(super) fn say(&self, now: Tick, who: fmt::Arguments<'_>, what: fmt::Arguments<'_>) {
        if let Some(lines) = &self.lines {
            let since = now.since(super::plan::DAWN).get();
            let (millis, micros) = (since / 1000, since % 1000);
            let who = who.to_string();
            lines.borrow_mut().push(format!("{millis:>7}.{micros:03}  {who:<14} {what}"));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.get()
    }

    pub(super) fn take_lines(&self) -> Vec<String> {
        self.lines.as_ref().map(RefCell::take).unwrap_or_default()
    }
}
