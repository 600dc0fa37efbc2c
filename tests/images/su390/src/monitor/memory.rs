//! The memory that this monitor lends to the core: all of it is there when the image is loaded.
//!
//! Source of truth: `monitor_core::driver` for what is lent. Invariants: each part is taken once;
//! maps are for guests of up to [`PAGES_MAX`] pages. Deliberately not here: guest storage, which
//! lies behind the image.

use monitor_core::{
    device::DeviceEntry,
    driver::{BUFFER_BYTES, SourceMemory, TargetMemory},
    memory::{AtomicWord, DirtyBitmap},
    migrate::SentRun,
    ports::ErrorKind,
    units::PageCount,
};
use spin::{Mutex, MutexGuard};

use super::config::DEVICES_MAX;
use crate::guest::Maps;

/// The largest guest: 512 MiB.
pub const PAGES_MAX: PageCount = PageCount::new(512 << 8);
/// Frames that may be under way.
pub const WINDOW: usize = 64;

const WORDS: usize = match DirtyBitmap::words_needed(PAGES_MAX) {
    Some(words) => words,
    None => 0,
};

static PAGE_WORDS: [AtomicWord; WORDS] = [const { AtomicWord::new(0) }; WORDS];
static KEY_WORDS: [AtomicWord; WORDS] = [const { AtomicWord::new(0) }; WORDS];
static OUTGOING: Mutex<[u8; BUFFER_BYTES]> = Mutex::new([0; BUFFER_BYTES]);
static INCOMING: Mutex<[u8; BUFFER_BYTES]> = Mutex::new([0; BUFFER_BYTES]);

/// Maps for a guest of so many pages.
///
/// # Errors
/// Fails for a guest that is too large.
pub fn maps(pages: PageCount) -> Result<Maps, ErrorKind> {
    let words = DirtyBitmap::words_needed(pages).ok_or(ErrorKind::NoResource)?;
    let map = |all: &'static [AtomicWord]| {
        let words = all.get(..words).ok_or(ErrorKind::NoResource)?;
        DirtyBitmap::try_new(words, pages).map_err(|_| ErrorKind::NoResource)
    };
    Ok(Maps { pages: map(&PAGE_WORDS)?, keys: map(&KEY_WORDS)? })
}

/// What is lent to one driver after the other.
#[derive(Debug)]
pub struct Memory {
    outgoing: MutexGuard<'static, [u8; BUFFER_BYTES]>,
    incoming: MutexGuard<'static, [u8; BUFFER_BYTES]>,
    window: [Option<SentRun>; WINDOW],
    entries: [DeviceEntry; DEVICES_MAX],
}

impl Memory {
    /// Takes the buffers; nobody else can afterwards.
    #[must_use]
    pub fn take() -> Self {
        Self {
            outgoing: OUTGOING.lock(),
            incoming: INCOMING.lock(),
            window: [const { None }; WINDOW],
            entries: [const { DeviceEntry::vacant() }; DEVICES_MAX],
        }
    }

    /// For a source whose VM has these devices.
    pub fn of_source(
        &mut self,
        maps: Maps,
        devices: impl Iterator<Item = DeviceEntry>,
    ) -> SourceMemory<'_> {
        let count = self.fill(devices);
        SourceMemory {
            pages: maps.pages,
            keys: maps.keys,
            window: &mut self.window,
            devices: &mut self.entries[..count],
            outgoing: &mut *self.outgoing,
            incoming: &mut *self.incoming,
        }
    }

    /// For a target, with the devices that the VM has already if it is restored.
    pub fn of_target(&mut self, devices: impl Iterator<Item = DeviceEntry>) -> TargetMemory<'_> {
        self.fill(devices);
        TargetMemory {
            devices: &mut self.entries,
            outgoing: &mut *self.outgoing,
            incoming: &mut *self.incoming,
        }
    }

    fn fill(&mut self, mut devices: impl Iterator<Item = DeviceEntry>) -> usize {
        self.window = [const { None }; WINDOW];
        let mut count = 0;
        for place in &mut self.entries {
            let next = devices.next();
            count += usize::from(next.is_some());
            *place = next.unwrap_or_else(DeviceEntry::vacant);
        }
        count
    }
}
