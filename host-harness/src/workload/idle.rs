//! Idle workload: a timer that ticks a hundred times a second.
//!
//! Source of truth: ARCHITECTURE.md, "The emulated machine" (a guest that does nothing still keeps
//! time). Invariant: the tick count never falls. Deliberately not here: the pacing, which all
//! workloads share ([`super::nucleus`]).

use super::nucleus::{Block, BlockName, mix, word};
use crate::machine::{AddressFault, Context, Step};

/// Ticks counted so far.
pub(super) const TICKS: u64 = word::OWN;
/// A mark made from the ticks, which tells them from any other number.
pub(super) const MARK: u64 = word::OWN + 1;
/// Time between ticks.
const PERIOD_US: u64 = 10_000;

/// Writes the control block.
pub(super) fn define(block: Block<'_>) -> Result<(), AddressFault> {
    set_ticks(block, 0)?;
    block.define(1, PERIOD_US)
}

fn set_ticks(block: Block<'_>, ticks: u64) -> Result<(), AddressFault> {
    block.set(TICKS, ticks)?;
    block.set(MARK, mix(ticks))
}

/// Counts the ticks that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, AddressFault> {
    let block = Block::new(context.storage, BlockName::Idle);
    let (due, next) = block.due(context.now())?;
    let count = due.min(u64::from(budget));
    if count > 0 {
        set_ticks(block, block.get(TICKS)?.wrapping_add(count))?;
        block.advance(count)?;
    }
    Ok(super::worked(count, next))
}
