//! Whole moves of a guest that holds a reservation: nobody else gets the disk in between.
//!
//! Source of truth: 3990 Storage Control Reference, "Path Control Commands"; ARCHITECTURE.md,
//! "Devices". Invariant: what the guest does goes through its channel subsystem, on whatever SU it
//! is; what the other VM does goes to the disk itself. Deliberately not here: what a reservation
//! is, for which the disks have tests of their own.

use std::{cell::Cell, sync::Arc};

use host_harness::{
    config::{Config, WorkloadName},
    console::Verified,
    machine::{Access, Buffer, ConditionCode, Device, Outcome, Path},
    sim::{Cut, Scenario, World},
};
use integration_tests::worlds::{other, running, started};
use monitor_core::{
    channel::{DeviceStatus, Orb, SubchannelStatus},
    migrate::SourcePhase,
    units::{Epoch, Micros, SubchannelNumber, VmName},
    vm::{Disposition, Standing},
};

/// The place of the disk 9920 in the example, and so its subchannel number.
const DISK: SubchannelNumber = SubchannelNumber::new(5);
/// A page of guest storage that no workload uses.
const PAGE: u64 = 2000 * 4096;
/// Where the data of a channel program are.
const DATA: u64 = PAGE + 0x100;

const RESERVE: u8 = 0xB4;
const RELEASE: u8 = 0x94;
const UNCONDITIONAL_RESERVE: u8 = 0x14;
const SET_PATH_GROUP_ID: u8 = 0xAF;
const SENSE_PATH_GROUP_ID: u8 = 0x34;
const READ_DEVICE_CHARACTERISTICS: u8 = 0x64;

/// A world whose guest leaves the disk alone, so that a test can use it in the guest's stead.
fn world(config: &Config) -> World {
    let mut world = started(config);
    world.machine.with_subsystem(|subsystem| {
        let mut schib = subsystem.store(DISK).expect("the disk has a subchannel");
        schib.pmcw = schib.pmcw.with_enabled(true);
        assert_eq!(subsystem.modify(DISK, &schib), Ok(ConditionCode::Done));
    });
    world.run(10);
    world
}

/// The guest has one command carried out with these bytes, which ends normally; gives what it finds
/// there afterwards.
fn guest_does(world: &World, command: u8, bytes: &[u8]) -> Vec<u8> {
    let (status, found) = guest_tries(world, command, bytes);
    assert_eq!(status, DeviceStatus::CHANNEL_END | DeviceStatus::DEVICE_END, "{command:#x}");
    found
}

/// The same however the command ends, and how it does.
fn guest_tries(world: &World, command: u8, bytes: &[u8]) -> (DeviceStatus, Vec<u8>) {
    let machine = &world.machine;
    let word = u64::from(command) << 56 | 0x20 << 48 | (bytes.len() as u64) << 32 | DATA;
    machine.storage.store(PAGE, word).expect("the page is there");
    machine.storage.store_bytes(DATA, bytes).expect("the page is there");
    let address = u32::try_from(PAGE).expect("the page is below 2 GiB");
    let started =
        machine.with_subsystem(|it| it.start(DISK, &Orb::of_program(address, 0), world.now()));
    assert_eq!(started, Ok(ConditionCode::Done), "{command:#x}");
    let mut now = world.now();
    for _ in 0..100 {
        now = now.after(Micros::new(50));
        machine.step_channel(now);
        let (condition, irb) = machine.with_subsystem(|it| it.test(DISK));
        if condition == ConditionCode::Done {
            assert_eq!(irb.scsw.subchannel_status, SubchannelStatus::empty(), "{command:#x}");
            let mut found = vec![0; bytes.len()];
            machine.storage.load_bytes(DATA, &mut found).expect("the page is there");
            return (irb.scsw.device_status, found);
        }
    }
    panic!("{command:#x} does not end: the guest waits for its own reservation");
}

/// Another VM, on the SU to which the guest moves first.
struct Rival {
    disk: Arc<dyn Device>,
    access: Access,
}

impl Rival {
    fn new(world: &World, config: &Config) -> Self {
        let place = usize::from(DISK.get());
        let disk = world.cluster().attached_devices(&other(config)).remove(place).device;
        let vm = VmName::new("VM99").expect("a short name");
        let path = Path { system: 1, channel: 0 };
        Self { disk, access: Access::new(vm, Epoch::new(1), path) }
    }

    /// Whether the disk lets it in; it waits no longer than for the answer.
    fn gets_in(&self) -> bool {
        self.does(RESERVE)
    }

    /// Whether the disk does this for it, which is not waited for.
    fn does(&self, command: u8) -> bool {
        let mut data = Buffer::input(32);
        let outcome = self.disk.execute(&mut self.access.clone(), command, &mut data);
        self.disk.cancel(&self.access);
        outcome != Outcome::Pending
    }
}

/// Moves the guest, in every round of which the rival tries to get in.
fn moved(world: &mut World, rival: &Rival, to_other: bool, config: &Config) {
    let target = if to_other { other(config) } else { config.vm.on };
    let got_in = Cell::new(0);
    let course = world.attempt_watched(target, &Scenario::default(), &mut |_| {
        got_in.set(got_in.get() + u32::from(rival.gets_in()));
    });
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    assert_eq!((got_in.get(), rival.gets_in()), (0, false));
    guest_does(world, READ_DEVICE_CHARACTERISTICS, &[0; 32]);
}

fn config() -> Config {
    running(&[WorkloadName::HotSet])
}

#[test]
fn reservation_moves_with_the_guest_there_and_back() {
    let config = config();
    let mut world = world(&config);
    let rival = Rival::new(&world, &config);
    guest_does(&world, RESERVE, &[0; 24]);
    assert!(!rival.gets_in());
    for to_other in [true, false, true] {
        moved(&mut world, &rival, to_other, &config);
    }
    guest_does(&world, RELEASE, &[0; 24]);
    assert!(rival.gets_in());
}

#[test]
fn reservation_stays_with_the_guest_when_the_attempt_fails() {
    let config = config();
    let mut world = world(&config);
    let rival = Rival::new(&world, &config);
    guest_does(&world, RESERVE, &[0; 24]);
    for phase in [SourcePhase::Precopy, SourcePhase::Suspended] {
        let scenario = Scenario { cut: Some(Cut::InSourcePhase(phase)), ..Scenario::default() };
        let course = world.attempt_watched(other(&config), &scenario, &mut |_| {
            assert!(!rival.gets_in());
        });
        assert_eq!(course.disposition, Disposition::RunsAtSource, "{phase:?}");
        guest_does(&world, READ_DEVICE_CHARACTERISTICS, &[0; 32]);
        assert!(!rival.gets_in());
    }
    moved(&mut world, &rival, true, &config);
    guest_does(&world, RELEASE, &[0; 24]);
    assert!(rival.gets_in());
}

/// The target has claimed the VM and has the devices when it loses the way to the record, and then
/// the link. Both ask every 10,000 rounds, the source a little later, since it has lost the link
/// later; when it asks, the record can be reached again. So it takes back what was claimed.
#[test]
fn reservation_that_the_target_had_already_is_the_guests_again_when_the_vm_is_taken_back() {
    let mut config = config();
    config.limits.peer_answer = Micros::from_millis(20);
    let mut world = world(&config);
    let rival = Rival::new(&world, &config);
    guest_does(&world, RESERVE, &[0; 24]);
    let cluster = Arc::clone(world.cluster());
    let old = Access::new(config.vm.name, Epoch::new(1), Path { system: 0, channel: 0 });
    let (mut rounds, mut has_adopted) = (0, false);
    let scenario = Scenario { cut: Some(Cut::AtRound(250)), ..Scenario::default() };
    let course = world.attempt_watched(other(&config), &scenario, &mut |_| {
        let record = cluster.directory().record(config.vm.name);
        let is_claimed = record.is_some_and(|it| it.standing == Standing::Claimed);
        rounds += u64::from(rounds > 0 || is_claimed);
        cluster.directory().set_unreachable((1..10_020).contains(&rounds));
        // A device that was attached under the claim refuses the epoch before.
        has_adopted |= rival.disk.admit(&old).is_err();
        assert!(!rival.gets_in());
    });
    assert!(has_adopted, "the target had the disk");
    let ended = (course.disposition, world.epoch);
    assert_eq!(ended, (Disposition::RunsAtSource, Epoch::new(3)), "{:?}", course.target);
    assert!(!rival.gets_in());
    guest_does(&world, READ_DEVICE_CHARACTERISTICS, &[0; 32]);
    guest_does(&world, RELEASE, &[0; 24]);
    assert!(rival.gets_in());
}

#[test]
fn path_group_and_its_reservation_are_those_of_the_path_at_the_target() {
    let config = config();
    let mut world = world(&config);
    let rival = Rival::new(&world, &config);
    let group = *b"\x00GROUP-VM12P";
    guest_does(&world, SET_PATH_GROUP_ID, &group);
    guest_does(&world, RESERVE, &[0; 24]);
    moved(&mut world, &rival, true, &config);
    let told = guest_does(&world, SENSE_PATH_GROUP_ID, &[0; 12]);
    // Grouped, reserved for this path's group.
    assert_eq!((told[0], &told[1..]), (0xF0, &group[1..]));
    // The path at the source has left: the group ends with the one at the target.
    let resign = *b"\x40GROUP-VM12P";
    guest_does(&world, RELEASE, &[0; 24]);
    guest_does(&world, SET_PATH_GROUP_ID, &resign);
    assert!(rival.gets_in());
}

/// Reset notification: the guest has lost the disk before the move, and does not know it yet.
#[test]
fn guest_that_was_robbed_of_its_reservation_is_told_at_the_target_and_once() {
    let config = config();
    let mut world = world(&config);
    let rival = Rival::new(&world, &config);
    guest_does(&world, RESERVE, &[0; 24]);
    assert!(rival.does(UNCONDITIONAL_RESERVE) && rival.does(RELEASE));
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    let (status, _) = guest_tries(&world, READ_DEVICE_CHARACTERISTICS, &[0; 32]);
    assert!(status.contains(DeviceStatus::UNIT_CHECK), "{status:?}");
    guest_does(&world, READ_DEVICE_CHARACTERISTICS, &[0; 32]);
}
