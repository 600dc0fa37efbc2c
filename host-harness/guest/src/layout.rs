//! Where the guest has what it remembers: fixed pages, control blocks, registers.
//!
//! Source of truth: this file. Invariant: a number here is the same for every machine that the
//! guest is moved to, and never changes. Deliberately not here: what the words mean.

use crate::Area;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// The page with the control blocks.
pub const NUCLEUS: u64 = 2 * PAGE;

/// Bytes of a control block.
pub const BLOCK_BYTES: u64 = 512;

/// The control block of the sweep.
pub const SWEEP_BLOCK: u64 = NUCLEUS + 3 * BLOCK_BYTES;

/// The first prefix area; each processor has its own, so that a lost prefix shows.
const PREFIXES: u64 = 10 * PAGE;

/// Bytes of a prefix area.
const PREFIX_BYTES: u64 = 2 * PAGE;

/// Where the PSW points while the guest runs. Its code is not in its storage: the machine knows
/// what to do there.
pub const CODE: u64 = 0x0001_0000;

/// The register with the next page of the sweep, counted in its area.
pub const SWEEP_POSITION: usize = 6;

/// The register with the rounds that the sweep has completed.
pub const SWEEP_ROUNDS: usize = 7;

/// The register with the state of the random numbers of the harness's key-value store.
pub const STORE_RANDOM: usize = 8;

/// The register with the operations of the harness's key-value store.
pub const STORE_COUNT: usize = 9;

/// The register with the state of the random numbers of the harness's hot set.
pub const HOT_RANDOM: usize = 10;

/// The register with the dirtyings of the harness's hot set.
pub const HOT_COUNT: usize = 11;

/// The prefix of a processor; that of the number of processors is where the areas begin.
#[must_use]
pub const fn prefix(processor: u16) -> u64 {
    // A number of 16 bits does not overflow it.
    PREFIXES.wrapping_add((processor as u64).wrapping_mul(PREFIX_BYTES))
}

/// The pages that a guest with so many pages and processors sweeps when it does nothing else.
#[must_use]
pub const fn swept(page_count: u64, processor_count: u16) -> Option<Area> {
    let origin = prefix(processor_count);
    match page_count.checked_sub(origin / PAGE) {
        None | Some(0) => None,
        Some(pages) => Some(Area { origin, pages }),
    }
}
