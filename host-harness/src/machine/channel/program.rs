//! The channel program: fetches channel-command words and carries them out on a device.
//!
//! Source of truth: Principles of Operation, chapter "Basic I/O Functions" (format-1 CCW, status).
//!
//! Invariants: data moves by logged accesses of guest storage; a program of any content ends
//! after a bounded number of commands. Deliberately not here: data chaining, indirect addresses
//! and transfer in channel, which end with a program check or a command reject.

use crate::machine::{Access, AddressFault, Device, Refusal, Storage};
use monitor_core::channel::{DeviceStatus, Orb, Scsw, SubchannelStatus};
use std::mem;

/// The most commands of one channel program.
const COMMANDS_MAX: usize = 256;

/// Sense bytes of a subchannel.
pub(super) type Sense = [u8; 32];

/// One program on its way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) storage: &'a Storage,
    pub(super) device: &'a dyn Device,
    pub(super) access: Access,
    pub(super) sense: &'a mut Sense,
}

enum Failure {
    Address,
    Refused(Refusal),
}

impl From<AddressFault> for Failure {
    fn from(_: AddressFault) -> Self {
        Self::Address
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A format-1 channel-command word.
struct Command {
    code: u8,
    flags: u8,
    count: u16,
    address: u32,
}

impl Command {
    const CHAIN: u8 = 0x40;
    const SUPPRESS_LENGTH: u8 = 0x20;
    const UNSUPPORTED: u8 = 0x8E;
}

impl Run<'_> {
    /// Carries out the program of `orb` to its end and gives the status, without its kinds.
    pub(super) fn complete(&mut self, orb: &Orb) -> Scsw {
        let mut status = Scsw {
            program_address: orb.program_address,
            device_status: DeviceStatus::CHANNEL_END | DeviceStatus::DEVICE_END,
            ..Scsw::default()
        };
        for _ in 0..COMMANDS_MAX {
            let Some(command) = self.fetch(orb, status.program_address) else {
                break;
            };
            status.program_address = status.program_address.wrapping_add(8);
            match self.execute(&command) {
                Ok(count) => status.residual_count = command.count.saturating_sub(count),
                Err(Failure::Address) => break,
                Err(Failure::Refused(refusal)) => {
                    self.sense.fill(0);
                    self.sense[..2].copy_from_slice(&refusal.sense());
                    status.device_status |= DeviceStatus::UNIT_CHECK;
                    return status;
                }
            }
            if status.residual_count != 0 && command.flags & Command::SUPPRESS_LENGTH == 0 {
                status.subchannel_status = SubchannelStatus::INCORRECT_LENGTH;
                return status;
            }
            if command.flags & Command::CHAIN == 0 {
                return status;
            }
        }
        Scsw { subchannel_status: SubchannelStatus::PROGRAM_CHECK, ..status }
    }

    /// The command at `address`, if it is one that this subsystem carries out.
    fn fetch(&self, orb: &Orb, address: u32) -> Option<Command> {
        let word = self.storage.load(u64::from(address)).ok()?.to_be_bytes();
        let [code, flags, high, low, data @ ..] = word;
        let (count, address) = (u16::from_be_bytes([high, low]), u32::from_be_bytes(data));
        let supported = orb.is_format_1() && flags & Command::UNSUPPORTED == 0;
        supported.then_some(Command { code, flags, count, address })
    }

    /// Carries out one command and says how many bytes it transferred.
    fn execute(&mut self, command: &Command) -> Result<u16, Failure> {
        let mut data = vec![0; usize::from(command.count)];
        let address = u64::from(command.address);
        let access = &mut self.access;
        match command.code {
            0x01 => {
                self.storage.load_bytes(address, &mut data)?;
                self.device.write(access, &data)?;
                Ok(command.count)
            }
            0x02 => {
                let length = self.device.read(access, &mut data)?;
                self.store(address, data.get(..length).unwrap_or(&data))
            }
            0x03 => Ok(command.count),
            0x04 => {
                let sense = mem::take(self.sense);
                self.store(address, &sense[..sense.len().min(data.len())])
            }
            0x07 => {
                self.storage.load_bytes(address, &mut data)?;
                self.device.control(access, &data)?;
                Ok(command.count)
            }
            _ => Err(Refusal::CommandReject.into()),
        }
    }

    fn store(&self, address: u64, data: &[u8]) -> Result<u16, Failure> {
        self.storage.store_bytes(address, data)?;
        Ok(u16::try_from(data.len()).unwrap_or(u16::MAX))
    }
}
