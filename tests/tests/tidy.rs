//! The rules of the house that a machine can see: heads, lengths, marks, layers, determinism.
//!
//! Source of truth: the layer table in the head of `monitor-core/src/lib.rs`, and
//! ARCHITECTURE.md. Each rule is a function from one file to its offenders; a test applies it to
//! every Rust file of the repository and prints all offenders as `file:line: what`. Invariant:
//! each rule is shown to fire on a planted offender, so that none is silent by mistake.
//! Deliberately not here: what rustfmt and clippy see by themselves. The rules read text that
//! rustfmt has formatted; they do not parse Rust.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// A file has fewer lines than this.
const FILE_LINES_LIMIT: usize = 600;

/// The body of a function has at most so many lines.
const BODY_LINES_MAX: usize = 70;

/// A line has at most so many characters.
const LINE_CHARS_MAX: usize = 100;

/// Words that mark unfinished work; put together here, so that this file is free of them.
const MARKED_WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Code that marks unfinished work or a test that does not run.
const MARKED_CODE: [&str; 3] =
    [concat!("unimplemented", "!"), concat!("todo", "!"), concat!("#[", "ignore")];

/// The layer of each module of monitor-core; a module uses its own layer and lower ones.
const LAYERS: [(&str, u8); 13] = [
    ("units", 0),
    ("limits", 0),
    ("fmt", 0),
    ("ports", 1),
    ("vm", 1),
    ("memory", 1),
    ("processor", 1),
    ("channel", 1),
    ("device", 1),
    ("wire", 1),
    ("message", 1),
    ("migrate", 2),
    ("driver", 3),
];

/// Where the harness may know clocks and threads: what is live, what people see, and the tests
/// that step guests from several threads.
const LIVE_PARTS: [&str; 5] = ["live/", "console/", "cli/", "main.rs", "workload/tests/"];

/// Names whose use makes a run differ from the next one of the same seed.
const UNSEEDED: [&str; 5] = ["Instant", "SystemTime", "thread", "HashMap", "HashSet"];

/// A Rust file of the repository.
struct File {
    /// The path within the repository, with slashes.
    path: String,
    text: String,
}

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Offender {
    path: String,
    /// Counted from 1.
    line: usize,
    what: String,
}

impl fmt::Display for Offender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl File {
    fn offender(&self, line: usize, what: impl Into<String>) -> Offender {
        Offender { path: self.path.clone(), line, what: what.into() }
    }

    /// The lines with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The lines with their numbers, without comments.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| (number, line.split("//").next().unwrap_or(line)))
    }
}

// The rules.

/// A file says at its top what it is for.
fn headless(file: &File) -> Vec<Offender> {
    let mut lines = file.lines().skip_while(|(_, line)| line.starts_with("#!"));
    match lines.next() {
        Some((_, line)) if line.starts_with("//! ") => Vec::new(),
        _ => vec![file.offender(1, "no `//!` head")],
    }
}

/// A file can be read at one go.
fn long_file(file: &File) -> Vec<Offender> {
    let line_count = file.text.lines().count();
    if line_count < FILE_LINES_LIMIT {
        return Vec::new();
    }
    vec![file.offender(line_count, format!("{line_count} lines in one file"))]
}

/// A line fits the width that rustfmt keeps, which leaves strings and comments alone. The row of
/// a table in a comment cannot be broken.
fn long_lines(file: &File) -> Vec<Offender> {
    let is_row =
        |line: &str| ["//! |", "/// |"].iter().any(|row| line.trim_start().starts_with(row));
    file.lines()
        .filter(|(_, line)| !is_row(line))
        .map(|(number, line)| (number, line.chars().count()))
        .filter(|(_, char_count)| *char_count > LINE_CHARS_MAX)
        .map(|(number, char_count)| file.offender(number, format!("{char_count} characters")))
        .collect()
}

/// A function can be seen on one screen.
fn long_functions(file: &File) -> Vec<Offender> {
    let lines: Vec<&str> = file.text.lines().collect();
    (0..lines.len())
        .filter(|start| begins_function(lines[*start]))
        .filter_map(|start| {
            let line_count = body_line_count(&lines[start..])?;
            (line_count > BODY_LINES_MAX).then(|| {
                file.offender(start + 1, format!("{line_count} lines in the body of a function"))
            })
        })
        .collect()
}

/// Whether `fn` follows the qualifiers at the beginning of the line.
fn begins_function(line: &str) -> bool {
    let is_qualifier = |word: &&str| {
        ["pub", "const", "async", "unsafe", "extern"].contains(word)
            || word.starts_with("pub(")
            || word.starts_with('"')
    };
    line.split_whitespace().find(|word| !is_qualifier(word)) == Some("fn")
}

/// The lines between the braces of the function that begins at `lines[0]`; rustfmt puts the end
/// of its signature and its closing brace at the indentation of its beginning.
fn body_line_count(lines: &[&str]) -> Option<usize> {
    let indentation = indentation(lines[0]);
    let mut at_margin = (0..).zip(lines).filter(|(_, line)| self::indentation(line) == indentation);
    let (open, _) = at_margin
        .find(|(_, line)| line.ends_with(['{', '}', ';']))
        .filter(|(_, line)| line.ends_with('{'))?;
    let (close, _) = at_margin.find(|(_, line)| line.trim() == "}")?;
    Some(close - open - 1)
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Nothing is left for later.
fn unfinished(file: &File) -> Vec<Offender> {
    let marks = |line: &str| {
        let word = words(line).find(|word| MARKED_WORDS.contains(word));
        word.or_else(|| MARKED_CODE.into_iter().find(|code| line.contains(code))).map(str::to_owned)
    };
    file.lines().filter_map(|(number, line)| Some(file.offender(number, marks(line)?))).collect()
}

/// The words and names of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|character: char| !character.is_alphanumeric() && character != '_')
}

/// A module of monitor-core knows only its own layer and lower ones.
fn layer_breaches(file: &File) -> Vec<Offender> {
    let Some(inner) = file.path.strip_prefix("monitor-core/src/") else {
        return Vec::new();
    };
    let module = inner.split(['/', '.']).next().unwrap_or(inner);
    if module == "lib" {
        return Vec::new();
    }
    if layer(module).is_none() {
        return vec![file.offender(1, format!("the module `{module}` has no layer"))];
    }
    imports(file)
        .into_iter()
        .filter(|(_, import)| !may_use(module, import))
        .map(|(line, import)| file.offender(line, format!("`{module}` uses `{import}`")))
        .collect()
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.into_iter().find(|(name, _)| *name == module).map(|(_, layer)| layer)
}

/// Whether `module` may use `import`. The ports are for the driver: all else exchanges values.
fn may_use(module: &str, import: &str) -> bool {
    let is_lower = layer(import) <= layer(module) && layer(import).is_some();
    is_lower && (import != "ports" || ["ports", "driver"].contains(&module))
}

/// What follows `crate::` anywhere in the code, also within braces, with the number of its line.
fn imports(file: &File) -> Vec<(usize, String)> {
    let code: Vec<&str> = file.code_lines().map(|(_, line)| line).collect();
    let code = code.join("\n");
    let mut imports = Vec::new();
    for (position, prefix) in code.match_indices("crate::") {
        let start = position + prefix.len();
        let group = code[start..].strip_prefix('{');
        for offset in group.map_or(vec![start], |group| members(group, start + 1)) {
            if let Some(name) = words(&code[offset..]).next().filter(|name| !name.is_empty()) {
                let line = code[..offset].matches('\n').count() + 1;
                imports.push((line, name.to_owned()));
            }
        }
    }
    imports
}

/// Where the members of a group of imports begin. `group` is the text behind its opening brace,
/// and `start` the place of that text in the file.
fn members(group: &str, start: usize) -> Vec<usize> {
    let mut depth = 0;
    let mut expects_member = true;
    let mut members = Vec::new();
    for (offset, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects_member = true,
            _ if expects_member && !character.is_whitespace() => {
                members.push(start + offset);
                expects_member = false;
            }
            _ => {}
        }
    }
    members
}

/// In the bare monitor `unsafe` is in `arch` alone; there and in its guest each attribute and each
/// block of foreign items has its reason above it. Clippy sees to the other blocks.
fn groundless_unsafe(file: &File) -> Vec<Offender> {
    let is_monitor = file.path.starts_with("tests/images/su390/");
    if !is_monitor && !file.path.starts_with("tests/images/guest390/") {
        return Vec::new();
    }
    let may_have = !is_monitor || file.path.starts_with("tests/images/su390/src/arch/");
    let mut has_reason = false;
    let mut offenders = Vec::new();
    for (number, line) in file.lines() {
        let line = line.trim_start();
        let code = line.split("//").next().unwrap_or(line);
        let is_bare = line.starts_with("#[unsafe(") || line.starts_with("unsafe extern");
        if words(code).any(|word| word == "unsafe") && !may_have {
            offenders.push(file.offender(number, "`unsafe` outside of `arch`"));
        } else if is_bare && !has_reason {
            offenders.push(file.offender(number, "`unsafe` without a reason"));
        }
        let goes_on = has_reason && line.starts_with("//");
        has_reason = line.starts_with("// SAFETY:") || goes_on;
    }
    offenders
}

/// What the simulator runs depends on its seed alone.
fn unseeded(file: &File) -> Vec<Offender> {
    let Some(inner) = file.path.strip_prefix("host-harness/src/") else {
        return Vec::new();
    };
    if LIVE_PARTS.iter().any(|part| inner.starts_with(part)) {
        return Vec::new();
    }
    file.code_lines()
        .filter_map(|(number, line)| {
            let name = words(line).find(|word| UNSEEDED.contains(word))?;
            Some(file.offender(number, format!("`{name}` outside of the live parts")))
        })
        .collect()
}

// The repository.

/// Every Rust file of the repository.
fn repository() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| File {
            text: fs::read_to_string(&path).expect("a Rust file is readable text"),
            path: path
                .strip_prefix(&root)
                .expect("the walk stays below its root")
                .to_string_lossy()
                .replace('\\', "/"),
        })
        .collect()
}

/// Collects the Rust files below `folder`, without hidden folders and those that Cargo builds
/// in, which carry a tag.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    if folder.join("CACHEDIR.TAG").exists() {
        return;
    }
    for entry in fs::read_dir(folder).expect("a folder of the repository is readable") {
        let path = entry.expect("an entry of a folder is readable").path();
        let is_hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_symlink() || is_hidden {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Asserts that no file of the repository breaks the rule.
fn assert_kept(rule: fn(&File) -> Vec<Offender>) {
    let offenders: Vec<Offender> = repository().iter().flat_map(rule).collect();
    let list: String = offenders.iter().map(|offender| format!("{offender}\n")).collect();
    assert!(offenders.is_empty(), "{} offenders:\n{list}", offenders.len());
}

#[test]
fn walk_finds_every_crate() {
    let files = repository();
    for path in [
        "monitor-core/src/lib.rs",
        "monitor-core/src/migrate/target",
        "host-harness/src/lib.rs",
        "tests/tests/tidy.rs",
        "tests/images/link-check/src/lib.rs",
    ] {
        assert!(files.iter().any(|file| file.path.starts_with(path)), "{path}");
    }
    assert!(!files.iter().any(|file| file.path.starts_with("target/")));
}

#[test]
fn every_file_has_a_head() {
    assert_kept(headless);
}

#[test]
fn every_file_is_short() {
    assert_kept(long_file);
}

#[test]
fn every_line_is_short() {
    assert_kept(long_lines);
}

#[test]
fn every_function_is_short() {
    assert_kept(long_functions);
}

#[test]
fn nothing_is_unfinished() {
    assert_kept(unfinished);
}

#[test]
fn monitor_core_keeps_its_layers() {
    assert_kept(layer_breaches);
}

#[test]
fn unsafe_has_its_place_and_its_reason() {
    assert_kept(groundless_unsafe);
}

#[test]
fn harness_is_deterministic_outside_its_live_parts() {
    assert_kept(unseeded);
}

/// Rules must fire on planted offenders, and on nothing else.
mod rules {
    use super::*;

    /// The numbers of the lines at which `rule` fires in a file of this path and text.
    fn fires(rule: fn(&File) -> Vec<Offender>, path: &str, text: &str) -> Vec<usize> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        rule(&file).iter().map(|offender| offender.line).collect()
    }

    #[test]
    fn head_is_missed() {
        assert_eq!(fires(headless, "a.rs", "use core::fmt;\n"), [1]);
        assert_eq!(fires(headless, "a.rs", ""), [1]);
        assert_eq!(fires(headless, "a.rs", "#![no_std]\n//! Head.\n"), []);
        assert_eq!(fires(headless, "a.rs", "//! Head.\n"), []);
    }

    #[test]
    fn long_file_is_found() {
        assert_eq!(fires(long_file, "a.rs", &"x\n".repeat(600)), [600]);
        assert_eq!(fires(long_file, "a.rs", &"x\n".repeat(599)), []);
    }

    #[test]
    fn long_line_is_found() {
        let text = format!("{}\n{}\n", "ä".repeat(100), "a".repeat(101));
        assert_eq!(fires(long_lines, "a.rs", &text), [2]);
        assert_eq!(fires(long_lines, "a.rs", &format!("//! | {} |\n", "a".repeat(101))), []);
    }

    #[test]
    fn long_function_is_found_whatever_its_signature() {
        let signatures = [
            "fn a() {",
            "pub(crate) const fn a<T>(\n    b: u8,\n) -> u8\nwhere\n    T: Copy,\n{",
            "pub unsafe extern \"C\" fn a(\n    b: u8,\n) {",
        ];
        for signature in signatures {
            let body = |line_count: usize| "    if b {\n    }\n".repeat(line_count / 2);
            let text = |line_count| format!("\n{signature}\n{}}}\n", body(line_count));
            assert_eq!(fires(long_functions, "a.rs", &text(72)), [2], "{signature}");
            assert_eq!(fires(long_functions, "a.rs", &text(70)), [], "{signature}");
        }
    }

    #[test]
    fn function_without_body_has_no_length() {
        let text = format!("    fn a();\n    fn b() {{}}\n{}    }}\n", "x\n".repeat(80));
        assert_eq!(fires(long_functions, "a.rs", &text), []);
    }

    #[test]
    fn marks_of_unfinished_work_are_found() {
        for mark in MARKED_WORDS.into_iter().chain(MARKED_CODE) {
            let text = format!("fine\n    {mark}: later\n");
            assert_eq!(fires(unfinished, "a.rs", &text), [2], "{mark}");
        }
        assert_eq!(fires(unfinished, "a.rs", concat!("XX", "XX is a name\n")), []);
    }

    #[test]
    fn higher_layer_is_found_in_every_form_of_import() {
        let breaches = |path, text| fires(layer_breaches, path, text);
        assert_eq!(breaches("monitor-core/src/units.rs", "use crate::vm::VmBlock;\n"), [1]);
        assert_eq!(
            breaches("monitor-core/src/vm/a.rs", "//!\nlet a = crate::migrate::b();\n"),
            [2]
        );
        assert_eq!(breaches("monitor-core/src/wire/a.rs", "use crate::ports::Link;\n"), [1]);
        assert_eq!(breaches("monitor-core/src/migrate/a.rs", "use crate::driver;\n"), [1]);
        let group =
            "use crate::{\n    limits,\n    vm::{Reason, Findings},\n    ports::Link,\n};\n";
        assert_eq!(breaches("monitor-core/src/migrate/mod.rs", group), [4]);
        assert_eq!(breaches("monitor-core/src/other/mod.rs", "//! Head.\n"), [1]);
    }

    #[test]
    fn lower_layer_may_be_used() {
        let group = "use crate::{\n    fmt::info,\n    vm::{migrate, driver},\n    wire,\n};\n";
        assert_eq!(fires(layer_breaches, "monitor-core/src/migrate/mod.rs", group), []);
        let all = "use crate::{migrate::Effect, ports::Link, units::Tick};\n";
        assert_eq!(fires(layer_breaches, "monitor-core/src/driver/mod.rs", all), []);
        let comment = "//! The course is in [`crate::migrate`].\n";
        assert_eq!(fires(layer_breaches, "monitor-core/src/vm/mod.rs", comment), []);
        assert_eq!(fires(layer_breaches, "host-harness/src/lib.rs", "use crate::live;\n"), []);
    }

    #[test]
    fn clocks_threads_and_hashing_are_found_outside_the_live_parts() {
        for name in UNSEEDED {
            let text = format!("use std::{name}::x;\n");
            assert_eq!(fires(unseeded, "host-harness/src/sim/mod.rs", &text), [1], "{name}");
            assert_eq!(fires(unseeded, "host-harness/src/live/mod.rs", &text), [], "{name}");
        }
        let comment = "// An Instant would differ.\nlet thread_count = 1;\n";
        assert_eq!(fires(unseeded, "host-harness/src/sim/mod.rs", comment), []);
    }

    #[test]
    fn unsafe_without_place_or_reason_is_found() {
        let bare = "/// What it is.\n#[unsafe(no_mangle)]\n\nunsafe extern \"C\" {\n";
        assert_eq!(fires(groundless_unsafe, "tests/images/su390/src/arch/a.rs", bare), [2, 4]);
        assert_eq!(fires(groundless_unsafe, "tests/images/guest390/src/a.rs", bare), [2, 4]);
        let reasoned = "// SAFETY: it is so,\n// and so.\n#[unsafe(no_mangle)]\n";
        assert_eq!(fires(groundless_unsafe, "tests/images/su390/src/arch/a.rs", reasoned), []);
        assert_eq!(fires(groundless_unsafe, "tests/images/su390/src/a.rs", reasoned), [3]);
        let comment = "// An unsafe thing.\nlet thing = 1;\n";
        assert_eq!(fires(groundless_unsafe, "tests/images/su390/src/a.rs", comment), []);
    }
}
