//! Judges what an implementation that is not ours has told: once, and again where it differs.
//!
//! Hercules runs devices on threads, and what a sequence tells may depend on them on a loaded
//! machine. The emulated hardware tells the same in each run, so that a fault of ours lasts when
//! the other is asked again, and chance does not.
//!
//! Source of truth: the list of differences. Invariants: only what differs in each run counts; the
//! list is marked by each run. Deliberately not here: how implementations are run.

use crate::{
    compare::{self, Difference, Implementation},
    failure::Result,
    list::List,
    plant::{self, Plant},
    transcript::Transcript,
};

/// The most runs of an implementation.
const RUNS_MAX: u32 = 3;

/// How our outcome is judged.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    /// What our hardware has told.
    pub(crate) ours: &'a Transcript,
    /// Whether every line of the list must have something to explain.
    pub(crate) needs_all_lines: bool,
    /// Whether each difference is told, with the line of the list that has it.
    pub(crate) shows_all: bool,
}

impl Judge<'_> {
    /// Asks an implementation until nothing lasts that is not listed; gives what it told last, and
    /// says whether it came to that.
    pub(crate) fn judge(
        &self,
        theirs: Implementation,
        list: &mut List,
        mut ask: impl FnMut() -> Result<Transcript>,
    ) -> Result<(bool, Transcript)> {
        let name = theirs.name();
        let (mut told, mut lasting) = (Transcript::default(), None::<Vec<Difference>>);
        for run in 1..=RUNS_MAX {
            told = match ask() {
                Err(failure) if run < RUNS_MAX => {
                    println!("oracle: {failure}");
                    println!("oracle: {name}: asked again");
                    continue;
                }
                answer => answer?,
            };
            let mut now = self.differences(theirs, &told, list)?;
            if let Some(before) = lasting {
                now.retain(|one| before.iter().any(|other| other.is_at_place_of(one)));
            }
            let is_settled =
                now.is_empty() && !(self.needs_all_lines && list.unused(theirs).next().is_some());
            lasting = Some(now);
            if is_settled {
                break;
            }
            if run < RUNS_MAX {
                println!("oracle: {name}: asked again: does that last, or is it by chance?");
            }
        }
        let lasting = lasting.unwrap_or_default();
        for difference in &lasting {
            println!("oracle: lasts: {difference}");
        }
        let mut is_good = lasting.is_empty();
        if self.needs_all_lines {
            for line in list.unused(theirs) {
                println!("oracle: line {line} of the list has no difference to explain");
                is_good = false;
            }
            is_good &= self.finds_plants(theirs, &told, list)?;
        }
        Ok((is_good, told))
    }

    /// The differences of one run that are not listed. Tells them, or all on demand.
    fn differences(
        &self,
        theirs: Implementation,
        told: &Transcript,
        list: &mut List,
    ) -> Result<Vec<Difference>> {
        let compared = compare::compare(theirs, told, self.ours)?;
        let count = compared.differences.len();
        let mut unlisted = Vec::new();
        for difference in compared.differences {
            let line = list.explain(&difference);
            match line {
                Some(line) if self.shows_all => {
                    println!("{difference}  (line {line} of the list)");
                }
                Some(_) => {}
                None => {
                    println!("{difference}");
                    unlisted.push(difference);
                }
            }
        }
        println!(
            "oracle: {}: {} sequences, {} steps, {count} differences, {} of them not listed",
            theirs.name(),
            compared.sequence_count,
            compared.step_count,
            unlisted.len(),
        );
        Ok(unlisted)
    }

    /// The control: faults in our outcome must be found.
    fn finds_plants(&self, theirs: Implementation, told: &Transcript, list: &List) -> Result<bool> {
        let mut finds_all = true;
        for &plant in Plant::of(theirs) {
            let faulty = plant::plant(self.ours.clone(), plant);
            let compared = compare::compare(theirs, told, &faulty)?;
            let is_found = compared
                .differences
                .iter()
                .any(|it| it.sequence == plant.sequence() && list.find(it).is_none());
            let verb = if is_found { "finds" } else { "does not find" };
            println!("oracle: {}: control: {verb} {}", theirs.name(), plant.name());
            finds_all &= is_found;
        }
        Ok(finds_all)
    }
}

#[cfg(test)]
mod tests {
    use super::{Judge, RUNS_MAX};
    use crate::{compare::Implementation, failure::Failure, list::List, transcript::Transcript};

    const OURS: [&str; 3] = ["= idle/test", "00 SSCH cc=0", "01 TSCH cc=1"];

    /// Whether all is well when these runs differ from ours at the codes of both steps, and how
    /// often it is asked.
    fn judged(list: &str, needs_all_lines: bool, runs: &[[u8; 2]]) -> (bool, usize) {
        let runs: Vec<_> = runs.iter().copied().map(Some).collect();
        judged_with_failures(list, needs_all_lines, &runs)
    }

    /// The same, where a run may fail.
    fn judged_with_failures(
        list: &str,
        needs_all_lines: bool,
        runs: &[Option<[u8; 2]>],
    ) -> (bool, usize) {
        let ours = Transcript::of_lines(&OURS).expect("it is one");
        let mut list = List::parse(list).expect("it is one");
        let mut count = 0;
        let is_good = Judge { ours: &ours, needs_all_lines, shows_all: false }.judge(
            Implementation::Hercules,
            &mut list,
            || {
                let run = runs[count];
                count += 1;
                let [start, test] = run.ok_or_else(|| Failure::new("hung".to_owned()))?;
                let lines = [format!("00 SSCH cc={start}"), format!("01 TSCH cc={test}")];
                Transcript::of_lines(&[OURS[0], &lines[0], &lines[1]])
            },
        );
        (is_good.expect("it is told").0, count)
    }

    #[test]
    fn what_does_not_differ_is_asked_once() {
        assert_eq!(judged("", false, &[[0, 1]]), (true, 1));
    }

    #[test]
    fn difference_that_does_not_last_is_chance() {
        assert_eq!(judged("", false, &[[0, 0], [0, 1]]), (true, 2));
        assert_eq!(judged("", false, &[[0, 0], [1, 1]]), (true, 2));
    }

    #[test]
    fn difference_that_lasts_is_told_whatever_its_value() {
        let runs = [[0, 0], [0, 2], [0, 3]];
        assert_eq!(runs.len(), RUNS_MAX as usize);
        assert_eq!(judged("", false, &runs), (false, runs.len()));
    }

    #[test]
    fn run_that_fails_says_nothing_of_ours_and_is_done_again() {
        assert_eq!(judged_with_failures("", false, &[None, Some([0, 1])]), (true, 2));
        let lasts = [Some([0, 0]), None, Some([0, 0])];
        assert_eq!(judged_with_failures("", false, &lasts), (false, 3));
    }

    #[test]
    fn listed_difference_is_no_reason_to_ask_again() {
        let list = "Because.\nhercules | idle/* | TSCH | cc | 0 | 1\n";
        assert_eq!(judged(list, false, &[[0, 0]]), (true, 1));
    }

    #[test]
    fn unused_line_and_missing_control_fail_when_all_lines_are_needed() {
        let list = "Because.\nhercules | idle/* | TSCH | cc | 0 | 1\n";
        assert_eq!(judged(list, true, &[[0, 1]; 3]), (false, 3));
        assert_eq!(judged("", true, &[[0, 1]]), (false, 1));
    }
}
