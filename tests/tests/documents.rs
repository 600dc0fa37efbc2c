//! The documents say what the code says: phases, reasons, limits, messages, names of tests, and
//! the sections that sources refer to.
//!
//! Source of truth: the code. Invariant: a document that repeats the code is compared with it, in
//! both directions where it lists all of something. Deliberately not here: frames and fields of
//! PROTOCOL.md, which the golden files are compared with, and the examples of README.md, which
//! are compiled.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use monitor_core::{
    limits,
    message::{Notice, Wording},
    migrate::{Limits, SourcePhase, TargetPhase},
    units::{Epoch, Micros, Mnemonic},
    vm::{Finding, Obstacle, ProcessorSet, Reason},
};

/// A document at the root of the repository.
fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("the document exists")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The titles of all sections.
fn titles(text: &str) -> BTreeSet<&str> {
    let mut in_code = false;
    let is_title = |line: &&str| {
        in_code ^= line.starts_with("```");
        line.starts_with('#') && !in_code
    };
    text.lines().filter(is_title).map(|line| line.trim_start_matches(['#', ' '])).collect()
}

/// The text below a title, up to the next one.
fn section<'t>(text: &'t str, title: &str) -> &'t str {
    let (_, below) = text.split_once(&format!("# {title}\n")).expect("the section exists");
    below.split("\n#").next().unwrap_or(below)
}

/// The cells of each row of the tables in a section, without heads.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = section.lines().collect();
    let is_head = |row: &usize| lines.get(row + 1).is_some_and(|next| next.starts_with("| ---"));
    let body = (0..lines.len()).filter(|row| !is_head(row)).map(|row| lines[row]);
    body.filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect())
        .collect()
}

/// The names that the first column of a section's table has in code font.
fn first_column(document: &str, title: &str) -> BTreeSet<String> {
    rows(section(document, title)).iter().map(|row| row[0].trim_matches('`').to_owned()).collect()
}

/// All Rust files of the repository with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["monitor-core", "host-harness", "tests"].map(|part| root().join(part)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository is readable") {
            let path = entry.expect("an entry of a folder is readable").path();
            if path.is_dir() && !path.join("CACHEDIR.TAG").exists() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a Rust file is readable text");
                found.push((path, text));
            }
        }
    }
    found
}

/// The sections of `document` that a source names: quoted behind the document's name, several of
/// them joined by "and". Lines of comments are joined first.
fn references(source: &str, document: &str) -> Vec<String> {
    let words = source.lines().map(|line| line.trim_start().trim_start_matches(['/', '!', ' ']));
    let text = words.collect::<Vec<_>>().join(" ");
    let mut names = Vec::new();
    for (place, _) in text.match_indices(document) {
        let mut rest = &text[place + document.len()..];
        while let Some(quoted) = [", \"", " (\"", " and \"", ", and \""]
            .iter()
            .find_map(|joint| rest.trim_start_matches('`').strip_prefix(joint))
        {
            let Some((name, behind)) = quoted.split_once('"') else {
                break;
            };
            names.push(name.to_owned());
            rest = behind;
        }
    }
    names
}

/// Asserts that every section of `name` to which a source refers exists.
fn assert_sections_exist(name: &str) {
    let text = document(name);
    let titles = titles(&text);
    let exists = |reference: &str| {
        titles.iter().any(|title| {
            title
                .strip_prefix(reference)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
        })
    };
    let missing: BTreeSet<String> = sources()
        .iter()
        .filter(|(path, _)| !path.ends_with("tests/tests/documents.rs"))
        .flat_map(|(path, source)| {
            let missing = references(source, name).into_iter().filter(|it| !exists(it));
            missing
                .map(|it| format!("{}: {name} has no {it:?}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn references_are_found_in_every_form() {
    let source = "//! Source of truth: A.md, \"One\" and \"Two\"; A.md\n//! (\"Three\"). `A.md`.\n";
    assert_eq!(references(source, "A.md"), ["One", "Two", "Three"]);
}

#[test]
fn sections_of_the_architecture_that_sources_name_exist() {
    assert_sections_exist("ARCHITECTURE.md");
}

#[test]
fn sections_of_the_protocol_that_sources_name_exist() {
    assert_sections_exist("PROTOCOL.md");
}

#[test]
fn architecture_has_every_phase_and_no_other() {
    let text = document("ARCHITECTURE.md");
    let source = SourcePhase::ALL.map(|phase| format!("{phase:?}"));
    assert_eq!(first_column(&text, "Source phases"), source.into());
    let target = TargetPhase::ALL.map(|phase| format!("{phase:?}"));
    assert_eq!(first_column(&text, "Target phases"), target.into());
}

#[test]
fn architecture_has_every_reason_with_code_blame_and_text() {
    let text = document("ARCHITECTURE.md");
    let table: Vec<String> =
        rows(section(&text, "Failures")).iter().map(|row| row.join(" | ")).collect();
    for reason in Reason::ALL {
        let (code, blame) = (reason.code(), reason.blame());
        let row = format!("{code} | `{reason:?}` | {blame:?} | {}", reason.text());
        assert!(table.contains(&row), "{row}");
    }
    let numbered = table.iter().filter(|row| row.starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(numbered.count(), Reason::ALL.len());
}

/// The numbers in hexadecimal that begin the rows of the table of all frames, but FILLER's.
fn frame_types(protocol: &str) -> Vec<u16> {
    rows(section(protocol, "Frames"))
        .iter()
        .filter(|row| row[1] != "FILLER")
        .map(|row| row[0].strip_prefix("0x").expect("a type is hexadecimal"))
        .map(|digits| u16::from_str_radix(digits, 16).expect("a type is a number"))
        .collect()
}

#[test]
fn protocol_reserves_what_follows_the_last_frame_and_block_of_each_kind() {
    let text = document("PROTOCOL.md");
    let reserved: Vec<&str> =
        rows(section(&text, "Reserved")).iter().flat_map(|row| row[0].split(", ")).collect();
    let types = frame_types(&text);
    for last in types.iter().filter(|code| !types.contains(&(*code + 1))) {
        let range = format!("0x{:04X} to 0x{:04X}", last + 1, last | 0xF);
        assert!(reserved.iter().any(|it| it.trim_start_matches("types ") == range), "{range}");
    }
    for kind in ["Processor", "Machine", "Subchannel"] {
        let numbers = rows(section(&text, &format!("{kind} image")));
        let last = numbers.iter().filter_map(|row| row[0].parse::<u16>().ok()).max();
        let row = format!("{} blocks from {}", kind.to_lowercase(), last.unwrap_or(0) + 1);
        assert!(reserved.contains(&row.as_str()), "{row}");
    }
}

/// One notice of each kind.
fn notices() -> Vec<Notice> {
    let device = Mnemonic::EMPTY;
    let finding = Finding { obstacle: Obstacle::VmUnknown, device };
    vec![
        Notice::MigrationStarted,
        Notice::MigrationCompleted,
        Notice::SuspendedAtSource,
        Notice::MigrationAborted(Reason::Cancelled),
        Notice::ResumedAtSource,
        Notice::HeldAtSource,
        Notice::HeldForTarget(Epoch::new(1)),
        Notice::ClaimedByTarget(Epoch::new(1)),
        Notice::NotStartedAtSource,
        Notice::NotStoppedAtSource,
        Notice::NotReattached,
        Notice::LinkInterrupted,
        Notice::LinkRestored,
        Notice::NotStartedAtTarget,
        Notice::IncomingStarted,
        Notice::IncomingCompleted,
        Notice::ResumedAtTarget,
        Notice::IncomingAborted(Reason::Cancelled),
        Notice::HeldAtTarget,
        Notice::GuestLate,
        Notice::Created,
        Notice::DeviceAssigned { device, shared_device: false },
        Notice::DeviceRemoved { device },
        Notice::DeviceInUse { device },
        Notice::Terminated,
        Notice::Rejected { finding, by_target: true },
        Notice::Rejected { finding, by_target: false },
        Notice::MoreFindings(1),
        Notice::NotPossible,
        Notice::DetachWarning { device },
        Notice::ProcessorsBlocked(ProcessorSet::EMPTY),
    ]
}

#[test]
fn architecture_says_of_each_message_where_its_text_stems_from() {
    let text = document("ARCHITECTURE.md");
    let table = rows(section(&text, "Messages"));
    let columns = [Wording::Documented, Wording::NumberDocumented, Wording::Own];
    for (column, wording) in columns.into_iter().enumerate() {
        let said: BTreeSet<String> = table[0][column].split(", ").map(str::to_owned).collect();
        let of_wording = notices().into_iter().filter(|notice| notice.wording() == wording);
        let known = of_wording.map(|notice| format!("VMS{:04}", notice.code())).collect();
        assert_eq!(said, known, "{wording:?}");
    }
}

/// The names of constants with their values.
macro_rules! values {
    ($($name:ident)+) => { [$((stringify!($name), u64::try_from(limits::$name).unwrap_or(0))),+] };
}

#[test]
fn architecture_has_every_capacity_with_its_value() {
    let values = values! {
        PAGE_BYTES GROUP_PAGES GROUP_BYTES HEADER_BYTES PAGES_PREFIX_BYTES BODY_BYTES_MAX
        FRAME_BYTES_MAX CONTROL_BYTES_MAX PROCESSOR_BYTES_MAX SUBCHANNEL_BYTES_MAX MACHINE_BYTES_MAX
        CHANNEL_REPORTS_MAX PAGE_FAULTS_MAX SERVICE_SIGNALS_MAX DEFINITION_BYTES_MAX GUEST_PAGES_MAX
        PROCESSORS_MAX DEVICES_MAX VM_INDEX_MAX FINDINGS_MAX PASSES_MAX EFFECTS_MAX
        JOURNAL_BYTES_MAX LINE_BYTES_MAX
    };
    let source = document("monitor-core/src/limits.rs");
    let constants = source.lines().filter(|line| line.starts_with("pub const ")).count();
    assert_eq!(constants, values.len(), "a capacity is missing in this test");
    let text = document("ARCHITECTURE.md");
    let table = rows(section(&text, "Limits"));
    for (name, value) in values {
        let row = table.iter().find(|row| row[0] == format!("`{name}`"));
        let said = row.unwrap_or_else(|| panic!("{name} has no row"))[1].replace(',', "");
        let said = said
            .strip_prefix("2^")
            .map_or(said.parse(), |power| power.parse::<u32>().map(|power| 1 << power));
        assert_eq!(said, Ok(value), "{name}");
    }
}

#[test]
fn architecture_has_every_limit_of_time_with_its_default() {
    let Limits {
        blackout,
        total,
        guest_answer,
        peer_answer,
        build,
        drain,
        retry,
        reconnect,
        overruns,
    } = Limits::DEFAULT;
    let time = |limit: Micros| match limit.get() {
        us if us % 3_600_000_000 == 0 => format!("{} h", us / 3_600_000_000),
        us if us % 60_000_000 == 0 => format!("{} min", us / 60_000_000),
        us if us % 1_000_000 == 0 => format!("{} s", us / 1_000_000),
        us => format!("{} ms", us / 1_000),
    };
    let text = document("ARCHITECTURE.md");
    let table = rows(section(&text, "Limits"));
    for (name, default) in [
        ("blackout", time(blackout)),
        ("total", time(total)),
        ("guest_answer", time(guest_answer)),
        ("peer_answer", time(peer_answer)),
        ("build", time(build)),
        ("drain", time(drain)),
        ("retry", time(retry)),
        ("reconnect", time(reconnect)),
        ("overruns", format!("{overruns} times")),
    ] {
        let said = table.iter().find(|row| row[0] == format!("`{name}`")).map(|row| row[1]);
        assert_eq!(said, Some(default.as_str()), "{name}");
    }
}

#[test]
fn tests_that_the_architecture_names_exist() {
    let text = document("ARCHITECTURE.md");
    let sources = sources();
    let names = section(&text, "Architecture invariants").split('`').skip(1).step_by(2);
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let tests: Vec<&str> =
        names.filter(is_name).filter(|name| name.matches('_').count() >= 3).collect();
    assert!(tests.len() >= 4, "{tests:?}");
    for name in tests {
        let exists = sources.iter().any(|(_, source)| source.contains(&format!("fn {name}()")));
        assert!(exists, "{name}");
    }
}

#[test]
fn code_map_has_every_module() {
    let text = document("ARCHITECTURE.md");
    for (part, title) in [("monitor-core", "monitor-core"), ("host-harness", "host-harness")] {
        let map = section(&text, title);
        let library = document(&format!("{part}/src/lib.rs"));
        let modules = library.lines().filter_map(|line| {
            line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
        });
        for module in modules {
            assert!(map.contains(&format!("`{module}`")), "{part}: {module}");
        }
    }
}

#[test]
fn readme_has_the_exit_statuses_of_the_help() {
    let text = document("README.md");
    let help = document("host-harness/src/cli/arguments.rs");
    let (_, statuses) = help.split_once("Exit status:\n").expect("the help lists exit statuses");
    let statuses = statuses.split("\";").next().unwrap_or(statuses);
    let said: Vec<String> = rows(section(&text, "What you see"))
        .iter()
        .map(|row| format!("  {}  {}", row[0], row[1]))
        .collect();
    assert_eq!(said, statuses.lines().collect::<Vec<_>>());
}
