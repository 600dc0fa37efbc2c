//! Visits to the pages of an area in turn, each of which begins by looking at what the visit before
//! has left: what the workloads of storage keys and of page states have in common.
//!
//! Source of truth: this file. Invariants: nobody else uses the pages; a visit counts when it is
//! over. Deliberately not here: what a visit does.

use super::nucleus::{Area, Block, BlockName, PAGE, word};
use crate::machine::{AddressFault, Context, Exception, Step};

/// Where the pages begin.
const ORIGIN: u64 = word::OWN;
/// Number of the pages.
const PAGES: u64 = word::OWN + 1;
/// Visits so far, to all pages.
pub(super) const VISITS: u64 = word::OWN + 2;
/// Visits that found something else than the visit before has left.
pub(super) const FAULTS: u64 = word::OWN + 3;
/// The first word that a workload has for itself.
pub(super) const OWN: u64 = word::OWN + 4;

/// A visit to a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// Where the page begins.
    pub(super) address: u64,
    /// Its number in the area.
    pub(super) page: u64,
    /// The number of the visit among those to this page, of which the first is 1.
    pub(super) number: u64,
}

/// The visits that a page has had after all `visits` to `pages`.
pub(super) fn visits_of(page: u64, pages: u64, visits: u64) -> u64 {
    let rounds = visits.checked_div(pages).unwrap_or(0);
    rounds + u64::from(page < visits.checked_rem(pages).unwrap_or(0))
}

/// Writes the words of the area.
pub(super) fn define(block: Block<'_>, area: Area) -> Result<(), AddressFault> {
    block.set(ORIGIN, area.origin)?;
    block.set(PAGES, area.pages)
}

/// Makes the visits that are due; `visit` says whether the page was as it was left.
pub(super) fn run(
    context: &mut Context<'_>,
    name: BlockName,
    budget: u32,
    visit: fn(&mut Context<'_>, Visit) -> Result<bool, Exception>,
) -> Result<Step, Exception> {
    let block = Block::new(context.storage, name);
    let (due, next) = block.due(context.now())?;
    let count = due.min(u64::from(budget));
    let (origin, pages) = (block.get(ORIGIN)?, block.get(PAGES)?);
    for _ in 0..count {
        let visits = block.get(VISITS)?;
        let page = visits.checked_rem(pages).unwrap_or(0);
        let number = visits_of(page, pages, visits) + 1;
        let is_left = visit(context, Visit { address: origin + page * PAGE, page, number })?;
        block.add(FAULTS, u64::from(!is_left))?;
        block.set(VISITS, visits + 1)?;
    }
    block.advance(count)?;
    Ok(super::worked(count, next))
}
