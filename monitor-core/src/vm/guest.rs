//! What a monitor tells a guest about a migration, and what the guest answers.
//!
//! Source of truth: VM2000 manual (guest handshake of MOVE-VM and MIGRATE-VM, messages ETMDR01
//! and ETMDR03). Each event has exactly one answer, which may never come: the machines keep a
//! limit of time. Deliberately not here: how an event reaches the guest (a port).

/// What the guest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum GuestEvent {
    /// A move is coming: secure yourself. Answer: ready or refused.
    MoveComing,
    /// The announced move does not take place. Answer: ready.
    MoveAbandoned,
    /// The guest is about to run on the target for the first time. Answer: resumed.
    Moved,
    /// The restart is recorded and the network may be activated. Answer: ready.
    NetworkUp,
}

/// What the guest answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum GuestAnswer {
    /// What was asked for is done.
    Ready,
    /// The guest does not want to be moved now.
    Refused,
    /// The guest runs on the target and its I/O system has started.
    Resumed,
}
