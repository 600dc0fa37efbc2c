//! The sweep: adds one to a byte of each page of its area, page after page.
//!
//! At any moment the bytes before the position are one ahead of the bytes from the position on;
//! a page that was lost, sent twice or mixed up is out of step. The position and the number of
//! rounds are in registers and nowhere else, so a lost register shows as well.
//!
//! Source of truth: the migration test of QEMU uses the same oracle. Invariant: the other bytes
//! of a page are not changed. Deliberately not here: which pages, and how fast.

use crate::{
    Area, Processor, Storage, Work,
    layout::{PAGE, SWEEP_BLOCK, SWEEP_POSITION, SWEEP_ROUNDS},
    pace::{self, word},
};

/// Word of the control block with the address of the area.
const ORIGIN: u64 = pace::OWN;

/// Word of the control block with the number of pages.
const PAGES: u64 = pace::OWN + 1;

/// Offset in the page of the doubleword whose first byte is counted.
const OFFSET: u64 = 0x800;

/// One in the first byte of a doubleword.
const ONE: u64 = 1 << 56;

/// Where the doubleword of page `page` of the area is.
#[must_use]
pub const fn address(origin: u64, page: u64) -> u64 {
    origin.wrapping_add(page.wrapping_mul(PAGE)).wrapping_add(OFFSET)
}

/// The byte that is counted, in its doubleword.
#[must_use]
pub const fn counted(doubleword: u64) -> u8 {
    let [byte, ..] = doubleword.to_be_bytes();
    byte
}

/// How often page `page` was swept, when a processor has these registers.
#[must_use]
pub const fn times(page: u64, position: u64, rounds: u64) -> u64 {
    rounds.wrapping_add((page < position) as u64)
}

/// Writes the control block and clears the byte of each page.
///
/// # Errors
/// Fails when the area is outside of storage.
pub fn define<S: Storage>(storage: &mut S, area: Area) -> Result<(), S::Fault> {
    storage.store(word(SWEEP_BLOCK, ORIGIN), area.origin)?;
    storage.store(word(SWEEP_BLOCK, PAGES), area.pages)?;
    for page in 0..area.pages {
        let place = address(area.origin, page);
        let cleared = storage.load(place)? & ONE.wrapping_sub(1);
        storage.store(place, cleared)?;
    }
    Ok(())
}

/// Counts on in the pages that are due at `now_us`, at most `budget`.
///
/// # Errors
/// Fails when what the control block or the register says is outside of storage.
pub fn run<P: Processor>(guest: &mut P, now_us: u64, budget: u32) -> Result<Work, P::Fault> {
    let due = pace::due(guest, SWEEP_BLOCK, now_us)?;
    let count = due.count.min(u64::from(budget));
    let origin = guest.load(word(SWEEP_BLOCK, ORIGIN))?;
    let pages = guest.load(word(SWEEP_BLOCK, PAGES))?;
    for _ in 0..count {
        let position = guest.general(SWEEP_POSITION);
        let place = address(origin, position);
        let swept = guest.load(place)?.wrapping_add(ONE);
        guest.store(place, swept)?;
        let next = position.wrapping_add(1);
        if next < pages {
            guest.set_general(SWEEP_POSITION, next);
        } else {
            guest.set_general(SWEEP_POSITION, 0);
            guest.set_general(SWEEP_ROUNDS, guest.general(SWEEP_ROUNDS).wrapping_add(1));
        }
    }
    pace::advance(guest, SWEEP_BLOCK, count)?;
    Ok(Work { count, ..due })
}

/// The first page of the area, counted in it, that is out of step with the registers of a stopped
/// processor.
///
/// # Errors
/// Fails when the area is outside of storage.
pub fn out_of_step<P: Processor>(guest: &P, area: Area) -> Result<Option<u64>, P::Fault> {
    let (position, rounds) = (guest.general(SWEEP_POSITION), guest.general(SWEEP_ROUNDS));
    for page in 0..area.pages {
        let found = counted(guest.load(address(area.origin, page))?);
        let [.., expected] = times(page, position, rounds).to_be_bytes();
        if found != expected {
            return Ok(Some(page));
        }
    }
    Ok(None)
}
