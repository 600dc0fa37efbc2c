//! The subchannel of an alias, which is taken from the guest before a move and given back later.
//!
//! Source of truth: ARCHITECTURE.md ("Devices"); Principles of Operation, "I/O Instructions" (which
//! condition codes need a path). Invariants held here: a status is presented once, a program runs
//! once, and the guest goes on using an alias as he has set it up.

use super::{ConditionCode::*, bench::*, *};

const WRITE: u8 = command::WRITE;

/// The first path of each machine.
const PATH: Path = Path { system: 1, channel: 0x11 };

/// A machine whose device is an alias of the base, not attached yet.
fn alias(probe: &Arc<Probe>) -> Bench {
    let attached = attached(Arc::<Probe>::clone(probe));
    let base = Some(DeviceNumber::new(0x9900));
    let descriptor = DeviceDescriptor { kind: DeviceKind::PavAlias, base, ..attached.descriptor };
    Bench::cold_as(probe, AttachedDevice { descriptor, paths: vec![PATH], ..attached })
}

/// Two machines that share the alias; the first one has it.
fn pair() -> (Bench, Bench) {
    let source = alias(&Arc::default());
    let target = alias(&source.probe);
    ready(&source.machine, 1);
    (source, target)
}

/// Lets the alias become quiet, and takes it from the guest.
fn withdraw(source: &mut Bench) {
    source.on(|subsystem| subsystem.hold(SLOT)).unwrap();
    source.step(0);
    assert!(quiet(&source.machine));
    assert_eq!(source.on(|subsystem| subsystem.withdraw(SLOT, true)), Ok(true), "it is never kept");
}

/// Moves storage and subchannel as they are; the target has the alias last.
fn hand_over(source: &Bench, target: &mut Bench) {
    let image = image(&source.machine);
    target.fill(0, &source.bytes(0, 0x1_0000));
    target.now = source.now;
    target
        .on(|subsystem| {
            subsystem.restore(SLOT, &image).unwrap();
            subsystem.assign(SLOT, &DeviceDescriptor { subchannel: SUBCHANNEL, ..alias_of(&image) })
        })
        .unwrap();
    target.on(|subsystem| subsystem.attach(SLOT, Epoch::new(2))).unwrap();
}

/// The alias as the source describes it.
fn alias_of(image: &SubchannelImage) -> DeviceDescriptor {
    let (kind, base) = (DeviceKind::PavAlias, Some(DeviceNumber::new(0x9900)));
    DeviceDescriptor { kind, base, number: image.device, ..descriptor() }
}

#[test]
fn status_that_is_pending_at_the_withdrawal_is_presented_once() {
    for is_fetched_at_the_source in [true, false] {
        let (mut source, mut target) = pair();
        let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
        source.start(&orb);
        source.settle(10);
        withdraw(&mut source);
        if is_fetched_at_the_source {
            assert_eq!(end_of(&source.test().1), (0x0C, 0, 0, 1));
            assert_eq!(source.start(&orb), NotOperational, "no path leads to the alias");
        }
        hand_over(&source, &mut target);
        if !is_fetched_at_the_source {
            assert_eq!(target.on(|subsystem| subsystem.test_pending(0xFF)).0, Status);
            assert_eq!(end_of(&target.test().1), (0x0C, 0, 0, 1));
        }
        assert_eq!(target.test().0, Status, "there is none any more");
        assert_eq!(end_of(&target.run(&orb)), (0x0C, 0, 0, 1), "it need not be enabled again");
        assert_eq!(target.memory().log.len(), 2);
    }
}

#[test]
fn start_that_waits_at_the_withdrawal_is_never_begun_and_ends_once() {
    let (mut source, mut target) = pair();
    let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
    source.on(|subsystem| subsystem.hold(SLOT)).unwrap();
    source.start(&orb);
    withdraw(&mut source);
    hand_over(&source, &mut target);
    target.settle(10);
    let (condition, irb) = target.test();
    assert_eq!((condition, irb.scsw.deferred_condition_code()), (Done, 3));
    assert_eq!(target.test().0, Status);
    assert_eq!(target.memory().log, []);
    assert_eq!(end_of(&target.run(&orb)), (0x0C, 0, 0, 1));
}

/// A program that has done one write, and waits at another one, which may be carried out now.
fn suspended(source: &mut Bench) {
    source.fill(AREA, b"ab");
    let words = [ccw(WRITE, CHAIN, 1, AREA), ccw(WRITE, SUSPEND, 1, AREA + 1)];
    let orb = with_flags(source.program(&words), MAY_SUSPEND);
    source.start(&orb);
    source.settle(10);
    source.test();
    source.put(PROGRAM + 8, &[ccw(WRITE, 0, 1, AREA + 1)]);
}

fn resume(bench: &Bench) -> ConditionCode {
    bench.on(|subsystem| subsystem.resume(SUBCHANNEL, at(bench.now)))
}

#[test]
fn suspended_program_goes_on_with_the_alias_at_the_target() {
    let (mut source, mut target) = pair();
    suspended(&mut source);
    withdraw(&mut source);
    hand_over(&source, &mut target);
    assert_eq!(resume(&target), Done);
    target.settle(10);
    assert_eq!(end_of(&target.test().1), (0x0C, 0, 0, 2));
    let log = target.memory().log.clone();
    assert_eq!(log, [(WRITE, b"a".to_vec()), (WRITE, b"b".to_vec())], "each command once");
}

#[test]
fn program_that_is_to_be_resumed_without_its_alias_ends_once_with_no_path() {
    for is_resumed_before in [true, false] {
        let (mut source, mut target) = pair();
        suspended(&mut source);
        if is_resumed_before {
            source.on(|subsystem| subsystem.hold(SLOT)).unwrap();
            assert_eq!(resume(&source), Done);
        }
        withdraw(&mut source);
        if !is_resumed_before {
            assert_eq!(resume(&source), Done);
        }
        hand_over(&source, &mut target);
        target.settle(10);
        let (condition, irb) = target.test();
        assert_eq!((condition, irb.scsw.deferred_condition_code()), (Done, 3));
        assert_eq!(target.test().0, Status);
        assert_eq!(target.memory().log.len(), 1, "the second command is given to nobody");
    }
}

#[test]
fn only_a_start_needs_the_device_of_a_withdrawn_alias() {
    let (mut source, _) = pair();
    withdraw(&mut source);
    let orb = source.program(&[ccw(WRITE, 0, 1, AREA)]);
    assert_eq!(source.start(&orb), NotOperational);
    assert_eq!(source.test().0, Status);
    assert_eq!(source.on(|subsystem| enable(subsystem, true)), Done);
    for instruct in [Subsystem::halt, Subsystem::clear] {
        assert_eq!(source.on(|subsystem| instruct(subsystem, SUBCHANNEL)), Done);
        source.settle(10);
        assert_eq!(source.test().0, Done, "it is performed");
    }
    assert_eq!(resume(&source), Busy);
    assert_eq!(source.memory().log, []);
}

#[test]
fn alias_that_has_the_number_of_another_device_here_takes_its_own_in_exchange() {
    let probe = Arc::<Probe>::default();
    let known = |number, subchannel| {
        let attached = attached(Arc::<Probe>::clone(&probe));
        let (number, subchannel) = (DeviceNumber::new(number), SubchannelNumber::new(subchannel));
        let base = Some(DeviceNumber::new(0x9900));
        let kind = DeviceKind::PavAlias;
        let descriptor = DeviceDescriptor { number, kind, base, subchannel, ..attached.descriptor };
        AttachedDevice { descriptor, ..attached }
    };
    let name = VmName::new("VM12PROD").unwrap();
    let mut subsystem = Subsystem::new(name, vec![known(1, 8), known(2, 9)]);
    for (slot, number, subchannel) in [(0, 1, 9), (1, 2, 8)] {
        let (number, subchannel) = (DeviceNumber::new(number), SubchannelNumber::new(subchannel));
        let image = SubchannelImage::idle(subchannel, number);
        assert_eq!(subsystem.restore(DeviceSlot::new(slot), &image), Ok(()));
    }
    let device = |number| subsystem.store(SubchannelNumber::new(number)).unwrap().pmcw.device.get();
    assert_eq!([device(8), device(9)], [2, 1]);
}
