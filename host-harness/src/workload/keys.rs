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

use super::{
    nucleus::{Area, Block, BlockName, PAGE, RANDOM_STEP, mix},
    visits::{self, Visit},
};
use crate::machine::{AddressFault, Context, Exception, Step, Storage};
use monitor_core::units::PageNumber;

/// Reference and change bit of a key.
const REFERENCE: u8 = 0x04;
const CHANGE: u8 = 0x02;

/// The stages of a page.
const STAGES: u64 = 4;

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
    visits::define(block, area)?;
    for page in 0..area.pages {
        storage.store(area.origin + page * PAGE, content(page, 0))?;
        storage.set_key(PageNumber::new(area.origin / PAGE + page), key(page, 0));
    }
    Ok(())
}

/// Visits the pages that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
    visits::run(context, BlockName::Keys, budget, visit)
}

fn visit(context: &mut Context<'_>, visit: Visit) -> Result<bool, Exception> {
    let Visit { address, page, number } = visit;
    let is_left = context.insert_storage_key(address)? == key(page, number - 1);
    let is_right = match (number - 1) % STAGES {
        0 => {
            context.set_storage_key(address, key(page, number))?;
            true
        }
        1 => context.real().load(address)? == content(page, number),
        2 => {
            context.real().store(address, content(page, number))?;
            true
        }
        _ => {
            context.reset_reference(address)?;
            context.state.psw.condition_code() == 3
        }
    };
    Ok(is_left && is_right)
}
