//! The three consoles of a live move, held against the documented example to the letter.
//!
//! Source of truth: the files in `tests/transcripts`, which are the example with its times of day
//! as `hhmmss` and `...` for further devices of the same VM. The runs are made here, over real
//! sockets; when `TRANSCRIPTS_DIR` is set, the files that `su390 migrate --out DIR` wrote there
//! are compared in the place of those of a run made here.

use std::{fs, path::PathBuf};

use host_harness::{
    config::{Config, Overrides, Request, VmSelector},
    console::{ConsoleLine, ConsoleName, Observer, Outcome, Progress, Report, Transcripts},
    live,
};
use monitor_core::units::PageCount;

/// The fifteen events in their order: console, message, and how its text goes on. The tenth, the
/// network's, has two messages.
const EVENTS: [(ConsoleName, &str, &str); 16] = [
    (ConsoleName::Source, "VMS2450", "STARTED"),
    (ConsoleName::Guest, "ETMDR01", "STARTED"),
    (ConsoleName::Guest, "MCS1002", "TO 'LOCKED'"),
    (ConsoleName::Target, "VMS2430", "STARTED"),
    (ConsoleName::Target, "VMS3050", "CREATED"),
    (ConsoleName::Target, "VMS4005", "ASSIGNED"),
    (ConsoleName::Source, "VMS2452", "SUSPENDED"),
    (ConsoleName::Guest, "ETMDR03", "FINISHED"),
    (ConsoleName::Target, "VMS2432", "RESUMED"),
    (ConsoleName::Guest, "BCA07DC", "active"),
    (ConsoleName::Guest, "BCA05EC", "active"),
    (ConsoleName::Guest, "MCS1002", "TO '*AUTOMATIC'"),
    (ConsoleName::Target, "VMS2431", "COMPLETED"),
    (ConsoleName::Source, "VMS4009", "REMOVED"),
    (ConsoleName::Source, "VMS4024", "TERMINATED"),
    (ConsoleName::Source, "VMS2451", "COMPLETED"),
];

#[derive(Default)]
struct Listener {
    lines: Vec<ConsoleLine>,
}

impl Observer for Listener {
    fn line(&mut self, line: &ConsoleLine) {
        self.lines.push(line.clone());
    }

    fn progress(&mut self, _progress: &Progress) {}
}

/// Runs the example with a VM of 64 MiB.
fn run(change: impl FnOnce(&mut Config)) -> (Report, Vec<ConsoleLine>) {
    let memory = Some(PageCount::new(16_384));
    let overrides = Overrides { memory, ..Overrides::default() };
    let mut config = Config::load(None, &overrides).unwrap();
    change(&mut config);
    let request =
        Request { vm: VmSelector::Index(config.vm.index), target: config.only_target().unwrap() };
    let mut listener = Listener::default();
    let report = live::migrate(&config, &request, &mut listener).unwrap();
    (report, listener.lines)
}

fn console(lines: &[ConsoleLine], name: ConsoleName) -> Vec<String> {
    let of = lines.iter().filter(|line| line.console == name);
    of.map(|line| format!("hhmmss {}", line.text)).collect()
}

const FILES: [(ConsoleName, &str); 3] = [
    (ConsoleName::Source, "source-su.txt"),
    (ConsoleName::Target, "target-su.txt"),
    (ConsoleName::Guest, "guest.txt"),
];

fn example(file: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(file);
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Whether a console reads as its example: every line to the letter and in its place; where the
/// example has `...`, any number of lines like the one before it for other devices.
fn compare(found: &[String], file: &str) {
    let mut found = found.iter().peekable();
    let mut before = String::new();
    for expected in example(file) {
        if expected == "..." {
            let message = |line: &str| line.split_whitespace().nth(2).map(str::to_owned);
            while found.peek().is_some_and(|line| {
                message(line) == message(&before) && !example(file).contains(line)
            }) {
                found.next();
            }
        } else {
            assert_eq!(found.next().map(String::as_str), Some(expected.as_str()), "{file}");
            before = expected;
        }
    }
    assert_eq!(found.next(), None, "{file} has more lines than the example");
}

#[test]
fn the_consoles_of_a_live_move_read_as_in_the_example() {
    let (report, lines) = run(|_| ());
    assert_eq!(report.outcome, Outcome::Completed, "{report:?}");
    assert!(report.is_verified(), "{:?}", report.verified);
    for (name, file) in FILES {
        compare(&console(&lines, name), file);
    }
}

#[test]
fn the_events_of_a_live_move_come_in_the_order_of_the_example() {
    let (_, lines) = run(|config| config.link.kind = host_harness::config::LinkKind::Unix);
    let mut next = EVENTS.iter().peekable();
    let mut current: Option<&(ConsoleName, &str, &str)> = None;
    // The first line is the operator's command.
    for line in lines.iter().skip(1) {
        let is = |event: &(ConsoleName, &str, &str)| {
            event.0 == line.console && line.text.contains(event.1) && line.text.contains(event.2)
        };
        if current.is_some_and(is) {
            continue;
        }
        current = next.next();
        assert!(current.is_some_and(is), "{} comes out of its turn: {current:?}", line.text);
    }
    assert_eq!(next.next(), None, "not every event has come");
}

#[test]
fn a_capped_and_delayed_link_moves_the_guest_all_the_same() {
    let (report, _) = run(|config| {
        config.link.bandwidth = Some(host_harness::config::from_text("2Gbit").unwrap());
        config.link.delay = Some(monitor_core::units::Micros::from_millis(1));
    });
    assert!(report.is_verified(), "{report:?}");
    // 64 MiB do not pass in less time than the cap allows: 256 ms.
    assert!(report.total_ms >= 256, "{} ms", report.total_ms);
}

#[test]
fn the_files_of_a_run_read_as_in_the_example() {
    let given = std::env::var_os("TRANSCRIPTS_DIR").map(PathBuf::from);
    let directory = given.unwrap_or_else(|| {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("transcripts");
        let mut files = Transcripts::create(&directory).unwrap();
        run(|_| ()).1.iter().for_each(|line| files.line(line));
        files.finish().unwrap();
        directory
    });
    for (_, file) in FILES {
        let text = fs::read_to_string(directory.join(file)).unwrap();
        let without_time = |line: &str| {
            assert!(line.get(..6).is_some_and(|it| it.bytes().all(|b| b.is_ascii_digit())));
            format!("hhmmss{}", line.get(6..).unwrap_or(""))
        };
        let found: Vec<_> = text.lines().map(without_time).collect();
        compare(&found, file);
    }
}
