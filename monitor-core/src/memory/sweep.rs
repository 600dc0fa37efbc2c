//! A pass over a dirty bitmap, and what it hands out: runs of dirty pages within one group.
//!
//! Source of truth: this file. Invariants: bit `n` of a run's mask is page `group * 64 + n`; a
//! sweep is a position and holds no bits, so that dropping it half-way loses no page.
//! Deliberately not here: the taking itself, which is in [`DirtyBitmap`](super::DirtyBitmap).

use crate::units::{GroupNumber, PageCount, PageNumber};

/// Some of the 64 pages of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PageRun {
    /// The group.
    pub group: GroupNumber,
    /// Bit `n`, counted from the least significant one, stands for page `group * 64 + n`.
    pub mask: u64,
}

impl PageRun {
    /// The number of pages in the run.
    #[must_use]
    pub fn page_count(self) -> PageCount {
        PageCount::new(u64::from(self.mask.count_ones()))
    }

    /// Whether there is no page in the run.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.mask == 0
    }

    /// The pages of the run, ascending; none when the group lies beyond the address space.
    pub fn pages(self) -> impl Iterator<Item = PageNumber> {
        let first = self.group.first_page();
        let mut mask = if first.is_some() { self.mask } else { 0 };
        core::iter::from_fn(move || {
            let bit = u64::from(mask.trailing_zeros());
            let page = first.filter(|_| mask != 0)?.get().checked_add(bit)?;
            mask &= mask.wrapping_sub(1);
            Some(PageNumber::new(page))
        })
    }

    /// Whether the group begins, and every page of the run lies, inside a guest of this size.
    #[must_use]
    pub fn fits(self, guest: PageCount) -> bool {
        let first = self.group.first_page().map(PageNumber::get);
        match first.and_then(|first| guest.get().checked_sub(first)) {
            None | Some(0) => false,
            Some(rest) => u32::try_from(rest)
                .ok()
                .and_then(|rest| self.mask.checked_shr(rest))
                .is_none_or(|beyond| beyond == 0),
        }
    }
}

/// A pass over a dirty bitmap, from its first group to its last. A new one begins at group 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sweep {
    next_group: u64,
}

impl Sweep {
    /// A pass that has not begun.
    #[must_use]
    pub const fn new() -> Self {
        Self { next_group: 0 }
    }

    /// Whether the pass has gone over all groups.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.next_group == u64::MAX
    }

    /// The first group that the pass has not gone over.
    pub(super) const fn next_group(&self) -> u64 {
        self.next_group
    }

    /// The pass has gone over `group` and all before it.
    pub(super) const fn pass(&mut self, group: u64) {
        self.next_group = group.saturating_add(1);
    }

    /// The pass has gone over all groups.
    pub(super) const fn finish(&mut self) {
        self.next_group = u64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    fn run(group: u64, mask: u64) -> PageRun {
        PageRun { group: GroupNumber::new(group), mask }
    }

    #[test]
    fn run_lists_its_pages_in_ascending_order() {
        let run = run(2, 1 << 63 | 0b101);
        let pages: Vec<u64> = run.pages().map(PageNumber::get).collect();
        assert_eq!(pages, vec![128, 130, 191]);
        assert_eq!(run.page_count(), PageCount::new(3));
        assert!(!run.is_empty());
    }

    #[test]
    fn run_without_pages_is_empty() {
        assert!(run(2, 0).is_empty());
        assert_eq!(run(2, 0).pages().next(), None);
    }

    #[test]
    fn run_beyond_the_address_space_has_no_pages() {
        assert_eq!(run(u64::MAX, 1).pages().next(), None);
        assert!(!run(u64::MAX, 1).fits(PageCount::new(u64::MAX)));
    }

    #[test]
    fn run_at_the_end_of_the_address_space_lists_its_last_page() {
        let last = run(u64::MAX / 64, 1 << 63);
        assert_eq!(last.pages().last(), Some(PageNumber::new(u64::MAX)));
        assert!(!last.fits(PageCount::new(u64::MAX)));
    }

    #[test]
    fn run_fits_only_when_group_and_all_pages_are_inside() {
        let guest = PageCount::new(64 + 10);
        assert!(run(0, u64::MAX).fits(guest));
        assert!(run(1, (1 << 10) - 1).fits(guest));
        assert!(!run(1, 1 << 10).fits(guest));
        assert!(!run(1, 1 << 63).fits(guest));
        assert!(!run(2, 0).fits(guest));
        assert!(run(1, u64::MAX).fits(PageCount::new(128)));
        assert!(!run(2, 1).fits(PageCount::new(128)));
        assert!(run(0, u64::MAX).fits(PageCount::new(1 << 40)));
    }

    #[test]
    fn finished_sweep_says_so() {
        let mut sweep = Sweep::new();
        sweep.pass(4);
        assert!(!sweep.is_done());
        sweep.finish();
        assert!(sweep.is_done());
    }
}
