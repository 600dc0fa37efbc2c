//! The check value of the wire, computed by the processor's own CRC-32C instruction.
//!
//! Source of truth: `monitor_core::ports::Checksum` (CRC-32C, Castagnoli). Invariant: equal to
//! the portable form in the core. Deliberately not here: that portable form.

use monitor_core::ports::Checksum;

/// CRC-32C by hardware where there is an instruction for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crc32c;

impl Checksum for Crc32c {
    fn update(&mut self, crc: u32, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_is_the_standard_one_however_the_input_is_cut() {
        let mut checksum = Crc32c;
        assert_eq!(checksum.update(0, b"123456789"), 0xE306_9283);
        let first = checksum.update(0, b"1234");
        assert_eq!(checksum.update(first, b"56789"), 0xE306_9283);
    }
}
