//! A line into the local network: each write is one frame.
//!
//! Source of truth: ARCHITECTURE.md ("Devices"). Invariant: the log holds every
//! frame that was sent, with the hardware address of the SU's own adapter. Deliberately not here:
//! protocols, and reception of frames.

use super::{Access, Device, Fence, Refusal};
use crate::machine::lock;
use std::sync::Mutex;

/// A hardware address of the local network.
pub type MacAddress = [u8; 6];

#[derive(Debug, Default)]
struct Line {
    fence: Fence,
    frames: Vec<String>,
    byte_count: u64,
}

/// A line with the adapter of one SU.
#[derive(Debug)]
pub struct Lan {
    mac: MacAddress,
    line: Mutex<Line>,
}

impl Lan {
    /// A line over the adapter with this hardware address.
    #[must_use]
    pub fn new(mac: MacAddress) -> Self {
        Self { mac, line: Mutex::default() }
    }

    /// Every frame sent so far, each with the hardware address that it came from.
    #[must_use]
    pub fn announcements(&self) -> Vec<(MacAddress, String)> {
        lock(&self.line).frames.iter().map(|text| (self.mac, text.clone())).collect()
    }

    /// How many frames and how many bytes were sent.
    #[must_use]
    pub fn counters(&self) -> (u64, u64) {
        let line = lock(&self.line);
        (line.frames.len() as u64, line.byte_count)
    }
}

impl Device for Lan {
    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.line).fence.pass(access)
    }

    fn control(&self, access: &mut Access, _data: &[u8]) -> Result<(), Refusal> {
        lock(&self.line).fence.pass(access)
    }

    fn write(&self, access: &mut Access, data: &[u8]) -> Result<(), Refusal> {
        let mut line = lock(&self.line);
        line.fence.pass(access)?;
        line.byte_count += data.len() as u64;
        line.frames.push(String::from_utf8_lossy(data).into_owned());
        Ok(())
    }

    fn read(&self, access: &mut Access, _target: &mut [u8]) -> Result<usize, Refusal> {
        lock(&self.line).fence.pass(access)?;
        Ok(0)
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.line).fence.refused()
    }
}
