//! A line into the local network: each write is one frame.
//!
//! Source of truth: ARCHITECTURE.md ("Devices"). Invariant: the log holds every
//! frame that was sent, with the hardware address of the SU's own adapter. Deliberately not here:
//! protocols, and reception of frames.

use super::{Access, Device, Fence, Outcome, Refusal, SenseId, Transfer, command, take_all};
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
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x3088, unit_model: 0x60, device_type: 0, device_model: 0 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        lock(&self.line).fence.pass(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        lock(&self.line).carry_out(access, command, data).into()
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.line).fence.refused()
    }
}

impl Line {
    fn carry_out(
        &mut self,
        access: &Access,
        command: u8,
        data: &mut dyn Transfer,
    ) -> Result<Outcome, Refusal> {
        self.fence.pass(access)?;
        match command {
            command::WRITE => {
                if let Some(frame) = take_all(data) {
                    self.byte_count += frame.len() as u64;
                    self.frames.push(String::from_utf8_lossy(&frame).into_owned());
                }
            }
            command::READ => drop(data.give(&[])),
            command::CONTROL => drop(take_all(data)),
            _ => return Err(Refusal::CommandReject),
        }
        Ok(Outcome::NORMAL)
    }
}
