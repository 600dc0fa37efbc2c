//! Programs on their way when a device is to become quiet, moves or goes.
//!
//! Source of truth: ARCHITECTURE.md ("Devices", "The emulated machine"). Invariants held here: no
//! command is carried out twice or lost, and no status is presented twice.

use super::{ConditionCode::*, bench::*, *};

const READ: u8 = command::READ;
const WRITE: u8 = command::WRITE;

/// Two machines that share the device; it is attached to the first.
fn pair() -> (Bench, Bench) {
    let source = Bench::new();
    let target = Bench::cold(&source.probe, vec![Path { system: 2, channel: 0x44 }]);
    (source, target)
}

/// The image without what belongs to the SU.
fn without_paths(mut image: SubchannelImage) -> SubchannelImage {
    let pmcw = &mut image.schib.pmcw;
    (pmcw.installed_paths, pmcw.available_paths, pmcw.operational_paths) = (0, 0, 0);
    (pmcw.logical_paths, pmcw.channel_paths) = (0, [0; 8]);
    image
}

fn hold(bench: &Bench) {
    bench.on(|subsystem| subsystem.hold(SLOT)).unwrap();
}

/// Moves storage and subchannel as they are, and attaches the device to the target.
fn hand_over(source: &Bench, target: &mut Bench) {
    assert!(quiet(&source.machine));
    let image = image(&source.machine);
    assert!(image.is_movable());
    source.on(|subsystem| subsystem.detach(SLOT)).unwrap();
    let page = source.bytes(0, 0x1_0000);
    target.fill(0, &page);
    target.on(|subsystem| {
        subsystem.restore(SLOT, &image).unwrap();
        subsystem.attach(SLOT, Epoch::new(2)).unwrap();
    });
    let arrived = super::image(&target.machine);
    assert_eq!(without_paths(arrived), without_paths(image), "nothing is lost on the way");
    target.now = source.now;
}

#[test]
fn program_that_has_begun_goes_on_to_its_end_while_held() {
    let (mut source, _) = pair();
    source.answer([takes(100, 30), takes(100, 0)]);
    let orb = source.program(&[ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, 0, 1, AREA)]);
    source.start(&orb);
    source.step(200);
    hold(&source);
    assert!(!quiet(&source.machine));
    source.settle(10);
    assert!(quiet(&source.machine));
    assert_eq!(source.memory().log.len(), 2);
    assert_eq!(end_of(&source.test().1), (0x0C, 0, 0, 2));
    assert_eq!(source.start(&orb), Done);
    source.settle(10);
    assert_eq!(source.memory().log.len(), 2, "a new one is not begun");
}

#[test]
fn program_that_waits_with_its_first_command_begins_anew_at_the_target() {
    for waits_at_hold in [true, false] {
        let (mut source, mut target) = pair();
        source.record(b"frame");
        source.answer([Answer::Waits, Answer::Waits]);
        let orb = source.program(&[ccw(READ, 0, 5, AREA)]);
        source.start(&orb);
        // It waits when the device is to become quiet, or comes to that a little later.
        source.step(if waits_at_hold { 200 } else { 100 });
        hold(&source);
        source.step(100);
        assert!(quiet(&source.machine));
        assert_eq!(source.memory().cancelled, 1);
        assert_eq!(source.scsw().control.bits(), 0x4400);
        lock(&source.probe.answers).clear();
        hand_over(&source, &mut target);
        target.settle(10);
        assert_eq!(end_of(&target.test().1), (0x0C, 0, 0, 1));
        assert_eq!(target.bytes(AREA, 5), b"frame");
        assert_eq!(target.memory().log.len(), 1);
        assert_eq!(target.memory().paths, [Path { system: 2, channel: 0x44 }]);
    }
}

#[test]
fn program_that_waits_further_on_keeps_the_device_busy() {
    let (mut source, _) = pair();
    source.answer([takes(0, 0), Answer::Waits, Answer::Waits, Answer::Waits, Answer::Waits]);
    source.record(b"x");
    let orb = source.program(&[ccw(WRITE, CHAIN, 1, AREA), ccw(READ, 0, 1, AREA)]);
    source.start(&orb);
    source.step(200);
    hold(&source);
    source.step(100);
    assert!(!quiet(&source.machine));
    assert!(!image(&source.machine).is_movable());
    assert_eq!(source.memory().cancelled, 0);
    source.settle(10);
    assert!(quiet(&source.machine), "when the other side has answered");
    assert_eq!(end_of(&source.test().1), (0x0C, 0, 0, 2));
}

#[test]
fn suspended_program_moves_and_is_resumed_at_the_target() {
    for resumed_before in [true, false] {
        let (mut source, mut target) = pair();
        source.fill(AREA, b"ab");
        let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, SUSPEND, 1, AREA + 1)];
        let orb = with_flags(source.program(&words), MAY_SUSPEND);
        source.start(&orb);
        source.settle(10);
        source.test();
        hold(&source);
        source.put(PROGRAM + 8, &[ccw(WRITE, 0, 1, AREA + 1)]);
        if resumed_before {
            let resumed = source.on(|subsystem| subsystem.resume(SUBCHANNEL, at(source.now)));
            assert_eq!(resumed, Done);
            source.settle(10);
            assert_eq!(source.scsw().control.bits(), 0x4820);
        }
        hand_over(&source, &mut target);
        target.settle(10);
        if !resumed_before {
            assert_eq!(target.memory().log.len(), 1);
            target.on(|subsystem| subsystem.resume(SUBCHANNEL, at(target.now)));
            target.settle(10);
        }
        assert_eq!(end_of(&target.test().1), (0x0C, 0, 0, 2));
        let log = target.memory().log.clone();
        assert_eq!(log, [(WRITE, b"a".to_vec()), (WRITE, b"b".to_vec())]);
    }
}

#[test]
fn resumed_program_that_waits_is_suspended_again_when_held() {
    let (mut source, mut target) = pair();
    let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(READ, SUSPEND, 1, AREA)];
    let orb = with_flags(source.program(&words), MAY_SUSPEND);
    source.record(b"x");
    source.start(&orb);
    source.settle(10);
    source.test();
    source.put(PROGRAM + 8, &[ccw(READ, 0, 1, AREA)]);
    source.answer([Answer::Waits]);
    source.on(|subsystem| subsystem.resume(SUBCHANNEL, at(source.now)));
    source.step(200);
    hold(&source);
    assert_eq!(source.scsw().control.bits(), 0x4820);
    hand_over(&source, &mut target);
    target.settle(10);
    assert_eq!(end_of(&target.test().1), (0x0C, 0, 0, 2));
    let codes: Vec<u8> = target.memory().log.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [WRITE, READ], "each command once");
}

#[test]
fn pending_status_moves_and_its_interruption_is_taken_once() {
    for taken_before in [true, false] {
        let (mut source, mut target) = pair();
        let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
        source.start(&orb);
        source.settle(10);
        if taken_before {
            assert_eq!(source.on(|subsystem| subsystem.test_pending(0xFF)).0, Status);
        }
        hold(&source);
        hand_over(&source, &mut target);
        let expected = if taken_before { Done } else { Status };
        assert_eq!(target.on(|subsystem| subsystem.test_pending(0xFF)).0, expected);
        assert_eq!(target.on(|subsystem| subsystem.test_pending(0xFF)).0, Done);
        assert_eq!((target.test().0, target.test().0), (Done, Status));
    }
}

/// Paths of an SU by these channels.
fn paths(system: u16, channels: &[u8]) -> Vec<Path> {
    channels.iter().map(|channel| Path { system, channel: *channel }).collect()
}

#[test]
fn guest_sees_the_paths_of_the_target_and_is_told_of_others() {
    let told = [0x0308_0010];
    for (here, there, installed, reports) in [
        (&[0x11][..], &[0x11][..], 0x80, &[][..]),
        (&[0x11], &[0x44], 0x80, &told),
        (&[0x11], &[0x44, 0x55], 0xC0, &told),
        (&[0x11, 0x22], &[0x11], 0x80, &told),
        (&[0x11, 0x22], &[0x22, 0x11], 0xC0, &told),
        (&[0x11, 0x22], &[0x11, 0x22], 0xC0, &[]),
    ] {
        let mut source = Bench::with_paths(paths(1, here));
        let mut target = Bench::cold(&source.probe, paths(2, there));
        // A path that does not answer at the source says nothing about the target's.
        source.on(|subsystem| subsystem.cut_paths(SLOT, 0x80)).unwrap();
        let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
        source.start(&Orb { logical_paths: source.pmcw().installed_paths, ..orb });
        source.settle(10);
        source.test();
        hold(&source);
        hand_over(&source, &mut target);
        let pmcw = target.pmcw();
        let masks = (pmcw.installed_paths, pmcw.available_paths, pmcw.logical_paths);
        assert_eq!(masks, (installed, installed, installed), "{here:X?} {there:X?}");
        assert_eq!(pmcw.operational_paths, 0xFF);
        assert_eq!(pmcw.channel_paths[..there.len()], *there);
        let stored: Vec<u32> =
            std::iter::from_fn(|| target.machine.with_floating(Floating::take_report)).collect();
        assert_eq!(stored, reports, "{here:X?} {there:X?}");
        let orb = Orb { logical_paths: installed, ..orb };
        assert_eq!(end_of(&target.run(&orb)), (0x0C, 0, 0, 1));
        assert_eq!(target.memory().paths.last(), Some(&Path { system: 2, channel: there[0] }));
    }
}

#[test]
fn guest_that_has_chosen_a_path_keeps_to_it_and_is_told_when_the_target_has_none() {
    for (channels, deferred) in [(&[0x44, 0x55][..], 0), (&[0x44], 3)] {
        let mut source = Bench::with_paths(paths(1, &[0x11, 0x22]));
        let mut target = Bench::cold(&source.probe, paths(2, channels));
        hold(&source);
        let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
        source.start(&Orb { logical_paths: 0x40, ..orb });
        source.step(0);
        hand_over(&source, &mut target);
        assert_eq!(target.pmcw().logical_paths, 0x40 & target.pmcw().installed_paths);
        target.settle(10);
        let (condition, irb) = target.test();
        assert_eq!((condition, irb.scsw.deferred_condition_code()), (Done, deferred));
        let taken: Vec<u8> = target.memory().paths.iter().map(|path| path.channel).collect();
        assert_eq!(taken, channels.get(1).copied().into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn paths_that_are_varied_after_a_move_are_reported_by_the_channels_of_the_target() {
    let (source, mut target) = pair();
    hold(&source);
    hand_over(&source, &mut target);
    target.on(|subsystem| subsystem.vary_paths(SLOT, 0x80, false)).unwrap();
    let stored = target.machine.with_floating(|it| (it.take_report(), it.take_report()));
    assert_eq!(stored, (Some(0x0308_0010), Some(0x0406_0044)));
}

#[test]
fn halt_and_clear_are_performed_while_held() {
    let (mut source, _) = pair();
    let orb = source.program(&[ccw(READ, 0, 1, AREA)]);
    hold(&source);
    for instruct in [Subsystem::halt, Subsystem::clear] {
        source.start(&orb);
        source.on(|subsystem| instruct(subsystem, SUBCHANNEL));
        assert!(!quiet(&source.machine), "it is pending");
        source.step(0);
        assert!(quiet(&source.machine) && image(&source.machine).is_movable());
        source.test();
    }
}

#[test]
fn device_that_is_detached_is_never_reached_again() {
    // How far the program has come, then its state after the detachment, and commands done.
    for (waited, control, done) in [(100, 0x4400, 0), (250, 0x4017, 1), (320, 0x4017, 1)] {
        let (mut source, _) = pair();
        source.answer([takes(100, 50), takes(100, 0)]);
        let orb = source.program(&[ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, 0, 1, AREA)]);
        source.start(&orb);
        source.step(waited.min(200));
        source.step(waited - waited.min(200));
        source.on(|subsystem| subsystem.detach(SLOT)).unwrap();
        assert!(quiet(&source.machine));
        assert_eq!(source.scsw().control.bits(), control);
        assert_eq!(source.memory().cancelled, 1);
        source.settle(20);
        assert_eq!(source.memory().log.len(), done, "waited {waited}");
        if done > 0 {
            assert_eq!(source.test().1.scsw.subchannel_status.bits(), 0x02);
        }
    }
}

#[test]
fn detached_device_that_has_done_everything_still_gives_its_status() {
    let (mut source, _) = pair();
    source.answer([takes(100, 0)]);
    let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
    source.start(&orb);
    source.step(200);
    source.on(|subsystem| subsystem.detach(SLOT)).unwrap();
    source.settle(10);
    assert_eq!(end_of(&source.test().1), (0x0C, 0, 0, 1));
    assert_eq!(source.memory().log.len(), 1);
}

#[test]
fn device_that_comes_back_begins_what_was_pending_once() {
    let (mut source, _) = pair();
    let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
    source.start(&orb);
    source.on(|subsystem| subsystem.detach(SLOT)).unwrap();
    source.settle(10);
    assert_eq!(source.memory().log, []);
    source.on(|subsystem| subsystem.attach(SLOT, Epoch::new(3))).unwrap();
    source.settle(10);
    assert_eq!(end_of(&source.test().1), (0x0C, 0, 0, 1));
    assert_eq!(source.memory().log.len(), 1);
}

#[test]
fn reservation_goes_to_the_target_with_the_attachment_and_back() {
    let disk: Arc<dyn Device> = Arc::new(CkdDisk::in_memory(3));
    let machine = |system: u16, others: &[u16], vm: &str| {
        let path = Path { system, channel: 0 };
        let attached = AttachedDevice::new(descriptor(), Arc::clone(&disk), LATENCY, path)
            .reached_from(others.to_vec());
        let index = VmIndex::new(12).unwrap();
        let block = VmBlock::new(index, VmName::new(vm).unwrap(), PageCount::new(16), 1).unwrap();
        let configuration = ConfigurationName::new("390SU- 500-10B").unwrap();
        Machine::new(&block, configuration, Arc::new(Code(count)), vec![attached])
    };
    let (one, two) = (machine(1, &[2], "VM12PROD"), machine(2, &[1], "VM12PROD"));
    let other = machine(1, &[2], "VM13TEST");
    let uses = |machine: &Machine, code: u8, now: u64| {
        machine.storage.store(0x1000, ccw(code, SUPPRESS, 32, AREA)).unwrap();
        start(machine, &Orb::of_program(PROGRAM, 0), now);
        machine.step_channel(at(now + 100_000));
        let ended = quiet(machine);
        machine.with_subsystem(|subsystem| subsystem.clear(SUBCHANNEL));
        machine.step_channel(at(now + 100_000));
        status(machine);
        ended
    };
    ready(&one, 1);
    ready(&other, 1);
    assert!(uses(&one, 0xB4, 0), "it is reserved");
    assert!(!uses(&other, 0xB4, 0));
    ready(&two, 2);
    assert!(uses(&two, 0xB4, 0), "the target has the reservation");
    assert!(!uses(&other, 0xB4, 500_000), "and nobody else");
    ready(&one, 3);
    assert!(uses(&one, 0x94, 0), "it is released where the VM is");
    assert!(uses(&other, 0xB4, 1_000_000));
}
