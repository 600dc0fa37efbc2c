//! The data of a command: lengths, data chaining, indirect addresses, keys.
//!
//! Source of truth: Principles of Operation, "Incorrect Length", "Data Chaining", "Channel
//! Indirect Data Addressing", "Key-Controlled Protection".

use super::{bench::*, *};
use monitor_core::units::PageNumber;

const READ: u8 = command::READ;
const WRITE: u8 = command::WRITE;
const ENDED: u8 = 0x0C;
const WRONG_LENGTH: u8 = 0x40;
const PROGRAM_CHECK: u8 = 0x20;
const PROTECTION_CHECK: u8 = 0x10;
const FORMAT_2_ADDRESSES: u16 = 0x0002;
const BLOCKS_OF_2K: u16 = 0x0001;

/// A record of this length, each byte of which is another one than before.
fn record(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 7 + place / 256) as u8).collect()
}

fn bench(length: usize) -> Bench {
    let bench = Bench::new();
    bench.record(&record(length));
    bench
}

#[test]
fn incorrect_length_is_indicated_unless_it_is_suppressed() {
    // Length of the record, flags, then what it comes to.
    for (length, flags, expected) in [
        (8, 0, (ENDED, 0, 0, 1)),
        (5, 0, (ENDED, WRONG_LENGTH, 3, 1)),
        (5, SUPPRESS, (ENDED, 0, 3, 1)),
        (9, 0, (ENDED, WRONG_LENGTH, 0, 1)),
        (9, SUPPRESS, (ENDED, 0, 0, 1)),
        (0, 0, (ENDED, WRONG_LENGTH, 8, 1)),
    ] {
        let mut bench = bench(length);
        assert_eq!(bench.end(&[ccw(READ, flags, 8, AREA)]), expected, "{length} {flags:X}");
        assert_eq!(bench.bytes(AREA, length.min(8)), record(length)[..length.min(8)]);
        assert_eq!(bench.bytes(AREA + 8, 1), [0]);
    }
}

#[test]
fn incorrect_length_of_a_write_is_what_the_device_did_not_take_or_lacked() {
    for (wanted, flags, expected) in [
        (8, 0, (ENDED, 0, 0, 1)),
        (5, 0, (ENDED, WRONG_LENGTH, 3, 1)),
        (5, SUPPRESS, (ENDED, 0, 3, 1)),
        (9, 0, (ENDED, WRONG_LENGTH, 0, 1)),
        (9, SUPPRESS, (ENDED, 0, 0, 1)),
    ] {
        let mut bench = Bench::new();
        bench.memory().wanted = wanted;
        assert_eq!(bench.end(&[ccw(WRITE, flags, 8, AREA)]), expected, "{wanted} {flags:X}");
        assert_eq!(bench.memory().log[0].1.len(), wanted.min(8));
    }
}

#[test]
fn incorrect_length_breaks_a_chain_and_suppressed_it_does_not() {
    let mut bench = bench(4);
    let words = |flags| [ccw(READ, CHAIN | flags, 8, AREA), ccw(READ, 0, 4, AREA)];
    assert_eq!(bench.end(&words(0)), (ENDED, WRONG_LENGTH, 4, 1));
    assert_eq!(bench.end(&words(SUPPRESS)), (ENDED, 0, 0, 2));
}

#[test]
fn immediate_operation_has_no_length_but_in_the_indicating_mode_of_format_1() {
    let ends = |flags: u8, format: u16, suppresses: u8| {
        let mut bench = Bench::new();
        let word = if format == 0 { ccw_0 } else { ccw };
        let program = bench.program(&[word(IMMEDIATE, flags, 5, 0), word(IMMEDIATE, 0, 1, 0)]);
        let orb = Orb { flags: format, extension_flags: suppresses, ..program };
        end_of(&bench.run(&orb))
    };
    assert_eq!(ends(0, FORMAT_1, 0), (ENDED, WRONG_LENGTH, 5, 1));
    assert_eq!(ends(SUPPRESS, FORMAT_1, 0), (ENDED, 0, 5, 1));
    assert_eq!(ends(0, FORMAT_1, 0x80), (ENDED, 0, 5, 1));
    assert_eq!(ends(0, 0, 0), (ENDED, 0, 5, 1));
    assert_eq!(ends(CHAIN, FORMAT_1, 0x80), (ENDED, 0, 1, 2));
    assert_eq!(ends(CHAIN, FORMAT_1, 0), (ENDED, WRONG_LENGTH, 5, 1));
}

#[test]
fn data_is_chained_over_several_words() {
    let mut bench = bench(10);
    bench.put(PROGRAM + 0x80, &[ccw(0, 0, 4, AREA + 0x80)]);
    let words = [
        ccw(READ, CHAIN_DATA | SUPPRESS, 4, AREA),
        // Neither its code nor its command chaining means anything.
        ccw(0x07, CHAIN_DATA | CHAIN, 2, AREA + 0x40),
        ccw(TRANSFER, 0, 0, PROGRAM + 0x80),
    ];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 0x11));
    let record = record(10);
    assert_eq!(bench.bytes(AREA, 5), [&record[..4], &[0]].concat());
    assert_eq!(bench.bytes(AREA + 0x40, 3), [&record[4..6], &[0]].concat());
    assert_eq!(bench.bytes(AREA + 0x80, 4), record[6..]);

    bench.fill(AREA, b"abcdef");
    let words = [ccw(WRITE, CHAIN_DATA, 4, AREA), ccw(0, 0, 2, AREA + 4)];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 2));
    assert_eq!(bench.memory().log[1], (WRITE, b"abcdef".to_vec()));
}

#[test]
fn residual_count_is_that_of_the_word_in_control() {
    let words =
        |flags, last| [ccw(READ, CHAIN_DATA | flags, 4, AREA), ccw(0, last, 6, AREA + 0x40)];
    for (length, flags, last, expected) in [
        // The first word is in control; while data is chained the length counts.
        (3, 0, 0, (ENDED, WRONG_LENGTH, 1, 1)),
        (3, SUPPRESS, SUPPRESS, (ENDED, WRONG_LENGTH, 1, 1)),
        // The second one takes control when the first one's count is exhausted.
        (4, 0, 0, (ENDED, WRONG_LENGTH, 6, 2)),
        (4, 0, SUPPRESS, (ENDED, 0, 6, 2)),
        (7, 0, 0, (ENDED, WRONG_LENGTH, 3, 2)),
        (10, 0, 0, (ENDED, 0, 0, 2)),
        (11, 0, 0, (ENDED, WRONG_LENGTH, 0, 2)),
    ] {
        let mut bench = bench(length);
        assert_eq!(bench.end(&words(flags, last)), expected, "{length} {flags:X} {last:X}");
    }
}

#[test]
fn skipped_bytes_are_counted_and_go_nowhere() {
    let mut bench = bench(10);
    // The address of a word that skips is not looked at.
    let words = [ccw(READ, CHAIN_DATA | SKIP, 4, 0x7FFF_FFFF), ccw(0, 0, 6, AREA)];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 2));
    assert_eq!(bench.bytes(AREA, 6), record(10)[4..]);
    bench.fill(AREA, b"abc");
    assert_eq!(bench.end(&[ccw(WRITE, SKIP, 3, AREA)]), (ENDED, 0, 0, 1));
    assert_eq!(bench.memory().log[1].1, b"abc", "output is not skipped");
}

#[test]
fn device_takes_to_the_end_of_the_words_that_are_chained_to() {
    let mut bench = Bench::new();
    bench.fill(AREA, b"abcdef");
    let words =
        [ccw(WRITE, CHAIN_DATA, 1, AREA), ccw(0, CHAIN_DATA, 2, AREA + 1), ccw(0, 0, 3, AREA + 3)];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 3));
    assert_eq!(bench.memory().log[0].1, b"abcdef");
}

#[test]
fn indirect_addresses_of_format_1_cut_data_at_2k() {
    let mut bench = bench(5000);
    let word = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    bench.put(0x2000, &[word(0xA000, 0x57F0), word(0x4800, 0x9000)]);
    let words = [ccw(READ, INDIRECT, 16 + 2048 + 2048 + 888, 0x2000)];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 1));
    let record = record(5000);
    assert_eq!(bench.bytes(0x57F0, 17), [&record[..16], &[0]].concat());
    assert_eq!(bench.bytes(0xA000, 2048), record[16..2064]);
    assert_eq!(bench.bytes(0x9000, 2048), record[2064..4112]);
    assert_eq!(bench.bytes(0x4800, 888), record[4112..]);
}

#[test]
fn indirect_addresses_of_format_2_cut_data_at_4k_or_2k() {
    for (flags, block) in
        [(FORMAT_2_ADDRESSES, 4096), (FORMAT_2_ADDRESSES | BLOCKS_OF_2K, 2048_u32)]
    {
        let mut bench = bench(6000);
        let ends = u64::from(block) - 8;
        bench.put(0x2000, &[0x5000 + ends, 0xA000, 0x8000, 0xC000]);
        let orb = with_flags(bench.program(&[ccw(READ, INDIRECT, 6000, 0x2000)]), flags);
        assert_eq!(end_of(&bench.run(&orb)), (ENDED, 0, 0, 1));
        let (record, block) = (record(6000), block as usize);
        assert_eq!(bench.bytes(0x5000 + block as u32 - 8, 9), [&record[..8], &[0]].concat());
        assert_eq!(bench.bytes(0xA000, block), record[8..8 + block]);
        let rest = &record[8 + block..];
        assert_eq!(bench.bytes(0x8000, rest.len().min(block)), rest[..rest.len().min(block)]);
    }
}

#[test]
fn wrong_indirect_address_is_a_program_check_where_it_is_used() {
    let run = |flags: u16, list: &[u64], list_address: u32, count: u16| {
        let mut bench = bench(4096);
        bench.put(0x2000, list);
        let program = bench.program(&[ccw(READ, INDIRECT, count, list_address)]);
        end_of(&bench.run(&with_flags(program, flags)))
    };
    let good = [0x0000_5000_0000_5800, 0];
    assert_eq!(run(0, &good, 0x2000, 4096), (ENDED, 0, 0, 1));
    assert_eq!(run(0, &good, 0x2002, 4096).1, PROGRAM_CHECK, "not on a word");
    assert_eq!(run(FORMAT_2_ADDRESSES, &[0x5000], 0x2004, 1).1, PROGRAM_CHECK);
    assert_eq!(run(0, &[0x8000_5000_0000_0000], 0x2000, 1).1, PROGRAM_CHECK, "bit 0");
    // The second one is off its block: the first block has arrived.
    let off = [0x0000_5000_0000_5804];
    assert_eq!(run(0, &off, 0x2000, 4096), (ENDED, PROGRAM_CHECK, 2048, 1));
    assert_eq!(run(0, &off, 0x2000, 2048), (ENDED, WRONG_LENGTH, 0, 1), "it is not used");
    assert_eq!(run(FORMAT_2_ADDRESSES, &[1 << 40], 0x2000, 1).1, PROGRAM_CHECK);
}

#[test]
fn modified_addresses_have_counts_of_their_own() {
    let mut bench = bench(24);
    // Flags and count, then the address: plain, skipped, last.
    let list = [8, 0x5FF8, 0x40_0004, 0x7FFF_0000, 0x80_000C, 0x9000];
    bench.put(0x2000, &list);
    let program = bench.program(&[ccw(READ, MODIFIED, 24, 0x2000)]);
    let orb = Orb { extension_flags: 0x40, ..program };
    assert_eq!(end_of(&bench.run(&orb)), (ENDED, 0, 0, 1));
    let record = record(24);
    assert_eq!(bench.bytes(0x5FF8, 9), [&record[..8], &[0]].concat());
    assert_eq!(bench.bytes(0x9000, 12), record[12..]);

    for (wrong, what) in [
        ([0x80_0018, 0x5FF0], "crosses a page"),
        ([0x80_0000, 0x5000], "no count"),
        ([0x80_0019, 0x5000], "more than the command's count"),
        ([0x80_0017, 0x5000], "the last one leaves something"),
        ([0x20_0018, 0x5000], "a flag that nobody knows"),
        ([0x1_0000_0000_0018, 0x5000], "a bit that has to be zero"),
    ] {
        bench.put(0x2000, &wrong);
        bench.program(&[ccw(READ, MODIFIED, 24, 0x2000)]);
        assert_eq!(bench.run(&orb).scsw.subchannel_status.bits(), PROGRAM_CHECK, "{what}");
    }
}

#[test]
fn read_backward_goes_down_from_its_address() {
    let mut bench = bench(6);
    assert_eq!(bench.end(&[ccw(READ_BACKWARD, 0, 6, 0x5002)]), (ENDED, 0, 0, 1));
    let reversed: Vec<u8> = record(6).into_iter().rev().collect();
    assert_eq!(bench.bytes(0x4FFD, 7), [&reversed[..], &[0]].concat());
    bench.put(0x2000, &[0x0000_5002_0000_97FF]);
    bench.record(&record(10));
    assert_eq!(bench.end(&[ccw(READ_BACKWARD, INDIRECT, 10, 0x2000)]), (ENDED, 0, 0, 1));
    assert_eq!(bench.bytes(0x5000, 3), [record(3)[2], record(3)[1], record(3)[0]]);
    assert_eq!(bench.bytes(0x97FF, 1), [record(4)[3]]);
    assert_eq!(bench.bytes(0x97F9, 1), [record(10)[9]]);
}

#[test]
fn data_beyond_storage_is_a_program_check_and_what_came_before_stays() {
    let mut bench = bench(16);
    assert_eq!(bench.end(&[ccw(READ, 0, 16, 0xFFF8)]), (ENDED, PROGRAM_CHECK, 8, 1));
    assert_eq!(bench.bytes(0xFFF8, 8), record(16)[..8]);
    // A fault that the channel finds first keeps the command from the device.
    assert_eq!(bench.end(&[ccw(WRITE, 0, 16, 0x1_0000)]), (0, PROGRAM_CHECK, 16, 1));
}

#[test]
fn key_of_the_request_is_held_against_those_of_the_pages() {
    let run = |code: u8, key: u8, page_key: u8| {
        let mut bench = bench(4096);
        bench.machine.storage.set_key(PageNumber::new(6), page_key);
        bench.machine.storage.set_key(PageNumber::new(5), key << 4);
        let orb = bench.program(&[ccw(code, 0, 4096, 0x5800)]).with_key(key);
        let irb = bench.run(&orb);
        let page = bench.machine.storage.key(PageNumber::new(6));
        (irb.scsw.subchannel_status.bits(), irb.scsw.residual_count, page)
    };
    // A read stores: another key keeps it out, and neither reference nor change is set.
    assert_eq!(run(READ, 3, 0x30), (0, 0, 0x36));
    assert_eq!(run(READ, 3, 0x40), (PROTECTION_CHECK, 2048, 0x40));
    assert_eq!(run(READ, 0, 0x48), (0, 0, 0x4E));
    // A write fetches: another key keeps it out only where fetching is protected.
    assert_eq!(run(WRITE, 3, 0x40), (0, 0, 0x44));
    assert_eq!(run(WRITE, 3, 0x48), (PROTECTION_CHECK, 2048, 0x48));
    assert_eq!(run(WRITE, 3, 0x38), (0, 0, 0x3C));
}

#[test]
fn words_and_lists_are_fetched_under_the_key_too() {
    let run = |page: u64| {
        let mut bench = bench(4);
        bench.machine.storage.set_key(PageNumber::new(page), 0x48);
        bench.put(0x2000, &[0x5000 << 32]);
        let orb = bench.program(&[ccw(WRITE, INDIRECT, 4, 0x2000)]).with_key(3);
        let status = bench.run(&orb).scsw.subchannel_status.bits();
        (status, bench.memory().log.iter().filter(|(_, data)| !data.is_empty()).count())
    };
    assert_eq!(run(1), (PROTECTION_CHECK, 0), "the channel-command word");
    assert_eq!(run(2), (PROTECTION_CHECK, 0), "the list");
    assert_eq!(run(5), (PROTECTION_CHECK, 0), "the data");
    assert_eq!(run(7), (0, 1));
}

#[test]
fn channel_marks_pages_it_stores_into_and_keys_it_refers_to() {
    let mut bench = bench(8);
    bench.machine.start_tracking();
    let marked = |bench: &Bench| marked_pages(&bench.machine);
    bench.put(0x2000, &[(0x5000 << 32) | 0x6000]);
    let orb = bench.program(&[ccw(READ, CHAIN_DATA, 4, 0x8FFE), ccw(0, INDIRECT, 4, 0x2000)]);
    assert_eq!(marked(&bench), [1, 2], "the test's own stores");
    bench.run(&orb);
    assert_eq!(marked(&bench), [5, 8, 9]);
    for (page, key) in [(1, 0x06), (2, 0x06), (5, 0x06), (8, 0x06), (9, 0x06), (6, 0)] {
        assert_eq!(bench.machine.storage.key(PageNumber::new(page)), key, "page {page}");
    }
}
