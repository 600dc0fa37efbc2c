//! The channel program: fetches channel-command words and carries them out on a device.
//!
//! Source of truth: Principles of Operation, chapter "Basic I/O Functions" (format-1 CCW, status).
//!
//! Invariants: data moves by logged accesses of guest storage; a program of any content ends
//! after a bounded number of commands. Deliberately not here: data chaining, indirect addresses
//! and transfer in channel, which end with a program check or a command reject.

use crate::machine::{Access, AddressFault, Device, Outcome, Sense, Storage, Transfer, command};
use monitor_core::channel::{DeviceStatus, Orb, Scsw, SubchannelStatus};
use std::mem;

/// The most commands of one channel program.
const COMMANDS_MAX: usize = 256;

/// One program on its way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) storage: &'a Storage,
    pub(super) device: &'a dyn Device,
    pub(super) access: Access,
    pub(super) sense: &'a mut Sense,
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
            let (outcome, moved) = self.execute(&command);
            let Some(moved) = moved else {
                break;
            };
            let Outcome::Ended(ending) = outcome else {
                status.subchannel_status = SubchannelStatus::INTERFACE_CONTROL_CHECK;
                return status;
            };
            self.access.command_index = self.access.command_index.saturating_add(1);
            status.device_status = ending.status;
            if ending.status.contains(DeviceStatus::UNIT_CHECK) {
                *self.sense = ending.sense;
                return status;
            }
            status.residual_count = command.count.saturating_sub(moved);
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

    /// Carries out one command and says what came of it, and how many bytes were transferred
    /// unless storage refused some.
    fn execute(&mut self, command: &Command) -> (Outcome, Option<u16>) {
        let (count, address) = (command.count, u64::from(command.address));
        let mut data = Data { storage: self.storage, address, count, moved: 0, is_refused: false };
        let outcome = match command.code {
            command::NO_OPERATION => {
                data.moved = count;
                self.device.no_operation(&mut self.access)
            }
            command::SENSE => {
                data.give(&mem::take(self.sense));
                Outcome::NORMAL
            }
            command::SENSE_ID => {
                data.give(&self.device.sense_id().to_bytes());
                Outcome::NORMAL
            }
            code => self.device.execute(&mut self.access, code, &mut data),
        };
        (outcome, (!data.is_refused).then_some(data.moved))
    }
}

/// The area of one command.
struct Data<'a> {
    storage: &'a Storage,
    address: u64,
    count: u16,
    moved: u16,
    /// Storage has refused a byte.
    is_refused: bool,
}

impl Data<'_> {
    /// Moves bytes at the place that was reached, if storage allows.
    fn advance(
        &mut self,
        wanted: usize,
        action: impl FnOnce(&Storage, u64, usize) -> Result<(), AddressFault>,
    ) -> usize {
        let length = wanted.min(self.room());
        let place = self.address + u64::from(self.moved);
        self.is_refused |= action(self.storage, place, length).is_err();
        if self.is_refused {
            return 0;
        }
        self.moved = self.moved.saturating_add(u16::try_from(length).unwrap_or(u16::MAX));
        length
    }
}

impl Transfer for Data<'_> {
    fn take(&mut self, target: &mut [u8]) -> usize {
        let wanted = target.len();
        self.advance(wanted, |storage, at, length| storage.load_bytes(at, &mut target[..length]))
    }

    fn give(&mut self, data: &[u8]) -> usize {
        self.advance(data.len(), |storage, at, length| storage.store_bytes(at, &data[..length]))
    }

    fn room(&self) -> usize {
        usize::from(self.count - self.moved)
    }
}
