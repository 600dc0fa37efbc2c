//! Tests of the dirty bitmap, compiled once for each width of a word.
//!
//! Source of truth: the promises in the head of `bitmap.rs`. Deliberately not here: random
//! operations against a model, which are integration tests.

use super::*;
use std::{format, string::ToString, sync::atomic::AtomicU64, thread, vec, vec::Vec};

fn words(pages: u64) -> Vec<AtomicWord> {
    let count = DirtyBitmap::words_needed(PageCount::new(pages)).unwrap();
    (0..count).map(|_| AtomicWord::new(0)).collect()
}

fn map(storage: &[AtomicWord], pages: u64) -> DirtyBitmap<'_> {
    DirtyBitmap::try_new(storage, PageCount::new(pages)).unwrap()
}

fn taken(map: &DirtyBitmap<'_>, sweep: &mut Sweep) -> Vec<u64> {
    core::iter::from_fn(|| map.take_next(sweep))
        .flat_map(PageRun::pages)
        .map(PageNumber::get)
        .collect()
}

fn mark_pages(map: &DirtyBitmap<'_>, pages: &[u64]) {
    for page in pages {
        map.mark(PageNumber::new(*page)).unwrap();
    }
}

#[test]
fn storage_of_the_needed_size_is_enough_and_a_word_less_is_refused() {
    for pages in [0, 1, 64, 65, 4096, 4097, 300_001] {
        let storage = words(pages);
        let count = PageCount::new(pages);
        assert!(DirtyBitmap::try_new(&storage, count).is_ok());
        if let Some((_, fewer)) = storage.split_last() {
            let refused = DirtyBitmap::try_new(fewer, count).map(|map| map.page_count());
            assert_eq!(refused, Err(BitmapError::StorageTooSmall));
        }
    }
}

#[test]
fn guest_beyond_the_limit_is_refused() {
    let pages = PageCount::new(GUEST_PAGES_MAX + 1);
    assert_eq!(DirtyBitmap::words_needed(pages), None);
    let refused = DirtyBitmap::try_new(&[], pages).map(|map| map.page_count());
    assert_eq!(refused, Err(BitmapError::TooManyPages));
    assert!(DirtyBitmap::words_needed(PageCount::new(GUEST_PAGES_MAX)).is_some());
}

#[test]
fn marked_pages_are_taken_once_in_ascending_order() {
    let storage = words(1 << 20);
    let map = map(&storage, 1 << 20);
    let pages = vec![0, 31, 32, 63, 64, 4095, 4096, 262_143, 262_144, 1_048_575];
    mark_pages(&map, &pages);
    mark_pages(&map, &pages);
    assert_eq!(map.count().get(), 10);
    assert_eq!(taken(&map, &mut Sweep::new()), pages);
    assert!(map.is_empty());
    assert_eq!(taken(&map, &mut Sweep::new()), vec![]);
}

#[test]
fn page_beyond_the_guest_is_refused_and_nothing_is_marked() {
    let storage = words(100);
    let map = map(&storage, 100);
    let beyond = PageRun { group: GroupNumber::new(1), mask: 1 | 1 << 36 };
    assert_eq!(map.mark(PageNumber::new(100)), Err(OutOfRange));
    assert_eq!(map.mark(PageNumber::new(u64::MAX)), Err(OutOfRange));
    assert_eq!(map.mark_range(PageNumber::new(90), PageCount::new(11)), Err(OutOfRange));
    assert_eq!(map.mark_range(PageNumber::new(1), PageCount::new(u64::MAX)), Err(OutOfRange));
    assert_eq!(map.put_back(beyond), Err(OutOfRange));
    assert!(!map.is_marked(PageNumber::new(100)));
    assert!(!map.is_marked(PageNumber::new(u64::MAX)));
    assert!(storage.iter().all(|word| word.load(Ordering::Relaxed) == 0));
}

#[test]
fn range_marks_exactly_its_pages_across_words_of_every_level() {
    let storage = words(600_000);
    let map = map(&storage, 600_000);
    for (first, count) in [(0, 1), (31, 2), (60, 8), (64, 64), (4000, 5000), (262_100, 70_000)] {
        map.mark_range(PageNumber::new(first), PageCount::new(count)).unwrap();
        assert_eq!(map.count().get(), count);
        assert_eq!(taken(&map, &mut Sweep::new()), (first..first + count).collect::<Vec<_>>());
    }
    map.mark_range(PageNumber::new(600_000), PageCount::new(0)).unwrap();
    assert!(map.is_empty());
}

#[test]
fn all_pages_of_an_odd_guest_are_marked_and_none_beyond() {
    for pages in [0, 1, 63, 64, 65, 4097, 262_145] {
        let storage = words(pages);
        let map = map(&storage, pages);
        map.mark_all();
        assert_eq!(map.count().get(), pages);
        assert_eq!(taken(&map, &mut Sweep::new()), (0..pages).collect::<Vec<_>>());
    }
}

#[test]
fn sweep_dropped_half_way_leaves_the_rest_to_the_next() {
    let storage = words(10_000);
    let map = map(&storage, 10_000);
    mark_pages(&map, &[5, 70, 71, 9_999]);
    let first = map.take_next(&mut Sweep::new()).unwrap();
    assert_eq!(first, PageRun { group: GroupNumber::new(0), mask: 1 << 5 });
    assert_eq!(taken(&map, &mut Sweep::new()), vec![70, 71, 9_999]);
}

#[test]
fn sweep_finds_marks_ahead_of_it_and_leaves_those_behind() {
    let storage = words(10_000);
    let map = map(&storage, 10_000);
    let mut sweep = Sweep::new();
    mark_pages(&map, &[300]);
    assert!(map.take_next(&mut sweep).is_some());
    mark_pages(&map, &[1, 301, 400, 9_000]);
    assert_eq!(taken(&map, &mut sweep), vec![400, 9_000]);
    mark_pages(&map, &[9_500]);
    assert_eq!(map.take_next(&mut sweep), None);
    assert_eq!(taken(&map, &mut Sweep::new()), vec![1, 301, 9_500]);
}

#[test]
fn run_put_back_is_taken_again() {
    let storage = words(10_000);
    let map = map(&storage, 10_000);
    mark_pages(&map, &[5_000, 5_001]);
    let run = map.take_next(&mut Sweep::new()).unwrap();
    mark_pages(&map, &[5_002]);
    map.put_back(run).unwrap();
    assert!(map.is_marked(PageNumber::new(5_001)));
    assert_eq!(taken(&map, &mut Sweep::new()), vec![5_000, 5_001, 5_002]);
}

#[test]
fn run_put_back_into_a_clean_map_is_found_on_every_level() {
    let storage = words(1 << 20);
    let map = map(&storage, 1 << 20);
    for group in [1, 100, 5_000, 16_383] {
        map.put_back(PageRun { group: GroupNumber::new(group), mask: 0b101 }).unwrap();
        assert_eq!(taken(&map, &mut Sweep::new()), vec![group * 64, group * 64 + 2]);
    }
}

/// A marker that sets a top bit late finds that a sweep has cleared the middle word already.
#[test]
fn top_bits_above_clean_words_are_passed_over() {
    let storage = words(1 << 20);
    let map = map(&storage, 1 << 20);
    mark_pages(&map, &[0, 1_048_575]);
    storage.last().unwrap().fetch_or(0b111, Ordering::Relaxed);
    assert_eq!(map.count().get(), 2);
    assert_eq!(taken(&map, &mut Sweep::new()), vec![0, 1_048_575]);
    assert!(map.is_empty());
}

#[test]
fn map_and_its_errors_say_what_they_are() {
    let storage = words(100);
    assert!(format!("{:?}", map(&storage, 100)).contains("PageCount(100)"));
    let texts = [
        BitmapError::StorageTooSmall.to_string(),
        BitmapError::TooManyPages.to_string(),
        OutOfRange.to_string(),
    ];
    assert_eq!(
        texts,
        [
            "not enough storage for the bitmap",
            "too many pages for a bitmap",
            "page beyond the guest"
        ]
    );
}

#[test]
fn whole_sweep_leaves_no_bit_on_any_level() {
    let storage = words(1 << 20);
    let map = map(&storage, 1 << 20);
    mark_pages(&map, &[1, 100, 5_000, 700_000]);
    // The dropped sweep leaves summary bits of a group that is clean.
    assert!(map.take_next(&mut Sweep::new()).is_some());
    assert_eq!(taken(&map, &mut Sweep::new()), vec![100, 5_000, 700_000]);
    assert!(storage.iter().all(|word| word.load(Ordering::Relaxed) == 0));
}

#[test]
fn cleared_map_has_no_mark_and_counting_clears_none() {
    let storage = words(5_000);
    let map = map(&storage, 5_000);
    mark_pages(&map, &[1, 4_999]);
    assert_eq!((map.count().get(), map.count().get(), map.is_empty()), (2, 2, false));
    map.clear_all();
    assert!(map.is_empty());
    assert_eq!(taken(&map, &mut Sweep::new()), vec![]);
}

/// Three threads store into pages and mark them while a fourth copies what it takes: in the
/// end the copy is the original.
#[test]
fn no_store_is_lost_between_threads() {
    const PAGES: u64 = 300;
    const STORES: u64 = 200_000;
    let storage = words(PAGES);
    let map = map(&storage, PAGES);
    let original: Vec<_> = (0..PAGES).map(|_| AtomicU64::new(0)).collect();
    let mut copy = vec![0; original.len()];
    let mut copy_whole_sweep = || {
        for page in taken(&map, &mut Sweep::new()) {
            copy[page as usize] = original[page as usize].load(Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let guests: Vec<_> = (1..=3)
            .map(|guest: u64| {
                let original = &original;
                scope.spawn(move || {
                    let mut state = guest;
                    for _ in 0..STORES {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                        let page = (state >> 33) % PAGES;
                        original[page as usize].store(state, Ordering::Relaxed);
                        map.mark(PageNumber::new(page)).unwrap();
                    }
                })
            })
            .collect();
        while guests.iter().any(|guest| !guest.is_finished()) {
            copy_whole_sweep();
        }
    });
    copy_whole_sweep();
    let original: Vec<_> = original.into_iter().map(AtomicU64::into_inner).collect();
    assert_eq!(copy, original);
}
