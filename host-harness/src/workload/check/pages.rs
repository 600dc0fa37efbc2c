//! The judgement of the workloads that use storage keys and page states.
//!
//! Source of truth: `workload::keys` and `workload::states`. Invariant: a page may be as far as the
//! visits before and after the look allow, and no further. Deliberately not here: what the guest
//! has found wrong at its visits, which it has counted.

use std::ops::RangeInclusive;

use monitor_core::{memory::PageState, units::PageNumber};

use super::{
    super::{
        keys,
        nucleus::{Area, BlockName, PAGE},
        states,
        verdict::Fault,
        visits,
    },
    Case, Looked,
};

/// The visit that a page may have had last: one is under way, perhaps.
fn latest(
    visit_of: impl Fn(u64, u64, u64) -> u64,
    page: u64,
    area: Area,
    counts: [u64; 2],
) -> RangeInclusive<u64> {
    let [before, after] = counts;
    visit_of(page, area.pages, before)..=visit_of(page, area.pages, after + 1)
}

impl Case<'_> {
    pub(super) fn keys(&mut self, area: Area) -> Looked {
        let before = self.view.own(BlockName::Keys, visits::VISITS)?;
        let pages = (0..area.pages).map(|page| PageNumber::new(area.origin / PAGE + page));
        let found: Vec<_> = pages.map(|page| (page, self.machine.storage.key(page))).collect();
        let after = self.view.own(BlockName::Keys, visits::VISITS)?;
        for ((number, key), page) in found.into_iter().zip(0..) {
            let mut allowed = latest(visits::visits_of, page, area, [before, after]);
            let holds = allowed.any(|visit| keys::key(page, visit) == key);
            self.verdict.require(holds, Fault::Key(number));
        }
        self.verdict.counts.key_visits = after;
        self.reported(BlockName::Keys, visits::FAULTS, "keys that were not as they were left")
    }

    pub(super) fn states(&mut self, area: Area) -> Looked {
        for page in 0..area.pages {
            let address = area.origin + page * PAGE;
            let number = PageNumber::new(address / PAGE);
            let holds = self.holds(|view| {
                let before = view.own(BlockName::States, visits::VISITS)?;
                let state = view.storage.state(number);
                view.page = None;
                let mut words = [0; 3];
                for (word, place) in words.iter_mut().zip(states::places(address)) {
                    *word = view.word(place)?;
                }
                let after = view.own(BlockName::States, visits::VISITS)?;
                let mut allowed = latest(states::visit_of, page, area, [before, after]);
                Ok(allowed.any(|visit| is_after(page, visit, state, words)))
            })?;
            self.verdict.require(holds, Fault::State(number));
        }
        self.verdict.counts.state_visits = self.view.own(BlockName::States, visits::VISITS)?;
        self.reported(BlockName::States, visits::FAULTS, "pages that were not as they were left")
    }
}

/// Whether a page in this state with these words is what its visit has left.
fn is_after(page: u64, visit: u64, state: PageState, words: [u64; 3]) -> bool {
    let left = states::state(visit);
    if state == PageState::Discarded {
        return matches!(left, PageState::Volatile | PageState::PotentiallyVolatile);
    }
    let content = states::content(page, visit);
    state == left && content.is_none_or(|content| words == [content; 3])
}
