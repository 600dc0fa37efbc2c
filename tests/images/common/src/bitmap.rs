//! The dirty bitmap against a plain ordered set of page numbers, under random operations.
//!
//! Source of truth: the promises of `monitor_core::memory`. Invariants: after each operation the
//! map and the set hold the same pages; what is taken does not depend on the width of a word.
//! Deliberately not here: several threads at once, which `tests/loom` and the bitmap's own tests
//! have.

use alloc::{collections::BTreeSet, vec::Vec};

use monitor_core::{
    memory::{AtomicWord, DirtyBitmap, OutOfRange, PageRun, Sweep},
    units::{GroupNumber, PageCount, PageNumber},
};

use crate::random::{Digest, Random};

/// Sizes behind the edges of groups, middle words and top words of 32 and of 64 bits.
const SIZES: [u64; 6] = [1, 65, 2_049, 4_097, 65_537, 300_001];

/// Courses for each size.
const COURSES: u64 = 20;

/// Operations of one course.
const ACTIONS: u64 = 60;

/// What is done to a map and to the set that it has to equal. Pages are fractions of the guest in
/// millionths.
#[derive(Clone, Debug)]
pub enum Action {
    /// Marks a page.
    Mark(u64),
    /// Marks so many pages from one on.
    MarkRange(u64, u64),
    /// Takes away all marks.
    ClearAll,
    /// Takes so many runs in a new sweep and drops it.
    SweepPart(usize),
    /// Takes so many runs in the sweep that is under way.
    SweepOn(usize),
    /// Takes everything in a new sweep.
    SweepWhole,
    /// Puts back the run that was taken so many takes ago.
    PutBack(usize),
    /// Puts back a run that nobody has taken.
    PutBackAny(u64, u64),
}

/// The map, the set that it has to equal, and what was taken from both.
#[derive(Debug)]
pub struct Pair<'s> {
    map: DirtyBitmap<'s>,
    set: BTreeSet<u64>,
    size: u64,
    sweep: Sweep,
    /// The first page that the sweep under way has not gone over, as the set sees it.
    position: u64,
    taken: Vec<PageRun>,
}

impl<'s> Pair<'s> {
    /// A clean map over `storage`, and an empty set.
    ///
    /// # Panics
    /// When the storage is too small.
    #[must_use]
    pub fn new(storage: &'s [AtomicWord], size: u64) -> Self {
        let map = DirtyBitmap::try_new(storage, PageCount::new(size)).unwrap();
        let (set, taken) = (BTreeSet::new(), Vec::new());
        Self { map, set, size, sweep: Sweep::new(), position: 0, taken }
    }

    /// Does something to both.
    ///
    /// # Panics
    /// When they take it differently.
    pub fn perform(&mut self, action: &Action) {
        let scaled = |page: u64| page * self.size.max(1) / 1_000_000;
        match *action {
            Action::Mark(page) => self.mark(scaled(page)),
            Action::MarkRange(first, count) => self.mark_range(scaled(first), count),
            Action::ClearAll => {
                self.map.clear_all();
                self.set.clear();
            }
            Action::SweepPart(runs) => {
                (self.sweep, self.position) = (Sweep::new(), 0);
                self.take(runs);
            }
            Action::SweepOn(runs) => self.take(runs),
            Action::SweepWhole => {
                (self.sweep, self.position) = (Sweep::new(), 0);
                self.take(usize::MAX);
                assert!(self.set.is_empty());
            }
            Action::PutBack(ago) => {
                if let Some(run) = self.taken.iter().rev().nth(ago).copied() {
                    self.put_back(run);
                }
            }
            Action::PutBackAny(page, mask) => {
                self.put_back(PageRun { group: GroupNumber::new(scaled(page) / 64), mask });
            }
        }
    }

    /// Marks a page by its number.
    ///
    /// # Panics
    /// When map and set differ about the end of the guest.
    pub fn mark(&mut self, page: u64) {
        let marked = self.map.mark(PageNumber::new(page));
        assert_eq!(marked, if page < self.size { Ok(()) } else { Err(OutOfRange) });
        if marked.is_ok() {
            self.set.insert(page);
        }
    }

    /// Marks every page.
    pub fn mark_all(&mut self) {
        self.map.mark_all();
        self.set = (0..self.size).collect();
    }

    /// The runs that were taken, in their order.
    #[must_use]
    pub fn taken(&self) -> &[PageRun] {
        &self.taken
    }

    fn mark_range(&mut self, first: u64, count: u64) {
        let marked = self.map.mark_range(PageNumber::new(first), PageCount::new(count));
        assert_eq!(marked, if first + count <= self.size { Ok(()) } else { Err(OutOfRange) });
        if marked.is_ok() {
            self.set.extend(first..first + count);
        }
    }

    fn put_back(&mut self, run: PageRun) {
        let pages: Vec<u64> = run.pages().map(PageNumber::get).collect();
        let begins = run.group.get() * 64 < self.size;
        let fits = begins && pages.iter().all(|page| *page < self.size);
        assert_eq!(run.fits(PageCount::new(self.size)), fits);
        assert_eq!(self.map.put_back(run), if fits { Ok(()) } else { Err(OutOfRange) });
        if fits {
            self.set.extend(pages);
        }
    }

    fn take(&mut self, runs: usize) {
        for _ in 0..runs {
            let first = self.set.range(self.position..).next().copied();
            let next = first.map(|page| page / 64 * 64);
            let pages: Vec<u64> = next
                .map(|next| self.set.range(next..next + 64).copied().collect())
                .unwrap_or_default();
            let run = self.map.take_next(&mut self.sweep);
            let taken = run.map(|run| run.pages().map(PageNumber::get).collect());
            assert_eq!(taken, next.map(|_| pages.clone()));
            assert_eq!(self.sweep.is_done(), run.is_none());
            self.position = next.map_or(u64::MAX, |next| next + 64);
            for page in &pages {
                self.set.remove(page);
            }
            let Some(run) = run else { break };
            assert_eq!(run.page_count().get(), pages.len() as u64);
            self.taken.push(run);
        }
    }

    /// Holds both against each other.
    ///
    /// # Panics
    /// When they differ.
    pub fn assert_equal(&self) {
        assert_eq!(self.map.count().get(), self.set.len() as u64);
        assert_eq!(self.map.is_empty(), self.set.is_empty());
        let edges = [0, 63, 64, self.size.saturating_sub(1), self.size, self.size + 1, u64::MAX];
        for page in edges.into_iter().chain(self.set.iter().copied().take(100)) {
            assert_eq!(self.map.is_marked(PageNumber::new(page)), self.set.contains(&page));
        }
    }
}

/// One operation at random; some pages lie beyond the guest.
fn action(random: &mut Random) -> Action {
    let page = random.below(1_020_000);
    match random.below(40) {
        0..20 => Action::Mark(page),
        20..26 => Action::MarkRange(page, random.below(300)),
        26 => Action::MarkRange(page, random.below(9_000)),
        27 => Action::ClearAll,
        28..32 => Action::SweepPart(random.index(5)),
        32..36 => Action::SweepOn(random.index(5)),
        36 => Action::SweepWhole,
        37..39 => Action::PutBack(random.index(8)),
        _ => Action::PutBackAny(page, random.next()),
    }
}

/// Courses at random over guests of several sizes; a digest of all runs that were taken.
///
/// # Panics
/// When map and set differ.
#[must_use]
pub fn courses(random: &mut Random) -> Digest {
    let mut digest = Digest::new();
    for size in SIZES {
        let needed = DirtyBitmap::words_needed(PageCount::new(size)).unwrap();
        for _ in 0..COURSES {
            let storage: Vec<AtomicWord> = (0..needed).map(|_| AtomicWord::new(0)).collect();
            let mut pair = Pair::new(&storage, size);
            for _ in 0..ACTIONS {
                pair.perform(&action(random));
                pair.assert_equal();
            }
            pair.perform(&Action::SweepWhole);
            pair.assert_equal();
            for run in pair.taken() {
                digest.add(&run.group.get().to_be_bytes());
                digest.add(&run.mask.to_be_bytes());
            }
        }
    }
    digest
}
