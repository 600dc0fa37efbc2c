//! What the monitors tell each other of one device of a VM.
//!
//! Source of truth: VM2000 manual (device mnemonics; usage EXCLUSIVE and SHARED, TYPE=*SD);
//! PROTOCOL.md ("DEVICE"). Invariant: the identity is equal on both SUs exactly when the mnemonic
//! means the same device there. Deliberately not here: whether the target can assign the device,
//! which the check says.

use crate::{
    units::{DeviceNumber, Mnemonic, SubchannelNumber},
    wire::{Writer, blocks::FieldReader},
};
use core::fmt;

/// Bytes of an encoded descriptor.
pub const DESCRIPTOR_BYTES: usize = 24;

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeviceKind {
    /// A console.
    Console,
    /// A disk.
    Disk,
    /// A tape device.
    Tape,
    /// A line of a local area network.
    Lan,
    /// A channel-to-channel connection.
    ChannelToChannel,
}

impl DeviceKind {
    /// The number of the kind on the wire; 0 is none.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Console => 1,
            Self::Disk => 2,
            Self::Tape => 3,
            Self::Lan => 4,
            Self::ChannelToChannel => 5,
        }
    }

    /// The kind of this number, or `None`.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Console),
            2 => Some(Self::Disk),
            3 => Some(Self::Tape),
            4 => Some(Self::Lan),
            5 => Some(Self::ChannelToChannel),
            _ => None,
        }
    }
}

/// How the VM has the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Assignment {
    /// For itself alone.
    Exclusive,
    /// Together with other VMs.
    Shared,
    /// As a shared device, `TYPE=SD`.
    SharedDevice,
}

impl Assignment {
    /// The number of the assignment on the wire; 0 is none.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Exclusive => 1,
            Self::Shared => 2,
            Self::SharedDevice => 3,
        }
    }

    /// The assignment of this number, or `None`.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Exclusive),
            2 => Some(Self::Shared),
            3 => Some(Self::SharedDevice),
            _ => None,
        }
    }
}

/// One device of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeviceDescriptor {
    /// The name by which operators know the device.
    pub mnemonic: Mnemonic,
    /// The device number.
    pub number: DeviceNumber,
    /// What it is.
    pub kind: DeviceKind,
    /// How the VM has it.
    pub assignment: Assignment,
    /// The subchannel by which the guest reaches it.
    pub subchannel: SubchannelNumber,
    /// Volume serial or hardware address: equal on both SUs for the same device.
    pub identity: u64,
}

/// Which field of an encoded descriptor is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DescriptorError {
    /// The mnemonic is empty, not printable, or not padded with zeros.
    Mnemonic,
    /// There is no such kind.
    Kind,
    /// There is no such assignment.
    Assignment,
    /// A reserved field is not zero.
    Reserved,
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Mnemonic => "device mnemonic is invalid",
            Self::Kind => "unknown kind of device",
            Self::Assignment => "unknown assignment of device",
            Self::Reserved => "reserved field of device not zero",
        })
    }
}

impl core::error::Error for DescriptorError {}

impl DeviceDescriptor {
    /// A place holder for a slot without a device; its empty mnemonic never comes by the wire.
    pub const VACANT: Self = Self {
        mnemonic: Mnemonic::EMPTY,
        number: DeviceNumber::new(0),
        kind: DeviceKind::Console,
        assignment: Assignment::Exclusive,
        subchannel: SubchannelNumber::new(0),
        identity: 0,
    };

    /// The encoding: mnemonic 4 (padded with zeros), kind 1, assignment 1, reserved 2, number 2,
    /// subchannel 2, reserved 4, identity 8.
    #[must_use]
    pub fn emit(&self) -> [u8; DESCRIPTOR_BYTES] {
        let mut mnemonic = [0; 4];
        Writer::new(&mut mnemonic).bytes(self.mnemonic.as_bytes());
        let mut bytes = [0; DESCRIPTOR_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(&mnemonic);
        writer.u8(self.kind.code());
        writer.u8(self.assignment.code());
        writer.u16(0);
        writer.u16(self.number.get());
        writer.u16(self.subchannel.get());
        writer.u32(0);
        writer.u64(self.identity);
        bytes
    }

    /// Reads an encoding.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn parse(bytes: &[u8; DESCRIPTOR_BYTES]) -> Result<Self, DescriptorError> {
        let mut reader = FieldReader::new(bytes);
        let mnemonic = parse_mnemonic(&reader.bytes()).ok_or(DescriptorError::Mnemonic)?;
        let kind = DeviceKind::from_code(reader.u8()).ok_or(DescriptorError::Kind)?;
        let assignment = Assignment::from_code(reader.u8()).ok_or(DescriptorError::Assignment)?;
        let first_reserved = reader.u16();
        let number = DeviceNumber::new(reader.u16());
        let subchannel = SubchannelNumber::new(reader.u16());
        let second_reserved = reader.u32();
        if first_reserved != 0 || second_reserved != 0 {
            return Err(DescriptorError::Reserved);
        }
        Ok(Self { mnemonic, number, kind, assignment, subchannel, identity: reader.u64() })
    }
}

fn parse_mnemonic(bytes: &[u8; 4]) -> Option<Mnemonic> {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, padding) = bytes.split_at_checked(length)?;
    if text.is_empty() || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    Mnemonic::from_bytes(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn descriptor(mnemonic: &str) -> DeviceDescriptor {
        DeviceDescriptor {
            mnemonic: Mnemonic::new(mnemonic).unwrap(),
            number: DeviceNumber::new(0x9920),
            kind: DeviceKind::Disk,
            assignment: Assignment::SharedDevice,
            subchannel: SubchannelNumber::new(0x0012),
            identity: 0x0102_0304_0506_0708,
        }
    }

    #[test]
    fn descriptor_is_these_bytes() {
        let bytes = descriptor("CS").emit();
        assert_eq!(bytes[..8], [b'C', b'S', 0, 0, 2, 3, 0, 0]);
        assert_eq!(bytes[8..16], [0x99, 0x20, 0, 0x12, 0, 0, 0, 0]);
        assert_eq!(bytes[16..], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn descriptor_survives_the_wire() {
        for mnemonic in ["K1", "FAA4"] {
            let sent = descriptor(mnemonic);
            assert_eq!(DeviceDescriptor::parse(&sent.emit()), Ok(sent));
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let altered = |offset: usize, value: u8| {
            let mut bytes = descriptor("K1").emit();
            bytes[offset] = value;
            DeviceDescriptor::parse(&bytes).map(|_| ())
        };
        assert_eq!(altered(0, 0), Err(DescriptorError::Mnemonic));
        assert_eq!(altered(0, 0x07), Err(DescriptorError::Mnemonic));
        assert_eq!(altered(3, b'X'), Err(DescriptorError::Mnemonic));
        assert_eq!(altered(4, 0), Err(DescriptorError::Kind));
        assert_eq!(altered(4, 6), Err(DescriptorError::Kind));
        assert_eq!(altered(5, 0), Err(DescriptorError::Assignment));
        assert_eq!(altered(5, 4), Err(DescriptorError::Assignment));
        for offset in [6, 7, 12, 13, 14, 15] {
            assert_eq!(altered(offset, 1), Err(DescriptorError::Reserved), "byte {offset}");
        }
        let vacant = DeviceDescriptor::VACANT.emit();
        assert_eq!(DeviceDescriptor::parse(&vacant), Err(DescriptorError::Mnemonic));
    }

    #[test]
    fn errors_name_the_field() {
        for (error, field) in [
            (DescriptorError::Mnemonic, "mnemonic"),
            (DescriptorError::Kind, "kind"),
            (DescriptorError::Assignment, "assignment"),
            (DescriptorError::Reserved, "reserved"),
        ] {
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn codes_are_bijections_without_zero() {
        for code in 0..=u8::MAX {
            let kind = DeviceKind::from_code(code).map(DeviceKind::code);
            assert_eq!(kind, (1..=5).contains(&code).then_some(code));
            let assignment = Assignment::from_code(code).map(Assignment::code);
            assert_eq!(assignment, (1..=3).contains(&code).then_some(code));
        }
    }
}
