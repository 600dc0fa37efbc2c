//! Interruptions: when they are taken, what they store, and that they move exactly once.
//!
//! Source of truth: the head of `interruption`.

use super::*;
use monitor_core::vm::MachineImage;

fn step(machine: &Machine, now: u64) -> Option<Step> {
    machine.step_processor(0, at(now), 1)
}

#[test]
fn external_interruption_stores_into_page_zero_and_marks_it() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    machine.start_tracking();
    machine.resume(at(0));
    machine.tell(GuestEvent::Moved);
    assert_eq!(marked_pages(&machine), [] as [u64; 0]);
    step(&machine, 1);
    assert_eq!(marked_pages(&machine), [0]);
    assert_eq!(machine.storage.load(0x80), Ok(3 << 32 | 0x2401));
    assert_eq!(machine.storage.load(0x130), Ok(IO_AND_EXTERNAL));
    assert_eq!(machine.storage.load(0x138), Ok(0x2000));
    assert_eq!(state(&machine).psw.address, 0x3000);
}

#[test]
fn io_interruption_tells_subchannel_parameter_and_subclass() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    start(&machine, &put_program(&machine, 0x01), 0);
    machine.step_channel(at(200));
    machine.start_tracking();
    machine.resume(at(200));
    step(&machine, 200);
    assert_eq!(marked_pages(&machine), [0]);
    assert_eq!(machine.storage.load(0xB8), Ok(0x0001_0010 << 32 | u64::from(PARAMETER)));
    assert_eq!(machine.storage.load(0xC0), Ok(3 << (27 + 32)));
    assert_eq!(machine.storage.load(0x170), Ok(IO_AND_EXTERNAL));
    assert_eq!(state(&machine).psw.address, 0x4000);
}

#[test]
fn interruption_waits_until_psw_and_control_registers_admit_it() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    start(&machine, &put_program(&machine, 0x01), 0);
    machine.step_channel(at(200));
    machine.tell(GuestEvent::MoveComing);
    machine.resume(at(200));
    let open = state(&machine);
    let mut closed = [open.clone(), open.clone(), open.clone()];
    closed[0].psw = open.psw.with_io(false).with_external(false);
    closed[1].control[0] = 0;
    closed[1].control[6] = 0xEF00_0000;
    closed[2].control[0] = 0;
    closed[2].psw = open.psw.with_io(false);
    for image in &closed {
        machine.restore(PROCESSOR, image).unwrap();
        step(&machine, 300);
        assert_eq!(state(&machine).psw, image.psw);
    }
    machine.restore(PROCESSOR, &open).unwrap();
    step(&machine, 300);
    assert_eq!(state(&machine).psw.address, 0x3000, "external comes first");
    machine.restore(PROCESSOR, &ProcessorImage { service_signal: None, ..open }).unwrap();
    step(&machine, 300);
    assert_eq!(state(&machine).psw.address, 0x4000);
}

#[test]
fn floating_interruption_is_taken_by_the_processor_that_admits_it() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    let other = ProcessorIndex::new(1);
    let open = state(&machine);
    let closed = ProcessorImage { psw: open.psw.with_io(false).with_external(false), ..open };
    let elsewhere = ProcessorImage { prefix: 0x2000, ..open };
    for address in [0x1B0, 0x1F0] {
        let mut new = [0; 16];
        machine.storage.load_bytes(address, &mut new).unwrap();
        machine.storage.store_bytes(0x2000 + address, &new).unwrap();
    }
    machine.restore(PROCESSOR, &closed).unwrap();
    machine.restore(other, &elsewhere).unwrap();
    start(&machine, &put_program(&machine, 0x01), 0);
    machine.step_channel(at(200));
    machine.tell(GuestEvent::Moved);
    machine.resume(at(200));
    let address = |index| {
        let mut image = ProcessorImage::initial();
        machine.capture(index, &mut image).unwrap();
        image.psw.address
    };
    machine.step_processor(0, at(200), 1);
    assert_eq!((address(PROCESSOR), state(&machine).service_signal), (0x2000, Some(3)));
    machine.step_processor(1, at(200), 1);
    assert_eq!((address(other), state(&machine).service_signal), (0x3000, None));
    assert_eq!(machine.storage.load(0x2080), Ok(3 << 32 | 0x2401));
    machine.restore(other, &elsewhere).unwrap();
    machine.step_processor(1, at(201), 1);
    assert_eq!(address(other), 0x4000);
    assert_eq!(machine.storage.load(0x20B8), Ok(0x0001_0010 << 32 | u64::from(PARAMETER)));
}

#[test]
fn pending_io_interruption_moves_and_is_taken_exactly_once() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    ready(&target, 1);
    start(&source, &put_program(&source, 0x01), 0);
    source.step_channel(at(200));
    let pending = image(&source);
    target.with_subsystem(|subsystem| subsystem.restore(SLOT, &pending)).unwrap();
    target.resume(at(300));
    step(&target, 300);
    assert_eq!(state(&target).psw.address, 0x4000);
    target.restore(PROCESSOR, &state(&source)).unwrap();
    step(&target, 301);
    assert_eq!(state(&target).psw.address, 0x2000, "not a second time");
    assert!(status(&target).is_status_pending());
}

#[test]
fn interruption_taken_before_the_move_is_not_taken_again_but_its_status_is_there() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    ready(&target, 1);
    start(&source, &put_program(&source, 0x01), 0);
    source.step_channel(at(200));
    source.resume(at(200));
    step(&source, 200);
    assert_eq!(state(&source).psw.address, 0x4000);
    let taken = image(&source);
    target.with_subsystem(|subsystem| subsystem.restore(SLOT, &taken)).unwrap();
    target.resume(at(300));
    step(&target, 300);
    assert_eq!(state(&target).psw.address, 0x2000);
    assert!(status(&target).is_status_pending());
    start(&target, &put_program(&target, 0x01), 300);
    target.step_channel(at(500));
    step(&target, 500);
    assert_eq!(state(&target).psw.address, 0x4000, "the next one is");
}

#[test]
fn pending_service_signal_moves_with_processor_zero() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    ready(&target, 1);
    source.tell(GuestEvent::MoveAbandoned);
    target.restore(PROCESSOR, &state(&source)).unwrap();
    target.resume(at(0));
    step(&target, 0);
    assert_eq!(target.storage.load(0x80), Ok(2 << 32 | 0x2401));
    assert_eq!(state(&target).service_signal, None);
}

#[test]
fn events_are_told_in_order() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    machine.resume(at(0));
    machine.tell(GuestEvent::MoveComing);
    machine.tell(GuestEvent::MoveAbandoned);
    assert_eq!(signals_taken(&machine), [1, 0x12]);
}

/// The parameters of the service signals that processor 0 takes, when it is opened again each time.
fn signals_taken(machine: &Machine) -> Vec<u64> {
    let psw = Psw::new(IO_AND_EXTERNAL, 0x2000);
    let mut taken = Vec::new();
    while let before @ ProcessorImage { service_signal: Some(_), .. } = state(machine) {
        let mut whole = MachineImage::initial();
        machine.capture_machine(&mut whole);
        machine.restore(PROCESSOR, &ProcessorImage { psw, ..before }).unwrap();
        machine.restore_machine(&whole);
        step(machine, 1);
        taken.push(machine.storage.load(0x80).unwrap() >> 32);
    }
    taken
}

#[test]
fn service_signals_that_wait_move_behind_the_pending_one() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    ready(&target, 1);
    // An attempt that was given up while the guest admitted nothing, and the next one.
    for event in [GuestEvent::MoveComing, GuestEvent::MoveAbandoned, GuestEvent::MoveComing] {
        source.tell(event);
    }
    let mut whole = MachineImage::initial();
    source.capture_machine(&mut whole);
    for _ in ["rehearsed", "in earnest"] {
        target.restore(PROCESSOR, &state(&source)).unwrap();
        target.restore_machine(&whole);
    }
    target.tell(GuestEvent::Moved);
    target.resume(at(0));
    assert_eq!(signals_taken(&target), [0x01, 0x12, 0x21, 0x03]);
}

#[test]
fn oldest_service_signal_that_waits_makes_room_for_the_newest() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    machine.resume(at(0));
    for _ in 0..11 {
        machine.tell(GuestEvent::MoveComing);
    }
    let expected = [0x01, 0x31, 0x41, 0x51, 0x61, 0x71, 0x81, 0x91, 0xA1];
    assert_eq!(signals_taken(&machine), expected);
}

#[test]
fn channel_reports_are_a_machine_check_once_until_all_of_them_are_stored() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    machine.storage.store(0x1E0, 0x0000_0001_8000_0000).unwrap();
    machine.storage.store(0x1E8, 0x5000).unwrap();
    machine.storage.store(0x1300, 0x7777).unwrap();
    let mut open = state(&machine);
    open.psw = open.psw.with_machine_check(true);
    open.general[15] = 0xABCD;
    let mut admitting = open.clone();
    admitting.control[14] |= 0x1000_0000;
    machine.with_floating(|floating| floating.push_report(0x4083_0001));
    machine.tell(GuestEvent::Moved);
    machine.resume(at(0));
    let closed =
        ProcessorImage { psw: admitting.psw.with_machine_check(false), ..admitting.clone() };
    for (image, address) in [(&open, 0x3000), (&closed, 0x3000), (&admitting, 0x5000)] {
        machine
            .restore(PROCESSOR, &ProcessorImage { service_signal: Some(3), ..image.clone() })
            .unwrap();
        step(&machine, 1);
        assert_eq!(state(&machine).psw.address, address);
    }
    assert_eq!(machine.storage.load(0xE8), Ok(0x0040_0F0F_4033_0000));
    assert_eq!(machine.storage.load(0x168), Ok(0x2000));
    assert_eq!(machine.storage.load(0x12F8), Ok(0xABCD), "the registers are stored");
    assert_eq!(machine.storage.load(0x1300), Ok(0x7777), "and the place of the PSW is left");
    let next = || {
        machine.restore(PROCESSOR, &admitting).unwrap();
        step(&machine, 2);
        state(&machine).psw.address
    };
    assert_eq!(next(), 0x2000, "not a second time");
    machine.with_floating(|floating| floating.push_report(0x4083_0002));
    assert_eq!(next(), 0x2000, "nor for a report that the program finds behind the first one");
    machine.with_floating(|floating| while floating.take_report().is_some() {});
    assert_eq!(next(), 0x2000);
    machine.with_floating(|floating| floating.push_report(0x4083_0003));
    assert_eq!(next(), 0x5000);
}
