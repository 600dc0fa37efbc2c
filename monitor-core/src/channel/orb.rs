//! Operation-request block: what START SUBCHANNEL was given.
//!
//! Source of truth: z/Architecture Principles of Operation, "Operation-request block".
//! Invariant: from bytes and to bytes are inverse, whatever the bits. Deliberately not here: the
//! channel program, which lies in guest storage and moves with it.

use crate::wire::{Writer, blocks::FieldReader};

/// Bytes of the block, with the words that are used only when it is extended.
pub const ORB_BYTES: usize = 32;

const KEY: u16 = 0xF000;
const SUSPEND_CONTROL: u16 = 0x0800;
const FORMAT_1: u16 = 0x0080;
const PREFETCH: u16 = 0x0040;
const INITIAL_STATUS: u16 = 0x0020;
const SUPPRESS_SUSPENDED: u16 = 0x0008;
const FORMAT_2_ADDRESSES: u16 = 0x0002;
const BLOCKS_OF_2K: u16 = 0x0001;
const SUPPRESS_LENGTH: u8 = 0x80;
const MODIFIED_ADDRESSES: u8 = 0x40;
const EXTENDED: u8 = 0x01;

/// The operation-request block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Orb {
    /// Bytes 0 to 3: what the interruption at the end gives to the program.
    pub interruption_parameter: u32,
    /// Bytes 4 and 5: key, and how the channel program is to be executed.
    pub flags: u16,
    /// Byte 6 (LPM).
    pub logical_paths: u8,
    /// Byte 7: length suppression, modified indirect addressing, extension.
    pub extension_flags: u8,
    /// Bytes 8 to 11: address of the first channel-command word.
    pub program_address: u32,
    /// Bytes 12 to 31: zero unless the block is extended.
    pub extension: [u8; 20],
}

impl Orb {
    /// A request to execute the format-1 channel program at this address, on any path.
    #[must_use]
    pub const fn of_program(program_address: u32, interruption_parameter: u32) -> Self {
        Self {
            interruption_parameter,
            flags: FORMAT_1,
            logical_paths: 0xFF,
            extension_flags: 0,
            program_address,
            extension: [0; 20],
        }
    }

    /// The access key of the channel program, 0 to 15.
    #[must_use]
    pub const fn key(&self) -> u8 {
        let [high, _] = (self.flags & KEY).to_be_bytes();
        high >> 4
    }

    /// The same block with the low four bits of `key` as access key.
    #[must_use]
    pub fn with_key(self, key: u8) -> Self {
        Self { flags: self.flags & !KEY | u16::from(key) << 12, ..self }
    }

    /// Whether the channel program may suspend itself.
    #[must_use]
    pub const fn may_suspend(&self) -> bool {
        self.flags & SUSPEND_CONTROL != 0
    }

    /// Whether the channel-command words have format 1.
    #[must_use]
    pub const fn is_format_1(&self) -> bool {
        self.flags & FORMAT_1 != 0
    }

    /// Whether the channel program may be fetched before it is executed.
    #[must_use]
    pub const fn may_prefetch(&self) -> bool {
        self.flags & PREFETCH != 0
    }

    /// Whether an interruption is wanted when the device has accepted the first command.
    #[must_use]
    pub const fn wants_initial_status(&self) -> bool {
        self.flags & INITIAL_STATUS != 0
    }

    /// Whether no interruption is wanted when the channel program suspends itself.
    #[must_use]
    pub const fn suppresses_suspended(&self) -> bool {
        self.flags & SUPPRESS_SUSPENDED != 0
    }

    /// Whether indirect-data-address words have format 2 (8 bytes).
    #[must_use]
    pub const fn has_format_2_addresses(&self) -> bool {
        self.flags & FORMAT_2_ADDRESSES != 0
    }

    /// Whether such words of format 2 designate blocks of 2 KiB, and not of 4 KiB.
    #[must_use]
    pub const fn has_blocks_of_2k(&self) -> bool {
        self.flags & BLOCKS_OF_2K != 0
    }

    /// Whether an immediate operation of format 1 never ends with incorrect length.
    #[must_use]
    pub const fn suppresses_length(&self) -> bool {
        self.extension_flags & SUPPRESS_LENGTH != 0
    }

    /// Whether modified indirect-data-address words may be used.
    #[must_use]
    pub const fn may_modify_addresses(&self) -> bool {
        self.extension_flags & MODIFIED_ADDRESSES != 0
    }

    /// Whether the words of the extension are used.
    #[must_use]
    pub const fn is_extended(&self) -> bool {
        self.extension_flags & EXTENDED != 0
    }

    /// The block as in storage.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ORB_BYTES] {
        let mut bytes = [0; ORB_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u32(self.interruption_parameter);
        writer.u16(self.flags);
        writer.u8(self.logical_paths);
        writer.u8(self.extension_flags);
        writer.u32(self.program_address);
        writer.bytes(&self.extension);
        bytes
    }

    /// The block of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; ORB_BYTES]) -> Self {
        let mut reader = FieldReader::new(bytes);
        Self {
            interruption_parameter: reader.u32(),
            flags: reader.u16(),
            logical_paths: reader.u8(),
            extension_flags: reader.u8(),
            program_address: reader.u32(),
            extension: reader.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_keeps_every_byte_in_its_place() {
        let bytes: [u8; ORB_BYTES] = core::array::from_fn(|n| 0xC0 + u8::try_from(n).unwrap());
        let block = Orb::from_bytes(&bytes);
        assert_eq!(block.to_bytes(), bytes);
        assert_eq!(block.program_address, 0xC8C9_CACB);
        assert_eq!(block.extension[19], 0xDF);
    }

    #[test]
    fn flags_have_the_bits_of_the_manual() {
        let block = Orb::of_program(0x1000, 7).with_key(0xA5);
        assert_eq!(block.flags, 0x5080);
        assert_eq!(block.key(), 5);
        assert!(block.is_format_1());
        assert!(!block.may_suspend() && !block.may_prefetch() && !block.is_extended());
        assert!(Orb { flags: 0x0840, ..block }.may_suspend());
        assert!(Orb { flags: 0x0840, ..block }.may_prefetch());
        assert!(Orb { extension_flags: 1, ..block }.is_extended());
        let of = |flags, extension_flags| {
            let it = Orb { flags, extension_flags, ..block };
            let asks = [it.wants_initial_status(), it.suppresses_suspended()];
            let addresses = [it.has_format_2_addresses(), it.has_blocks_of_2k()];
            (asks, addresses, [it.suppresses_length(), it.may_modify_addresses()])
        };
        assert_eq!(of(0x0020, 0x80), ([true, false], [false, false], [true, false]));
        assert_eq!(of(0x000A, 0x40), ([false, true], [true, false], [false, true]));
        assert_eq!(of(0x0001, 0), ([false, false], [false, true], [false, false]));
    }
}
