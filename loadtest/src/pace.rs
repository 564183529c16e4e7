//! How fast an open loop goes: the planned time of every request, as a function of its number and
//! the seed and nothing else. Whoever knows both knows the whole schedule, so that several threads
//! and several machines can each send their part of one.
//!
//! A rate that changes is a curve of how many requests are expected by a time; a request's planned
//! time is the inverse of that curve, at its number (evenly spaced arrivals) or at a sum of
//! exponential gaps (Poisson arrivals, by the time-rescaling theorem: Brown et al., "The
//! Time-Rescaling Theorem", 2002).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::work::scramble;

const SECOND_NS: f64 = 1e9;

/// How planned times lie around the rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Evenly spaced.
    #[default]
    Fixed,
    /// Independent of each other, as those of many users are: gaps are exponential, and bursts
    /// happen.
    Poisson,
}

/// A rate over time, in requests per second over all connections.
#[derive(Clone, Debug, PartialEq)]
pub enum Rate {
    /// The same all the time.
    Fixed(f64),
    /// From one to another over the measured time, in a straight line.
    Ramp {
        /// At its beginning, and before.
        from: f64,
        /// At its end.
        to: f64,
    },
    /// One after the other, each for an equal part of the measured time.
    Steps(Vec<f64>),
}

impl Rate {
    /// Steps from `from` to `to`, both included, `by` apart. Shuffled by the seed, if one is given:
    /// what a step leaves behind (a backlog, a warm cache, a grown heap) would else always fall on
    /// the next higher one.
    pub fn steps(from: f64, to: f64, by: f64, seed: Option<u64>) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count of steps
        let last = ((to - from) / by + 1e-9).floor().max(0.0) as u64;
        let mut steps: Vec<f64> = (0..=last).map(|step| from + step as f64 * by).collect();
        if let Some(seed) = seed {
            shuffle(&mut steps, seed);
        }
        Self::Steps(steps)
    }

    /// The mean over the measured time.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Fixed(rate) => *rate,
            Self::Ramp { from, to } => f64::midpoint(*from, *to),
            Self::Steps(steps) => steps.iter().sum::<f64>() / steps.len() as f64,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(rate) => write!(f, "{rate}"),
            Self::Ramp { from, to } => write!(f, "{from}..{to}"),
            Self::Steps(steps) => {
                let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
                f.write_str(&steps.join(","))
            }
        }
    }
}

/// Puts `items` into an order that only the seed decides (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    for last in (1..items.len()).rev() {
        let random = scramble(seed ^ scramble(last as u64)) % (last as u64 + 1);
        items.swap(last, usize::try_from(random).unwrap_or(0));
    }
}

/// A rate, and how arrivals lie around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// How fast.
    pub rate: Rate,
    /// How evenly.
    pub arrivals: Arrivals,
}

impl Pace {
    /// Evenly spaced requests at one rate.
    pub fn fixed(rate_per_s: f64) -> Self {
        Self { rate: Rate::Fixed(rate_per_s), arrivals: Arrivals::Fixed }
    }
}

/// The planned times of one run, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pace: Pace,
    seed: u64,
    warmup_s: f64,
    measured_s: f64,
    /// The number of the request that is next.
    number: u64,
    /// How many requests are expected before it: its number, or a sum of exponential gaps.
    expected: f64,
}

impl Arrival {
    /// Of a run whose rate begins to change after `warmup`, and over `measured`.
    pub(crate) fn new(pace: Pace, seed: u64, warmup: Duration, measured: Duration) -> Self {
        let (warmup_s, measured_s) = (warmup.as_secs_f64(), measured.as_secs_f64());
        Self { pace, seed, warmup_s, measured_s, number: 0, expected: 0.0 }
    }

    /// Goes on by so many requests.
    pub(crate) fn advance(&mut self, count: u64) {
        match self.pace.arrivals {
            Arrivals::Fixed => {
                self.number += count;
                self.expected = self.number as f64;
            }
            // Every gap, also those of other shares: the sum is the same for all of them.
            Arrivals::Poisson => {
                for _ in 0..count {
                    self.expected += exponential(scramble(self.seed ^ scramble(self.number)));
                    self.number += 1;
                }
            }
        }
    }

    /// When the next request should be sent, in nanoseconds of the run's clock.
    pub(crate) fn due_ns(&self) -> u64 {
        let seconds = time_s(&self.pace.rate, self.warmup_s, self.measured_s, self.expected);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // ns of a run
        let due_ns = (seconds * SECOND_NS).round() as u64;
        due_ns
    }
}

/// When `expected` requests are expected to have come, in seconds.
fn time_s(rate: &Rate, warmup_s: f64, measured_s: f64, expected: f64) -> f64 {
    match rate {
        Rate::Fixed(rate) => expected / rate,
        Rate::Ramp { from, to } => {
            let measured = expected - from * warmup_s;
            let slope = (to - from) / measured_s;
            if measured <= 0.0 || slope == 0.0 {
                return expected / from;
            }
            // The root of from t + slope t^2 / 2 = measured, in the form that loses no digits. A
            // ramp that falls has no root beyond its end: there, nothing is due any more.
            let square = from.mul_add(*from, 2.0 * slope * measured);
            if square < 0.0 {
                return f64::INFINITY;
            }
            warmup_s + 2.0 * measured / (from + square.sqrt())
        }
        Rate::Steps(steps) => {
            let part_s = measured_s / steps.len() as f64;
            let (mut begin_s, mut before) = (0.0, 0.0);
            for (at, rate) in steps.iter().enumerate() {
                let length_s = if at == 0 { warmup_s + part_s } else { part_s };
                let within = (expected - before) / rate;
                if within < length_s || at + 1 == steps.len() {
                    return begin_s + within;
                }
                begin_s += length_s;
                before += rate * length_s;
            }
            f64::INFINITY // not reached: the last step returns
        }
    }
}

/// A sample of the exponential distribution with mean 1, from 64 random bits.
fn exponential(bits: u64) -> f64 {
    const BITS: i32 = 53;
    // In (0, 1]: the logarithm of zero is not to be had.
    let uniform = ((bits >> (64 - BITS)) + 1) as f64 / f64::powi(2.0, BITS);
    -uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times(rate: Rate, arrivals: Arrivals, warmup: Duration, measured: Duration) -> Vec<u64> {
        let mut arrival = Arrival::new(Pace { rate, arrivals }, 1, warmup, measured);
        let end_ns = u64::try_from((warmup + measured).as_nanos()).unwrap();
        let mut times = Vec::new();
        while arrival.due_ns() < end_ns {
            times.push(arrival.due_ns());
            arrival.advance(1);
        }
        times
    }

    fn within(times: &[u64], from_ms: u64, to_ms: u64) -> usize {
        times.iter().filter(|ns| (from_ms..to_ms).contains(&(*ns / 1_000_000))).count()
    }

    #[test]
    fn a_ramp_grows_in_a_straight_line_after_the_warm_up() {
        for (from, to, expected) in [(1e3, 3e3, [1000, 1500, 2500]), (3e3, 1e3, [3000, 2500, 1500])]
        {
            let times = times(Rate::Ramp { from, to }, Arrivals::Fixed, SECOND, 2 * SECOND);
            for (at, expected) in expected.into_iter().enumerate() {
                let at = at as u64 * 1000;
                let count = within(&times, at, at + 1000);
                assert!(count.abs_diff(expected) <= 1, "{from} {at}: {count}");
            }
            assert!(times.is_sorted());
        }
        // From nothing, and to nothing.
        let up = times(Rate::Ramp { from: 0.0, to: 1e3 }, Arrivals::Fixed, Duration::ZERO, SECOND);
        assert!(up.len().abs_diff(500) <= 1, "{}", up.len());
    }

    #[test]
    fn steps_follow_each_other() {
        let steps = Rate::Steps(vec![1e3, 3e3, 2e3]);
        let times = times(steps, Arrivals::Fixed, SECOND, 3 * SECOND);
        assert_eq!(
            [0, 1000, 2000, 3000].map(|from| within(&times, from, from + 1000)),
            [1000, 1000, 3000, 2000]
        );
    }

    #[test]
    fn steps_are_shuffled_by_the_seed() {
        let Rate::Steps(plain) = Rate::steps(1e3, 50e3, 5e3, None) else { panic!() };
        assert_eq!((plain.len(), plain[0], plain[9]), (10, 1e3, 46e3));
        let Rate::Steps(shuffled) = Rate::steps(1e3, 50e3, 5e3, Some(1)) else { panic!() };
        assert_ne!(plain, shuffled);
        assert_ne!(Rate::steps(1e3, 50e3, 5e3, Some(2)), Rate::Steps(shuffled.clone()));
        let mut sorted = shuffled;
        sorted.sort_by(f64::total_cmp);
        assert_eq!(sorted, plain);
    }

    /// Of a Poisson process, counts of equal stretches have a variance equal to their mean, and
    /// gaps a standard deviation equal to theirs.
    #[test]
    fn poisson_arrivals_have_the_rate_and_its_variance() {
        let times = times(Rate::Fixed(1e4), Arrivals::Poisson, Duration::ZERO, 10 * SECOND);
        assert!(times.is_sorted());
        assert!(times.len().abs_diff(100_000) < 1_500, "{}", times.len());
        let counts: Vec<f64> =
            (0..1_000).map(|at| within(&times, at * 10, at * 10 + 10) as f64).collect();
        let mean = counts.iter().sum::<f64>() / 1e3;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 999.0;
        assert!((0.85..1.15).contains(&(variance / mean)), "{variance} {mean}");
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.97..1.03).contains(&(variance.sqrt() / mean)), "{variance} {mean}");
    }
}
