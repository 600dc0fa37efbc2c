//! Guests that use storage keys and page states: what they leave is found again, and what was not
//! carried is missed.
//!
//! Source of truth: the heads of `keys` and `states`. Invariant: the guest is clean before
//! something is taken from it. Deliberately not here: the migration of keys and states, which is
//! tested with whole moves.

use super::*;
use monitor_core::memory::PageState;

const KEYS: Kind = Kind::Keys { pages: PageCount::new(40), rate: Rate::PerSecond(20_000) };
const STATES: Kind = Kind::PageStates { pages: PageCount::new(40), rate: Rate::PerSecond(20_000) };

/// A guest of both kinds that has run for a while and is stopped.
fn stopped() -> (Rig, Layout) {
    let mut rig = Rig::new(&[KEYS, STATES]);
    rig.run(200_000);
    rig.stop();
    let verdict = rig.check();
    assert!(verdict.is_clean(), "{verdict:?}");
    let counts = verdict.counts;
    assert!(counts.key_visits > 3000 && counts.state_visits > 3000, "{counts:?}");
    let layout = Layout::new(&rig.plan, PAGES, rig.machine.processor_count()).unwrap();
    (rig, layout)
}

/// The faults that a guest finds by itself when it goes on.
fn reported_later(rig: &mut Rig) -> Vec<Fault> {
    rig.attach(Epoch::new(1));
    rig.machine.resume(Tick::new(rig.now));
    rig.run(20_000);
    let faults = rig.check().faults;
    faults.into_iter().filter(|fault| matches!(fault, Fault::Reported { .. })).collect()
}

#[test]
fn guest_that_runs_is_judged_clean_at_any_time() {
    let mut rig = Rig::new(&[KEYS, STATES]);
    for _ in 0..200 {
        rig.run(137);
        assert_eq!(rig.check().faults, []);
    }
}

#[test]
fn each_bit_of_each_key_is_missed_by_the_judge_and_by_the_guest() {
    for bit in 1..8 {
        let (mut rig, layout) = stopped();
        let page = PageNumber::new(layout.keys.origin / 4096 + 11);
        rig.machine.storage.set_key(page, rig.machine.storage.key(page) ^ 1 << bit);
        assert_eq!(rig.check().faults, [Fault::Key(page)], "bit {bit}");
        let name = "keys that were not as they were left";
        assert_eq!(reported_later(&mut rig), [Fault::Reported { name, count: 1 }], "bit {bit}");
    }
}

#[test]
fn state_of_a_page_is_missed_by_the_judge_and_by_the_guest() {
    let (mut rig, layout) = stopped();
    let pages = (0..layout.states.pages).map(|page| layout.states.origin / 4096 + page);
    let is_unused = |page: &PageNumber| rig.machine.storage.state(*page) == PageState::Unused;
    let unused: Vec<_> = pages.map(PageNumber::new).filter(is_unused).collect();
    let page = *unused.first().expect("some page is unused at any time");
    let run = PageRun { group: page.group(), mask: 1 << (page.get() % 64) };
    rig.machine.storage.states_in(run, &[PageState::Stable.code()]).unwrap();
    assert_eq!(rig.check().faults, [Fault::State(page)]);
    let name = "pages that were not as they were left";
    assert_eq!(reported_later(&mut rig), [Fault::Reported { name, count: 1 }]);
}

#[test]
fn content_that_is_needed_is_missed_and_other_is_not() {
    let (rig, layout) = stopped();
    let mut found = [0, 0];
    for page in 0..layout.states.pages {
        let number = PageNumber::new(layout.states.origin / 4096 + page);
        let run = PageRun { group: number.group(), mask: 1 << (number.get() % 64) };
        let visits = rig.check().counts.state_visits;
        let visit = states::visit_of(page, layout.states.pages, visits);
        let mut bytes = vec![0; 4096];
        rig.machine.storage.copy_out(run, &mut bytes).unwrap();
        bytes[4095] ^= 1;
        rig.machine.storage.copy_in(run, &bytes).unwrap();
        let is_needed = states::content(page, visit).is_some();
        let expected: &[Fault] = if is_needed { &[Fault::State(number)] } else { &[] };
        assert_eq!(rig.check().faults, expected);
        bytes[4095] ^= 1;
        rig.machine.storage.copy_in(run, &bytes).unwrap();
        found[usize::from(is_needed)] += 1;
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

#[test]
fn page_that_the_host_may_drop_can_be_dropped_and_no_other() {
    let (mut rig, layout) = stopped();
    let mut dropped = 0;
    for page in 0..layout.states.pages {
        let number = PageNumber::new(layout.states.origin / 4096 + page);
        dropped += u64::from(rig.machine.storage.discard(number));
    }
    assert!((1..layout.states.pages).contains(&dropped), "{dropped}");
    assert_eq!(rig.check().faults, []);
    assert_eq!(reported_later(&mut rig), []);
}
