//! What the monitors tell each other of one device of a VM.
//!
//! Source of truth: VM2000 manual (device mnemonics; usage EXCLUSIVE and SHARED, TYPE=*SD; devices
//! that are detached at a live migration); PROTOCOL.md ("DEVICE"). Invariants: the identity is
//! equal on both SUs exactly when the mnemonic means the same device there; the subchannel number
//! is the one by which the guest knows the device, on whatever SU it runs. Deliberately not here:
//! whether the target can assign the device, which the check says.

use bitflags::bitflags;

use crate::{
    units::{DeviceNumber, Mnemonic, SubchannelNumber},
    wire::{Writer, blocks::FieldReader},
};
use core::fmt;

/// Bytes of an encoded descriptor.
pub const DESCRIPTOR_BYTES: usize = 24;

/// Flag of an encoded descriptor: the management unit emulates the device.
const EMULATED: u8 = 0x80;

/// Flag of an encoded descriptor: the guest had the device detached when the move began.
const DETACHED: u8 = 0x40;

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
    /// A second access to a disk, its base, with a subchannel of its own.
    PavAlias,
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
            Self::PavAlias => 6,
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
            6 => Some(Self::PavAlias),
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

    /// Whether this VM can have a device that another VM of the SU has as `other` says.
    #[must_use]
    pub const fn goes_with(self, other: Self) -> bool {
        !matches!(self, Self::Exclusive) && !matches!(other, Self::Exclusive)
    }

    /// How the device is used when so many VMs of the SU have it.
    #[must_use]
    pub const fn usage(self, vm_count: usize) -> Usage {
        match self {
            Self::Exclusive => Usage::Exclusive,
            Self::Shared | Self::SharedDevice if vm_count <= 1 => Usage::SharedDirect,
            Self::Shared | Self::SharedDevice => Usage::Shared,
        }
    }
}

/// How a device is used on an SU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Usage {
    /// By one VM that need not share it.
    Exclusive,
    /// By several VMs.
    Shared,
    /// By one VM for now, which has it with direct I/O as long as no other one wants it.
    SharedDirect,
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Exclusive => "EXCLUSIVE",
            Self::Shared => "SHARED",
            Self::SharedDirect => "SH(D)",
        })
    }
}

/// What becomes of a device at a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Conduct {
    /// It goes with the guest, which does not notice.
    Move,
    /// It is detached on the source before the guest is stopped, and the guest has it on the
    /// target as a detached device. A move that fails gives it back.
    DetachForGood,
    /// It is detached and removed on the source before the guest is stopped; behind the move the
    /// target gives the guest an alias of the same base, if it has one.
    Alias,
}

bitflags! {
    /// Devices by their [`Conduct`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Conducts: u8 {
        /// [`Conduct::Move`].
        const MOVE = 0x01;
        /// [`Conduct::DetachForGood`].
        const DETACH_FOR_GOOD = 0x02;
        /// [`Conduct::Alias`].
        const ALIAS = 0x04;
        /// Those that do not go with the guest.
        const STAY = Self::DETACH_FOR_GOOD.bits() | Self::ALIAS.bits();
        /// Those that the target assigns before the guest comes.
        const ASSIGNED = Self::MOVE.bits() | Self::DETACH_FOR_GOOD.bits();
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Conducts {
    fn format(&self, formatter: defmt::Formatter<'_>) {
        defmt::write!(formatter, "Conducts({=u8:#x})", self.bits());
    }
}

impl From<Conduct> for Conducts {
    fn from(conduct: Conduct) -> Self {
        match conduct {
            Conduct::Move => Self::MOVE,
            Conduct::DetachForGood => Self::DETACH_FOR_GOOD,
            Conduct::Alias => Self::ALIAS,
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
    /// Whether the management unit of the SU emulates it.
    pub is_emulated: bool,
    /// Whether the guest had it detached when the move began; it stays so, whatever happens.
    pub is_detached: bool,
    /// The base of a PAV alias; other devices have none.
    pub base: Option<DeviceNumber>,
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
    /// A device that is no PAV alias has a base.
    Base,
    /// A reserved field or flag is not zero.
    Reserved,
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Mnemonic => "device mnemonic is invalid",
            Self::Kind => "unknown kind of device",
            Self::Assignment => "unknown assignment of device",
            Self::Base => "base of a device that is no alias",
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
        is_emulated: false,
        is_detached: false,
        base: None,
        subchannel: SubchannelNumber::new(0),
        identity: 0,
    };

    /// What becomes of the device at a move.
    #[must_use]
    pub const fn conduct(&self) -> Conduct {
        match self.kind {
            DeviceKind::PavAlias => Conduct::Alias,
            DeviceKind::Tape => Conduct::DetachForGood,
            DeviceKind::Disk if self.is_emulated => Conduct::DetachForGood,
            DeviceKind::Disk
            | DeviceKind::Console
            | DeviceKind::Lan
            | DeviceKind::ChannelToChannel => Conduct::Move,
        }
    }

    /// Whether a move takes the device from the guest, at least for its time.
    #[must_use]
    pub const fn is_taken_by_move(&self) -> bool {
        !self.is_detached && !matches!(self.conduct(), Conduct::Move)
    }

    /// Whether `here`, a device of the target, can take the place of this one: the device of the
    /// same mnemonic, or any alias of the same base. What stays detached need not be the same
    /// medium.
    #[must_use]
    pub fn is_replaced_by(&self, here: &Self) -> bool {
        let same_kind = (self.kind, self.is_emulated) == (here.kind, here.is_emulated);
        same_kind
            && self.base == here.base
            && (self.conduct() != Conduct::Move || self.identity == here.identity)
    }

    /// Whether the device has another subchannel number on this SU, `here`, than the one by which
    /// the guest knows it: the monitor has to virtualize the number, and shows `(DIFF)`.
    #[must_use]
    pub fn differs_from(&self, here: &Self) -> bool {
        self.subchannel != here.subchannel
    }

    /// The encoding: mnemonic 4 (padded with zeros), kind 1, assignment 1, flags 1, reserved 1,
    /// number 2, subchannel 2, base 2, reserved 2, identity 8.
    #[must_use]
    pub fn emit(&self) -> [u8; DESCRIPTOR_BYTES] {
        let mut mnemonic = [0; 4];
        Writer::new(&mut mnemonic).bytes(self.mnemonic.as_bytes());
        let mut bytes = [0; DESCRIPTOR_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(&mnemonic);
        writer.u8(self.kind.code());
        writer.u8(self.assignment.code());
        let emulated = if self.is_emulated { EMULATED } else { 0 };
        let detached = if self.is_detached { DETACHED } else { 0 };
        writer.u8(emulated | detached);
        writer.u8(0);
        writer.u16(self.number.get());
        writer.u16(self.subchannel.get());
        writer.u16(self.base.map_or(0, DeviceNumber::get));
        writer.u16(0);
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
        let flags = reader.u8();
        let first_reserved = reader.u8();
        let number = DeviceNumber::new(reader.u16());
        let subchannel = SubchannelNumber::new(reader.u16());
        let base = DeviceNumber::new(reader.u16());
        let second_reserved = reader.u16();
        let unknown = flags & !(EMULATED | DETACHED);
        if unknown != 0 || first_reserved != 0 || second_reserved != 0 {
            return Err(DescriptorError::Reserved);
        }
        let is_alias = kind == DeviceKind::PavAlias;
        if !is_alias && base.get() != 0 {
            return Err(DescriptorError::Base);
        }
        Ok(Self {
            mnemonic,
            number,
            kind,
            assignment,
            is_emulated: flags & EMULATED != 0,
            is_detached: flags & DETACHED != 0,
            base: is_alias.then_some(base),
            subchannel,
            identity: reader.u64(),
        })
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
            ..DeviceDescriptor::VACANT
        }
    }

    fn alias() -> DeviceDescriptor {
        let base = Some(DeviceNumber::new(0x9920));
        DeviceDescriptor { kind: DeviceKind::PavAlias, base, ..descriptor("992F") }
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
        let detached = DeviceDescriptor { is_detached: true, ..descriptor("K1") };
        let emulated = DeviceDescriptor { is_emulated: true, ..descriptor("FAA4") };
        for sent in [descriptor("K1"), descriptor("FAA4"), detached, emulated, alias()] {
            assert_eq!(DeviceDescriptor::parse(&sent.emit()), Ok(sent));
        }
    }

    #[test]
    fn flags_and_base_are_in_bytes_that_were_reserved() {
        let emulated = DeviceDescriptor { is_emulated: true, ..alias() };
        let detached = DeviceDescriptor { is_detached: true, ..alias() };
        assert_eq!(emulated.emit()[4..8], [6, 3, 0x80, 0]);
        assert_eq!(detached.emit()[4..8], [6, 3, 0x40, 0]);
        assert_eq!(alias().emit()[12..16], [0x99, 0x20, 0, 0]);
    }

    #[test]
    fn tapes_emulated_disks_and_aliases_alone_do_not_go_with_the_guest() {
        for code in 1..=6 {
            let kind = DeviceKind::from_code(code).unwrap();
            for is_emulated in [false, true] {
                let device = DeviceDescriptor { kind, is_emulated, ..descriptor("FAA4") };
                let expected = match (kind, is_emulated) {
                    (DeviceKind::PavAlias, _) => Conduct::Alias,
                    (DeviceKind::Tape, _) | (DeviceKind::Disk, true) => Conduct::DetachForGood,
                    _ => Conduct::Move,
                };
                assert_eq!(device.conduct(), expected, "{kind:?}, emulated {is_emulated}");
                assert_eq!(device.is_taken_by_move(), expected != Conduct::Move);
                let detached = DeviceDescriptor { is_detached: true, ..device };
                assert!(!detached.is_taken_by_move());
            }
        }
    }

    #[test]
    fn other_medium_takes_the_place_of_what_stays_detached_alone() {
        let disk = descriptor("FAA4");
        let tape = DeviceDescriptor { kind: DeviceKind::Tape, ..disk };
        let emulated = DeviceDescriptor { is_emulated: true, ..disk };
        for (device, replaced) in [(disk, false), (tape, true), (emulated, true)] {
            assert!(device.is_replaced_by(&device));
            let other = DeviceDescriptor { identity: 1, ..device };
            assert_eq!(device.is_replaced_by(&other), replaced, "{device:?}");
        }
        assert!(!disk.is_replaced_by(&emulated) && !disk.is_replaced_by(&tape));
    }

    #[test]
    fn any_alias_of_the_same_base_takes_the_place_of_an_alias() {
        let other = DeviceDescriptor { number: DeviceNumber::new(0x993F), ..alias() };
        assert!(alias().is_replaced_by(&other));
        let base = Some(DeviceNumber::new(0x9921));
        assert!(!alias().is_replaced_by(&DeviceDescriptor { base, ..other }));
    }

    #[test]
    fn only_another_subchannel_number_makes_a_difference() {
        let here = DeviceDescriptor { subchannel: SubchannelNumber::new(1), ..descriptor("K1") };
        assert!(descriptor("K1").differs_from(&here));
        assert!(!here.differs_from(&DeviceDescriptor { identity: 0, ..here }));
    }

    #[test]
    fn exclusive_goes_with_nobody_and_one_vm_alone_shares_with_direct_io() {
        use Assignment::{Exclusive, Shared, SharedDevice};
        for own in [Exclusive, Shared, SharedDevice] {
            for other in [Exclusive, Shared, SharedDevice] {
                let shares = own != Exclusive && other != Exclusive;
                assert_eq!(own.goes_with(other), shares, "{own:?} with {other:?}");
            }
        }
        assert_eq!(Exclusive.usage(1).to_string(), "EXCLUSIVE");
        assert_eq!(Shared.usage(1).to_string(), "SH(D)");
        assert_eq!(SharedDevice.usage(2).to_string(), "SHARED");
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
        assert_eq!(altered(4, 7), Err(DescriptorError::Kind));
        assert_eq!(altered(5, 0), Err(DescriptorError::Assignment));
        assert_eq!(altered(5, 4), Err(DescriptorError::Assignment));
        assert_eq!(altered(6, 0xC0), Ok(()));
        for offset in [12, 13] {
            assert_eq!(altered(offset, 1), Err(DescriptorError::Base), "byte {offset}");
        }
        for offset in [6, 7, 14, 15] {
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
            (DescriptorError::Base, "base"),
            (DescriptorError::Reserved, "reserved"),
        ] {
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn codes_are_bijections_without_zero() {
        for code in 0..=u8::MAX {
            let kind = DeviceKind::from_code(code).map(DeviceKind::code);
            assert_eq!(kind, (1..=6).contains(&code).then_some(code));
            let assignment = Assignment::from_code(code).map(Assignment::code);
            assert_eq!(assignment, (1..=3).contains(&code).then_some(code));
        }
    }
}
