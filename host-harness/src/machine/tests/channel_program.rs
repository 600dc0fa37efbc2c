//! Channel-command words: formats, chaining, transfer in channel, checks.
//!
//! Source of truth: Principles of Operation, "Channel-Command Word", "Chaining", "Channel-Program
//! Check".

use super::{bench::*, *};

const NOP: u8 = command::NO_OPERATION;
const READ: u8 = command::READ;
const WRITE: u8 = command::WRITE;
/// Channel end and device end.
const ENDED: u8 = 0x0C;
const PROGRAM_CHECK: u8 = 0x20;

/// Whether these words end with a program check, without a command at the device.
fn is_checked(words: &[u64]) -> bool {
    let mut bench = Bench::new();
    bench.record(&[7; 16]);
    let (device, subchannel, _, _) = bench.end(words);
    let log = bench.memory().log.len();
    assert_eq!(subchannel & 0x20 != 0, device == 0 && log == 0, "{words:X?}");
    subchannel == PROGRAM_CHECK
}

#[test]
fn commands_are_chained_until_one_does_not_chain() {
    let mut bench = Bench::new();
    bench.fill(AREA, b"firstsecond");
    let words = [ccw(WRITE, CHAIN, 5, AREA), ccw(WRITE, 0, 6, AREA + 5), ccw(WRITE, 0, 1, AREA)];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 2));
    assert_eq!(bench.memory().log, [(WRITE, b"first".to_vec()), (WRITE, b"second".to_vec())]);
}

#[test]
fn words_of_format_0_have_their_fields_elsewhere() {
    let mut bench = Bench::new();
    bench.fill(AREA, b"abc");
    let words = [ccw_0(WRITE, CHAIN, 3, AREA), ccw_0(NOP, SUPPRESS, 1, 0)];
    let orb = Orb { flags: 0, ..bench.program(&words) };
    let irb = bench.run(&orb);
    assert_eq!(end_of(&irb), (ENDED, 0, 1, 2));
    assert!(!has(&irb, ScswFlags::FORMAT_1));
    assert_eq!(bench.memory().log, [(WRITE, b"abc".to_vec())]);
}

#[test]
fn count_of_zero_is_for_format_1_without_data_chaining() {
    let mut bench = Bench::new();
    assert_eq!(bench.end(&[ccw(IMMEDIATE, 0, 0, 0)]), (ENDED, 0, 0, 1));
    assert!(is_checked(&[ccw(READ, CHAIN_DATA, 0, AREA), ccw(READ, 0, 1, AREA)]));
    let orb = Orb { flags: 0, ..bench.program(&[ccw_0(IMMEDIATE, 0, 0, 0)]) };
    assert_eq!(end_of(&bench.run(&orb)), (0, PROGRAM_CHECK, 0, 1));
    // A word that data is chained to needs a count in any format.
    bench.record(&[7; 16]);
    let words = [ccw(READ, CHAIN_DATA, 4, AREA), ccw(0, 0, 0, AREA + 4)];
    assert_eq!(bench.end(&words), (ENDED, PROGRAM_CHECK, 0, 2));
}

#[test]
fn transfer_in_channel_goes_on_elsewhere() {
    let mut bench = Bench::new();
    bench.fill(AREA, b"x");
    bench.put(PROGRAM + 0x100, &[ccw(WRITE, 0, 1, AREA)]);
    let words = [ccw(NOP, CHAIN | SUPPRESS, 1, 0), ccw(TRANSFER, 0, 0, PROGRAM + 0x100)];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 0x21));
    // Bits that format 1 has to be zero mean nothing in format 0.
    let words = [ccw_0(NOP, CHAIN | SUPPRESS, 1, 0), ccw_0(0xF8, 0xFF, 9, PROGRAM + 0x100)];
    bench.put(PROGRAM + 0x100, &[ccw_0(WRITE, 0, 1, AREA)]);
    let orb = Orb { flags: 0, ..bench.program(&words) };
    assert_eq!(end_of(&bench.run(&orb)), (ENDED, 0, 0, 0x21));
}

#[test]
fn transfer_in_channel_may_be_neither_first_nor_lead_to_another() {
    assert!(is_checked(&[ccw(TRANSFER, 0, 0, PROGRAM + 8), ccw(READ, 0, 1, AREA)]));
    let nop = ccw(NOP, CHAIN | SUPPRESS, 1, 0);
    let mut bench = Bench::new();
    let twice = [nop, ccw(TRANSFER, 0, 0, PROGRAM + 16), ccw(TRANSFER, 0, 0, PROGRAM)];
    assert_eq!(bench.end(&twice), (0, PROGRAM_CHECK, 0, 3));
    for wrong in
        [ccw(0x18, 0, 0, PROGRAM), ccw(TRANSFER, 0x40, 0, PROGRAM), ccw(TRANSFER, 0, 1, PROGRAM)]
    {
        assert_eq!(bench.end(&[nop, wrong]), (0, PROGRAM_CHECK, 0, 2), "{wrong:X}");
    }
    // Where it leads is the fault of the word that leads there.
    for address in [PROGRAM + 4, 0x0010_0000, 0x8000_0000] {
        assert_eq!(bench.end(&[nop, ccw(TRANSFER, 0, 0, address)]), (0, PROGRAM_CHECK, 0, 2));
    }
}

#[test]
fn first_word_must_lie_in_storage_on_its_boundary() {
    for address in [PROGRAM + 1, PROGRAM + 4, 0x0010_0000, 0x7FFF_F000] {
        let mut bench = Bench::new();
        let orb = Orb { program_address: address, ..bench.program(&[ccw(READ, 0, 1, AREA)]) };
        let irb = bench.run(&orb);
        assert_eq!(irb.scsw.subchannel_status.bits(), PROGRAM_CHECK);
        assert_eq!(irb.scsw.program_address, address.wrapping_add(8));
        assert_eq!(irb.scsw.control.bits(), 0x4017, "alert, primary and secondary status");
    }
    let mut bench = Bench::new();
    let orb = Orb { flags: 0, ..Orb::of_program(0x0100_1000, 0) };
    assert_eq!(bench.run(&orb).scsw.subchannel_status.bits(), PROGRAM_CHECK);
}

#[test]
fn word_that_is_wrong_never_reaches_the_device() {
    assert!(!is_checked(&[ccw(READ, 0, 16, AREA)]));
    assert!(is_checked(&[ccw(0x00, 0, 16, AREA)]));
    assert!(is_checked(&[ccw(0xF0, 0, 16, AREA)]));
    assert!(is_checked(&[ccw(READ, 0, 16, 0x8000_5000)]));
    assert!(is_checked(&[ccw(READ, SUSPEND, 16, AREA)]), "the request does not allow it");
    assert!(is_checked(&[ccw(READ, MODIFIED, 16, AREA)]), "nor that");
}

#[test]
fn check_in_the_middle_leaves_what_was_done() {
    let mut bench = Bench::new();
    bench.fill(AREA, b"x");
    let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(0, 0, 1, AREA)];
    assert_eq!(bench.end(&words), (0, PROGRAM_CHECK, 0, 2));
    assert_eq!(bench.memory().log.len(), 1);
}

#[test]
fn status_modifier_skips_a_word() {
    let mut bench = Bench::new();
    let found = DeviceStatus::from_bits_retain(ENDED) | DeviceStatus::STATUS_MODIFIER;
    bench.fill(AREA, b"k");
    // A search: until it is satisfied the channel comes back to it.
    bench.answer([takes(0, 0), takes(0, 0), ends(found)]);
    let words = [ccw(0x31, CHAIN, 1, AREA), ccw(TRANSFER, 0, 0, PROGRAM), ccw(WRITE, 0, 1, AREA)];
    assert_eq!(bench.end(&words), (ENDED, 0, 0, 3));
    let codes: Vec<u8> = bench.memory().log.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0x31, 0x31, 0x31, WRITE]);
    // Without chaining it is shown.
    bench.answer([ends(found)]);
    assert_eq!(bench.end(&[ccw(0x31, 0, 1, AREA)]), (0x4C, 0, 0, 1));
}

#[test]
fn unusual_device_status_ends_the_chain() {
    for status in [DeviceStatus::UNIT_EXCEPTION, DeviceStatus::UNIT_CHECK, DeviceStatus::ATTENTION]
    {
        let mut bench = Bench::new();
        bench.answer([ends(status | DeviceStatus::from_bits_retain(ENDED))]);
        let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, 0, 1, AREA)];
        let orb = bench.program(&words);
        let irb = bench.run(&orb);
        assert_eq!(end_of(&irb), (ENDED | status.bits(), 0, 0, 1));
        assert!(irb.scsw.control.contains(ScswControl::ALERT_STATUS));
        assert_eq!(bench.memory().log.len(), 1);
    }
}

#[test]
fn refused_command_shows_its_whole_count_and_no_wrong_length() {
    let mut bench = Bench::new();
    bench.answer([ends(DeviceStatus::UNIT_CHECK)]);
    assert_eq!(bench.end(&[ccw(WRITE, CHAIN, 9, AREA)]), (0x02, 0, 9, 1));
}

#[test]
fn command_that_cannot_be_executed_does_not_end() {
    let end = |sense: [u8; 2], word: u64| {
        let mut bench = Bench::new();
        bench.fill(AREA, b"parameter");
        bench.answer([Answer::Ends(Ending::unit_check(sense))]);
        bench.end(&[word])
    };
    for sense in [[0x80, 0], [0x40, 0]] {
        assert_eq!(end(sense, ccw(IMMEDIATE, CHAIN, 9, 0)), (0x02, 0, 9, 1));
    }
    // What is wrong with its data comes to light when it has begun.
    assert_eq!(end([0x80, 0], ccw(WRITE, 0, 9, AREA)), (0x0E, 0, 0, 1));
}

#[test]
fn command_that_fails_without_data_has_incorrect_length() {
    let end = |flags: u8, format: u16, suppresses: u8| {
        let mut bench = Bench::new();
        bench.answer([Answer::Ends(Ending::unit_check([0x00, 0x08]))]);
        let word = if format == 0 { ccw_0 } else { ccw };
        let program = bench.program(&[word(IMMEDIATE, flags, 9, 0)]);
        end_of(&bench.run(&Orb { flags: format, extension_flags: suppresses, ..program }))
    };
    assert_eq!(end(0, 0x0080, 0), (0x0E, 0x40, 9, 1));
    assert_eq!(end(0, 0x0080, 0x80), (0x0E, 0x40, 9, 1), "it was not immediate");
    assert_eq!(end(0, 0, 0), (0x0E, 0x40, 9, 1));
    assert_eq!(end(SUPPRESS, 0x0080, 0), (0x0E, 0, 9, 1));
}

#[test]
fn endless_program_takes_time_and_can_be_cleared() {
    let mut bench = Bench::new();
    let words = [ccw(NOP, CHAIN | SUPPRESS, 1, 0), ccw(TRANSFER, 0, 0, PROGRAM)];
    let orb = bench.program(&words);
    bench.start(&orb);
    bench.settle(100);
    assert!(bench.now < 10_000, "{}", bench.now);
    assert!(bench.scsw().control.contains(ScswControl::SUBCHANNEL_ACTIVE));
    assert!(!quiet(&bench.machine));
    assert_eq!(bench.on(|subsystem| subsystem.clear(SUBCHANNEL)), ConditionCode::Done);
    bench.step(0);
    assert!(quiet(&bench.machine));
    assert_eq!(bench.test().1.scsw.control.bits(), 0x1001);
}

#[test]
fn commands_take_the_time_of_the_device_one_after_the_other() {
    let mut bench = Bench::new();
    bench.fill(AREA, b"ab");
    bench.answer([takes(300, 50), takes(100, 0)]);
    let orb = bench.program(&[ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, 0, 1, AREA + 1)]);
    bench.start(&orb);
    let log = |bench: &Bench| bench.memory().log.len();
    assert_eq!((bench.step(199), log(&bench)), (Some(at(200)), 0));
    assert_eq!((bench.step(1), log(&bench)), (Some(at(500)), 1));
    // The second command is carried out at the device end of the first one, as it is by then.
    bench.fill(AREA + 1, b"c");
    assert_eq!((bench.step(349), log(&bench)), (Some(at(550)), 1));
    assert_eq!((bench.step(1), log(&bench)), (Some(at(650)), 2));
    assert!(!bench.scsw().is_status_pending());
    assert_eq!(bench.step(100), None);
    assert_eq!(end_of(&bench.test().1), (ENDED, 0, 0, 2));
    assert_eq!(bench.memory().log[1].1, b"c");
}

#[test]
fn late_step_finds_the_same_as_steps_in_time() {
    let course = |steps: &[u64]| {
        let mut bench = Bench::new();
        bench.answer([takes(30, 5), takes(40, 7)]);
        bench.fill(AREA, b"ab");
        let orb = bench.program(&[ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, 0, 1, AREA + 1)]);
        bench.start(&orb);
        for step in steps {
            bench.step(*step);
        }
        let block = bench.on(|subsystem| subsystem.store(SUBCHANNEL));
        (block, bench.memory().log.clone())
    };
    assert_eq!(course(&[1000]), course(&[200, 30, 5, 40, 7, 718]));
}
