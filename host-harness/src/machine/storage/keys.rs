//! Storage keys of the guest, each in the two parts of a [`KeyShadow`].
//!
//! Source of truth: `monitor_core::memory::KeyShadow`. Invariants: both parts of a key are one
//! atomic word, so that a step of one party is seen as a whole by the others; the part of the
//! hardware is what stores and loads set bits in. Deliberately not here: who has to mark what.

use std::{
    iter,
    sync::atomic::{
        AtomicU16,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

use monitor_core::memory::{KeyShadow, Noted, StorageKey};

/// Reference bit of a storage key.
pub(super) const REFERENCE: u8 = 0x04;

/// Change bit of a storage key.
pub(super) const CHANGE: u8 = 0x02;

/// The keys of one guest: the part of the hardware in the right byte, the saved one in the left.
pub(super) struct Keys {
    words: Box<[AtomicU16]>,
}

impl Keys {
    /// Keys of zero.
    pub(super) fn new(page_count: usize) -> Self {
        Self { words: iter::repeat_with(AtomicU16::default).take(page_count).collect() }
    }

    /// Whether there is such a page.
    pub(super) const fn has(&self, page: usize) -> bool {
        page < self.words.len()
    }

    /// The key as the guest sees it.
    #[inline]
    pub(super) fn guest(&self, page: usize) -> u8 {
        let [saved, real] = self.words[page].load(Relaxed).to_be_bytes();
        saved | real
    }

    /// Sets bits in the hardware's key, as an access does.
    #[inline]
    pub(super) fn note(&self, page: usize, bits: u8) {
        self.words[page].fetch_or(u16::from(bits), AcqRel);
    }

    /// Sets the whole key, as the monitor does; nothing of it is noted.
    pub(super) fn load(&self, page: usize, key: u8) {
        self.words[page].store(u16::from(key & 0xFE), Relaxed);
    }

    /// Makes a step of the guest; gives the key before and after it.
    pub(super) fn change(
        &self,
        page: usize,
        step: impl Fn(KeyShadow) -> KeyShadow,
    ) -> (KeyShadow, KeyShadow) {
        let word = &self.words[page];
        let mut before = word.load(Relaxed);
        loop {
            let after = step(shadow(before));
            match word.compare_exchange_weak(before, packed(after), AcqRel, Acquire) {
                Ok(_) => return (shadow(before), after),
                Err(present) => before = present,
            }
        }
    }

    /// Takes what the hardware has noted of a page.
    pub(super) fn collect(&self, page: usize) -> Noted {
        let present = shadow(self.words[page].load(Relaxed));
        if present.collect().1 == Noted::Nothing {
            return Noted::Nothing;
        }
        let (before, _) = self.change(page, |shadow| shadow.collect().0);
        before.collect().1
    }
}

fn shadow(word: u16) -> KeyShadow {
    let [saved, real] = word.to_be_bytes();
    KeyShadow::new(StorageKey::new(real), StorageKey::new(saved))
}

fn packed(shadow: KeyShadow) -> u16 {
    u16::from_be_bytes([shadow.saved().get(), shadow.real().get()])
}
