//! Where the guest keeps what it remembers: the nucleus and the areas of the workloads.
//!
//! The first pages of guest storage have fixed places; behind the prefix areas follow the areas of
//! hot set, key-value store, network, journal and sweep. Parameters and state are doublewords in
//! control blocks of the nucleus page, so that they move with the pages and with nothing else.
//!
//! Source of truth: this file and the package `guest` for the layout; Principles of Operation,
//! "Assigned Storage Locations", for the prefix area. Invariants: areas do not overlap; each
//! control block has one processor that writes it. Deliberately not here: what the words mean to a
//! workload, which is said by the workload.

use monitor_core::units::{PageCount, Tick};

pub(super) use guest::{
    Area,
    layout::{PAGE, prefix},
    random::{STEP as RANDOM_STEP, mix, next as next_random},
};
use guest::{layout, pace};

use super::{GuestPlan, IplError, Kind};
use crate::machine::{AddressFault, Storage};

/// The page of the console's channel program.
pub(super) const CONSOLE_PAGE: u64 = 3 * PAGE;
/// The page of the LAN lines' channel program: the script uses one line at a time.
pub(super) const LAN_PAGE: u64 = 4 * PAGE;
/// The page with the table of LAN lines.
pub(super) const LINE_TABLE: u64 = 5 * PAGE;
/// The first of three pages of the journal's first disk.
pub(super) const JOURNAL_PAGE: u64 = 6 * PAGE;
/// The page of the control blocks for which the nucleus page has no place.
const FURTHER_BLOCKS: u64 = 9 * PAGE;

/// Lines that the table takes: one page of entries of 64 bytes.
pub(super) const LINES_MAX: usize = 64;
/// Bytes of the name in an entry of the line table.
pub(super) const LINE_NAME_BYTES: usize = 32;

/// Code addresses: where the PSW points while the guest runs.
pub(super) mod code {
    /// The dispatcher and the workloads.
    pub(in super::super) use guest::layout::CODE as MAIN;
    /// The handler of external interruptions.
    pub(in super::super) const EXTERNAL: u64 = 0x0001_1000;
    /// The handler of I/O interruptions.
    pub(in super::super) const IO: u64 = 0x0001_2000;
    /// The handler of supervisor calls.
    pub(in super::super) const SUPERVISOR: u64 = 0x0001_3000;
    /// The handler of program interruptions.
    pub(in super::super) const PROGRAM: u64 = 0x0001_4000;
    /// The task of the processors workload, point by point.
    pub(in super::super) const TASK: u64 = 0x0001_5000;
}

/// Registers of processor 0 and of the hot set's processor that carry state of the workloads.
pub(super) use guest::layout as register;

/// The control blocks of the nucleus page.
#[derive(Clone, Copy, Debug)]
pub(super) enum BlockName {
    System,
    Idle,
    HotSet,
    Sweep,
    KeyValue,
    Journal,
    Network,
    Processors,
    Keys,
    States,
    Messages,
}

/// Where a word of a control block is.
pub(super) fn word_address(name: BlockName, word: u64) -> u64 {
    const PAGE_BLOCKS: u64 = PAGE / layout::BLOCK_BYTES;
    let (page, place) = match (name as u64).checked_sub(PAGE_BLOCKS) {
        None => (layout::NUCLEUS, name as u64),
        Some(place) => (FURTHER_BLOCKS, place),
    };
    page + place * layout::BLOCK_BYTES + 8 * word
}

/// A control block: doublewords at a fixed place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    storage: &'a Storage,
    origin: u64,
}

impl<'a> Block<'a> {
    /// The control block of this name.
    pub(super) fn new(storage: &'a Storage, name: BlockName) -> Self {
        Self { storage, origin: word_address(name, 0) }
    }

    /// The doublewords that begin at `origin`.
    pub(super) fn at(storage: &'a Storage, origin: u64) -> Self {
        Self { storage, origin }
    }

    pub(super) fn get(self, word: u64) -> Result<u64, AddressFault> {
        self.storage.load(self.origin + 8 * word)
    }

    pub(super) fn set(self, word: u64, value: u64) -> Result<(), AddressFault> {
        self.storage.store(self.origin + 8 * word, value)
    }

    pub(super) fn add(self, word: u64, count: u64) -> Result<(), AddressFault> {
        self.set(word, self.get(word)?.wrapping_add(count))
    }

    /// Stores a text of at most `N` bytes, padded with zeros, from `word` on.
    pub(super) fn set_text<const N: usize>(
        self,
        word: u64,
        text: &str,
    ) -> Result<(), AddressFault> {
        let mut bytes = [0; N];
        for (target, byte) in bytes.iter_mut().zip(text.bytes()) {
            *target = byte;
        }
        self.storage.store_bytes(self.origin + 8 * word, &bytes)
    }

    /// The text that [`Block::set_text`] has stored.
    pub(super) fn text<const N: usize>(self, word: u64) -> Result<String, AddressFault> {
        let mut bytes = [0; N];
        self.storage.load_bytes(self.origin + 8 * word, &mut bytes)?;
        let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(N);
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

/// Words of a workload's control block: the first five are the same in each.
pub(super) use guest::pace as word;

impl Block<'_> {
    /// Writes the common words of a workload that does `units` in each period.
    pub(super) fn define(mut self, units: u64, period_us: u64) -> Result<(), AddressFault> {
        pace::define(&mut self.storage, self.origin, units, period_us)
    }

    pub(super) fn is_present(self) -> Result<bool, AddressFault> {
        Ok(self.get(word::PRESENT)? != 0)
    }

    /// Units of work that are due at `now`, and when the next one is if there is none.
    pub(super) fn due(mut self, now: Tick) -> Result<(u64, Tick), AddressFault> {
        let due = pace::due(&mut self.storage, self.origin, now.get())?;
        Ok((due.count, Tick::new(due.next_us)))
    }

    /// Notes that `count` units are done.
    pub(super) fn advance(mut self, count: u64) -> Result<(), AddressFault> {
        pace::advance(&mut self.storage, self.origin, count)
    }
}

impl guest::Storage for &Storage {
    type Fault = AddressFault;

    fn load(&self, address: u64) -> Result<u64, AddressFault> {
        Storage::load(self, address)
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), AddressFault> {
        Storage::store(self, address, value)
    }
}

/// The areas of the workloads in a guest of a given size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) hot_set: Area,
    pub(super) key_value: Area,
    pub(super) network: Area,
    pub(super) journal: Area,
    pub(super) keys: Area,
    pub(super) states: Area,
    pub(super) messages: Area,
    pub(super) sweep: Area,
}

impl Layout {
    /// Lays out the areas; what no other workload uses is the sweep's.
    pub(super) fn new(
        plan: &GuestPlan,
        memory: PageCount,
        processor_count: u16,
    ) -> Result<Self, IplError> {
        let mut layout = Self::default();
        for kind in &plan.kinds {
            match *kind {
                Kind::HotSet { window, .. } => layout.hot_set.pages = window.get().max(1),
                Kind::KeyValue { slots, .. } => {
                    layout.key_value.pages = slots.max(1).div_ceil(super::key_value::PAGE_SLOTS);
                }
                Kind::Sweep { .. } | Kind::MemoryOnly { .. } => layout.sweep.pages = 1,
                Kind::Network => {
                    layout.network.pages = super::network::page_count(plan.lines.len());
                }
                Kind::Journal { .. } => {
                    layout.journal.pages = super::journal::page_count(plan.journal.len());
                }
                Kind::Keys { pages, .. } => layout.keys.pages = pages.get().max(1),
                Kind::PageStates { pages, .. } => layout.states.pages = pages.get().max(1),
                Kind::Messages { .. } => layout.messages.pages = super::messages::PAGES,
                Kind::Idle | Kind::Processors { .. } => {}
            }
        }
        layout.hot_set.origin = prefix(processor_count);
        layout.key_value.origin = end_of(layout.hot_set)?;
        layout.network.origin = end_of(layout.key_value)?;
        layout.journal.origin = end_of(layout.network)?;
        layout.keys.origin = end_of(layout.journal)?;
        layout.states.origin = end_of(layout.keys)?;
        layout.messages.origin = end_of(layout.states)?;
        layout.sweep.origin = end_of(layout.messages)?;
        let needed = end_of(layout.sweep)? / PAGE;
        let spare = memory
            .get()
            .checked_sub(needed)
            .ok_or(IplError::MemoryTooSmall { needed: PageCount::new(needed) })?;
        if layout.sweep.pages != 0 {
            layout.sweep.pages += spare;
        }
        Ok(layout)
    }
}

/// The address behind an area.
fn end_of(area: Area) -> Result<u64, IplError> {
    area.pages
        .checked_mul(PAGE)
        .and_then(|bytes| area.origin.checked_add(bytes))
        .ok_or(IplError::MemoryTooSmall { needed: PageCount::new(u64::MAX) })
}

/// The prefix-area offsets that the guest's handlers and its IPL use.
pub(super) mod low_core {
    /// External-interruption parameter, 4 bytes.
    pub(in super::super) const EXTERNAL_PARAMETER: u64 = 0x80;
    /// CPU address of who has signaled, 2 bytes.
    pub(in super::super) const EXTERNAL_CPU_ADDRESS: u64 = 0x84;
    /// External-interruption code, 2 bytes.
    pub(in super::super) const EXTERNAL_CODE: u64 = 0x86;
    /// Length and code of the supervisor call, then of the program interruption, 2 bytes each.
    pub(in super::super) const CODES: u64 = 0x88;
    /// Translation-exception identification.
    pub(in super::super) const TRANSLATION: u64 = 0xA8;
    /// Subsystem identification: 2 bytes, then the subchannel number.
    pub(in super::super) const SUBSYSTEM_ID: u64 = 0xB8;
    /// I/O-interruption parameter, 4 bytes.
    pub(in super::super) const IO_PARAMETER: u64 = 0xBC;
    /// External old PSW.
    pub(in super::super) const EXTERNAL_OLD: u64 = 0x130;
    /// Supervisor-call old PSW.
    pub(in super::super) const SUPERVISOR_OLD: u64 = 0x140;
    /// Program old PSW.
    pub(in super::super) const PROGRAM_OLD: u64 = 0x150;
    /// I/O old PSW.
    pub(in super::super) const IO_OLD: u64 = 0x170;
    /// External new PSW.
    pub(in super::super) const EXTERNAL_NEW: u64 = 0x1B0;
    /// Supervisor-call new PSW.
    pub(in super::super) const SUPERVISOR_NEW: u64 = 0x1C0;
    /// Program new PSW.
    pub(in super::super) const PROGRAM_NEW: u64 = 0x1D0;
    /// I/O new PSW.
    pub(in super::super) const IO_NEW: u64 = 0x1F0;
    /// A doubleword of the guest's own: not zero while its processor has left its work.
    pub(in super::super) const HAS_LEFT: u64 = 0x200;
}
