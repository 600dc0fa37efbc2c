//! The differences that are right, each with its reason.
//!
//! A line of the list is `implementation | sequence | step | field | theirs | ours`, where `*`
//! stands for any text; it belongs to the paragraph of reasons above it. The first line that fits
//! explains a difference. A `?` behind the implementation says that the difference comes and goes
//! from run to run, because what they tell is by chance.
//!
//! Source of truth: `tests/images/expected/oracle-differences.txt`. Invariants: there is no line
//! without a reason; a line that explains nothing is told, unless chance may have it so.
//! Deliberately not here: the differences.

use crate::{
    compare::{Difference, Implementation},
    failure::{Failure, Result},
};

/// The list, and which of its lines have explained something.
#[derive(Debug)]
pub(crate) struct List {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// The number of the line, from 1.
    line: usize,
    /// Patterns of implementation, sequence, step, field, theirs and ours.
    patterns: [String; 6],
    /// Whether there may be nothing to explain.
    is_by_chance: bool,
    is_used: bool,
}

impl List {
    /// Reads the list.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        let mut has_reason = false;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            // A blank line and a remark end what a reason is for.
            if line.is_empty() || line.starts_with('#') || !line.contains(" | ") {
                has_reason = !line.is_empty() && !line.starts_with('#');
                continue;
            }
            let patterns: Vec<_> = line.split(" | ").map(|it| it.trim().to_owned()).collect();
            let mut patterns: [String; 6] = patterns.try_into().map_err(|_| {
                Failure::new(format!("line {number} of the list has not six parts"))
            })?;
            let is_by_chance = patterns[0].ends_with('?');
            if is_by_chance {
                patterns[0].pop();
            }
            if Implementation::of_name(&patterns[0]).is_none() {
                return Err(Failure::new(format!("line {number} of the list is about nobody")));
            }
            if !has_reason {
                return Err(Failure::new(format!("line {number} of the list has no reason")));
            }
            rules.push(Rule { line: number, patterns, is_by_chance, is_used: false });
        }
        Ok(Self { rules })
    }

    /// The line that explains a difference, if there is one, which is marked.
    pub(crate) fn explain(&mut self, difference: &Difference) -> Option<usize> {
        let rule = self.rules.iter_mut().find(|rule| rule.fits(difference))?;
        rule.is_used = true;
        Some(rule.line)
    }

    /// The line that would explain a difference, if there is one.
    pub(crate) fn find(&self, difference: &Difference) -> Option<usize> {
        self.rules.iter().find(|rule| rule.fits(difference)).map(|rule| rule.line)
    }

    /// Whether ours may be anything at a sequence, step and field, if theirs is what a line says.
    pub(crate) fn leaves_open(&self, theirs: Implementation, place: [&str; 3]) -> bool {
        self.rules.iter().any(|rule| {
            let [implementation, sequence, step, field, _, ours] = &rule.patterns;
            let patterns = [implementation, sequence, step, field].into_iter();
            let names = [theirs.name()].into_iter().chain(place);
            ours == "*" && patterns.zip(names).all(|(pattern, name)| matches(pattern, name))
        })
    }

    /// The lines of fixed sequences of an implementation that have explained nothing.
    pub(crate) fn unused(&self, theirs: Implementation) -> impl Iterator<Item = usize> {
        let rules = self.rules.iter().filter(move |rule| rule.patterns[0] == theirs.name());
        let fixed = rules.filter(|rule| !rule.patterns[1].starts_with("random"));
        fixed.filter(|rule| !rule.is_used && !rule.is_by_chance).map(|rule| rule.line)
    }
}

impl Rule {
    fn fits(&self, difference: &Difference) -> bool {
        let Difference { implementation, sequence, step, field, theirs, ours, .. } = difference;
        let texts = [implementation.name(), sequence, step, field, theirs, ours];
        self.patterns.iter().zip(texts).all(|(pattern, text)| matches(pattern, text))
    }
}

/// Whether the text is as the pattern says, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(begin) else {
        return false;
    };
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    ends.any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::{List, matches};
    use crate::compare::{Difference, Implementation};

    fn difference(field: &str) -> Difference {
        Difference {
            implementation: Implementation::Hercules,
            sequence: "idle/halt".to_owned(),
            index: 3,
            step: "TSCH".to_owned(),
            field: field.to_owned(),
            theirs: "2200".to_owned(),
            ours: "2001".to_owned(),
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        assert!(matches("idle/*", "idle/halt") && matches("*/halt*", "idle/halt"));
        assert!(matches("*", "") && !matches("idle/", "idle/halt") && !matches("a*b", "ac"));
    }

    #[test]
    fn line_explains_what_it_names_and_unused_ones_are_told() {
        let text = "Because.\nhercules | idle/* | TSCH | ctl | 2200 | *\n\
                    qemu | idle/* | TSCH | ctl | 2200 | *\nhercules | random/* | * | * | * | *\n";
        let mut list = List::parse(text).expect("it is one");
        assert_eq!(list.explain(&difference("cpa")), None);
        assert_eq!(list.explain(&difference("ctl")), Some(2));
        assert_eq!(list.unused(Implementation::Hercules).count(), 0);
        assert_eq!(list.unused(Implementation::Qemu).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn line_that_holds_by_chance_explains_and_is_never_told() {
        let text = "Because.\nhercules? | idle/* | TSCH | ctl | * | *\n\
                    hercules? | idle/* | TSCH | cpa | * | *\n";
        let mut list = List::parse(text).expect("it is one");
        assert_eq!(list.explain(&difference("ctl")), Some(2));
        assert_eq!(list.unused(Implementation::Hercules).count(), 0);
    }

    #[test]
    fn line_without_reason_or_about_nobody_or_with_a_part_too_few_is_refused() {
        assert!(List::parse("# remark\nqemu | a | b | c | d | e\n").is_err());
        assert!(List::parse("Because.\n\nqemu | a | b | c | d | e\n").is_err());
        assert!(List::parse("Because.\nqemu | a | b | c | d\n").is_err());
        assert!(List::parse("Because.\nqemo | a | b | c | d | e\n").is_err());
        assert!(List::parse("Because.\nqemu | a | b | c | d | e\n").is_ok());
    }
}
