//! Guest storage under several threads at a time.
//!
//! Source of truth: the invariants at the head of `host_harness::machine::Storage`'s module.
//! Deliberately not here: behavior that one thread shows, which is tested beside the code.

use host_harness::machine::{Fill, Storage, Tracking};
use monitor_core::{
    memory::{PageRun, Sweep},
    units::{GroupNumber, PageCount, PageNumber},
};

const PAGES: PageCount = PageCount::new(64);
const ALL: PageRun = PageRun { group: GroupNumber::new(0), mask: !0 };

#[test]
fn no_store_of_another_thread_slips_into_a_preserved_page() {
    let storage = Storage::new(PAGES);
    storage.fill(Fill::Random, 3);
    let mut former = vec![0; 64 * 4096];
    for round in 0..16 {
        storage.copy_out(ALL, &mut former).unwrap();
        storage.start_preserve();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let storage = &storage;
                scope.spawn(move || {
                    for word in 0..64 * 512 {
                        storage.store((word ^ thread) * 8, round << 32 | thread).unwrap();
                    }
                });
            }
        });
        for number in 0..64 {
            let mut content = [0; 4096];
            storage.page_as_preserved(PageNumber::new(number), &mut content);
            assert!(content == former[number as usize * 4096..][..4096], "page {number}");
        }
        storage.stop_preserve();
    }
}

#[test]
fn stores_of_two_threads_into_one_doubleword_both_stay() {
    let storage = Storage::new(PAGES);
    std::thread::scope(|scope| {
        for half in 0..2 {
            let storage = &storage;
            scope.spawn(move || {
                for value in 1..=10_000_u32 {
                    storage.store_bytes(half * 4, &value.to_be_bytes()).unwrap();
                }
            });
        }
    });
    assert_eq!(storage.load(0), Ok(10_000 << 32 | 10_000));
}

#[test]
fn a_copier_that_follows_the_marks_ends_with_the_same_storage() {
    assert_copied(Tracking::Marks);
}

/// Now and then a writer sets the key of the page that it has stored into, over its change bit.
#[test]
fn a_copier_that_collects_the_keys_ends_with_the_same_storage() {
    assert_copied(Tracking::Keys);
}

fn assert_copied(tracking: Tracking) {
    let storage = Storage::new(PAGES);
    let mut copy = vec![0; 64 * 4096];
    storage.track_by(tracking);
    storage.start_tracking();
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|thread| {
            let storage = &storage;
            scope.spawn(move || {
                for round in 1..=1_000_000_u64 {
                    let word = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 49;
                    storage.store((word & !1 | thread) * 8, round).unwrap();
                    if round % 64 == thread {
                        storage.set_key(PageNumber::new(word / 512), 0x30);
                    }
                }
            })
        });
        let mut copy_marked = || {
            storage.collect();
            let mut sweep = Sweep::default();
            while let Some(run) = storage.pages_map().take_next(&mut sweep) {
                for page in run.pages() {
                    let one = PageRun { group: run.group, mask: 1 << (page.get() % 64) };
                    let target = &mut copy[page.get() as usize * 4096..][..4096];
                    storage.copy_out(one, target).unwrap();
                }
            }
        };
        while writers.iter().any(|writer| !writer.is_finished()) {
            copy_marked();
        }
        copy_marked();
    });
    let mut truth = vec![0; copy.len()];
    storage.copy_out(ALL, &mut truth).unwrap();
    assert!(copy == truth, "a store was lost");
}
