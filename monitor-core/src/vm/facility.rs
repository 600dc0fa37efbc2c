//! Facilities of a machine, as STORE FACILITY LIST EXTENDED numbers them.
//!
//! Source of truth: Principles of Operation, STORE FACILITY LIST EXTENDED, "Facility Indications".
//! Invariant: bit 0 is the leftmost bit of the first doubleword. A guest keeps the list that it was
//! given at its start wherever it moves: it asks once and does not look again. Deliberately not
//! here: which state a facility has, which the images of state say.

use core::fmt;

/// The number of a facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Facility(u8);

impl Facility {
    /// LOAD PROGRAM PARAMETER.
    pub const PROGRAM_PARAMETER: Self = Self(40);
    /// Runtime instrumentation.
    pub const RUNTIME_INSTRUMENTATION: Self = Self(64);
    /// Branch prediction can be blocked.
    pub const PREDICTION_CONTROL: Self = Self(82);
    /// Vector registers.
    pub const VECTOR: Self = Self(129);
    /// Guarded storage.
    pub const GUARDED_STORAGE: Self = Self(133);
    /// Multiple epochs: the TOD clock has an epoch index.
    pub const MULTIPLE_EPOCH: Self = Self(139);
    /// TEST PENDING EXTERNAL INTERRUPTION.
    pub const TEST_PENDING: Self = Self(144);
    /// INSERT REFERENCE BITS MULTIPLE.
    pub const REFERENCE_BITS_MULTIPLE: Self = Self(145);
    /// MOVE PAGE AND SET KEY.
    pub const MOVE_PAGE_AND_SET_KEY: Self = Self(149);
    /// Etokens.
    pub const ETOKEN: Self = Self(156);
    /// Storage-key removal: the guest has no storage keys.
    pub const KEY_REMOVAL: Self = Self(169);
    /// The guest may tell the host which pages it needs (EXTRACT AND SET STORAGE ATTRIBUTES). STORE
    /// FACILITY LIST EXTENDED has no bit for that; the last number, which the architecture has not
    /// assigned, stands for it in definitions and offers, and no guest is shown it.
    pub const PAGE_STATES: Self = Self(255);

    /// The facility of this number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its bit within its doubleword.
    #[expect(clippy::as_conversions, reason = "a widening that `From` has not in a const fn")]
    const fn bit(self) -> u64 {
        let leftmost: u64 = 1 << 63;
        leftmost.wrapping_shr((self.0 % 64) as u32)
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// Which of the first 256 facilities there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FacilityList([u64; 4]);

impl FacilityList {
    /// No facility at all.
    pub const EMPTY: Self = Self([0; 4]);

    /// Every facility that has a number here.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// The list in the doublewords that STORE FACILITY LIST EXTENDED stores.
    #[must_use]
    pub const fn new(words: [u64; 4]) -> Self {
        Self(words)
    }

    /// The list of these facilities.
    #[must_use]
    pub const fn of(facilities: &[Facility]) -> Self {
        let mut list = Self::EMPTY;
        let mut left = facilities;
        while let [first, rest @ ..] = left {
            list = list.with(*first);
            left = rest;
        }
        list
    }

    /// The list of the facilities of these numbers.
    #[must_use]
    pub const fn numbered(numbers: &[u8]) -> Self {
        let mut list = Self::EMPTY;
        let mut left = numbers;
        while let [first, rest @ ..] = left {
            list = list.with(Facility::new(*first));
            left = rest;
        }
        list
    }

    /// The doublewords.
    #[must_use]
    pub const fn words(&self) -> [u64; 4] {
        self.0
    }

    /// Whether the facility is there.
    #[must_use]
    pub const fn has(&self, facility: Facility) -> bool {
        let Self([first, second, third, fourth]) = *self;
        let word = match facility.number() / 64 {
            0 => first,
            1 => second,
            2 => third,
            _ => fourth,
        };
        word & facility.bit() != 0
    }

    /// The same with this facility.
    #[must_use]
    pub const fn with(self, facility: Facility) -> Self {
        let (Self([a, b, c, d]), bit) = (self, facility.bit());
        Self(match facility.number() / 64 {
            0 => [a | bit, b, c, d],
            1 => [a, b | bit, c, d],
            2 => [a, b, c | bit, d],
            _ => [a, b, c, d | bit],
        })
    }

    /// The same without this facility.
    #[must_use]
    pub const fn without(self, facility: Facility) -> Self {
        self.beyond(&Self::EMPTY.with(facility))
    }

    /// What both have: the domain in which a guest can move between two machines.
    #[must_use]
    pub const fn common(self, other: &Self) -> Self {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, *other);
        Self([a & e, b & f, c & g, d & h])
    }

    /// What either has.
    #[must_use]
    pub const fn joined(self, other: &Self) -> Self {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, *other);
        Self([a | e, b | f, c | g, d | h])
    }

    /// What is here and not in `other`.
    #[must_use]
    pub const fn beyond(self, other: &Self) -> Self {
        let (Self([a, b, c, d]), Self([e, f, g, h])) = (self, *other);
        Self([a & !e, b & !f, c & !g, d & !h])
    }

    /// Whether `other` has all that is here.
    #[must_use]
    pub const fn is_subset_of(&self, other: &Self) -> bool {
        self.beyond(other).is_empty()
    }

    /// For what a guest that was given these cannot run on a machine with those: facilities that
    /// are missing there, and the removal of storage keys where the guest has keys.
    #[must_use]
    pub const fn unfit_for(self, machine: &Self) -> Self {
        let missing = self.beyond(machine);
        if machine.has(Facility::KEY_REMOVAL) && !self.has(Facility::KEY_REMOVAL) {
            missing.with(Facility::KEY_REMOVAL)
        } else {
            missing
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, [0, 0, 0, 0])
    }

    /// The first facility, by its number, that is here and not in `other`.
    #[must_use]
    pub fn first_missing_in(&self, other: &Self) -> Option<Facility> {
        self.beyond(other).iter().next()
    }

    /// The facilities in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Facility> {
        (0..=u8::MAX).map(Facility::new).filter(move |facility| self.has(*facility))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const fn list(numbers: &[u8]) -> FacilityList {
        FacilityList::numbered(numbers)
    }

    #[test]
    fn facilities_are_numbered_from_the_left() {
        assert_eq!(list(&[0]).words(), [1 << 63, 0, 0, 0]);
        assert_eq!(list(&[63, 64]).words(), [1, 1 << 63, 0, 0]);
        assert_eq!(list(&[129]).words(), [0, 0, 1 << 62, 0]);
        assert_eq!(list(&[255]).words(), [0, 0, 0, 1]);
        assert_eq!(FacilityList::of(&[Facility::VECTOR]), list(&[129]));
    }

    #[test]
    fn each_facility_is_a_bit_of_its_own() {
        for number in 0..=u8::MAX {
            let one = list(&[number]);
            let found: Vec<u8> = one.iter().map(Facility::number).collect();
            assert_eq!(found, [number]);
            assert!(!FacilityList::ALL.without(Facility::new(number)).has(Facility::new(number)));
            assert_eq!(one.without(Facility::new(number)), FacilityList::EMPTY);
        }
    }

    #[test]
    fn a_guest_with_storage_keys_cannot_run_where_they_are_removed_nor_the_other_way() {
        let (with, without) = (list(&[1]), list(&[1, 169]));
        let removal = FacilityList::of(&[Facility::KEY_REMOVAL]);
        assert_eq!(with.unfit_for(&without), removal);
        assert_eq!(without.unfit_for(&with), removal);
        assert_eq!(without.unfit_for(&without), FacilityList::EMPTY);
        assert_eq!(list(&[1, 2]).unfit_for(&without), list(&[2, 169]));
    }

    #[test]
    fn the_first_missing_facility_is_the_lowest_that_the_other_lacks() {
        let (guest, machine) = (list(&[1, 129, 133]), list(&[1, 2, 133]));
        assert_eq!(guest.first_missing_in(&machine), Some(Facility::VECTOR));
        assert!(!guest.is_subset_of(&machine));
        assert_eq!(guest.common(&machine), list(&[1, 133]));
        assert_eq!(guest.joined(&machine), list(&[1, 2, 129, 133]));
        assert_eq!(guest.common(&machine).first_missing_in(&machine), None);
        assert!(FacilityList::EMPTY.is_subset_of(&FacilityList::EMPTY));
    }
}
