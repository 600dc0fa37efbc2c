//! Faults in our own outcome, as a control: the comparison must find them.
//!
//! Source of truth: none. Invariant: one value of one step is altered, in a sequence without listed
//! differences. Deliberately not here: faults in the emulated hardware itself.

use crate::{compare::Implementation, transcript::Transcript};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// MODIFY SUBCHANNEL at a pending status ends with condition code 2 in place of 1.
    ConditionCode,
    /// A read that is longer than the data ends with a residual count of one less.
    ResidualCount,
}

impl Plant {
    /// The faults that an implementation must find. QEMU stores no residual count.
    pub(crate) const fn of(theirs: Implementation) -> &'static [Self] {
        match theirs {
            Implementation::Hercules => &[Self::ConditionCode, Self::ResidualCount],
            Implementation::Qemu => &[Self::ConditionCode],
        }
    }

    /// What it is.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConditionCode => "a wrong condition code",
            Self::ResidualCount => "a wrong residual count",
        }
    }

    /// The sequence that it is in.
    pub(crate) const fn sequence(self) -> &'static str {
        match self {
            Self::ConditionCode => "pending/modify",
            Self::ResidualCount => "count/sense-id-512-20",
        }
    }
}

/// Alters one value.
pub(crate) fn plant(mut transcript: Transcript, plant: Plant) -> Transcript {
    let (step, field, value) = match plant {
        Plant::ConditionCode => ("MSCH", "cc", "2"),
        Plant::ResidualCount => ("TSCH", "cnt", "01F8"),
    };
    let told = transcript.sequences.iter_mut().filter(|told| told.name == plant.sequence());
    let steps = told.flat_map(|told| told.steps.values_mut()).filter(|it| it.what == step);
    let mut fields = steps.flat_map(|step| &mut step.fields);
    if let Some((_, found)) = fields.find(|(name, _)| name == field) {
        value.clone_into(found);
    }
    transcript
}
