//! The operator console of a guest: each write is one line.
//!
//! Source of truth: ARCHITECTURE.md ("Devices"). Invariant: a refused write shows
//! no line. Deliberately not here: time stamps and colors, which belong to who shows the lines.

use super::{Access, Device, Fence, Refusal};
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
    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.fence).pass(access)
    }

    fn control(&self, access: &mut Access, _data: &[u8]) -> Result<(), Refusal> {
        lock(&self.fence).pass(access)
    }

    fn write(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal> {
        lock(&self.fence).pass(access)?;
        self.sink.line(&String::from_utf8_lossy(data));
        Ok(())
    }

    fn read(&self, access: &mut Access, _target: &mut [u8]) -> Result<usize, Refusal> {
        lock(&self.fence).pass(access)?;
        Ok(0)
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.fence).refused()
    }
}
