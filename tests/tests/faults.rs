//! Every fault at every moment of a live move, held against the table of README.md.
//!
//! Source of truth: README.md, "Faults". Invariants: the table has every fault and every moment;
//! whatever happens, the guest never runs on two SUs, and it runs where the table says, or is held
//! or lost as the table says. Deliberately not here: faults at random moments, which are the
//! simulator's.

use std::{
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use host_harness::{
    cli::Status,
    config::{
        Choice, Config, Decision, Fault, FaultPoint, LinkKind, Moment, Request, VmSelector,
        WorkloadName,
    },
    console::{ConsoleLine, ConsoleName, Guest, Observer, Outcome, Progress, Report, Stamp},
    live,
};
use integration_tests::worlds;
use monitor_core::units::{Micros, PageCount, SuName};

/// Moves at a time: most of them wait most of the time.
const AT_ONCE: usize = 24;

#[derive(Default)]
struct Listener {
    lines: Vec<ConsoleLine>,
    faults: Vec<String>,
}

impl Listener {
    fn says(&self, console: ConsoleName, text: &str) -> bool {
        self.lines.iter().any(|line| line.console == console && line.text.contains(text))
    }
}

impl Observer for Listener {
    fn line(&mut self, line: &ConsoleLine) {
        self.lines.push(line.clone());
    }

    fn progress(&mut self, _progress: &Progress) {}

    fn fault(&mut self, _stamp: Stamp, text: &str) {
        self.faults.push(text.to_owned());
    }
}

const fn point(fault: Fault, moment: Moment) -> FaultPoint {
    FaultPoint { fault, moment }
}

/// A live move of a VM of 32 MiB with these faults. A peer is silent for longer than a slow
/// directory is away. The guest does little and may stand still for long, so that nothing but the
/// fault ends the move, whatever else this machine does at the time.
fn moved(faults: &[FaultPoint], change: impl FnOnce(&mut Config)) -> (Report, Listener) {
    let mut config = worlds::running(&[WorkloadName::Idle, WorkloadName::Journal]);
    config.vm.memory = PageCount::new(8192);
    // The address of an SU that is lost does not become that of another move, as a port might.
    config.link.kind = LinkKind::Unix;
    config.limits.reconnect = Micros::from_millis(5_000);
    config.limits.peer_answer = Micros::from_millis(4_000);
    config.limits.blackout_budget = Micros::from_millis(3_000);
    config.trial.faults = faults.to_vec();
    change(&mut config);
    let target = worlds::other(&config);
    let request = Request { vm: VmSelector::Index(config.vm.index), target };
    let mut listener = Listener::default();
    let report = live::migrate(&config, &request, &mut listener).expect("the move can be tried");
    (report, listener)
}

/// The rows of the table: each fault with how it ends at each moment.
fn table() -> Vec<(Fault, Vec<String>)> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(readme).expect("the README exists");
    let (_, text) = text.split_once("\n## Faults\n").expect("the README has the section");
    let text = text.split("\n## ").next().unwrap_or(text);
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches(['|', ' '])
            .split('|')
            .map(|it| it.replace('`', "").trim().into())
            .collect()
    };
    let mut rows = text.lines().filter(|line| line.starts_with("| ")).map(cells);
    let head = rows.next().expect("the table has a head");
    assert_eq!(head[1..], Moment::words());
    let fault = |row: Vec<String>| {
        let known = Fault::CHOICES.iter().find(|(word, _)| *word == row[0]);
        let (_, fault) = known.unwrap_or_else(|| panic!("{} is no fault", row[0]));
        assert_eq!(row.len(), head.len(), "{}", row[0]);
        (*fault, row[1..].to_vec())
    };
    let rows: Vec<_> = rows.filter(|row| !row[0].starts_with("---")).map(fault).collect();
    let said: Vec<_> = rows.iter().map(|(fault, _)| fault.word()).collect();
    assert_eq!(said, Fault::words());
    rows
}

/// How a move ended, in the words of the table.
fn ended(report: &Report) -> String {
    let place = match (report.runs_on.as_slice(), report.outcome) {
        ([su], _) if *su == report.source => "source",
        ([su], _) if *su == report.target => "target",
        ([], Outcome::InDoubt) => "held",
        ([], Outcome::Lost) => "lost",
        _ => return format!("{report:#?}"),
    };
    format!("{} {place}", Status::of(report) as u8)
}

/// What the report says of the guest, held against where its processors run.
fn is_consistent(report: &Report) -> bool {
    let runs_on = |su: SuName| report.runs_on == [su];
    !report.ran_twice
        && match report.guest {
            Some(Guest::On(su)) => runs_on(su),
            Some(Guest::HeldAt(_)) => {
                report.runs_on.is_empty() && report.outcome == Outcome::InDoubt
            }
            Some(Guest::LostWith(_)) => report.runs_on.is_empty(),
            None => false,
        }
}

#[test]
fn every_fault_at_every_moment_ends_as_the_readme_says() {
    let expected: Vec<(FaultPoint, String)> = table()
        .into_iter()
        .flat_map(|(fault, ends)| {
            let moments = Moment::CHOICES.iter().map(|(_, moment)| *moment);
            moments.zip(ends).map(move |(moment, end)| (point(fault, moment), end))
        })
        .collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((point, end)) = expected.get(next.fetch_add(1, Relaxed)) {
                    let (report, listener) = moved(&[*point], |_| ());
                    let (observed, told) = (ended(&report), listener.faults.len());
                    let inflicted = report.faults.iter().all(|it| it.at_ms.is_some());
                    if observed != *end || !is_consistent(&report) || told != 1 || !inflicted {
                        let text = format!(
                            "{point}: {observed}, not {end}; {told} told; {:?}, {:?}",
                            report.reason, report.detail
                        );
                        wrong.lock().expect("no other thread panics").push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_link_that_is_cut_four_times_costs_only_what_was_under_way() {
    let moments = [Moment::Precopy, Moment::Stop, Moment::Ready, Moment::Claim];
    let cuts = moments.map(|moment| point(Fault::CutLink, moment));
    let (report, listener) = moved(&cuts, |_| ());
    assert!(report.is_verified(), "{report:#?}");
    assert_eq!((report.reconnects, listener.faults.len()), (4, 4));
    assert!((1..=8192).contains(&report.repeated_pages), "{}", report.repeated_pages);
    assert!(listener.says(ConsoleName::Source, "VMS2458"));
    assert!(listener.says(ConsoleName::Source, "VMS2459"));
}

#[test]
fn an_operator_resolves_a_doubt_with_evidence_and_is_refused_without() {
    use Decision::{TargetLost, TargetRuns};
    let lost = point(Fault::LoseTarget, Moment::Start);
    let severed = point(Fault::SeverLink, Moment::Claim);
    let cases = [
        (lost, TargetLost, "4 source", "accepted"),
        (lost, TargetRuns, "5 held", "refused"),
        (severed, TargetRuns, "0 target", "accepted"),
        (severed, TargetLost, "5 target", "refused"),
    ];
    thread::scope(|scope| {
        for (fault, decision, end, answer) in cases {
            scope.spawn(move || {
                let (report, listener) =
                    moved(&[fault], |config| config.trial.decision = Some(decision));
                assert_eq!(ended(&report), end, "{fault} {decision:?}: {report:#?}");
                assert!(is_consistent(&report), "{report:#?}");
                let said = report.decision.unwrap_or_default();
                assert!(said.contains(answer), "{fault} {decision:?}: {said}");
                assert!(listener.says(ConsoleName::Source, "VMS2456"), "{fault} {decision:?}");
            });
        }
    });
}

#[test]
fn a_target_that_is_lost_behind_its_claim_alone_needs_no_operator() {
    let (report, listener) = moved(&[point(Fault::LoseTarget, Moment::Claim)], |_| ());
    assert_eq!(ended(&report), "4 source", "{report:#?}");
    assert!(listener.says(ConsoleName::Source, "VMS2462"), "{:?}", listener.lines);
    assert!(!listener.says(ConsoleName::Source, "VMS2456"), "{:?}", listener.lines);
    assert!(listener.says(ConsoleName::Source, "VMS2454"), "{:?}", listener.lines);
}

#[test]
fn both_monitors_go_on_from_their_journal_files() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("journals");
    let both = [Fault::RestartSource, Fault::RestartTarget];
    for (moment, end) in [(Moment::Commit, "4 source"), (Moment::Running, "0 target")] {
        let faults = both.map(|fault| point(fault, moment));
        let (report, listener) =
            moved(&faults, |config| config.trial.journals = Some(folder.clone()));
        assert_eq!(ended(&report), end, "{report:#?}");
        assert!(is_consistent(&report), "{report:#?}");
        let read = |text: &&String| text.contains("reads its journal");
        assert_eq!(listener.faults.iter().filter(read).count(), 2, "{:?}", listener.faults);
    }
}
