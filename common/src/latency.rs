//! A histogram of latencies that costs a server one clock read and two additions a turn, and
//! nothing where nobody asked for it.
//!
//! Its buckets double from 4 us, below which a loopback's own noise begins, to 67 s, above the
//! longest work that the contract allows: any quantile is known to a factor of two.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Buckets with an upper bound; one more takes the rest.
pub const BUCKETS: usize = 25;
/// The first bound, as a power of two in microseconds.
const FIRST_LOG2_US: usize = 2;

/// Latencies of one turn: plain numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    counts: [u64; BUCKETS + 1],
    sum_ns: u64,
}

/// Latencies of a server.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKETS + 1],
    sum_ns: AtomicU64,
}

/// A server's latencies at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// How many there were in each bucket; the last has no upper bound.
    pub counts: [u64; BUCKETS + 1],
    /// All of them together.
    pub sum: Duration,
}

/// The upper bound of each bucket but the last, itself included.
pub fn bounds() -> [Duration; BUCKETS] {
    std::array::from_fn(|bucket| Duration::from_micros(1 << (bucket + FIRST_LOG2_US)))
}

fn bucket(latency: Duration) -> usize {
    let us = latency.as_nanos().div_ceil(1000);
    let log2 = us.checked_next_power_of_two().map_or(usize::MAX, |us| us.trailing_zeros() as usize);
    log2.saturating_sub(FIRST_LOG2_US).min(BUCKETS)
}

fn whole_ns(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

impl Latencies {
    /// Counts `requests` that began at `since` and are answered now.
    pub fn record(&mut self, requests: u64, since: Instant) {
        self.record_of(requests, since.elapsed());
    }

    fn record_of(&mut self, requests: u64, latency: Duration) {
        self.counts[bucket(latency)] += requests;
        self.sum_ns = self.sum_ns.saturating_add(whole_ns(latency).saturating_mul(requests));
    }
}

impl Histogram {
    /// Adds what a turn took, and leaves `latencies` at zero.
    pub(crate) fn add(&self, latencies: &mut Latencies) {
        if latencies.sum_ns == 0 {
            return; // nothing was recorded: no request takes no time at all
        }
        let Latencies { counts, sum_ns } = std::mem::take(latencies);
        for (all, count) in self.counts.iter().zip(counts).filter(|(_, count)| *count > 0) {
            all.fetch_add(count, Relaxed);
        }
        self.sum_ns.fetch_add(sum_ns, Relaxed);
    }

    pub(crate) fn distribution(&self) -> Distribution {
        Distribution {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Relaxed)),
            sum: Duration::from_nanos(self.sum_ns.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_latency_is_in_the_first_bucket_whose_bound_it_keeps(ns in 0_u64..200_000_000_000) {
            let latency = Duration::from_nanos(ns);
            let expected = bounds().iter().position(|bound| latency <= *bound).unwrap_or(BUCKETS);
            prop_assert_eq!(bucket(latency), expected);
        }
    }

    #[test]
    fn bounds_belong_to_their_buckets() {
        for (index, bound) in bounds().into_iter().enumerate() {
            assert_eq!(bucket(bound), index);
            assert_eq!(bucket(bound + Duration::from_nanos(1)), index + 1);
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BUCKETS));
    }

    #[test]
    fn a_turn_is_added_once() {
        let (histogram, mut turn) = (Histogram::default(), Latencies::default());
        turn.record_of(3, Duration::from_micros(5));
        turn.record_of(1, Duration::from_mins(5));
        histogram.add(&mut turn);
        histogram.add(&mut turn);
        let Distribution { counts, sum } = histogram.distribution();
        assert_eq!((counts[1], counts[BUCKETS], counts.iter().sum()), (3, 1, 4_u64));
        assert_eq!(sum, Duration::from_micros(15) + Duration::from_mins(5));
    }
}
