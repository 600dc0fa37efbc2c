//! Behavior of storage keys that are collected, and of page states.
//!
//! Source of truth: the invariants at the heads of `storage`, `keys` and `states`.

use super::*;
use monitor_core::{
    memory::{PageState, StateOrder, Sweep},
    units::GroupNumber,
};

const PAGES: PageCount = PageCount::new(70);

fn page(number: u64) -> PageNumber {
    PageNumber::new(number)
}

/// Storage whose changes are collected from its keys.
fn collected() -> Storage {
    let storage = Storage::new(PAGES);
    storage.track_by(Tracking::Keys);
    storage.start_tracking();
    storage
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

/// What is marked in both maps, which are empty then.
fn taken(storage: &Storage) -> (Vec<u64>, Vec<u64>) {
    (marked(storage.pages_map()), marked(storage.keys_map()))
}

#[test]
fn store_is_found_when_keys_are_collected_and_not_before() {
    let storage = collected();
    storage.store(3 * 4096, 1).unwrap();
    assert_eq!(taken(&storage), (vec![], vec![]));
    storage.collect();
    assert_eq!(taken(&storage), (vec![3], vec![]));
    storage.collect();
    assert_eq!(taken(&storage), (vec![], vec![]));
    storage.store(3 * 4096, 2).unwrap();
    storage.collect();
    assert_eq!(taken(&storage), (vec![3], vec![]));
}

#[test]
fn collecting_leaves_the_guest_its_reference_and_change() {
    let storage = collected();
    storage.set_key(page(3), 0x30);
    storage.store(3 * 4096, 1).unwrap();
    for _ in 0..2 {
        storage.collect();
        assert_eq!(storage.key(page(3)), 0x36);
    }
    assert_eq!(storage.reset_reference(page(3)), 3);
    storage.collect();
    assert_eq!((storage.key(page(3)), storage.reset_reference(page(3))), (0x32, 1));
    storage.set_key(page(3), 0x40);
    assert_eq!(storage.key(page(3)), 0x40);
}

#[test]
fn load_changes_a_key_once_until_its_reference_is_reset() {
    let storage = collected();
    for (round, expected) in [(0, vec![5]), (1, vec![]), (2, vec![])] {
        storage.load(5 * 4096).unwrap();
        storage.collect();
        assert_eq!(taken(&storage), (vec![], expected), "round {round}");
    }
    storage.reset_reference(page(5));
    assert_eq!(taken(&storage), (vec![], vec![5]));
    storage.load(5 * 4096).unwrap();
    storage.collect();
    assert_eq!(taken(&storage), (vec![], vec![5]));
}

/// SET STORAGE KEY clears a change bit that nobody has collected: the store must not get lost.
#[test]
fn key_that_is_set_over_a_change_marks_the_page() {
    let storage = collected();
    storage.store(9 * 4096, 1).unwrap();
    storage.set_key(page(9), 0x50);
    assert_eq!(storage.key(page(9)), 0x50);
    storage.collect();
    assert_eq!(taken(&storage), (vec![9], vec![9]));
}

#[test]
fn key_that_is_set_to_what_it_is_has_not_changed() {
    for storage in [tracked(), collected()] {
        storage.set_key(page(1), 0x20);
        assert_eq!(marked(storage.keys_map()), [1]);
        storage.set_key(page(1), 0x20);
        storage.reset_reference(page(1));
        assert_eq!(marked(storage.keys_map()), [] as [u64; 0]);
    }
}

#[test]
fn change_of_a_state_is_marked_like_that_of_a_key_and_a_stable_page_like_a_store() {
    for storage in [tracked(), collected()] {
        assert_eq!(storage.set_state(page(2), StateOrder::SetUnused), PageState::Stable);
        assert_eq!(taken(&storage), (vec![], vec![2]));
        assert_eq!(storage.set_state(page(2), StateOrder::Get), PageState::Unused);
        assert_eq!(storage.set_state(page(2), StateOrder::SetUnused), PageState::Unused);
        assert_eq!(taken(&storage), (vec![], vec![]));
        assert_eq!(storage.set_state(page(2), StateOrder::SetStable), PageState::Unused);
        assert_eq!(taken(&storage), (vec![2], vec![]));
        storage.set_state(page(2), StateOrder::SetVolatile);
        assert_eq!(storage.set_state(page(2), StateOrder::SetStable), PageState::Volatile);
        assert_eq!(taken(&storage), (vec![], vec![2]));
    }
}

#[test]
fn host_drops_volatile_content_and_the_access_is_an_exception_until_the_page_is_stable() {
    let storage = tracked();
    storage.store(4 * 4096 + 8, 7).unwrap();
    assert!(!storage.discard(page(4)));
    storage.set_state(page(4), StateOrder::SetPotentiallyVolatile);
    assert!(!storage.discard(page(4)), "a changed page stays");
    storage.set_key(page(4), 0);
    taken(&storage);
    assert!(!storage.is_discarded(4 * 4096));
    assert!(storage.discard(page(4)));
    assert_eq!(taken(&storage), (vec![], vec![4]));
    assert_eq!(storage.state(page(4)), PageState::Discarded);
    assert!(storage.is_discarded(4 * 4096 + 4095) && !storage.is_discarded(5 * 4096));
    assert_eq!(storage.set_state(page(4), StateOrder::SetStable), PageState::Discarded);
    assert_eq!(storage.load(4 * 4096 + 8), Ok(0));
    assert_eq!(taken(&storage), (vec![4], vec![4]));
    assert!(!storage.is_discarded(4 * 4096));
}

#[test]
fn states_that_come_in_drop_what_the_pages_have_held() {
    let storage = Storage::new(PAGES);
    let run = PageRun { group: GroupNumber::new(0), mask: 0b1111 };
    for number in 0..4 {
        storage.store(number * 4096, 5).unwrap();
    }
    storage.states_in(run, &[0, 1, 3, 4]).unwrap();
    let words: Vec<_> = (0..4).map(|number| storage.load(number * 4096).unwrap()).collect();
    assert_eq!(words, [5, 0, 5, 0]);
    let mut states = [9; 4];
    storage.states_out(run, &mut states).unwrap();
    assert_eq!(states, [0, 1, 3, 4]);
    assert_eq!(storage.states_in(run, &[0, 0, 0, 5]), Err(AddressFault));
    assert_eq!(storage.states_in(run, &[0; 3]), Err(AddressFault));
    let beyond = PageRun { group: GroupNumber::new(1), mask: 1 << 6 };
    assert_eq!(storage.states_out(beyond, &mut states), Err(AddressFault));
}

#[test]
fn preserved_states_are_those_of_the_beginning() {
    let storage = Storage::new(PAGES);
    storage.set_state(page(1), StateOrder::SetVolatile);
    storage.store(4096, 3).unwrap();
    storage.start_preserve();
    storage.discard(page(1));
    storage.set_state(page(2), StateOrder::SetUnused);
    let mut content = [0; PAGE_BYTES];
    storage.page_as_preserved(page(1), &mut content);
    assert_eq!(content[7], 3);
    assert_eq!(storage.state_as_preserved(page(1)), PageState::Volatile);
    assert_eq!(storage.state_as_preserved(page(2)), PageState::Stable);
    storage.stop_preserve();
    assert_eq!(storage.state_as_preserved(page(2)), PageState::Unused);
}
