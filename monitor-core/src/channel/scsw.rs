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

show_flags! { ScswFlags ScswControl DeviceStatus SubchannelStatus }

bitflags! {
    /// What the start asked for, and what accompanies the status (bytes 0 and 1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ScswFlags: u16 {
        /// The access key of the channel program.
        const ACCESS_KEY = 0xF000;
        /// The channel program may suspend itself.
        const SUSPEND_CONTROL = 0x0800;
        /// The extended-status word has format 0.
        const EXTENDED_STATUS = 0x0400;
        /// The deferred condition code.
        const CONDITION_CODE = 0x0300;
        /// The channel-command words have format 1.
        const FORMAT_1 = 0x0080;
        /// Channel-command words may be fetched early.
        const PREFETCH = 0x0040;
        /// An interruption was asked for when the first command is accepted.
        const INITIAL_STATUS = 0x0020;
        /// The address limit was to be observed.
        const ADDRESS_LIMIT = 0x0010;
        /// No interruption is wanted when the channel program suspends itself.
        const SUPPRESS_SUSPENDED = 0x0008;
        /// The first command was accepted: what initial status tells.
        const ZERO_CONDITION_CODE = 0x0004;
        /// The extended-control word holds something.
        const EXTENDED_CONTROL = 0x0002;
        /// A path was found not operational.
        const PATH_NOT_OPERATIONAL = 0x0001;
    }
}

impl ScswFlags {
    /// What is taken from the operation-request block.
    pub const OF_REQUEST: Self = Self::ACCESS_KEY
        .union(Self::SUSPEND_CONTROL)
        .union(Self::FORMAT_1)
        .union(Self::PREFETCH)
        .union(Self::INITIAL_STATUS)
        .union(Self::ADDRESS_LIMIT)
        .union(Self::SUPPRESS_SUSPENDED);
}

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
    pub flags: ScswFlags,
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
        let [high, _] = self.flags.bits().to_be_bytes();
        high & 3
    }

    /// Whether status waits to be fetched by the program.
    #[must_use]
    pub const fn is_status_pending(&self) -> bool {
        self.control.contains(ScswControl::STATUS_PENDING)
    }

    /// The same word with the low two bits of `code` as deferred condition code.
    #[must_use]
    pub fn with_deferred_condition_code(self, code: u8) -> Self {
        let bits = ScswFlags::from_bits_retain(u16::from(code & 3) << 8);
        Self { flags: self.flags.difference(ScswFlags::CONDITION_CODE).union(bits), ..self }
    }

    /// Whether the subchannel's only activity is a channel program that has suspended itself, also
    /// when it is to be resumed. All that it needs to go on is here and in the operation-request
    /// block: the next command is the one before [`Self::program_address`].
    #[must_use]
    pub const fn is_suspended(&self) -> bool {
        let activities = self.control.intersection(ScswControl::ACTIVITIES);
        let functions = self.control.intersection(ScswControl::FUNCTIONS);
        functions.bits() == ScswControl::START_FUNCTION.bits()
            && activities.contains(ScswControl::SUSPENDED)
            && ScswControl::SUSPENDED.union(ScswControl::RESUME_PENDING).contains(activities)
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
        writer.u16(self.flags.bits());
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
            flags: ScswFlags::from_bits_retain(reader.u16()),
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
        assert_eq!(word.with_deferred_condition_code(5).to_bytes()[..2], [0xF1, 0x8F]);
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

    #[test]
    fn suspended_is_a_started_program_with_no_activity_but_its_wait() {
        let is_suspended = |control| Scsw { control, ..Scsw::default() }.is_suspended();
        let waits = ScswControl::START_FUNCTION | ScswControl::SUSPENDED;
        assert!(is_suspended(waits));
        assert!(is_suspended(waits | ScswControl::RESUME_PENDING));
        assert!(is_suspended(
            waits | ScswControl::INTERMEDIATE_STATUS | ScswControl::STATUS_PENDING
        ));
        assert!(!is_suspended(ScswControl::START_FUNCTION));
        assert!(!is_suspended(ScswControl::SUSPENDED));
        assert!(!is_suspended(waits | ScswControl::HALT_FUNCTION));
        assert!(!is_suspended(waits | ScswControl::CLEAR_FUNCTION));
        let others = ScswControl::ACTIVITIES - waits - ScswControl::RESUME_PENDING;
        for activity in others.iter() {
            assert!(!is_suspended(waits | activity), "{activity:?}");
        }
    }

    #[test]
    fn flags_that_a_request_gives_are_its_own_bits() {
        assert_eq!(ScswFlags::OF_REQUEST.bits(), 0xF8F8);
    }
}
