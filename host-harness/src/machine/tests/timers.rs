//! The guest's time: TOD clock, clock comparator, CPU timer.
//!
//! Source of truth: the head of `timing`; Principles of Operation, "Timing".

use super::*;

const COMPARATOR: u64 = 0x800;
const TIMER: u64 = 0x400;

/// Units of the TOD clock in so many microseconds.
const fn units(micros: u64) -> u64 {
    micros << 12
}

/// A processor that is open to external interruptions of these subclasses, whose handler is closed.
fn open(machine: &Machine, subclasses: u64) -> ProcessorImage {
    ready(machine, 1);
    let mut image = state(machine);
    image.control[0] |= subclasses;
    image
}

/// Runs until `end` in steps of a microsecond, and gives the moments of interruptions of this
/// code, after each of which the PSW is as before.
fn moments_of(machine: &Machine, code: u64, image: &ProcessorImage, end: u64) -> Vec<u64> {
    let mut moments = Vec::new();
    for now in 0..end {
        machine.step_processor(0, at(now), 1);
        let mut after = state(machine);
        if after.psw.address == 0x3000 {
            assert_eq!(machine.storage.load(0x80).map(|word| word & 0xFFFF_FFFF), Ok(code));
            moments.push(now);
            after.psw = image.psw;
            machine.restore(PROCESSOR, &after).unwrap();
        }
    }
    moments
}

#[test]
fn clock_comparator_interrupts_once_the_clock_is_beyond_it_and_until_it_is_set() {
    let machine = machine(&Arc::new(Disk::new()));
    let mut image = open(&machine, COMPARATOR);
    image.tod_epoch = TodEpoch::between(0, units(1000));
    image.clock_comparator = units(1010);
    machine.restore(PROCESSOR, &image).unwrap();
    machine.resume(at(0));
    let step = machine.step_processor(0, at(3), 1).unwrap();
    assert_eq!(step.next_due, Some(at(11)));
    assert_eq!(moments_of(&machine, 0x1004, &image, 14), [11, 12, 13]);
    assert_eq!(machine.storage.load(0x80).map(|word| word >> 32), Ok(0), "no parameter");
}

#[test]
fn clock_comparator_waits_for_its_mask_and_that_of_the_psw() {
    let machine = machine(&Arc::new(Disk::new()));
    let image = open(&machine, COMPARATOR);
    let closed = ProcessorImage { psw: image.psw.with_external(false), ..image.clone() };
    let masked = ProcessorImage { control: [0; 16], ..image.clone() };
    machine.resume(at(0));
    for (case, interrupts) in [(&closed, false), (&masked, false), (&image, true)] {
        machine.restore(PROCESSOR, case).unwrap();
        let step = machine.step_processor(0, at(5), 1).unwrap();
        assert_eq!(state(&machine).psw.address == 0x3000, interrupts);
        assert_eq!(step.next_due, None);
    }
}

#[test]
fn cpu_timer_runs_only_while_the_processor_operates_and_the_vm_runs() {
    let machine = machine(&Arc::new(Disk::new()));
    let mut image = open(&machine, TIMER);
    image.cpu_timer = units(100).cast_signed();
    machine.restore(PROCESSOR, &image).unwrap();
    machine.resume(at(1000));
    let step = machine.step_processor(0, at(1040), 1).unwrap();
    assert_eq!(step.next_due, Some(at(1101)));
    assert_eq!(state(&machine).cpu_timer, units(60).cast_signed());
    machine.step_processor(1, at(1050), 1);
    machine.stop();
    assert_eq!(state(&machine).cpu_timer, units(50).cast_signed(), "up to the last step of any");
    machine.stop();
    machine.resume(at(9000));
    machine.step_processor(0, at(9050), 1);
    assert_eq!((state(&machine).cpu_timer, state(&machine).psw.address), (0, 0x2000));
    machine.step_processor(0, at(9051), 1);
    assert_eq!(machine.storage.load(0x80), Ok(0x1005));
    assert_eq!(state(&machine).psw.address, 0x3000);
}

#[test]
fn cpu_timer_of_a_waiting_processor_runs_and_that_of_a_stopped_one_does_not() {
    let machine = machine(&Arc::new(Disk::new()));
    let image = open(&machine, 0);
    let waiting = ProcessorImage { psw: image.psw.with_wait(true), ..image.clone() };
    let stopped = ProcessorImage { state: CpuState::Stopped, ..image };
    for (case, counted) in [(waiting, 30), (stopped, 0)] {
        machine.restore(PROCESSOR, &case).unwrap();
        machine.resume(at(0));
        machine.step_processor(0, at(30), 1);
        machine.stop();
        assert_eq!(state(&machine).cpu_timer, -units(counted).cast_signed());
    }
}

#[test]
fn timers_wake_a_waiting_processor_at_the_earlier_of_both() {
    let machine = machine(&Arc::new(Disk::new()));
    let mut image = open(&machine, COMPARATOR | TIMER);
    image.psw = image.psw.with_wait(true);
    image.clock_comparator = units(500);
    for (left, due) in [(200, 201), (700, 501)] {
        image.cpu_timer = units(left).cast_signed();
        machine.restore(PROCESSOR, &image).unwrap();
        machine.resume(at(0));
        let idle = Step { worked: 0, next_due: Some(at(due)) };
        assert_eq!(machine.step_processor(0, at(0), 9), Some(idle));
    }
    image.psw = image.psw.with_external(false);
    machine.restore(PROCESSOR, &image).unwrap();
    assert_eq!(machine.step_processor(0, at(0), 9), Some(Step::default()), "nothing can wake it");
}

#[test]
fn clock_of_the_guest_has_the_sign_and_the_index_of_its_epoch() {
    let rows = [
        (TodEpoch::between(0, units(7)), units(107), 0),
        (TodEpoch::between(units(40), 0), units(60), 0),
        (TodEpoch { index: 1, difference: 0 }, units(100), 1),
        (TodEpoch { index: 0, difference: u64::MAX }, units(100) - 1, 1),
        (TodEpoch { index: -1, difference: 0 }, units(100), 0xFF),
    ];
    for (epoch, clock, index) in rows {
        let program = |context: &mut Context<'_>, _: u32| {
            let extended = context.store_clock_extended();
            context.storage.store_bytes(0x5000, &extended)?;
            context.storage.store(0x5010, context.store_clock())?;
            Ok(Step::default())
        };
        let machine = machine_with(program, Arc::new(Disk::new()));
        let tod_programmable = 0x1234;
        let open = open(&machine, 0);
        let image = ProcessorImage { tod_epoch: epoch, tod_programmable, ..open };
        machine.restore(PROCESSOR, &image).unwrap();
        machine.resume(at(0));
        machine.step_processor(0, at(100), 1);
        let first = machine.storage.load(0x5000).unwrap();
        assert_eq!((first >> 56, first << 8), (index, clock & !0xFF), "{epoch:?}");
        assert_eq!(machine.storage.load(0x5008).unwrap() & 0xFFFF, 0x1234);
        assert_eq!(machine.storage.load(0x5010), Ok(clock));
    }
}

#[test]
fn moved_guest_sees_the_blackout_on_its_clock_and_not_on_its_cpu_timer() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    let mut image = open(&source, COMPARATOR);
    ready(&target, 2);
    image.clock_comparator = units(250);
    image.cpu_timer = units(1000).cast_signed();
    source.restore(PROCESSOR, &image).unwrap();
    source.resume(at(0));
    source.step_processor(0, at(200), 1);
    source.stop();
    target.restore(PROCESSOR, &state(&source)).unwrap();
    target.resume(at(300));
    target.step_processor(0, at(300), 1);
    assert_eq!(state(&target).cpu_timer, units(800).cast_signed());
    assert_eq!(state(&target).psw.address, 0x3000, "the comparator was passed in the blackout");
}
