//! Subchannel-status word: what a subchannel is doing, and how the last thing ended.
//!
//! Source of truth: z/Architecture Principles of Operation, "Subchannel-status word".
//! Invariant: from bytes and to bytes are inverse, whatever the bits. Deliberately not here: TEST
//! SUBCHANNEL, which clears what it reads; an image is a copy that clears nothing.

use crate::wire::{Writer, blocks::FieldReader};
use bitflags::bitflags;

/// Bytes of the word.
pub const SCSW_BYTES: usize = 12;

/// Lets `defmt` show flags as a number.
macro_rules! show_flags {
    ($($flags:ident)*) => {
        $(
            #[cfg(feature = "defmt")]
            impl defmt::Format for $flags {
                fn format(&self, formatter: defmt::Formatter<'_>) {
                    defmt::write!(formatter, "{=u16:#x}", u16::from(self.bits()));
                }
            }
        )*
    };
}

show_flags! { ScswControl DeviceStatus SubchannelStatus }

bitflags! {
    /// Functions, activities and kinds of status (bytes 2 and 3).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ScswControl: u16 {
        /// The start function was accepted.
        const START_FUNCTION = 0x4000;
        /// The halt function was accepted.
        const HALT_FUNCTION = 0x2000;
        /// The clear function was accepted.
        const CLEAR_FUNCTION = 0x1000;
        /// A resume is waiting to be performed.
        const RESUME_PENDING = 0x0800;
        /// A start is waiting to be performed.
        const START_PENDING = 0x0400;
        /// A halt is waiting to be performed.
        const HALT_PENDING = 0x0200;
        /// A clear is waiting to be performed.
        const CLEAR_PENDING = 0x0100;
        /// The subchannel executes a channel program.
        const SUBCHANNEL_ACTIVE = 0x0080;
        /// The device executes a command.
        const DEVICE_ACTIVE = 0x0040;
        /// The channel program is suspended.
        const SUSPENDED = 0x0020;
        /// Alert status.
        const ALERT_STATUS = 0x0010;
        /// Intermediate status.
        const INTERMEDIATE_STATUS = 0x0008;
        /// Primary status.
        const PRIMARY_STATUS = 0x0004;
        /// Secondary status.
        const SECONDARY_STATUS = 0x0002;
        /// Status is pending: the program has not fetched it.
        const STATUS_PENDING = 0x0001;
    }
}

impl ScswControl {
    /// All functions.
    pub const FUNCTIONS: Self =
        Self::START_FUNCTION.union(Self::HALT_FUNCTION).union(Self::CLEAR_FUNCTION);

    /// All activities.
    pub const ACTIVITIES: Self = Self::RESUME_PENDING
        .union(Self::START_PENDING)
        .union(Self::HALT_PENDING)
        .union(Self::CLEAR_PENDING)
        .union(Self::SUBCHANNEL_ACTIVE)
        .union(Self::DEVICE_ACTIVE)
        .union(Self::SUSPENDED);
}

bitflags! {
    /// What the device reported (byte 8).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DeviceStatus: u8 {
        /// Something has happened without a command.
        const ATTENTION = 0x80;
        /// Modifies other bits, or the course of the channel program.
        const STATUS_MODIFIER = 0x40;
        /// The control unit is free again.
        const CONTROL_UNIT_END = 0x20;
        /// Device or control unit is busy.
        const BUSY = 0x10;
        /// The part of the command that needs the channel has ended.
        const CHANNEL_END = 0x08;
        /// The command has ended at the device.
        const DEVICE_END = 0x04;
        /// Something is wrong; the sense bytes say what.
        const UNIT_CHECK = 0x02;
        /// Something that does not come with every command.
        const UNIT_EXCEPTION = 0x01;
    }
}

bitflags! {
    /// What the channel subsystem found (byte 9).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SubchannelStatus: u8 {
        /// A channel program asked for an interruption.
        const PROGRAM_CONTROLLED_INTERRUPTION = 0x80;
        /// The count of a command was not the length of its data.
        const INCORRECT_LENGTH = 0x40;
        /// The channel program is wrong.
        const PROGRAM_CHECK = 0x20;
        /// A storage key or a limit forbade an access.
        const PROTECTION_CHECK = 0x10;
        /// Data in storage or in the channel is damaged.
        const CHANNEL_DATA_CHECK = 0x08;
        /// Controls in the channel are damaged.
        const CHANNEL_CONTROL_CHECK = 0x04;
        /// The connection to the control unit went wrong.
        const INTERFACE_CONTROL_CHECK = 0x02;
        /// Data chaining came too late.
        const CHAINING_CHECK = 0x01;
    }
}

/// The subchannel-status word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Scsw {
    /// Bytes 0 and 1: key, deferred condition code, and what the ORB asked for.
    pub flags: u16,
    /// Bytes 2 and 3: functions, activities and kinds of status.
    pub control: ScswControl,
    /// Bytes 4 to 7: address of the channel-command word behind the last one used.
    pub program_address: u32,
    /// Byte 8.
    pub device_status: DeviceStatus,
    /// Byte 9.
    pub subchannel_status: SubchannelStatus,
    /// Bytes 10 and 11: what was left of the count of the last command.
    pub residual_count: u16,
}

impl Scsw {
    /// The deferred condition code, 0 to 3.
    #[must_use]
    pub const fn deferred_condition_code(&self) -> u8 {
        let [high, _] = self.flags.to_be_bytes();
        high & 3
    }

    /// Whether status waits to be fetched by the program.
    #[must_use]
    pub const fn is_status_pending(&self) -> bool {
        self.control.contains(ScswControl::STATUS_PENDING)
    }

    /// Whether the subchannel does nothing and has nothing to do. Status may be pending, and the
    /// function to which it belongs is still indicated then, until the program fetches it.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        let ended = self.is_status_pending() || !self.control.intersects(ScswControl::FUNCTIONS);
        ended && !self.control.intersects(ScswControl::ACTIVITIES)
    }

    /// The word as stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SCSW_BYTES] {
        let mut bytes = [0; SCSW_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u16(self.flags);
        writer.u16(self.control.bits());
        writer.u32(self.program_address);
        writer.u8(self.device_status.bits());
        writer.u8(self.subchannel_status.bits());
        writer.u16(self.residual_count);
        bytes
    }

    /// The word of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SCSW_BYTES]) -> Self {
        let mut reader = FieldReader::new(bytes);
        Self {
            flags: reader.u16(),
            control: ScswControl::from_bits_retain(reader.u16()),
            program_address: reader.u32(),
            device_status: DeviceStatus::from_bits_retain(reader.u8()),
            subchannel_status: SubchannelStatus::from_bits_retain(reader.u8()),
            residual_count: reader.u16(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_keeps_every_bit_also_those_without_a_name() {
        let bytes = [0xF3, 0x8F, 0xFF, 0xFF, 1, 2, 3, 4, 0x0C, 0x40, 5, 6];
        let word = Scsw::from_bytes(&bytes);
        assert_eq!(word.to_bytes(), bytes);
        assert_eq!(word.control.bits(), 0xFFFF);
        assert_eq!(word.deferred_condition_code(), 3);
        assert_eq!(word.program_address, 0x0102_0304);
        assert_eq!(word.device_status, DeviceStatus::CHANNEL_END | DeviceStatus::DEVICE_END);
        assert_eq!(word.subchannel_status, SubchannelStatus::INCORRECT_LENGTH);
        assert_eq!(word.residual_count, 0x0506);
    }

    #[test]
    fn every_activity_makes_a_subchannel_unquiet() {
        assert!(Scsw::default().is_quiet());
        for activity in ScswControl::ACTIVITIES.iter() {
            let word = Scsw { control: activity, ..Scsw::default() };
            assert!(!word.is_quiet(), "{activity:?}");
            let control = activity | ScswControl::STATUS_PENDING;
            assert!(!Scsw { control, ..Scsw::default() }.is_quiet(), "{control:?}");
        }
    }

    #[test]
    fn pending_status_alone_is_quiet_and_a_function_without_it_is_not() {
        for function in ScswControl::FUNCTIONS.iter() {
            assert!(!Scsw { control: function, ..Scsw::default() }.is_quiet(), "{function:?}");
            let control = function | ScswControl::STATUS_PENDING | ScswControl::PRIMARY_STATUS;
            assert!(Scsw { control, ..Scsw::default() }.is_quiet(), "{control:?}");
        }
    }
}
