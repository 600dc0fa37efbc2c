//! Everything that can happen to one VM, two SUs, the record and the link between them, up to a
//! bound: no rule of the handover is broken, and a world that heals comes to rest.
//!
//! Source of truth: ARCHITECTURE.md, "The handover"; the properties and bounds are those of
//! [`integration_tests::model`]. Larger searches: the example `model` of this crate.

use integration_tests::model::{Bounds, Fault, search};

/// Searches within the bounds; every rule is kept, and everything that is possible was seen.
fn assert_kept(bounds: Bounds) {
    let report = search(bounds, 2, None);
    println!("{report}");
    assert!(report.broken.is_empty(), "a rule is broken, see above");
    assert_eq!(report.missed, [""; 0]);
}

#[test]
fn one_attempt_keeps_every_rule_whatever_goes_wrong_twice() {
    assert_kept(Bounds::short());
}

#[test]
fn a_second_attempt_and_a_move_back_keep_every_rule_whatever_goes_wrong_once() {
    let each = Fault::ALL.map(|fault| (fault, 1));
    assert_kept(Bounds { attempts: 2, ..Bounds::QUIET }.with(1, &each));
}
