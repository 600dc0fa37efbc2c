//! The guest's console: a virtio console with one port and no handshake.
//!
//! Source of truth: VIRTIO 1.1, "Console Device", without the feature of several ports. Invariant:
//! text that nobody takes in time is dropped, and that is told. Deliberately not here: lines.

use super::stream::Stream;
use super::{Device, Kind, VirtioError};
use crate::arch::clock;
use monitor_core::units::{DeviceNumber, Tick};

/// How long text waits for free buffers.
const WRITE_BOUND_US: u64 = 100_000;

/// A console.
#[derive(Debug)]
pub struct Console {
    stream: Stream,
}

impl Console {
    /// Opens the console with this device number.
    ///
    /// # Errors
    /// Fails when there is no such device or it is none.
    pub fn open(number: DeviceNumber) -> Result<Self, VirtioError> {
        let device = Device::open(number, Kind::Console, 0)?;
        let mut stream = Stream::new(device, 0, 1)?;
        device.ready()?;
        stream.begin();
        Ok(Self { stream })
    }

    /// Writes text.
    ///
    /// # Errors
    /// Fails when the device takes nothing for a while; the rest of the text is lost.
    pub fn write(&mut self, text: &[u8]) -> Result<(), VirtioError> {
        let deadline = Tick::new(clock::now().get() + WRITE_BOUND_US);
        let mut rest = text;
        loop {
            let taken = self.stream.try_write(rest);
            rest = rest.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            if clock::now() >= deadline {
                return Err(VirtioError::Late);
            }
        }
    }

    /// Puts what was typed into `target`, and says how much.
    pub fn try_read(&mut self, target: &mut [u8]) -> usize {
        self.stream.try_read(target)
    }
}
