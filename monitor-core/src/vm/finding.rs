//! Findings of the check before a move: every obstacle at once, each with its message code.
//!
//! Source of truth: VM2000 manual, CHECK-VM-MIGRATION (message VMS2404, insert REASON: the code
//! of the underlying message, and the mnemonic of the device concerned; this library puts the
//! number of a missing facility there too). Invariant: the list is bounded; obstacles beyond the
//! bound are counted.

use heapless::Vec;

use super::{facility::Facility, processors::ProcessorSet};
use crate::{
    limits::{FINDINGS_MAX, PROCESSORS_MAX},
    units::Mnemonic,
};

/// One obstacle to a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Finding {
    /// What is in the way.
    pub obstacle: Obstacle,
    /// The device concerned, or the number of the facility; empty when it concerns neither.
    pub device: Mnemonic,
}

/// What can be in the way of a move, with the number of its VMS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum Obstacle {
    /// VMS2400: the target SU is not known or does not answer.
    TargetUnknown = 2400,
    /// VMS2402: the ownership record cannot be read or names another SU.
    RecordUnusable = 2402,
    /// VMS2405: the monitor VM cannot be migrated.
    MonitorVm = 2405,
    /// VMS2406: the SU serves another incoming or outgoing migration.
    OtherMigration = 2406,
    /// VMS2410: the two monitors have no version of the protocol in common, or the target lacks a
    /// facility that the guest was given.
    Incompatible = 2410,
    /// VMS2437: the device is exclusively assigned to another VM on the target.
    DeviceHeld = 2437,
    /// VMS3042: the VM is being migrated already.
    AlreadyMigrating = 3042,
    /// VMS4000: there is no such VM.
    VmUnknown = 4000,
    /// VMS4011: the target has not enough main memory.
    MemoryShort = 4011,
    /// VMS4012: the VM index is taken on the target.
    IndexTaken = 4012,
    /// VMS4013: the VM name is taken on the target.
    NameTaken = 4013,
    /// VMS4014: the target has not a single processor for the VM.
    NoProcessor = 4014,
    /// VMS4034: the device is not generated on the target, or is another device there.
    DeviceMissing = 4034,
}

impl Obstacle {
    /// Every obstacle, in the order of the codes.
    pub const ALL: [Self; 13] = [
        Self::TargetUnknown,
        Self::RecordUnusable,
        Self::MonitorVm,
        Self::OtherMigration,
        Self::Incompatible,
        Self::DeviceHeld,
        Self::AlreadyMigrating,
        Self::VmUnknown,
        Self::MemoryShort,
        Self::IndexTaken,
        Self::NameTaken,
        Self::NoProcessor,
        Self::DeviceMissing,
    ];

    /// The number of the VMS message.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "a fieldless enum with its own u16 values")]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The obstacle of this message number, or `None`.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|obstacle| obstacle.code() == code)
    }
}

/// All obstacles that one check found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Findings {
    listed: Vec<Finding, FINDINGS_MAX>,
    unlisted: u16,
    pool: u16,
    surplus: ProcessorSet,
}

impl Default for Findings {
    fn default() -> Self {
        Self::new()
    }
}

impl Findings {
    /// No finding yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { listed: Vec::new(), unlisted: 0, pool: PROCESSORS_MAX, surplus: ProcessorSet::EMPTY }
    }

    /// Adds an obstacle that concerns no device.
    pub fn add(&mut self, obstacle: Obstacle) {
        self.push(Finding { obstacle, device: Mnemonic::EMPTY });
    }

    /// Adds an obstacle that concerns a device.
    pub fn add_device(&mut self, obstacle: Obstacle, device: Mnemonic) {
        self.push(Finding { obstacle, device });
    }

    /// Adds an obstacle that concerns a facility.
    pub fn add_facility(&mut self, obstacle: Obstacle, facility: Facility) {
        let number = facility.number();
        let digits = [number / 100, number / 10 % 10, number % 10];
        let digits = digits.map(|digit| digit.saturating_add(b'0'));
        let leading_zeros = usize::from(number < 100).saturating_add(usize::from(number < 10));
        // Digits are printable ASCII, and three of them find room.
        let device = Mnemonic::from_bytes(digits.get(leading_zeros..).unwrap_or(&[]));
        self.push(Finding { obstacle, device: device.unwrap_or(Mnemonic::EMPTY) });
    }

    /// Adds a finding; beyond the bound it is only counted.
    pub fn push(&mut self, finding: Finding) {
        if self.listed.push(finding).is_err() {
            self.unlisted = self.unlisted.saturating_add(1);
        }
    }

    /// Notes that the peer found this many more than it listed.
    pub const fn set_unlisted(&mut self, count: u16) {
        self.unlisted = count;
    }

    /// Notes how many processors the SU has for the VM; as many as a VM can have if nobody says.
    pub const fn set_pool(&mut self, count: u16) {
        self.pool = count;
    }

    /// How many processors the SU has for the VM.
    #[must_use]
    pub const fn pool(&self) -> u16 {
        self.pool
    }

    /// Notes which processors, attached at the source, will be blocked at the target. They are no
    /// obstacle, but the guest has to know before.
    pub const fn set_surplus(&mut self, processors: ProcessorSet) {
        self.surplus = processors;
    }

    /// Which processors, attached at the source, will be blocked at the target.
    #[must_use]
    pub const fn surplus(&self) -> ProcessorSet {
        self.surplus
    }

    /// The listed findings, in the order in which they were found.
    #[must_use]
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// How many findings there were beyond the listed ones.
    #[must_use]
    pub const fn unlisted(&self) -> u16 {
        self.unlisted
    }

    /// Whether nothing is in the way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.unlisted == 0
    }

    /// Forgets all findings.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facility_is_named_by_its_number_without_leading_zeros() {
        for number in [0, 7, 10, 42, 99, 100, 133, 255] {
            let mut findings = Findings::new();
            findings.add_facility(Obstacle::Incompatible, Facility::new(number));
            assert_eq!(findings.listed()[0].device.as_str(), std::format!("{number}"));
        }
    }
}
