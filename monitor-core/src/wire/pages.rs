//! Bodies of PAGES and KEYS frames: a group, a mask, keys, and for PAGES the page bodies.
//!
//! Source of truth: PROTOCOL.md, "PAGES" and "KEYS". Invariants: the number of page bodies is the
//! number of bits in the mask; the page bodies begin at [`PAGES_PREFIX_BYTES`]. The bodies are
//! filled and read in place by the driver: one copy on each side, none here.

use super::error::{DecodeError, Fault, Field};
use super::field::Reader;
use crate::{
    limits::{GROUP_PAGES, GUEST_PAGES_MAX, PAGE_BYTES, PAGES_PREFIX_BYTES},
    memory::PageRun,
    units::GroupNumber,
};

/// Bytes of group and mask, before the keys.
const RUN_BYTES: usize = 16;

/// The three parts of the body of a PAGES frame, to be filled.
#[derive(Debug)]
pub struct PagesBody<'a> {
    /// One key a page, in ascending order.
    pub keys: &'a mut [u8],
    /// The pages, 4096 bytes each, in ascending order.
    pub pages: &'a mut [u8],
}

/// The bytes that the body of a PAGES frame of `run` takes.
#[must_use]
pub fn pages_body_bytes(run: PageRun) -> usize {
    count(run).saturating_mul(PAGE_BYTES).saturating_add(PAGES_PREFIX_BYTES)
}

/// The bytes that the body of a KEYS frame takes.
#[must_use]
pub const fn keys_body_bytes() -> usize {
    PAGES_PREFIX_BYTES
}

/// Writes the prefix for `run` and gives the parts to be filled; `None` when the body is too
/// small.
#[must_use]
pub fn begin_pages(run: PageRun, body: &mut [u8]) -> Option<PagesBody<'_>> {
    let (prefix, pages) = body.split_at_mut_checked(PAGES_PREFIX_BYTES)?;
    let keys = begin_keys(run, prefix)?;
    let pages = pages.get_mut(..count(run).saturating_mul(PAGE_BYTES))?;
    Some(PagesBody { keys, pages })
}

/// Writes group and mask, zeroes the unused keys, and gives the keys to be filled.
#[must_use]
pub fn begin_keys(run: PageRun, body: &mut [u8]) -> Option<&mut [u8]> {
    let (group, rest) = body.split_first_chunk_mut::<8>()?;
    let (mask, keys) = rest.split_first_chunk_mut::<8>()?;
    *group = run.group.get().to_be_bytes();
    *mask = run.mask.to_be_bytes();
    let keys = keys.get_mut(..GROUP_PAGES)?;
    keys.fill(0);
    keys.get_mut(..count(run))
}

/// Reads group and mask of a PAGES or KEYS body and holds the rest against them: its length, and
/// that the keys of no page are zero.
///
/// # Errors
/// Names group, mask, keys or page bodies.
pub fn parse_run(body: &[u8], with_pages: bool) -> Result<PageRun, DecodeError> {
    let mut reader = Reader::new(body);
    let group = reader.u64(Field::Group)?;
    let mask = reader.u64(Field::Mask)?;
    if group >= GUEST_PAGES_MAX.div_ceil(64) {
        return Err(DecodeError::new(Fault::OutOfRange, Field::Group));
    }
    if mask == 0 {
        return Err(DecodeError::new(Fault::OutOfRange, Field::Mask));
    }
    let run = PageRun { group: GroupNumber::new(group), mask };
    let expected = if with_pages { pages_body_bytes(run) } else { keys_body_bytes() };
    let last = if with_pages { Field::PageBody } else { Field::Keys };
    if body.len() < expected {
        return Err(DecodeError::new(Fault::Truncated, last));
    }
    if body.len() > expected {
        return Err(DecodeError::new(Fault::Trailing, last));
    }
    let keys = body.get(RUN_BYTES..PAGES_PREFIX_BYTES).unwrap_or(&[]);
    if keys.iter().skip(count(run)).any(|key| *key != 0) {
        return Err(DecodeError::new(Fault::NotZero, Field::Keys));
    }
    Ok(run)
}

/// The keys of a parsed body, one a page of `run`.
#[must_use]
pub fn keys_of(run: PageRun, body: &[u8]) -> &[u8] {
    body.get(RUN_BYTES..).and_then(|keys| keys.get(..count(run))).unwrap_or(&[])
}

/// The page bodies of a parsed PAGES body.
#[must_use]
pub fn pages_of(body: &[u8]) -> &[u8] {
    body.get(PAGES_PREFIX_BYTES..).unwrap_or(&[])
}

/// The number of pages of `run` in the platform's size type.
fn count(run: PageRun) -> usize {
    usize::try_from(run.mask.count_ones()).unwrap_or(GROUP_PAGES)
}
