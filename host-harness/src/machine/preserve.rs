//! Keeps what storage was at one moment, for the checker that compares source and target.
//!
//! Source of truth: `storage`, which asks here before each first store into a page.
//!
//! Invariants: a page's content is kept before the page is flagged, and a store goes ahead only
//! after it has seen the flag, so the kept content is that of the moment at which preserving
//! began; a key or state is kept before its first change. Beginning costs nothing, whatever the
//! size of storage, since a guest waits for it. Deliberately not here: comparing.

use super::{lock, storage::copy_words};
use monitor_core::limits::PAGE_BYTES;
use std::{
    collections::BTreeMap,
    fmt, iter,
    sync::{
        Mutex,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

/// Pages, keys and states as they were when preserving began.
pub(super) struct Preserved {
    flags: Box<[AtomicBool]>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    pages: BTreeMap<usize, Box<[u8; PAGE_BYTES]>>,
    keys: BTreeMap<usize, u8>,
    states: BTreeMap<usize, u8>,
}

impl Preserved {
    pub(super) fn new(page_count: usize) -> Self {
        let flags = iter::repeat_with(AtomicBool::default).take(page_count).collect();
        Self { flags, kept: Mutex::default() }
    }

    /// Drops what was kept.
    pub(super) fn end(&self) {
        let mut kept = lock(&self.kept);
        *kept = Kept::default();
        for flag in &self.flags {
            flag.store(false, Relaxed);
        }
    }

    /// Keeps the content of `page` unless it is kept already.
    pub(super) fn keep(&self, page: usize, words: &[AtomicU64]) {
        if self.flags[page].load(Acquire) {
            return;
        }
        let mut kept = lock(&self.kept);
        kept.pages.entry(page).or_insert_with(|| {
            let mut content = Box::new([0; PAGE_BYTES]);
            copy_words(words, content.as_mut_slice());
            content
        });
        self.flags[page].store(true, Release);
    }

    /// Keeps the key of `page`, which is about to change, unless it is kept already.
    pub(super) fn keep_key(&self, page: usize, key: impl FnOnce() -> u8) {
        lock(&self.kept).keys.entry(page).or_insert_with(key);
    }

    /// Keeps the state of `page`, which may be about to change, unless it is kept already.
    pub(super) fn keep_state(&self, page: usize, state: impl FnOnce() -> u8) {
        lock(&self.kept).states.entry(page).or_insert_with(state);
    }

    /// Copies the kept content of `page`, or else its `words`: while the lock is held nobody
    /// makes a first store into the page.
    pub(super) fn page(&self, page: usize, words: &[AtomicU64], target: &mut [u8; PAGE_BYTES]) {
        match lock(&self.kept).pages.get(&page) {
            Some(content) => *target = **content,
            None => copy_words(words, target),
        }
    }

    /// The kept key of `page`, or else its `key` as it is: while the lock is held nobody makes
    /// the first change of it.
    pub(super) fn key(&self, page: usize, key: impl FnOnce() -> u8) -> u8 {
        lock(&self.kept).keys.get(&page).copied().unwrap_or_else(key)
    }

    /// The kept state of `page`, or else its `state` as it is.
    pub(super) fn state(&self, page: usize, state: impl FnOnce() -> u8) -> u8 {
        lock(&self.kept).states.get(&page).copied().unwrap_or_else(state)
    }
}

impl fmt::Debug for Preserved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Preserved").finish_non_exhaustive()
    }
}
