//! The dirty bitmap loses no store, in whatever order its threads act; with a fault it does.
//!
//! Source of truth: the section "Order" in the head of `memory/bitmap.rs`; the faults are planted
//! by `build.rs` and by the callers of the scenarios. Each test of the sound bitmap prints how many
//! executions loom has tried. Invariant: each fault is found by a scenario that the sound bitmap
//! passes. Deliberately not here: what a scenario is, which the library of this package says.

use loom_tests::{
    memory::variant,
    scenario::{
        Callers,
        Harvest::{Count, Dropped, PutBack, Whole},
        Region, Scenario, Store,
    },
};

/// A store into one page of the first region.
const fn store(first: u64) -> Store {
    Store { region: 0, first, count: 1 }
}

/// One region of so many pages.
const fn region(pages: u64, marked: &'static [u64]) -> Region {
    Region { pages, marked }
}

/// A store into a page while it is taken and copied.
const SAME_PAGE: Scenario =
    Scenario { regions: &[region(64, &[0])], guest: &[&[store(0)]], harvest: &[Whole(0)] };

/// As before, with a group ahead, so that the summaries are not looked at between take and copy.
const GROUP_AHEAD: Scenario =
    Scenario { regions: &[region(128, &[0, 64])], guest: &[&[store(0)]], harvest: &[Whole(0)] };

/// A store into a page that was clean, while the summaries above it are cleared.
const CLEAN_PAGE: Scenario =
    Scenario { regions: &[region(128, &[64])], guest: &[&[store(0)]], harvest: &[Whole(0)] };

/// Two threads that mark in one word.
const SAME_WORD: Scenario = Scenario {
    regions: &[region(64, &[])],
    guest: &[&[store(0)], &[store(1)]],
    harvest: &[Whole(0)],
};

/// Two threads that mark in two groups, one of them ahead of the harvester and one behind it.
const TWO_GROUPS: Scenario = Scenario {
    regions: &[region(192, &[64])],
    guest: &[&[store(0)], &[store(128)]],
    harvest: &[Whole(0)],
};

/// One thread that marks twice, and a page that it has marked before.
const TWICE: Scenario = Scenario {
    regions: &[region(128, &[0])],
    guest: &[&[store(0), store(64), store(0)]],
    harvest: &[Whole(0)],
};

/// A page, and the whole word that it is in.
const FULL_WORD: Scenario = Scenario {
    regions: &[region(64, &[])],
    guest: &[&[store(0)], &[Store { region: 0, first: 0, count: 64 }]],
    harvest: &[Whole(0)],
};

/// A range over two groups whose middle bits are set together.
const RANGE: Scenario = Scenario {
    regions: &[region(192, &[64])],
    guest: &[&[Store { region: 0, first: 60, count: 100 }]],
    harvest: &[Whole(0)],
};

/// A group whose middle word is not the first, so that the top bits matter.
const SECOND_MIDDLE: Scenario =
    Scenario { regions: &[region(4160, &[4096])], guest: &[&[store(4097)]], harvest: &[Whole(0)] };

/// Two threads in two middle words.
const TWO_MIDDLES: Scenario = Scenario {
    regions: &[region(4160, &[4096])],
    guest: &[&[store(4097)], &[store(0)]],
    harvest: &[Whole(0)],
};

/// Runs that do not arrive, while the guest marks one of their pages and another one.
const RETURNED: Scenario = Scenario {
    regions: &[region(128, &[0, 64])],
    guest: &[&[store(0), store(1)]],
    harvest: &[PutBack(0)],
};

/// A sweep that is dropped, and another one from the beginning.
const ABANDONED: Scenario = Scenario {
    regions: &[region(192, &[0, 64])],
    guest: &[&[store(0)], &[store(64)]],
    harvest: &[Dropped(0), Dropped(0)],
};

/// Two sweeps, of which the second meets what the first has left.
const TWO_SWEEPS: Scenario = Scenario {
    regions: &[region(64, &[0])],
    guest: &[&[store(0)], &[store(0)]],
    harvest: &[Whole(0), Whole(0)],
};

/// Counts while marks come and go.
const COUNTED: Scenario = Scenario {
    regions: &[region(128, &[0])],
    guest: &[&[store(0)], &[store(64)]],
    harvest: &[Count(0, 2), Whole(0), Count(0, 2)],
};

/// A guest whose storage is two regions, each with a map.
const TWO_REGIONS: Scenario = Scenario {
    regions: &[region(64, &[0]), region(128, &[64])],
    guest: &[&[store(0), Store { region: 1, first: 64, count: 1 }]],
    harvest: &[Whole(0), Whole(1)],
};

macro_rules! sound {
    ($($test:ident: $scenario:ident,)*) => {
        $(
            #[test]
            fn $test() {
                let executions = $scenario.explore::<variant::sound::Bitmap>(Callers::Sound);
                println!("{}: {executions} executions", stringify!($scenario));
                assert!(executions > 1, "the threads do not meet");
            }
        )*
    };
}

sound! {
    store_into_a_page_that_is_taken_is_not_lost: SAME_PAGE,
    store_into_a_page_before_other_pages_is_not_lost: GROUP_AHEAD,
    mark_below_a_summary_that_is_cleared_is_found: CLEAN_PAGE,
    marks_of_two_threads_in_one_word_are_found: SAME_WORD,
    marks_of_two_threads_in_two_groups_are_found: TWO_GROUPS,
    page_that_is_marked_twice_is_found: TWICE,
    store_before_the_mark_of_a_whole_word_is_not_lost: FULL_WORD,
    range_that_is_marked_at_once_is_found: RANGE,
    mark_below_a_top_bit_that_is_cleared_is_found: SECOND_MIDDLE,
    marks_of_two_threads_below_two_top_bits_are_found: TWO_MIDDLES,
    run_that_is_put_back_is_found: RETURNED,
    sweep_that_is_dropped_loses_nothing: ABANDONED,
    second_sweep_finds_what_the_first_has_left: TWO_SWEEPS,
    counting_takes_nothing: COUNTED,
    regions_do_not_disturb_each_other: TWO_REGIONS,
}

macro_rules! faulty {
    ($($test:ident: $fault:ident in $scenario:ident,)*) => {
        $(
            #[test]
            fn $test() {
                assert!($scenario.fails::<variant::$fault::Bitmap>(Callers::Sound));
            }
        )*
    };
}

faulty! {
    mark_without_release_is_caught: relaxed_mark in SAME_PAGE,
    mark_of_a_word_without_release_is_caught: relaxed_full_mark in FULL_WORD,
    mark_of_a_word_by_a_plain_store_is_caught: stored_full_mark in FULL_WORD,
    take_without_acquire_is_caught: relaxed_take in GROUP_AHEAD,
    mark_that_is_left_out_when_set_is_caught: tested_mark in SAME_PAGE,
    list_before_mark_is_caught: listed_before_marked in CLEAN_PAGE,
    list_without_release_is_caught: relaxed_list in CLEAN_PAGE,
    settle_without_acquire_is_caught: relaxed_settle in CLEAN_PAGE,
    settle_after_look_is_caught: settled_after_look in CLEAN_PAGE,
    settle_without_look_is_caught: settled_without_look in CLEAN_PAGE,
    top_without_release_is_caught: relaxed_top in SECOND_MIDDLE,
    top_without_acquire_is_caught: relaxed_top_settle in SECOND_MIDDLE,
    top_without_look_is_caught: top_without_look in SECOND_MIDDLE,
}

#[test]
fn guest_that_marks_before_its_store_is_caught() {
    assert!(SAME_PAGE.fails::<variant::sound::Bitmap>(Callers::MarkBeforeStore));
}

#[test]
fn harvester_that_copies_before_it_takes_is_caught() {
    assert!(SAME_PAGE.fails::<variant::sound::Bitmap>(Callers::CopyBeforeTake));
}

#[test]
fn harvester_that_forgets_to_put_back_is_caught() {
    assert!(RETURNED.fails::<variant::sound::Bitmap>(Callers::ForgetPutBack));
}
