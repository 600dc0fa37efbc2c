//! When to stop the guest: pure functions over what was measured.
//!
//! Source of truth: ARCHITECTURE.md, "The stop rule". The predicted blackout is the sum of what
//! the stop costs: the pages that are left at a low quantile of the measured bandwidth, state
//! (saved, sent and restored in a rehearsal), two round trips, and the two steps of the claim.
//! Stopping the processors and draining I/O cannot be rehearsed and are not in it. Invariants: no
//! state, no clock; integers only; a zero measurement never divides. Deliberately not here:
//! throttling, elision, post-copy.

use heapless::Vec;

use crate::{
    limits::{PAGE_BYTES, PASSES_MAX},
    units::{ByteCount, Micros, PageCount},
};

/// Samples of bandwidth that are kept.
const SAMPLES: usize = 16;

/// Passes beyond the first that fits the budget, if each leaves clearly less than the one before.
const POLISH_PASSES: usize = 4;

/// Passes after which a guest of which most is still dirty is given up.
const COLD_PASSES_MAX: usize = 6;

/// What one pass over the memory did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PassReport {
    /// Pages sent.
    pub pages: PageCount,
    /// Bytes on the wire, headers and keys included.
    pub bytes: ByteCount,
    /// From the first page to the acknowledgement of the last.
    pub time: Micros,
    /// Pages that were dirty when the pass had ended.
    pub left: PageCount,
}

/// The passes of one attempt, oldest first.
pub type Passes = Vec<PassReport, PASSES_MAX>;

/// Bytes that were acknowledged in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Sample {
    bytes: u64,
    micros: u64,
}

impl Sample {
    /// Bytes per second; `None` without time.
    const fn rate(self) -> Option<u64> {
        self.bytes.saturating_mul(1_000_000).checked_div(self.micros)
    }
}

/// Measured bandwidth: the last samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bandwidth {
    samples: [Option<Sample>; SAMPLES],
}

impl Bandwidth {
    /// Adds a sample; one without time is no sample.
    pub fn add(&mut self, bytes: ByteCount, time: Micros) {
        if time.get() == 0 {
            return;
        }
        let mut carried = Some(Sample { bytes: bytes.get(), micros: time.get() });
        for sample in &mut self.samples {
            carried = core::mem::replace(sample, carried);
        }
    }

    /// The mean over all the time that was measured, in bytes per second; 0 when there is none.
    #[must_use]
    pub fn mean(&self) -> u64 {
        let sum = |sum: Sample, sample: &Sample| Sample {
            bytes: sum.bytes.saturating_add(sample.bytes),
            micros: sum.micros.saturating_add(sample.micros),
        };
        let nothing = Sample { bytes: 0, micros: 0 };
        self.samples.iter().flatten().fold(nothing, sum).rate().unwrap_or(0)
    }

    /// A low quantile in bytes per second: at most one eighth of the samples are lower.
    #[must_use]
    pub fn low(&self) -> u64 {
        let mut rates = self.samples.map(|sample| sample.and_then(Sample::rate));
        rates.sort_unstable();
        // What was not measured sorts before everything that was.
        let missing = rates.iter().filter(|rate| rate.is_none()).count();
        let known = rates.get(missing..).unwrap_or(&[]);
        known.get(known.len() / 8).copied().flatten().unwrap_or(0)
    }
}

/// What the stop of the guest would cost now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Prediction {
    /// Pages to be sent while the guest is stopped; changed keys count as the pages that their
    /// frames take.
    pub pages: PageCount,
    /// Low quantile of the bandwidth, in bytes per second.
    pub bandwidth: u64,
    /// Saving, sending and restoring the state, as rehearsed.
    pub state: Micros,
    /// One round trip with an acknowledgement.
    pub round_trip: Micros,
    /// One change of the ownership record.
    pub claim: Micros,
}

impl Prediction {
    /// The predicted blackout.
    #[must_use]
    pub fn blackout(&self) -> Micros {
        transfer(self.pages, self.bandwidth).plus(self.fixed())
    }

    /// The part of the blackout that no further pass makes shorter.
    #[must_use]
    pub const fn fixed(&self) -> Micros {
        self.state.plus(self.commit())
    }

    /// The part of the blackout behind COMMIT, which cannot be rolled back by one side alone.
    #[must_use]
    pub const fn commit(&self) -> Micros {
        self.round_trip.plus(self.round_trip).plus(self.claim).plus(self.claim)
    }
}

/// The time to move `pages` at `bandwidth` bytes per second; for ever when there is none.
#[must_use]
pub fn transfer(pages: PageCount, bandwidth: u64) -> Micros {
    let page_bytes = u64::try_from(PAGE_BYTES).unwrap_or(u64::MAX);
    let micros = pages.get().saturating_mul(page_bytes).saturating_mul(1_000_000);
    match micros.checked_div(bandwidth) {
        Some(micros) => Micros::new(micros),
        None if pages.get() == 0 => Micros::new(0),
        None => Micros::new(u64::MAX),
    }
}

/// What to do after a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Decision {
    /// Copy once more what was changed.
    AnotherPass,
    /// Stop the guest.
    Stop,
    /// The guest changes its pages faster than the link moves them.
    GiveUp,
    /// The stop would exceed the budget even if almost nothing were left to be sent.
    OverBudget,
}

/// Decides after a pass. `passes` ends with the pass that has just ended; `guest` is the whole
/// storage of the VM.
#[must_use]
pub fn decide(
    passes: &[PassReport],
    prediction: &Prediction,
    budget: Micros,
    guest: PageCount,
) -> Decision {
    let stuck = is_stuck(passes);
    // Most of such a guest would be copied while it stands still. That is no live migration, and
    // all of the prediction would hang on the bandwidth: it is given up whatever the budget says.
    let mostly_cold = prediction.pages.get() > guest.get() / 2;
    if mostly_cold {
        let enough = stuck || passes.len() >= COLD_PASSES_MAX;
        return if enough { Decision::GiveUp } else { Decision::AnotherPass };
    }
    if prediction.blackout() <= budget {
        let fitting = passes.iter().rev().take_while(|pass| shrinks_clearly(pass)).count();
        // Copying goes on while it clearly pays: a page sent now is one less in the blackout.
        let pays = transfer(prediction.pages, prediction.bandwidth) > prediction.state;
        let polishes = fitting > 0 && fitting <= POLISH_PASSES && passes.len() < PASSES_MAX;
        return if pays && polishes { Decision::AnotherPass } else { Decision::Stop };
    }
    if !stuck && passes.len() < PASSES_MAX {
        return Decision::AnotherPass;
    }
    let pages = transfer(prediction.pages, prediction.bandwidth);
    if pages <= prediction.fixed() { Decision::OverBudget } else { Decision::GiveUp }
}

/// Whether a pass left at most three quarters of what it sent.
const fn shrinks_clearly(pass: &PassReport) -> bool {
    pass.left.get().saturating_mul(4) <= pass.pages.get().saturating_mul(3)
}

/// Whether the passes get nowhere: the last two together left nine tenths of what they sent, or
/// each of them had to send as much as the one before it.
fn is_stuck(passes: &[PassReport]) -> bool {
    match passes {
        [.., one, two, three] => {
            leave_all(two, three) || (resends(one, two) && resends(two, three))
        }
        [one, two] => leave_all(one, two),
        _ => false,
    }
}

/// Whether two passes together left nine tenths of what they sent, or more.
const fn leave_all(one: &PassReport, two: &PassReport) -> bool {
    let sent = one.pages.get().saturating_add(two.pages.get());
    let left = one.left.get().saturating_add(two.left.get());
    left.saturating_mul(10) >= sent.saturating_mul(9)
}

/// Whether a pass sent 97 hundredths of what the one before it sent, or more.
const fn resends(before: &PassReport, after: &PassReport) -> bool {
    after.pages.get().saturating_mul(100) >= before.pages.get().saturating_mul(97)
}

/// Whether a pass left less than nine tenths of what it sent.
const fn shrinks_at_all(pass: &PassReport) -> bool {
    pass.left.get().saturating_mul(10) < pass.pages.get().saturating_mul(9)
}

/// What can be said about the rest of the move after a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Forecast {
    /// Whether the passes come to an end.
    pub converges: bool,
    /// The blackout if the guest were stopped now.
    pub blackout: Micros,
    /// Pages that are dirty.
    pub left: PageCount,
    /// Time until the guest can be stopped; `Micros::MAX`-like when it does not converge.
    pub time_left: Micros,
}

/// Forecasts the rest from the last pass: each further pass is as much shorter as the last one
/// left less than it sent.
#[must_use]
pub fn forecast(last: &PassReport, prediction: &Prediction, budget: Micros) -> Forecast {
    let blackout = prediction.blackout();
    let converges = blackout <= budget || shrinks_at_all(last);
    // The sum of a geometric series with ratio left / pages: left * pages / (pages - left).
    let fewer = last.pages.get().saturating_sub(last.left.get());
    let pages = last.left.get().saturating_mul(last.pages.get()).checked_div(fewer);
    let time_left = if blackout <= budget {
        Micros::new(0)
    } else {
        pages.map_or(Micros::new(u64::MAX), |pages| {
            transfer(PageCount::new(pages), prediction.bandwidth)
        })
    };
    Forecast { converges, blackout, left: last.left, time_left }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(pages: u64, left: u64) -> PassReport {
        PassReport {
            pages: PageCount::new(pages),
            bytes: ByteCount::new(pages * 4096),
            time: Micros::new(pages * 4),
            left: PageCount::new(left),
        }
    }

    fn prediction(pages: u64) -> Prediction {
        Prediction {
            pages: PageCount::new(pages),
            bandwidth: 1 << 30,
            state: Micros::new(1_000),
            round_trip: Micros::new(100),
            claim: Micros::new(50),
        }
    }

    const BUDGET: Micros = Micros::from_millis(300);

    #[test]
    fn low_quantile_is_below_the_mean_when_the_link_stutters() {
        let mut bandwidth = Bandwidth::default();
        for rate in [10, 10, 10, 10, 10, 10, 10, 1] {
            bandwidth.add(ByteCount::new(rate), Micros::new(1_000_000));
        }
        assert_eq!(bandwidth.mean(), 8);
        assert_eq!(bandwidth.low(), 10);
        // A sample that took long weighs as much as it took.
        let mut uneven = Bandwidth::default();
        uneven.add(ByteCount::new(100), Micros::new(1_000_000));
        uneven.add(ByteCount::new(100), Micros::new(9_000_000));
        assert_eq!(uneven.mean(), 20);
        bandwidth.add(ByteCount::new(1), Micros::new(1_000_000));
        bandwidth.add(ByteCount::new(1), Micros::new(1_000_000));
        assert_eq!(bandwidth.low(), 1);
        bandwidth.add(ByteCount::new(1), Micros::new(0));
        assert_eq!(bandwidth.low(), 1);
    }

    #[test]
    fn samples_older_than_the_window_are_forgotten() {
        let mut bandwidth = Bandwidth::default();
        bandwidth.add(ByteCount::new(1), Micros::new(1_000_000));
        for _ in 0..SAMPLES {
            bandwidth.add(ByteCount::new(9), Micros::new(1_000_000));
        }
        assert_eq!((bandwidth.low(), bandwidth.mean()), (9, 9));
    }

    #[test]
    fn prediction_adds_every_cost_of_the_stop() {
        let all = prediction(262_144).blackout();
        assert_eq!(all, Micros::new(1_000_000 + 1_000 + 200 + 100));
        assert_eq!(transfer(PageCount::new(1), 0), Micros::new(u64::MAX));
        assert_eq!(transfer(PageCount::new(0), 0), Micros::new(0));
    }

    /// Decides for a guest of 1 GiB.
    fn after(passes: &[PassReport], left: u64, budget: Micros) -> Decision {
        decide(passes, &prediction(left), budget, PageCount::new(262_144))
    }

    #[test]
    fn a_guest_that_changes_everything_is_given_up_after_two_passes() {
        let first = [pass(262_144, 262_000)];
        let second = [pass(262_144, 262_000), pass(262_000, 261_000)];
        for budget in [BUDGET, Micros::from_millis(60_000)] {
            assert_eq!(after(&first, 262_000, budget), Decision::AnotherPass);
            assert_eq!(after(&second, 261_000, budget), Decision::GiveUp);
        }
    }

    #[test]
    fn a_guest_whose_passes_do_not_shrink_is_given_up_after_three() {
        let twice = [pass(262_144, 220_000), pass(262_000, 220_000)];
        assert_eq!(after(&twice, 220_000, BUDGET), Decision::AnotherPass);
        let thrice = [twice[0], twice[1], pass(262_000, 220_000)];
        assert_eq!(after(&thrice, 220_000, BUDGET), Decision::GiveUp);
        let slowly = [pass(262_144, 220_000), pass(240_000, 200_000), pass(220_000, 180_000)];
        assert_eq!(after(&slowly, 180_000, BUDGET), Decision::AnotherPass);
    }

    #[test]
    fn one_pass_of_three_that_sends_less_is_no_standstill() {
        let (all, less) = (pass(262_144, 100_000), pass(200_000, 120_000));
        assert_eq!(after(&[all, all, less], 120_000, BUDGET), Decision::AnotherPass);
        assert_eq!(after(&[all, less, less], 120_000, BUDGET), Decision::AnotherPass);
        assert_eq!(after(&[less, less, less], 120_000, BUDGET), Decision::GiveUp);
    }

    #[test]
    fn a_budget_below_the_cost_of_the_state_is_named_as_what_it_is() {
        let rest = [pass(20, 20), pass(20, 20)];
        assert_eq!(after(&rest, 20, Micros::new(500)), Decision::OverBudget);
    }

    #[test]
    fn a_small_hot_set_is_stopped_when_it_fits_and_given_up_when_it_does_not() {
        let stuck = [pass(20_000, 20_000), pass(20_000, 20_000)];
        assert_eq!(after(&stuck, 20_000, BUDGET), Decision::Stop);
        assert_eq!(after(&stuck, 20_000, Micros::from_millis(20)), Decision::GiveUp);
    }

    #[test]
    fn passes_go_on_while_they_pay_and_stop_when_they_do_not() {
        assert_eq!(after(&[pass(262_144, 40_000)], 40_000, BUDGET), Decision::AnotherPass);
        assert_eq!(after(&[pass(40_000, 100)], 100, BUDGET), Decision::Stop);
        let shrunk_no_more = [pass(262_144, 40_000), pass(40_000, 39_000)];
        assert_eq!(after(&shrunk_no_more, 39_000, BUDGET), Decision::Stop);
        let shrinking = [pass(262_144, 90_000), pass(90_000, 80_000)];
        assert_eq!(after(&shrinking, 90_000, BUDGET), Decision::AnotherPass);
    }

    #[test]
    fn half_of_the_guest_is_not_yet_most_of_it() {
        let stuck = [pass(131_072, 131_072), pass(131_072, 131_072)];
        let budget = Micros::from_millis(60_000);
        assert_eq!(after(&stuck, 131_072, budget), Decision::Stop);
        assert_eq!(after(&stuck, 131_073, budget), Decision::GiveUp);
    }

    #[test]
    fn a_guest_that_stays_cold_is_given_up_after_six_passes() {
        let mut passes = std::vec::Vec::new();
        let mut pages = 262_144;
        for number in 1..=COLD_PASSES_MAX {
            let left = pages * 895 / 1_000;
            passes.push(pass(pages, left));
            let expected = if number < 6 { Decision::AnotherPass } else { Decision::GiveUp };
            assert_eq!(after(&passes, left, BUDGET), expected, "after pass {number}");
            pages = left;
        }
    }

    #[test]
    fn passes_that_fit_and_shrink_end_after_four_more_or_when_there_is_no_room_for_reports() {
        let shrinking = [pass(100_000, 40_000); POLISH_PASSES + 1];
        assert_eq!(after(&shrinking[1..], 40_000, BUDGET), Decision::AnotherPass);
        assert_eq!(after(&shrinking, 40_000, BUDGET), Decision::Stop);
        let mut all = [pass(100_000, 80_000); PASSES_MAX];
        all[PASSES_MAX - 1] = pass(100_000, 40_000);
        assert_eq!(after(&all[1..], 40_000, BUDGET), Decision::AnotherPass);
        assert_eq!(after(&all, 40_000, BUDGET), Decision::Stop);
    }

    #[test]
    fn passes_that_do_not_fit_end_when_there_is_no_room_for_reports() {
        let shrinking = |count| {
            let pages = core::iter::successors(Some(262_144), |pages| Some(pages * 24 / 25));
            pages.take(count).map(|pages| pass(pages, pages / 2)).collect::<std::vec::Vec<_>>()
        };
        let but_one = shrinking(PASSES_MAX - 1);
        assert_eq!(after(&but_one, 100_000, BUDGET), Decision::AnotherPass);
        assert_eq!(after(&shrinking(PASSES_MAX), 100_000, BUDGET), Decision::GiveUp);
    }

    #[test]
    fn a_pass_that_costs_what_the_state_costs_does_not_pay() {
        let even = |pages| Prediction { bandwidth: 4_096_000_000, ..prediction(pages) };
        let last = [pass(100_000, 1_000)];
        let guest = PageCount::new(262_144);
        assert_eq!(decide(&last, &even(1_000), BUDGET, guest), Decision::Stop);
        assert_eq!(decide(&last, &even(1_001), BUDGET, guest), Decision::AnotherPass);
    }

    #[test]
    fn a_pass_that_leaves_nine_tenths_does_not_shrink() {
        let converges = |left| forecast(&pass(10, left), &prediction(10), Micros::new(0)).converges;
        assert!(converges(8));
        assert!(!converges(9));
    }

    #[test]
    fn forecast_says_whether_the_passes_come_to_an_end() {
        let calm = forecast(&pass(262_144, 131_072), &prediction(131_072), BUDGET);
        assert!(calm.converges);
        assert_eq!(calm.time_left, Micros::new(1_000_000));
        let wild = forecast(&pass(262_144, 262_144), &prediction(262_144), BUDGET);
        assert!(!wild.converges);
        assert_eq!(wild.time_left, Micros::new(u64::MAX));
    }
}
