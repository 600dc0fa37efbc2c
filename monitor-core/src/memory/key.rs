//! The storage key of a page.
//!
//! Source of truth: Principles of Operation, chapter "Storage", "Storage Key" (seven bits:
//! access control, fetch protection, reference, change). Invariant: the bit that the
//! architecture leaves unassigned is zero. Deliberately not here: whether an access is allowed.

/// Seven bits that belong to a page: who may access it, and whether it was used and changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StorageKey(u8);

impl StorageKey {
    const ACCESS_CONTROL: u8 = 0xF0;
    const FETCH_PROTECTED: u8 = 0x08;
    const REFERENCED: u8 = 0x04;
    const CHANGED: u8 = 0x02;

    /// The key in this byte, as SET STORAGE KEY EXTENDED takes it; the unassigned bit is dropped.
    #[must_use]
    pub const fn new(raw: u8) -> Self {
        Self(raw & !0x01)
    }

    /// The byte, as INSERT STORAGE KEY EXTENDED gives it.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The access-control bits, 0..15: the access key that may store into the page.
    #[must_use]
    pub const fn access_control(self) -> u8 {
        self.0 / 16
    }

    /// Whether fetching, too, needs the access key.
    #[must_use]
    pub const fn fetch_protected(self) -> bool {
        self.0 & Self::FETCH_PROTECTED != 0
    }

    /// Whether the page has been used since the bit was last set to zero.
    #[must_use]
    pub const fn referenced(self) -> bool {
        self.0 & Self::REFERENCED != 0
    }

    /// Whether the page has been stored into since the bit was last set to zero.
    #[must_use]
    pub const fn changed(self) -> bool {
        self.0 & Self::CHANGED != 0
    }

    /// The key with these access-control bits, or `None` above 15.
    #[must_use]
    pub const fn with_access_control(self, access_control: u8) -> Option<Self> {
        match access_control.checked_mul(16) {
            Some(bits) => Some(Self(self.0 & !Self::ACCESS_CONTROL | bits)),
            None => None,
        }
    }

    /// The key with the fetch-protection bit on or off.
    #[must_use]
    pub const fn with_fetch_protected(self, on: bool) -> Self {
        self.with(Self::FETCH_PROTECTED, on)
    }

    /// The key with the reference bit on or off.
    #[must_use]
    pub const fn with_referenced(self, on: bool) -> Self {
        self.with(Self::REFERENCED, on)
    }

    /// The key with the change bit on or off.
    #[must_use]
    pub const fn with_changed(self, on: bool) -> Self {
        self.with(Self::CHANGED, on)
    }

    const fn with(self, bit: u8, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_taken_apart_and_put_together_again() {
        for raw in 0..=u8::MAX {
            let key = StorageKey::new(raw);
            assert_eq!(key.get(), raw & 0xFE);
            let built = StorageKey::default()
                .with_access_control(key.access_control())
                .unwrap()
                .with_fetch_protected(key.fetch_protected())
                .with_referenced(key.referenced())
                .with_changed(key.changed());
            assert_eq!(built, key);
        }
    }

    #[test]
    fn each_part_of_the_key_has_its_place() {
        let key = StorageKey::new(0x98);
        assert_eq!(key.access_control(), 9);
        assert!(key.fetch_protected() && !key.referenced() && !key.changed());
        assert_eq!(key.with_referenced(true).get(), 0x9C);
        assert_eq!(key.with_changed(true).get(), 0x9A);
        assert_eq!(key.with_fetch_protected(false).get(), 0x90);
        assert_eq!(key.with_access_control(3).map(StorageKey::get), Some(0x38));
        assert_eq!(key.with_access_control(16), None);
    }

    #[test]
    fn setting_a_bit_that_is_set_changes_nothing() {
        let key = StorageKey::new(0xFE);
        assert_eq!(key.with_fetch_protected(true), key);
        assert_eq!(key.with_referenced(true), key);
        assert_eq!(key.with_changed(true), key);
    }
}
