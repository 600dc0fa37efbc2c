//! Faults in our own outcome, as a control: the comparison must find them.
//!
//! Source of truth: none. Invariant: one value of one step is altered, in a sequence without listed
//! differences. Deliberately not here: faults in the emulated hardware itself.

use clap::ValueEnum;

use crate::transcript::Transcript;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plant {
    /// MODIFY SUBCHANNEL at a pending status ends with condition code 2 in place of 1.
    ConditionCode,
    /// A read that is longer than the data ends with a residual count of one less.
    ResidualCount,
}

/// Alters one value.
pub(crate) fn plant(mut transcript: Transcript, plant: Plant) -> Transcript {
    let (sequence, step, field, value) = match plant {
        Plant::ConditionCode => ("pending/modify", "MSCH", "cc", "2"),
        Plant::ResidualCount => ("count/sense-id-512-20", "TSCH", "cnt", "01F8"),
    };
    let told = transcript.sequences.iter_mut().filter(|told| told.name == sequence);
    let steps = told.flat_map(|told| told.steps.values_mut()).filter(|it| it.what == step);
    let mut fields = steps.flat_map(|step| &mut step.fields);
    if let Some((_, found)) = fields.find(|(name, _)| name == field) {
        value.clone_into(found);
    }
    transcript
}
