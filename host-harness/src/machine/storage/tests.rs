//! Behavior of guest storage: keys, marks, preserving, and access at any address.
//!
//! Source of truth: the invariants at the head of `storage`.

use super::*;
use monitor_core::{memory::Sweep, units::GroupNumber};

const PAGES: PageCount = PageCount::new(70);
const END: u64 = 70 * 4096;

fn page(number: u64) -> PageNumber {
    PageNumber::new(number)
}

fn tracked() -> Storage {
    let storage = Storage::new(PAGES);
    storage.start_tracking();
    storage
}

fn marked(map: DirtyBitmap<'_>) -> Vec<u64> {
    let mut sweep = Sweep::default();
    let runs = iter::from_fn(|| map.take_next(&mut sweep));
    runs.flat_map(|run| run.pages().collect::<Vec<_>>()).map(PageNumber::get).collect()
}

#[test]
fn load_sets_reference_and_store_sets_change() {
    let storage = Storage::new(PAGES);
    storage.set_key(page(1), 0x30);
    storage.load(4096).unwrap();
    assert_eq!(storage.key(page(1)), 0x34);
    storage.store(4096, 1).unwrap();
    assert_eq!(storage.key(page(1)), 0x36);
    assert_eq!(storage.reset_reference(page(1)), 3);
    assert_eq!(storage.key(page(1)), 0x32);
    assert_eq!(storage.reset_reference(page(1)), 1);
}

#[test]
fn key_has_no_eighth_bit() {
    let storage = Storage::new(PAGES);
    storage.set_key(page(0), 0xFF);
    assert_eq!(storage.key(page(0)), 0xFE);
}

#[test]
fn access_beyond_the_guest_is_refused_and_stores_nothing() {
    let storage = Storage::new(PAGES);
    assert_eq!(storage.load(END), Err(AddressFault));
    assert_eq!(storage.store(u64::MAX - 7, 1), Err(AddressFault));
    assert_eq!(storage.store(4, 1), Err(AddressFault));
    assert_eq!(storage.store_bytes(END - 4, &[1; 8]), Err(AddressFault));
    assert_eq!(storage.load_bytes(u64::MAX, &mut [0; 2]), Err(AddressFault));
    assert_eq!(storage.load(END - 8), Ok(0));
    let beyond = PageRun { group: GroupNumber::new(1), mask: 1 << 6 };
    assert_eq!(storage.copy_out(beyond, &mut [0; 4096]), Err(AddressFault));
    assert_eq!(storage.keys_in(beyond, &[0]), Err(AddressFault));
}

#[test]
fn bytes_are_big_endian_and_cross_pages() {
    let storage = Storage::new(PAGES);
    let source: Vec<u8> = (0..5000_u32).map(|byte| byte as u8).collect();
    storage.store_bytes(4093, &source).unwrap();
    assert_eq!(storage.load(4096), Ok(0x0304_0506_0708_090A));
    let mut target = vec![0; source.len()];
    storage.load_bytes(4093, &mut target).unwrap();
    assert_eq!(target, source);
    let keys: Vec<u8> = (0..4).map(|number| storage.key(page(number))).collect();
    assert_eq!(keys, [0x06, 0x06, 0x06, 0x00]);
}

#[test]
fn bytes_beside_a_partial_store_stay() {
    let storage = Storage::new(PAGES);
    storage.store(8, u64::MAX).unwrap();
    storage.store_bytes(10, &[0xAB, 0xCD]).unwrap();
    assert_eq!(storage.load(8), Ok(0xFFFF_ABCD_FFFF_FFFF));
}

#[test]
fn stores_mark_pages_only_while_tracking() {
    let storage = Storage::new(PAGES);
    storage.store(0, 1).unwrap();
    assert_eq!(marked(storage.pages_map()), [] as [u64; 0]);
    storage.start_tracking();
    storage.store(3 * 4096, 1).unwrap();
    storage.store_bytes(65 * 4096 - 1, &[1, 2]).unwrap();
    assert_eq!(marked(storage.pages_map()), [3, 64, 65]);
    storage.store(3 * 4096, 2).unwrap();
    assert_eq!(marked(storage.pages_map()), [3], "a page with its change bit on is marked again");
    storage.stop_tracking();
    storage.store(4 * 4096, 1).unwrap();
    assert_eq!(marked(storage.pages_map()), [] as [u64; 0]);
}

#[test]
fn key_changes_without_a_store_mark_the_map_of_keys() {
    let storage = tracked();
    storage.load(4096).unwrap();
    storage.set_key(page(2), 0x20);
    storage.store(3 * 4096, 1).unwrap();
    assert_eq!(marked(storage.keys_map()), [1, 2]);
    storage.load(4096).unwrap();
    assert_eq!(marked(storage.keys_map()), [] as [u64; 0], "reference was on already");
    storage.reset_reference(page(1));
    assert_eq!(marked(storage.keys_map()), [1]);
}

#[test]
fn monitor_access_changes_no_key_and_marks_nothing() {
    let storage = tracked();
    let run = PageRun { group: GroupNumber::new(1), mask: 0b101 };
    let source: Vec<u8> = (0..8192_u32).map(|byte| (byte % 251) as u8).collect();
    storage.copy_in(run, &source).unwrap();
    storage.keys_in(run, &[0x10, 0x21]).unwrap();
    let mut target = vec![0; 8192];
    storage.copy_out(run, &mut target).unwrap();
    assert_eq!(target, source);
    let mut keys = [0; 2];
    storage.keys_out(run, &mut keys).unwrap();
    assert_eq!(keys, [0x10, 0x20]);
    assert_eq!(storage.key(page(66)), 0x20);
    assert!(marked(storage.pages_map()).is_empty() && marked(storage.keys_map()).is_empty());
}

#[test]
fn random_fill_is_repeatable_and_no_access_of_the_guest() {
    let (storage, other) = (tracked(), Storage::new(PAGES));
    storage.fill(Fill::Random, 1);
    other.fill(Fill::Random, 1);
    assert_eq!(storage.key(page(5)), 0);
    assert!(marked(storage.pages_map()).is_empty());
    assert_eq!(storage.load(5 * 4096), other.load(5 * 4096));
    other.fill(Fill::Random, 2);
    assert_ne!(storage.load(5 * 4096), other.load(5 * 4096));
    storage.fill(Fill::Zero, 1);
    assert_eq!(storage.load(5 * 4096), Ok(0));
}

#[test]
fn page_and_key_are_preserved_as_they_were_at_the_beginning() {
    let storage = Storage::new(PAGES);
    storage.store(4096, 1).unwrap();
    storage.start_preserve();
    storage.store(4096, 2).unwrap();
    storage.store_bytes(4100, &[3]).unwrap();
    storage.set_key(page(1), 0x50);
    let mut content = [0; 4096];
    storage.page_as_preserved(page(1), &mut content);
    assert_eq!(content[..8], 1_u64.to_be_bytes());
    assert_eq!(storage.key_as_preserved(page(1)), 0x06);
    assert_eq!(storage.load(4096), Ok(0x0000_0000_0300_0002));
    storage.page_as_preserved(page(2), &mut content);
    assert_eq!(content, [0; 4096], "a page without a store is as it is");

    storage.stop_preserve();
    storage.page_as_preserved(page(1), &mut content);
    assert_eq!(content[..8], 0x0000_0000_0300_0002_u64.to_be_bytes());
    assert_eq!(storage.key_as_preserved(page(1)), 0x54);
    storage.start_preserve();
    storage.store(4096, 9).unwrap();
    storage.page_as_preserved(page(1), &mut content);
    assert_eq!(content[..8], 0x0000_0000_0300_0002_u64.to_be_bytes(), "a second time");
}

#[test]
fn bytes_across_pages_preserve_each_page() {
    let storage = Storage::new(PAGES);
    storage.fill(Fill::Random, 5);
    let mut former = [0; 3 * 4096];
    let run = PageRun { group: GroupNumber::new(0), mask: 0b111 };
    storage.copy_out(run, &mut former).unwrap();
    storage.start_preserve();
    storage.store_bytes(4000, &[0; 4300]).unwrap();
    for number in 0..3 {
        let mut content = [0; 4096];
        storage.page_as_preserved(page(number), &mut content);
        assert_eq!(content, former[number as usize * 4096..][..4096]);
    }
}
