//! Everything that can happen to one VM, two SUs, the record and the link between them, up to a
//! bound: no rule of the handover is broken, and a world that heals comes to rest.
//!
//! Source of truth: ARCHITECTURE.md, "The handover"; the properties and bounds are those of
//! [`model_check`]. Larger searches: the example `model` of this package.

use monitor_core::device::DeviceKind;

use model_check::{Bounds, Fault, search};

/// Searches within the bounds; every rule is kept, and everything that is possible was seen.
fn assert_kept(bounds: Bounds) {
    let report = search(bounds, 1, None);
    println!("{report}");
    assert!(report.broken.is_empty(), "a rule is broken, see above");
    assert_eq!(report.missed, [""; 0]);
}

#[test]
fn one_attempt_keeps_every_rule_whatever_goes_wrong() {
    assert_kept(Bounds::any(1));
}

#[test]
fn a_second_attempt_and_a_move_back_keep_every_rule_with_two_restarts() {
    assert_kept(Bounds { attempts: 2, ..Bounds::QUIET }.with(2, &[(Fault::Restart, 2)]));
}

#[test]
fn two_restarts_of_monitors_keep_every_rule() {
    assert_kept(Bounds::QUIET.with(2, &[(Fault::Restart, 2)]));
}

#[test]
fn devices_that_do_not_go_with_the_guest_are_given_back_or_left_detached_whatever_goes_wrong() {
    for kind in [DeviceKind::Tape, DeviceKind::PavAlias] {
        assert_kept(Bounds { staying: Some(kind), ..Bounds::any(1) });
    }
}

#[test]
fn a_lost_su_and_an_answer_of_the_record_that_is_lost_keep_every_rule() {
    assert_kept(Bounds::QUIET.with(2, &[(Fault::SuLoss, 1), (Fault::Directory, 1)]));
}
