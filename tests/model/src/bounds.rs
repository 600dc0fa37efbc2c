//! How far a search goes: attempts, SUs, stores of the guest, and how often each fault happens.
//!
//! Source of truth: this file. Invariant: within its bounds a search leaves nothing out.

use std::fmt;

use monitor_core::device::DeviceKind;

/// What goes wrong, or what somebody does at a moment of his choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame is lost, damaged, comes twice or in a wrong order.
    Loss,
    /// The link is cut.
    Cut,
    /// A frame of this attempt or a former one comes again, and the link does not notice.
    Stray,
    /// An operation of processors, devices or the monitor fails.
    Failure,
    /// The journal of a monitor cannot be written. Such a monitor is not restarted: what it
    /// cannot write down, it does not keep the guest waiting for.
    Journal,
    /// The directory answers too late: its answer is lost, and the write has happened, or happens
    /// at any later time, or never.
    Directory,
    /// The operator ends the attempt.
    Cancel,
    /// The blackout takes too long.
    Overrun,
    /// A monitor is restarted, before or between any two effects.
    Restart,
    /// An SU is lost with all that was in it.
    SuLoss,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Loss,
        Self::Cut,
        Self::Stray,
        Self::Failure,
        Self::Journal,
        Self::Directory,
        Self::Cancel,
        Self::Overrun,
        Self::Restart,
        Self::SuLoss,
    ];
}

/// The bounds of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many SUs there are: 2 or 3.
    pub sus: u8,
    /// How many attempts there are, one after the other.
    pub attempts: u8,
    /// How often the guest stores.
    pub stores: u8,
    /// A second device of the guest: one that does not go with it at a move.
    pub staying: Option<DeviceKind>,
    /// How many faults there are in all.
    pub faults: u8,
    /// How often each fault happens.
    pub most: [u8; Fault::ALL.len()],
}

impl Bounds {
    /// One attempt between two SUs in a world without faults.
    pub const QUIET: Self = Self {
        sus: 2,
        attempts: 1,
        stores: 1,
        staying: None,
        faults: 0,
        most: [0; Fault::ALL.len()],
    };

    /// The same with at most `faults` faults, of which each kind happens so often.
    #[must_use]
    pub fn with(mut self, faults: u8, most: &[(Fault, u8)]) -> Self {
        self.faults = faults;
        for (fault, count) in most {
            self.most[*fault as usize] = *count;
        }
        self
    }

    /// One attempt between two SUs, in which anything goes wrong so often.
    #[must_use]
    pub fn any(faults: u8) -> Self {
        Self::QUIET.with(faults, &Fault::ALL.map(|fault| (fault, faults)))
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} SUs, {} attempts, {} stores of the guest, {}at most {} faults (",
            self.sus,
            self.attempts,
            self.stores,
            self.staying.map_or(String::new(), |kind| format!("a device {kind:?}, ")),
            self.faults
        )?;
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{fault:?} {}", self.most[place])?;
        }
        formatter.write_str(")")
    }
}
