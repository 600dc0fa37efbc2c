//! The judge can say no: each of its answers turns false by the one fault that it is there for.
//!
//! Source of truth: `host_harness::cluster::judge`. The VM is held, so that nothing but the
//! planted fault changes after the move.

use std::sync::Arc;

use host_harness::{
    cluster::{Judgement, judge},
    console::Verified,
    machine::{Access, LoggedDisk, Machine, Path},
    sim::{Scenario, World},
};
use integration_tests::worlds::{other, started, with};
use monitor_core::{
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, Mnemonic, PageNumber, ProcessorIndex, VmName},
    vm::{Activity, GuestEvent, Ownership},
};

/// A word of the last page, which no oracle of the guest looks at.
const LAST: u64 = 2047 * 4096 + 2048;

/// A world after a move, and the source's machine.
fn moved() -> (World, Arc<Machine>) {
    let config = with(|config| config.vm.state = Activity::InHold);
    let mut world = started(&config);
    let source = Arc::clone(&world.machine);
    let course = world.attempt(other(&config), &Scenario::default());
    assert_eq!(course.verified, Some(Verified::ALL));
    (world, source)
}

/// The judgement after a fault was planted.
fn after(plant: impl FnOnce(&World, &Machine)) -> Verified {
    let (world, source) = moved();
    plant(&world, &source);
    judge(&Judgement {
        cluster: world.cluster(),
        vm: VmName::new("VM12PROD").unwrap(),
        owner: Ownership::running(world.at, world.epoch),
        record: world.cluster().directory().record(VmName::new("VM12PROD").unwrap()),
        source: &source,
        target: &world.machine,
        witness: None,
        guest_runs: false,
    })
}

#[test]
fn nothing_planted_is_nothing_found() {
    assert_eq!(after(|_, _| ()), Verified::ALL);
}

#[test]
fn a_page_that_differs_is_found() {
    let found = after(|world, _| {
        let byte = world.machine.storage.load(LAST).unwrap();
        world.machine.storage.store(LAST, byte ^ 1).unwrap();
    });
    assert_eq!(found, Verified { memory: false, ..Verified::ALL });
}

#[test]
fn a_key_that_differs_is_found() {
    let found = after(|world, _| {
        let page = PageNumber::new(100);
        let key = world.machine.storage.key(page);
        world.machine.storage.set_key(page, key ^ 0x30);
    });
    assert_eq!(found, Verified { keys: false, ..Verified::ALL });
}

#[test]
fn a_register_that_differs_is_found() {
    let found = after(|world, _| {
        let mut image = ProcessorImage::initial();
        world.machine.capture(ProcessorIndex::new(1), &mut image).unwrap();
        image.access[15] ^= 1;
        world.machine.restore(ProcessorIndex::new(1), &image).unwrap();
    });
    // The guest knows what its registers have to be, and finds it as well.
    assert_eq!(found, Verified { processors: false, guest: false, ..Verified::ALL });
}

#[test]
fn a_report_of_the_machine_that_is_missing_is_found() {
    let found = after(|_, source| {
        source.with_floating(|floating| floating.push_report(0x4083_0012));
    });
    assert_eq!(found, Verified { processors: false, ..Verified::ALL });
}

#[test]
fn a_service_signal_that_is_missing_behind_the_pending_one_is_found() {
    let found = after(|world, source| {
        for machine in [source, &world.machine] {
            let mut first = ProcessorImage::initial();
            machine.capture(ProcessorIndex::new(0), &mut first).unwrap();
            first.service_signal = Some(1);
            machine.restore(ProcessorIndex::new(0), &first).unwrap();
        }
        source.tell(GuestEvent::MoveAbandoned);
    });
    assert_eq!(found, Verified { processors: false, ..Verified::ALL });
}

#[test]
fn a_device_that_the_source_keeps_is_found() {
    let found = after(|world, source| {
        let attached = source.with_subsystem(|it| it.attach(DeviceSlot::new(1), world.epoch));
        assert!(attached.is_ok());
    });
    assert_eq!(found, Verified { devices: false, ..Verified::ALL });
}

#[test]
fn a_record_that_nobody_wrote_is_found() {
    let found = after(|world, _| {
        let name = Mnemonic::new("FAA5").unwrap();
        let disk = world.cluster().blocks_of(name).unwrap();
        let vm = VmName::new("VM12PROD").unwrap();
        let access = Access::new(vm, Epoch::new(2), Path::default());
        disk.put(&access, 0, &[7; 4096]);
        assert_eq!(disk.last_write().unwrap().epoch, access.epoch);
    });
    assert_eq!(found, Verified { io: false, ..Verified::ALL });
}
