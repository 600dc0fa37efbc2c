//! The virtual processors of a VM: which of them are attached, and what becomes of them at a move.
//!
//! Source of truth: VM2000 manual, CPU states ATT, DET and BLOCK, and the adaptation of the
//! multiprocessor level (ATTACHED-VM-CPUS=*ADJUST-NUMBER). Invariants: a processor has one
//! standing; one at least is attached. Deliberately not here: the registers, which a processor
//! keeps in every standing, and what the guest does about one that it loses.

use core::fmt;

use crate::{limits::PROCESSORS_MAX, units::ProcessorIndex};

/// How a virtual processor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ProcessorStanding {
    /// It can run.
    Attached,
    /// The guest has detached it, and alone attaches it again.
    DetachedByGuest,
    /// The SU has no processor for it: it comes back where there is one.
    Blocked,
}

/// Some of a VM's processors: bit `n`, from the right, is the one with CPU address `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ProcessorSet(u64);

impl ProcessorSet {
    /// None of them.
    pub const EMPTY: Self = Self(0);

    /// The set of these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The processors of the first `count` addresses.
    #[must_use]
    pub fn first(count: u16) -> Self {
        Self(1_u64.checked_shl(u32::from(count)).map_or(u64::MAX, |bit| bit.wrapping_sub(1)))
    }

    /// The processor with this address alone; empty for one that no VM has.
    #[must_use]
    pub fn of(processor: ProcessorIndex) -> Self {
        Self(1_u64.checked_shl(u32::from(processor.get())).unwrap_or(0))
    }

    /// What is in either.
    #[must_use]
    pub const fn joined(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the processor is among them.
    #[must_use]
    pub fn contains(self, processor: ProcessorIndex) -> bool {
        self.0 & Self::of(processor).0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many they are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The processors in the order of their addresses.
    pub fn iter(self) -> impl Iterator<Item = ProcessorIndex> {
        (0..PROCESSORS_MAX).map(ProcessorIndex::new).filter(move |index| self.contains(*index))
    }

    /// The `count` lowest of them.
    fn lowest(self, count: u16) -> Self {
        self.iter()
            .take(usize::from(count))
            .fold(Self::EMPTY, |set, index| set.joined(Self::of(index)))
    }
}

/// The addresses, such as `1,3`.
impl fmt::Display for ProcessorSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for index in self.iter() {
            write!(formatter, "{separator}{index}")?;
            separator = ",";
        }
        Ok(())
    }
}

/// Why a standing does not change; it is as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StandingError {
    /// The VM has no such processor, or it does not stand so that this has a meaning.
    Illegal,
    /// It is the last one that is attached.
    Last,
    /// The SU has no processor for another one.
    NoProcessor,
}

impl fmt::Display for StandingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Illegal => "the processor's standing does not admit this",
            Self::Last => "no other processor is attached",
            Self::NoProcessor => "the SU has no processor for another one",
        })
    }
}

impl core::error::Error for StandingError {}

/// The virtual processors of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Processors {
    count: u16,
    detached: ProcessorSet,
    blocked: ProcessorSet,
}

impl Processors {
    /// So many processors, all of them attached; `None` for a number that no VM has.
    #[must_use]
    pub fn new(count: u16) -> Option<Self> {
        Self::standing_so(count, ProcessorSet::EMPTY, ProcessorSet::EMPTY)
    }

    /// So many processors, of which the guest has detached some and some are blocked; `None` when
    /// one is both, does not exist, or none is left.
    #[must_use]
    pub fn standing_so(count: u16, detached: ProcessorSet, blocked: ProcessorSet) -> Option<Self> {
        let this = Self { count, detached, blocked };
        let others = detached.joined(blocked);
        let is_right = (1..=PROCESSORS_MAX).contains(&count)
            && others.without(this.all()).is_empty()
            && detached.common(blocked).is_empty()
            && !this.attached().is_empty();
        is_right.then_some(this)
    }

    /// How many there are, in whatever standing.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    fn all(&self) -> ProcessorSet {
        ProcessorSet::first(self.count)
    }

    /// Those that can run.
    #[must_use]
    pub fn attached(&self) -> ProcessorSet {
        self.all().without(self.detached).without(self.blocked)
    }

    /// Those that the guest has detached.
    #[must_use]
    pub const fn detached(&self) -> ProcessorSet {
        self.detached
    }

    /// Those for which the SU has no processor.
    #[must_use]
    pub const fn blocked(&self) -> ProcessorSet {
        self.blocked
    }

    /// How a processor stands, or `None` where there is none.
    #[must_use]
    pub fn standing(&self, processor: ProcessorIndex) -> Option<ProcessorStanding> {
        if !self.all().contains(processor) {
            None
        } else if self.detached.contains(processor) {
            Some(ProcessorStanding::DetachedByGuest)
        } else if self.blocked.contains(processor) {
            Some(ProcessorStanding::Blocked)
        } else {
            Some(ProcessorStanding::Attached)
        }
    }

    /// The same on an SU that has `pool` processors for the VM: of those that the guest has not
    /// detached, so many with the lowest addresses are attached and the others are blocked.
    /// `None` when there is not a single one.
    #[must_use]
    pub fn fitted(&self, pool: u16) -> Option<Self> {
        let wanted = self.all().without(self.detached);
        let blocked = wanted.without(wanted.lowest(pool));
        Self::standing_so(self.count, self.detached, blocked)
    }

    /// The guest detaches one.
    ///
    /// # Errors
    /// `Illegal` or `Last`.
    pub fn detach(&self, processor: ProcessorIndex) -> Result<Self, StandingError> {
        if self.standing(processor) != Some(ProcessorStanding::Attached) {
            return Err(StandingError::Illegal);
        }
        let detached = self.detached.joined(ProcessorSet::of(processor));
        Self::standing_so(self.count, detached, self.blocked).ok_or(StandingError::Last)
    }

    /// The guest attaches one that it had detached, on an SU with `pool` processors for the VM.
    ///
    /// # Errors
    /// `Illegal` or `NoProcessor`.
    pub fn attach(&self, processor: ProcessorIndex, pool: u16) -> Result<Self, StandingError> {
        if self.standing(processor) != Some(ProcessorStanding::DetachedByGuest) {
            return Err(StandingError::Illegal);
        }
        if self.attached().count() >= u32::from(pool) {
            return Err(StandingError::NoProcessor);
        }
        Ok(Self { detached: self.detached.without(ProcessorSet::of(processor)), ..*self })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn set(bits: u64) -> ProcessorSet {
        ProcessorSet::from_bits(bits)
    }

    fn four(detached: u64, blocked: u64) -> Processors {
        Processors::standing_so(4, set(detached), set(blocked)).unwrap()
    }

    const fn index(number: u16) -> ProcessorIndex {
        ProcessorIndex::new(number)
    }

    #[test]
    fn surplus_processors_are_blocked_from_the_highest_address_on() {
        let vm = Processors::new(4).unwrap();
        assert_eq!(vm.fitted(2), Some(four(0, 0b1100)));
        assert_eq!(vm.fitted(1), Some(four(0, 0b1110)));
        assert_eq!(vm.fitted(4), Some(vm));
        assert_eq!(vm.fitted(0), None);
    }

    #[test]
    fn more_processors_change_nothing_but_blocked_ones_come_back() {
        let vm = Processors::new(4).unwrap();
        assert_eq!(vm.fitted(PROCESSORS_MAX), Some(vm));
        let narrow = vm.fitted(1).unwrap();
        assert_eq!(narrow.fitted(3), Some(four(0, 0b1000)));
        assert_eq!(narrow.fitted(4), Some(vm));
    }

    #[test]
    fn a_processor_that_the_guest_detached_stays_detached_and_takes_no_room() {
        let vm = four(0b0010, 0);
        assert_eq!(vm.fitted(2), Some(four(0b0010, 0b1000)));
        assert_eq!(vm.fitted(2).and_then(|there| there.fitted(9)), Some(vm));
        assert_eq!(vm.standing(index(1)), Some(ProcessorStanding::DetachedByGuest));
        assert_eq!(vm.standing(index(4)), None);
    }

    #[test]
    fn a_move_there_and_back_restores_every_standing() {
        for detached in 0..0b1111 {
            let here = Processors::standing_so(4, set(detached), ProcessorSet::EMPTY).unwrap();
            for pool in 1..=4 {
                let there = here.fitted(pool).unwrap();
                assert!(there.attached().count() <= u32::from(pool));
                assert_eq!(there.detached(), here.detached());
                assert_eq!(there.fitted(4), Some(here), "pool {pool}");
            }
        }
    }

    #[test]
    fn the_guest_detaches_and_attaches_only_what_stands_so() {
        let vm = Processors::new(2).unwrap();
        let alone = vm.detach(index(1)).unwrap();
        assert_eq!(alone.detach(index(0)), Err(StandingError::Last));
        assert_eq!(alone.detach(index(1)), Err(StandingError::Illegal));
        assert_eq!(alone.detach(index(2)), Err(StandingError::Illegal));
        assert_eq!(alone.attach(index(0), 2), Err(StandingError::Illegal));
        assert_eq!(alone.attach(index(1), 1), Err(StandingError::NoProcessor));
        assert_eq!(alone.attach(index(1), 2), Ok(vm));
        let blocked = vm.fitted(1).unwrap();
        assert_eq!(blocked.attach(index(1), 2), Err(StandingError::Illegal));
        assert_eq!(blocked.detach(index(1)), Err(StandingError::Illegal));
    }

    #[test]
    fn standings_that_contradict_each_other_are_none() {
        let so = |count, detached, blocked| {
            Processors::standing_so(count, set(detached), set(blocked)).is_some()
        };
        assert!(so(2, 0, 0b10) && so(64, 1 << 63, 1));
        assert!(!so(0, 0, 0) && !so(65, 0, 0));
        assert!(!so(2, 0b100, 0) && !so(2, 0, 0b100));
        assert!(!so(2, 0b10, 0b10));
        assert!(!so(2, 0b01, 0b10));
    }

    #[test]
    fn sets_are_shown_by_their_addresses() {
        assert_eq!(set(0b1010).to_string(), "1,3");
        assert_eq!(ProcessorSet::EMPTY.to_string(), "");
        assert_eq!(ProcessorSet::first(64).count(), 64);
        assert_eq!(ProcessorSet::first(3).bits(), 0b111);
        assert!(ProcessorSet::of(index(64)).is_empty());
    }
}
