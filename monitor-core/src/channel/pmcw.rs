//! Path-management-control word: which device a subchannel is, and by which paths it is reached.
//!
//! Source of truth: z/Architecture Principles of Operation, "Subchannel-information block".
//! Invariant: from bytes and to bytes are inverse, whatever the bits. Deliberately not here: the
//! meaning of the paths.

use crate::{
    units::DeviceNumber,
    wire::{Writer, blocks::FieldReader},
};

/// Bytes of the word.
pub const PMCW_BYTES: usize = 28;

const INTERRUPTION_SUBCLASS: u16 = 0x3800;
const ENABLED: u16 = 0x0080;
const DEVICE_NUMBER_VALID: u16 = 0x0001;
const CONCURRENT_SENSE: u32 = 0x0000_0001;

/// The path-management-control word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pmcw {
    /// Bytes 0 to 3: what an interruption gives to the program.
    pub interruption_parameter: u32,
    /// Bytes 4 and 5: subclass, enablement, limit and measurement modes, validity.
    pub flags: u16,
    /// Bytes 6 and 7.
    pub device: DeviceNumber,
    /// Byte 8 (LPM).
    pub logical_paths: u8,
    /// Byte 9 (PNOM).
    pub not_operational_paths: u8,
    /// Byte 10 (LPUM).
    pub last_used_path: u8,
    /// Byte 11 (PIM).
    pub installed_paths: u8,
    /// Bytes 12 and 13 (MBI).
    pub measurement_index: u16,
    /// Byte 14 (POM).
    pub operational_paths: u8,
    /// Byte 15 (PAM).
    pub available_paths: u8,
    /// Bytes 16 to 23: channel-path identifiers.
    pub channel_paths: [u8; 8],
    /// Bytes 24 to 27: subchannel type, measurement format, concurrent sense.
    pub characteristics: u32,
}

impl Pmcw {
    /// The word of a device that is reached by the first path; the subchannel is not enabled.
    #[must_use]
    pub const fn of_device(device: DeviceNumber) -> Self {
        Self {
            interruption_parameter: 0,
            flags: DEVICE_NUMBER_VALID,
            device,
            logical_paths: 0x80,
            not_operational_paths: 0,
            last_used_path: 0,
            installed_paths: 0x80,
            measurement_index: 0,
            operational_paths: 0xFF,
            available_paths: 0x80,
            channel_paths: [0; 8],
            characteristics: 0,
        }
    }

    /// Whether the subchannel is enabled for I/O.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.flags & ENABLED != 0
    }

    /// The same word, enabled or not.
    #[must_use]
    pub const fn with_enabled(self, enabled: bool) -> Self {
        let flags = if enabled { self.flags | ENABLED } else { self.flags & !ENABLED };
        Self { flags, ..self }
    }

    /// Whether there is a device, so that its number means something.
    #[must_use]
    pub const fn has_device(&self) -> bool {
        self.flags & DEVICE_NUMBER_VALID != 0
    }

    /// The same word without a device: its number means nothing.
    #[must_use]
    pub const fn without_device(self) -> Self {
        Self { flags: self.flags & !DEVICE_NUMBER_VALID, ..self }
    }

    /// The interruption subclass (ISC), 0 to 7.
    #[must_use]
    pub const fn interruption_subclass(&self) -> u8 {
        let [high, _] = (self.flags & INTERRUPTION_SUBCLASS).to_be_bytes();
        high >> 3
    }

    /// The same word with the low three bits of `subclass` as interruption subclass.
    #[must_use]
    pub fn with_interruption_subclass(self, subclass: u8) -> Self {
        let bits = u16::from(subclass) << 11 & INTERRUPTION_SUBCLASS;
        Self { flags: self.flags & !INTERRUPTION_SUBCLASS | bits, ..self }
    }

    /// Whether sense data is to come with the status (CSENSE).
    #[must_use]
    pub const fn has_concurrent_sense(&self) -> bool {
        self.characteristics & CONCURRENT_SENSE != 0
    }

    /// The same word, with sense data to come with the status or not.
    #[must_use]
    pub const fn with_concurrent_sense(self, wanted: bool) -> Self {
        let others = self.characteristics & !CONCURRENT_SENSE;
        let characteristics = if wanted { others | CONCURRENT_SENSE } else { others };
        Self { characteristics, ..self }
    }

    /// The word as stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PMCW_BYTES] {
        let mut bytes = [0; PMCW_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.u32(self.interruption_parameter);
        writer.u16(self.flags);
        writer.u16(self.device.get());
        writer.u8(self.logical_paths);
        writer.u8(self.not_operational_paths);
        writer.u8(self.last_used_path);
        writer.u8(self.installed_paths);
        writer.u16(self.measurement_index);
        writer.u8(self.operational_paths);
        writer.u8(self.available_paths);
        writer.bytes(&self.channel_paths);
        writer.u32(self.characteristics);
        bytes
    }

    /// The word of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; PMCW_BYTES]) -> Self {
        let mut reader = FieldReader::new(bytes);
        Self {
            interruption_parameter: reader.u32(),
            flags: reader.u16(),
            device: DeviceNumber::new(reader.u16()),
            logical_paths: reader.u8(),
            not_operational_paths: reader.u8(),
            last_used_path: reader.u8(),
            installed_paths: reader.u8(),
            measurement_index: reader.u16(),
            operational_paths: reader.u8(),
            available_paths: reader.u8(),
            channel_paths: reader.bytes(),
            characteristics: reader.u32(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_keeps_every_byte_in_its_place() {
        let bytes: [u8; PMCW_BYTES] = core::array::from_fn(|n| 0xA0 + u8::try_from(n).unwrap());
        let word = Pmcw::from_bytes(&bytes);
        assert_eq!(word.to_bytes(), bytes);
        assert_eq!(word.flags, 0xA4A5);
        assert_eq!(word.device, DeviceNumber::new(0xA6A7));
        assert_eq!((word.last_used_path, word.operational_paths), (0xAA, 0xAE));
        assert_eq!(word.characteristics, 0xB8B9_BABB);
    }

    #[test]
    fn flags_have_the_bits_of_the_manual() {
        let word = Pmcw::default().with_enabled(true).with_interruption_subclass(0xFD);
        assert_eq!(word.flags, 0x2880);
        assert!(word.is_enabled() && !word.has_device());
        assert_eq!(word.interruption_subclass(), 5);
        let of_device = Pmcw::of_device(DeviceNumber::new(9));
        assert!(of_device.has_device() && !of_device.without_device().has_device());
        assert_eq!(word.with_enabled(false).with_interruption_subclass(0).flags, 0);
        let sensing = word.with_concurrent_sense(true);
        assert_eq!(sensing.to_bytes()[24..], [0, 0, 0, 1]);
        assert!(sensing.has_concurrent_sense() && !word.has_concurrent_sense());
        assert_eq!(sensing.with_concurrent_sense(false), word);
    }
}
