//! What becomes of a world in which nothing goes wrong any more.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". From a state, everything that is under way is
//! brought to its end, the most urgent first; deadlines pass when nothing else is left; and when
//! nothing happens any more an operator decides what is in doubt, truthfully. The world must come
//! to rest within a bound, with the guest running exactly once, unless the record's owner is lost
//! and nobody else has a whole copy. Invariant: a state that is known to heal is not tried again,
//! so that the course from each state of a search is a step or two long.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use super::{
    action::{Event, course, is_at_rest, is_in_doubt},
    bounds::Bounds,
    ends::su_of,
    state::{State, Su},
    step::after,
};

/// More steps than any world takes to come to rest.
const STEPS_LIMIT: usize = 400;

/// Deadlines that pass before an operator looks at a doubt.
const LATENESS_LIMIT: usize = 24;

/// How many parts the set has, so that threads seldom wait for each other.
const PARTS: usize = 64;

/// The states that are known to heal.
#[derive(Debug)]
pub(super) struct Healed {
    parts: [Mutex<HashSet<u64>>; PARTS],
}

impl Default for Healed {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Healed {
    /// Whether the world comes to rest from here as it must.
    pub(super) fn comes_to_rest(&self, state: &State, bounds: &Bounds) -> bool {
        let mut course = Vec::new();
        let heals = self.follow(state.clone(), bounds, &mut course);
        if heals {
            for key in course {
                self.part(key).insert(key);
            }
        }
        heals
    }

    fn follow(&self, mut state: State, bounds: &Bounds, keys: &mut Vec<u64>) -> bool {
        let mut lateness = 0;
        for _ in 0..STEPS_LIMIT {
            let key = key(&state);
            if self.part(key).contains(&key) {
                return true;
            }
            keys.push(key);
            let Some(next) = next(&state, bounds, &mut lateness) else {
                return is_well(&state);
            };
            state = next;
        }
        false
    }

    fn part(&self, key: u64) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        let part = usize::try_from(key).unwrap_or(0) % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next state, unless the world is at rest. Deadlines pass in turn.
fn next(state: &State, bounds: &Bounds, lateness: &mut usize) -> Option<State> {
    let mut events = Vec::new();
    course(state, &mut events);
    let try_event = |event: Event| after(state, bounds, event.into());
    match events.first() {
        None | Some(Event::Deadline(_)) => {}
        Some(event) => return try_event(*event),
    }
    // A doubt asks again for ever; after some time an operator looks at it.
    let in_doubt = || state.numbered().filter(|(_, su)| is_in_doubt(su));
    let decided = || in_doubt().find_map(|(number, _)| try_event(Event::Decide(number)));
    if *lateness >= LATENESS_LIMIT
        && let Some(decided) = decided()
    {
        return Some(decided);
    }
    for turn in 0..events.len() {
        let late = try_event(events[(*lateness + turn) % events.len()]);
        if late.as_ref().is_some_and(|late| late != state) {
            *lateness += turn + 1;
            return late;
        }
    }
    decided()
}

/// Whether the guest runs once, or is lost with its SU, and nobody waits for anything.
fn is_well(state: &State) -> bool {
    let runners = state.sus.iter().filter(|su| su.copy.runs.is_some()).count();
    let is_lost = runners == 0 && state.su(su_of(state.record.owner)).is_lost;
    let has_devices =
        |(number, su): (u8, &Su)| su.copy.runs.is_none() || state.has_staying_in_place(number);
    (runners == 1 || is_lost)
        && state.sus.iter().all(is_at_rest)
        && state.numbered().all(has_devices)
}

fn key(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
