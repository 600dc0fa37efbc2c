//! Behavior of the memory-only guest in a plain array of doublewords.

use std::{vec, vec::Vec};

use super::{
    layout::{PAGE, SWEEP_BLOCK, SWEEP_POSITION, SWEEP_ROUNDS},
    *,
};

const PAGE_COUNT: u64 = 20;

/// An address outside of storage.
#[derive(Debug, PartialEq, Eq)]
struct Outside;

/// A machine that notes which pages it has stored into.
struct Machine {
    words: Vec<u64>,
    general: [u64; 16],
    stored: Vec<u64>,
}

impl Storage for Machine {
    type Fault = Outside;

    fn load(&self, address: u64) -> Result<u64, Outside> {
        self.words.get((address / 8) as usize).copied().ok_or(Outside)
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), Outside> {
        *self.words.get_mut((address / 8) as usize).ok_or(Outside)? = value;
        self.stored.push(address / PAGE);
        Ok(())
    }
}

impl Processor for Machine {
    fn general(&self, number: usize) -> u64 {
        self.general[number]
    }

    fn set_general(&mut self, number: usize, value: u64) {
        self.general[number] = value;
    }
}

/// A machine whose storage is not zero, with the guest in it.
fn loaded(rate: (u64, u64)) -> (Machine, Area) {
    let words = vec![0xABCD_EF01_2345_6789; (PAGE_COUNT * PAGE / 8) as usize];
    let general = initial_image(1, 0, &FACILITIES).general;
    let mut machine = Machine { words, general, stored: Vec::new() };
    let area = load(&mut machine, PAGE_COUNT, rate).unwrap().unwrap();
    machine.stored.clear();
    (machine, area)
}

#[test]
fn every_page_behind_the_prefix_is_swept_in_order_and_stays_in_step() {
    let (mut machine, area) = loaded((0, 1));
    assert_eq!(area, Area { origin: 12 * PAGE, pages: 8 });
    for step in 1..=2100 {
        let work = sweep::run(&mut machine, 0, 1).unwrap();
        assert_eq!(work, Work { count: 1, next_us: 0 });
        assert_eq!(machine.general[SWEEP_POSITION], step % 8);
        assert_eq!(machine.general[SWEEP_ROUNDS], step / 8);
        assert_eq!(sweep::out_of_step(&machine, area), Ok(None), "step {step}");
    }
    let expected: Vec<u64> = (12..20).cycle().take(2100).collect();
    assert_eq!(machine.stored, expected);
    assert_eq!(machine.words[(15 * PAGE + 0x808) as usize / 8], 0xABCD_EF01_2345_6789);
}

#[test]
fn page_that_is_out_of_step_is_found_and_a_lost_register_shows() {
    let (mut machine, area) = loaded((0, 1));
    sweep::run(&mut machine, 0, 13).unwrap();
    assert_eq!(sweep::out_of_step(&machine, area), Ok(None));
    let word = (sweep::address(area.origin, 6) / 8) as usize;
    for wrong in [1 << 56, u64::MAX << 56] {
        machine.words[word] = machine.words[word].wrapping_add(wrong);
        assert_eq!(sweep::out_of_step(&machine, area), Ok(Some(6)));
        machine.words[word] = machine.words[word].wrapping_sub(wrong);
    }
    machine.general[SWEEP_POSITION] = 6;
    assert_eq!(sweep::out_of_step(&machine, area), Ok(Some(5)));
    machine.general[SWEEP_ROUNDS] = 0;
    assert_eq!(sweep::out_of_step(&machine, area), Ok(Some(0)));
}

#[test]
fn pace_gives_what_is_due_and_forgets_what_a_stop_has_missed() {
    // A page each 100 us.
    let (mut machine, _) = loaded((10_000, 1_000_000));
    let mut at = |now_us| sweep::run(&mut machine, now_us, 1000).unwrap();
    assert_eq!(at(1_000_000), Work { count: 0, next_us: 1_000_100 });
    assert_eq!(at(1_000_099).count, 0);
    assert_eq!(at(1_000_350).count, 3);
    assert_eq!(at(9_000_000), Work { count: 50, next_us: 9_000_000 });
    assert_eq!(at(9_000_000), Work { count: 0, next_us: 9_000_100 });
    // A clock that was set back begins anew.
    assert_eq!(at(5_000_000), Work { count: 0, next_us: 5_000_100 });
    assert_eq!(at(5_000_100).count, 1);
}

#[test]
fn wrong_words_are_a_fault_and_no_panic() {
    let (mut machine, _) = loaded((0, 1));
    machine.general[SWEEP_POSITION] = 1 << 40;
    assert_eq!(sweep::run(&mut machine, 0, 1), Err(Outside));
    machine.general[SWEEP_POSITION] = 0;
    for number in [pace::ANCHOR, pace::DONE, pace::UNITS, pace::PERIOD, pace::OWN, pace::OWN + 1] {
        let mut block = loaded((3, 7)).0;
        for value in [0, 1, u64::MAX, u64::MAX - 1] {
            block.store(pace::word(SWEEP_BLOCK, number), value).unwrap();
            for now_us in [0, 1, u64::MAX] {
                // An address may be a fault; a number is not.
                let run = sweep::run(&mut block, now_us, 3);
                assert!(run.is_ok_and(|work| work.count <= 3) || number == pace::OWN);
            }
        }
    }
}

#[test]
fn storage_without_room_for_a_page_is_refused() {
    let (mut machine, _) = loaded((0, 1));
    assert_eq!(load(&mut machine, 12, (0, 1)), Ok(None));
    assert_eq!(load(&mut machine, 0, (0, 1)), Ok(None));
    assert_eq!(load(&mut machine, PAGE_COUNT + 1, (0, 1)), Err(Outside));
}

#[test]
fn every_event_has_the_answer_that_lets_the_move_go_on() {
    for (event, expected) in [
        (GuestEvent::MoveComing, GuestAnswer::Ready),
        (GuestEvent::MoveAbandoned, GuestAnswer::Ready),
        (GuestEvent::Moved, GuestAnswer::Resumed),
        (GuestEvent::NetworkUp, GuestAnswer::Ready),
    ] {
        assert_eq!(answer(event), expected);
    }
}
