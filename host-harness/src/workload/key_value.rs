//! Key-value workload: a hash table with checksums in guest storage.
//!
//! A random key is put or got. Its slot holds key, version, value and checksum; a put counts the
//! version on and replaces the content, a get verifies it. A torn page breaks a checksum; a page
//! of an earlier moment makes the sum of all versions fall short of the puts counted.
//!
//! Source of truth: this file. Invariants: the random numbers' state is the seed plus the count
//! of operations times a constant; puts and gets add up to the operations. Deliberately not
//! here: the judgement ([`super::check()`]).

use super::nucleus::{Area, Block, BlockName, PAGE, mix, next_random, register, word};
use crate::machine::{AddressFault, Context, Step, Storage};

/// Bytes of a slot: key, version, value of five doublewords, checksum.
const SLOT_BYTES: u64 = 64;
/// Doublewords of a value.
const VALUE_WORDS: usize = 5;
/// Slots in a page.
pub(super) const PAGE_SLOTS: u64 = PAGE / SLOT_BYTES;
/// Keys for each slot, so that keys drive out one another.
const SLOT_KEYS: u64 = 4;

/// Address of the table.
const ORIGIN: u64 = word::OWN;
/// Number of slots.
const SLOTS: u64 = word::OWN + 1;
/// Puts so far.
pub(super) const PUTS: u64 = word::OWN + 2;
/// Gets so far.
pub(super) const GETS: u64 = word::OWN + 3;
/// Slots that the guest itself has found wrong.
pub(super) const FAULTS: u64 = word::OWN + 4;

/// The content of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    key: u64,
    /// Puts into this slot so far.
    pub(super) version: u64,
    value: [u64; VALUE_WORDS],
    checksum: u64,
}

impl Slot {
    /// The slot as it is after the put number `version`, which was of `key`.
    fn new(key: u64, version: u64) -> Self {
        let mut slot = Self { key, version, value: [0; VALUE_WORDS], checksum: 0 };
        let mut state = key ^ mix(version);
        for target in &mut slot.value {
            *target = next_random(&mut state);
        }
        slot.checksum = slot.sum();
        slot
    }

    fn sum(&self) -> u64 {
        let start = mix(self.key ^ mix(self.version));
        self.value.iter().fold(start, |sum, item| mix(sum.rotate_left(7) ^ item))
    }

    /// The address of slot `index`.
    pub(super) fn address(origin: u64, index: u64) -> u64 {
        origin + index * SLOT_BYTES
    }

    /// The slot of these doublewords.
    pub(super) fn from_words(words: [u64; 8]) -> Self {
        let [key, version, value @ .., checksum] = words;
        Self { key, version, value, checksum }
    }

    fn load(storage: &Storage, address: u64) -> Result<Self, AddressFault> {
        let mut words = [0; 8];
        for (number, target) in (0..).zip(&mut words) {
            *target = storage.load(address + 8 * number)?;
        }
        Ok(Self::from_words(words))
    }

    fn store(&self, storage: &Storage, address: u64) -> Result<(), AddressFault> {
        let block = Block::at(storage, address);
        block.set(0, self.key)?;
        block.set(1, self.version)?;
        for (number, item) in (2..).zip(self.value) {
            block.set(number, item)?;
        }
        block.set(7, self.checksum)
    }

    /// Whether the checksum fits and the key belongs into slot `index` of `slots`.
    pub(super) fn is_right(&self, index: u64, slots: u64) -> bool {
        self.checksum == self.sum() && (self.version == 0 || home(self.key, slots) == index)
    }
}

/// The slot of a key.
fn home(key: u64, slots: u64) -> u64 {
    mix(key).checked_rem(slots).unwrap_or(0)
}

/// Writes the control block and the empty slots.
pub(super) fn define(
    block: Block<'_>,
    storage: &Storage,
    area: Area,
    slots: u64,
) -> Result<(), AddressFault> {
    block.set(ORIGIN, area.origin)?;
    block.set(SLOTS, slots)?;
    for counter in [PUTS, GETS, FAULTS] {
        block.set(counter, 0)?;
    }
    for index in 0..slots {
        Slot::new(0, 0).store(storage, Slot::address(area.origin, index))?;
    }
    Ok(())
}

/// Does the operations that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, AddressFault> {
    let storage = context.storage;
    let block = Block::new(storage, BlockName::KeyValue);
    let (due, next) = block.due(context.now())?;
    let count = due.min(u64::from(budget));
    let (origin, slots) = (block.get(ORIGIN)?, block.get(SLOTS)?);
    for _ in 0..count {
        let random = next_random(&mut context.state.general[register::STORE_RANDOM]);
        let key = (random >> 1) % slots.saturating_mul(SLOT_KEYS).max(1);
        let index = home(key, slots);
        let address = Slot::address(origin, index);
        let slot = Slot::load(storage, address)?;
        if !slot.is_right(index, slots) {
            block.add(FAULTS, 1)?;
        }
        if random & 1 == 0 {
            Slot::new(key, slot.version + 1).store(storage, address)?;
            block.add(PUTS, 1)?;
        } else {
            block.add(GETS, 1)?;
        }
        context.state.general[register::STORE_COUNT] += 1;
    }
    block.advance(count)?;
    Ok(super::worked(count, next))
}
