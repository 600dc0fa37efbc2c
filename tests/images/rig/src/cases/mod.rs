//! What is tried: every case, in the order in which they run.
//!
//! Source of truth: the modules. Invariant: no two cases have the same name. Deliberately not here:
//! how cases are run.

mod boot;
mod faults;
mod mixed;
mod moves;

use crate::case::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(boot::cases());
    cases.extend(moves::cases());
    cases.extend(faults::cases());
    cases.extend(mixed::cases());
    cases
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;

    #[test]
    fn no_two_cases_have_the_same_name() {
        let cases = all();
        let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), cases.len());
    }
}
