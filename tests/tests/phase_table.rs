//! Every input in every state of both migration machines: what they make of it, as a table, and
//! what they never do.
//!
//! Source of truth: ARCHITECTURE.md, "Machines" and "The handover"; `golden/phase-table.txt` is
//! the table as it was agreed on, `golden/phase-counts.txt` says how much is found near the
//! beginnings. `OVERWRITE=1` writes them anew. The rules that no state may break stand in
//! [`integration_tests::machines`]; the search applies them to every state it visits.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
};

use integration_tests::{
    explore::{Found, Polling, explore, explore_near},
    machines::{FIRST_LOAD, SourceEnd, TargetEnd},
};
use monitor_core::{
    device::DeviceKind,
    migrate::{Coordination, SourcePhase, Stage, TargetPhase},
    vm::{Activity, Reason},
};

/// How many states of each phase are followed where the whole search takes too long.
const NEAR_STATES: usize = 2_000;

/// The head of the golden file.
const HEAD: &str = "\
What both migration machines make of every input in every state that they can reach.

A section is a phase, with who may run the guest in it. In it stand the inputs that all have the
same outcomes, and below them the outcomes over all states of the phase: the next phase, who may
run the guest then, and the kinds of effects; or the refusal. `Ignored` is taken and changes
nothing. `though owed` marks answers that come when the machine has gone on without them.
";

fn source_starts() -> Vec<SourceEnd> {
    vec![
        SourceEnd::new(Activity::Running, Coordination::Required),
        SourceEnd::new(Activity::Running, Coordination::IfPossible),
        SourceEnd::new(Activity::Down, Coordination::Required),
        SourceEnd::new(Activity::Running, Coordination::Required).without_journal(),
        SourceEnd::new(Activity::Running, Coordination::IfPossible).with_device(DeviceKind::Tape),
        SourceEnd::new(Activity::Running, Coordination::IfPossible).losing_processors(),
        SourceEnd::new(Activity::InHold, Coordination::IfPossible).losing_processors(),
    ]
}

fn target_starts() -> Vec<TargetEnd> {
    let alias = TargetEnd::new().with_device(DeviceKind::PavAlias);
    vec![TargetEnd::new(), TargetEnd::new().without_journal(), alias]
}

/// The ends after a restart of their monitors.
fn restored() -> (Vec<SourceEnd>, Vec<TargetEnd>) {
    let load = FIRST_LOAD;
    let reason = Reason::LinkLost;
    let kept = [Stage::Open, Stage::Offered(load), Stage::Undoing(reason), Stage::Moved];
    let source = |stage| {
        let of = |activity| SourceEnd::new(activity, Coordination::IfPossible);
        let tape = of(Activity::Running).with_device(DeviceKind::Tape);
        [of(Activity::Running), of(Activity::Down), tape].map(|end| end.restored(stage))
    };
    let taken =
        [Stage::Building, Stage::Claiming(load), Stage::Running(load), Stage::Completed(load)];
    let target = |stage| {
        let alias = TargetEnd::new().with_device(DeviceKind::PavAlias);
        [TargetEnd::new(), alias].map(|end| end.restored(stage))
    };
    (kept.into_iter().flat_map(source).collect(), taken.into_iter().flat_map(target).collect())
}

/// A link that is slow has many more courses: the one source that is followed to the end has all
/// that can be owed, and what it would be without is searched with a link that is not slow.
fn slow_source_starts() -> Vec<SourceEnd> {
    vec![
        SourceEnd::new(Activity::Running, Coordination::IfPossible).with_device(DeviceKind::Tape),
        SourceEnd::new(Activity::Running, Coordination::Required),
        SourceEnd::new(Activity::Running, Coordination::IfPossible).losing_processors(),
        SourceEnd::new(Activity::InHold, Coordination::IfPossible).losing_processors(),
    ]
}

fn explore_source(polling: Polling) -> Found<SourcePhase> {
    let starts = match polling {
        Polling::AfterEachInput => source_starts(),
        Polling::AtAnyTime => slow_source_starts(),
    };
    explore(starts, polling, SourceEnd::is_within_bounds)
}

fn explore_target(polling: Polling) -> Found<TargetPhase> {
    explore(target_starts(), polling, TargetEnd::is_within_bounds)
}

/// The table, and how much a search of the nearest states finds.
const TABLE: &str = "phase-table.txt";
const COUNTS: &str = "phase-counts.txt";
const RESTORED_COUNTS: &str = "phase-counts-restored.txt";

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file)
}

/// Holds the text against the golden file, or writes it there.
fn assert_golden(file: &str, text: &str) {
    let path = golden(file);
    if env::var_os("OVERWRITE").is_some() {
        fs::write(&path, text).expect("the golden file can be written");
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let differs = golden.lines().zip(text.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or_else(|| golden.lines().count().min(text.lines().count()));
    assert!(
        golden == text,
        "golden/{file} differs from line {} on:\n- {}\n+ {}\nOVERWRITE=1 writes it anew",
        line + 1,
        golden.lines().nth(line).unwrap_or(""),
        text.lines().nth(line).unwrap_or(""),
    );
}

/// Lines between which ARCHITECTURE.md has the table in short.
const TABLE_BEGIN: &str = "<!-- phases and inputs: written by the test phase_table -->\n";
const TABLE_END: &str = "<!-- end of the table -->\n";

/// Holds the table in short against ARCHITECTURE.md, or writes it there.
fn assert_summary(text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let page = fs::read_to_string(&path).expect("ARCHITECTURE.md is readable");
    let (before, rest) = page.split_once(TABLE_BEGIN).expect("the table has a begin");
    let (present, after) = rest.split_once(TABLE_END).expect("the table has an end");
    let text = format!("\n{text}\n");
    if env::var_os("OVERWRITE").is_some() {
        let page = format!("{before}{TABLE_BEGIN}{text}{TABLE_END}{after}");
        fs::write(&path, page).expect("ARCHITECTURE.md can be written");
        return;
    }
    assert!(present == text, "ARCHITECTURE.md: OVERWRITE=1 writes the table of phases anew");
}

/// Notices most faults within a second or two: what is new by the table, what is missing by how
/// much there is.
#[test]
fn the_nearest_states_take_every_input_as_agreed() {
    let polling = Polling::AfterEachInput;
    let source = explore_near(source_starts(), polling, SourceEnd::is_within_bounds, NEAR_STATES);
    let target = explore_near(target_starts(), polling, TargetEnd::is_within_bounds, NEAR_STATES);
    assert_eq!(source.phases(), SourcePhase::ALL);
    assert_eq!(target.phases(), TargetPhase::ALL);
    let agreed = fs::read_to_string(golden(TABLE)).expect("the golden file is readable");
    assert_eq!(source.first_not_in("source", &agreed), None);
    assert_eq!(target.first_not_in("target", &agreed), None);
    assert_golden(COUNTS, &format!("{}{}", source.counts("source"), target.counts("target")));
}

#[test]
fn restored_machines_keep_every_rule_and_have_as_many_courses_as_agreed() {
    let (source, target) = restored();
    let polling = Polling::AfterEachInput;
    let source = explore_near(source, polling, SourceEnd::is_within_bounds, NEAR_STATES);
    let target = explore_near(target, polling, TargetEnd::is_within_bounds, NEAR_STATES);
    let counts = format!("{}{}", source.counts("source"), target.counts("target"));
    assert_golden(RESTORED_COUNTS, &counts);
}

#[test]
fn every_phase_takes_every_input_as_agreed() {
    let source = thread::spawn(|| explore_source(Polling::AfterEachInput));
    let target = explore_target(Polling::AfterEachInput);
    let source = source.join().expect("the source keeps every rule");
    assert_eq!(source.phases(), SourcePhase::ALL);
    assert_eq!(target.phases(), TargetPhase::ALL);
    assert_summary(&format!("{}\n{}", source.summary("source"), target.summary("target")));
    assert_golden(TABLE, &format!("{HEAD}{}{}", source.table("source"), target.table("target")));
}

// The link may be slow: inputs come while effects are still to be polled.

#[test]
fn target_keeps_every_rule_and_reaches_every_phase() {
    let found = explore_target(Polling::AtAnyTime);
    assert_eq!(found.phases(), TargetPhase::ALL);
}

#[test]
fn source_keeps_every_rule_and_reaches_every_phase() {
    let found = explore_source(Polling::AtAnyTime);
    assert_eq!(found.phases(), SourcePhase::ALL);
}
