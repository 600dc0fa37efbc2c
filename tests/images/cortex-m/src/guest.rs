//! The guest of both ends: its storage, keys and one register, and a program that changes them
//! while it is moved.
//!
//! The program runs in the interruption. Step `n` writes `n + 1` into the first word of a page and
//! mixes `n` into another word of it: most steps go to a few hot pages, each sixteenth to the next
//! page of the rest. What the storage has to be after so many steps can be computed again, so a
//! store that is lost, late or twice there is found.
//!
//! Source of truth: this file. Invariants: a store comes before its mark; a guest that does not
//! run changes nothing. Deliberately not here: how a monitor moves it (`ports`).

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use monitor_core::{
    limits::PAGE_BYTES,
    memory::{AtomicWord, DirtyBitmap, PageRun},
    ports::ErrorKind,
    units::{PageCount, PageNumber},
};
use portable_tests::random::Random;

/// Pages of the guest: two groups.
pub(crate) const PAGES: usize = 128;

/// The same, as the core has it.
pub(crate) const PAGE_COUNT: PageCount = PageCount::new(PAGES as u64);

/// Pages that are written all the time.
const HOT_PAGES: usize = 8;

/// One step of so many goes to the other pages.
const COLD_STEP: u32 = 16;

const PAGE_WORDS: usize = PAGE_BYTES / 4;

const MAP_WORDS: usize = match DirtyBitmap::words_needed(PAGE_COUNT) {
    Some(words) => words,
    None => panic!("the guest is within the limit"),
};

/// Referenced and changed.
const USED: u8 = 0x06;

/// The guest at the source.
pub(crate) static SOURCE: Guest = Guest::new();

/// The guest at the target, once it was moved.
pub(crate) static TARGET: Guest = Guest::new();

/// One page of guest storage.
type Page = [AtomicU32; PAGE_WORDS];

/// Storage, keys and register of a guest, and the maps of what has changed.
#[derive(Debug)]
pub(crate) struct Guest {
    pages: [Page; PAGES],
    keys: [AtomicU8; PAGES],
    page_marks: [AtomicWord; MAP_WORDS],
    key_marks: [AtomicWord; MAP_WORDS],
    /// Steps that the program has done: its only register.
    steps: AtomicU32,
    is_running: AtomicBool,
    is_tracked: AtomicBool,
}

impl Guest {
    const fn new() -> Self {
        Self {
            pages: [const { [const { AtomicU32::new(0) }; PAGE_WORDS] }; PAGES],
            keys: [const { AtomicU8::new(0) }; PAGES],
            page_marks: [const { AtomicWord::new(0) }; MAP_WORDS],
            key_marks: [const { AtomicWord::new(0) }; MAP_WORDS],
            steps: AtomicU32::new(0),
            is_running: AtomicBool::new(false),
            is_tracked: AtomicBool::new(false),
        }
    }

    /// Storage and keys of a guest that was set up and has done no step.
    pub(crate) fn load(&self) {
        for (number, page) in self.pages.iter().enumerate() {
            for (place, word) in page.iter().enumerate() {
                word.store(first_word(number, place), Relaxed);
            }
        }
        for (key, access) in self.keys.iter().zip(0..) {
            key.store(access << 4, Relaxed);
        }
    }

    /// Fills storage and keys with what no guest has.
    pub(crate) fn soil(&self) {
        for word in self.pages.iter().flatten() {
            word.store(0x5011_5011, Relaxed);
        }
        for key in &self.keys {
            key.store(0xF8, Relaxed);
        }
    }

    /// The map of changed pages.
    pub(crate) fn page_map(&self) -> DirtyBitmap<'_> {
        DirtyBitmap::try_new(&self.page_marks, PAGE_COUNT).expect("the words are enough")
    }

    /// The map of changed keys.
    pub(crate) fn key_map(&self) -> DirtyBitmap<'_> {
        DirtyBitmap::try_new(&self.key_marks, PAGE_COUNT).expect("the words are enough")
    }

    /// From now on changes are marked, or not.
    pub(crate) fn set_tracked(&self, on: bool) {
        self.is_tracked.store(on, Relaxed);
    }

    /// Lets the program run, or stops it behind a whole step.
    pub(crate) fn set_running(&self, on: bool) {
        self.is_running.store(on, Relaxed);
    }

    /// Steps that the program has done.
    pub(crate) fn steps(&self) -> u32 {
        self.steps.load(Relaxed)
    }

    /// Loads the register.
    pub(crate) fn set_steps(&self, steps: u32) {
        self.steps.store(steps, Relaxed);
    }

    /// One step of the program, if it runs.
    pub(crate) fn run(&self) {
        if !self.is_running.load(Relaxed) {
            return;
        }
        let step = self.steps();
        let number = page_of(step);
        change(&self.pages[number], step);
        let key_before = self.keys[number].fetch_or(USED, Relaxed);
        if self.is_tracked.load(Relaxed) {
            let page = PageNumber::new(number as u64);
            self.page_map().mark(page).expect("a page of the guest");
            if key_before & USED != USED {
                self.key_map().mark(page).expect("a page of the guest");
            }
        }
        self.steps.store(step + 1, Relaxed);
    }

    /// Copies pages of the guest.
    pub(crate) fn copy_out(&self, run: PageRun, target: &mut [u8]) -> Result<(), ErrorKind> {
        for (number, bytes) in run.pages().zip(target.chunks_exact_mut(PAGE_BYTES)) {
            for (word, bytes) in self.page(number)?.iter().zip(bytes.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&word.load(Relaxed).to_be_bytes());
            }
        }
        Ok(())
    }

    /// Writes pages of the guest.
    pub(crate) fn copy_in(&self, run: PageRun, source: &[u8]) -> Result<(), ErrorKind> {
        for (number, bytes) in run.pages().zip(source.chunks_exact(PAGE_BYTES)) {
            let (words, _) = bytes.as_chunks();
            for (word, bytes) in self.page(number)?.iter().zip(words) {
                word.store(u32::from_be_bytes(*bytes), Relaxed);
            }
        }
        Ok(())
    }

    /// The key of a page.
    pub(crate) fn key(&self, number: PageNumber) -> Result<&AtomicU8, ErrorKind> {
        self.keys.get(index(number)).ok_or(ErrorKind::OutOfRange)
    }

    fn page(&self, number: PageNumber) -> Result<&Page, ErrorKind> {
        self.pages.get(index(number)).ok_or(ErrorKind::OutOfRange)
    }

    /// The pages that differ from those of another guest, in content or key.
    pub(crate) fn differences(&self, other: &Self) -> usize {
        let same = |page: &usize| {
            let key = self.keys[*page].load(Relaxed) == other.keys[*page].load(Relaxed);
            let words = self.pages[*page].iter().zip(&other.pages[*page]);
            key && words.into_iter().all(|(one, two)| one.load(Relaxed) == two.load(Relaxed))
        };
        (0..PAGES).filter(|page| !same(page)).count()
    }

    /// Whether the storage is what the program's steps, done one after the other, make of it.
    pub(crate) fn is_as_computed(&self) -> bool {
        let computed: Page = [const { AtomicU32::new(0) }; PAGE_WORDS];
        (0..PAGES).all(|number| {
            for (place, word) in computed.iter().enumerate() {
                word.store(first_word(number, place), Relaxed);
            }
            for step in (0..self.steps()).filter(|step| page_of(*step) == number) {
                change(&computed, step);
            }
            let words = computed.iter().zip(&self.pages[number]);
            words.into_iter().all(|(one, two)| one.load(Relaxed) == two.load(Relaxed))
        })
    }
}

fn index(page: PageNumber) -> usize {
    usize::try_from(page.get()).unwrap_or(usize::MAX)
}

/// A word of a new guest: each fourth page is zero, the others name themselves.
fn first_word(page: usize, place: usize) -> u32 {
    let name = u32::try_from(page << 16 | place).unwrap_or_default();
    if page % 4 == 3 { 0 } else { name }
}

/// The page into which a step stores.
fn page_of(step: u32) -> usize {
    let at = |step: u32| usize::try_from(step).unwrap_or_default();
    if step.is_multiple_of(COLD_STEP) {
        HOT_PAGES + at(step / COLD_STEP) % (PAGES - HOT_PAGES)
    } else {
        at(step) % HOT_PAGES
    }
}

/// What a step does to its page.
fn change(page: &Page, step: u32) {
    page[0].store(step + 1, Relaxed);
    let place = 1 + Random::new(step.into()).index(PAGE_WORDS - 1);
    let word = &page[place];
    word.store(word.load(Relaxed).rotate_left(5) ^ step, Relaxed);
}
