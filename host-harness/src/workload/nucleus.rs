//! Where the guest keeps what it remembers: the nucleus and the areas of the workloads.
//!
//! The first pages of guest storage have fixed places; behind the prefix areas follow the areas
//! of hot set, key-value store and sweep. Parameters and state are doublewords in control blocks
//! of the nucleus page, so that they move with the pages and with nothing else.
//!
//! Source of truth: this file for the layout; Principles of Operation, "Assigned Storage
//! Locations", for the prefix area. Invariants: areas do not overlap; each control block has one
//! processor that writes it. Deliberately not here: what the words mean to a workload, which is
//! said by the workload.

use monitor_core::units::{PageCount, Tick};

use super::{GuestPlan, IplError, Kind};
use crate::machine::{AddressFault, Storage};

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;
/// The page with the control blocks.
const NUCLEUS: u64 = 2 * PAGE;
/// The page of the console's channel program.
pub(super) const CONSOLE_PAGE: u64 = 3 * PAGE;
/// The page of the LAN lines' channel program: the script uses one line at a time.
pub(super) const LAN_PAGE: u64 = 4 * PAGE;
/// The page with the table of LAN lines.
pub(super) const LINE_TABLE: u64 = 5 * PAGE;
/// The page of the journal's channel programs.
pub(super) const JOURNAL_PAGE: u64 = 6 * PAGE;
/// The page that holds the record being written.
pub(super) const RECORD_OUT: u64 = 7 * PAGE;
/// The page that takes the record read back.
pub(super) const RECORD_IN: u64 = 8 * PAGE;
/// The first prefix area; each processor has its own 8 KiB, so that a lost prefix shows.
const PREFIXES: u64 = 10 * PAGE;
/// Bytes of one prefix area.
const PREFIX_BYTES: u64 = 2 * PAGE;

/// Lines that the table takes: one page of entries of 64 bytes.
pub(super) const LINES_MAX: usize = 64;
/// Bytes of the name in an entry of the line table.
pub(super) const LINE_NAME_BYTES: usize = 32;

/// Code addresses: where the PSW points while the guest runs.
pub(super) mod code {
    /// The dispatcher and the workloads.
    pub(in super::super) const MAIN: u64 = 0x0001_0000;
    /// The handler of external interruptions.
    pub(in super::super) const EXTERNAL: u64 = 0x0001_1000;
    /// The handler of I/O interruptions.
    pub(in super::super) const IO: u64 = 0x0001_2000;
}

/// Registers of processor 0 and of the hot set's processor that carry state of the workloads.
pub(super) mod register {
    /// Next page of the sweep, counted in its area.
    pub(in super::super) const SWEEP_POSITION: usize = 6;
    /// Rounds that the sweep has completed.
    pub(in super::super) const SWEEP_ROUNDS: usize = 7;
    /// State of the key-value store's random numbers.
    pub(in super::super) const STORE_RANDOM: usize = 8;
    /// Operations of the key-value store.
    pub(in super::super) const STORE_COUNT: usize = 9;
    /// State of the hot set's random numbers.
    pub(in super::super) const HOT_RANDOM: usize = 10;
    /// Dirtyings of the hot set.
    pub(in super::super) const HOT_COUNT: usize = 11;
}

/// The control blocks of the nucleus page.
#[derive(Clone, Copy, Debug)]
pub(super) enum BlockName {
    System,
    Idle,
    HotSet,
    Sweep,
    KeyValue,
    Journal,
}

/// Where a word of a control block is.
pub(super) fn word_address(name: BlockName, word: u64) -> u64 {
    NUCLEUS + name as u64 * 512 + 8 * word
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
pub(super) mod word {
    /// Not zero when the guest has this workload.
    pub(in super::super) const PRESENT: u64 = 0;
    /// The moment from which work is counted; all ones before the first step.
    pub(in super::super) const ANCHOR: u64 = 1;
    /// Units of work done since the anchor.
    pub(in super::super) const DONE: u64 = 2;
    /// Units of work due in each period; zero for as many as possible.
    pub(in super::super) const UNITS: u64 = 3;
    /// The period in microseconds.
    pub(in super::super) const PERIOD: u64 = 4;
    /// The first word that a workload has for itself.
    pub(in super::super) const OWN: u64 = 8;
}

/// Work that may be caught up after a stop: what is due in this time.
const CATCH_UP_US: u64 = 5000;

impl Block<'_> {
    /// Writes the common words of a workload that does `units` in each period.
    pub(super) fn define(self, units: u64, period_us: u64) -> Result<(), AddressFault> {
        self.set(word::PRESENT, 1)?;
        self.set(word::ANCHOR, u64::MAX)?;
        self.set(word::DONE, 0)?;
        self.set(word::UNITS, units)?;
        self.set(word::PERIOD, period_us)
    }

    pub(super) fn is_present(self) -> Result<bool, AddressFault> {
        Ok(self.get(word::PRESENT)? != 0)
    }

    /// Units of work that are due at `now`, and when the next one is if there is none.
    pub(super) fn due(self, now: Tick) -> Result<(u64, Tick), AddressFault> {
        let units = self.get(word::UNITS)?;
        if units == 0 {
            return Ok((u64::MAX, now));
        }
        let period = self.get(word::PERIOD)?.max(1);
        let anchor = match self.get(word::ANCHOR)? {
            u64::MAX => {
                self.set(word::ANCHOR, now.get())?;
                now.get()
            }
            anchor => anchor,
        };
        let done = self.get(word::DONE)?;
        let due = units_in(now.get().saturating_sub(anchor), units, period).saturating_sub(done);
        let most = units_in(CATCH_UP_US, units, period).max(1);
        if due > most {
            // A stop is not followed by a burst: what was missed beyond the limit is forgotten.
            let span = time_of(most, units, period);
            self.set(word::ANCHOR, now.get().saturating_sub(span))?;
            self.set(word::DONE, 0)?;
            return Ok((most, now));
        }
        let next = anchor.saturating_add(time_of(done.saturating_add(1), units, period));
        Ok((due, Tick::new(next)))
    }

    /// Notes that `count` units are done.
    pub(super) fn advance(self, count: u64) -> Result<(), AddressFault> {
        if count == 0 || self.get(word::UNITS)? == 0 {
            return Ok(());
        }
        self.add(word::DONE, count)
    }
}

/// Whole units in a span of time.
fn units_in(span_us: u64, units: u64, period_us: u64) -> u64 {
    let whole = u128::from(span_us) * u128::from(units) / u128::from(period_us);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

/// The time after which `count` units are due.
fn time_of(count: u64, units: u64, period_us: u64) -> u64 {
    let span = (u128::from(count) * u128::from(period_us)).div_ceil(u128::from(units));
    u64::try_from(span).unwrap_or(u64::MAX)
}

/// The step of the random numbers' state: after n steps the state is seed + n * STEP.
pub(super) const RANDOM_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Scrambles a number (the finalizer of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let one = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    two ^ (two >> 31)
}

/// Steps the state in a register and gives the next random number.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(RANDOM_STEP);
    mix(*state)
}

/// A run of pages that one workload uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    /// Address of the first page.
    pub(super) origin: u64,
    /// Number of pages.
    pub(super) pages: u64,
}

/// The areas of the workloads in a guest of a given size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) hot_set: Area,
    pub(super) key_value: Area,
    pub(super) sweep: Area,
}

impl Layout {
    /// Lays out the areas; what no other workload uses is the sweep's.
    pub(super) fn new(
        plan: &GuestPlan,
        memory: PageCount,
        processor_count: u16,
    ) -> Result<Self, IplError> {
        let mut layout =
            Self { hot_set: Area::default(), key_value: Area::default(), sweep: Area::default() };
        for kind in &plan.kinds {
            match *kind {
                Kind::HotSet { window, .. } => layout.hot_set.pages = window.get().max(1),
                Kind::KeyValue { slots, .. } => {
                    layout.key_value.pages = slots.max(1).div_ceil(super::key_value::PAGE_SLOTS);
                }
                Kind::Sweep { .. } => layout.sweep.pages = 1,
                Kind::Idle | Kind::Journal { .. } => {}
            }
        }
        layout.hot_set.origin = prefix(processor_count);
        layout.key_value.origin = end_of(layout.hot_set)?;
        layout.sweep.origin = end_of(layout.key_value)?;
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

/// The prefix of a processor; that of the number of processors is where the areas begin.
pub(super) fn prefix(processor: u16) -> u64 {
    PREFIXES + u64::from(processor) * PREFIX_BYTES
}

/// The Prefix-area offsets that the guest's handlers and its IPL use.
pub(super) mod low_core {
    /// External-interruption parameter, 4 bytes.
    pub(in super::super) const EXTERNAL_PARAMETER: u64 = 0x80;
    /// External-interruption code, 2 bytes.
    pub(in super::super) const EXTERNAL_CODE: u64 = 0x86;
    /// Subsystem identification: 2 bytes, then the subchannel number.
    pub(in super::super) const SUBSYSTEM_ID: u64 = 0xB8;
    /// I/O-interruption parameter, 4 bytes.
    pub(in super::super) const IO_PARAMETER: u64 = 0xBC;
    /// External old PSW.
    pub(in super::super) const EXTERNAL_OLD: u64 = 0x130;
    /// I/O old PSW.
    pub(in super::super) const IO_OLD: u64 = 0x170;
    /// External new PSW.
    pub(in super::super) const EXTERNAL_NEW: u64 = 0x1B0;
    /// I/O new PSW.
    pub(in super::super) const IO_NEW: u64 = 0x1F0;
}
