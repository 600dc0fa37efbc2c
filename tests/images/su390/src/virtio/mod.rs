//! Virtio devices behind channel commands: set-up by revision 1, everything little-endian.
//!
//! Source of truth: Virtual I/O Device (VIRTIO) 1.1, "Virtio Over Channel I/O". Invariants: a
//! device works on regions alone; nothing waits for one without a bound. Deliberately not here:
//! adapter interruptions, indirect descriptors, event indices.

mod block;
mod console;
mod ring;
mod serial;
mod stream;

pub use block::{Block, SECTOR_BYTES};
pub use console::Console;
pub use serial::{PortName, SerialPort};

use crate::arch::storage::{PAGE_BYTES, Region};
use crate::channel::{self, ChannelError, Subchannel};
use core::fmt;
use monitor_core::units::DeviceNumber;
use ring::Queue;

const CONTROL_UNIT: u16 = 0x3832;
const SET_QUEUE: u8 = 0x13;
const WRITE_FEATURES: u8 = 0x11;
const READ_FEATURES: u8 = 0x12;
const READ_CONFIGURATION: u8 = 0x22;
const WRITE_STATUS: u8 = 0x31;
const READ_QUEUE_SIZE: u8 = 0x32;
const RESET: u8 = 0x33;
const SET_INDICATORS: u8 = 0x43;
const SET_CONFIGURATION_INDICATORS: u8 = 0x53;
const SET_REVISION: u8 = 0x83;

const ACKNOWLEDGED: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_READY: u8 = 4;
const FEATURES_READY: u8 = 8;

/// In the second word of features: the device keeps to version 1 of the standard.
const VERSION_1: u32 = 1;

/// Why a virtio device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtioError {
    /// A channel command failed.
    Channel(ChannelError),
    /// It is not a virtio device of the kind that was asked for.
    WrongKind,
    /// It lacks a feature that the driver cannot do without.
    LacksFeature,
    /// One of its queues is missing, or too short.
    LacksQueue,
    /// It did not answer in time.
    Late,
    /// It answered a request with a failure.
    Refused,
    /// The port has another name than it should.
    WrongName,
    /// The place on the disk does not exist.
    OutOfRange,
}

impl From<ChannelError> for VirtioError {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

impl fmt::Display for VirtioError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Channel(error) => return error.fmt(formatter),
            Self::WrongKind => "device of another kind",
            Self::LacksFeature => "device lacks a feature",
            Self::LacksQueue => "device lacks a queue",
            Self::Late => "no answer of the device in time",
            Self::Refused => "device refuses the request",
            Self::WrongName => "port with another name",
            Self::OutOfRange => "beyond the end of the disk",
        };
        formatter.write_str(text)
    }
}

impl core::error::Error for VirtioError {}

/// What a device is for, by its model number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Block = 2,
    Console = 3,
}

/// A virtio device in the course of its set-up, and later for its queues.
#[derive(Clone, Copy, Debug)]
struct Device {
    subchannel: Subchannel,
}

impl Device {
    /// Finds the device, resets it, and settles on `features` of its first word, all of which it
    /// must have.
    fn open(number: DeviceNumber, kind: Kind, features: u32) -> Result<Self, VirtioError> {
        let subchannel = channel::find(number).ok_or(ChannelError::NotOperational)?;
        // Whoever had the device before, it forgets its revision and its queues.
        subchannel.set_enabled(false)?;
        subchannel.set_enabled(true)?;
        let identity = subchannel.sense_identity()?;
        if identity.control_unit != CONTROL_UNIT || identity.model != kind as u8 {
            return Err(VirtioError::WrongKind);
        }
        let device = Self { subchannel };
        // Revision 1, with no data of its own; it must be said before everything else.
        device.command(SET_REVISION, &mut [0, 1, 0, 0])?;
        device.command(RESET, &mut [])?;
        device.set_status(ACKNOWLEDGED)?;
        device.set_status(ACKNOWLEDGED | DRIVER)?;
        device.settle_features(0, features)?;
        device.settle_features(1, VERSION_1)?;
        device.set_status(ACKNOWLEDGED | DRIVER | FEATURES_READY)?;

        let indicators = Region::carve(16, 8);
        let address = |offset| word(indicators.address(offset, 8)).to_be_bytes();
        device.command(SET_INDICATORS, &mut address(0))?;
        device.command(SET_CONFIGURATION_INDICATORS, &mut address(8))?;
        Ok(device)
    }

    /// Says that everything is set up: the device may begin.
    fn ready(self) -> Result<(), VirtioError> {
        self.set_status(ACKNOWLEDGED | DRIVER | FEATURES_READY | DRIVER_READY)
    }

    /// Sets up a queue whose requests have `chain` parts each, `slots` of which can be under way.
    fn queue(self, index: u16, slots: u16, chain: u16) -> Result<Queue, VirtioError> {
        let mut size = [0; 4];
        let [high, low] = index.to_be_bytes();
        size[0] = high;
        size[1] = low;
        self.command(READ_QUEUE_SIZE, &mut size)?;
        let most = u16::from_be_bytes([size[2], size[3]]);
        let length = slots.saturating_mul(chain).next_power_of_two();
        if length > most {
            return Err(VirtioError::LacksQueue);
        }
        let queue = Queue::carve(self.subchannel.identification(), index, length, chain);
        let mut data = [0; 32];
        data[0..8].copy_from_slice(&word(queue.descriptors()).to_be_bytes());
        data[12..14].copy_from_slice(&index.to_be_bytes());
        data[14..16].copy_from_slice(&length.to_be_bytes());
        data[16..24].copy_from_slice(&word(queue.available()).to_be_bytes());
        data[24..32].copy_from_slice(&word(queue.used()).to_be_bytes());
        self.command(SET_QUEUE, &mut data)?;
        Ok(queue)
    }

    /// Reads the beginning of the configuration space.
    fn configuration<const N: usize>(self) -> Result<[u8; N], VirtioError> {
        let mut data = [0; N];
        self.command(READ_CONFIGURATION, &mut data)?;
        Ok(data)
    }

    fn settle_features(self, index: u8, wanted: u32) -> Result<(), VirtioError> {
        let mut data = [0, 0, 0, 0, index];
        self.command(READ_FEATURES, &mut data)?;
        let [a, b, c, d, _] = data;
        if u32::from_le_bytes([a, b, c, d]) & wanted != wanted {
            return Err(VirtioError::LacksFeature);
        }
        let [a, b, c, d] = wanted.to_le_bytes();
        self.command(WRITE_FEATURES, &mut [a, b, c, d, index])
    }

    fn set_status(self, status: u8) -> Result<(), VirtioError> {
        self.command(WRITE_STATUS, &mut [status])
    }

    fn command(self, command: u8, data: &mut [u8]) -> Result<(), VirtioError> {
        self.subchannel.execute(command, data)?;
        Ok(())
    }
}

/// Equal buffers, one for each slot of a queue.
#[derive(Clone, Copy, Debug)]
struct Buffers {
    region: Region,
    bytes: usize,
}

impl Buffers {
    fn carve(slots: u16, bytes: usize) -> Self {
        Self { region: Region::carve(usize::from(slots) * bytes, PAGE_BYTES), bytes }
    }

    /// Where in the region the buffer of a slot begins.
    fn offset(&self, slot: u16) -> usize {
        usize::from(slot) * self.bytes
    }

    /// The part of a request that is this many bytes of the buffer of a slot.
    fn part(&self, slot: u16, length: usize, access: ring::Access) -> ring::Part {
        ring::Part { address: self.region.address(self.offset(slot), length), length, access }
    }
}

const fn word(address: usize) -> u64 {
    // An address has 64 bits on this machine.
    address as u64
}
