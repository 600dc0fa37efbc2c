//! Page-states workload: tells the host which of its pages it needs, and finds those that it needs
//! as it has left them.
//!
//! The pages are visited in turn. By its visits a page goes through five stages: it is filled and
//! needed; its content may be dropped unless changed; it may be dropped; it is not needed; it is
//! needed again, with whatever it holds. Each visit begins by looking at the state that the visit
//! before has left, and at the content as long as it is there.
//!
//! Source of truth: this file; `monitor_core::memory::PageState`. Invariant: nobody else uses the
//! pages. Deliberately not here: who drops pages, which is the host.

use super::{
    nucleus::{Area, Block, BlockName, PAGE, RANDOM_STEP, mix},
    visits::{self, Visit},
};
use crate::machine::{AddressFault, Context, Exception, Step, Storage};
use monitor_core::{
    memory::{PageState, StateOrder},
    units::PageNumber,
};

/// Visits that found the content dropped, which the page allowed.
const DROPPED: u64 = visits::OWN;

/// The stages of a page.
const STAGES: u64 = 5;

/// Where in a page its content is.
const OFFSETS: [u64; 3] = [0, PAGE / 2, PAGE - 8];

/// The number of the latest visit to a page after all `visits` to `pages`. Neighbors begin with
/// different numbers, so that at any time some pages are in each stage.
pub(super) fn visit_of(page: u64, pages: u64, visits: u64) -> u64 {
    page % STAGES + visits::visits_of(page, pages, visits)
}

/// The state of a page after its visit number `visit`, unless the host has dropped it.
pub(super) const fn state(visit: u64) -> PageState {
    match visit % STAGES {
        2 => PageState::PotentiallyVolatile,
        3 => PageState::Volatile,
        4 => PageState::Unused,
        _ => PageState::Stable,
    }
}

/// What the page holds after that visit, if that means anything.
pub(super) fn content(page: u64, visit: u64) -> Option<u64> {
    let filled = visit / STAGES;
    let is_filled = matches!(visit % STAGES, 1..=3);
    is_filled.then(|| mix(page ^ filled.wrapping_mul(RANDOM_STEP)))
}

/// The addresses of the content.
pub(super) fn places(address: u64) -> [u64; 3] {
    OFFSETS.map(|offset| address + offset)
}

/// Writes the control block, and makes each page what it is before the first visit that is seen.
pub(super) fn define(block: Block<'_>, storage: &Storage, area: Area) -> Result<(), AddressFault> {
    visits::define(block, area)?;
    for page in 0..area.pages {
        let (address, visit) = (area.origin + page * PAGE, visit_of(page, area.pages, 0));
        for place in places(address) {
            storage.store(place, content(page, visit).unwrap_or(0))?;
        }
        storage.set_state(PageNumber::new(address / PAGE), order_for(state(visit)));
    }
    Ok(())
}

const fn order_for(state: PageState) -> StateOrder {
    match state {
        PageState::Stable => StateOrder::SetStable,
        PageState::PotentiallyVolatile => StateOrder::SetPotentiallyVolatile,
        PageState::Volatile => StateOrder::SetVolatile,
        PageState::Unused | PageState::Discarded => StateOrder::SetUnused,
    }
}

/// Visits the pages that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
    visits::run(context, BlockName::States, budget, |context, visit| {
        let Visit { address, page, number } = visit;
        let number = page % STAGES + number;
        let is_left = look(context, address, page, number - 1)?;
        go_on(context, address, page, number)?;
        Ok(is_left)
    })
}

/// Whether the page is what its visit number `visit` has left.
fn look(context: &mut Context<'_>, address: u64, page: u64, visit: u64) -> Result<bool, Exception> {
    let found = context.set_page_state(address, StateOrder::Get)?;
    if found == PageState::Discarded {
        Block::new(context.storage, BlockName::States).add(DROPPED, 1)?;
        return Ok(matches!(state(visit), PageState::Volatile | PageState::PotentiallyVolatile));
    }
    if let Some(content) = content(page, visit) {
        for place in places(address) {
            if context.storage.load(place)? != content {
                return Ok(false);
            }
        }
    }
    Ok(found == state(visit))
}

/// Brings the page to its next stage.
fn go_on(context: &mut Context<'_>, address: u64, page: u64, visit: u64) -> Result<(), Exception> {
    context.set_page_state(address, order_for(state(visit)))?;
    if let (1, Some(content)) = (visit % STAGES, content(page, visit)) {
        for place in places(address) {
            context.storage.store(place, content)?;
        }
    }
    Ok(())
}
