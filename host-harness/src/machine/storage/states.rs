//! Page states: what the guest says of its pages, and what the host makes of it.
//!
//! Source of truth: `monitor_core::memory::PageState`; EXTRACT AND SET STORAGE ATTRIBUTES.
//!
//! Invariants: a state is set before its page is marked. A page that has content again is marked
//! in the map of pages, any other change of a state in the map of keys, with which states move.
//! The content of a page that was dropped, or has come without content, is zero. Deliberately not
//! here: the exception at an access to a discarded page, which the processor makes.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use monitor_core::{
    limits::PAGE_BYTES,
    memory::{PageRun, PageState, StateOrder},
    units::PageNumber,
};

use super::{AddressFault, CHANGE, DISCARDED, Storage, page_index};

impl Storage {
    /// The state of a page.
    ///
    /// # Panics
    /// Panics when there is no such page.
    #[must_use]
    pub fn state(&self, page: PageNumber) -> PageState {
        state_of(self.states[page_index(page)].load(Acquire))
    }

    /// EXTRACT AND SET STORAGE ATTRIBUTES: gives the former state.
    ///
    /// # Panics
    /// Panics when there is no such page.
    pub fn set_state(&self, page: PageNumber, order: StateOrder) -> PageState {
        self.change_state(page, |state| Some(state.after(order)))
    }

    /// The host drops the content of a page, if the guest lets it; whether it has.
    ///
    /// # Panics
    /// Panics when there is no such page.
    pub fn discard(&self, page: PageNumber) -> bool {
        let is_changed = self.key(page) & CHANGE != 0;
        let before = self.change_state(page, |state| state.dropped(is_changed));
        let drops = before.dropped(is_changed).is_some();
        if drops {
            self.prepare_store(page_index(page));
            self.clear_page(page_index(page));
        }
        drops
    }

    /// Whether an access to this address is a block-volatility exception.
    #[inline]
    #[must_use]
    pub fn is_discarded(&self, address: u64) -> bool {
        self.mode.load(Relaxed) & DISCARDED != 0
            && usize::try_from(address)
                .ok()
                .and_then(|address| self.states.get(address / PAGE_BYTES))
                .is_some_and(|state| state_of(state.load(Acquire)) == PageState::Discarded)
    }

    /// Reads the states of `run` for the monitor.
    ///
    /// # Errors
    /// Fails when a page does not exist or `target` is too short.
    pub fn states_out(&self, run: PageRun, target: &mut [u8]) -> Result<(), AddressFault> {
        let mut places = target.iter_mut();
        for page in run.pages() {
            let state = self.states.get(page_index(page)).ok_or(AddressFault)?;
            *places.next().ok_or(AddressFault)? = state.load(Acquire);
        }
        Ok(())
    }

    /// Sets the states of `run` for the monitor; a page without content is zero from then on.
    ///
    /// # Errors
    /// Fails when a page does not exist, or `source` is too short or holds what is no state.
    pub fn states_in(&self, run: PageRun, source: &[u8]) -> Result<(), AddressFault> {
        let mut values = source.iter();
        for page in run.pages().map(page_index) {
            let place = self.states.get(page).ok_or(AddressFault)?;
            let code = *values.next().ok_or(AddressFault)?;
            let state = PageState::from_code(code).ok_or(AddressFault)?;
            place.store(code, Release);
            self.note_discarded(state);
            if !state.has_content() {
                self.clear_page(page);
            }
        }
        Ok(())
    }

    /// The state that the page had when preserving began; without preserving, as it is.
    ///
    /// # Panics
    /// Panics when there is no such page.
    #[must_use]
    pub fn state_as_preserved(&self, page: PageNumber) -> PageState {
        let index = page_index(page);
        state_of(self.preserved.state(index, || self.states[index].load(Acquire)))
    }

    fn change_state(
        &self,
        page: PageNumber,
        step: impl Fn(PageState) -> Option<PageState>,
    ) -> PageState {
        let index = page_index(page);
        self.prepare_state(index);
        let step = |code| step(state_of(code)).map(PageState::code);
        let before = match self.states[index].fetch_update(AcqRel, Acquire, step) {
            Ok(before) | Err(before) => state_of(before),
        };
        let after = step(before.code()).map_or(before, state_of);
        self.note_discarded(after);
        if after.has_content() && !before.has_content() {
            self.note_content(index);
        } else if after != before {
            self.note_key(index);
        }
        before
    }

    fn note_discarded(&self, state: PageState) {
        if state == PageState::Discarded {
            self.mode.fetch_or(DISCARDED, Release);
        }
    }

    fn clear_page(&self, page: usize) {
        for word in self.page_words(PageNumber::new(page as u64)).into_iter().flatten() {
            word.store(0, Relaxed);
        }
    }
}

/// The state with this code; nothing else is ever stored.
fn state_of(code: u8) -> PageState {
    PageState::from_code(code).unwrap_or_default()
}
