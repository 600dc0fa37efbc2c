//! The operator of this SU: what is typed, and what is shown on demand.
//!
//! Source of truth: `monitor_core::message::command`. Invariant: each line is shown with its time,
//! as the console of VM2000 does, and one that is no command is answered. Deliberately not here:
//! what a command causes.

use monitor_core::message::command::{self, Command};

use super::{Su, console::say};
use crate::sclp;

/// What the operator types.
#[derive(Debug)]
pub(super) struct Operator(sclp::Operator);

impl Operator {
    /// An operator who has typed nothing yet.
    pub(super) const fn new() -> Self {
        Self(sclp::Operator::new())
    }

    /// The next command.
    pub(super) fn poll(&mut self) -> Option<Command> {
        let line = self.0.poll_line()?;
        let line = line.trim();
        if line.is_empty() {
            return None;
        }
        say!("{line}");
        match command::parse(line) {
            Ok(command) => Some(command),
            Err(error) => {
                say!("% command rejected: {error}");
                None
            }
        }
    }
}

impl Su {
    /// Shows what the VM is doing.
    pub(super) fn show_status(&self) {
        match (self.vm.block(), self.epoch) {
            (Some(block), Some(epoch)) => {
                let (index, name) = (block.index(), block.name());
                say!("% VM ({index},{name}) {} EPOCH {epoch}", block.state());
            }
            (Some(block), None) => {
                say!("% VM ({},{}) {}", block.index(), block.name(), block.state());
            }
            (None, _) => say!("% no VM on SU '{}'", self.config.su),
        }
    }
}
