//! What may be said of figures that were measured in a few blocks: medians, intervals, verdicts.
//!
//! Blocks are few and their noise is of no known shape, so nothing here assumes one. The price is
//! caution: a small difference stays a tie until there are more blocks.

pub mod bootstrap;
pub(crate) mod distribution;
pub mod random;
pub mod randomisation;
#[cfg(test)]
mod simulation;

use serde::{Deserialize, Serialize};

/// How often a verdict may say "different" of two that are the same, where nothing else was asked
/// for: the convention.
pub const ALPHA: f64 = 0.05;
/// How often an interval holds the true value, where nothing else was asked for.
pub const CONFIDENCE: f64 = 1.0 - ALPHA;

/// A figure, and between which bounds the true one lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure itself.
    pub estimate: f64,
    /// Its lower bound.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
    /// In which share of experiments such bounds hold the true value. Below what was asked for
    /// where there are too few blocks to promise more.
    pub confidence: f64,
}

impl Interval {
    /// Whether `value` is one of those that it does not exclude.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Half of its width, as a part of the estimate: what stands behind a ±.
    pub fn half_width(&self) -> f64 {
        if self.estimate == 0.0 { 0.0 } else { (self.high - self.low) / 2.0 / self.estimate }
    }
}

/// What may be said of two contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The first is better, and not by chance.
    Faster,
    /// The first is worse, and not by chance.
    Slower,
    /// They cannot be told apart: equal, or too close for so many blocks.
    Tie,
    /// With so few blocks nothing could be said whatever was measured.
    TooFew,
}

impl Verdict {
    /// Whether it says that there is a difference.
    pub fn is_different(self) -> bool {
        matches!(self, Self::Faster | Self::Slower)
    }
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// As of throughput.
    Higher,
    /// As of costs and times.
    Lower,
}

/// How two contenders differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The first's figure as a part of the second's; none with fewer than two blocks.
    pub ratio: Option<Interval>,
    /// The probability of a difference at least this large between two that are the same.
    pub p_value: f64,
    /// What may be said.
    pub verdict: Verdict,
}

impl Difference {
    /// From the ratios of blocks that were measured side by side, so that a drift of the machine
    /// is in neither. A difference must show twice: the interval of the median ratio excludes 1,
    /// and the sign-flip test says that chance alone would seldom make it.
    pub fn paired(ratios: &[f64], better: Better, alpha: f64) -> Self {
        let logs: Vec<f64> = finite(ratios.iter().map(|ratio| ratio.ln())).collect();
        let ratio = bootstrap::of_median(ratios, 1.0 - alpha);
        let possible = randomisation::sign_flip_p_min(logs.len());
        Self::judged(ratio, randomisation::sign_flip(&logs), possible, (better, alpha))
    }

    /// From blocks of two different times: what the machine did in between is in it.
    pub fn unpaired(now: &[f64], before: &[f64], better: Better, alpha: f64) -> Self {
        let logs = |of: &[f64]| finite(of.iter().map(|value| value.ln())).collect::<Vec<_>>();
        let (now_logs, before_logs) = (logs(now), logs(before));
        let ratio = bootstrap::of_ratio_of_medians(now, before, 1.0 - alpha);
        let possible = randomisation::permutation_p_min(now_logs.len(), before_logs.len());
        let p_value = randomisation::permutation(&now_logs, &before_logs);
        Self::judged(ratio, p_value, possible, (better, alpha))
    }

    fn judged(
        ratio: Option<Interval>,
        p_value: f64,
        p_value_min: f64,
        (better, alpha): (Better, f64),
    ) -> Self {
        let verdict = match ratio {
            Some(ratio) if p_value_min <= alpha => {
                if ratio.contains(1.0) || p_value > alpha {
                    Verdict::Tie
                } else if (ratio.low > 1.0) == (better == Better::Higher) {
                    Verdict::Faster
                } else {
                    Verdict::Slower
                }
            }
            _ => Verdict::TooFew,
        };
        Self { ratio, p_value, verdict }
    }
}

/// The middle value, or the mean of the two in the middle; what is no number is left out.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

fn finite(values: impl IntoIterator<Item = f64>) -> impl Iterator<Item = f64> {
    values.into_iter().filter(|value| value.is_finite())
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = finite(values).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([f64::NAN, 1.0]), Some(1.0));
    }

    #[test]
    fn a_difference_has_a_direction_and_needs_blocks() {
        let ratios = [1.10, 1.12, 1.09, 1.11, 1.13, 1.08, 1.10];
        let verdict = |ratios: &[f64], better| Difference::paired(ratios, better, ALPHA).verdict;
        assert_eq!(verdict(&ratios, Better::Higher), Verdict::Faster);
        assert_eq!(verdict(&ratios, Better::Lower), Verdict::Slower);
        let inverse = ratios.map(f64::recip);
        assert_eq!(verdict(&inverse, Better::Higher), Verdict::Slower);
        // Five can reach 0.0625 at the least, six 0.03125.
        assert_eq!(verdict(&ratios[..5], Better::Higher), Verdict::TooFew);
        assert_eq!(verdict(&ratios[..6], Better::Higher), Verdict::Faster);
        assert_eq!(verdict(&[], Better::Higher), Verdict::TooFew);
        let mixed = [1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 1.0];
        assert_eq!(verdict(&mixed, Better::Higher), Verdict::Tie);
    }

    #[test]
    fn a_difference_must_show_in_the_interval_and_in_the_test() {
        let paired = |ratios: &[f64]| Difference::paired(ratios, Better::Higher, ALPHA);
        // One in seven against it: chance seldom does that, but the interval holds 1.
        let interval_only = paired(&[1.2, 1.3, 1.25, 1.22, 1.28, 1.24, 0.99]);
        assert!(interval_only.p_value <= ALPHA && interval_only.ratio.unwrap().contains(1.0));
        assert_eq!(interval_only.verdict, Verdict::Tie);
        // One in ten against it, and as much as all others together.
        let mut ratios = [1.01; 10];
        ratios[3] = 0.9;
        let test_only = paired(&ratios);
        assert!(test_only.p_value > ALPHA && !test_only.ratio.unwrap().contains(1.0));
        assert_eq!(test_only.verdict, Verdict::Tie);
    }

    #[test]
    fn two_times_are_told_apart_without_pairs() {
        let before = [100.0, 103.0, 98.0, 101.0, 99.0];
        let now = before.map(|value| value * 0.85);
        let verdict = |now: &[f64], better| Difference::unpaired(now, &before, better, ALPHA);
        let slower = verdict(&now, Better::Higher);
        assert_eq!(slower.verdict, Verdict::Slower);
        let ratio = slower.ratio.unwrap();
        assert!((ratio.estimate - 0.85).abs() < 1e-9 && ratio.high < 1.0, "{ratio:?}");
        assert_eq!(verdict(&now, Better::Lower).verdict, Verdict::Faster);
        assert_eq!(verdict(&before, Better::Higher).verdict, Verdict::Tie);
        // 3 of 8 can be chosen in 56 ways: enough for one in 20; 1 of 6 in 6: not.
        assert_eq!(verdict(&now[..3], Better::Higher).verdict, Verdict::Slower);
        assert_eq!(verdict(&now[..1], Better::Higher).verdict, Verdict::TooFew);
    }
}
