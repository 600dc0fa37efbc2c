//! The dirty bitmap against an interruption: what it stores and marks while a sweep takes and
//! copies is never lost, although a word has 32 bits and its atomics are pairs of instructions.
//!
//! Source of truth: `monitor_core::memory`, "Order". Invariants: between two sweeps a page is equal
//! or marked; once the interruption has ended, a last sweep makes the copy equal. The machine has
//! to count instructions, so that the interruption comes between any two of them. Deliberately not
//! here: several processors, which `tests/loom` has.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use defmt::println;
use monitor_core::{
    memory::{AtomicWord, DirtyBitmap, Sweep},
    units::{PageCount, PageNumber},
};
use portable_tests::random::Random;

use crate::board;

/// Pages that are stored into: the first and the last ones of a guest, whose bits lie below
/// different words of every level but the top one.
const PAGES: usize = 100;

/// Pages of the guest.
const GUEST_PAGES: PageCount = PageCount::new(4_200);

const MAP_WORDS: usize = match DirtyBitmap::words_needed(GUEST_PAGES) {
    Some(words) => words,
    None => panic!("the guest is within the limit"),
};

/// Stores of the interruption.
const STORES: u32 = 100_000;

/// Sweeps between two looks at the whole copy. A store that was lost is found if no other one
/// goes to the same page before.
const SWEEPS_PER_LOOK: u32 = 8;

static WORDS: [AtomicWord; MAP_WORDS] = [const { AtomicWord::new(0) }; MAP_WORDS];

/// The original: one number stands for a page.
static ORIGINAL: [AtomicU32; PAGES] = [const { AtomicU32::new(0) }; PAGES];

static STORED: AtomicU32 = AtomicU32::new(0);

fn map() -> DirtyBitmap<'static> {
    DirtyBitmap::try_new(&WORDS, GUEST_PAGES).expect("there are enough words")
}

/// The page of this place in the original.
const fn page(place: usize) -> PageNumber {
    let behind = if place < PAGES / 2 { 0 } else { GUEST_PAGES.get() - PAGES as u64 };
    PageNumber::new(place as u64 + behind)
}

/// The place of a page in the original.
fn place(page: PageNumber) -> usize {
    let behind = page.get().saturating_sub(GUEST_PAGES.get() - PAGES as u64);
    usize::try_from(if behind == 0 { page.get() } else { behind }).expect("a page that is marked")
}

/// The interruption: stores into up to four pages and marks them. Its length differs, so that it
/// comes at any place of a sweep.
pub(crate) fn interrupt() {
    let count = STORED.load(Ordering::Relaxed);
    let mut random = Random::new(count.into());
    let last = STORES.min(count + 1 + u32::from(random.byte() % 4));
    for store in count..last {
        let place = random.index(PAGES);
        ORIGINAL[place].store(store + 1, Ordering::Relaxed);
        map().mark(page(place)).expect("a page of the map");
    }
    STORED.store(last, Ordering::Relaxed);
}

/// Copies what is marked until the interruption has stored everything.
pub(crate) fn run(timer: &mut SYST) {
    let map = map();
    let mut copy = [0; PAGES];
    board::start_race(timer);
    let mut sweeps = 0_u32;
    while STORED.load(Ordering::Relaxed) < STORES {
        sweep(&map, &mut copy);
        sweeps += 1;
        if sweeps.is_multiple_of(SWEEPS_PER_LOOK) {
            cortex_m::interrupt::free(|_| look(&map, &copy));
        }
    }
    board::stop(timer);
    sweep(&map, &mut copy);
    // A mark that no sweep finds any more is lost as well.
    map.clear_all();
    look(&map, &copy);
    println!("race: {=u32} stores of an interruption, none lost", STORES);
    defmt::debug!("measured: {=u32} sweeps while the interruption stored", sweeps);
}

/// Copies what is marked.
fn sweep(map: &DirtyBitmap<'_>, copy: &mut [u32; PAGES]) {
    let mut sweep = Sweep::new();
    while let Some(run) = map.take_next(&mut sweep) {
        for place in run.pages().map(place) {
            copy[place] = ORIGINAL[place].load(Ordering::Relaxed);
        }
    }
}

/// Each page is equal or marked; nothing is stored meanwhile.
fn look(map: &DirtyBitmap<'_>, copy: &[u32; PAGES]) {
    for (place, (copied, original)) in copy.iter().zip(&ORIGINAL).enumerate() {
        let is_equal = *copied == original.load(Ordering::Relaxed);
        let is_kept = is_equal || map.is_marked(page(place));
        assert!(is_kept, "a store into page {} is lost", page(place).get());
    }
}
