//! Interruptions that follow from no other state: each is taken where the guest runs, by a
//! processor that admits it, once.
//!
//! Source of truth: Principles of Operation, "Interruption" and "Machine-Check Handling"; the head
//! of `floating`. Deliberately not here: service signals, and subchannels.

use super::*;
use monitor_core::{processor::MachineCheck, vm::MachineImage};

/// External interruptions that are admitted: alerts, page faults, and the interrupt key.
const EXTERNAL: u64 = 0x8240;
/// External damage and its mask.
const DAMAGE: u64 = 1 << 58;
const DAMAGE_MASK: u64 = 0x0200_0000;

/// A machine on which `action` was done, as it is behind a move: what is pending came in images.
fn moved(action: impl FnOnce(&Machine)) -> Machine {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    ready(&target, 2);
    let mut open = state(&source);
    open.psw = open.psw.with_machine_check(true);
    open.control[0] |= EXTERNAL;
    source.restore(PROCESSOR, &open).unwrap();
    action(&source);
    let mut image = MachineImage::initial();
    source.capture_machine(&mut image);
    target.restore_machine(&image);
    target.restore(PROCESSOR, &state(&source)).unwrap();
    target.storage.store(0x1E0, 0x0000_0001_8000_0000).unwrap();
    target.storage.store(0x1E8, 0x5000).unwrap();
    target.resume(at(0));
    target
}

/// Lets the processor go on as if its handler had ended, and says where it is then.
fn next(machine: &Machine) -> u64 {
    let mut image = state(machine);
    image.psw = Psw::new(IO_AND_EXTERNAL, 0x2000).with_machine_check(true);
    machine.restore(PROCESSOR, &image).unwrap();
    machine.step_processor(0, at(1), 1);
    state(machine).psw.address
}

#[test]
fn interrupt_key_interrupts_once() {
    let target = moved(|source| source.with_floating(Floating::press_interrupt_key));
    assert_eq!(next(&target), 0x3000);
    assert_eq!(target.storage.load(0x80).unwrap() & 0xFFFF_FFFF, 0x0040);
    assert_eq!(next(&target), 0x2000);
}

#[test]
fn processor_that_check_stops_alerts_the_other_one() {
    let target = moved(|source| {
        let mut outside = ProcessorImage::initial();
        (outside.prefix, outside.state) = (0x10_0000, CpuState::Operating);
        outside.psw = outside.psw.with_machine_check(true);
        outside.control[14] |= 0x1000_0000;
        // A channel report makes it store into its prefix area, which is not there.
        source.with_floating(|floating| floating.push_report(0x4083_0001));
        source.restore(ProcessorIndex::new(1), &outside).unwrap();
        source.resume(at(0));
        source.step_processor(1, at(0), 1);
        source.stop();
        assert_eq!(state(source).malfunction_alerts, 0b10);
    });
    assert_eq!(next(&target), 0x3000);
    assert_eq!(target.storage.load(0x80).unwrap() & 0xFFFF_FFFF, 0x0001_1200);
    assert_eq!(next(&target), 0x2000);
}

#[test]
fn ends_of_page_faults_are_told_one_by_one_with_their_tokens() {
    let target = moved(|source| {
        source.with_floating(|floating| {
            assert!(floating.end_page_fault(0x0123_4567) && floating.end_page_fault(0x89AB_CDEF));
        });
    });
    for token in [0x0123_4567, 0x89AB_CDEF] {
        assert_eq!(next(&target), 0x3000);
        assert_eq!(target.storage.load(0x80).unwrap() & 0xFFFF_FFFF, 0x0680_2603);
        assert_eq!(target.storage.load(0x11B8), Ok(token));
    }
    assert_eq!(next(&target), 0x2000);
}

#[test]
fn page_fault_for_which_there_is_no_room_is_refused() {
    let mut floating = Floating::default();
    let taken = (0..20).take_while(|token| floating.end_page_fault(*token)).count();
    assert_eq!(taken, monitor_core::limits::PAGE_FAULTS_MAX);
}

#[test]
fn adapters_interrupt_by_subclass_between_subchannels() {
    let target = moved(|source| {
        source.with_floating(|floating| [2, 5].map(|it| floating.interrupt_by_adapter(it)));
    });
    // The disk is of subclass 3.
    start(&target, &put_program(&target, 0x01), 0);
    target.step_channel(at(200));
    let disk = [0x0001_0010, u64::from(PARAMETER), 3 << 27];
    let adapter = |subclass: u64| [0, 0, 1 << 31 | subclass << 27];
    for [subsystem, parameter, word] in [adapter(2), disk, adapter(5)] {
        assert_eq!(next(&target), 0x4000);
        assert_eq!(target.storage.load(0xB8), Ok(subsystem << 32 | parameter));
        assert_eq!(target.storage.load(0xC0).unwrap() >> 32, word);
    }
    assert_eq!(next(&target), 0x2000);
}

#[test]
fn adapter_that_is_suppressed_does_not_interrupt_and_a_single_one_does_once() {
    let mut floating = Floating::default();
    let masks = MachineImage {
        adapters: monitor_core::vm::AdapterMasks { single: 0x20, none: 0x80 },
        ..MachineImage::initial()
    };
    let machine = machine(&Arc::new(Disk::new()));
    machine.restore_machine(&masks);
    machine.with_floating(|it| std::mem::swap(it, &mut floating));
    for subclass in [0, 2, 2] {
        floating.interrupt_by_adapter(subclass);
    }
    assert_eq!(floating.adapters().none, 0xA0);
    machine.with_floating(|it| std::mem::swap(it, &mut floating));
    let taken = std::iter::from_fn(|| machine.take_io_interruption(0xFF));
    assert_eq!(taken.map(|it| it.to_words()[2]).collect::<Vec<_>>(), [1 << 31 | 2 << 27]);
}

#[test]
fn channel_reports_interrupt_where_they_are_not_told_yet() {
    let reported = |source: &Machine| {
        source.with_floating(|floating| floating.push_report(0x4083_0001));
        let mut open = state(source);
        open.control[14] |= 0x1000_0000;
        source.restore(PROCESSOR, &open).unwrap();
    };
    let pending = moved(reported);
    assert_eq!((next(&pending), next(&pending)), (0x5000, 0x2000));
    let told = moved(|source| {
        reported(source);
        source.resume(at(0));
        source.step_processor(0, at(0), 1);
        source.stop();
    });
    assert_eq!(next(&told), 0x2000, "told at the source");
    let reports = |machine: &Machine| machine.with_floating(Floating::take_report);
    assert_eq!((reports(&told), reports(&told)), (Some(0x4083_0001), None));
    told.with_floating(|floating| floating.push_report(0x4083_0002));
    assert_eq!((next(&told), next(&told)), (0x5000, 0x2000));
}

#[test]
fn machine_check_is_taken_when_its_condition_is_admitted() {
    let check = MachineCheck { code: DAMAGE, address: 0x7000, damage: 0x0200_0000 };
    let float = |source: &Machine| source.with_floating(|floating| floating.check(check));
    let own = |source: &Machine| {
        source
            .restore(PROCESSOR, &ProcessorImage { machine_check: check, ..state(source) })
            .unwrap();
    };
    for action in [&float as &dyn Fn(&Machine), &own] {
        let target = moved(action);
        let set_mask = |on: bool| {
            let mut image = state(&target);
            image.control[14] &= !DAMAGE_MASK;
            image.control[14] |= if on { DAMAGE_MASK } else { 0 };
            target.restore(PROCESSOR, &image).unwrap();
        };
        set_mask(false);
        assert_eq!(next(&target), 0x2000);
        set_mask(true);
        assert_eq!(next(&target), 0x5000);
        assert_eq!(target.storage.load(0xE8), Ok(DAMAGE));
        assert_eq!(target.storage.load(0xF0).unwrap() & 0xFFFF_FFFF, 0x0200_0000);
        assert_eq!(target.storage.load(0xF8), Ok(0x7000));
        assert_eq!(next(&target), 0x2000);
    }
}
