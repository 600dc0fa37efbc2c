//! Random numbers of a world: everything that is drawn comes from one seed.
//!
//! Source of truth: the SplitMix64 generator. Invariant: the same seed and the same calls give
//! the same numbers, on every machine. Deliberately not here: any other source of chance.

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    state: u64,
}

/// The step of the state.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Scrambles a number (the finalizer of SplitMix64).
pub(super) const fn mix(number: u64) -> u64 {
    let one = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    two ^ (two >> 31)
}

impl Draw {
    /// The sequence of a seed; sequences of different topics have nothing in common.
    pub(super) const fn new(seed: u64, topic: u64) -> Self {
        Self { state: mix(seed ^ mix(topic.wrapping_add(STEP))) }
    }

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number below `limit`, which is not zero.
    pub(super) const fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product is free of the bias that a remainder has at low bits.
        ((self.next() as u128 * limit as u128) >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub(super) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// A number from `least` to about `most`, small ones as often as great ones.
    pub(super) fn scaled(&mut self, least: u64, most: u64) -> u64 {
        let mut top = least.saturating_mul(2);
        let mut steps = 0;
        while top < most {
            top = top.saturating_mul(2);
            steps += 1;
        }
        let low = least << self.below(steps + 1);
        self.between(low, low.saturating_mul(2).min(most).max(low))
    }

    /// Whether something happens that happens so often in a thousand times.
    pub(super) const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A place in a list of so many entries, which is not empty.
    pub(super) const fn place(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// One of several values.
    pub(super) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.place(values.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_their_bounds_and_reach_both_ends() {
        let mut draw = Draw::new(7, 1);
        let (mut least, mut most) = (u64::MAX, 0);
        for _ in 0..1000 {
            let number = draw.between(3, 9);
            (least, most) = (least.min(number), most.max(number));
            assert!((10..=1000).contains(&draw.scaled(10, 1000)));
        }
        assert_eq!((least, most), (3, 9));
    }

    #[test]
    fn topics_of_one_seed_differ() {
        assert_ne!(Draw::new(7, 1).next(), Draw::new(7, 2).next());
        assert_eq!(Draw::new(7, 1).next(), Draw::new(7, 1).next());
    }
}
