//! Device classes at a move: what does not go with the guest, subchannel numbers that differ, and
//! devices that other VMs have as well.
//!
//! Source of truth: VM2000 manual, device management and device configuration at a live migration
//! (VMS2471, `(DIFF)`, VMS2437); ARCHITECTURE.md, "Devices". Deliberately not here: every order of
//! events and faults, which the model check and the swarm try.

use host_harness::{
    config::{Config, Device, Request, VmSelector},
    console::{ConsoleLine, ConsoleName, Observer, Progress, Verified},
    live,
    machine::{Access, Buffer, Outcome, Path, command},
    sim::{Course, Cut, Scenario, World},
};
use integration_tests::worlds::{codes, other, says, started, with};
use monitor_core::{
    device::{Assignment, Conduct, DeviceKind, Usage},
    migrate::SourcePhase,
    units::{DeviceNumber, DeviceSlot, Epoch, Mnemonic, SubchannelNumber},
    vm::{Disposition, Obstacle, Reason, VmId},
};

/// The place of the first device that is added to the example's.
const FIRST: u16 = 8;

/// A device like the example's disk 9920, of another kind.
fn device(config: &Config, mnemonic: &str, kind: DeviceKind) -> Device {
    let like = config.vm.devices.iter().find(|it| it.mnemonic.as_str() == "9920");
    let mut device = like.expect("the example has the disk").clone();
    device.mnemonic = Mnemonic::new(mnemonic).expect("a short name");
    device.kind = kind;
    device
}

/// The example with a tape, an emulated disk and an alias, and a change of these.
fn with_staying(change: impl FnOnce(&mut [Device])) -> Config {
    with(|config| {
        let tape = device(config, "T1", DeviceKind::Tape);
        let mut emulated = device(config, "E1", DeviceKind::Disk);
        emulated.emulated = true;
        let mut alias = device(config, "992F", DeviceKind::PavAlias);
        alias.base = Mnemonic::new("9920");
        let mut devices = [tape, emulated, alias];
        change(&mut devices);
        config.vm.devices.extend(devices);
    })
}

/// The epochs under which the machine has the three devices.
fn epochs(world: &World) -> Vec<Option<Epoch>> {
    let slots = (FIRST..FIRST + 3).map(DeviceSlot::new);
    let epoch = |slot| world.machine.with_subsystem(|subsystem| subsystem.epoch(slot));
    slots.map(epoch).collect()
}

fn state(world: &World, config: &Config) -> Option<String> {
    let su = world.cluster().su(&world.at)?;
    su.vm(VmId::Name(config.vm.name)).map(|block| block.state().to_string())
}

fn warnings(course: &Course) -> usize {
    codes(course, ConsoleName::Source).iter().filter(|code| *code == "VMS2471").count()
}

#[test]
fn what_does_not_go_with_the_guest_is_announced_and_left_detached_but_for_the_alias() {
    let config = with_staying(|_| ());
    let mut world = started(&config);
    let first = world.epoch;
    assert_eq!(epochs(&world), [Some(first); 3]);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    for name in ["T1", "E1", "992F"] {
        let warning = format!("VMS2471 DEVICE '{name}' WILL BE DETACHED FROM VM (12,VM12PROD)");
        assert!(says(&course, ConsoleName::Source, &warning), "{name}");
    }
    assert_eq!(warnings(&course), 3);
    assert_eq!(codes(&course, ConsoleName::Source).first().map(String::as_str), Some("VMS2471"));
    // The alias is neither assigned nor removed with a word.
    assert!(says(&course, ConsoleName::Target, "DEVICE 'T1' ASSIGNED"));
    assert!(!says(&course, ConsoleName::Target, "DEVICE '992F' ASSIGNED"));
    assert_eq!(epochs(&world), [None, None, Some(world.epoch)]);
    // What is detached already is not announced again, and stays so on the way back.
    let back = world.attempt(config.vm.on, &Scenario::default());
    assert_eq!(back.verified, Some(Verified::ALL), "{:?}", back.reason);
    assert_eq!(warnings(&back), 1);
    assert_eq!(epochs(&world), [None, None, Some(world.epoch)]);
}

#[test]
fn attempt_that_fails_at_any_moment_before_commit_attaches_everything_again() {
    for phase in [SourcePhase::Preparing, SourcePhase::Precopy, SourcePhase::Suspended] {
        let config = with_staying(|_| ());
        let mut world = started(&config);
        let scenario = Scenario { cut: Some(Cut::InSourcePhase(phase)), ..Scenario::default() };
        let course = world.attempt(other(&config), &scenario);
        assert_eq!(course.disposition, Disposition::RunsAtSource, "{phase:?}");
        assert_eq!(warnings(&course), 3, "{phase:?}");
        assert_eq!(epochs(&world), [Some(world.epoch); 3], "{phase:?}");
        let again = world.attempt(other(&config), &Scenario::default());
        assert_eq!(again.verified, Some(Verified::ALL), "{phase:?}, {:?}", again.reason);
    }
}

#[test]
fn device_in_use_ends_the_attempt_before_the_target_has_set_up_anything() {
    let config = with_staying(|devices| devices[0].in_use = true);
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.reason, Some(Reason::DeviceInUse));
    assert!(says(&course, ConsoleName::Source, "VMS4003 DEVICE 'T1' IS IN USE"));
    assert!(codes(&course, ConsoleName::Target).is_empty());
    assert!(!codes(&course, ConsoleName::Source).contains(&"VMS2452".to_owned()));
    assert_eq!(epochs(&world), [Some(world.epoch); 3]);
    assert!(world.machine.is_running());
}

#[test]
fn detached_device_stays_detached_whatever_becomes_of_the_move() {
    let detached = |devices: &mut [Device]| devices[0].detached = true;
    let config = with_staying(detached);
    let mut world = started(&config);
    let cut = Some(Cut::InSourcePhase(SourcePhase::Precopy));
    let course = world.attempt(other(&config), &Scenario { cut, ..Scenario::default() });
    assert_eq!((warnings(&course), course.disposition), (2, Disposition::RunsAtSource));
    assert_eq!(epochs(&world), [None, Some(world.epoch), Some(world.epoch)]);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    assert_eq!(epochs(&world), [None, None, Some(world.epoch)]);
}

#[test]
fn definition_of_each_device_goes_with_the_guest_there_and_back() {
    let mut config = with_staying(|devices| devices[1].assignment = Assignment::Shared);
    let mut adapter = device(&config, "0C70", DeviceKind::ChannelToChannel);
    (adapter.detached, adapter.assignment) = (true, Assignment::SharedDevice);
    config.vm.devices.push(adapter);
    let mut world = started(&config);
    let mut expected = world.cluster().devices_on(&config.vm.on);
    for device in &mut expected {
        device.is_detached |= device.conduct() == Conduct::DetachForGood;
    }
    for target in [other(&config), config.vm.on] {
        let course = world.attempt(target, &Scenario::default());
        assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
        assert_eq!(world.cluster().devices_on(&target), expected);
        let slot = DeviceSlot::new(FIRST + 3);
        let epoch = world.machine.with_subsystem(|subsystem| subsystem.epoch(slot));
        assert_eq!(epoch, None, "what is detached and goes with the guest is not attached");
    }
}

#[test]
fn alias_that_the_target_does_not_have_keeps_nobody() {
    let config = with_staying(|devices| devices[2].generated_on.truncate(1));
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    assert_eq!(epochs(&world), [None; 3]);
}

#[test]
fn subchannel_numbers_that_differ_are_virtualized_and_shown_until_the_vm_is_back() {
    // Each number that the guest knows belongs to another device on the target.
    let config = with_staying(|_| ());
    let target = other(&config);
    let config = with(|changed| {
        changed.vm.devices.clone_from(&config.vm.devices);
        let count = changed.vm.devices.len();
        for (place, device) in changed.vm.devices.iter_mut().enumerate() {
            let number = u16::try_from((place + 1) % count).expect("few devices");
            device.subchannels.push((target, SubchannelNumber::new(number)));
        }
    });
    let mut world = started(&config);
    assert_eq!(state(&world, &config).as_deref(), Some("RUNNING"));
    for (to, shown) in [(target, "RUNNING(DIFF)"), (config.vm.on, "RUNNING")] {
        let course = world.attempt(to, &Scenario::default());
        assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
        assert_eq!(state(&world, &config).as_deref(), Some(shown));
    }
}

#[test]
fn device_of_other_vms_is_an_obstacle_when_either_side_has_it_exclusively() {
    for (assignment, others, obstacle) in [
        (Assignment::Exclusive, true, Some(Obstacle::DeviceHeld)),
        (Assignment::Shared, true, None),
        (Assignment::SharedDevice, true, None),
        (Assignment::Exclusive, false, None),
    ] {
        let config = with(|config| {
            let target = other(config);
            let disk = config.vm.devices.iter_mut().find(|it| it.mnemonic.as_str() == "9920");
            let disk = disk.expect("the example has the disk");
            disk.assignment = assignment;
            disk.shared_on = if others { vec![target] } else { Vec::new() };
        });
        let mut world = started(&config);
        let course = world.attempt(other(&config), &Scenario::default());
        let found = course.findings.listed().first().map(|finding| finding.obstacle);
        assert_eq!(found, obstacle, "{assignment:?}");
        let usages = world.cluster().usages_on(&other(&config));
        let usage = usages.iter().find(|(name, _)| name.as_str() == "9920").map(|it| it.1);
        let expected = match (assignment, others) {
            (Assignment::Exclusive, _) => Usage::Exclusive,
            (Assignment::Shared | Assignment::SharedDevice, true) => Usage::Shared,
            (Assignment::Shared | Assignment::SharedDevice, false) => Usage::SharedDirect,
        };
        assert_eq!(usage, Some(expected), "{assignment:?}");
    }
}

struct Nobody;

impl Observer for Nobody {
    fn line(&mut self, _line: &ConsoleLine) {}

    fn progress(&mut self, _progress: &Progress) {}
}

#[test]
fn report_of_a_live_move_shows_how_devices_are_used_where_the_guest_is() {
    let config = with_staying(|devices| devices[2].generated_on.truncate(1));
    let config = with(|changed| {
        changed.vm.devices.clone_from(&config.vm.devices);
        let target = other(changed);
        for disk in changed.vm.devices.iter_mut().filter(|it| it.takes_journal()) {
            disk.assignment = Assignment::SharedDevice;
            let is_shared = disk.mnemonic.as_str() == "9920";
            disk.shared_on = if is_shared { vec![target] } else { Vec::new() };
        }
    });
    let target = other(&config);
    let request = Request { vm: VmSelector::Index(config.vm.index), target };
    let report = live::migrate(&config, &request, &mut Nobody).expect("it can be tried");
    assert!(report.is_verified(), "{report:?}");
    let usages = report.usages.iter();
    let shown: Vec<_> = usages.map(|(name, usage)| format!("{name} {usage}")).collect();
    let lines = ["CC40", "CC41", "CC42", "CC43"].map(|line| format!("{line} EXCLUSIVE"));
    let disks = ["9920 SHARED", "FAA4 SH(D)", "FAA5 SH(D)"];
    // The alias is not the VM's there.
    let staying = ["T1 EXCLUSIVE", "E1 EXCLUSIVE"];
    let expected = ["CS EXCLUSIVE"].into_iter().chain(lines.iter().map(String::as_str));
    assert!(shown.iter().eq(expected.chain(disks).chain(staying)), "{shown:?}");
}

#[test]
fn base_of_an_alias_is_described_by_its_device_number() {
    let config = with_staying(|_| ());
    let world = started(&config);
    let devices = world.cluster().devices_on(&config.vm.on);
    assert_eq!(devices[usize::from(FIRST) + 2].base, Some(DeviceNumber::new(5)));
    assert!(devices[..=usize::from(FIRST)].iter().all(|it| it.base.is_none()));
}

#[test]
fn channel_to_channel_adapter_goes_with_the_guest_and_has_nobody_at_its_other_side() {
    let config = with(|config| {
        let adapter = device(config, "0C70", DeviceKind::ChannelToChannel);
        config.vm.devices.push(adapter);
    });
    let mut world = started(&config);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    assert_eq!(warnings(&course), 0);
    let slot = DeviceSlot::new(FIRST);
    let epoch = world.machine.with_subsystem(|subsystem| subsystem.epoch(slot));
    assert_eq!(epoch, Some(world.epoch));
    let adapter = world.cluster().attached_devices(&world.at).remove(usize::from(FIRST)).device;
    assert_eq!(adapter.sense_id().device_type, 0x3088);
    let path = Path { system: 1, channel: 0 };
    let mut access = Access::new(config.vm.name, world.epoch, path);
    let outcome = adapter.execute(&mut access, command::WRITE, &mut Buffer::output(b"hello"));
    let Outcome::Ended(ending) = outcome else { panic!("nobody answers") };
    assert_eq!(ending.sense[0], 0x40, "intervention is required");
}
