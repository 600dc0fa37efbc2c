//! What was measured in the course of an attempt.
//!
//! Source of truth: ARCHITECTURE.md, "The stop rule". Invariant: times are on this end's clock.
//! Deliberately not here: what is decided from it, which is in `policy`.

use crate::{
    migrate::policy::{Bandwidth, Forecast, Passes},
    units::{ByteCount, Micros, PageCount, Tick},
    wire::LoadState,
};

/// Keys and states that were sent without their pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeysSent {
    /// KEYS frames.
    pub frames: u32,
    /// Pages whose keys and states were in them.
    pub keys: PageCount,
}

/// What was measured in the course of the attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Statistics {
    /// The passes, oldest first.
    pub passes: Passes,
    /// Bandwidth, of acknowledged bytes.
    pub bandwidth: Bandwidth,
    /// One round trip.
    pub round_trip: Micros,
    /// One access to the ownership record.
    pub claim: Micros,
    /// Saving, sending and restoring the state, the longest rehearsal so far.
    pub state: Micros,
    /// What was predicted when the guest was stopped last.
    pub predicted: Option<Micros>,
    /// Forecast after the last pass.
    pub forecast: Option<Forecast>,
    /// When the guest was stopped last.
    pub stopped_at: Option<Tick>,
    /// From the stop of the guest to RUNNING, on this end's clock.
    pub blackout: Option<Micros>,
    /// Blackouts that were rolled back for their budget.
    pub overruns: u8,
    /// How often a lost link came back.
    pub reconnects: u32,
    /// Pages that were sent once more because their acknowledgement was lost.
    pub repeated: PageCount,
    /// Bytes that were not sent, of pages whose content the guest does not need.
    pub saved: ByteCount,
    /// What went in KEYS frames since the guest was stopped last.
    pub stopped_keys: KeysSent,
    /// What the target has said last of its load, on a new connection.
    pub peer_state: Option<LoadState>,
}
