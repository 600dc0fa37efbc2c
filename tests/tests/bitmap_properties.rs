//! The dirty bitmap against a plain ordered set of page numbers, and a guest that is copied by its
//! help, under random operations.
//!
//! Source of truth: the promises of `monitor_core::memory`. Invariants: after each operation the
//! map and the set hold the same pages; a page that the target lacks is marked or on its way.
//! Deliberately not here: several threads at once, which `tests/loom` and the bitmap's own tests
//! have.

use std::collections::VecDeque;

use monitor_core::{
    memory::{AtomicWord, DirtyBitmap, PageRun, Sweep},
    units::{PageCount, PageNumber},
};
use portable_tests::bitmap::{Action, Pair};
use proptest::prelude::*;

/// Sizes on, before and behind the edges of groups, middle words and top words.
const SIZES: [u64; 12] = [0, 1, 63, 64, 65, 100, 4_095, 4_096, 4_097, 262_144, 262_145, 300_001];

fn action() -> impl Strategy<Value = Action> {
    // Pages are fractions of the guest in millionths, a few of them beyond its end.
    let page = || 0..1_020_000_u64;
    prop_oneof![
        20 => page().prop_map(Action::Mark),
        6 => (page(), 0..300_u64).prop_map(|(first, count)| Action::MarkRange(first, count)),
        1 => (page(), 0..9_000_u64).prop_map(|(first, count)| Action::MarkRange(first, count)),
        1 => Just(Action::ClearAll),
        4 => (0..5_usize).prop_map(Action::SweepPart),
        4 => (0..5_usize).prop_map(Action::SweepOn),
        1 => Just(Action::SweepWhole),
        4 => (0..8_usize).prop_map(Action::PutBack),
        3 => (page(), any::<u64>()).prop_map(|(page, mask)| Action::PutBackAny(page, mask)),
    ]
}

/// What befalls a guest that is copied while it runs, and the stream that carries the copies.
#[derive(Clone, Debug)]
enum Event {
    /// The guest stores a byte into a page.
    Store(usize, u64, u8),
    /// A device stores a byte into each of some pages, which are marked together.
    StoreRange(usize, u64, u64, u8),
    /// The source takes and sends so many runs in the sweep that is under way.
    Send(usize, usize),
    /// The sweep under way is dropped.
    DropSweep(usize),
    /// So many frames arrive, and the source learns of it.
    Arrive(usize),
    /// So many frames arrive; then the link is cut, and the source learns of none of them.
    Cut(usize),
    /// The attempt ends, and another one builds a new copy.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let region = || 0..3_usize;
    let page = || 0..1_000_000_u64;
    prop_oneof![
        20 => (region(), page(), any::<u8>())
            .prop_map(|(region, page, byte)| Event::Store(region, page, byte)),
        4 => (region(), page(), 0..200_u64, any::<u8>())
            .prop_map(|(region, page, count, byte)| Event::StoreRange(region, page, count, byte)),
        12 => (region(), 1..6_usize).prop_map(|(region, runs)| Event::Send(region, runs)),
        3 => region().prop_map(Event::DropSweep),
        8 => (0..6_usize).prop_map(Event::Arrive),
        3 => (0..6_usize).prop_map(Event::Cut),
        1 => Just(Event::Restart),
    ]
}

/// A region of guest storage with a byte for each page, at both ends.
struct Region<'s> {
    map: DirtyBitmap<'s>,
    source: Vec<u8>,
    target: Vec<u8>,
    sweep: Sweep,
}

/// A run with the bytes of its pages as they were when it was taken.
struct Frame {
    region: usize,
    run: PageRun,
    bytes: Vec<u8>,
}

/// The pages of a run as indexes.
fn indexes(run: PageRun) -> impl Iterator<Item = usize> {
    run.pages().map(|page| usize::try_from(page.get()).unwrap())
}

struct Attempt<'s> {
    regions: Vec<Region<'s>>,
    /// Frames that the source has sent and nobody has acknowledged.
    window: VecDeque<Frame>,
}

impl<'s> Attempt<'s> {
    fn new(storages: &'s [Vec<AtomicWord>], sizes: &[usize]) -> Self {
        let region = |(words, size): (&'s Vec<AtomicWord>, &usize)| Region {
            map: DirtyBitmap::try_new(words, PageCount::new(*size as u64)).unwrap(),
            source: vec![1; *size],
            target: Vec::new(),
            sweep: Sweep::new(),
        };
        let regions = storages.iter().zip(sizes).map(region).collect();
        let mut attempt = Self { regions, window: VecDeque::new() };
        attempt.perform(&Event::Restart);
        attempt
    }

    fn perform(&mut self, event: &Event) {
        match *event {
            Event::Store(region, page, byte) => self.store(region, page, None, byte),
            Event::StoreRange(region, page, count, byte) => {
                self.store(region, page, Some(count), byte);
            }
            Event::Send(region, runs) => self.send(region, runs),
            Event::DropSweep(region) => self.regions[region].sweep = Sweep::new(),
            Event::Arrive(frames) => self.arrive(frames),
            Event::Cut(frames) => {
                let unacknowledged: Vec<_> =
                    self.window.iter().map(|frame| (frame.region, frame.run)).collect();
                self.arrive(frames);
                self.window.clear();
                for (region, run) in unacknowledged {
                    self.regions[region].map.put_back(run).unwrap();
                }
            }
            Event::Restart => {
                self.window.clear();
                for region in &mut self.regions {
                    region.target = vec![0; region.source.len()];
                    region.map.mark_all();
                    region.sweep = Sweep::new();
                }
            }
        }
    }

    /// Stores first and marks then: one page by itself, or several together.
    fn store(&mut self, region: usize, page: u64, count: Option<u64>, byte: u8) {
        let region = &mut self.regions[region];
        let size = region.source.len() as u64;
        let first = page * size / 1_000_000;
        let end = size.min(first + count.unwrap_or(1));
        for page in first..end {
            region.source[usize::try_from(page).unwrap()] = byte;
        }
        let marked = match count {
            None => region.map.mark(PageNumber::new(first)),
            Some(_) => region.map.mark_range(PageNumber::new(first), PageCount::new(end - first)),
        };
        marked.unwrap();
    }

    fn send(&mut self, number: usize, runs: usize) {
        let region = &mut self.regions[number];
        for _ in 0..runs {
            let Some(run) = region.map.take_next(&mut region.sweep) else {
                region.sweep = Sweep::new();
                return;
            };
            let bytes = indexes(run).map(|page| region.source[page]).collect();
            self.window.push_back(Frame { region: number, run, bytes });
        }
    }

    fn arrive(&mut self, frames: usize) {
        for frame in self.window.drain(..frames.min(self.window.len())) {
            let target = &mut self.regions[frame.region].target;
            for (page, byte) in indexes(frame.run).zip(frame.bytes) {
                target[page] = byte;
            }
        }
    }

    /// What the target has when all frames of the window have arrived differs from the guest in
    /// marked pages alone.
    fn assert_nothing_is_forgotten(&self) {
        for (number, region) in self.regions.iter().enumerate() {
            let mut target = region.target.clone();
            for frame in self.window.iter().filter(|frame| frame.region == number) {
                for (page, byte) in indexes(frame.run).zip(&frame.bytes) {
                    target[page] = *byte;
                }
            }
            for (page, (source, target)) in region.source.iter().zip(&target).enumerate() {
                let is_marked = region.map.is_marked(PageNumber::new(page as u64));
                assert!(source == target || is_marked, "page {page} of region {number}");
            }
        }
    }

    /// The guest stands still: one more whole sweep over each region, and all arrives.
    fn finish(&mut self) {
        for number in 0..self.regions.len() {
            self.perform(&Event::DropSweep(number));
            self.send(number, usize::MAX);
        }
        self.arrive(usize::MAX);
        for region in &self.regions {
            assert!(region.map.is_empty());
            assert_eq!(region.target, region.source);
        }
    }
}

proptest! {
    #[test]
    fn copy_equals_the_guest_whatever_is_dropped_cut_and_begun_again(
        sizes in prop::collection::vec(
            prop_oneof![prop::sample::select(vec![1, 64, 65, 4_096, 4_160, 4_161]), 1..500_usize],
            3,
        ),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let storages: Vec<Vec<AtomicWord>> = sizes
            .iter()
            .map(|size| DirtyBitmap::words_needed(PageCount::new(*size as u64)).unwrap())
            .map(|needed| (0..needed).map(|_| AtomicWord::new(0)).collect())
            .collect();
        let mut attempt = Attempt::new(&storages, &sizes);
        for event in &events {
            attempt.perform(event);
            attempt.assert_nothing_is_forgotten();
        }
        attempt.finish();
    }

    #[test]
    fn bitmap_holds_the_same_pages_as_a_set(
        size in prop_oneof![prop::sample::select(SIZES.to_vec()), 0..20_000_u64],
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let needed = DirtyBitmap::words_needed(PageCount::new(size)).unwrap();
        let storage: Vec<AtomicWord> = (0..needed).map(|_| AtomicWord::new(0)).collect();
        let mut pair = Pair::new(&storage, size);
        for action in &actions {
            pair.perform(action);
            pair.assert_equal();
        }
        pair.perform(&Action::SweepWhole);
        pair.assert_equal();
    }

    #[test]
    fn every_page_is_marked_and_none_beyond(
        size in prop_oneof![prop::sample::select(SIZES.to_vec()), 0..20_000_u64],
        marked in 0..400_000_u64,
    ) {
        let needed = DirtyBitmap::words_needed(PageCount::new(size)).unwrap();
        let storage: Vec<AtomicWord> = (0..needed).map(|_| AtomicWord::new(0)).collect();
        let mut pair = Pair::new(&storage, size);
        pair.mark(marked);
        pair.mark_all();
        pair.assert_equal();
        pair.perform(&Action::SweepWhole);
        pair.assert_equal();
    }

    #[test]
    fn words_are_enough_for_the_pages_and_few_beyond(pages in 0..=1_u64 << 32) {
        let words = DirtyBitmap::words_needed(PageCount::new(pages)).unwrap();
        let bits = words as u64 * u64::from(monitor_core::memory::WORD_BITS);
        prop_assert!(bits >= pages);
        // Three words may be filled in part; the summaries take a sixteenth at the most.
        prop_assert!(bits <= pages + pages / 16 + 3 * 64);
    }
}
