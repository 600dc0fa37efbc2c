//! Devices that are busy when a program reaches them.
//!
//! Source of truth: Principles of Operation, "Deferred Condition Code" and "Start Function and
//! Resume Function" (busy); the heads of `device::faulty` and `device::ctc`. Invariant: what is
//! asserted went through a channel subsystem. Deliberately not here: what the devices do by
//! themselves.

use super::{disks::*, partners::System, *};

/// The device was busy and had a call to tell.
const COLLISION: DeviceStatus = DeviceStatus::ATTENTION.union(DeviceStatus::BUSY);
const RETRY: u64 = 400;

/// A disk with a record, a machine on system 1 that has a program for it, and the request.
fn disk() -> (Arc<Faulty>, Machine, Orb) {
    let disk = Arc::new(Faulty::new(formatted()));
    let device: Arc<dyn Device> = Arc::<Faulty>::clone(&disk);
    let machine = machine_on(1, "VM12PROD", &device);
    ready(&machine, 1);
    machine.storage.store_bytes(0x5000, b"RECORD 2").unwrap();
    let orb = find(&machine, 1, (0x05, 0, 8, 0x5000));
    (disk, machine, orb)
}

fn control(machine: &Machine) -> ScswControl {
    machine.with_subsystem(|subsystem| subsystem.store(SUBCHANNEL).unwrap().scsw.control)
}

/// Steps so often that the program is tried so many times.
fn tries(machine: &Machine, now: &mut u64, count: u32) {
    for _ in 0..count {
        // The time to the device, and the time to the next attempt.
        machine.step_channel(at(*now + LATENCY.get()));
        *now += RETRY;
        machine.step_channel(at(*now));
    }
}

#[test]
fn program_for_a_busy_device_stays_pending_and_goes_on_at_its_end_without_a_word() {
    let (disk, machine, orb) = disk();
    disk.inject_next(Misbehavior::Busy(3));
    assert_eq!(start(&machine, &orb, 0), ConditionCode::Done);
    machine.step_channel(at(LATENCY.get()));
    assert!(control(&machine).contains(ScswControl::START_PENDING));
    assert_eq!(disk.begun(), 0);
    let mut now = LATENCY.get();
    tries(&machine, &mut now, 4);
    machine.step_channel(at(now + LATE));
    let scsw = status(&machine);
    assert_eq!((scsw.deferred_condition_code(), scsw.device_status), (0, NORMAL));
    machine.step_channel(at(now + 2 * LATE));
    assert!(!control(&machine).contains(ScswControl::STATUS_PENDING));
}

#[test]
fn program_that_found_the_device_busy_drains_at_once_and_is_done_once_at_the_target() {
    for asked in [1, 3] {
        let (disk, source, orb) = disk();
        disk.inject_next(Misbehavior::Busy(3));
        let mut now = 0;
        assert_eq!(start(&source, &orb, now), ConditionCode::Done);
        machine_steps(&source, &mut now, asked);
        source.with_subsystem(|subsystem| {
            assert!(subsystem.quiet(SLOT), "nothing is under way");
            subsystem.hold(SLOT).unwrap();
        });
        source.step_channel(at(now + LATE));
        assert!(control(&source).contains(ScswControl::START_PENDING), "it is held");
        source.with_subsystem(|subsystem| subsystem.detach(SLOT)).unwrap();
        let carried = image(&source);
        assert!(carried.is_movable());

        let device: Arc<dyn Device> = Arc::<Faulty>::clone(&disk);
        let target = machine_on(2, "VM12PROD", &device);
        find(&target, 1, (0x05, 0, 8, 0x5000));
        target.storage.store_bytes(0x5000, b"RECORD 2").unwrap();
        target.with_subsystem(|subsystem| {
            subsystem.restore(SLOT, &carried).unwrap();
            subsystem.attach(SLOT, Epoch::new(2)).unwrap();
        });
        now += LATE;
        target.step_channel(at(now));
        tries(&target, &mut now, 5);
        target.step_channel(at(now + LATE));
        let scsw = status(&target);
        assert_eq!((scsw.deferred_condition_code(), scsw.device_status), (0, NORMAL));
        // A seek, two searches and the write: the program was carried out once.
        assert_eq!((disk.begun(), disk.struck()), (4, 1), "asked {asked} times");
        let read = find(&target, 1, (0x06, 0, 8, 0x6000));
        carry_out(&target, &read, now + 2 * LATE);
        assert_eq!(target.storage.load(0x6000), Ok(u64::from_be_bytes(*b"RECORD 2")));
        // The end of being busy is told to nobody, on either side.
        for machine in [&source, &target] {
            machine.step_channel(at(now + 4 * LATE));
            assert!(!control(machine).contains(ScswControl::STATUS_PENDING));
        }
    }
}

/// Steps until the program was tried so many times, and waits for the next.
fn machine_steps(machine: &Machine, now: &mut u64, count: u32) {
    tries(machine, now, count - 1);
    *now += LATENCY.get();
    machine.step_channel(at(*now));
}

#[test]
fn program_that_is_held_while_its_device_is_busy_goes_on_when_the_hold_ends() {
    let (disk, machine, orb) = disk();
    disk.inject_next(Misbehavior::Busy(1));
    assert_eq!(start(&machine, &orb, 0), ConditionCode::Done);
    machine.step_channel(at(LATENCY.get()));
    machine.with_subsystem(|subsystem| subsystem.hold(SLOT)).unwrap();
    machine.step_channel(at(LATE));
    assert_eq!(disk.begun(), 0);
    machine.with_subsystem(|subsystem| subsystem.release(SLOT)).unwrap();
    machine.step_channel(at(2 * LATE));
    machine.step_channel(at(3 * LATE));
    assert_eq!(status(&machine).device_status, NORMAL);
}

#[test]
fn end_of_a_busy_device_is_not_told_to_who_has_given_up() {
    type Stop = fn(&mut Subsystem) -> ConditionCode;
    let stops: [Stop; 3] = [
        |subsystem| subsystem.halt(SUBCHANNEL),
        |subsystem| subsystem.clear(SUBCHANNEL),
        |subsystem| subsystem.cancel(SUBCHANNEL),
    ];
    for stop in stops {
        let (disk, machine, orb) = disk();
        disk.inject_next(Misbehavior::Busy(1));
        assert_eq!(start(&machine, &orb, 0), ConditionCode::Done);
        machine.step_channel(at(LATENCY.get()));
        assert_eq!(machine.with_subsystem(stop), ConditionCode::Done);
        machine.step_channel(at(LATENCY.get() + 1));
        status(&machine);
        machine.step_channel(at(LATE));
        assert_eq!(control(&machine), ScswControl::empty());
    }
}

#[test]
fn resumption_for_a_busy_device_is_tried_again_later() {
    let (disk, machine, _) = disk();
    const SUSPEND: u8 = 0x02;
    let words = [(0x03, CHAIN, 0, 0), (0x03, SUSPEND, 0, 0)];
    let orb = put(&machine, &words);
    let orb = Orb { flags: orb.flags | 0x0800, ..orb };
    assert_eq!(start(&machine, &orb, 0), ConditionCode::Done);
    machine.step_channel(at(LATE));
    assert!(control(&machine).contains(ScswControl::SUSPENDED));
    status(&machine);
    put(&machine, &[(0x03, CHAIN, 0, 0), (0x03, 0, 0, 0)]);
    disk.inject_next(Misbehavior::Busy(2));
    let mut now = LATE;
    let resumed = machine.with_subsystem(|subsystem| subsystem.resume(SUBCHANNEL, at(now)));
    assert_eq!(resumed, ConditionCode::Done);
    now += LATENCY.get();
    let due = machine.step_channel(at(now));
    assert_eq!(due, Some(at(now + 200)), "not at once");
    tries(&machine, &mut now, 3);
    machine.step_channel(at(now + LATE));
    assert_eq!(status(&machine).device_status, NORMAL);
}

#[test]
fn side_that_writes_while_the_other_one_does_is_told_and_can_read() {
    let (here, there) = Ctc::pair();
    let (mut first, mut second) = (System::new(here, 1), System::new(there, 1));
    first.storage.store_bytes(0x5000, b"from the first").unwrap();
    first.start(command::WRITE, 0, 14);
    (0..3).for_each(|_| first.step());
    second.step();
    assert_eq!(second.status().unwrap().device_status, DeviceStatus::ATTENTION);
    second.start(command::WRITE, 0, 14);
    (0..5).for_each(|_| second.step());
    let told = second.status().unwrap();
    assert_eq!((told.deferred_condition_code(), told.device_status), (1, COLLISION));
    (0..3).for_each(|_| second.step());
    assert_eq!(second.status(), None, "the call was told");
    second.start(command::READ, 0, 14);
    for _ in 0..20 {
        first.step();
        second.step();
    }
    for system in [&mut first, &mut second] {
        assert_eq!(system.status().unwrap().device_status, NORMAL);
    }
    assert_eq!(second.area(14), b"from the first");
}
