//! Where two outcomes of the same sequences differ.
//!
//! Source of truth: none. Invariants: both have the same sequences in the same order; a step that
//! only one has is a difference; a sequence that one of them cannot run is left out. Deliberately
//! not here: which differences are right.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    failure::{Failure, Result},
    transcript::{Step, Told, Transcript},
};

/// An implementation that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Implementation {
    /// Hercules.
    Hercules,
    /// QEMU.
    Qemu,
}

impl Implementation {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Hercules, Self::Qemu];

    /// The one of this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Its name in the list.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hercules => "hercules",
            Self::Qemu => "qemu",
        }
    }
}

/// Something that is told in two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) implementation: Implementation,
    pub(crate) sequence: String,
    /// The number of the step.
    pub(crate) index: usize,
    /// The instruction.
    pub(crate) step: String,
    /// The field, or `line` for a step that one of the two does not have.
    pub(crate) field: String,
    pub(crate) theirs: String,
    pub(crate) ours: String,
}

impl Difference {
    /// Whether both are about the same field of the same step, whatever is told.
    pub(crate) fn is_at_place_of(&self, other: &Self) -> bool {
        (self.implementation, self.index) == (other.implementation, other.index)
            && (&self.sequence, &self.field) == (&other.sequence, &other.field)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { implementation, sequence, index, step, field, theirs, ours } = self;
        let name = implementation.name();
        write!(formatter, "{name} | {sequence} | {step} | {field} | {theirs} | {ours}")?;
        write!(formatter, "  (step {index})")
    }
}

/// What came of a comparison.
#[derive(Debug)]
pub(crate) struct Compared {
    /// Sequences that both have run.
    pub(crate) sequence_count: usize,
    /// Their steps.
    pub(crate) step_count: usize,
    /// Where they differ.
    pub(crate) differences: Vec<Difference>,
}

/// Compares two outcomes.
pub(crate) fn compare(
    implementation: Implementation,
    theirs: &Transcript,
    ours: &Transcript,
) -> Result<Compared> {
    let mut compared = Compared { sequence_count: 0, step_count: 0, differences: Vec::new() };
    if theirs.sequences.len() != ours.sequences.len() {
        let (theirs, ours) = (theirs.sequences.len(), ours.sequences.len());
        return Err(Failure::new(format!("{theirs} sequences of theirs, {ours} of ours")));
    }
    for (theirs, ours) in theirs.sequences.iter().zip(&ours.sequences) {
        if theirs.name != ours.name {
            let (theirs, ours) = (&theirs.name, &ours.name);
            return Err(Failure::new(format!("{theirs} is compared with {ours}")));
        }
        if !theirs.is_absent() && !ours.is_absent() {
            compared.sequence_count += 1;
            compared.step_count += ours.steps.len();
            compare_steps(implementation, theirs, ours, &mut compared.differences);
        }
    }
    Ok(compared)
}

fn compare_steps(
    implementation: Implementation,
    theirs: &Told,
    ours: &Told,
    differences: &mut Vec<Difference>,
) {
    let indexes: BTreeSet<_> = theirs.steps.keys().chain(ours.steps.keys()).copied().collect();
    for index in indexes {
        let (their, our) = (theirs.steps.get(&index), ours.steps.get(&index));
        let step = their.or(our).map_or("", |step| step.what.as_str());
        for (field, their, our) in fields(their, our) {
            if their != our {
                differences.push(Difference {
                    implementation,
                    sequence: ours.name.clone(),
                    index,
                    step: step.to_owned(),
                    field,
                    theirs: their,
                    ours: our,
                });
            }
        }
    }
}

/// The fields of both, each with both values; a step that one does not have is one field.
fn fields(theirs: Option<&Step>, ours: Option<&Step>) -> Vec<(String, String, String)> {
    let (Some(theirs), Some(ours)) = (theirs, ours) else {
        return vec![("line".to_owned(), whole(theirs), whole(ours))];
    };
    let mut names = BTreeMap::new();
    let both = theirs.fields.iter().chain(&ours.fields);
    for (place, (name, _)) in both.enumerate() {
        names.entry(name).or_insert(place);
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(_, place)| *place);
    let value = |step: &Step, name: &str| step.field(name).unwrap_or("-").to_owned();
    let all = names.into_iter();
    all.map(|(name, _)| (name.clone(), value(theirs, name), value(ours, name))).collect()
}

fn whole(step: Option<&Step>) -> String {
    let Some(step) = step else {
        return "-".to_owned();
    };
    let fields: Vec<_> =
        step.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    fields.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Implementation, compare};
    use crate::transcript::Transcript;

    fn differences(theirs: &[&str], ours: &[&str]) -> Vec<String> {
        let theirs = Transcript::of_lines(theirs).expect("it is one");
        let ours = Transcript::of_lines(ours).expect("it is one");
        let compared = compare(Implementation::Qemu, &theirs, &ours).expect("they are alike");
        compared.differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_field_that_differs_is_told() {
        let found = differences(
            &["= a", "00 TSCH cc=0 ctl=4007 ds=0C"],
            &["= a", "00 TSCH cc=0 ctl=4017 ds=0E"],
        );
        assert_eq!(
            found,
            [
                "qemu | a | TSCH | ctl | 4007 | 4017  (step 0)",
                "qemu | a | TSCH | ds | 0C | 0E  (step 0)",
            ]
        );
    }

    #[test]
    fn step_and_field_of_one_side_are_differences() {
        let found = differences(
            &["= a", "01 SETTLE late=2200", "02 TSCH cc=1"],
            &["= a", "02 TSCH cc=0 ctl=2001"],
        );
        assert_eq!(
            found,
            [
                "qemu | a | SETTLE | line | late=2200 | -  (step 1)",
                "qemu | a | TSCH | cc | 1 | 0  (step 2)",
                "qemu | a | TSCH | ctl | - | 2001  (step 2)",
            ]
        );
    }

    #[test]
    fn sequence_that_one_cannot_run_is_left_out() {
        assert!(differences(&["= a", "00 ABSENT"], &["= a", "00 SSCH cc=0"]).is_empty());
    }
}
