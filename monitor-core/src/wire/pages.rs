//! Bodies of PAGES and KEYS frames: a group, a mask, keys, states, and for PAGES the page bodies.
//!
//! Source of truth: PROTOCOL.md, "PAGES" and "KEYS". Invariants: there is a page body for each
//! page whose state has content, and for no other; the page bodies begin at
//! [`PAGES_PREFIX_BYTES`]. The bodies are filled and read in place by the driver: one copy on each
//! side, none here.

use super::error::{DecodeError, Fault, Field};
use super::field::Reader;
use crate::{
    limits::{GROUP_PAGES, GUEST_PAGES_MAX, PAGE_BYTES, PAGES_PREFIX_BYTES},
    memory::{PageRun, PageState},
    units::GroupNumber,
};

/// Bytes of group and mask, before the keys.
const RUN_BYTES: usize = 16;

/// Bytes before the states.
const STATES_BEGIN: usize = RUN_BYTES + GROUP_PAGES;

/// The parts of the body of a PAGES frame, to be filled.
#[derive(Debug)]
pub struct PagesBody<'a> {
    /// One key a page, in ascending order.
    pub keys: &'a mut [u8],
    /// One state a page, in ascending order.
    pub states: &'a mut [u8],
    /// Room for all pages, 4096 bytes each; those with content are put at the front, in ascending
    /// order.
    pub pages: &'a mut [u8],
}

/// The parts of the body of a KEYS frame, to be filled.
#[derive(Debug)]
pub struct KeysBody<'a> {
    /// One key a page, in ascending order.
    pub keys: &'a mut [u8],
    /// One state a page, in ascending order.
    pub states: &'a mut [u8],
}

/// The bytes that the body of a PAGES frame takes when the pages of `run` have content, and no
/// others are in it.
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
/// small for all pages.
#[must_use]
pub fn begin_pages(run: PageRun, body: &mut [u8]) -> Option<PagesBody<'_>> {
    let (prefix, pages) = body.split_at_mut_checked(PAGES_PREFIX_BYTES)?;
    let KeysBody { keys, states } = begin_keys(run, prefix)?;
    let pages = pages.get_mut(..count(run).saturating_mul(PAGE_BYTES))?;
    Some(PagesBody { keys, states, pages })
}

/// Writes group and mask, zeroes the unused keys and states, and gives those to be filled.
#[must_use]
pub fn begin_keys(run: PageRun, body: &mut [u8]) -> Option<KeysBody<'_>> {
    let (group, rest) = body.split_first_chunk_mut::<8>()?;
    let (mask, rest) = rest.split_first_chunk_mut::<8>()?;
    *group = run.group.get().to_be_bytes();
    *mask = run.mask.to_be_bytes();
    let (keys, states) = rest.split_at_mut_checked(GROUP_PAGES)?;
    let states = states.get_mut(..GROUP_PAGES)?;
    keys.fill(0);
    states.fill(0);
    let (keys, states) = (keys.get_mut(..count(run))?, states.get_mut(..count(run))?);
    Some(KeysBody { keys, states })
}

/// The pages of `run` that have content by their states, one byte a page; `None` when there are
/// fewer states, or one of them is none.
#[must_use]
pub fn with_content(run: PageRun, states: &[u8]) -> Option<PageRun> {
    let (mut content, mut rest) = (0, run.mask);
    for code in states.get(..count(run))? {
        // The lowest bit that is left is the page of this state.
        let behind = rest & rest.wrapping_sub(1);
        if PageState::from_code(*code)?.has_content() {
            content |= rest ^ behind;
        }
        rest = behind;
    }
    Some(PageRun { group: run.group, mask: content })
}

/// Reads group and mask of a PAGES or KEYS body and holds the rest against them: its states, its
/// length, and that keys and states of no page are zero.
///
/// # Errors
/// Names group, mask, keys, states or page bodies.
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
    let keys = body.get(RUN_BYTES..STATES_BEGIN);
    let keys = keys.ok_or(DecodeError::new(Fault::Truncated, Field::Keys))?;
    let states = body.get(STATES_BEGIN..PAGES_PREFIX_BYTES);
    let states = states.ok_or(DecodeError::new(Fault::Truncated, Field::States))?;
    let content = with_content(run, states);
    let content = content.ok_or(DecodeError::new(Fault::Unknown, Field::States))?;
    let expected = if with_pages { pages_body_bytes(content) } else { keys_body_bytes() };
    let last = if with_pages { Field::PageBody } else { Field::States };
    if body.len() < expected {
        return Err(DecodeError::new(Fault::Truncated, last));
    }
    if body.len() > expected {
        return Err(DecodeError::new(Fault::Trailing, last));
    }
    for (bytes, field) in [(keys, Field::Keys), (states, Field::States)] {
        if bytes.iter().skip(count(run)).any(|byte| *byte != 0) {
            return Err(DecodeError::new(Fault::NotZero, field));
        }
    }
    Ok(run)
}

/// The keys of a parsed body, one a page of `run`.
#[must_use]
pub fn keys_of(run: PageRun, body: &[u8]) -> &[u8] {
    body.get(RUN_BYTES..).and_then(|keys| keys.get(..count(run))).unwrap_or(&[])
}

/// The states of a parsed body, one a page of `run`.
#[must_use]
pub fn states_of(run: PageRun, body: &[u8]) -> &[u8] {
    body.get(STATES_BEGIN..).and_then(|states| states.get(..count(run))).unwrap_or(&[])
}

/// The page bodies of a parsed PAGES body, of the pages with content.
#[must_use]
pub fn pages_of(body: &[u8]) -> &[u8] {
    body.get(PAGES_PREFIX_BYTES..).unwrap_or(&[])
}

/// The number of pages of `run` in the platform's size type.
fn count(run: PageRun) -> usize {
    usize::try_from(run.mask.count_ones()).unwrap_or(GROUP_PAGES)
}
