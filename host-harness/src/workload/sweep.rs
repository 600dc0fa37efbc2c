//! Sweep workload: adds one to a byte of each page of its area, page after page.
//!
//! At any moment the bytes before the position are one ahead of the bytes from the position on;
//! a page that was lost, sent twice or mixed up is out of step. The position and the number of
//! rounds are in registers of processor 0 and nowhere else, so a lost register shows as well.
//!
//! Source of truth: the migration test of QEMU uses the same oracle. Invariant: the other bytes
//! of a page are not changed. Deliberately not here: the judgement ([`super::check()`]).

use super::nucleus::{Area, Block, BlockName, PAGE, register, word};
use crate::machine::{AddressFault, Context, Step, Storage};

/// Address of the area.
const ORIGIN: u64 = word::OWN;
/// Pages of the area.
const PAGES: u64 = word::OWN + 1;
/// Offset in the page of the doubleword whose first byte is counted.
pub(super) const OFFSET: u64 = 0x800;
/// One in the first byte of a doubleword.
const ONE: u64 = 1 << 56;

/// Writes the control block and clears the byte of each page.
pub(super) fn define(block: Block<'_>, storage: &Storage, area: Area) -> Result<(), AddressFault> {
    block.set(ORIGIN, area.origin)?;
    block.set(PAGES, area.pages)?;
    for page in 0..area.pages {
        let address = area.origin + page * PAGE + OFFSET;
        storage.store(address, storage.load(address)? & (ONE - 1))?;
    }
    Ok(())
}

/// Counts on in the pages that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, AddressFault> {
    let storage = context.storage;
    let block = Block::new(storage, BlockName::Sweep);
    let (due, next) = block.due(context.now())?;
    let count = due.min(u64::from(budget));
    let (origin, pages) = (block.get(ORIGIN)?, block.get(PAGES)?);
    for _ in 0..count {
        let position = context.state.general[register::SWEEP_POSITION];
        let address = origin + position * PAGE + OFFSET;
        storage.store(address, storage.load(address)?.wrapping_add(ONE))?;
        if position + 1 < pages {
            context.state.general[register::SWEEP_POSITION] = position + 1;
        } else {
            context.state.general[register::SWEEP_POSITION] = 0;
            context.state.general[register::SWEEP_ROUNDS] += 1;
        }
    }
    block.advance(count)?;
    Ok(super::worked(count, next))
}
