//! Status: kinds, interruptions by the program, suspension, paths, sense, what nobody asked for.
//!
//! Source of truth: Principles of Operation, "Subchannel-Status Word", "Extended-Status Word",
//! "Suspension of Channel-Program Execution", "Path Management".

use super::{ConditionCode::*, bench::*, *};

const READ: u8 = command::READ;
const WRITE: u8 = command::WRITE;
const ENDED: DeviceStatus = DeviceStatus::CHANNEL_END.union(DeviceStatus::DEVICE_END);

fn resume(bench: &Bench) -> ConditionCode {
    bench.on(|subsystem| subsystem.resume(SUBCHANNEL, at(bench.now)))
}

#[test]
fn channel_end_and_device_end_are_told_apart_when_they_come_apart() {
    let mut bench = Bench::new();
    bench.answer([takes(100, 50)]);
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    bench.start(&orb);
    bench.step(200);
    bench.step(100);
    assert_eq!(bench.scsw().control.bits(), 0x4045, "the device is active");
    assert!(!quiet(&bench.machine));
    let (_, irb) = bench.test();
    assert_eq!(irb.scsw.device_status, DeviceStatus::CHANNEL_END);
    assert_eq!(bench.scsw().control.bits(), 0x0040);
    bench.step(50);
    let (condition, irb) = bench.test();
    assert_eq!((condition, irb.scsw.control.bits()), (Done, 0x0003));
    assert_eq!(irb.scsw.device_status, DeviceStatus::DEVICE_END);
    assert!(quiet(&bench.machine));
}

#[test]
fn device_end_joins_a_channel_end_that_was_not_fetched() {
    let mut bench = Bench::new();
    bench.answer([takes(100, 50)]);
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    bench.start(&orb);
    bench.settle(10);
    let (_, irb) = bench.test();
    assert_eq!((irb.scsw.control.bits(), irb.scsw.device_status), (0x4007, ENDED));
    assert_eq!(bench.test().0, Status);
}

#[test]
fn start_behind_a_channel_end_waits_for_the_device() {
    let mut bench = Bench::new();
    bench.answer([takes(100, 500)]);
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    bench.start(&orb);
    bench.step(200);
    bench.step(100);
    bench.test();
    assert_eq!(bench.start(&orb), Done);
    assert_eq!(bench.scsw().control.bits(), 0x4440);
    bench.step(400);
    assert_eq!(bench.memory().log.len(), 1);
    bench.settle(10);
    let (_, irb) = bench.test();
    assert_eq!((irb.scsw.control.bits(), irb.scsw.device_status), (0x4007, ENDED));
    assert_eq!(bench.memory().log.len(), 2);
}

#[test]
fn program_that_asks_for_an_interruption_goes_on() {
    let mut bench = Bench::new();
    bench.answer([takes(100, 0), takes(100, 0)]);
    let words = [ccw(WRITE, CHAIN | INTERRUPT, 1, AREA), ccw(WRITE, 0, 1, AREA)];
    let orb = bench.program(&words);
    bench.start(&orb);
    bench.step(200);
    assert_eq!(bench.scsw().control.bits(), 0x40C9);
    assert_eq!(bench.on(|subsystem| subsystem.test_pending(0xFF)).0, Status);
    let (condition, irb) = bench.test();
    assert_eq!((condition, irb.scsw.subchannel_status.bits()), (Done, 0x80));
    assert_eq!(irb.scsw.program_address, PROGRAM + 8);
    assert_eq!(bench.scsw().control.bits(), 0x40C0, "it goes on");
    bench.settle(10);
    assert_eq!(bench.on(|subsystem| subsystem.test_pending(0xFF)).0, Status, "its end");
    assert_eq!(end_of(&bench.test().1), (0x0C, 0, 0, 2));
    // When nobody has looked in between, the end tells of it too.
    bench.answer([takes(100, 0), takes(100, 0)]);
    let irb = bench.run(&orb);
    assert_eq!((irb.scsw.control.bits(), end_of(&irb).1), (0x400F, 0x80));
}

#[test]
fn chained_word_of_data_may_ask_for_an_interruption() {
    let mut bench = Bench::new();
    bench.record(b"abcd");
    let words = [ccw(READ, CHAIN_DATA, 2, AREA), ccw(0, INTERRUPT, 2, AREA + 2)];
    assert_eq!(bench.end(&words), (0x0C, 0x80, 0, 2));
}

#[test]
fn initial_status_tells_that_the_first_command_was_accepted() {
    let mut bench = Bench::new();
    bench.answer([takes(100, 0)]);
    let orb = with_flags(bench.program(&[ccw(WRITE, 0, 1, AREA)]), 0x0020);
    bench.start(&orb);
    bench.step(200);
    let (_, irb) = bench.test();
    assert!(has(&irb, ScswFlags::ZERO_CONDITION_CODE));
    assert_eq!(irb.scsw.control.bits(), 0x40C9);
    bench.settle(10);
    let (_, irb) = bench.test();
    assert!(!has(&irb, ScswFlags::ZERO_CONDITION_CODE));
    assert_eq!(irb.scsw.control.bits(), 0x4007);
}

#[test]
fn program_suspends_itself_and_is_resumed() {
    let mut bench = Bench::new();
    bench.fill(AREA, b"ab");
    let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, SUSPEND, 1, AREA + 1)];
    let orb = with_flags(bench.program(&words), MAY_SUSPEND);
    bench.start(&orb);
    bench.settle(10);
    assert!(quiet(&bench.machine));
    assert_eq!(resume(&bench), Status, "the suspension is to be fetched first");
    let (condition, irb) = bench.test();
    assert_eq!((condition, irb.scsw.control.bits()), (Done, 0x4029));
    assert_eq!((irb.scsw.program_address, irb.scsw.residual_count), (PROGRAM + 16, 1));
    assert_eq!(bench.scsw().control.bits(), 0x4020);
    assert_eq!(bench.memory().log.len(), 1);
    // The word is fetched again: as long as it says so, the program is suspended again.
    assert_eq!((resume(&bench), resume(&bench)), (Done, Busy));
    bench.settle(10);
    assert_eq!(bench.test().1.scsw.control.bits(), 0x4029);
    bench.put(PROGRAM + 8, &[ccw(WRITE, 0, 1, AREA + 1)]);
    assert_eq!(resume(&bench), Done);
    bench.settle(10);
    let irb = bench.test().1;
    assert_eq!((irb.scsw.control.bits(), end_of(&irb)), (0x4007, (0x0C, 0, 0, 2)));
    assert_eq!(bench.memory().log.len(), 2);
}

#[test]
fn resumption_that_comes_first_is_kept_for_the_suspension() {
    let mut bench = Bench::new();
    bench.answer([takes(100, 0)]);
    let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, SUSPEND, 1, AREA)];
    let orb = with_flags(bench.program(&words), MAY_SUSPEND);
    bench.start(&orb);
    bench.step(200);
    assert_eq!(resume(&bench), Done);
    assert_eq!(bench.scsw().control.bits(), 0x48C0);
    bench.step(100);
    // It was used up when the word was looked at again, which still says so.
    assert_eq!(bench.scsw().control.bits(), 0x4029);
}

#[test]
fn resumption_may_begin_with_a_word_that_transfers() {
    let suspended = || {
        let mut bench = Bench::new();
        bench.fill(AREA, b"ab");
        let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, SUSPEND, 1, AREA + 1)];
        let orb = with_flags(bench.program(&words), MAY_SUSPEND);
        bench.start(&orb);
        bench.settle(10);
        assert_eq!(bench.test().1.scsw.control.bits(), 0x4029);
        bench
    };
    let resumed = |bench: &mut Bench, word| {
        bench.put(PROGRAM + 8, &[word]);
        assert_eq!(resume(bench), Done);
        bench.settle(10);
        end_of(&bench.test().1)
    };
    let mut bench = suspended();
    bench.put(PROGRAM + 32, &[ccw(WRITE, 0, 1, AREA + 1)]);
    let transfer = ccw(TRANSFER, 0, 0, PROGRAM + 32);
    assert_eq!(resumed(&mut bench, transfer), (0x0C, 0, 0, 5));
    assert_eq!(bench.memory().log.len(), 2);
    // Two in a row are as wrong as anywhere, and so is a transfer with flags.
    let mut bench = suspended();
    bench.put(PROGRAM + 32, &[transfer]);
    assert_eq!(resumed(&mut bench, transfer), (0, 0x20, 1, 5));
    let with_flag = ccw(TRANSFER, SUSPEND, 0, PROGRAM + 32);
    assert_eq!(resumed(&mut suspended(), with_flag), (0, 0x20, 1, 2));
}

#[test]
fn resumption_that_comes_first_looks_again_at_a_word_behind_a_transfer() {
    let mut bench = Bench::new();
    bench.answer([takes(100, 0)]);
    let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(TRANSFER, 0, 0, PROGRAM + 32)];
    let orb = with_flags(bench.program(&words), MAY_SUSPEND);
    bench.put(PROGRAM + 32, &[ccw(WRITE, SUSPEND, 1, AREA)]);
    bench.start(&orb);
    bench.step(200);
    assert_eq!(resume(&bench), Done);
    bench.step(100);
    let irb = bench.test().1;
    assert_eq!((irb.scsw.control.bits(), irb.scsw.program_address), (0x4029, PROGRAM + 40));
}

#[test]
fn suspension_can_be_silent_halted_or_cancelled() {
    let suspended = || {
        let mut bench = Bench::new();
        let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, SUSPEND, 1, AREA)];
        let orb = with_flags(bench.program(&words), MAY_SUSPEND | 0x0008);
        bench.start(&orb);
        bench.settle(10);
        assert_eq!(bench.scsw().control.bits(), 0x4020, "no status comes of it");
        bench
    };
    let mut bench = suspended();
    assert_eq!(bench.on(|subsystem| subsystem.halt(SUBCHANNEL)), Done);
    bench.step(0);
    assert_eq!(bench.test().1.scsw.control.bits(), 0x6001);
    assert_eq!(bench.scsw().control.bits(), 0);
    let bench = suspended();
    assert_eq!(bench.on(|subsystem| subsystem.cancel(SUBCHANNEL)), Done);
    assert_eq!(bench.scsw().control.bits(), 0);
}

#[test]
fn suspension_in_the_middle_of_data_is_a_program_check() {
    let mut bench = Bench::new();
    bench.record(&[1; 4]);
    let words = [ccw(READ, CHAIN_DATA, 2, AREA), ccw(0, SUSPEND, 2, AREA + 2)];
    let orb = with_flags(bench.program(&words), MAY_SUSPEND);
    let irb = bench.run(&orb);
    assert_eq!(end_of(&irb).1, 0x20);
}

#[test]
fn status_that_nobody_asked_for_is_an_alert() {
    let mut bench = Bench::new();
    bench.memory().unsolicited = Some(DeviceStatus::ATTENTION);
    bench.step(0);
    let (condition, irb) = bench.test();
    assert_eq!((condition, irb.scsw.control.bits()), (Done, 0x0011));
    assert_eq!(irb.scsw.device_status, DeviceStatus::ATTENTION);
    bench.step(100);
    assert_eq!(bench.test().0, Status, "it is told once");
    // A subchannel that is disabled or held leaves it at the device.
    bench.memory().unsolicited = Some(DeviceStatus::ATTENTION);
    bench.on(|subsystem| subsystem.hold(SLOT)).unwrap();
    bench.step(100);
    bench.on(|subsystem| {
        subsystem.release(SLOT).unwrap();
        enable(subsystem, false)
    });
    bench.step(100);
    assert!(bench.memory().unsolicited.is_some());
}

#[test]
fn device_that_has_something_to_tell_takes_no_command() {
    let mut bench = Bench::new();
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    bench.start(&orb);
    bench.memory().unsolicited = Some(DeviceStatus::ATTENTION);
    bench.settle(10);
    let (_, irb) = bench.test();
    assert_eq!(irb.scsw.deferred_condition_code(), 1);
    assert_eq!(irb.scsw.control.bits(), 0x4011);
    assert_eq!(irb.scsw.device_status, DeviceStatus::ATTENTION);
    assert_eq!(bench.memory().log, []);
    assert_eq!(end_of(&bench.run(&orb)), (0x0C, 0, 0, 1), "the next one is taken");
}

#[test]
fn busy_device_gets_the_first_command_again_and_a_later_one_ends_the_chain() {
    let mut bench = Bench::new();
    bench.answer([ends(DeviceStatus::BUSY), ends(DeviceStatus::BUSY)]);
    let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, 0, 1, AREA)];
    let orb = bench.program(&words);
    bench.start(&orb);
    bench.step(200);
    assert_eq!(bench.scsw().control.bits(), 0x4400);
    bench.settle(10);
    assert_eq!(end_of(&bench.test().1), (0x0C, 0, 0, 2));
    assert_eq!(bench.memory().log.len(), 2);
    bench.answer([takes(0, 0), ends(DeviceStatus::BUSY)]);
    assert_eq!(bench.run(&orb).scsw.device_status, DeviceStatus::BUSY);
}

#[test]
fn waiting_device_is_asked_again() {
    let mut bench = Bench::new();
    bench.record(b"x");
    bench.answer([Answer::Waits, Answer::Waits, Answer::Waits]);
    let orb = bench.program(&[ccw(READ, 0, 1, AREA)]);
    bench.start(&orb);
    assert_eq!(bench.step(200), Some(at(400)));
    assert_eq!(bench.step(50), Some(at(450)), "at each step, and at least so often");
    bench.settle(10);
    assert_eq!(end_of(&bench.test().1), (0x0C, 0, 0, 1));
    assert_eq!(bench.now, 450);
}

#[test]
fn sense_is_kept_until_it_is_fetched_or_another_command_comes() {
    let mut bench = Bench::new();
    let check = || Answer::Ends(Ending::unit_check([0x80, 0x11]));
    let sense = |bench: &mut Bench| {
        bench.end(&[ccw(command::SENSE, 0, 32, AREA)]);
        bench.bytes(AREA, 2)
    };
    bench.answer([check()]);
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    let irb = bench.run(&orb);
    assert_eq!(irb.scsw.device_status, ENDED | DeviceStatus::UNIT_CHECK);
    assert_eq!(irb.concurrent_sense(), None);
    bench.end(&[ccw(command::NO_OPERATION, SUPPRESS, 1, 0)]);
    assert_eq!(sense(&mut bench), [0x80, 0x11]);
    assert_eq!(sense(&mut bench), [0, 0]);
    bench.answer([check()]);
    bench.end(&[ccw(WRITE, 0, 1, AREA)]);
    bench.end(&[ccw(WRITE, 0, 1, AREA)]);
    assert_eq!(sense(&mut bench), [0, 0]);
}

#[test]
fn sense_comes_with_the_status_when_the_program_wants_it() {
    let mut bench = Bench::new();
    bench.on(|subsystem| {
        let mut schib = subsystem.store(SUBCHANNEL).unwrap();
        schib.pmcw = schib.pmcw.with_concurrent_sense(true);
        assert_eq!(subsystem.modify(SUBCHANNEL, &schib), Ok(Done));
    });
    bench.answer([Answer::Ends(Ending::unit_check([0x40, 0x22]))]);
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    let irb = bench.run(&orb);
    assert_eq!(irb.concurrent_sense().unwrap()[..2], [0x40, 0x22]);
    assert_eq!(irb.last_used_path(), 0x80);
    bench.end(&[ccw(command::SENSE, 0, 32, AREA)]);
    assert_eq!(bench.bytes(AREA, 2), [0, 0], "it was given");
    assert_eq!(bench.run(&orb).concurrent_sense(), None, "nothing is wrong");
}

#[test]
fn first_path_of_the_request_that_answers_is_used() {
    let path = |channel| Path { system: 7, channel };
    let mut bench = Bench::with_paths(vec![path(0x11), path(0x22), path(0x33)]);
    let pmcw = bench.pmcw();
    assert_eq!((pmcw.installed_paths, pmcw.available_paths), (0xE0, 0xE0));
    assert_eq!(pmcw.channel_paths[..4], [0x11, 0x22, 0x33, 0]);
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    let run = |bench: &mut Bench, logical_paths| {
        let irb = bench.run(&Orb { logical_paths, ..orb });
        (irb.last_used_path(), has(&irb, ScswFlags::PATH_NOT_OPERATIONAL))
    };
    assert_eq!(run(&mut bench, 0xFF), (0x80, false));
    assert_eq!(run(&mut bench, 0x60), (0x40, false));
    bench.on(|subsystem| subsystem.cut_paths(SLOT, 0xA0)).unwrap();
    assert_eq!(run(&mut bench, 0xFF), (0x40, true));
    let pmcw = bench.pmcw();
    assert_eq!((pmcw.not_operational_paths, pmcw.operational_paths), (0x80, 0x7F));
    assert_eq!(run(&mut bench, 0xFF), (0x40, false), "the first one is not tried again");
    assert_eq!(bench.memory().paths, [0x11, 0x22, 0x22, 0x22].map(path));
}

#[test]
fn start_without_a_path_fails_at_once_or_when_none_answers() {
    let path = |channel| Path { system: 7, channel };
    let mut bench = Bench::with_paths(vec![path(0x11), path(0x22)]);
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    assert_eq!(bench.start(&Orb { logical_paths: 0x3F, ..orb }), NotOperational);
    bench.on(|subsystem| subsystem.vary_paths(SLOT, 0x80, false)).unwrap();
    assert_eq!(bench.start(&Orb { logical_paths: 0x80, ..orb }), NotOperational);
    assert_eq!(bench.run(&orb).last_used_path(), 0x40);
    bench.on(|subsystem| subsystem.cut_paths(SLOT, 0xC0)).unwrap();
    let irb = bench.run(&orb);
    assert_eq!(irb.scsw.deferred_condition_code(), 3);
    assert!(has(&irb, ScswFlags::PATH_NOT_OPERATIONAL));
    assert_eq!(bench.pmcw().operational_paths, 0xBF);
    assert_eq!(bench.memory().log.len(), 1);
}
