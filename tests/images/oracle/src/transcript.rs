//! What an implementation has told: sequences, their steps, and the fields of each.
//!
//! Source of truth: `oracle_sequences::outcome`. Invariant: a transcript is whole, or there is a
//! failure that says where it ends. Deliberately not here: what is right.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::failure::{Failure, Result};

/// What each line of the image begins with, behind whatever else the console shows.
const MARK: &str = "::";
/// How many lines of a console are shown that broke off.
const SHOWN_LINES: usize = 20;

/// All sequences, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    /// The sequences.
    pub(crate) sequences: Vec<Told>,
}

/// One sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its name.
    pub(crate) name: String,
    /// Its steps by number, as far as they have something to tell.
    pub(crate) steps: BTreeMap<usize, Step>,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// The instruction.
    pub(crate) what: String,
    /// Its fields, in their order.
    pub(crate) fields: Vec<(String, String)>,
}

impl Step {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

impl Told {
    /// Whether the implementation does not have what the sequence needs.
    pub(crate) fn is_absent(&self) -> bool {
        self.steps.values().any(|step| step.what == "ABSENT")
    }
}

impl Transcript {
    /// Reads the console of a machine that has run the image.
    pub(crate) fn of_console(program: &str, console: &str) -> Result<Self> {
        let lines = console.lines().filter_map(|line| line.split_once(MARK));
        let lines = lines.map(|(_, line)| line.trim_end());
        // The image asks the operator for a line by this word.
        let lines: Vec<_> = lines.filter(|line| *line != "TYPE").collect();
        if !lines.last().is_some_and(|line| line.starts_with("DONE ")) {
            let all: Vec<_> = console.lines().collect();
            let shown = &all[all.len().saturating_sub(SHOWN_LINES)..];
            let shown = shown.join("\n");
            return Err(Failure::new(format!("{program} did not end; its last lines:\n{shown}")));
        }
        Self::of_lines(lines.split_last().map_or(&[][..], |(_, lines)| lines))
    }

    /// Reads lines.
    pub(crate) fn of_lines(lines: &[&str]) -> Result<Self> {
        let mut transcript = Self::default();
        for line in lines {
            if let Some(name) = line.strip_prefix("= ") {
                transcript.sequences.push(Told { name: name.to_owned(), ..Told::default() });
                continue;
            }
            let mut words = line.split(' ');
            let index = words.next().and_then(|word| word.parse().ok());
            let (Some(index), Some(what), Some(told)) =
                (index, words.next(), transcript.sequences.last_mut())
            else {
                return Err(Failure::new(format!("'{line}' is no line of an outcome")));
            };
            let field = |word: &str| {
                let (name, value) = word.split_once('=').unwrap_or((word, ""));
                (name.to_owned(), value.to_owned())
            };
            let step = Step { what: what.to_owned(), fields: words.map(field).collect() };
            told.steps.insert(index, step);
        }
        Ok(transcript)
    }

    /// The lines again.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for told in &self.sequences {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "= {}", told.name);
            for (index, step) in &told.steps {
                let _ = write!(text, "{index:02} {}", step.what);
                for (name, value) in &step.fields {
                    let _ = write!(text, " {name}={value}");
                }
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Transcript;

    const CONSOLE: &str = "Hercules\n::= one\nHELLO::00 SSCH cc=0\r\n\
                           ::02 TSCH cc=0 ctl=4007\n::DONE 1\nend\n";

    #[test]
    fn lines_are_found_between_those_of_the_console() {
        let read = Transcript::of_console("it", CONSOLE).expect("it is whole");
        assert_eq!(read.to_text(), "= one\n00 SSCH cc=0\n02 TSCH cc=0 ctl=4007\n");
        let step = &read.sequences[0].steps[&2];
        assert_eq!((step.field("ctl"), step.field("ds")), (Some("4007"), None));
    }

    #[test]
    fn console_that_breaks_off_is_shown() {
        let (begin, _) = CONSOLE.split_once("::DONE").expect("it is there");
        let failure = Transcript::of_console("it", begin).expect_err("it has no end");
        assert!(failure.to_string().contains("02 TSCH"), "{failure}");
    }
}
