//! Ports of the link between two monitors: an ordered byte stream, and its check value.
//!
//! Source of truth: PROTOCOL.md ("Link"). Invariants: bytes arrive in order or not at all; a link
//! that was closed stays closed. Deliberately not here: addresses, encryption, reconnecting.

use super::ErrorType;

/// An ordered byte stream that may be cut anywhere. It never blocks.
pub trait Link: ErrorType {
    /// Takes as many bytes of `source` as there is room for now, and says how many; 0 means none
    /// at present.
    ///
    /// # Errors
    /// Fails when the stream is cut; it stays cut.
    fn try_send(&mut self, source: &[u8]) -> Result<usize, Self::Error>;

    /// Puts received bytes into `target` and says how many; 0 means none at present.
    ///
    /// # Errors
    /// Fails when the stream is cut and everything that had arrived was taken.
    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, Self::Error>;
}

/// CRC-32C (Castagnoli, reflected, initial value and final exclusive-or all ones).
pub trait Checksum {
    /// Continues the check value `crc` (0 at the beginning) over `bytes`.
    fn update(&mut self, crc: u32, bytes: &[u8]) -> u32;
}
