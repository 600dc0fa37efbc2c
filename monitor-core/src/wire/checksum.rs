//! CRC-32C, the check value of every frame, in portable form.
//!
//! For monitors whose hardware has no instruction for it; others bring their own through the
//! checksum port. Eight bytes are taken at a time, each through a table of its own.
//!
//! Source of truth: PROTOCOL.md ("Header"); RFC 3720, appendix B.4, for the check values.
//! Invariants: the polynomial is Castagnoli's, reflected; initial value and final exclusive-or
//! are all ones; the result does not depend on how the input is cut, nor on the byte order of
//! the machine. Deliberately not here: where in a frame the value stands.

/// Castagnoli's polynomial, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Table `k` holds, for each byte, the remainder of that byte followed by `k` zero bytes.
static TABLES: [[u32; 256]; 8] =
    [table(0), table(1), table(2), table(3), table(4), table(5), table(6), table(7)];

/// The remainders of all bytes, each followed by `zero_count` zero bytes.
const fn table(zero_count: u32) -> [u32; 256] {
    let mut entries = [0; 256];
    let mut rest: &mut [u32] = &mut entries;
    let mut byte: u32 = 0;
    while let Some((entry, tail)) = rest.split_first_mut() {
        *entry = remainder(byte, zero_count);
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    entries
}

/// The remainder of one byte followed by `zero_count` zero bytes, bit by bit.
const fn remainder(byte: u32, zero_count: u32) -> u32 {
    let mut state = byte;
    let mut bit_count = zero_count.saturating_add(1).saturating_mul(u8::BITS);
    while bit_count > 0 {
        let carry = if state & 1 == 1 { POLYNOMIAL } else { 0 };
        state = (state >> 1) ^ carry;
        bit_count = bit_count.saturating_sub(1);
    }
    state
}

/// The entry of `byte`; a table has one for every byte.
fn entry(table: &[u32; 256], byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Continues the check value `crc` (0 at the beginning) over `bytes`.
#[must_use]
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let mut state = !crc;
    let mut rest = bytes;
    while let Some(([a, b, c, d, e, f, g, h], tail)) = rest.split_first_chunk::<8>() {
        // A reflected remainder meets the input with its lowest byte first.
        let [s3, s2, s1, s0] = state.to_be_bytes();
        state = entry(t7, a ^ s0)
            ^ entry(t6, b ^ s1)
            ^ entry(t5, c ^ s2)
            ^ entry(t4, d ^ s3)
            ^ entry(t3, *e)
            ^ entry(t2, *f)
            ^ entry(t1, *g)
            ^ entry(t0, *h);
        rest = tail;
    }
    for byte in rest {
        let [_, _, _, low] = state.to_be_bytes();
        state = (state >> 8) ^ entry(t0, low ^ byte);
    }
    !state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_are_those_of_the_standard() {
        assert_eq!(crc32c(0, b""), 0);
        assert_eq!(crc32c(0, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(0, &[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(0, &[0xFF; 32]), 0x62A8_AB43);
        let ascending: std::vec::Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(0, &ascending), 0x46DD_794E);
    }

    #[test]
    fn input_may_be_cut_anywhere() {
        let bytes: std::vec::Vec<u8> = (0..=255).cycle().take(67).collect();
        let whole = crc32c(0, &bytes);
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(crc32c(crc32c(0, head), tail), whole, "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut bytes = [0x5A; 24];
        let whole = crc32c(0, &bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(crc32c(0, &bytes), whole, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
