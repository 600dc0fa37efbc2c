//! Channel-command words: fetched from guest storage, and held against the rules of their format.
//!
//! Source of truth: Principles of Operation, "Channel-Command Word", "Channel-Program Check".
//!
//! Invariants: a word is fetched when it takes control, and not before; at most one transfer in
//! channel is followed for a fetch, so that a fetch ends. Deliberately not here: data.

use super::data::Keyed;
use crate::machine::Storage;
use monitor_core::channel::{Orb, SubchannelStatus};

/// The bits of the code that tell what kind of command it is.
const KIND: u8 = 0x0F;
/// The kind of TRANSFER IN CHANNEL, and its whole code in format 1.
const TRANSFER_IN_CHANNEL: u8 = 0x08;
/// The kind of READ BACKWARD.
const READ_BACKWARD: u8 = 0x0C;
/// Addresses that a format-0 word can have.
const FORMAT_0_ADDRESSES: u32 = 0x00FF_FFFF;
/// Addresses that a format-1 word can have.
const FORMAT_1_ADDRESSES: u32 = 0x7FFF_FFFF;

/// Data chaining.
const CHAIN_DATA: u8 = 0x80;
/// Command chaining.
const CHAIN_COMMAND: u8 = 0x40;
/// Suppress-length indication.
const SUPPRESS_LENGTH: u8 = 0x20;
/// No data goes to storage.
const SKIP: u8 = 0x10;
/// Program-controlled interruption.
const INTERRUPT: u8 = 0x08;
/// Indirect data addresses.
const INDIRECT: u8 = 0x04;
/// The program suspends itself here.
const SUSPEND: u8 = 0x02;
/// Modified indirect data addresses.
const MODIFIED: u8 = 0x01;

/// What ends a channel program that the channel cannot go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) status: SubchannelStatus,
    /// The address behind the word at fault.
    pub(super) behind: u32,
}

impl Check {
    pub(super) const fn program(behind: u32) -> Self {
        Self { status: SubchannelStatus::PROGRAM_CHECK, behind }
    }
}

/// How the channel comes to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// By the operation-request block.
    Request,
    /// By a resumption: the word at which the program has suspended itself, as it is by now.
    Resumption,
    /// By command chaining.
    Command,
    /// By data chaining.
    Data,
}

/// How the bytes of a command are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressing {
    Direct,
    Indirect,
    Modified,
}

/// A channel-command word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) code: u8,
    flags: u8,
    pub(super) count: u16,
    pub(super) address: u32,
    /// The address behind this word.
    pub(super) behind: u32,
}

impl Command {
    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) const fn chains_data(&self) -> bool {
        self.has(CHAIN_DATA)
    }

    /// Data chaining comes first, and command chaining is not looked at then.
    pub(super) const fn chains_command(&self) -> bool {
        self.has(CHAIN_COMMAND) && !self.chains_data()
    }

    /// Incorrect length cannot be suppressed while data is chained.
    pub(super) const fn suppresses_length(&self) -> bool {
        self.has(SUPPRESS_LENGTH) && !self.chains_data()
    }

    pub(super) const fn skips(&self) -> bool {
        self.has(SKIP)
    }

    pub(super) const fn interrupts(&self) -> bool {
        self.has(INTERRUPT)
    }

    pub(super) const fn suspends(&self) -> bool {
        self.has(SUSPEND)
    }

    pub(super) const fn is_backward(&self) -> bool {
        self.code & KIND == READ_BACKWARD
    }

    pub(super) const fn addressing(&self) -> Addressing {
        if self.has(INDIRECT) {
            Addressing::Indirect
        } else if self.has(MODIFIED) {
            Addressing::Modified
        } else {
            Addressing::Direct
        }
    }

    const fn is_transfer(&self) -> bool {
        self.code & KIND == TRANSFER_IN_CHANNEL
    }
}

/// Fetches the words of one channel program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetcher<'a> {
    pub(super) keyed: Keyed<'a>,
    pub(super) orb: &'a Orb,
}

impl<'a> Fetcher<'a> {
    pub(super) const fn new(storage: &'a Storage, orb: &'a Orb) -> Self {
        Self { keyed: Keyed { storage, key: orb.key() }, orb }
    }

    /// The word at `address`, or the one to which it transfers.
    pub(super) fn fetch(&self, address: u32, origin: Origin) -> Result<Command, Check> {
        let behind = address.wrapping_add(8);
        let mut command = self.read(address, behind)?;
        if command.is_transfer() {
            if origin == Origin::Request || !self.is_good_transfer(&command) {
                return Err(Check::program(behind));
            }
            // A wrong address is the fault of the word that transfers; protection is told of the
            // word that is protected.
            let target_behind = command.address.wrapping_add(8);
            command = self.read(command.address, behind).map_err(|check| match check.status {
                SubchannelStatus::PROTECTION_CHECK => Check { behind: target_behind, ..check },
                _ => check,
            })?;
            if command.is_transfer() {
                return Err(Check::program(command.behind));
            }
        }
        if self.is_good(&command, origin) {
            Ok(command)
        } else {
            Err(Check::program(command.behind))
        }
    }

    /// Reads a word; a check tells of `behind`.
    fn read(&self, address: u32, behind: u32) -> Result<Command, Check> {
        let limit = if self.orb.is_format_1() { FORMAT_1_ADDRESSES } else { FORMAT_0_ADDRESSES };
        if !address.is_multiple_of(8) || address > limit {
            return Err(Check::program(behind));
        }
        let mut word = [0; 8];
        let read = self.keyed.load(u64::from(address), &mut word);
        read.map_err(|status| Check { status, behind })?;
        Ok(self.decode(word, address.wrapping_add(8)))
    }

    const fn decode(&self, word: [u8; 8], behind: u32) -> Command {
        if self.orb.is_format_1() {
            let [code, flags, high, low, address @ ..] = word;
            let count = u16::from_be_bytes([high, low]);
            Command { code, flags, count, address: u32::from_be_bytes(address), behind }
        } else {
            let [code, one, two, three, flags, _, high, low] = word;
            let count = u16::from_be_bytes([high, low]);
            let address = u32::from_be_bytes([0, one, two, three]);
            Command { code, flags, count, address, behind }
        }
    }

    /// A transfer in channel of format 1 has nothing but its code and address.
    const fn is_good_transfer(&self, command: &Command) -> bool {
        let Command { code, flags, count, .. } = *command;
        !self.orb.is_format_1() || (code == TRANSFER_IN_CHANNEL && flags == 0 && count == 0)
    }

    fn is_good(&self, command: &Command, origin: Origin) -> bool {
        let needs_count =
            !self.orb.is_format_1() || command.chains_data() || origin == Origin::Data;
        let suspends_wrongly =
            command.suspends() && (origin == Origin::Data || !self.orb.may_suspend());
        let modifies_wrongly = command.has(MODIFIED)
            && (!self.orb.may_modify_addresses() || command.has(INDIRECT | SKIP));
        (origin == Origin::Data || command.code & KIND != 0)
            && (command.count != 0 || !needs_count)
            && command.address <= FORMAT_1_ADDRESSES
            && !suspends_wrongly
            && !modifies_wrongly
    }
}
