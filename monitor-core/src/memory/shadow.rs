//! The storage key of a guest's page when the tracker of changes uses the hardware's bits.
//!
//! Who tracks changes by change bits clears them, and the guest must not see that. So the guest's
//! key is kept in two parts: the hardware's key, and the reference and change bit that were taken
//! from it. The guest's key is both together: a bit is on when it is on in either part.
//!
//! Source of truth: Principles of Operation, "Storage Key"; the host's and guest's bits of the
//! page-status table under interpretive execution, which are the same split. Invariants: access
//! control and fetch protection are in the hardware's key alone; collecting changes nothing that
//! the guest sees. Deliberately not here: where the parts lie, and how each part is changed in one
//! piece with the other while processors set bits.

use super::StorageKey;

/// What collecting finds in one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Noted {
    /// Nothing that was not known.
    Nothing,
    /// The page was referenced for the first time since its reference bit was reset: its key has
    /// changed, and its content has not.
    Key,
    /// The page was stored into. Its key is sent with it.
    Content,
}

/// A guest's key in its two parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeyShadow {
    /// The hardware's key.
    real: StorageKey,
    /// The reference and change bit that were taken from it.
    saved: StorageKey,
}

impl KeyShadow {
    /// Reference and change.
    const NOTED: u8 = 0x06;

    /// The key whose parts these are; of `saved` only reference and change count.
    #[must_use]
    pub const fn new(real: StorageKey, saved: StorageKey) -> Self {
        Self { real, saved: StorageKey::new(saved.get() & Self::NOTED) }
    }

    /// The part that is in the hardware's key.
    #[must_use]
    pub const fn real(self) -> StorageKey {
        self.real
    }

    /// The part that was taken from the hardware's key.
    #[must_use]
    pub const fn saved(self) -> StorageKey {
        self.saved
    }

    /// The key as the guest sees it: INSERT STORAGE KEY EXTENDED.
    #[must_use]
    pub const fn guest(self) -> StorageKey {
        StorageKey::new(self.real.get() | self.saved.get())
    }

    /// SET STORAGE KEY EXTENDED by the guest. The hardware's key stays where it can, since setting
    /// it is slow and loses its change bit.
    #[must_use]
    pub const fn set(self, key: StorageKey) -> Self {
        let is_lasting = (self.real.get() ^ key.get()) & !Self::NOTED == 0;
        let is_covered = self.real.get() & !key.get() == 0;
        let real = StorageKey::new(key.get() & !Self::NOTED);
        Self::new(if is_lasting && is_covered { self.real } else { real }, key)
    }

    /// RESET REFERENCE BIT EXTENDED by the guest.
    #[must_use]
    pub const fn reset_reference(self) -> Self {
        Self { real: self.real.with_referenced(false), saved: self.saved.with_referenced(false) }
    }

    /// Takes what the hardware has noted; the guest's key stays the same. The hardware's key
    /// changes only when its change bit was on.
    #[must_use]
    pub const fn collect(self) -> (Self, Noted) {
        let saved = self.guest();
        if self.real.changed() {
            let real = StorageKey::new(self.real.get() & !Self::NOTED);
            (Self::new(real, saved), Noted::Content)
        } else if self.real.referenced() && !self.saved.referenced() {
            (Self::new(self.real, saved), Noted::Key)
        } else {
            (self, Noted::Nothing)
        }
    }

    /// Whether the step from here to `after` takes a change bit from the hardware that nobody has
    /// collected: who makes the step marks the page.
    #[must_use]
    pub const fn loses_change(self, after: Self) -> bool {
        self.real.changed() && !after.real.changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_shadow() -> impl Iterator<Item = KeyShadow> {
        let reals = (0..=u8::MAX).step_by(2).map(StorageKey::new);
        reals
            .flat_map(|real| [0, 2, 4, 6].map(|saved| KeyShadow::new(real, StorageKey::new(saved))))
    }

    #[test]
    fn guest_sees_a_bit_of_either_part() {
        let shadow = KeyShadow::new(StorageKey::new(0x34), StorageKey::new(0xF3));
        assert_eq!((shadow.guest().get(), shadow.saved().get()), (0x36, 0x02));
        assert_eq!(shadow.real().get(), 0x34);
    }

    #[test]
    fn guest_finds_the_key_that_it_has_set() {
        for before in every_shadow() {
            for key in (0..=u8::MAX).step_by(2).map(StorageKey::new) {
                let after = before.set(key);
                assert_eq!(after.guest(), key);
                let untouched = after.real() == before.real();
                assert!(untouched || after.real().get() & 6 == 0, "{before:?}, {key:?}");
                assert!(untouched || before.real().get() != key.get(), "{before:?}, {key:?}");
            }
        }
    }

    #[test]
    fn only_the_reference_bit_is_reset() {
        for before in every_shadow() {
            let after = before.reset_reference();
            assert_eq!(after.guest(), before.guest().with_referenced(false));
            assert!(!before.loses_change(after));
        }
    }

    #[test]
    fn collecting_is_not_seen_by_the_guest_and_finds_each_change_once() {
        for before in every_shadow() {
            let (after, noted) = before.collect();
            assert_eq!(after.guest(), before.guest());
            assert_eq!(noted == Noted::Content, before.real().changed());
            assert_eq!(before.loses_change(after), before.real().changed());
            assert_eq!(after.collect(), (after, Noted::Nothing), "{before:?}");
        }
    }

    #[test]
    fn reference_is_noted_once_until_the_guest_resets_it() {
        let fresh = KeyShadow::new(StorageKey::new(0x30), StorageKey::new(0));
        let load =
            |shadow: KeyShadow| KeyShadow::new(shadow.real().with_referenced(true), shadow.saved());
        let (seen, noted) = load(fresh).collect();
        assert_eq!((noted, load(seen).collect().1), (Noted::Key, Noted::Nothing));
        let reset = seen.reset_reference();
        assert_eq!((reset.collect().1, load(reset).collect().1), (Noted::Nothing, Noted::Key));
    }

    #[test]
    fn setting_a_key_tells_of_a_change_that_it_takes_away() {
        let stored = KeyShadow::new(StorageKey::new(0x36), StorageKey::new(0));
        assert!(stored.loses_change(stored.set(StorageKey::new(0x46))));
        assert!(stored.loses_change(stored.set(StorageKey::new(0x30))));
        assert!(!stored.loses_change(stored.set(StorageKey::new(0x36))));
    }
}
