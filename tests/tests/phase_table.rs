//! Every input in every state of both migration machines: what they make of it, as a table, and
//! what they never do.
//!
//! Source of truth: ARCHITECTURE.md, "Machines" and "The handover"; `golden/phase-table.txt` is
//! the table as it was agreed on. `OVERWRITE=1` writes it anew. The rules that no state may break
//! stand in [`integration_tests::machines`]; the search applies them to every state it visits.

use std::{env, fs, path::Path};

use integration_tests::{
    explore::{Found, Polling, explore},
    machines::{SourceEnd, TargetEnd},
};
use monitor_core::{
    migrate::{Coordination, SourcePhase, TargetPhase},
    vm::Activity,
};

fn explore_source(polling: Polling) -> Found<SourcePhase> {
    let starts = vec![
        SourceEnd::new(Activity::Running, Coordination::Required),
        SourceEnd::new(Activity::Running, Coordination::IfPossible),
        SourceEnd::new(Activity::Down, Coordination::Required),
    ];
    explore(starts, polling, |_| true)
}

fn explore_target(polling: Polling) -> Found<TargetPhase> {
    explore(vec![TargetEnd::new()], polling, TargetEnd::is_within_bounds)
}

#[test]
fn source_keeps_every_rule_and_reaches_every_phase() {
    let found = explore_source(Polling::AfterEachInput);
    eprintln!("{} states", found.state_count);
    assert_eq!(found.phases(), SourcePhase::ALL);
}

#[test]
fn target_keeps_every_rule_and_reaches_every_phase() {
    let found = explore_target(Polling::AfterEachInput);
    eprintln!("{} states", found.state_count);
    assert_eq!(found.phases(), TargetPhase::ALL);
}
