//! The image of one subchannel: what moves with the guest so that its I/O goes on.
//!
//! Source of truth: PROTOCOL.md ("Subchannel image"); Principles of Operation, "I/O Functions".
//!
//! Invariants: taking an image clears nothing (STORE SUBCHANNEL, never TEST SUBCHANNEL), so
//! pending status is presented exactly once, on the side where the guest runs. Numbers of blocks
//! are never used for another purpose. Deliberately not here: data of an I/O in flight; there is
//! none, since a device is quiesced before its image is taken.

use super::{orb::Orb, pmcw::Pmcw, schib::Schib, scsw::ScswControl};
use crate::{
    limits::SUBCHANNEL_BYTES_MAX,
    units::{DeviceNumber, SubchannelNumber},
    wire::blocks::{
        BLOCK_HEAD_BYTES, BlockHead, BlockReader, BlockWriter, ImageError, MUST_UNDERSTAND,
    },
};
use static_assertions::const_assert;

/// Bytes of the sense data of one subchannel.
const SENSE_BYTES: usize = 32;

const fn head(number: u16, length: usize) -> BlockHead {
    BlockHead { tag: number | MUST_UNDERSTAND, version: 1, length }
}

const IDENTITY: BlockHead = head(1, 4);
const SCHIB: BlockHead = head(2, super::schib::SCHIB_BYTES);
const SENSE: BlockHead = head(3, SENSE_BYTES);
const ORB: BlockHead = head(4, super::orb::ORB_BYTES);

const ENCODED_BYTES_MAX: usize =
    4 * BLOCK_HEAD_BYTES + IDENTITY.length + SCHIB.length + SENSE.length + ORB.length;
const_assert!(ENCODED_BYTES_MAX <= SUBCHANNEL_BYTES_MAX);

/// All state of one subchannel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubchannelImage {
    /// The number by which the guest knows the subchannel; it keeps it on the target.
    pub subchannel: SubchannelNumber,
    /// The number of the device.
    pub device: DeviceNumber,
    /// Paths, status, and measurement.
    pub schib: Schib,
    /// What the last start was given; needed while a start is pending or its program suspended.
    pub orb: Option<Orb>,
    /// Sense data that the program has not fetched.
    pub sense: [u8; SENSE_BYTES],
}

impl SubchannelImage {
    /// The image of a subchannel that does nothing and has no status.
    #[must_use]
    pub const fn idle(subchannel: SubchannelNumber, device: DeviceNumber) -> Self {
        let schib = Schib {
            pmcw: Pmcw::of_device(device),
            scsw: super::scsw::Scsw {
                flags: super::scsw::ScswFlags::empty(),
                control: ScswControl::empty(),
                program_address: 0,
                device_status: super::scsw::DeviceStatus::empty(),
                subchannel_status: super::scsw::SubchannelStatus::empty(),
                residual_count: 0,
            },
            measurement_address: 0,
            model_area: [0; 4],
        };
        Self { subchannel, device, schib, orb: None, sense: [0; SENSE_BYTES] }
    }

    /// Whether no start, halt or clear function is active or pending; status may be pending.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.schib.scsw.is_quiet()
    }

    /// Whether the image is all that there is of the subchannel's work. It is quiet; or its ORB is
    /// here and its only activity is a start that has not begun, or a channel program that has
    /// suspended itself. Either begins on the target, the latter at the command where it waits.
    #[must_use]
    pub const fn is_movable(&self) -> bool {
        let control = self.schib.scsw.control;
        let activities = control.intersection(ScswControl::ACTIVITIES);
        let only_start = activities.difference(ScswControl::RESUME_PENDING).bits()
            == ScswControl::START_PENDING.bits()
            && !control.intersects(ScswControl::HALT_FUNCTION.union(ScswControl::CLEAR_FUNCTION));
        let waits = only_start || self.schib.scsw.is_suspended();
        self.is_quiet() || (waits && self.orb.is_some())
    }

    /// Writes the encoding to the front of `target` and says how long it is.
    ///
    /// # Errors
    /// Fails when `target` is too short, which [`SUBCHANNEL_BYTES_MAX`] never is.
    pub fn emit(&self, target: &mut [u8]) -> Result<usize, ImageError> {
        let mut writer = BlockWriter::new(target);
        writer.write(IDENTITY, |value| {
            value.u16(self.subchannel.get());
            value.u16(self.device.get());
        })?;
        writer.write(SCHIB, |value| value.bytes(&self.schib.to_bytes()))?;
        writer.write(SENSE, |value| value.bytes(&self.sense))?;
        if let Some(orb) = &self.orb {
            writer.write(ORB, |value| value.bytes(&orb.to_bytes()))?;
        }
        Ok(writer.length())
    }

    /// Reads an encoding that fills `bytes` exactly.
    ///
    /// # Errors
    /// Names the block that is unknown, truncated, of another length, there twice, out of order,
    /// or missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.len() > SUBCHANNEL_BYTES_MAX {
            return Err(ImageError::TooLong);
        }
        let (mut identity, mut schib, mut sense, mut orb) = (None, None, None, None);
        let mut reader = BlockReader::new(bytes);
        while let Some(block) = reader.next_block()? {
            let is = |head: BlockHead| {
                (block.number() | MUST_UNDERSTAND, block.version) == (head.tag, head.version)
            };
            if is(IDENTITY) {
                let mut value = block.fields(IDENTITY.length)?;
                identity = Some((value.u16(), value.u16()));
            } else if is(SCHIB) {
                schib = Some(Schib::from_bytes(&block.fields(SCHIB.length)?.bytes()));
            } else if is(SENSE) {
                sense = Some(block.fields(SENSE.length)?.bytes());
            } else if is(ORB) {
                orb = Some(Orb::from_bytes(&block.fields(ORB.length)?.bytes()));
            } else {
                block.skip()?;
            }
        }
        let (subchannel, device) = identity.ok_or(ImageError::Missing(IDENTITY.tag))?;
        Ok(Self {
            subchannel: SubchannelNumber::new(subchannel),
            device: DeviceNumber::new(device),
            schib: schib.ok_or(ImageError::Missing(SCHIB.tag))?,
            orb,
            sense: sense.ok_or(ImageError::Missing(SENSE.tag))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{DeviceStatus, Scsw, ScswFlags, SubchannelStatus};
    use std::vec::Vec;

    fn image() -> SubchannelImage {
        let mut image =
            SubchannelImage::idle(SubchannelNumber::new(0x0102), DeviceNumber::new(0x9920));
        image.schib.pmcw = image.schib.pmcw.with_enabled(true).with_interruption_subclass(3);
        image.schib.pmcw.interruption_parameter = 0x1122_3344;
        image.schib.scsw = Scsw {
            flags: ScswFlags::from_bits_retain(0x5080),
            control: ScswControl::START_FUNCTION
                | ScswControl::STATUS_PENDING
                | ScswControl::ALERT_STATUS,
            program_address: 0x0004_2008,
            device_status: DeviceStatus::CHANNEL_END | DeviceStatus::UNIT_CHECK,
            subchannel_status: SubchannelStatus::PROTECTION_CHECK,
            residual_count: 0x0777,
        };
        image.schib.measurement_address = 0x0A0B_0C0D;
        image.schib.model_area = [9, 8, 7, 6];
        image.orb = Some(Orb::of_program(0x0004_2000, 0x5566).with_key(5));
        image.sense = core::array::from_fn(|n| 0xF0 ^ u8::try_from(n).unwrap());
        image
    }

    fn encoded(image: &SubchannelImage) -> Vec<u8> {
        let mut buffer = [0; SUBCHANNEL_BYTES_MAX];
        let length = image.emit(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn image_survives_the_wire_with_and_without_orb() {
        let with = image();
        let without = SubchannelImage { orb: None, ..image() };
        assert_eq!(SubchannelImage::parse(&encoded(&with)), Ok(with));
        assert_eq!(SubchannelImage::parse(&encoded(&without)), Ok(without));
    }

    #[test]
    fn encoding_is_these_bytes() {
        let bytes = encoded(&image());
        assert_eq!(bytes.len(), ENCODED_BYTES_MAX);
        assert_eq!(bytes[..12], [0x80, 1, 0, 1, 0, 0, 0, 4, 1, 2, 0x99, 0x20]);
        assert_eq!(bytes[12..20], [0x80, 2, 0, 1, 0, 0, 0, 52]);
        assert_eq!(bytes[20..28], [0x11, 0x22, 0x33, 0x44, 0x18, 0x81, 0x99, 0x20]);
        assert_eq!(bytes[48..60], [0x50, 0x80, 0x40, 0x11, 0, 4, 0x20, 8, 0x0A, 0x10, 7, 0x77]);
        assert_eq!(bytes[72..80], [0x80, 3, 0, 1, 0, 0, 0, 32]);
        assert_eq!(bytes[112..120], [0x80, 4, 0, 1, 0, 0, 0, 32]);
        assert_eq!(crate::wire::checksum::crc32c(0, &bytes), 0xEC96_BE91);
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = encoded(&image());
        for length in 0..bytes.len() {
            let outcome = SubchannelImage::parse(&bytes[..length]);
            // At 112 bytes the image ends between two blocks and has no ORB.
            assert_eq!(outcome.is_ok(), length == 112, "{length} bytes: {outcome:?}");
        }
    }

    #[test]
    fn each_missing_block_is_named() {
        let bytes = encoded(&image());
        let without = |from: usize, to: usize| {
            SubchannelImage::parse(&[&bytes[..from], &bytes[to..]].concat())
        };
        assert_eq!(without(0, 12), Err(ImageError::Missing(0x8001)));
        assert_eq!(without(12, 72), Err(ImageError::Missing(0x8002)));
        assert_eq!(without(72, 112), Err(ImageError::Missing(0x8003)));
    }

    #[test]
    fn unknown_block_is_refused_only_when_it_must_be_understood() {
        let mut bytes = encoded(&image());
        bytes.extend_from_slice(&[0, 9, 0, 1, 0, 0, 0, 1, 7]);
        assert_eq!(SubchannelImage::parse(&bytes), Ok(image()));
        let tag_at = bytes.len() - 9;
        bytes[tag_at] = 0x80;
        assert_eq!(SubchannelImage::parse(&bytes), Err(ImageError::Unknown(0x8009)));
    }

    #[test]
    fn wrong_length_duplicate_version_and_excess_are_refused() {
        let bytes = encoded(&image());
        let mut longer = bytes.clone();
        longer[119] = 33;
        longer.push(0);
        assert_eq!(SubchannelImage::parse(&longer), Err(ImageError::WrongLength(0x8004)));
        let twice = [&bytes[..], &bytes[112..]].concat();
        assert_eq!(SubchannelImage::parse(&twice), Err(ImageError::Duplicate(0x8004)));
        let mut newer = bytes;
        newer[3] = 2;
        assert_eq!(SubchannelImage::parse(&newer), Err(ImageError::Unknown(0x8001)));
        let excess = [0; SUBCHANNEL_BYTES_MAX + 1];
        assert_eq!(SubchannelImage::parse(&excess), Err(ImageError::TooLong));
        let mut short = [0; ENCODED_BYTES_MAX - 1];
        assert_eq!(image().emit(&mut short), Err(ImageError::NoRoom(0x8004)));
    }

    #[test]
    fn image_is_movable_when_quiet_or_when_a_start_waits_with_its_orb() {
        let with = |control: ScswControl, orb: Option<Orb>| {
            let mut image = SubchannelImage { orb, ..image() };
            image.schib.scsw.control = control;
            (image.is_quiet(), image.is_movable())
        };
        let held = ScswControl::START_FUNCTION | ScswControl::START_PENDING;
        assert_eq!(with(ScswControl::empty(), None), (true, true));
        assert_eq!(with(held, image().orb), (false, true));
        assert_eq!(with(held | ScswControl::RESUME_PENDING, image().orb), (false, true));
        assert_eq!(with(ScswControl::RESUME_PENDING, image().orb), (false, false));
        assert_eq!(with(held, None), (false, false));
        assert_eq!(with(held | ScswControl::HALT_PENDING, image().orb), (false, false));
        assert_eq!(with(held | ScswControl::CLEAR_FUNCTION, image().orb), (false, false));
        assert_eq!(with(held | ScswControl::SUBCHANNEL_ACTIVE, image().orb), (false, false));
    }

    #[test]
    fn suspended_program_is_movable_with_its_orb_also_when_it_is_to_be_resumed() {
        let with = |control: ScswControl, orb: Option<Orb>| {
            let mut image = SubchannelImage { orb, ..image() };
            image.schib.scsw.control = control;
            (image.is_quiet(), image.is_movable())
        };
        let waits = ScswControl::START_FUNCTION | ScswControl::SUSPENDED;
        assert_eq!(with(waits, image().orb), (false, true));
        assert_eq!(with(waits | ScswControl::RESUME_PENDING, image().orb), (false, true));
        let told = ScswControl::INTERMEDIATE_STATUS | ScswControl::STATUS_PENDING;
        assert_eq!(with(waits | told, image().orb), (false, true));
        assert_eq!(with(waits, None), (false, false));
        assert_eq!(with(waits | ScswControl::DEVICE_ACTIVE, image().orb), (false, false));
        assert_eq!(with(waits | ScswControl::HALT_PENDING, image().orb), (false, false));
    }
}
