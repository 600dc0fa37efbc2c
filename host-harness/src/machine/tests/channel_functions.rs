//! I/O instructions: condition codes, what they change and clear.
//!
//! Source of truth: Principles of Operation, chapter "I/O Instructions".

use super::{ConditionCode::*, bench::*, *};
use monitor_core::channel::{Pmcw, Schib};

const READ: u8 = command::READ;
const WRITE: u8 = command::WRITE;

/// The codes of all instructions but those that store, in the order of the alphabet.
fn codes(bench: &Bench) -> [ConditionCode; 6] {
    let orb = Orb::of_program(PROGRAM, 0);
    let now = at(bench.now);
    bench.on(|subsystem| {
        [
            subsystem.cancel(SUBCHANNEL),
            subsystem.clear(SUBCHANNEL),
            subsystem.halt(SUBCHANNEL),
            subsystem.resume(SUBCHANNEL, now),
            subsystem.start(SUBCHANNEL, &orb, now).unwrap(),
            subsystem.test(SUBCHANNEL).0,
        ]
    })
}

#[test]
fn subchannel_that_is_not_enabled_or_has_no_device_is_not_operational() {
    let bench = Bench::new();
    bench.on(|subsystem| enable(subsystem, false));
    assert_eq!(codes(&bench), [NotOperational; 6]);
    bench.on(|subsystem| {
        enable(subsystem, true);
        subsystem.install(SLOT, false).unwrap();
    });
    assert_eq!(codes(&bench), [NotOperational; 6]);
    let other = SubchannelNumber::new(0x99);
    bench.on(|subsystem| {
        assert_eq!(subsystem.halt(other), NotOperational);
        assert_eq!(subsystem.modify(other, &Default::default()), Ok(NotOperational));
        assert_eq!(subsystem.store(other), None);
    });
}

#[test]
fn idle_subchannel_has_nothing_to_cancel_or_to_resume() {
    let bench = Bench::new();
    let now = at(0);
    bench.on(|subsystem| {
        assert_eq!(subsystem.cancel(SUBCHANNEL), Busy);
        assert_eq!(subsystem.resume(SUBCHANNEL, now), Busy);
        assert_eq!(subsystem.test(SUBCHANNEL).0, Status);
    });
}

#[test]
fn pending_status_stands_before_what_would_change_it() {
    let mut bench = Bench::new();
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    bench.start(&orb);
    bench.settle(10);
    let now = at(bench.now);
    bench.on(|subsystem| {
        let schib = subsystem.store(SUBCHANNEL).unwrap();
        assert_eq!(subsystem.cancel(SUBCHANNEL), Status);
        assert_eq!(subsystem.halt(SUBCHANNEL), Status);
        assert_eq!(subsystem.resume(SUBCHANNEL, now), Status);
        assert_eq!(subsystem.start(SUBCHANNEL, &orb, now), Ok(Status));
        assert_eq!(subsystem.modify(SUBCHANNEL, &schib), Ok(Status));
        assert_eq!(subsystem.store(SUBCHANNEL), Some(schib), "nothing has changed");
        assert_eq!(subsystem.clear(SUBCHANNEL), Done, "but nothing holds a clear up");
    });
}

#[test]
fn function_under_way_keeps_others_out() {
    let bench = Bench::new();
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    let now = at(0);
    bench.start(&orb);
    bench.on(|subsystem| {
        let schib = subsystem.store(SUBCHANNEL).unwrap();
        assert_eq!(subsystem.start(SUBCHANNEL, &orb, now), Ok(Busy));
        assert_eq!(subsystem.modify(SUBCHANNEL, &schib), Ok(Busy));
        assert_eq!(subsystem.cancel(SUBCHANNEL), Busy, "it has begun");
        assert_eq!(subsystem.resume(SUBCHANNEL, now), Busy, "it may not suspend itself");
        assert_eq!(subsystem.halt(SUBCHANNEL), Done);
        assert_eq!(subsystem.halt(SUBCHANNEL), Busy);
        assert_eq!(subsystem.start(SUBCHANNEL, &orb, now), Ok(Busy));
        assert_eq!(subsystem.clear(SUBCHANNEL), Done);
        assert_eq!(subsystem.halt(SUBCHANNEL), Busy, "a clear is pending");
        assert_eq!(subsystem.clear(SUBCHANNEL), Done);
    });
}

#[test]
fn start_keeps_what_the_request_says() {
    let bench = Bench::new();
    let program = bench.program(&[ccw(WRITE, 0, 1, AREA)]).with_key(0);
    let orb = Orb { flags: program.flags | 0x0F7B, logical_paths: 0xC0, ..program };
    bench.on(|subsystem| subsystem.hold(SLOT)).unwrap();
    assert_eq!(bench.start(&orb), Done);
    let schib = bench.on(|subsystem| subsystem.store(SUBCHANNEL).unwrap());
    assert_eq!(schib.scsw.flags.bits(), 0x08F8, "what has a place in the status word");
    assert_eq!(schib.scsw.control.bits(), 0x4400);
    assert_eq!(schib.pmcw.interruption_parameter, PARAMETER);
    assert_eq!(schib.pmcw.logical_paths, 0xC0);
}

#[test]
fn halt_ends_a_program_that_is_under_way_with_its_status() {
    let mut bench = Bench::new();
    bench.answer([Answer::Waits, Answer::Waits]);
    let orb = bench.program(&[ccw(READ, CHAIN, 1, AREA), ccw(READ, 0, 1, AREA)]);
    bench.start(&orb);
    bench.step(200);
    assert_eq!(bench.on(|subsystem| subsystem.halt(SUBCHANNEL)), Done);
    assert_eq!(bench.scsw().control.bits(), 0x62C0);
    bench.step(0);
    assert_eq!(bench.memory().cancelled, 1);
    let (condition, irb) = bench.test();
    assert_eq!((condition, irb.scsw.control.bits()), (Done, 0x6007));
    assert_eq!(irb.scsw.device_status.bits(), 0x0C);
    assert_eq!(bench.scsw().control.bits(), 0);
    bench.settle(100);
    assert_eq!(bench.memory().log, [], "the rest of the program is gone");
}

#[test]
fn halt_and_clear_of_an_idle_subchannel_leave_status_pending_alone() {
    let mut bench = Bench::new();
    for (halts, control) in [(true, 0x2001), (false, 0x1001)] {
        bench.on(|subsystem| {
            let instruct = if halts { Subsystem::halt } else { Subsystem::clear };
            assert_eq!(instruct(subsystem, SUBCHANNEL), Done);
        });
        bench.step(0);
        let (condition, irb) = bench.test();
        assert_eq!((condition, irb.scsw.control.bits()), (Done, control));
        assert_eq!(irb.scsw.device_status.bits(), 0);
        assert_eq!(bench.memory().cancelled, 0);
    }
}

#[test]
fn halt_of_what_has_not_begun_shows_no_status_of_the_device() {
    let mut bench = Bench::new();
    let orb = bench.program(&[ccw(READ, 0, 1, AREA)]);
    bench.on(|subsystem| subsystem.hold(SLOT)).unwrap();
    bench.start(&orb);
    bench.on(|subsystem| subsystem.halt(SUBCHANNEL));
    bench.step(0);
    let (_, irb) = bench.test();
    assert_eq!((irb.scsw.control.bits(), irb.scsw.device_status.bits()), (0x6001, 0));
    bench.on(|subsystem| subsystem.release(SLOT)).unwrap();
    bench.settle(10);
    assert_eq!(bench.memory().log, []);
}

#[test]
fn clear_drops_everything_and_makes_paths_operational_again() {
    let mut bench = Bench::new();
    bench.answer([Answer::Waits]);
    let orb = bench.program(&[ccw(READ, 0, 1, AREA)]);
    bench.start(&orb);
    bench.step(200);
    bench.on(|subsystem| {
        let mut schib = subsystem.store(SUBCHANNEL).unwrap();
        assert_eq!(schib.pmcw.last_used_path, 0x80);
        assert_eq!(subsystem.clear(SUBCHANNEL), Done);
        schib = subsystem.store(SUBCHANNEL).unwrap();
        assert_eq!(schib.scsw.control.bits() & 0xFF00, 0x1100);
    });
    bench.step(0);
    assert_eq!(bench.memory().cancelled, 1);
    let (_, irb) = bench.test();
    let scsw = irb.scsw;
    assert_eq!(scsw.control.bits(), 0x1001);
    assert_eq!(scsw.to_bytes()[4..], [0; 8]);
    assert_eq!(scsw.flags.bits(), 0);
    let pmcw = bench.pmcw();
    assert_eq!((pmcw.operational_paths, pmcw.last_used_path), (0xFF, 0));
    bench.settle(10);
    assert_eq!(bench.memory().log, []);
}

#[test]
fn cancel_takes_back_what_has_not_begun() {
    let mut bench = Bench::new();
    let orb = bench.program(&[ccw(READ, 0, 1, AREA)]);
    bench.on(|subsystem| subsystem.hold(SLOT)).unwrap();
    bench.start(&orb);
    assert_eq!(bench.on(|subsystem| subsystem.cancel(SUBCHANNEL)), Done);
    assert_eq!(bench.scsw().control.bits(), 0, "and no status comes of it");
    bench.on(|subsystem| subsystem.release(SLOT)).unwrap();
    bench.settle(10);
    assert_eq!(bench.memory().log, []);
    assert_eq!(bench.start(&orb), Done);
}

#[test]
fn modify_sets_what_the_program_may_set_and_nothing_else() {
    let bench = Bench::new();
    let before = bench.on(|subsystem| subsystem.store(SUBCHANNEL).unwrap());
    let mut ones = Schib::from_bytes(&[0xFF; 52]);
    // Not those that must be zero, and a limit mode that there is.
    ones.pmcw.flags = 0x3CBF;
    ones.pmcw.characteristics = 0x00E0_0007;
    assert_eq!(bench.on(|subsystem| subsystem.modify(SUBCHANNEL, &ones)), Ok(Done));
    let after = bench.on(|subsystem| subsystem.store(SUBCHANNEL).unwrap());
    let mut expected = before;
    expected.pmcw.interruption_parameter = 0xFFFF_FFFF;
    expected.pmcw.flags = 0x38BD;
    expected.pmcw.logical_paths = 0xFF;
    expected.pmcw.measurement_index = 0xFFFF;
    expected.pmcw.operational_paths = 0xFF;
    expected.pmcw.characteristics = 7;
    expected.measurement_address = u64::MAX;
    assert_eq!(after, expected);
}

#[test]
fn request_with_bits_that_must_be_zero_is_an_operand_exception_and_starts_nothing() {
    let bench = Bench::new();
    let good = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    let before = bench.on(|subsystem| subsystem.store(SUBCHANNEL));
    let other = SubchannelNumber::new(0x99);
    let wrong = [
        Orb { flags: good.flags | 0x0004, ..good },
        Orb { extension_flags: 0x20, ..good },
        Orb { extension_flags: 0x10, ..good },
        Orb { extension_flags: 0x08, ..good },
        Orb { extension_flags: 0x04, ..good },
        Orb { extension_flags: 0x02, ..good },
        Orb { program_address: good.program_address | 0x8000_0000, ..good },
    ];
    bench.on(|subsystem| {
        for orb in wrong {
            for number in [SUBCHANNEL, other] {
                let refused = subsystem.start(number, &orb, at(0));
                assert_eq!(refused, Err(Exception::Operand), "{orb:?}");
            }
        }
        assert_eq!(subsystem.store(SUBCHANNEL), before, "nothing has changed");
        subsystem.hold(SLOT).unwrap();
        let all = Orb { flags: 0xFFFB, extension_flags: 0xC1, ..good };
        assert_eq!(subsystem.start(SUBCHANNEL, &all, at(0)), Ok(Done), "all other bits are used");
    });
}

#[test]
fn modification_with_bits_that_must_be_zero_is_an_operand_exception_and_changes_nothing() {
    let bench = Bench::new();
    let before = bench.on(|subsystem| subsystem.store(SUBCHANNEL).unwrap());
    let other = SubchannelNumber::new(0x99);
    let with = |flags: u16, characteristics: u32| {
        let pmcw = Pmcw { flags: before.pmcw.flags | flags, characteristics, ..before.pmcw };
        Schib { pmcw, ..before }
    };
    bench.on(|subsystem| {
        let flags = [0x8000, 0x4000, 0x0200, 0x0100, 0x0060].map(|flags| with(flags, 0));
        let reserved = (0..32).map(|bit| 1 << bit).filter(|bit| bit & 0x00E0_0007 == 0);
        for schib in flags.into_iter().chain(reserved.map(|bit| with(0, bit))) {
            for number in [SUBCHANNEL, other] {
                let refused = subsystem.modify(number, &schib);
                assert_eq!(refused, Err(Exception::Operand), "{:?}", schib.pmcw);
            }
        }
        assert_eq!(subsystem.store(SUBCHANNEL), Some(before), "nothing has changed");
        for flags in [0x0020, 0x0040, 0x0400] {
            let schib = with(flags, 0x00E0_0000);
            assert_eq!(subsystem.modify(SUBCHANNEL, &schib), Ok(Done), "{flags:#06x}");
        }
    });
}

#[test]
fn operand_exception_interrupts_the_processor_that_asks() {
    let bench = Bench::new();
    let device: Arc<dyn Device> = Arc::<Probe>::clone(&bench.probe);
    let machine = machine_with(
        |context, _| {
            let orb = Orb { flags: 0x0084, ..Orb::of_program(PROGRAM, PARAMETER) };
            let mut schib = context.store_subchannel(SUBCHANNEL)?.unwrap();
            schib.pmcw.flags |= 0x4000;
            let modified = context.modify_subchannel(SUBCHANNEL, &schib);
            assert_eq!(modified, Err(Exception::Operand));
            context.start_subchannel(SUBCHANNEL, &orb)?;
            Ok(Step::default())
        },
        device,
    );
    ready(&machine, 1);
    machine.resume(at(0));
    machine.step_processor(0, at(0), 1);
    assert_eq!(machine.fault().unwrap().exception, Some(Exception::Operand));
    let mut code = [0; 2];
    machine.storage.load_bytes(0x8E, &mut code).unwrap();
    assert_eq!(code, [0x00, 0x15]);
}

#[test]
fn subchannel_without_a_device_takes_no_modification() {
    let bench = Bench::new();
    bench.on(|subsystem| subsystem.install(SLOT, false)).unwrap();
    let before = bench.on(|subsystem| subsystem.store(SUBCHANNEL));
    assert!(!before.unwrap().pmcw.has_device());
    assert_eq!(bench.on(|subsystem| enable(subsystem, true)), Done);
    assert_eq!(bench.on(|subsystem| subsystem.store(SUBCHANNEL)), before);
}

#[test]
fn interruptions_come_by_subclass_once_and_test_pending_takes_them_too() {
    let mut bench = Bench::new();
    let orb = bench.program(&[ccw(WRITE, 0, 1, AREA)]);
    bench.start(&orb);
    bench.settle(10);
    let expected =
        IoInterruption { subchannel: Some(SUBCHANNEL), parameter: PARAMETER, subclass: 3 };
    bench.on(|subsystem| {
        assert_eq!(subsystem.test_pending(0xEF), (Done, None), "subclass 3 is not admitted");
        assert_eq!(subsystem.test_pending(0x10), (Status, Some(expected)));
        assert_eq!(subsystem.test_pending(0xFF), (Done, None));
    });
    assert_eq!(expected.to_words(), [0x0001_0010, PARAMETER, 0x1800_0000]);
    assert_eq!(bench.test().0, Done, "status is still there");
    bench.start(&orb);
    bench.settle(10);
    assert_eq!(bench.on(|subsystem| subsystem.test_pending(0xFF)).0, Status, "a new one");
    bench.test();
    assert_eq!(bench.on(|subsystem| subsystem.test_pending(0xFF)).0, Done, "gone with its status");
}

#[test]
fn lowest_subclass_interrupts_first() {
    let number = SubchannelNumber::new;
    let device = |subchannel: u16| {
        let mut attached = attached(Arc::new(Probe::default()));
        attached.descriptor.subchannel = number(subchannel);
        attached
    };
    let vm = VmName::new("VM12PROD").unwrap();
    let mut subsystem = Subsystem::new(vm, vec![device(1), device(2), device(3)]);
    for (subchannel, subclass) in [(1, 6), (2, 2), (3, 2)] {
        let mut schib = subsystem.store(number(subchannel)).unwrap();
        schib.pmcw = schib.pmcw.with_enabled(true).with_interruption_subclass(subclass);
        assert_eq!(subsystem.modify(number(subchannel), &schib), Ok(Done));
        subsystem.clear(number(subchannel));
    }
    subsystem.step(at(0), &Bench::new().machine.storage);
    let taken = std::iter::from_fn(|| subsystem.test_pending(0xFF).1);
    let order: Vec<u16> = taken.map(|it| it.subchannel.map_or(0, SubchannelNumber::get)).collect();
    assert_eq!(order, [2, 3, 1]);
}

#[test]
fn what_comes_and_goes_is_reported() {
    let bench = Bench::with_paths(vec![
        Path { system: 1, channel: 0x11 },
        Path { system: 1, channel: 0x22 },
    ]);
    bench.on(|subsystem| {
        subsystem.vary_paths(SLOT, 0x40, false).unwrap();
        subsystem.vary_paths(SLOT, 0x40, false).unwrap();
        subsystem.vary_paths(SLOT, 0xFF, true).unwrap();
        subsystem.install(SLOT, false).unwrap();
        subsystem.install(SLOT, false).unwrap();
        subsystem.install(SLOT, true).unwrap();
    });
    let reports: Vec<u32> =
        std::iter::from_fn(|| bench.machine.with_floating(Floating::take_report)).collect();
    assert_eq!(reports, [0x0406_0022, 0x0402_0022, 0x0304_0010, 0x0304_0010]);
    assert!(bench.pmcw().has_device() && !bench.pmcw().is_enabled());
}

#[test]
fn instructions_of_a_processor_are_those_of_the_subsystem() {
    let bench = Bench::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let device: Arc<dyn Device> = Arc::<Probe>::clone(&bench.probe);
    let machine = machine_with(
        move |context, _| {
            let orb = Orb::of_program(PROGRAM, PARAMETER);
            lock(&noted).extend([
                context.start_subchannel(SUBCHANNEL, &orb)?,
                context.cancel_subchannel(SUBCHANNEL)?,
                context.resume_subchannel(SUBCHANNEL)?,
                context.halt_subchannel(SUBCHANNEL)?,
                context.clear_subchannel(SUBCHANNEL)?,
                context.test_subchannel(SUBCHANNEL)?.0,
                context.test_pending_interruption()?.0,
                context.store_channel_report()?.0,
                context.store_channel_report()?.0,
            ]);
            Ok(Step::default())
        },
        device,
    );
    ready(&machine, 1);
    machine.with_floating(|floating| floating.push_report(7));
    machine.resume(at(0));
    machine.step_processor(0, at(0), 1);
    let expected = [Done, Busy, Busy, Done, Done, Status, Done, Done, Status];
    assert_eq!(*lock(&seen), expected);
}
