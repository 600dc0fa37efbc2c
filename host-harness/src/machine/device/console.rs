//! The operator console of a guest: each write is one line.
//!
//! Source of truth: ARCHITECTURE.md ("Devices"). Invariant: a refused write shows
//! no line. Deliberately not here: time stamps and colors, which belong to who shows the lines.

use super::{Access, Device, Fence, Outcome, Refusal, SenseId, Transfer, command, take_all};
use crate::machine::lock;
use std::{
    fmt,
    sync::{Arc, Mutex},
};

/// Where the lines of a guest's console go.
pub trait LineSink: Send + Sync {
    /// Takes one line.
    fn line(&self, text: &str);
}

/// A console.
pub struct Console {
    fence: Mutex<Fence>,
    sink: Arc<dyn LineSink>,
}

impl Console {
    /// A console that shows its lines in `sink`.
    #[must_use]
    pub fn new(sink: Arc<dyn LineSink>) -> Self {
        Self { fence: Mutex::default(), sink }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Console").field("fence", &self.fence).finish_non_exhaustive()
    }
}

impl Device for Console {
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x3215, unit_model: 0, device_type: 0x3215, device_model: 0 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.fence).pass(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        self.carry_out(access, command, data).into()
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.fence).refused()
    }
}

impl Console {
    fn carry_out(
        &self,
        access: &Access,
        command: u8,
        data: &mut dyn Transfer,
    ) -> Result<Outcome, Refusal> {
        lock(&self.fence).pass(access)?;
        match command {
            command::WRITE => {
                if let Some(text) = take_all(data) {
                    self.sink.line(&String::from_utf8_lossy(&text));
                }
            }
            command::READ => drop(data.give(&[])),
            command::CONTROL => drop(take_all(data)),
            _ => return Err(Refusal::CommandReject),
        }
        Ok(Outcome::NORMAL)
    }
}
