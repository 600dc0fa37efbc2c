//! Tests of the command line: exit statuses, what goes where, and what is refused.
//!
//! Source of truth: the help of `su390 migrate`. Invariant: the migration is a given report, so
//! that each outcome is tested by itself. Deliberately not here: how output looks.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use clap::CommandFactory;
use monitor_core::vm::{Obstacle, Reason};

use super::*;
use crate::{
    config::{Choice, Decision, Fault, Moment},
    console::{ConsoleLine, ConsoleName, Guest, Outcome, Stamp, Verified},
};

/// An output that can be looked at while somebody else owns it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        anstream::adapter::strip_str(&text).to_string()
    }
}

/// What came of a command.
struct Done {
    status: Status,
    out: String,
    err: String,
    /// Whether a migration was begun.
    began: bool,
}

/// Runs a command line with a migration that ends as given.
fn done(line: &str, end: impl Fn(&mut Report)) -> Done {
    done_with(&line.split_whitespace().collect::<Vec<_>>(), end)
}

/// The same with the arguments one by one, which may contain blanks.
fn done_with(arguments: &[&str], end: impl Fn(&mut Report)) -> Done {
    let (out, err) = (Shared::default(), Shared::default());
    let began = std::cell::Cell::new(false);
    let open = |_| Streams { out: Box::new(out.clone()), err: Box::new(err.clone()) };
    let migrate = |config: &Config, request: &Request, observer: &mut dyn Observer| {
        began.set(true);
        let text = "% VMS2450 LIVE MIGRATION".to_owned();
        let stamp = Stamp::from_seconds(420);
        observer.line(&ConsoleLine { console: ConsoleName::Source, stamp, text });
        let vm = request.vm_label(config);
        let mut report = Report::new(Outcome::Completed, vm, config.vm.on, request.target);
        report.guest = Some(Guest::On(request.target));
        report.verified = Some(Verified::ALL);
        end(&mut report);
        Ok(vec![report])
    };
    let arguments = arguments.iter().map(OsString::from);
    let status = run_with(arguments, &open, &migrate);
    Done { status, out: out.text(), err: err.text(), began: began.get() }
}

fn verified(line: &str) -> Done {
    done(line, |_| ())
}

#[test]
fn the_operators_command_says_what_to_move_and_wrong_operands_are_refused_in_its_own_words() {
    let typed = |line: &str| done_with(&["su390", "migrate", "--command", line], |_| ());
    let right = typed("MIGRATE-VM VM-ID=VM12PROD,SERVER-UNIT-NAME=*UNIQUE");
    assert_eq!(right.status, Status::Completed);
    assert!(right.out.contains("Moving VM12PROD (12)"), "{}", right.out);
    for line in [
        "MIGRATE-VM VM-ID=100,SERVER-UNIT-NAME=ABGSE701",
        "MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=7",
        "MIGRATE-VM VM-ID=12",
        "MIGRATE-VM VM-ID=12,MONJV=J",
        "CANCEL",
    ] {
        let wrong = typed(line);
        assert_eq!((wrong.status, wrong.began), (Status::Usage, false), "{line}");
        let error = monitor_core::message::command::parse(line).unwrap_err().to_string();
        assert!(wrong.err.contains(&error), "{}", wrong.err);
    }
    let other = typed("END");
    assert!(other.err.contains("only MIGRATE-VM can be given here"), "{}", other.err);
}

#[test]
fn definition_of_the_arguments_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn each_outcome_has_its_exit_status() {
    let line = "su390 migrate";
    assert_eq!(verified(line).status as u8, 0);
    let unequal = Some(Verified { memory: false, ..Verified::ALL });
    assert_eq!(done(line, |report| report.verified = unequal).status as u8, 1);
    assert_eq!(done(line, |report| report.outcome = Outcome::Rejected).status as u8, 3);
    assert_eq!(done(line, |report| report.outcome = Outcome::Aborted).status as u8, 4);
    assert_eq!(done(line, |report| report.outcome = Outcome::InDoubt).status as u8, 5);
    assert_eq!(done(line, |report| report.outcome = Outcome::Lost).status as u8, 6);
    assert_eq!(done(line, |report| report.ran_twice = true).status as u8, 1);
}

#[test]
fn wrong_usage_ends_with_2_before_anything_begins() {
    for line in [
        "su390",
        "su390 emigrate",
        "su390 migrate --sideways",
        "su390 migrate --memory 1GB",
        "su390 migrate --memory 1025KiB",
        "su390 migrate --vm 100",
        "su390 migrate --vm VM12PROD9",
        "su390 migrate --to",
        "su390 migrate --workload creep",
        "su390 migrate --workload sweep,sweep-unpaced",
        "su390 migrate --workload memory-only,idle",
        "su390 migrate --memory 65GiB",
        "su390 migrate --fill ones",
        "su390 migrate --budget 300",
        "su390 migrate --link pigeon",
        "su390 migrate --link-bandwidth 1GiB",
        "su390 migrate --link-delay 0ms",
        "su390 migrate --coordination never",
        "su390 migrate --guest shout",
        "su390 migrate --color blue",
        "su390 migrate --fault",
        "su390 migrate --fault cut-link",
        "su390 migrate --fault cut-link@lunch",
        "su390 migrate --decide both-run",
        "su390 migrate --journal",
        "su390 migrate --directory",
        "su390 directory",
        "su390 directory show",
        "su390 directory show no-such.db",
        "su390 directory set no-such.db VM12PROD ABGSE701",
        "su390 directory set no-such.db VM12PROD9 ABGSE701 1",
        "su390 directory set no-such.db VM12PROD 7ABGSE 1",
        "su390 directory set no-such.db VM12PROD ABGSE701 -1",
        "su390 directory set no-such.db VM12PROD ABGSE701 9223372036854775808",
        "su390 directory serve",
        "su390 directory serve --directory cluster.db",
        "su390 directory serve --listen no-such-directory/a.sock",
        "su390 directory serve --listen a.sock --directory no-such-directory/cluster.db",
        "su390 directory serve --listen a.sock --record VM12PROD:ABGSE501",
        "su390 directory serve --listen a.sock --record VM12PROD:ABGSE501:x",
        "su390 directory serve --listen a.sock --drop-answer 0",
        "su390 directory serve --listen a.sock --delay-answer 0:1s",
        "su390 directory serve --listen a.sock --delay-answer 1:soon",
        "su390 migrate --config no-such.toml",
        "su390 migrate --json no-such-directory/report.json",
        "su390 migrate --out Cargo.toml/out",
    ] {
        let done = verified(line);
        assert_eq!(done.status, Status::Usage, "{line}");
        assert!(!done.began && done.out.is_empty(), "{line}: {}", done.out);
        assert!(!done.err.is_empty(), "{line}");
    }
}

#[test]
fn help_is_no_mistake() {
    let done = verified("su390 migrate --help");
    assert_eq!(done.status, Status::Completed);
    assert!(!done.began && done.err.is_empty(), "{}", done.err);
    assert!(done.out.contains("Exit status:"), "{}", done.out);
}

#[test]
fn configuration_mistake_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("my.toml");
    let text = crate::config::EXAMPLE.replacen("memory = \"1GiB\"", "memory = \"1GB\"", 1);
    fs::write(&file, text).unwrap();
    let done = verified(&format!("su390 migrate --config {}", file.display()));
    assert_eq!(done.status, Status::Usage);
    assert!(done.err.starts_with("error: "), "{}", done.err);
    assert!(done.err.contains("my.toml:48: vm.memory: \"GB\" is no unit"), "{}", done.err);
}

#[test]
fn unknown_vm_and_su_are_left_to_the_check() {
    let done = done("su390 migrate --vm 99 --to NOWHERE", |report| {
        assert_eq!((report.vm.as_str(), report.target.as_str()), ("VM 99", "NOWHERE"));
        report.outcome = Outcome::Rejected;
        report.guest = None;
        report.findings.add(Obstacle::VmUnknown);
    });
    assert_eq!(done.status, Status::Rejected);
    assert!(done.out.contains("Moving VM 99 from ABGSE501 to NOWHERE"), "{}", done.out);
    assert!(done.out.contains("VMS4000: ABGSE501 has no VM of this index or name"), "{}", done.out);
}

#[test]
fn target_is_needed_when_there_are_several() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("my.toml");
    let third = "[[su]]\nname = \"THIRD\"\nconfiguration = \"390SU\"\nmemory = \"1GiB\"\n\
                 processors = 1\n\n[vm]\n";
    fs::write(&file, crate::config::EXAMPLE.replacen("[vm]\n", third, 1)).unwrap();
    let done = verified(&format!("su390 migrate --config {}", file.display()));
    assert_eq!(done.status, Status::Usage);
    assert!(done.err.contains("--to is needed"), "{}", done.err);
    assert!(done.err.contains("ABGSE701 or THIRD"), "{}", done.err);
    let line = format!("su390 migrate --config {} --to third", file.display());
    assert_eq!(verified(&line).status, Status::Completed);
}

#[test]
fn options_reach_the_migration() {
    let line = "su390 migrate --vm vm12prod --to abgse701 --memory 64MiB --workload idle,journal \
                --fill zero --budget 20ms --link unix --link-bandwidth 1Gbit --link-delay 1ms \
                --coordination if-possible --guest silent --color never --directory my.db \
                --fault cut-link@stop --fault lose-target@claim --decide target-lost --journal j";
    let open = |_| Streams { out: Box::new(io::sink()), err: Box::new(io::sink()) };
    let seen = std::cell::RefCell::new(None);
    let migrate = |config: &Config, request: &Request, _: &mut dyn Observer| {
        *seen.borrow_mut() = Some((config.clone(), *request));
        Ok(vec![given_report(config, request)])
    };
    run_with(line.split_whitespace().map(OsString::from), &open, &migrate);
    let (config, request) = seen.into_inner().unwrap();
    assert_eq!(request.vm.to_string(), "VM12PROD");
    assert_eq!(config.vm.memory.bytes().get(), 64 << 20);
    assert_eq!(config.workload.kinds().len(), 2);
    assert_eq!(config.workload.fill, crate::machine::Fill::Zero);
    assert_eq!(config.workload.manner, crate::workload::Manner::Silent);
    assert_eq!(config.limits.blackout_budget.get(), 20_000);
    assert_eq!(config.limits.coordination, crate::config::Coordination::IfPossible);
    assert_eq!(config.link.kind, crate::config::LinkKind::Unix);
    assert_eq!(config.link.bandwidth.unwrap().bits_per_second, 1_000_000_000);
    assert_eq!(config.link.delay.unwrap().get(), 1000);
    assert_eq!(config.cluster.directory.as_deref(), Some(Path::new("my.db")));
    let faults: Vec<String> = config.trial.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, ["cut-link@stop", "lose-target@claim"]);
    assert_eq!(config.trial.decision, Some(Decision::TargetLost));
    assert_eq!(config.trial.journals.as_deref(), Some(Path::new("j")));
}

fn given_report(config: &Config, request: &Request) -> Report {
    Report::new(Outcome::Aborted, request.vm_label(config), config.vm.on, request.target)
}

#[test]
fn json_on_standard_output_is_alone_there() {
    let done = verified("su390 migrate --json -");
    let json: serde_json::Value = serde_json::from_str(&done.out).expect("nothing but JSON");
    assert_eq!(json["outcome"], "completed");
    assert_eq!(json["guest"], "ABGSE701");
    assert!(done.err.contains("VMS2450") && done.err.contains("COMPLETED"), "{}", done.err);
}

#[test]
fn consoles_and_report_are_written_to_files() {
    let directory = tempfile::tempdir().unwrap();
    let (out, json) = (directory.path().join("run"), directory.path().join("report.json"));
    let line = format!("su390 migrate --out {} --json {}", out.display(), json.display());
    let done = done(&line, |report| {
        report.outcome = Outcome::Aborted;
        report.reason = Some(Reason::LinkLost);
    });
    assert_eq!(done.status, Status::Aborted);
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(json["reason"], "the link to the other SU was lost");
    let source = fs::read_to_string(out.join("source-su.txt")).unwrap();
    assert_eq!(source, "000700 % VMS2450 LIVE MIGRATION\n");
    assert_eq!(fs::read_to_string(out.join("guest.txt")).unwrap(), "");
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let err = Shared::default();
    let open = |_| Streams { out: Box::new(Full), err: Box::new(err.clone()) };
    let run = |outcome| {
        let migrate = |config: &Config, request: &Request, _: &mut dyn Observer| {
            let mut report = given_report(config, request);
            report.outcome = outcome;
            report.verified = Some(Verified::ALL);
            Ok(vec![report])
        };
        run_with(["su390", "migrate"].map(OsString::from), &open, &migrate)
    };
    assert_eq!(run(Outcome::Completed), Status::Usage);
    assert_eq!(run(Outcome::InDoubt), Status::InDoubt);
    assert!(err.text().contains("output cannot be written"), "{}", err.text());
}

#[test]
fn migration_that_cannot_be_tried_ends_with_2() {
    let err = Shared::default();
    let open = |_| Streams { out: Box::new(io::sink()), err: Box::new(err.clone()) };
    let refused = |_: &Config, _: &Request, _: &mut dyn Observer| {
        Err(LiveError::Link(io::ErrorKind::AddrInUse.into()))
    };
    let status = run_with(["su390", "migrate"].map(OsString::from), &open, &refused);
    assert_eq!(status, Status::Usage);
    assert!(err.text().starts_with("error: no link between the monitors"), "{}", err.text());
}

#[test]
fn help_names_every_exit_status_workload_fault_and_moment() {
    let mut command = Arguments::command();
    let help = command.find_subcommand_mut("migrate").unwrap().render_long_help().to_string();
    for part in
        ["  0  ", "  1  ", "  2  ", "  3  ", "  4  ", "  5  ", "  6  ", "su390 migrate --guest"]
    {
        assert!(help.contains(part), "no {part:?} in\n{help}");
    }
    for word in Fault::words().into_iter().chain(Moment::words()) {
        assert!(help.contains(&format!("\n  {word} ")), "no {word} in\n{help}");
    }
    for name in [
        "idle",
        "hot-set",
        "sweep",
        "sweep-unpaced",
        "memory-only",
        "key-value",
        "journal",
        "network",
        "processors",
        "keys",
        "page-states",
        "full",
    ] {
        assert!(help.contains(name), "no {name} in\n{help}");
    }
}

#[test]
fn record_of_a_directory_file_is_entered_and_shown_with_its_old_value() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.db");
    let command = |command: &str, rest: &str| {
        verified(&format!("su390 directory {command} {} {rest}", file.display()))
    };
    let set = command("set", "vm12prod abgse501 1");
    assert_eq!((set.status, set.err.as_str()), (Status::Completed, ""));
    assert_eq!(set.out, "VM12PROD: no record -> ABGSE501 (epoch 1)\n");
    let set = command("set", "VM12PROD ABGSE701 4");
    assert_eq!(set.out, "VM12PROD: ABGSE501 (epoch 1) -> ABGSE701 (epoch 4)\n");
    for refused in ["VM12PROD ABGSE701 3", "VM12PROD ABGSE501 4"] {
        let set = command("set", refused);
        assert_eq!(set.status, Status::Usage, "{refused}");
        let problem = "the record is ABGSE701 (epoch 4), and the epoch must be raised";
        assert!(set.err.contains(problem), "{}", set.err);
    }
    let shown = command("show", "").out;
    assert_eq!(shown, "VM        OWNER     EPOCH  STANDING\nVM12PROD  ABGSE701  4      running\n");
    let set = command("set", "VM12PROD ABGSE501 2 --force");
    assert_eq!(set.out, "VM12PROD: ABGSE701 (epoch 4) -> ABGSE501 (epoch 2)\n");
}

#[test]
fn a_sweep_counts_its_worlds_and_violations_in_its_last_line() {
    let done = verified("su390 sweep --seeds 5..9 --profile link --jobs 2");
    assert_eq!(done.status, Status::Completed);
    assert_eq!(done.out.lines().last(), Some("4 worlds, 0 violations"));
    assert!(!done.began);
}

#[test]
fn a_range_of_seeds_without_a_seed_is_refused() {
    for seeds in ["7..7", "9..1", "1", "a..b", "1..-2"] {
        let done = verified(&format!("su390 sweep --seeds {seeds}"));
        assert_eq!(done.status, Status::Usage, "{seeds}");
    }
}

#[test]
fn a_replay_shows_what_happens_and_ends_with_the_verdict() {
    let done = verified("su390 replay 5 --profile calm");
    assert_eq!(done.status, Status::Completed);
    assert!(done.out.contains("Checking -> Preparing"), "{}", done.out);
    assert_eq!(done.out.lines().last(), Some("1 worlds, 0 violations"));
}
