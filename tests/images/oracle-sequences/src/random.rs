//! Sequences that a seed decides.
//!
//! Source of truth: SplitMix64 (Steele, Lea, Flood 2014). Invariants: a seed makes the same
//! sequence on every machine; what the fixed sequences have shown to differ for good reasons is
//! left out, so that few differences need a line in the list. Deliberately not here: what is
//! special, see [`crate::fixed`].

use crate::{
    area::{A, B, D, LIST, PAGE_BYTES, PROGRAM},
    fixed::{ckd, fba},
    sequence::{CC, CD, IDA, SKIP, SLI, Sequence},
    step::{Step, Unit},
};

const NOP: u8 = 0x03;
const SENSE_ID: u8 = 0xE4;
/// Pages from the first page of data on.
const DATA_PAGES: u32 = 4;

/// Numbers that a seed decides.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u16) -> u16 {
        u16::try_from(self.next() % u64::from(bound)).unwrap_or_default()
    }

    /// Whether it is so, once in `bound` times.
    fn once_in(&mut self, bound: u16) -> bool {
        self.below(bound) == 0
    }

    /// One of several.
    fn one_of<T: Copy + Default>(&mut self, several: &[T]) -> T {
        let bound = u16::try_from(several.len()).unwrap_or(1);
        several.get(usize::from(self.below(bound))).copied().unwrap_or_default()
    }

    /// A flag or none.
    fn flag(&mut self, flag: u8, bound: u16) -> u8 {
        if self.once_in(bound) { flag } else { 0 }
    }

    /// An address in a page of data, so far from its end that no transfer crosses it.
    fn address(&mut self) -> u32 {
        A + u32::from(self.below(4)) * PAGE_BYTES + u32::from(self.below(0xA00))
    }
}

/// The sequence of a seed.
#[must_use]
pub fn sequence(seed: u64) -> Sequence {
    let mut random = Random(seed);
    match random.below(8) {
        0..=2 => program(seed, &mut random),
        3 | 4 => track(seed, &mut random),
        5 => blocks(seed, &mut random),
        6 => instructions(seed, &mut random),
        _ => keys(seed, &mut random),
    }
}

/// The keys and the first bytes of all pages of data.
fn told(mut sequence: Sequence) -> Sequence {
    sequence = sequence.key(PROGRAM);
    for page in 0..DATA_PAGES {
        sequence = sequence.key(A + page * PAGE_BYTES);
    }
    sequence.show(A, DATA_PAGES * PAGE_BYTES)
}

/// Whether storage is locked, and the word for it in the name of the sequence.
fn lock(random: &mut Random) -> (bool, &'static str) {
    if random.once_in(2) { (true, "locked") } else { (false, "open") }
}

/// Random keys for all pages of data, and an access key to which some of them are closed.
fn locked(mut sequence: Sequence, is_locked: bool, random: &mut Random) -> Sequence {
    if !is_locked {
        return sequence;
    }
    for page in 0..DATA_PAGES {
        let key = random.one_of(&[0x50, 0x58, 0x50, 0x60, 0x68]);
        sequence = sequence.set_key(A + page * PAGE_BYTES, key);
    }
    sequence.access_key(random.one_of(&[5, 5, 5, 6, 0]))
}

/// Commands that every device knows, chained.
fn program(seed: u64, random: &mut Random) -> Sequence {
    let (is_locked, text) = lock(random);
    let mut it = Sequence::new(Unit::Plain, format_args!("random/program-{text}-{seed}"));
    let mut words = 0;
    let command_count = 1 + random.below(4);
    for command in 0..command_count {
        let chain = if command + 1 < command_count { CC | SLI } else { random.flag(SLI, 2) };
        if random.once_in(3) {
            it = it.ccw(NOP, chain | SLI, 1 + random.below(9), random.address());
            continue;
        }
        let count = 1 + random.below(40);
        let skip = random.flag(SKIP, 5);
        if skip == 0 && random.once_in(4) {
            let list = LIST + words * 8;
            words += 1;
            it = it.bytes(list, &random.address().to_be_bytes());
            it = it.ccw(SENSE_ID, chain | IDA, count, list);
        } else {
            it = it.ccw(SENSE_ID, chain | skip, count, random.address());
        }
    }
    told(locked(it, is_locked, random).execute()).sense()
}

/// Reads of a track that the sequence formats first.
fn track(seed: u64, random: &mut Random) -> Sequence {
    let (is_locked, text) = lock(random);
    let it = ckd::formatted(format_args!("random/track-{text}-{seed}"), random.one_of(&[3, 7, 11]));
    let it = ckd::search(ckd::seek(it.at(PROGRAM), 1, 4), 1, 4, ckd::record(random.below(3)));
    let mut it = it.pattern(D, 64, 1);
    let mut left = ckd::RANDOM_RECORD_BYTES;
    while left > 40 && random.once_in(2) {
        let count = 1 + random.below(40);
        it = it.ccw(ckd::READ_DATA, CD | random.flag(SKIP, 4), count, random.address());
        left -= count;
    }
    let is_whole = left == ckd::RANDOM_RECORD_BYTES;
    let count = if is_whole { 1 + random.below(300) } else { 1 + random.below(left) };
    let flags = random.flag(SLI, 2) | random.flag(SKIP, 5);
    let it = it.ccw(ckd::READ_DATA, flags, count, random.address());
    told(locked(it, is_locked, random).execute()).sense()
}

/// Blocks of the fixed-block disk.
fn blocks(seed: u64, random: &mut Random) -> Sequence {
    let (is_locked, text) = lock(random);
    let name = format_args!("random/blocks-{text}-{seed}");
    let (block, count) = (u32::from(random.below(24)), 1 + random.below(3).to_be_bytes()[1]);
    let flags = random.flag(SLI, 2);
    if random.once_in(3) {
        let length = 1 + random.below(1500);
        let it = fba::writing(Unit::Fba, name, 1000 + block, count).pattern(B, 2048, count);
        let it = it.ccw(fba::WRITE, flags, length, B).execute().sense().at(PROGRAM);
        let it = fba::located(it, 0x06, 1000 + block, count).ccw(fba::READ, SLI, 2048, A);
        return told(it.execute());
    }
    let it = fba::reading(Unit::Fba, name, block, count);
    let it =
        it.ccw(fba::READ, flags | random.flag(SKIP, 5), 1 + random.below(1500), random.address());
    told(locked(it, is_locked, random).execute()).sense()
}

/// Instructions in an order of chance; none of them meets a subchannel that is active.
fn instructions(seed: u64, random: &mut Random) -> Sequence {
    let mut it = Sequence::new(Unit::Plain, format_args!("random/instructions-{seed}"));
    for _ in 0..4 + random.below(8) {
        it = match random.below(8) {
            0 | 1 => it.at(PROGRAM).ccw(NOP, SLI, 1, A).start().settle(),
            2 => it.at(PROGRAM).ccw(SENSE_ID, SLI, random.below(9), A).start().settle(),
            3 => it.test(),
            4 => it.step(Step::Clear).settle(),
            5 => it.step(random.one_of(&[Step::Cancel, Step::Resume])),
            6 => it.modify(random.one_of(&[0x0080, 0x0080, 0x0000]), 0x0102_0304, 0x80),
            _ => it.stored(),
        };
    }
    it.step(Step::TestPending).test().test().stored()
}

/// Keys of two pages.
fn keys(seed: u64, random: &mut Random) -> Sequence {
    let mut it = Sequence::new(Unit::Absent, format_args!("random/keys-{seed}"));
    for _ in 0..6 + random.below(12) {
        let at = random.one_of(&[A, B]) + u32::from(random.below(500)) * 8;
        it = match random.below(5) {
            0 => it.set_key(at, random.one_of(&[0x00, 0x06, 0x34, 0x72, 0xFE])),
            1 => it.step(Step::ResetReference { at }),
            2 => it.bytes(at, &[1]),
            3 => it.show(at, 1),
            _ => it.key(at),
        };
    }
    it.key(A).key(B)
}
