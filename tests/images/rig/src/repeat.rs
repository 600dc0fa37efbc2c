//! One guest, moved there and back again and again: how long it stands still, and how much passes.
//!
//! Source of truth: the figures that the source's monitor tells behind each move. Invariant: the
//! guest's oracle holds after the last move. Deliberately not here: a verdict on the figures.

use crate::{
    failure::Result,
    figures::Figures,
    image::Images,
    pair::{Pair, Setup},
};

/// The longest stop of the guest, which is the monitor's own default.
const BLACKOUT_MS: u32 = 300;

/// What is moved, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Storage of the guest.
    pub(crate) memory_mib: u32,
    /// How many moves.
    pub(crate) count: usize,
    /// Pages that the guest writes in a second.
    pub(crate) pace: u64,
    /// More lines of the configuration.
    pub(crate) lines: Vec<String>,
}

/// Moves, and prints a line for each move and a summary.
pub(crate) fn run(images: &Images, plan: &Plan) -> Result<()> {
    let mut setup = Setup::new(plan.memory_mib);
    setup.pace = plan.pace;
    setup.blackout_ms = BLACKOUT_MS;
    setup.lines.clone_from(&plan.lines);
    let mut pair = Pair::start(&images.monitor()?, &setup, |_| Vec::new())?;
    let mut all = Vec::new();
    for number in 0..plan.count {
        let from = number % 2;
        let figures = pair.move_vm(from, number / 2 + 1)?;
        println!("move {:3} of {}: {figures}", number + 1, plan.count);
        all.push(figures);
    }
    pair.check_stands(plan.count % 2)?;
    pair.end(plan.count % 2)?;
    let millis = |figures: &Figures| figures.blackout_us as f64 / 1000.0;
    let rate = |figures: &Figures| figures.bytes_per_second as f64 / f64::from(1 << 20);
    println!("{} MiB, {} pages per second", plan.memory_mib, plan.pace);
    println!("blackout    {}", spread(all.iter().map(millis).collect(), "ms"));
    println!("throughput  {}", spread(all.iter().map(rate).collect(), "MiB/s"));
    Ok(())
}

/// Least, middle and greatest of some numbers.
fn spread(mut numbers: Vec<f64>, unit: &str) -> String {
    numbers.sort_by(f64::total_cmp);
    let at = |place: usize| numbers.get(place).copied().unwrap_or(f64::NAN);
    let last = numbers.len().saturating_sub(1);
    format!("min {:.1}, median {:.1}, max {:.1} {unit}", at(0), at(last / 2), at(last))
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn spread_names_least_middle_and_greatest() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0], "ms"), "min 1.0, median 2.0, max 3.0 ms");
    }
}
