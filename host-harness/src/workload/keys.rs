//! Keys workload: sets, uses and resets the storage keys of its pages, and finds each of them as
//! it has left it.
//!
//! The pages are visited in turn. By its visits a page goes through four stages: its key is set,
//! with reference and change off; it is fetched from; it is stored into; its reference bit is
//! reset. Each visit begins by comparing all seven bits with what the visit before has left. So a
//! monitor that uses reference and change for itself and lets the guest see it is found, and a
//! move that loses a key.
//!
//! Source of truth: this file; Principles of Operation, "Storage Key". Invariant: nobody else
//! uses the pages. Deliberately not here: protection by keys, which the machine's own tests show.

use super::nucleus::{Area, Block, BlockName, PAGE, RANDOM_STEP, mix, word};
use crate::machine::{AddressFault, Context, Exception, Step, Storage};
use monitor_core::units::PageNumber;

/// Where the pages begin.
const ORIGIN: u64 = word::OWN;
/// Number of the pages.
const PAGES: u64 = word::OWN + 1;
/// Visits so far.
pub(super) const VISITS: u64 = word::OWN + 2;
/// Visits that found another key, or another content.
pub(super) const FAULTS: u64 = word::OWN + 3;

/// Reference and change bit of a key.
const REFERENCE: u8 = 0x04;
const CHANGE: u8 = 0x02;

/// The stages of a page.
const STAGES: u64 = 4;

/// The visits that a page has had after all `visits` to `pages`.
pub(super) fn visits_of(page: u64, pages: u64, visits: u64) -> u64 {
    let rounds = visits.checked_div(pages).unwrap_or(0);
    rounds + u64::from(page < visits.checked_rem(pages).unwrap_or(0))
}

/// The key of a page after its visit number `visit`, of which the first is 1.
pub(super) fn key(page: u64, visit: u64) -> u8 {
    let Some(before) = visit.checked_sub(1) else {
        return 0;
    };
    let random = mix(page.wrapping_mul(RANDOM_STEP) ^ (before / STAGES));
    // Access control and fetch protection.
    let set = (random >> 8) as u8 & 0xF8;
    match before % STAGES {
        0 => set,
        1 => set | REFERENCE,
        2 => set | REFERENCE | CHANGE,
        _ => set | CHANGE,
    }
}

/// What the page holds after that visit.
fn content(page: u64, visit: u64) -> u64 {
    let stored = visit / STAGES * STAGES + 3;
    let latest = if visit >= stored { Some(stored) } else { stored.checked_sub(STAGES) };
    latest.map_or(0, |visit| mix(page ^ visit.wrapping_mul(RANDOM_STEP)))
}

/// Writes the control block, and makes each page what it is before its first visit.
pub(super) fn define(block: Block<'_>, storage: &Storage, area: Area) -> Result<(), AddressFault> {
    block.set(ORIGIN, area.origin)?;
    block.set(PAGES, area.pages)?;
    for page in 0..area.pages {
        storage.store(area.origin + page * PAGE, content(page, 0))?;
        storage.set_key(PageNumber::new(area.origin / PAGE + page), key(page, 0));
    }
    Ok(())
}

/// Visits the pages that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
    let block = Block::new(context.storage, BlockName::Keys);
    let (due, next) = block.due(context.now())?;
    let count = due.min(u64::from(budget));
    let (origin, pages) = (block.get(ORIGIN)?, block.get(PAGES)?);
    for _ in 0..count {
        let visits = block.get(VISITS)?;
        let page = visits.checked_rem(pages).unwrap_or(0);
        let visit = visits_of(page, pages, visits) + 1;
        if !go_on(context, origin + page * PAGE, page, visit)? {
            block.add(FAULTS, 1)?;
        }
        block.set(VISITS, visits + 1)?;
    }
    block.advance(count)?;
    Ok(super::worked(count, next))
}

/// Visits a page; false when it was not what the visit before has left.
fn go_on(
    context: &mut Context<'_>,
    address: u64,
    page: u64,
    visit: u64,
) -> Result<bool, Exception> {
    let is_left = context.insert_storage_key(address)? == key(page, visit - 1);
    let is_right = match (visit - 1) % STAGES {
        0 => {
            context.set_storage_key(address, key(page, visit))?;
            true
        }
        1 => context.real().load(address)? == content(page, visit),
        2 => {
            context.real().store(address, content(page, visit))?;
            true
        }
        _ => {
            context.reset_reference(address)?;
            context.state.psw.condition_code() == 3
        }
    };
    Ok(is_left && is_right)
}
