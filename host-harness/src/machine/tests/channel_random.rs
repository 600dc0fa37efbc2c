//! Random channel programs: they end or go on for ever, and never leave their areas.
//!
//! Source of truth: a model of lengths that knows nothing of storage, in this file. Invariants: a
//! seed gives the same programs again; a failure names it.

use super::{bench::*, *};

/// Programs that are tried.
const PROGRAMS: u64 = 3000;
/// The most commands of a program, and the most words of one command.
const COMMANDS_MAX: u64 = 4;
const WORDS_MAX: u64 = 4;
/// Where data lies: each word of a program has a page of its own, the middle of which is its area.
const PAGES: u32 = 0x3000;
const MARGIN: u32 = 0x400;

/// SplitMix64.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// One word of a command.
#[derive(Clone, Copy, Debug)]
struct Word {
    code: u8,
    flags: u8,
    count: u16,
    area: u32,
    /// The last one of its command.
    is_last: bool,
}

/// What the model expects.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    residual_count: u16,
    has_wrong_length: bool,
    commands: usize,
    /// Which bytes each area gets or gives.
    used: Vec<(u32, u16)>,
}

fn draw_program(draw: &mut Draw) -> Vec<Word> {
    let mut words = Vec::new();
    let commands = 1 + draw.below(COMMANDS_MAX);
    for command in 0..commands {
        let chained = draw.below(WORDS_MAX);
        let code = if draw.one_in(2) { command::READ } else { command::WRITE };
        for word in 0..=chained {
            let is_last = word == chained;
            let mut flags = if is_last { 0 } else { CHAIN_DATA };
            flags |= if is_last && command + 1 < commands { CHAIN } else { 0 };
            flags |= if draw.one_in(2) { SUPPRESS } else { 0 };
            flags |= if draw.one_in(6) { SKIP } else { 0 };
            let count = 1 + draw.below(700) as u16;
            let area = PAGES + 0x1000 * (words.len() as u32 % 12) + MARGIN;
            words.push(Word { code, flags, count, area, is_last });
        }
    }
    words
}

/// What comes of the program when the device moves `wanted` bytes with each command.
fn model(words: &[Word], wanted: usize) -> Expected {
    let mut expected =
        Expected { residual_count: 0, has_wrong_length: false, commands: 0, used: Vec::new() };
    for command in words.split_inclusive(|word| word.is_last) {
        expected.commands += 1;
        let mut rest = wanted;
        let mut last = command[0];
        for word in command {
            last = *word;
            let moved = rest.min(usize::from(word.count)) as u16;
            rest -= usize::from(moved);
            let is_stored = command[0].code == command::READ && word.flags & SKIP == 0;
            expected.used.push((word.area, if is_stored { moved } else { 0 }));
            expected.residual_count = word.count - moved;
            if moved < word.count {
                break;
            }
        }
        let is_wrong = expected.residual_count != 0 || rest > 0;
        let suppressed = last.flags & SUPPRESS != 0 && last.flags & CHAIN_DATA == 0;
        if is_wrong && !suppressed {
            expected.has_wrong_length = true;
            break;
        }
    }
    expected
}

#[test]
fn residual_counts_agree_with_the_model_and_areas_are_kept() {
    for seed in 0..PROGRAMS {
        let mut draw = Draw(seed);
        let words = draw_program(&mut draw);
        let wanted = 1 + draw.below(1200) as usize;
        let expected = model(&words, wanted);
        let mut bench = Bench::new();
        bench.record(&vec![0xAA; wanted]);
        bench.memory().wanted = wanted;
        let program: Vec<u64> =
            words.iter().map(|it| ccw(it.code, it.flags, it.count, it.area)).collect();
        let (device, subchannel, residual_count, _) = bench.end(&program);
        assert_eq!(device, 0x0C, "seed {seed}");
        let found = (residual_count, subchannel == 0x40, bench.memory().log.len());
        let Expected { residual_count, has_wrong_length, commands, .. } = expected;
        assert_eq!(found, (residual_count, has_wrong_length, commands), "seed {seed}");
        check_areas(&bench, &expected.used, seed);
    }
}

/// The areas hold what reads have stored, and there is nothing around them.
fn check_areas(bench: &Bench, used: &[(u32, u16)], seed: u64) {
    let mut whole = bench.bytes(PAGES, 0xD000);
    for (area, length) in used {
        let from = (area - PAGES) as usize;
        let stored = &mut whole[from..from + usize::from(*length)];
        assert!(stored.iter().all(|byte| matches!(byte, 0xAA | 0)), "seed {seed}");
    }
    for (area, length) in used {
        let from = (area - PAGES) as usize;
        let stored = &mut whole[from..from + usize::from(*length)];
        stored.fill(0);
    }
    assert!(whole.iter().all(|byte| *byte == 0), "seed {seed}: a byte outside of its area");
}

#[test]
fn programs_of_random_bytes_end_or_go_on_and_store_nowhere_else() {
    for seed in 0..PROGRAMS {
        let mut draw = Draw(!seed);
        let mut bench = Bench::new();
        bench.record(&[0x55; 300]);
        // The program may store only into page 8: all other pages have another key.
        for page in 0..16 {
            let key = if page == 8 { 0x30 } else { 0x40 };
            bench.machine.storage.set_key(monitor_core::units::PageNumber::new(page), key);
        }
        let words: Vec<u64> = (0..32)
            .map(|_| {
                let address = match draw.below(4) {
                    0 => PROGRAM + 8 * draw.below(32) as u32,
                    1 => draw.next() as u32,
                    _ => 0x8000 + draw.below(0x1000) as u32,
                };
                let [code, flags, count, ..] = draw.next().to_be_bytes();
                let code = if draw.one_in(3) { TRANSFER } else { code };
                let plain = code == TRANSFER || draw.one_in(2);
                ccw(code, if plain { 0 } else { flags }, u16::from(count), address)
            })
            .collect();
        bench.put(0x8000, &[draw.next(), 0x8100, 0x8800]);
        let orb = bench.program(&words).with_key(3);
        let mut before = bench.bytes(0, 0x1_0000);
        bench.start(&Orb {
            extension_flags: 0x40,
            flags: orb.flags | draw.next() as u16 & 0x0B6B,
            ..orb
        });
        bench.settle(64);
        let mut after = bench.bytes(0, 0x1_0000);
        before[0x8000..0x9000].fill(0);
        after[0x8000..0x9000].fill(0);
        assert!(before == after, "seed {seed}: stored outside of its page");
        // What still goes on can be cleared.
        bench.on(|subsystem| subsystem.clear(SUBCHANNEL));
        bench.step(0);
        assert_eq!(bench.test().1.scsw.control.bits(), 0x1001, "seed {seed}");
        assert!(quiet(&bench.machine), "seed {seed}");
    }
}
