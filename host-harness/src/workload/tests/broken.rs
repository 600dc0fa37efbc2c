//! What was altered, lost or mixed up is found by the check.
//!
//! Source of truth: [`super::super::check()`]. Invariant: the guest is clean before it is broken.
//! Deliberately not here: guests to which nothing was done ([`super::course`]).

use super::*;
use crate::machine::{Access, ConditionCode, Path};
use monitor_core::processor::TodEpoch;

/// A guest that has run for a while and is stopped.
fn stopped(kinds: &[Kind]) -> Rig {
    let mut rig = Rig::new(kinds);
    rig.run(200_000);
    rig.stop();
    let verdict = rig.check();
    assert!(verdict.is_clean(), "{verdict:?}");
    rig
}

/// Turns over all bits of a byte; not an access of the guest.
fn alter(rig: &Rig, address: u64) {
    let mut page = page_of(rig, address);
    page[(address % 4096) as usize] ^= 0xFF;
    put_page(rig, address, &page);
}

fn run_of(address: u64) -> PageRun {
    let page = PageNumber::new(address / 4096);
    PageRun { group: page.group(), mask: 1 << (page.get() % 64) }
}

fn page_of(rig: &Rig, address: u64) -> Vec<u8> {
    let mut page = vec![0; 4096];
    rig.machine.storage.copy_out(run_of(address), &mut page).unwrap();
    page
}

fn put_page(rig: &Rig, address: u64, page: &[u8]) {
    rig.machine.storage.copy_in(run_of(address), page).unwrap();
}

fn layout(rig: &Rig) -> Layout {
    Layout::new(&rig.plan, PAGES, rig.machine.processor_count()).unwrap()
}

/// The faults that altering the byte at `address` makes, which go away when it is put back.
fn faults_of(rig: &Rig, address: u64) -> Vec<Fault> {
    alter(rig, address);
    let faults = rig.check().faults;
    alter(rig, address);
    assert!(rig.check().is_clean());
    faults
}

#[test]
fn altered_byte_of_each_workload_is_found() {
    let rig = stopped(&ALL);
    let areas = layout(&rig);
    for page in [0, 7, areas.sweep.pages - 1] {
        let address = guest::sweep::address(areas.sweep.origin, page);
        let number = PageNumber::new(address / 4096);
        assert_eq!(faults_of(&rig, address), [Fault::SweepPage(number)]);
    }
    for page in [0, 20, 39] {
        let address = hot_set::address(areas.hot_set.origin, page);
        let number = PageNumber::new(address / 4096);
        for byte in 0..8 {
            assert!(faults_of(&rig, address + byte).contains(&Fault::HotSetPage(number)));
        }
    }
    for index in [0, 100, 299] {
        let address = key_value::Slot::address(areas.key_value.origin, index);
        for byte in 0..64 {
            assert!(faults_of(&rig, address + byte).contains(&Fault::Slot(index)), "{byte}");
        }
    }
    for byte in [0, 8, 23, 100, 4095] {
        assert_eq!(faults_of(&rig, journal::record_out_at(0, 0) + byte), [Fault::Record]);
    }
    let ticks = nucleus::word_address(BlockName::Idle, idle::TICKS);
    assert_eq!(faults_of(&rig, ticks + 7), [Fault::Ticks]);
}

#[test]
fn page_of_an_earlier_moment_is_found_in_each_area() {
    let mut rig = Rig::new(&ALL);
    rig.run(200_000);
    let areas = layout(&rig);
    let (hot_set, key_value) = (areas.hot_set.origin, areas.key_value.origin);
    let places = [hot_set, key_value, areas.sweep.origin, journal::record_out_at(0, 0), 2 * 4096];
    let old = places.map(|address| page_of(&rig, address));
    rig.run(200_000);
    rig.stop();
    assert!(rig.check().is_clean());
    for (address, page) in places.into_iter().zip(old) {
        let new = page_of(&rig, address);
        put_page(&rig, address, &page);
        assert!(!rig.check().is_clean(), "old page at {address:#x} is not found");
        put_page(&rig, address, &new);
    }
    assert!(rig.check().is_clean());
}

#[test]
fn exchanged_pages_are_found() {
    let rig = stopped(&[HOT_SET, KEY_VALUE]);
    let areas = layout(&rig);
    for area in [areas.hot_set, areas.key_value] {
        let (one, two) = (area.origin, area.origin + 4096);
        let pages = [page_of(&rig, one), page_of(&rig, two)];
        put_page(&rig, one, &pages[1]);
        put_page(&rig, two, &pages[0]);
        assert!(!rig.check().is_clean());
        put_page(&rig, one, &pages[0]);
        put_page(&rig, two, &pages[1]);
    }
}

#[test]
fn lost_register_is_found() {
    let rig = stopped(&ALL);
    let lose: [fn(&mut ProcessorImage); 8] = [
        |image| image.access[3] = 0,
        |image| image.control[6] ^= 1,
        |image| image.vector[31] ^= 1,
        |image| image.floating_control = 0,
        |image| image.prefix += 0x2000,
        |image| image.tod_programmable += 1,
        |image| image.program_parameter = 0,
        |image| image.etoken[1] = 0,
    ];
    for processor in 0..2 {
        let index = ProcessorIndex::new(processor);
        let right = rig.image(processor);
        let general = (0..16).map(|number| {
            let mut image = right.clone();
            image.general[number] = image.general[number].wrapping_add(1);
            // The registers of the sweep and the counts say nothing on the other processor.
            let is_used = processor == 0 || !(6..=7).contains(&number);
            (image, is_used, format!("general register {number}"))
        });
        let others = lose.iter().enumerate().map(|(number, lose)| {
            let mut image = right.clone();
            lose(&mut image);
            (image, true, format!("loss {number}"))
        });
        for (image, is_used, name) in general.chain(others) {
            rig.machine.restore(index, &image).unwrap();
            assert_eq!(rig.check().is_clean(), !is_used, "{name} of processor {processor}");
        }
        rig.machine.restore(index, &right).unwrap();
    }
    assert!(rig.check().is_clean());
}

/// The disk's log, written again to another disk.
fn rewritten(rig: &Rig, change: impl Fn(u64) -> Vec<u64>) -> FbaDisk {
    let disk = FbaDisk::in_memory(1);
    let numbers = rig
        .disk
        .log()
        .into_iter()
        .flat_map(|entry| change(u64::from_be_bytes(*entry.head.first_chunk().unwrap())));
    for number in numbers {
        let vm = VmName::new("VM12PROD").unwrap();
        let access = Access::new(vm, Epoch::new(1), Path::default());
        disk.put(&access, 0, &number.to_be_bytes());
    }
    disk
}

#[test]
fn dropped_repeated_or_exchanged_record_is_found() {
    let rig = stopped(&[JOURNAL]);
    let faults = |change: fn(u64) -> Vec<u64>| {
        check(&rig.machine, &rig.plan, &[&rewritten(&rig, change)]).faults
    };
    assert_eq!(faults(|number| vec![number]), []);
    let dropped = faults(|number| if number == 7 { vec![] } else { vec![number] });
    assert_eq!(dropped, [Fault::JournalOrder { expected: 7, found: 8 }]);
    let repeated = faults(|number| if number == 7 { vec![7, 7] } else { vec![number] });
    assert_eq!(repeated, [Fault::JournalOrder { expected: 8, found: 7 }]);
    let late = faults(|number| if number < 3 { vec![number] } else { vec![] });
    assert!(matches!(late[..], [Fault::Count { found: 2, .. }]), "{late:?}");
    let early = faults(|number| vec![2 * number - 1, 2 * number]);
    assert!(matches!(early[..], [Fault::Count { .. }]), "{early:?}");
}

#[test]
fn lost_nucleus_is_found() {
    let rig = stopped(&ALL);
    put_page(&rig, 2 * 4096, &[0; 4096]);
    let faults = rig.check().faults;
    for kind in ALL {
        assert!(faults.contains(&Fault::WorkloadLost(kind)), "{kind:?}");
    }
}

#[test]
fn guest_that_meets_a_broken_page_reports_it() {
    let mut rig = stopped(&[HOT_SET, KEY_VALUE]);
    let areas = layout(&rig);
    alter(&rig, hot_set::address(areas.hot_set.origin, 3) + 7);
    for index in 0..64 {
        alter(&rig, key_value::Slot::address(areas.key_value.origin, index) + 20);
    }
    rig.machine.resume(Tick::new(rig.now));
    rig.run(200_000);
    let faults = rig.check().faults;
    for name in ["wrong pages met by the hot set", "broken slots met by the store"] {
        let count = faults.iter().find_map(|fault| match fault {
            Fault::Reported { name: met, count } if *met == name => Some(*count),
            _ => None,
        });
        assert!(count >= Some(1), "{name}");
    }
}

#[test]
fn time_that_goes_back_is_reported() {
    let mut rig = stopped(&[Kind::Idle]);
    let mut image = rig.image(0);
    image.tod_epoch = TodEpoch::between(50_000 << 12, 0);
    rig.machine.restore(ProcessorIndex::new(0), &image).unwrap();
    rig.machine.resume(Tick::new(rig.now));
    rig.run(STEP_US);
    let fault = Fault::Reported { name: "steps back in time", count: 1 };
    assert_eq!(rig.check().faults, [fault]);
}

#[test]
fn interruption_that_comes_twice_is_reported() {
    let mut rig = Rig::new(&[JOURNAL]);
    rig.run(20_000);
    while rig.check().counts.records < 10 {
        rig.run(STEP_US);
    }
    // The channel program is started once more behind the guest's back.
    let orb = monitor_core::channel::Orb::of_program(6 * 4096, 2);
    let now = Tick::new(rig.now);
    let started = rig.machine.with_subsystem(|subsystem| subsystem.start(DISK, &orb, now));
    assert_eq!(started, Ok(ConditionCode::Done));
    rig.run(1000);
    let faults = rig.check().faults;
    let stray = Fault::Reported { name: "interruptions that nobody waited for", count: 1 };
    assert!(faults.contains(&stray), "{faults:?}");
    assert!(faults.contains(&Fault::JournalOrder { expected: 11, found: 10 }), "{faults:?}");
}

#[test]
fn wild_branch_ends_the_guest_and_is_found() {
    let mut rig = stopped(&[Kind::Idle]);
    let mut image = rig.image(0);
    image.psw = image.psw.with_address(0x666);
    rig.machine.restore(ProcessorIndex::new(0), &image).unwrap();
    rig.machine.resume(Tick::new(rig.now));
    rig.machine.step_processor(0, Tick::new(rig.now), 10);
    rig.now += STEP_US;
    assert_eq!(rig.check().faults, [Fault::Unusable]);
}

#[test]
fn faults_beyond_the_list_are_counted() {
    let rig = stopped(&[SWEEP]);
    let areas = layout(&rig);
    for page in 0..100 {
        alter(&rig, guest::sweep::address(areas.sweep.origin, page));
    }
    let verdict = rig.check();
    assert_eq!((verdict.faults.len(), verdict.fault_count), (Verdict::FAULTS_MAX, 100));
}

#[test]
fn look_leaves_no_trace() {
    let rig = stopped(&ALL);
    for page in 0..PAGES.get() {
        rig.machine.storage.reset_reference(PageNumber::new(page));
    }
    let keys = || -> Vec<u8> {
        (0..PAGES.get()).map(|page| rig.machine.storage.key(PageNumber::new(page))).collect()
    };
    let before = keys();
    assert!(rig.check().is_clean());
    assert_eq!(keys(), before);
}
