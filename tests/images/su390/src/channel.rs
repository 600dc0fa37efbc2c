//! Subchannels: which there are, and one channel command at a time.
//!
//! Source of truth: Principles of Operation, "I/O Functions"; `monitor_core::channel` for the
//! blocks. Invariant: nothing waits for a device without a bound. Deliberately not here: drivers.

use crate::arch::{clock, io};
use core::fmt;
use monitor_core::channel::{DeviceStatus, Orb, Scsw, SubchannelStatus};
use monitor_core::units::{DeviceNumber, SubchannelNumber, Tick};

/// Set in each subsystem-identification word.
const IDENTIFICATION: u32 = 0x0001_0000;
const SENSE_ID: u8 = 0xE4;
const SUPPRESS_LENGTH: u8 = 0x20;
/// Interruption subclass of every device of the monitor.
const SUBCLASS: u8 = 3;
/// How long a channel program may take.
const PROGRAM_BOUND_US: u64 = 2_000_000;

/// Where the data of a command lies in the page of the channel program, behind the command.
const DATA: usize = 8;
/// Most bytes that one command transfers.
pub const DATA_BYTES: usize = 2048;

/// Why a channel command did not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// There is no such device, or its subchannel is gone.
    NotOperational,
    /// The subchannel does something else.
    Busy,
    /// More data than one command takes.
    TooLong,
    /// The device did not end the command in time.
    Late,
    /// The command ended with another status than it should.
    Status {
        /// What the device says.
        device: u8,
        /// What the subchannel says.
        subchannel: u8,
    },
}

impl fmt::Display for ChannelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOperational => formatter.write_str("no such device"),
            Self::Busy => formatter.write_str("subchannel busy"),
            Self::TooLong => formatter.write_str("more data than one command takes"),
            Self::Late => formatter.write_str("no end of the command in time"),
            Self::Status { device, subchannel } => {
                write!(formatter, "device status {device:02X}, subchannel status {subchannel:02X}")
            }
        }
    }
}

impl core::error::Error for ChannelError {}

/// What a device says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Type of the control unit.
    pub control_unit: u16,
    /// Model of the control unit.
    pub model: u8,
}

/// A subchannel with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subchannel {
    /// Its number within subchannel set 0.
    pub number: SubchannelNumber,
    /// The number of its device.
    pub device: DeviceNumber,
}

/// Every subchannel with a device.
pub fn subchannels() -> impl Iterator<Item = Subchannel> {
    (0..=u16::MAX)
        .map_while(|number| {
            let schib = io::store_subchannel(IDENTIFICATION | u32::from(number))?;
            Some((SubchannelNumber::new(number), schib.pmcw))
        })
        .filter(|(_, pmcw)| pmcw.has_device())
        .map(|(number, pmcw)| Subchannel { number, device: pmcw.device })
}

/// The subchannel of a device.
#[must_use]
pub fn find(device: DeviceNumber) -> Option<Subchannel> {
    subchannels().find(|subchannel| subchannel.device == device)
}

impl Subchannel {
    /// The word that names it to the instructions.
    #[must_use]
    pub fn identification(self) -> u32 {
        IDENTIFICATION | u32::from(self.number.get())
    }

    /// Whether channel programs can be started.
    #[must_use]
    pub fn is_enabled(self) -> bool {
        io::store_subchannel(self.identification()).is_some_and(|schib| schib.pmcw.is_enabled())
    }

    /// Enables the subchannel, or disables it, which also resets a virtio device.
    ///
    /// # Errors
    /// Fails when the device is gone or busy.
    pub fn set_enabled(self, enabled: bool) -> Result<(), ChannelError> {
        self.forget_status();
        let schib = io::store_subchannel(self.identification());
        let mut schib = schib.ok_or(ChannelError::NotOperational)?;
        schib.pmcw = schib.pmcw.with_enabled(enabled).with_interruption_subclass(SUBCLASS);
        started(io::modify_subchannel(self.identification(), &schib))
    }

    /// Asks the device what it is.
    ///
    /// # Errors
    /// Fails when the command does.
    pub fn sense_identity(self) -> Result<Identity, ChannelError> {
        let mut data = [0; 7];
        self.execute(SENSE_ID, &mut data)?;
        let [_, high, low, model, ..] = data;
        Ok(Identity { control_unit: u16::from_be_bytes([high, low]), model })
    }

    /// Executes one command with this data, which it reads or writes, and says how many bytes
    /// were transferred.
    ///
    /// # Errors
    /// Fails when the subchannel does not take it, or when it does not end well and in time.
    pub fn execute(self, command: u8, data: &mut [u8]) -> Result<usize, ChannelError> {
        if data.len() > DATA_BYTES {
            return Err(ChannelError::TooLong);
        }
        let page = io::PROGRAM_PAGE;
        let count = u16::try_from(data.len()).map_err(|_| ChannelError::TooLong)?;
        let address = |offset| {
            u32::try_from(page.address(offset, DATA_BYTES)).map_err(|_| ChannelError::TooLong)
        };
        self.forget_status();
        page.write(0, command);
        page.write(1, SUPPRESS_LENGTH);
        page.write(2, count);
        page.write(4, address(DATA)?);
        page.copy_in(DATA, data);
        started(io::start_subchannel(self.identification(), &Orb::of_program(address(0)?, 0)))?;
        let status = self.await_end()?;
        page.copy_out(DATA, data);
        Ok(data.len().saturating_sub(usize::from(status.residual_count)))
    }

    /// Takes the status of something earlier, which would keep the next function out.
    fn forget_status(self) {
        let _ = io::test_subchannel(self.identification());
    }

    /// Waits for the end of the channel program.
    fn await_end(self) -> Result<Scsw, ChannelError> {
        let deadline = Tick::new(clock::now().get() + PROGRAM_BOUND_US);
        while clock::now() < deadline {
            let (condition, irb) = io::test_subchannel(self.identification());
            let status = match (condition, irb.first_chunk()) {
                (0, Some(bytes)) => Scsw::from_bytes(bytes),
                (3, _) => return Err(ChannelError::NotOperational),
                _ => continue,
            };
            let end = DeviceStatus::CHANNEL_END | DeviceStatus::DEVICE_END;
            let ignored = SubchannelStatus::INCORRECT_LENGTH;
            if status.device_status == end && ignored.contains(status.subchannel_status) {
                return Ok(status);
            }
            return Err(ChannelError::Status {
                device: status.device_status.bits(),
                subchannel: status.subchannel_status.bits(),
            });
        }
        Err(ChannelError::Late)
    }
}

const fn started(condition: u8) -> Result<(), ChannelError> {
    match condition {
        0 => Ok(()),
        3 => Err(ChannelError::NotOperational),
        _ => Err(ChannelError::Busy),
    }
}
