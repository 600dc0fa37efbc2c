//! Subchannel-information block: what STORE SUBCHANNEL stores.
//!
//! Source of truth: z/Architecture Principles of Operation, "Subchannel-information block".
//! Invariant: from bytes and to bytes are inverse. Deliberately not here: its two words, which
//! have files of their own.

use super::{pmcw::Pmcw, scsw::Scsw};
use crate::wire::{Writer, blocks::FieldReader};

/// Bytes of the block.
pub const SCHIB_BYTES: usize = 52;

/// The subchannel-information block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Schib {
    /// Bytes 0 to 27: device and paths.
    pub pmcw: Pmcw,
    /// Bytes 28 to 39: what the subchannel is doing.
    pub scsw: Scsw,
    /// Bytes 40 to 47: measurement-block address.
    pub measurement_address: u64,
    /// Bytes 48 to 51: depends on the model.
    pub model_area: [u8; 4],
}

impl Schib {
    /// The block as stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SCHIB_BYTES] {
        let mut bytes = [0; SCHIB_BYTES];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(&self.pmcw.to_bytes());
        writer.bytes(&self.scsw.to_bytes());
        writer.u64(self.measurement_address);
        writer.bytes(&self.model_area);
        bytes
    }

    /// The block of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SCHIB_BYTES]) -> Self {
        let mut reader = FieldReader::new(bytes);
        Self {
            pmcw: Pmcw::from_bytes(&reader.bytes()),
            scsw: Scsw::from_bytes(&reader.bytes()),
            measurement_address: reader.u64(),
            model_area: reader.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_keeps_every_byte_in_its_place() {
        let bytes: [u8; SCHIB_BYTES] = core::array::from_fn(|n| 0x80 + u8::try_from(n).unwrap());
        let block = Schib::from_bytes(&bytes);
        assert_eq!(block.to_bytes(), bytes);
        assert_eq!(block.scsw.flags.bits(), 0x9C9D);
        assert_eq!(block.measurement_address, 0xA8A9_AAAB_ACAD_AEAF);
        assert_eq!(block.model_area, [0xB0, 0xB1, 0xB2, 0xB3]);
    }
}
