//! A guest that uses an alias of a disk before, at and behind a move.
//!
//! Source of truth: VM2000 manual, device management at a live migration (aliases are detached and
//! removed, and assigned and attached again); ARCHITECTURE.md, "Devices". Invariants held here:
//! what the guest has set up on its subchannel, and what it was not told yet, goes with it.
//! Deliberately not here: each instruction on the subchannel, which the machine's tests hold.

use host_harness::{
    config::{Config, FreeAlias, WorkloadName},
    console::{ConsoleName, Verified},
    machine::{ConditionCode, IoInterruption},
    sim::{Course, Scenario, World},
};
use integration_tests::worlds::{other, says, started, with};
use monitor_core::{
    channel::{Irb, Orb},
    device::DeviceKind,
    units::{Mnemonic, SuName, SubchannelNumber, Tick},
    vm::VmId,
};

/// The alias, behind the devices of the example.
const ALIAS: SubchannelNumber = SubchannelNumber::new(8);

/// Where the channel program is: in a page that the journal leaves alone.
const PROGRAM: u32 = 0x40_0000;

/// Channel-command words: no operation, also chained, and one at which the program suspends.
const NOTHING: u64 = 0x0320_0001_0000_0000;
const CHAINED: u64 = 0x0360_0001_0000_0000;
const SUSPENDS: u64 = 0x0322_0001_0000_0000;

/// The interruption subclass of the alias, as a mask.
const SUBCLASS: u8 = 0x80 >> 6;

/// Flag of a request: the program may suspend itself.
const MAY_SUSPEND: u16 = 0x0800;

/// The example with an alias, with a guest that leaves it and that page to the test.
fn with_alias(change: impl FnOnce(&mut Config)) -> Config {
    with(|config| {
        config.workload.run = vec![WorkloadName::Journal];
        let disk = config.vm.devices.iter().find(|it| it.mnemonic.as_str() == "9920");
        let mut alias = disk.expect("the example has the disk").clone();
        alias.mnemonic = Mnemonic::new("992F").expect("a short name");
        (alias.kind, alias.base) = (DeviceKind::PavAlias, Mnemonic::new("9920"));
        config.vm.devices.push(alias);
        change(config);
    })
}

/// The world whose guest has enabled the alias.
fn using_alias(config: &Config) -> World {
    let world = started(config);
    let enabled = world.machine.with_subsystem(|subsystem| {
        let mut schib = subsystem.store(ALIAS).expect("the alias is there");
        schib.pmcw = schib.pmcw.with_enabled(true).with_interruption_subclass(6);
        subsystem.modify(ALIAS, &schib)
    });
    assert_eq!(enabled, Ok(ConditionCode::Done));
    world
}

fn start(world: &World, words: &[u64]) -> ConditionCode {
    for (word, place) in words.iter().zip((u64::from(PROGRAM)..).step_by(8)) {
        world.machine.storage.store(place, *word).expect("the page is there");
    }
    let mut orb = Orb::of_program(PROGRAM, 0xA11A);
    orb.flags |= MAY_SUSPEND;
    let started = world.machine.with_subsystem(|it| it.start(ALIAS, &orb, Tick::new(0)));
    started.expect("the request is well formed")
}

/// The channel does what is due, and the interruption is taken before the guest's processors see
/// it: it has nothing else on this subchannel.
fn settle(world: &World) -> Option<IoInterruption> {
    // Of other devices nothing is due that early.
    world.machine.step_channel(Tick::new(10_000));
    world.machine.with_subsystem(|subsystem| subsystem.test_pending(SUBCLASS)).1
}

fn fetch(world: &World) -> (ConditionCode, Irb) {
    world.machine.with_subsystem(|subsystem| subsystem.test(ALIAS))
}

/// A program on the alias comes to its normal end.
fn use_alias(world: &World) {
    assert_eq!(start(world, &[CHAINED, NOTHING]), ConditionCode::Done);
    assert!(settle(world).is_some());
    let (condition, irb) = fetch(world);
    let ended = (condition, irb.scsw.device_status.bits(), irb.scsw.program_address);
    assert_eq!(ended, (ConditionCode::Done, 0x0C, PROGRAM + 16));
}

fn move_to_the_other_su(world: &mut World, config: &Config) {
    move_to(world, other(config));
}

fn move_to(world: &mut World, target: SuName) -> Course {
    let course = world.attempt(target, &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
    world.run(100);
    course
}

/// A mnemonic.
fn named(text: &str) -> Mnemonic {
    Mnemonic::new(text).expect("a short name")
}

/// The example whose alias the target does not have; it has these free ones.
fn with_free_aliases(free: &[(&str, &str)]) -> Config {
    with_alias(|config| {
        let target = other(config);
        let home = config.vm.on;
        config.vm.devices.last_mut().expect("the alias").generated_on.retain(|su| *su == home);
        let su = config.sus.iter_mut().find(|su| su.name == target).expect("the target");
        let numbers = (0xA20..).map(SubchannelNumber::new);
        su.aliases = free
            .iter()
            .zip(numbers)
            .map(|((mnemonic, base), subchannel)| FreeAlias {
                mnemonic: named(mnemonic),
                base: named(base),
                subchannel,
            })
            .collect();
    })
}

fn state(world: &World, config: &Config) -> Option<String> {
    let su = world.cluster().su(&world.at)?;
    su.vm(VmId::Name(config.vm.name)).map(|block| block.state().to_string())
}

#[test]
fn enabled_alias_is_used_behind_the_move_without_being_enabled_again() {
    let config = with_alias(|_| ());
    let mut world = using_alias(&config);
    use_alias(&world);
    move_to_the_other_su(&mut world, &config);
    assert_eq!(fetch(&world).0, ConditionCode::Status, "nothing is presented twice");
    use_alias(&world);
}

#[test]
fn status_of_an_alias_that_was_not_fetched_is_presented_once_behind_the_move() {
    let config = with_alias(|_| ());
    let mut world = using_alias(&config);
    assert_eq!(start(&world, &[NOTHING]), ConditionCode::Done);
    let interruption = settle(&world).expect("the program has ended");
    assert_eq!((interruption.subchannel, interruption.parameter), (Some(ALIAS), 0xA11A));
    move_to_the_other_su(&mut world, &config);
    assert_eq!(settle(&world), None, "its interruption was taken");
    let (condition, irb) = fetch(&world);
    assert_eq!((condition, irb.scsw.device_status.bits()), (ConditionCode::Done, 0x0C));
    assert_eq!(fetch(&world).0, ConditionCode::Status);
    use_alias(&world);
}

#[test]
fn program_that_has_suspended_itself_on_an_alias_is_resumed_behind_the_move() {
    let config = with_alias(|_| ());
    let mut world = using_alias(&config);
    assert_eq!(start(&world, &[CHAINED, SUSPENDS]), ConditionCode::Done);
    assert!(settle(&world).is_some());
    assert!(fetch(&world).1.scsw.is_suspended());
    world.machine.storage.store(u64::from(PROGRAM) + 8, NOTHING).expect("the page is there");
    move_to_the_other_su(&mut world, &config);
    assert_eq!(fetch(&world).0, ConditionCode::Status, "it is suspended as before");
    let resumed = world.machine.with_subsystem(|it| it.resume(ALIAS, Tick::new(0)));
    assert_eq!(resumed, ConditionCode::Done);
    assert!(settle(&world).is_some());
    let (condition, irb) = fetch(&world);
    let ended = (condition, irb.scsw.device_status.bits(), irb.scsw.program_address);
    assert_eq!(ended, (ConditionCode::Done, 0x0C, PROGRAM + 16));
    assert_eq!(fetch(&world).0, ConditionCode::Status);
    use_alias(&world);
}

#[test]
fn alias_that_the_target_does_not_have_is_replaced_by_a_free_one_of_its_base() {
    let config = with_free_aliases(&[("994F", "FAA4"), ("993F", "9920")]);
    let mut world = using_alias(&config);
    assert_eq!(start(&world, &[NOTHING]), ConditionCode::Done);
    assert!(settle(&world).is_some());
    move_to(&mut world, other(&config));
    assert_eq!(state(&world, &config).as_deref(), Some("RUNNING(DIFF)"));
    assert_eq!(world.cluster().detached_on(&world.at), []);
    assert_eq!(fetch(&world).0, ConditionCode::Done, "what was pending");
    use_alias(&world);
    let known = world.machine.with_subsystem(|it| it.store(ALIAS)).expect("it has its number");
    assert_eq!(known.pmcw.device.get(), ALIAS.get(), "and is the device that it was");
    let back = move_to(&mut world, config.vm.on);
    assert!(says(&back, ConsoleName::Source, "VMS2471 DEVICE '992F' WILL BE DETACHED"));
    assert_eq!(state(&world, &config).as_deref(), Some("RUNNING"));
    use_alias(&world);
}

#[test]
fn guest_goes_without_an_alias_where_none_of_its_base_is_free_and_has_it_again_at_home() {
    for free in [&[("994F", "FAA4")][..], &[]] {
        let config = with_free_aliases(free);
        let mut world = using_alias(&config);
        assert_eq!(start(&world, &[NOTHING]), ConditionCode::Done);
        assert!(settle(&world).is_some());
        move_to(&mut world, other(&config));
        assert_eq!(state(&world, &config).as_deref(), Some("RUNNING"));
        assert_eq!(world.cluster().detached_on(&world.at), [named("992F")]);
        assert_eq!(fetch(&world).0, ConditionCode::Done, "what was pending");
        assert_eq!(start(&world, &[NOTHING]), ConditionCode::NotOperational);
        let known = world.machine.with_subsystem(|it| it.store(ALIAS)).expect("it has its number");
        assert_eq!(known.pmcw.installed_paths, 0, "no path leads to it");
        let back = move_to(&mut world, config.vm.on);
        assert!(!says(&back, ConsoleName::Source, "VMS2471"), "there is nothing to detach");
        assert_eq!(world.cluster().detached_on(&world.at), []);
        use_alias(&world);
    }
}

#[test]
fn alias_of_the_vm_is_preferred_to_a_free_one() {
    let mut config = with_free_aliases(&[("993F", "9920")]);
    let target = other(&config);
    let alias = config.vm.devices.last_mut().expect("the alias");
    alias.generated_on.push(target);
    let mut world = using_alias(&config);
    move_to(&mut world, target);
    assert_eq!(state(&world, &config).as_deref(), Some("RUNNING"));
    use_alias(&world);
    // Another VM may have it there.
    let alias = config.vm.devices.last_mut().expect("the alias");
    alias.held_on = Some(target);
    let mut world = using_alias(&config);
    move_to(&mut world, target);
    assert_eq!(state(&world, &config).as_deref(), Some("RUNNING(DIFF)"));
    use_alias(&world);
}
