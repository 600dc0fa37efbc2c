//! Values of ours that nobody else judges: the list lets them be anything at each implementation
//! that runs the sequence. They are fixed in a file, so that none of them changes unseen.
//!
//! A line of the file is `sequence | number step | field | value`.
//!
//! Source of truth: `tests/images/expected/oracle-unjudged.txt`, written anew with `OVERWRITE=1`.
//! Invariant: the list and who lacks a unit decide what is in it, not what is told. Deliberately
//! not here: why the list leaves a value open.

use std::{collections::BTreeSet, env, fmt::Write as _, fs};

use crate::{
    compare::Implementation,
    failure::{Failure, Result},
    list::List,
    transcript::Transcript,
};

/// The checked-in values.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../expected/oracle-unjudged.txt");

/// Holds the values that nobody judges against the file, and says whether they are as there.
pub(crate) fn check(
    ours: &Transcript,
    theirs: &[(Implementation, Transcript)],
    list: &List,
) -> Result<bool> {
    let now = lines(ours, theirs, list);
    if env::var_os("OVERWRITE").is_some() {
        let mut text = String::new();
        for line in &now {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        fs::write(FILE, text).map_err(|error| Failure::of_io("write", FILE, &error))?;
        return Ok(true);
    }
    let file = fs::read_to_string(FILE).map_err(|error| Failure::of_io("read", FILE, &error))?;
    Ok(is_fixed(&now, &file))
}

/// Tells what only one of both has.
fn is_fixed(now: &[String], file: &str) -> bool {
    let fixed: BTreeSet<_> = file.lines().collect();
    let told: BTreeSet<_> = now.iter().map(String::as_str).collect();
    for line in told.difference(&fixed) {
        println!("oracle: nobody judges, and it was not so before: {line}");
    }
    for line in fixed.difference(&told) {
        println!("oracle: nobody judged, and it is not so any more: {line}");
    }
    println!("oracle: {} values of ours are judged by nobody, and fixed", fixed.len());
    fixed == told
}

/// A line for each value that nobody judges.
fn lines(ours: &Transcript, theirs: &[(Implementation, Transcript)], list: &List) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, sequence) in ours.sequences.iter().enumerate() {
        let judges: Vec<_> = theirs
            .iter()
            .filter(|(_, told)| told.sequences.get(place).is_some_and(|told| !told.is_absent()))
            .map(|(implementation, _)| *implementation)
            .collect();
        for (index, step) in &sequence.steps {
            for (field, value) in &step.fields {
                let (name, what) = (&sequence.name, &step.what);
                if judges.iter().all(|judge| list.leaves_open(*judge, [name, what, field])) {
                    lines.push(format!("{name} | {index:02} {what} | {field} | {value}"));
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{is_fixed, lines};
    use crate::{compare::Implementation, list::List, transcript::Transcript};

    const LIST: &str = "Because.\nhercules | idle/* | TSCH | * | * | *\n\
                        qemu | idle/test | * | cc | 0 | 1\nqemu | idle/halt | * | * | 0 | *\n";

    fn unjudged(qemu: &[&str]) -> Vec<String> {
        let of = |lines: &[&str]| Transcript::of_lines(lines).expect("it is one");
        let ours = of(&["= idle/test", "01 TSCH cc=1", "= idle/halt", "02 TSCH cc=0 ds=0C"]);
        let theirs = [(Implementation::Hercules, ours.clone()), (Implementation::Qemu, of(qemu))];
        lines(&ours, &theirs, &List::parse(LIST).expect("it is one"))
    }

    #[test]
    fn value_is_judged_by_whoever_is_not_allowed_anything() {
        let both = ["= idle/test", "01 TSCH cc=1", "= idle/halt", "02 TSCH cc=0"];
        assert_eq!(
            unjudged(&both),
            ["idle/halt | 02 TSCH | cc | 0", "idle/halt | 02 TSCH | ds | 0C"]
        );
    }

    #[test]
    fn who_lacks_the_unit_judges_nothing() {
        let lacks = ["= idle/test", "00 ABSENT", "= idle/halt", "02 TSCH cc=0"];
        assert_eq!(unjudged(&lacks)[0], "idle/test | 01 TSCH | cc | 1");
    }

    #[test]
    fn value_that_is_new_gone_or_other_is_told() {
        let now = ["a | 01 TSCH | cc | 1".to_owned()];
        assert!(is_fixed(&now, "a | 01 TSCH | cc | 1\n"));
        assert!(!is_fixed(&now, "a | 01 TSCH | cc | 0\n"));
        assert!(!is_fixed(&now, ""));
        assert!(!is_fixed(&[], "a | 01 TSCH | cc | 1\n"));
    }
}
