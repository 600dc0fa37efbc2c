//! Consoles against the checked-in files of `tests/images/expected`.
//!
//! A time stamp reads `hhmmss` in a file, and a number behind `=` of the guest's oracle `n`; lines
//! whose text begins with `#` are figures in a console and remarks in a file, and count in neither.
//!
//! In the file of a crash `x` stands for any hexadecimal digit, since addresses and what the
//! compiler has in registers differ from build to build.
//!
//! Source of truth: the files. Invariant: what differs is shown line by line. Deliberately not
//! here: rewriting a file, which needs a look at the difference first.

use std::{fs, path::Path};

use similar::TextDiff;

use crate::failure::{Failure, Result};

/// What stands in a file for a time stamp.
const STAMP: &str = "hhmmss";

/// Holds the lines of a console against the file of this name.
pub(crate) fn with_file(name: &str, lines: &[String]) -> Result<()> {
    hold(name, &read(name)?, &lines.join("\n"))
}

/// As [`with_file`], of a crash.
pub(crate) fn crash_with_file(name: &str, lines: &[String]) -> Result<()> {
    let expected = read(name)?;
    let kept = expected.lines().filter(|line| !line.starts_with('#'));
    let mut masked = lines.to_vec();
    for (line, expected) in masked.iter_mut().zip(kept) {
        *line = mask(line.trim_end(), expected);
    }
    hold(name, &expected, &masked.join("\n"))
}

/// The line with `x` for each hexadecimal digit where `expected` has one.
fn mask(line: &str, expected: &str) -> String {
    let pairs = line.chars().zip(expected.chars().chain(std::iter::repeat(' ')));
    let masked = |(digit, mask): (char, char)| {
        if mask == 'x' && digit.is_ascii_hexdigit() { mask } else { digit }
    };
    pairs.map(masked).collect()
}

fn read(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../expected").join(name);
    fs::read_to_string(&path).map_err(|error| Failure::of_io("cannot read", &path, &error))
}

fn hold(name: &str, expected: &str, console: &str) -> Result<()> {
    match difference(name, expected, console) {
        None => Ok(()),
        Some(text) => Err(Failure::new(format!("the console is not as in {name}")).with(&text)),
    }
}

/// What differs, or `None`.
fn difference(name: &str, expected: &str, console: &str) -> Option<String> {
    let (expected, console) = (normal(expected), normal(console));
    if expected == console {
        return None;
    }
    let diff = TextDiff::from_lines(&expected, &console);
    let mut unified = diff.unified_diff();
    Some(unified.context_radius(3).header(name, "the console").to_string())
}

/// The lines that count, without what differs from run to run.
fn normal(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        let line = uncounted(unstamped(line.trim_end()));
        let said = line.strip_prefix(STAMP).unwrap_or(&line);
        if !said.trim_start().trim_start_matches("% ").starts_with('#') {
            kept += &line;
            kept.push('\n');
        }
    }
    kept
}

fn unstamped(line: &str) -> String {
    match line.split_at_checked(STAMP.len()) {
        Some((stamp, rest))
            if stamp.bytes().all(|byte| byte.is_ascii_digit()) && rest.starts_with(' ') =>
        {
            format!("{STAMP}{rest}")
        }
        _ => line.to_owned(),
    }
}

/// The oracle's line, whose counts no two runs share.
fn uncounted(line: String) -> String {
    match line.split_once(" ROUNDS=") {
        Some((said, _)) if said.contains("ORACLE") => format!("{said} ROUNDS=n TICKS=n"),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::{difference, mask};

    #[test]
    fn stamps_and_figures_do_not_count() {
        let expected = "# a remark\nhhmmss % VMS2450 X\nDONE\n";
        let console = "120001 % VMS2450 X\r\n# 5 ms\n120002 % # 7 ms\nDONE";
        assert_eq!(difference("file", expected, console), None);
    }

    #[test]
    fn what_differs_is_shown_line_by_line() {
        let text = difference("file", "ONE\nTWO\n", "ONE\nTHREE\n").expect("they differ");
        assert!(text.contains("-TWO") && text.contains("+THREE"), "{text}");
    }

    #[test]
    fn only_digits_are_masked() {
        assert_eq!(mask("PSW 01AF 0002", "PSW 01xx 0001"), "PSW 01xx 0002");
        assert_eq!(mask("PSW 01AF", "PSW 01xx 0001"), "PSW 01xx");
        assert_eq!(mask("PSW 0 AF 3", "PSW xxxx"), "PSW x xx 3");
    }

    #[test]
    fn only_whole_stamps_are_stamps() {
        assert!(difference("file", "hhmmss A\n", "12345 A\n").is_some());
    }
}
