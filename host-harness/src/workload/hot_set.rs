//! Hot-set workload: dirties random pages of a window, again and again.
//!
//! Each page has one doubleword that holds how often the page was dirtied and a mark made from
//! page and count. A page from elsewhere or a torn one has a wrong mark; a page of an earlier
//! moment makes the sum of all counts fall short of the register that counts dirtyings.
//!
//! Source of truth: this file. Invariant: the random numbers' state is the seed plus the count of
//! dirtyings times a constant. Deliberately not here: the judgement ([`super::check()`]).

use super::nucleus::{Area, Block, BlockName, PAGE, mix, next_random, register, word};
use crate::machine::{AddressFault, Context, Step, Storage};

/// Address of the window.
const ORIGIN: u64 = word::OWN;
/// Pages of the window.
const PAGES: u64 = word::OWN + 1;
/// Pages that the guest itself has found wrong.
pub(super) const FAULTS: u64 = word::OWN + 2;

/// Where the doubleword of the window's page `page` is.
pub(super) fn address(origin: u64, page: u64) -> u64 {
    origin + page * PAGE + 8 * (page % 512)
}

/// The doubleword of a page that was dirtied `count` times: the count in the left half.
pub(super) fn content(page: u64, count: u64) -> u64 {
    (count << 32) | (mix(mix(page) ^ count) >> 32)
}

/// Writes the control block and the first content of each page.
pub(super) fn define(block: Block<'_>, storage: &Storage, area: Area) -> Result<(), AddressFault> {
    block.set(ORIGIN, area.origin)?;
    block.set(PAGES, area.pages)?;
    block.set(FAULTS, 0)?;
    for page in 0..area.pages {
        storage.store(address(area.origin, page), content(page, 0))?;
    }
    Ok(())
}

/// Dirties the pages that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, AddressFault> {
    let storage = context.storage;
    let block = Block::new(storage, BlockName::HotSet);
    let (due, next) = block.due(context.now())?;
    let count = due.min(u64::from(budget));
    let (origin, pages) = (block.get(ORIGIN)?, block.get(PAGES)?);
    for _ in 0..count {
        let random = next_random(&mut context.state.general[register::HOT_RANDOM]);
        let page = random.checked_rem(pages).unwrap_or(0);
        let place = address(origin, page);
        let found = storage.load(place)?;
        if found != content(page, found >> 32) {
            block.add(FAULTS, 1)?;
        }
        storage.store(place, content(page, (found >> 32) + 1))?;
        context.state.general[register::HOT_COUNT] += 1;
    }
    block.advance(count)?;
    Ok(super::worked(count, next))
}
