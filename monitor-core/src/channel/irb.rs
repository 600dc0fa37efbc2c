//! Interruption-response block: what TEST SUBCHANNEL stores.
//!
//! Source of truth: z/Architecture Principles of Operation, "Interruption-Response Block".
//! Invariant: from bytes and to bytes are inverse, whatever the bits. Deliberately not here: what
//! TEST SUBCHANNEL clears; an image is taken without it.

use super::scsw::{Scsw, ScswFlags};
use crate::wire::{Writer, blocks::FieldReader};

/// Bytes of the block.
pub const IRB_BYTES: usize = 96;

/// Bytes of sense data that a block holds at most.
const SENSE_BYTES: usize = 32;

/// The extended-report word: sense data is in the extended-control word.
const CONCURRENT_SENSE: u32 = 0x0100_0000;

/// The extended-report word: all sense bytes that there can be.
const SENSE_COUNT_ALL: u32 = 0x0020_0000;

/// Bits of a byte of the extended-report word that count sense bytes.
const SENSE_COUNT: u8 = 0x3F;

/// The interruption-response block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Irb {
    /// Bytes 0 to 11.
    pub scsw: Scsw,
    /// Bytes 12 to 15: the first word of the extended-status word (ESW), with the path.
    pub logout: u32,
    /// Bytes 16 to 19: the extended-report word, which says what else there is.
    pub report: u32,
    /// Bytes 20 to 31: failing-storage address and secondary address.
    pub addresses: [u8; 12],
    /// Bytes 32 to 63 (ECW): sense data, when the extended-report word says so.
    pub extended_control: [u8; SENSE_BYTES],
    /// Bytes 64 to 95 (EMW): measurement of the start function.
    pub measurement: [u8; 32],
}

impl Irb {
    /// The block of this status, reached by the last of these paths (extended status of format 1).
    #[must_use]
    pub const fn of_status(scsw: Scsw, last_used_path: u8) -> Self {
        let logout = u32::from_be_bytes([0, last_used_path, 0, 0]);
        let (addresses, extended_control) = ([0; 12], [0; SENSE_BYTES]);
        Self { scsw, logout, report: 0, addresses, extended_control, measurement: [0; 32] }
    }

    /// The same with concurrent sense.
    #[must_use]
    pub const fn with_sense(self, sense: &[u8; SENSE_BYTES]) -> Self {
        let flags = self.scsw.flags.union(ScswFlags::EXTENDED_CONTROL);
        let scsw = Scsw { flags, ..self.scsw };
        let report = self.report | CONCURRENT_SENSE | SENSE_COUNT_ALL;
        Self { scsw, report, extended_control: *sense, ..self }
    }

    /// The mask of the path that was used last (LPUM).
    #[must_use]
    pub const fn last_used_path(&self) -> u8 {
        let [_, path, ..] = self.logout.to_be_bytes();
        path
    }

    /// The sense data that came with the status, if it did.
    #[must_use]
    pub fn concurrent_sense(&self) -> Option<&[u8]> {
        let [_, count, ..] = self.report.to_be_bytes();
        let is_there = self.scsw.flags.contains(ScswFlags::EXTENDED_CONTROL)
            && self.report & CONCURRENT_SENSE != 0;
        if is_there { self.extended_control.get(..usize::from(count & SENSE_COUNT)) } else { None }
    }

    /// The block as stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; IRB_BYTES] {
        let mut bytes = [0; IRB_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(&self.scsw.to_bytes());
        writer.u32(self.logout);
        writer.u32(self.report);
        writer.bytes(&self.addresses);
        writer.bytes(&self.extended_control);
        writer.bytes(&self.measurement);
        bytes
    }

    /// The block of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; IRB_BYTES]) -> Self {
        let mut reader = FieldReader::new(bytes);
        Self {
            scsw: Scsw::from_bytes(&reader.bytes()),
            logout: reader.u32(),
            report: reader.u32(),
            addresses: reader.bytes(),
            extended_control: reader.bytes(),
            measurement: reader.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_keeps_every_byte_in_its_place() {
        let bytes: [u8; IRB_BYTES] = core::array::from_fn(|n| 0x80 + u8::try_from(n).unwrap());
        let block = Irb::from_bytes(&bytes);
        assert_eq!(block.to_bytes(), bytes);
        assert_eq!(block.scsw.residual_count, 0x8A8B);
        assert_eq!((block.logout, block.report), (0x8C8D_8E8F, 0x9091_9293));
        assert_eq!((block.extended_control[0], block.measurement[0]), (0xA0, 0xC0));
    }

    #[test]
    fn concurrent_sense_has_the_bits_of_the_manual() {
        let plain = Irb::of_status(Scsw::default(), 0x40);
        assert_eq!(plain.to_bytes()[12..20], [0, 0x40, 0, 0, 0, 0, 0, 0]);
        assert_eq!((plain.last_used_path(), plain.concurrent_sense()), (0x40, None));
        let sense = core::array::from_fn(|n| u8::try_from(n).unwrap() ^ 0x5A);
        let with = plain.with_sense(&sense);
        assert_eq!(with.to_bytes()[..2], [0, 0x02]);
        assert_eq!(with.to_bytes()[12..20], [0, 0x40, 0, 0, 0x01, 0x20, 0, 0]);
        assert_eq!(with.concurrent_sense(), Some(&sense[..]));
        let fewer = Irb { report: 0x01C7_0000, ..with };
        assert_eq!(fewer.concurrent_sense(), Some(&sense[..7]));
    }
}
