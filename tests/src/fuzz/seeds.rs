//! Inputs from which a fuzzer of the machines begins well: a shortest course through each change
//! of phase, which blind search seldom finds.
//!
//! Source of truth: [`crate::machines`]. Invariant: the search is in breadth and always in the
//! same order, so that the same machines give the same inputs.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher as _},
};

use monitor_core::{migrate::Coordination, units::Tick, vm::Activity};

use super::machine::code_of;
use crate::machines::{Case, End, NOW, SourceEnd, Stimulus, TargetEnd};

/// States of one phase behind which a search does not go, so that it comes to the last phases soon.
const PHASE_STATES_MAX: u32 = 3_000;

/// Inputs of the target `source`, named after the change of phase with which they end.
#[must_use]
pub fn source_seeds() -> BTreeMap<String, Vec<u8>> {
    let running = SourceEnd::new(Activity::Running, Coordination::IfPossible);
    seeds(&[1, 0], running, SourceEnd::is_within_bounds)
}

/// Inputs of the target `target`, named after the change of phase with which they end.
#[must_use]
pub fn target_seeds() -> BTreeMap<String, Vec<u8>> {
    seeds(&[0], TargetEnd::new(), TargetEnd::is_within_bounds)
}

/// `head` is what stands before the courses of `start` in an input. A course has one deadline at
/// most, and the clock stands before and behind it.
fn seeds<E: End>(head: &[u8], start: E, is_followed: fn(&E) -> bool) -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::from([(format!("{:?}", start.phase()), head.to_vec())]);
    let mut known = HashSet::new();
    let mut state_counts: BTreeMap<E::Phase, u32> = BTreeMap::new();
    let mut frontier = VecDeque::from([(start, NOW, head.to_vec())]);
    while let Some((before, clock, course)) = frontier.pop_front() {
        for case in before.cases() {
            let (case, now) = at(case, clock);
            let mut after = before.clone();
            let is_late = clock > NOW && now > clock;
            if is_late || !before.can_happen(&case) || after.apply(&case).is_err() {
                continue;
            }
            after.consume(&case);
            while after.poll(now).is_some() {}
            let state_count = state_counts.entry(after.phase()).or_default();
            if *state_count < PHASE_STATES_MAX && known.insert(hash(&(after.key(), now))) {
                *state_count += 1;
                let course = [course.as_slice(), &[4], &code_of(case.name).to_be_bytes()].concat();
                let change = format!("{:?}-{:?}", before.phase(), after.phase());
                seeds.entry(change).or_insert_with(|| course.clone());
                if is_followed(&after) {
                    frontier.push_back((after, now, course));
                }
            }
        }
    }
    seeds
}

/// The case at this moment, or at its own if that is later; and the moment.
pub(super) fn at(case: Case, clock: Tick) -> (Case, Tick) {
    let (stimulus, now) = match case.stimulus {
        Stimulus::Input(own, input) => {
            let now = own.max(clock);
            (Stimulus::Input(now, input), now)
        }
        Stimulus::Cancel(own) => {
            let now = own.max(clock);
            (Stimulus::Cancel(now), now)
        }
        Stimulus::Decide(own, verdict) => {
            let now = own.max(clock);
            (Stimulus::Decide(now, verdict), now)
        }
        other @ (Stimulus::Start | Stimulus::GuestStores) => (other, clock),
    };
    (Case { stimulus, ..case }, now)
}

fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
