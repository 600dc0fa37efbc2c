//! What an attempt begins with: who, where to, within which limits.
//!
//! Source of truth: VM2000 manual, MIGRATE-VM; ARCHITECTURE.md, "Limits". Invariant: the machines
//! have no other parameters than these and what is lent to them.

use crate::{
    device::DeviceEntry,
    limits::FRAME_BYTES_MAX,
    memory::DirtyBitmap,
    units::{Epoch, Incarnation, Micros, PageCount, StreamId, SuName, VmName},
    vm::{Activity, Findings},
};

use super::source::SentRun;

/// Limits of time, all of them in the hands of the integrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// The longest stop of the guest.
    pub blackout: Micros,
    /// The longest attempt, up to the stop of the guest.
    pub total: Micros,
    /// How long the guest may take to answer.
    pub guest_answer: Micros,
    /// How long the peer may be silent while something is expected of it.
    pub peer_answer: Micros,
    /// How long the target may take to set up the VM.
    pub build: Micros,
    /// How long started I/O of the guest may take to end. For a guest that runs, what is left of
    /// the blackout budget counts if it is less.
    pub drain: Micros,
    /// How long to wait before the directory, or a failed restart, is tried again.
    pub retry: Micros,
    /// How long a lost link may take to come back before the attempt ends.
    pub reconnect: Micros,
    /// How often a blackout may be rolled back for its budget before the attempt ends.
    pub overruns: u8,
}

impl Limits {
    /// The defaults: 300 ms of blackout within an hour.
    pub const DEFAULT: Self = Self {
        blackout: Micros::from_millis(300),
        total: Micros::from_millis(3_600_000),
        guest_answer: Micros::from_millis(10_000),
        peer_answer: Micros::from_millis(10_000),
        build: Micros::from_millis(300_000),
        drain: Micros::from_millis(1_000),
        retry: Micros::from_millis(500),
        reconnect: Micros::from_millis(5_000),
        overruns: 3,
    };
}

/// What becomes of the attempt when the guest refuses the move or is silent, after the operand
/// MSCF-COORDINATED of MOVE-VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Coordination {
    /// The attempt ends; the guest stays where it is.
    Required,
    /// The attempt goes on without the guest's consent.
    IfPossible,
}

/// One attempt to move one VM, as the source begins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Attempt {
    /// Identity of the attempt on the wire; unique among the attempts of this source.
    pub stream: StreamId,
    /// The VM.
    pub vm: VmName,
    /// The SU on which it is.
    pub source: SuName,
    /// The SU to which it is to go.
    pub target: SuName,
    /// The epoch under which it runs here.
    pub epoch: Epoch,
    /// What the VM is doing.
    pub activity: Activity,
    /// Pages of its storage.
    pub pages: PageCount,
    /// Its virtual processors.
    pub processors: u16,
    /// What becomes of the attempt without the guest's consent.
    pub coordination: Coordination,
    /// Limits of time.
    pub limits: Limits,
}

/// What a target is, before anything arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Reception {
    /// This SU.
    pub su: SuName,
    /// The incarnation of the first load; later loads count up from it. Unique for ever, such as
    /// a TOD stamp.
    pub incarnation: Incarnation,
    /// The most pages that a VM may have here.
    pub pages_max: PageCount,
    /// The longest frame that the driver's buffer takes.
    pub frame_bytes_max: u32,
    /// The most frames under way.
    pub window: u32,
    /// Limits of time.
    pub limits: Limits,
}

impl Reception {
    /// A reception on this SU with the library's greatest frame and a window of 64 frames.
    #[must_use]
    pub fn new(su: SuName, incarnation: Incarnation, pages_max: PageCount) -> Self {
        Self {
            su,
            incarnation,
            pages_max,
            frame_bytes_max: u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX),
            window: 64,
            limits: Limits::DEFAULT,
        }
    }
}

/// What is lent to the source machine for one call.
#[derive(Debug)]
pub struct SourceLoan<'a, 's> {
    /// Pages that the target does not have as they are now.
    pub pages: DirtyBitmap<'s>,
    /// Keys that the target does not have as they are now.
    pub keys: DirtyBitmap<'s>,
    /// Slots for the frames under way; their number bounds the window.
    pub window: &'a mut [Option<SentRun>],
    /// The VM's devices, one slot each.
    pub devices: &'a mut [DeviceEntry],
    /// What the target's check found.
    pub findings: &'a mut Findings,
}

/// What is lent to the target machine for one call.
#[derive(Debug)]
pub struct TargetLoan<'a> {
    /// Slots for the VM's devices; the first ones are filled as their frames arrive.
    pub devices: &'a mut [DeviceEntry],
}
