//! Guest storage: doublewords that processors, channels and the monitor share without a lock,
//! with storage keys, and the noting of what changes.
//!
//! Source of truth: Principles of Operation, chapter "Storage" (big-endian doublewords, storage
//! keys, reference and change bits).
//!
//! Invariants: a guest's store writes, then sets reference and change in the key, then marks the
//! page, so that who takes the mark and copies afterwards has the store. A load or SET STORAGE
//! KEY that changes a key marks the page in the map of keys. Where changes are tracked by keys,
//! stores and loads mark nothing, and [`Storage::collect`] finds what they have set in the keys.
//! While content is preserved, a page is kept before its first store. Deliberately not here:
//! translation and key-controlled protection.

mod keys;
mod states;
mod tracking;

pub use self::tracking::Tracking;

use self::keys::{CHANGE, Keys, REFERENCE};
use super::preserve::Preserved;
use monitor_core::{
    limits::PAGE_BYTES,
    memory::{AtomicWord, DirtyBitmap, KeyShadow, PageRun, StorageKey},
    units::{PageCount, PageNumber},
};
use std::{
    fmt, iter,
    sync::atomic::{
        AtomicU8, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// Doublewords of one page.
const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// Mode bit: changes are noted in the maps.
const TRACKING: u32 = 1;

/// Mode bit: a page is kept before its first store.
const PRESERVING: u32 = 2;

/// Mode bit: accesses are noted in the keys alone.
const COLLECTING: u32 = 4;

/// Mode bit: there is, or was, a page whose content was dropped.
const DISCARDED: u32 = 8;

/// Mode bit: changes are to be tracked by keys.
const BY_KEYS: u32 = 16;

/// Mode bit: the guest has no storage keys; all are zero.
const KEYLESS: u32 = 32;

/// An addressing exception: the address is outside of the guest's storage, or a doubleword is
/// not on its boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFault;

impl fmt::Display for AddressFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("address outside of guest storage")
    }
}

impl std::error::Error for AddressFault {}

/// What storage is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zero.
    Zero,
    /// Words that no compression makes smaller.
    Random,
}

/// The storage of one guest.
pub struct Storage {
    page_count: PageCount,
    words: Vec<AtomicU64>,
    keys: Keys,
    states: Box<[AtomicU8]>,
    mode: AtomicU32,
    pages_map: Box<[AtomicWord]>,
    keys_map: Box<[AtomicWord]>,
    preserved: Preserved,
}

impl Storage {
    /// Storage of zeros with keys of zero. Every page is touched, so that no later access waits
    /// for the host to provide it.
    ///
    /// # Panics
    /// Panics when the host cannot address so many pages.
    #[must_use]
    pub fn new(pages: PageCount) -> Self {
        Self::reusing(pages, Vec::new())
    }

    /// The same in the memory of storage that is no longer used, which its words were.
    ///
    /// # Panics
    /// Panics when the host cannot address so many pages.
    #[must_use]
    pub fn reusing(pages: PageCount, mut words: Vec<AtomicU64>) -> Self {
        let page_count = usize::try_from(pages.get()).expect("pages that the host can address");
        let map_words = DirtyBitmap::words_needed(pages).expect("pages within the limits");
        let map = || iter::repeat_with(AtomicWord::default).take(map_words).collect();
        words.clear();
        words.extend(iter::repeat_with(AtomicU64::default).take(page_count * PAGE_WORDS));
        let storage = Self {
            page_count: pages,
            words,
            keys: Keys::new(page_count),
            states: iter::repeat_with(AtomicU8::default).take(page_count).collect(),
            mode: AtomicU32::new(0),
            pages_map: map(),
            keys_map: map(),
            preserved: Preserved::new(page_count),
        };
        for word in storage.words.iter().step_by(PAGE_WORDS) {
            word.store(0, Relaxed);
        }
        storage
    }

    /// The memory of the words, for other storage.
    #[must_use]
    pub fn into_words(self) -> Vec<AtomicU64> {
        self.words
    }

    /// The number of pages.
    #[must_use]
    pub const fn page_count(&self) -> PageCount {
        self.page_count
    }

    /// Fills all pages; not an access of the guest, so no key changes and nothing is marked.
    pub fn fill(&self, fill: Fill, seed: u64) {
        let mut state = seed;
        for word in &self.words {
            let value = match fill {
                Fill::Zero => 0,
                Fill::Random => split_mix(&mut state),
            };
            word.store(value, Relaxed);
        }
    }

    /// Loads the doubleword at `address`.
    ///
    /// # Errors
    /// Fails outside of storage and off a doubleword boundary.
    pub fn load(&self, address: u64) -> Result<u64, AddressFault> {
        let index = aligned_index(address)?;
        let value = self.words.get(index).ok_or(AddressFault)?.load(Relaxed);
        self.note_load(index / PAGE_WORDS);
        Ok(value)
    }

    /// Stores the doubleword at `address`.
    ///
    /// # Errors
    /// Fails outside of storage and off a doubleword boundary.
    pub fn store(&self, address: u64, value: u64) -> Result<(), AddressFault> {
        let index = aligned_index(address)?;
        let word = self.words.get(index).ok_or(AddressFault)?;
        let page = index / PAGE_WORDS;
        self.prepare_store(page);
        word.store(value, Relaxed);
        self.note_store(page);
        Ok(())
    }

    /// Loads bytes from any address.
    ///
    /// # Errors
    /// Fails when a byte lies outside of storage; `target` is then unchanged.
    pub fn load_bytes(&self, address: u64, target: &mut [u8]) -> Result<(), AddressFault> {
        let mut rest = target;
        for piece in self.pieces(address, rest.len())? {
            let (part, behind) = rest.split_at_mut(piece.length);
            let bytes = self.words[piece.index].load(Relaxed).to_be_bytes();
            part.copy_from_slice(&bytes[piece.first..piece.first + piece.length]);
            rest = behind;
            if piece.ends_page {
                self.note_load(piece.index / PAGE_WORDS);
            }
        }
        Ok(())
    }

    /// Stores bytes at any address.
    ///
    /// # Errors
    /// Fails when a byte lies outside of storage; nothing is stored then.
    pub fn store_bytes(&self, address: u64, source: &[u8]) -> Result<(), AddressFault> {
        let mut rest = source;
        let mut prepared = None;
        for piece in self.pieces(address, source.len())? {
            let page = piece.index / PAGE_WORDS;
            if prepared.replace(page) != Some(page) {
                self.prepare_store(page);
            }
            let (part, behind) = rest.split_at(piece.length);
            self.store_piece(&piece, part);
            rest = behind;
            if piece.ends_page {
                self.note_store(page);
            }
        }
        Ok(())
    }

    /// The storage key of a page.
    ///
    /// # Panics
    /// Panics when there is no such page.
    #[must_use]
    pub fn key(&self, page: PageNumber) -> u8 {
        self.guest_key(page_index(page))
    }

    /// Takes the storage keys from the guest, which sees and moves none from then on. The hardware
    /// goes on noting accesses in its own.
    pub fn remove_keys(&self) {
        self.mode.fetch_or(KEYLESS, Release);
    }

    /// Whether the guest has storage keys.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.mode.load(Relaxed) & KEYLESS == 0
    }

    fn guest_key(&self, page: usize) -> u8 {
        if self.has_keys() { self.keys.guest(page) } else { 0 }
    }

    /// SET STORAGE KEY EXTENDED.
    ///
    /// # Panics
    /// Panics when there is no such page.
    pub fn set_key(&self, page: PageNumber, key: u8) {
        let key = StorageKey::new(key);
        self.change_key(page_index(page), |shadow| shadow.set(key));
    }

    /// RESET REFERENCE BIT EXTENDED: gives the condition code, which is twice the former
    /// reference bit plus the change bit.
    ///
    /// # Panics
    /// Panics when there is no such page.
    pub fn reset_reference(&self, page: PageNumber) -> u8 {
        let former = self.change_key(page_index(page), KeyShadow::reset_reference);
        (former & (REFERENCE | CHANGE)) >> 1
    }

    /// Copies the pages of `run` for the monitor, while the guest may go on writing.
    ///
    /// # Errors
    /// Fails when a page does not exist or `target` is too short.
    pub fn copy_out(&self, run: PageRun, target: &mut [u8]) -> Result<(), AddressFault> {
        let mut pages = target.chunks_exact_mut(PAGE_BYTES);
        for page in run.pages() {
            copy_words(self.page_words(page)?, pages.next().ok_or(AddressFault)?);
        }
        Ok(())
    }

    /// Writes the pages of `run` for the monitor.
    ///
    /// # Errors
    /// Fails when a page does not exist or `source` is too short.
    pub fn copy_in(&self, run: PageRun, source: &[u8]) -> Result<(), AddressFault> {
        let mut pages = source.chunks_exact(PAGE_BYTES);
        for page in run.pages() {
            let (chunks, _) = pages.next().ok_or(AddressFault)?.as_chunks();
            for (word, chunk) in self.page_words(page)?.iter().zip(chunks) {
                word.store(u64::from_be_bytes(*chunk), Relaxed);
            }
        }
        Ok(())
    }

    /// Whether a page is at `other` as it is here, for who compares them: its state is the same,
    /// and its content, which is zero there where it has none here.
    #[must_use]
    pub fn has_same_page(&self, other: &Self, page: PageNumber) -> bool {
        let (Ok(here), Ok(there)) = (self.page_words(page), other.page_words(page)) else {
            return false;
        };
        let state = self.state(page);
        let here = here.iter().map(|word| if state.has_content() { word.load(Relaxed) } else { 0 });
        state == other.state(page) && here.eq(there.iter().map(|word| word.load(Relaxed)))
    }

    /// Reads the keys of `run` for the monitor.
    ///
    /// # Errors
    /// Fails when a page does not exist or `target` is too short.
    pub fn keys_out(&self, run: PageRun, target: &mut [u8]) -> Result<(), AddressFault> {
        let mut places = target.iter_mut();
        for page in run.pages() {
            let page = self.page_of(page)?;
            *places.next().ok_or(AddressFault)? = self.keys.guest(page);
        }
        Ok(())
    }

    /// Sets the keys of `run` for the monitor.
    ///
    /// # Errors
    /// Fails when a page does not exist or `source` is too short.
    pub fn keys_in(&self, run: PageRun, source: &[u8]) -> Result<(), AddressFault> {
        let mut values = source.iter();
        for page in run.pages() {
            let page = self.page_of(page)?;
            self.keys.load(page, *values.next().ok_or(AddressFault)?);
        }
        Ok(())
    }

    /// Keeps, from now on, the former content of each page before its first store, and the former
    /// key before its first change. The VM is stopped at this moment, so that there is one former
    /// content. To be ended by [`Self::stop_preserve`] before it is begun again.
    pub fn start_preserve(&self) {
        self.mode.fetch_or(PRESERVING, Release);
    }

    /// The content that the page had when preserving began; without preserving, as it is.
    ///
    /// # Panics
    /// Panics when there is no such page.
    pub fn page_as_preserved(&self, page: PageNumber, target: &mut [u8; PAGE_BYTES]) {
        let words = self.page_words(page).expect("a page of this guest");
        self.preserved.page(page_index(page), words, target);
    }

    /// The key that the page had when preserving began; without preserving, as it is.
    ///
    /// # Panics
    /// Panics when there is no such page.
    #[must_use]
    pub fn key_as_preserved(&self, page: PageNumber) -> u8 {
        let index = page_index(page);
        self.preserved.key(index, || self.guest_key(index))
    }

    /// Ends preserving and drops what was kept.
    pub fn stop_preserve(&self) {
        self.mode.fetch_and(!PRESERVING, Release);
        self.preserved.end();
    }

    /// The index of a page that exists.
    fn page_of(&self, page: PageNumber) -> Result<usize, AddressFault> {
        Some(page_index(page)).filter(|page| self.keys.has(*page)).ok_or(AddressFault)
    }

    fn page_words(&self, page: PageNumber) -> Result<&[AtomicU64], AddressFault> {
        let first = page_index(page).checked_mul(PAGE_WORDS).ok_or(AddressFault)?;
        self.words.get(first..).and_then(|words| words.get(..PAGE_WORDS)).ok_or(AddressFault)
    }

    /// Keeps the page if its former content is wanted and not kept yet.
    #[inline]
    fn prepare_store(&self, page: usize) {
        if self.mode.load(Acquire) & PRESERVING != 0 {
            let first = page * PAGE_WORDS;
            self.preserved.keep(page, &self.words[first..first + PAGE_WORDS]);
        }
    }

    /// Keeps the key of a page, which is about to change, if it is wanted and not kept yet.
    fn prepare_key(&self, page: usize) {
        if self.mode.load(Acquire) & PRESERVING != 0 {
            self.preserved.keep_key(page, || self.guest_key(page));
        }
    }

    /// Keeps the state of a page, which may be about to change, if it is wanted and not kept yet.
    fn prepare_state(&self, page: usize) {
        if self.mode.load(Acquire) & PRESERVING != 0 {
            self.preserved.keep_state(page, || self.states[page].load(Acquire));
        }
    }

    /// Cuts `length` bytes at `address` into parts of doublewords, once all of them are known to
    /// exist.
    fn pieces(
        &self,
        address: u64,
        length: usize,
    ) -> Result<impl Iterator<Item = Piece> + use<>, AddressFault> {
        let start = usize::try_from(address).map_err(|_| AddressFault)?;
        let end = start.checked_add(length).ok_or(AddressFault)?;
        if end > self.words.len() * 8 {
            return Err(AddressFault);
        }
        let mut position = start;
        Ok(iter::from_fn(move || {
            let first = position % 8;
            let length = (8 - first).min(end - position);
            let index = position / 8;
            position += length;
            let ends_page = position == end || position.is_multiple_of(PAGE_BYTES);
            (length > 0).then_some(Piece { index, first, length, ends_page })
        }))
    }

    /// Stores a part of a doubleword and leaves its other bytes to whoever stores them meanwhile.
    fn store_piece(&self, piece: &Piece, part: &[u8]) {
        let word = &self.words[piece.index];
        if let Ok(whole) = part.try_into() {
            word.store(u64::from_be_bytes(whole), Relaxed);
            return;
        }
        let mut bytes = [0; 8];
        let mut mask = [0; 8];
        bytes[piece.first..piece.first + piece.length].copy_from_slice(part);
        mask[piece.first..piece.first + piece.length].fill(0xFF);
        let (new, mask) = (u64::from_be_bytes(bytes), u64::from_be_bytes(mask));
        let mut former = word.load(Relaxed);
        while let Err(current) =
            word.compare_exchange_weak(former, former & !mask | new, Relaxed, Relaxed)
        {
            former = current;
        }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Storage")
            .field("page_count", &self.page_count)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A part of one doubleword.
struct Piece {
    index: usize,
    first: usize,
    length: usize,
    /// It is the last one of its page or of the whole access.
    ends_page: bool,
}

fn aligned_index(address: u64) -> Result<usize, AddressFault> {
    if !address.is_multiple_of(8) {
        return Err(AddressFault);
    }
    usize::try_from(address / 8).map_err(|_| AddressFault)
}

/// The index of a page; a number that the host cannot address becomes one that no slice has.
fn page_index(page: PageNumber) -> usize {
    usize::try_from(page.get()).unwrap_or(usize::MAX)
}

/// Copies doublewords into the bytes that they mean.
pub(super) fn copy_words(words: &[AtomicU64], target: &mut [u8]) {
    let (chunks, _) = target.as_chunks_mut();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.load(Relaxed).to_be_bytes();
    }
}

/// The next word of the SplitMix64 sequence.
const fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod attribute_tests;
