//! The frames with pages or keys that are under way, so that none of them is ever forgotten.
//!
//! Source of truth: ARCHITECTURE.md, "Memory". Invariant: a page whose bit was cleared is either
//! acknowledged, or named here, or its bit is set again. The slots are lent; here are only the
//! positions. Frames are acknowledged in the order in which they were sent.

use crate::{
    memory::{DirtyBitmap, PageRun},
    units::Sequence,
};

/// One frame under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SentRun {
    /// Number of the frame.
    pub sequence: Sequence,
    /// The pages that it carries.
    pub run: PageRun,
    /// Whether it carries page bodies, or keys alone.
    pub with_pages: bool,
    /// Its length on the wire.
    pub bytes: u64,
}

/// Positions in the lent slots: a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Window {
    first: usize,
    count: usize,
    limit: usize,
}

impl Window {
    /// An empty window of at most `limit` frames over `slots` lent slots.
    pub(super) fn new(limit: u32, slots: usize) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(slots);
        Self { first: 0, count: 0, limit }
    }

    /// Whether no more frame may be sent for now.
    pub(super) const fn is_full(&self) -> bool {
        self.count >= self.limit
    }

    /// Notes a frame; the window was not full.
    pub(super) fn push(&mut self, sent: SentRun, slots: &mut [Option<SentRun>]) {
        let position = self.position(self.count, slots.len());
        if let Some(slot) = slots.get_mut(position) {
            *slot = Some(sent);
            self.count = self.count.saturating_add(1);
        }
    }

    /// A frame was shorter than it was noted.
    pub(super) fn shorten(&self, sequence: Sequence, bytes: u64, slots: &mut [Option<SentRun>]) {
        // It is the last one, but for a few that wait for room on the link.
        let sent = slots.iter_mut().flatten().find(|sent| sent.sequence == sequence);
        if let Some(sent) = sent {
            sent.bytes = sent.bytes.saturating_sub(bytes);
        }
    }

    /// Takes out every frame up to `sequence`; gives their bytes.
    pub(super) fn acknowledge(&mut self, sequence: u64, slots: &mut [Option<SentRun>]) -> u64 {
        let mut bytes = 0_u64;
        for _ in 0..self.count {
            let Some(slot) = slots.get_mut(self.first) else {
                break;
            };
            match *slot {
                Some(sent) if sent.sequence.get() <= sequence => {
                    bytes = bytes.saturating_add(sent.bytes);
                    *slot = None;
                    self.first = self.position(1, slots.len());
                    self.count = self.count.saturating_sub(1);
                }
                _ => break,
            }
        }
        bytes
    }

    /// Puts every page and key under way back into its map and empties the window; gives the
    /// number of pages.
    pub(super) fn put_back(
        &mut self,
        slots: &mut [Option<SentRun>],
        pages: &DirtyBitmap<'_>,
        keys: &DirtyBitmap<'_>,
    ) -> u64 {
        let mut count = 0_u64;
        for sent in slots.iter_mut().filter_map(Option::take) {
            let map = if sent.with_pages { pages } else { keys };
            if sent.with_pages {
                count = count.saturating_add(sent.run.page_count().get());
            }
            if map.put_back(sent.run).is_err() {
                crate::fmt::warning!("a run under way lies outside of the guest");
            }
        }
        self.first = 0;
        self.count = 0;
        count
    }

    /// The slot `offset` places behind the first one.
    fn position(&self, offset: usize, slots: usize) -> usize {
        self.first.saturating_add(offset).checked_rem(slots).unwrap_or(0)
    }
}
