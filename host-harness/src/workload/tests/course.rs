//! What workloads do in a second, how they keep pace, and that they go on after a move.
//!
//! Source of truth: the head of each workload. Invariant: a course ends with a clean check.
//! Deliberately not here: guests that were broken on purpose ([`super::broken`]).

use guest::layout;
use monitor_core::vm::{GuestAnswer, GuestEvent};

use super::*;
use crate::machine::{Access, Storage};

/// Runs a guest for a second; all must hold then.
fn counts_of(kinds: &[Kind], processor_count: u16) -> Counts {
    let mut rig = Rig::with(plan(kinds), processor_count);
    rig.run(1_000_000);
    let verdict = rig.check();
    assert_eq!(names(&verdict), Vec::<String>::new());
    verdict.counts
}

#[test]
fn each_workload_keeps_its_rate_for_a_second() {
    for processor_count in [1, 2, 3] {
        let idle = counts_of(&[Kind::Idle], processor_count);
        assert_eq!(idle, Counts { ticks: 99, ..Counts::default() });
        let hot_set = counts_of(&[HOT_SET], processor_count).dirtyings;
        assert!((19_900..=20_000).contains(&hot_set), "{hot_set}");
        let sweep = counts_of(&[SWEEP], processor_count).swept;
        assert!((4_950..=5_000).contains(&sweep), "{sweep}");
        let store = counts_of(&[KEY_VALUE], processor_count);
        assert!((9_900..=10_000).contains(&(store.puts + store.gets)), "{store:?}");
        assert!(store.puts > 4_500 && store.gets > 4_500, "{store:?}");
        let journal = counts_of(&[JOURNAL], processor_count);
        assert!((150..=200).contains(&(journal.records + journal.read_back)), "{journal:?}");
        assert_eq!(journal.read_back, (journal.records - 1) / 8);
    }
}

#[test]
fn all_workloads_share_a_processor_without_disturbing_one_another() {
    for processor_count in [1, 2] {
        let counts = counts_of(&ALL, processor_count);
        assert_eq!((counts.ticks, counts.io_faults), (99, 0));
        assert!(counts.dirtyings > 19_900 && counts.swept > 4_950 && counts.records > 150);
    }
}

#[test]
fn unpaced_workloads_share_what_paced_ones_leave() {
    let kinds = [
        Kind::Idle,
        Kind::HotSet { window: PageCount::new(40), rate: Rate::Unpaced },
        Kind::Sweep { rate: Rate::Unpaced },
        Kind::KeyValue { slots: 300, rate: Rate::Unpaced },
    ];
    let counts = counts_of(&kinds, 1);
    assert_eq!(counts.ticks, 99);
    let most = 256 * 1_000_000 / STEP_US;
    let operations = counts.puts + counts.gets;
    assert!(counts.dirtyings + counts.swept + operations > most * 9 / 10, "{counts:?}");
    for share in [counts.dirtyings, counts.swept, operations] {
        assert!(share > most / 5, "{counts:?}");
    }
}

#[test]
fn hot_set_reaches_each_page_of_its_window_and_no_other() {
    let mut rig = Rig::new(&[HOT_SET]);
    rig.run(10_000);
    rig.machine.start_tracking();
    rig.run(1_000_000);
    let map = rig.machine.storage.pages_map();
    let window = Layout::new(&rig.plan, PAGES, 2).unwrap().hot_set;
    let first = window.origin / 4096;
    for page in 0..PAGES.get() {
        let in_window = (first..first + 40).contains(&page);
        // The system keeps time in the nucleus.
        let expected = in_window || page == 2;
        assert_eq!(map.is_marked(PageNumber::new(page)), expected, "page {page}");
    }
}

#[test]
fn stop_is_not_followed_by_a_burst() {
    let mut rig = Rig::new(&[SWEEP, HOT_SET]);
    rig.run(100_000);
    let before = rig.check().counts;
    rig.machine.stop();
    rig.now += 1_000_000;
    rig.machine.resume(Tick::new(rig.now));
    rig.run(1_000);
    let after = rig.check().counts;
    let swept = after.swept - before.swept;
    assert!((25..=31).contains(&swept), "{swept} pages, 5 ms are worth 25");
    let dirtyings = after.dirtyings - before.dirtyings;
    assert!((100..=121).contains(&dirtyings), "{dirtyings} pages, 5 ms are worth 100");
}

#[test]
fn guest_goes_on_from_storage_registers_and_subchannels_alone() {
    let mut source = Rig::new(&ALL);
    source.run(300_000);
    source.stop();
    let before = source.check();
    assert!(before.is_clean(), "{before:?}");
    let mut target = source.moved();
    let arrived = target.check();
    assert_eq!(arrived, before);
    target.run(300_000);
    let after = target.check();
    assert_eq!(names(&after), Vec::<String>::new());
    assert!(after.counts.ticks > before.counts.ticks);
    assert!(after.counts.dirtyings > before.counts.dirtyings);
    assert!(after.counts.swept > before.counts.swept);
    assert!(after.counts.puts > before.counts.puts);
    assert!(after.counts.records > before.counts.records);
    assert_eq!(after.counts.io_faults, 0);
}

#[test]
fn journal_repeats_a_refused_record_under_its_number() {
    let mut rig = Rig::new(&[JOURNAL]);
    rig.run(100_000);
    // Another copy of the VM under a higher epoch fences this one.
    let vm = VmName::new("VM12PROD").unwrap();
    rig.disk.admit(&Access::new(vm, Epoch::new(5), Path::default())).unwrap();
    rig.run(100_000);
    let fenced = rig.check();
    assert!(fenced.counts.io_faults > 5, "{fenced:?}");
    assert!(fenced.is_clean(), "{fenced:?}");
    rig.attach(Epoch::new(6));
    rig.run(100_000);
    let after = rig.check();
    assert!(after.is_clean(), "{after:?}");
    assert!(after.counts.records > fenced.counts.records + 10);
}

#[test]
fn running_guest_is_judged_without_false_faults() {
    let kinds = [
        Kind::Idle,
        Kind::HotSet { window: PageCount::new(40), rate: Rate::Unpaced },
        Kind::Sweep { rate: Rate::Unpaced },
        Kind::KeyValue { slots: 300, rate: Rate::Unpaced },
        JOURNAL,
    ];
    let rig = Rig::with(plan(&kinds), 2);
    let machine = &rig.machine;
    std::thread::scope(|scope| {
        for index in 0..2 {
            scope.spawn(move || {
                let mut now = rig.now;
                while let Some(step) = machine.step_processor(index, Tick::new(now), 64) {
                    now += u64::from(step.worked.max(1));
                    machine.step_channel(Tick::new(now));
                }
            });
        }
        for _ in 0..20 {
            let verdict = check(machine, &rig.plan, &[&*rig.disk]);
            let names = names(&verdict);
            if !names.is_empty() {
                machine.stop();
            }
            assert_eq!(names, Vec::<String>::new());
        }
        machine.stop();
    });
    assert_eq!(names(&rig.check()), Vec::<String>::new());
}

#[test]
fn small_memory_is_refused_with_what_is_needed() {
    let load = |pages| {
        let plan = plan(&ALL);
        let rig = Rig::bare(plan, PageCount::new(pages), 2, SOURCE_CONFIGURATION, None);
        ipl(&rig.machine, &rig.plan)
    };
    // Ten fixed pages, two prefix areas, 40 pages of hot set, 5 of slots, one to sweep.
    let needed = 10 + 4 + 40 + 5 + 1;
    assert_eq!(load(needed - 1), Err(IplError::MemoryTooSmall { needed: PageCount::new(needed) }));
    assert_eq!(load(needed), Ok(()));
}

#[test]
fn contradictory_plan_is_refused() {
    let load = |plan: GuestPlan| {
        let rig = Rig::bare(plan, PAGES, 1, SOURCE_CONFIGURATION, None);
        ipl(&rig.machine, &rig.plan)
    };
    assert_eq!(load(plan(&[Kind::Idle, SWEEP, Kind::Idle])), Err(IplError::KindTwice));
    assert_eq!(load(plan(&[MEMORY_ONLY, Kind::Idle])), Err(IplError::NotAlone));
    let no_disk = GuestPlan { journal: Vec::new(), ..plan(&[JOURNAL]) };
    assert_eq!(load(no_disk), Err(IplError::NoJournalDisk));
    let mut long_name = plan(&[]);
    long_name.lines[0].name = "L".repeat(33);
    assert_eq!(load(long_name), Err(IplError::LinesTooLong));
}

#[test]
fn memory_only_guest_goes_on_elsewhere_and_its_monitor_answers_for_it() {
    let mut rig = Rig::with(plan(&[MEMORY_ONLY]), 1);
    rig.run(100_000);
    rig.machine.tell(GuestEvent::MoveComing);
    assert_eq!(rig.machine.take_answer(), Some(GuestAnswer::Ready));
    rig.stop();
    let before = rig.check();
    assert!(before.is_clean() && before.counts.swept >= 490, "{:?}", names(&before));
    assert_eq!(rig.image(0).service_signal, None);
    let mut moved = rig.moved();
    moved.machine.tell(GuestEvent::Moved);
    assert_eq!(moved.machine.take_answer(), Some(GuestAnswer::Resumed));
    moved.run(100_000);
    let after = moved.check();
    assert!(after.is_clean(), "{:?}", names(&after));
    assert!(after.counts.swept >= before.counts.swept + 490, "{:?}", after.counts);
}

/// What the memory-only guest of the package alone has after the same work.
#[test]
fn memory_only_guest_is_loaded_as_the_package_loads_it() {
    let rig = Rig::with(GuestPlan { fill: Fill::Zero, ..plan(&[MEMORY_ONLY]) }, 1);
    let storage = &Storage::new(PAGES);
    let area = guest::load(&mut &*storage, PAGES.get(), (5_000, 1_000_000)).unwrap().unwrap();
    assert_eq!(area, layout::swept(PAGES.get(), 1).unwrap());
    assert_eq!(rig.image(0), guest::initial_image(rig.plan.seed, 0, &guest::FACILITIES));
    for page in (0..PAGES.get()).map(PageNumber::new) {
        // What the guest's own operating system would look for is not looked at by anybody.
        let is_for_system = [2, 5, 10, 11].contains(&page.get());
        let same = rig.machine.storage.has_same_page(storage, page);
        assert!(same || is_for_system, "page {page}");
    }
    let block = PageRun { group: GroupNumber::new(0), mask: 1 << 2 };
    let (mut here, mut there) = ([0; 4096], [0; 4096]);
    rig.machine.storage.copy_out(block, &mut here).unwrap();
    storage.copy_out(block, &mut there).unwrap();
    let sweep = 3 * 512..4 * 512;
    assert_eq!(here[sweep.clone()], there[sweep.clone()]);
    // The first word says in big-endian bytes that the workload is there.
    assert_eq!(here[sweep][..8], [0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn rate_of_zero_does_nothing() {
    let kinds = [Kind::Sweep { rate: Rate::PerSecond(0) }];
    assert_eq!(counts_of(&kinds, 1).swept, 0);
}
