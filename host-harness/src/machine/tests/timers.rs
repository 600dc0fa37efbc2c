//! The guest's time: TOD clock, clock comparator, CPU timer.
//!
//! Source of truth: the head of `timing`; Principles of Operation, "Timing".

use super::*;
use monitor_core::vm::MachineImage;

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

/// A program that stores its clock.
fn note_clock(context: &mut Context<'_>, _: u32) -> Result<Step, Exception> {
    context.storage.store(0x5000, context.store_clock())?;
    Ok(Step::default())
}

/// Moves a guest that has run until `stopped` on its SU's clock to another SU, where it goes on at
/// `resumed` on that one's, and is looked at each microsecond. Gives by how much its clock was
/// ahead at the first look, and after how many looks the comparator interrupted that it had set
/// 20 us ahead.
fn moved_between_clocks(stopped: u64, resumed: u64, epoch: TodEpoch) -> (i64, u64) {
    let disk = || Arc::new(Disk::new());
    let (source, target) = (machine_with(note_clock, disk()), machine_with(note_clock, disk()));
    let image = ProcessorImage { tod_epoch: epoch, ..open(&source, COMPARATOR) };
    ready(&target, 2);
    let comparator = epoch.guest_tod(units(stopped + 20));
    let image = ProcessorImage { clock_comparator: comparator, ..image };
    source.restore(PROCESSOR, &image).unwrap();
    source.resume(at(stopped - 100));
    source.step_processor(0, at(stopped), 1);
    source.stop();
    let seen = source.storage.load(0x5000).unwrap();
    let mut whole = MachineImage::initial();
    source.capture_machine(&mut whole);
    target.restore(PROCESSOR, &state(&source)).unwrap();
    target.restore_machine(&whole);
    target.resume(at(resumed));
    // A thread that has read its clock before the resume does not take the guest's back.
    target.step_processor(0, at(resumed - 1), 1);
    let ahead = target.storage.load(0x5000).unwrap().wrapping_sub(seen).cast_signed() >> 12;
    let mut looks = 0;
    while state(&target).psw.address != 0x3000 {
        looks += 1;
        target.step_processor(0, at(resumed + looks), 1);
    }
    (ahead, looks)
}

#[test]
fn clock_of_a_moved_guest_never_goes_back_and_its_comparator_is_in_time() {
    const SECONDS: u64 = 5_000_000;
    for epoch in [
        TodEpoch::between(0, units(1000)),
        TodEpoch::between(units(1000), 0),
        TodEpoch { index: -1, difference: u64::MAX - units(SECONDS) },
    ] {
        // Behind, even from far away; at the same time; a blackout of 15 us; ahead.
        for behind in [SECONDS, 1 << 50] {
            let stopped = behind + 2 * SECONDS;
            let resumed = moved_between_clocks(stopped, 2 * SECONDS, epoch);
            assert_eq!(resumed, (0, 21), "{epoch:?}");
        }
        let (stopped, late) = (2 * SECONDS, 2 * SECONDS + 15);
        assert_eq!(moved_between_clocks(stopped, stopped, epoch), (0, 21), "{epoch:?}");
        assert_eq!(moved_between_clocks(stopped, late, epoch), (15, 6), "{epoch:?}");
        let ahead = moved_between_clocks(stopped, stopped + SECONDS, epoch);
        assert_eq!(ahead, (SECONDS.cast_signed(), 0), "{epoch:?}");
    }
}

/// A guest that comes to a third SU before it has run on the second one.
#[test]
fn clock_of_a_guest_that_has_not_run_since_its_last_move_is_kept_from_the_move_before() {
    let machines: [_; 3] = std::array::from_fn(|_| machine(&Arc::new(Disk::new())));
    machines[0].resume(at(9_000));
    let mut images = Vec::new();
    for pair in machines.windows(2) {
        let mut whole = MachineImage::initial();
        pair[0].capture_machine(&mut whole);
        pair[1].restore_machine(&whole);
        images.push(whole.stopped_tod);
    }
    assert_eq!(images, [units(9_000); 2]);
    machines[2].resume(at(4_000));
    let epoch = TodEpoch { index: 0, difference: units(5_000) };
    assert_eq!(state(&machines[2]).tod_epoch, epoch);
    // It is at home on this clock now.
    machines[2].stop();
    machines[2].resume(at(4_500));
    assert_eq!(state(&machines[2]).tod_epoch, epoch);
    let mut whole = MachineImage::initial();
    machines[2].capture_machine(&mut whole);
    assert_eq!(whole.stopped_tod, units(4_500));
}
