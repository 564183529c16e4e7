//! How long to wait before another attempt: anything from nothing to a bound that doubles. It pays
//! with retries that come at once now and then, so that those of many clients never come together.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tower::util::rng::Rng;

/// Exponential, with full jitter. Of the maintained ones, tower's `ExponentialBackoff` and backon's
/// add their jitter to the bound instead: the shortest wait is then the bound itself, and clients
/// that failed together come again within the same half.
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
    pub(crate) random: Mutex<Box<dyn Rng + Send>>,
}

impl Backoff {
    /// Before the retry of this number, from 0.
    pub(crate) fn pause(&self, retry: u32) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        self.bound(retry).mul_f64(random.next_f64())
    }

    fn bound(&self, retry: u32) -> Duration {
        self.first.saturating_mul(2_u32.saturating_pow(retry)).min(self.max)
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, max, .. } = self;
        f.debug_struct("Backoff").field("first", first).field("max", max).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prop_assert;
    use proptest::proptest;
    use tower::util::rng::HasherRng;

    use super::*;

    /// Always the same: a half.
    pub(crate) struct Half;

    impl Rng for Half {
        fn next_u64(&mut self) -> u64 {
            1 << 63
        }
    }

    fn backoff(first: Duration, max: Duration, random: impl Rng + Send + 'static) -> Backoff {
        Backoff { first, max, random: Mutex::new(Box::new(random)) }
    }

    #[test]
    fn bounds_double_until_the_largest() {
        let backoff = backoff(Duration::from_millis(100), Duration::from_millis(700), Half);
        let pauses =
            [0, 1, 2, 3, 4, 31, 32, u32::MAX].map(|retry| backoff.pause(retry).as_millis());
        assert_eq!(pauses, [50, 100, 200, 350, 350, 350, 350, 350]);
    }

    proptest! {
        #[test]
        fn a_pause_is_never_above_its_bound(
            first in 0..10_000_u64, max in 0..1_000_000_u64, retry in 0..200_u32,
        ) {
            let [first, max] = [first, max].map(Duration::from_millis);
            let backoff = backoff(first, max, HasherRng::default());
            let bound = first.as_secs_f64() * 2_f64.powi(i32::try_from(retry).unwrap());
            let bound = bound.min(max.as_secs_f64());
            prop_assert!(backoff.pause(retry).as_secs_f64() <= bound + 1e-9);
        }
    }

    /// All of the range is used: jitter is full.
    #[test]
    fn pauses_are_spread_from_nothing_to_the_bound() {
        let second = Duration::from_secs(1);
        let backoff = backoff(second, second, HasherRng::default());
        let mut pauses: Vec<_> = (0..1000).map(|_| backoff.pause(0).as_secs_f64()).collect();
        pauses.sort_by(f64::total_cmp);
        assert!(pauses[99] < 0.2 && pauses[499] > 0.3 && pauses[499] < 0.7 && pauses[899] > 0.8);
    }
}
