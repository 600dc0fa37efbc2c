//! Which pages of a guest have changed: three levels of atomic words over lent storage.
//!
//! Leaf level: one bit a page, 64 bits a group. Middle level: one bit a group that is not zero.
//! Top level: one bit a middle word that is not zero. Taking follows set bits from the top down,
//! so that its cost follows the changed pages and not the size of the guest.
//!
//! # Order
//!
//! Marking goes up, taking goes down, and every change of a word is an atomic
//! read-modify-write (RMW) with acquire and release:
//!
//! 1. A mark sets its leaf bit, always: to test first and skip a bit that is set already would
//!    lose a store that lies between a taker's clearing and its copying. Whoever turns a leaf
//!    word from zero sets the group's middle bit; whoever turns a middle word from zero sets its
//!    top bit. Others rely on that one.
//! 2. A take swaps the leaf words of one group to zero and leaves the summaries alone. Thus a
//!    [`Sweep`] holds no bits, and one that is dropped half-way costs a look at groups that turn
//!    out to be clean, and no page.
//! 3. When no bit lies ahead in a middle word, the taker *settles* it: swap the word to zero,
//!    look at every group whose bit was in it, set the bits of those that are not clean again
//!    (upward, as a mark does). If none is, clear the top bit, look at the middle word, and set
//!    the top bit again if that is not zero.
//!
//! **No mark is lost.** Let a leaf be non-zero when no call is under way, and M the mark that
//! last turned it from zero; then M set the middle bit. If the bit is zero now, some last
//! clearing C of it came after M's setting in the order of that word. Both are RMWs, hence C
//! acquires what M released, and C's look at the leaf, which comes after C, sees M's mark or a
//! later one, and sets the bit again after C. So the bit is one, and by the same argument,
//! one level up, so is the top bit. One whole sweep then finds every marked page.
//!
//! **No store is lost.** A guest's store comes before its mark, a copy comes after its take. If a
//! take clears a mark, it acquires the store with it and the copy holds it; otherwise the mark
//! comes after the take and stays.
//!
//! Several sweeps at a time lose nothing, but one may pass over a group whose bit the other is
//! about to set again; a sweep that has to find everything runs alone, after the last mark.
//!
//! Source of truth: this file. Invariants: those above; a bit beyond the guest is never set.
//! Deliberately not here: page contents, and who marks.

use core::fmt;

use super::{
    sweep::{PageRun, Sweep},
    word::{AtomicWord, GROUP_WORDS, Ordering, WORD_BITS, Word, join, split},
};
use crate::{
    limits::GUEST_PAGES_MAX,
    units::{GroupNumber, PageCount, PageNumber},
};

/// Bits of a word, as a divisor of indexes.
#[expect(clippy::as_conversions, reason = "32 or 64, and TryFrom is not const")]
const WORD: usize = WORD_BITS as usize;

/// Pages of a group, as a divisor of page numbers.
const GROUP: u64 = 64;

/// The bit of the last entry below a summary word.
const HIGHEST: Word = Word::MAX ^ (Word::MAX / 2);

/// Why a bitmap cannot be laid over the lent storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BitmapError {
    /// There are fewer words than [`DirtyBitmap::words_needed`] says.
    StorageTooSmall,
    /// The guest has more pages than the limit.
    TooManyPages,
}

impl fmt::Display for BitmapError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::StorageTooSmall => "not enough storage for the bitmap",
            Self::TooManyPages => "too many pages for a bitmap",
        })
    }
}

impl core::error::Error for BitmapError {}

/// A page lies beyond the guest; nothing was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("page beyond the guest")
    }
}

impl core::error::Error for OutOfRange {}

/// Words of each level for a guest of some size.
struct Shape {
    leaves: usize,
    middles: usize,
    tops: usize,
}

impl Shape {
    const fn of(pages: PageCount) -> Option<Self> {
        if pages.get() > GUEST_PAGES_MAX {
            return None;
        }
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "at most GUEST_PAGES_MAX / 64, which is below 2^32, and TryFrom is not const"
        )]
        let groups = pages.groups() as usize;
        let middles = groups.div_ceil(WORD);
        let tops = middles.div_ceil(WORD);
        match groups.checked_mul(GROUP_WORDS) {
            Some(leaves) => Some(Self { leaves, middles, tops }),
            None => None,
        }
    }
}

/// A view of the lent words as a map of changed pages. Copies are views of the same map.
#[derive(Clone, Copy)]
pub struct DirtyBitmap<'s> {
    leaves: &'s [AtomicWord],
    middles: &'s [AtomicWord],
    tops: &'s [AtomicWord],
    pages: PageCount,
}

impl fmt::Debug for DirtyBitmap<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DirtyBitmap").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl<'s> DirtyBitmap<'s> {
    /// The words that a map of so many pages takes, or `None` beyond the limit of a guest.
    #[must_use]
    pub const fn words_needed(pages: PageCount) -> Option<usize> {
        match Shape::of(pages) {
            Some(shape) => {
                Some(shape.leaves.saturating_add(shape.middles).saturating_add(shape.tops))
            }
            None => None,
        }
    }

    /// Lays a map over `storage`, of which the words beyond the needed ones stay untouched.
    ///
    /// The words are taken as they are: all zero is a map without a mark, and a map of the same
    /// size that lay there before is found again.
    ///
    /// # Errors
    /// Fails when the guest is beyond the limit or the storage is too small for it.
    pub fn try_new(storage: &'s [AtomicWord], pages: PageCount) -> Result<Self, BitmapError> {
        let shape = Shape::of(pages).ok_or(BitmapError::TooManyPages)?;
        let take = |words: &'s [AtomicWord], count: usize| {
            words.split_at_checked(count).ok_or(BitmapError::StorageTooSmall)
        };
        let (leaves, rest) = take(storage, shape.leaves)?;
        let (middles, rest) = take(rest, shape.middles)?;
        let (tops, _) = take(rest, shape.tops)?;
        Ok(Self { leaves, middles, tops, pages })
    }

    /// The number of pages that the map covers.
    #[must_use]
    pub const fn page_count(&self) -> PageCount {
        self.pages
    }

    /// Marks a page. The caller's store into the page comes before this call.
    ///
    /// # Errors
    /// Fails when the page lies beyond the guest.
    #[inline]
    pub fn mark(&self, page: PageNumber) -> Result<(), OutOfRange> {
        if page.get() >= self.pages.get() {
            return Err(OutOfRange);
        }
        let group = index(page.group().get());
        if self.mark_group(group, page_bit(page)) {
            self.list(group / WORD, bit(group));
        }
        Ok(())
    }

    /// Marks `count` pages from `first` on, a word at a time.
    ///
    /// # Errors
    /// Fails when one of the pages lies beyond the guest; none is marked then.
    pub fn mark_range(&self, first: PageNumber, count: PageCount) -> Result<(), OutOfRange> {
        let end = first.get().checked_add(count.get()).ok_or(OutOfRange)?;
        if end > self.pages.get() {
            return Err(OutOfRange);
        }
        if count.get() != 0 {
            self.mark_between(first, PageNumber::new(end.saturating_sub(1)));
        }
        Ok(())
    }

    /// Marks every page of the guest.
    pub fn mark_all(&self) {
        if let Some(last) = self.pages.get().checked_sub(1) {
            self.mark_between(PageNumber::new(0), PageNumber::new(last));
        }
    }

    /// Marks the pages of a run again that was taken and did not arrive.
    ///
    /// # Errors
    /// Fails when the run does not fit into the guest; no page is marked then.
    pub fn put_back(&self, run: PageRun) -> Result<(), OutOfRange> {
        if !run.fits(self.pages) {
            return Err(OutOfRange);
        }
        let group = index(run.group.get());
        if self.mark_group(group, run.mask) {
            self.list(group / WORD, bit(group));
        }
        Ok(())
    }

    /// Takes away all marks. Only for a time when nobody marks: a mark that is under way may be
    /// lost, or found by no sweep.
    pub fn clear_all(&self) {
        for word in self.leaves.iter().chain(self.middles).chain(self.tops) {
            word.store(0, Ordering::Release);
        }
    }

    /// The marked pages of the next group that has any, at or after the position of `sweep`;
    /// their marks are taken away, and the caller copies the pages after this call.
    ///
    /// `None` says that the sweep is done; it stays done, and a new one begins at group 0 again.
    #[inline]
    pub fn take_next(&self, sweep: &mut Sweep) -> Option<PageRun> {
        while let Some(listed) = self.next_listed(index(sweep.next_group())) {
            let group = number(listed.group);
            sweep.pass(group);
            let mask = self.take_group(listed.group);
            if listed.is_last {
                self.settle(listed.group / WORD);
            }
            if mask != 0 {
                return Some(PageRun { group: GroupNumber::new(group), mask });
            }
        }
        sweep.finish();
        None
    }

    /// Whether the page is marked; a page beyond the guest is not.
    #[must_use]
    pub fn is_marked(&self, page: PageNumber) -> bool {
        self.group_bits(index(page.group().get())) & page_bit(page) != 0
    }

    /// The number of marked pages, at a cost that follows it. Clears nothing.
    #[must_use]
    pub fn count(&self) -> PageCount {
        let mut count = 0_u64;
        let mut from = 0;
        while let Some(listed) = self.next_listed(from) {
            let ones = self.group_bits(listed.group).count_ones();
            count = count.wrapping_add(u64::from(ones));
            from = listed.group.wrapping_add(1);
        }
        PageCount::new(count)
    }

    /// Whether no page is marked. Clears nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let mut from = 0;
        while let Some(listed) = self.next_listed(from) {
            if self.group_bits(listed.group) != 0 {
                return false;
            }
            from = listed.group.wrapping_add(1);
        }
        true
    }

    /// The leaf words of a group, or `None` beyond the guest.
    #[inline]
    fn group_words(&self, group: usize) -> Option<&'s [AtomicWord; GROUP_WORDS]> {
        self.leaves.get(group.checked_mul(GROUP_WORDS)?..)?.first_chunk()
    }

    fn group_bits(&self, group: usize) -> u64 {
        self.group_words(group)
            .map_or(0, |words| join(words.each_ref().map(|word| word.load(Ordering::Acquire))))
    }

    /// Sets leaf bits; true when a word was zero before, so that the caller has to list the
    /// group.
    #[inline]
    fn mark_group(&self, group: usize, mask: u64) -> bool {
        let Some(words) = self.group_words(group) else {
            return false;
        };
        let mut was_zero = false;
        for (word, bits) in words.iter().zip(split(mask)) {
            if bits == 0 {
                continue;
            }
            // Setting all bits is a swap, which processors without a fetching OR do faster. It
            // must not be a plain store, which would hide the releases of earlier marks.
            let before = if bits == Word::MAX {
                word.swap(Word::MAX, Ordering::AcqRel)
            } else {
                word.fetch_or(bits, Ordering::AcqRel)
            };
            was_zero |= before == 0;
        }
        was_zero
    }

    /// Marks all pages from `first` to `last`, which lie inside the guest. The bits of one middle
    /// word are set together, after their leaves.
    fn mark_between(&self, first: PageNumber, last: PageNumber) {
        let (first_group, last_group) = (index(first.group().get()), index(last.group().get()));
        let mut mask = page_bit(first).wrapping_neg();
        let mut waiting: Word = 0;
        for group in first_group..=last_group {
            let is_last = group == last_group;
            if is_last {
                mask &= !page_bit(last).wrapping_neg().wrapping_shl(1);
            }
            if self.mark_group(group, mask) {
                waiting |= bit(group);
            }
            mask = u64::MAX;
            if waiting != 0 && (is_last || bit(group) == HIGHEST) {
                self.list(group / WORD, waiting);
                waiting = 0;
            }
        }
    }

    #[inline]
    fn take_group(&self, group: usize) -> u64 {
        self.group_words(group)
            .map_or(0, |words| join(words.each_ref().map(|word| word.swap(0, Ordering::AcqRel))))
    }

    /// Sets middle bits, and the top bit when there was no middle bit before.
    #[inline]
    fn list(&self, middle: usize, bits: Word) {
        let Some(word) = self.middles.get(middle) else {
            return;
        };
        if word.fetch_or(bits, Ordering::AcqRel) == 0 {
            self.list_middle(middle);
        }
    }

    #[inline]
    fn list_middle(&self, middle: usize) {
        if let Some(top) = self.tops.get(middle / WORD) {
            top.fetch_or(bit(middle), Ordering::AcqRel);
        }
    }

    /// Clears the summary bits of clean groups in one middle word, and its top bit when none is
    /// left: clear, then look, then set again.
    fn settle(&self, middle: usize) {
        let Some(word) = self.middles.get(middle) else {
            return;
        };
        let mut cleared = word.swap(0, Ordering::AcqRel);
        let mut again: Word = 0;
        while cleared != 0 {
            let group = lowest(middle, cleared);
            if self.group_bits(group) != 0 {
                again |= bit(group);
            }
            cleared &= cleared.wrapping_sub(1);
        }
        if again != 0 {
            self.list(middle, again);
        } else if let Some(top) = self.tops.get(middle / WORD) {
            top.fetch_and(!bit(middle), Ordering::AcqRel);
            if word.load(Ordering::Acquire) != 0 {
                self.list_middle(middle);
            }
        }
    }

    /// The next group at or after `from` whose summary bits are set.
    #[inline]
    fn next_listed(&self, from: usize) -> Option<Listed> {
        let middle = from / WORD;
        let ahead = self.middles.get(middle)?.load(Ordering::Acquire) & bit(from).wrapping_neg();
        let (middle, ahead) =
            if ahead == 0 { self.next_middle(middle.wrapping_add(1))? } else { (middle, ahead) };
        let is_last = ahead & ahead.wrapping_sub(1) == 0;
        Some(Listed { group: lowest(middle, ahead), is_last })
    }

    /// The next middle word at or after `from` that is not zero, and its value.
    fn next_middle(&self, from: usize) -> Option<(usize, Word)> {
        let mut ahead = bit(from).wrapping_neg();
        let first = from / WORD;
        for (index, top) in (first..usize::MAX).zip(self.tops.iter().skip(first)) {
            let mut listed = top.load(Ordering::Acquire) & ahead;
            ahead = Word::MAX;
            while listed != 0 {
                let middle = lowest(index, listed);
                let bits = self.middles.get(middle)?.load(Ordering::Acquire);
                if bits != 0 {
                    return Some((middle, bits));
                }
                listed &= listed.wrapping_sub(1);
            }
        }
        None
    }
}

/// A group whose summary bits are set.
struct Listed {
    group: usize,
    /// Whether no bit is set above it in its middle word.
    is_last: bool,
}

/// An index of lent storage; a number beyond the address space becomes an index beyond the slice.
#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The number of a group, which has an index.
#[inline]
fn number(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

/// The bit of a page within its group.
#[inline]
fn page_bit(page: PageNumber) -> u64 {
    1_u64.wrapping_shl(u32::try_from(page.get() % GROUP).unwrap_or_default())
}

/// The bit in a summary word for the entry of this index below.
#[inline]
fn bit(below: usize) -> Word {
    let one: Word = 1;
    one.wrapping_shl(u32::try_from(below % WORD).unwrap_or_default())
}

/// The index of the entry below for the lowest bit that is set in a summary word.
#[inline]
fn lowest(summary: usize, bits: Word) -> usize {
    // Neither operation wraps: an entry has an index within a slice.
    let place = usize::try_from(bits.trailing_zeros()).unwrap_or_default();
    summary.wrapping_mul(WORD).wrapping_add(place)
}

#[cfg(test)]
#[path = "bitmap_tests.rs"]
mod tests;
