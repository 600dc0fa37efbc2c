//! Ports of the link between two monitors: an ordered byte stream, and its check value.
//!
//! Source of truth: PROTOCOL.md ("Link"). Invariants: bytes arrive in order or not at all; a
//! connection that was cut stays cut, another one takes its place. Deliberately not here:
//! addresses, encryption, how long to wait.

use super::ErrorType;

/// An ordered byte stream that may be cut anywhere. It never blocks.
///
/// A link is a series of connections, one at a time. The source's end opens them; the target's
/// end takes the newest one that is offered, which cuts the one before.
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

    /// Gives up the present connection, and begins to open another one, or to wait for it. How
    /// often it is tried, and when, is the port's affair; it is tried until this end is dropped.
    fn reconnect(&mut self);

    /// Whether another connection stands since the last `reconnect`; said once for each.
    fn poll_connected(&mut self) -> bool;
}

/// CRC-32C (Castagnoli, reflected, initial value and final exclusive-or all ones).
pub trait Checksum {
    /// Continues the check value `crc` (0 at the beginning) over `bytes`.
    fn update(&mut self, crc: u32, bytes: &[u8]) -> u32;
}
