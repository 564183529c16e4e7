//! Random numbers that only a seed decides, so that the same blocks always give the same interval.

use crate::work::scramble;

/// The step of `SplitMix64`: the golden ratio in 64 bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A `SplitMix64` generator (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let bits = scramble(self.0);
        self.0 = self.0.wrapping_add(STEP);
        bits
    }

    /// Evenly one of `0..count`; 0 where there is none. By the high half of a product, whose bias
    /// is below one in 2^32 for fewer than 2^32.
    pub fn below(&mut self, count: usize) -> usize {
        let high = (u128::from(self.bits()) * count as u128) >> 64;
        usize::try_from(high).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_come_up_alike_and_the_seed_decides() {
        let drawn = |seed| {
            let mut random = Random::new(seed);
            let mut counts = [0; 7];
            (0..70_000).for_each(|_| counts[random.below(7)] += 1);
            counts
        };
        assert!(drawn(1).iter().all(|count| (9_600..10_400).contains(count)), "{:?}", drawn(1));
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(Random::new(1).below(0), 0);
    }
}
