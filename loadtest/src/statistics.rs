//! Provisional, until the statistics of the comparison take its place: an interval around a median,
//! by resampling. What calls it needs [`Interval`] and [`median_interval`] and no more.

use serde::{Deserialize, Serialize};

/// A figure, and where it would lie if it were measured again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure.
    pub estimate: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How often such an interval holds the truth.
    pub confidence: f64,
}

/// What is usual.
const CONFIDENCE: f64 = 0.95;
/// Both ends are then known to about a hundredth of the probability.
const RESAMPLES: usize = 2_000;
/// Below it a resample says nothing that the values do not.
const VALUES_MIN: usize = 3;

/// The percentile bootstrap of the median (Efron 1979); none of fewer than three values.
pub fn median_interval(values: &[f64], seed: u64) -> Option<Interval> {
    if values.len() < VALUES_MIN || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut state = seed;
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| middle(values.iter().map(|_| values[below(&mut state, values.len())]).collect()))
        .collect();
    medians.sort_by(f64::total_cmp);
    let cut = (RESAMPLES as f64 * (1.0 - CONFIDENCE) / 2.0).round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 50 of 2,000
    let cut = cut as usize;
    Some(Interval {
        estimate: middle(values.to_vec()),
        low: medians[cut],
        high: medians[RESAMPLES - 1 - cut],
        confidence: CONFIDENCE,
    })
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

/// `SplitMix64` (Steele, Lea and Flood 2014), brought below a small bound.
fn below(state: &mut u64, bound: usize) -> usize {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    #[allow(clippy::cast_possible_truncation)] // below a usize
    let chosen = ((u128::from(mixed ^ (mixed >> 31)) * bound as u128) >> 64) as usize;
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_median_and_stays_within_the_values() {
        let values = [101.0, 99.0, 100.0, 97.0, 104.0];
        let interval = median_interval(&values, 1).unwrap();
        assert!((interval.estimate - 100.0).abs() < f64::EPSILON);
        assert!((97.0..100.0).contains(&interval.low), "{interval:?}");
        assert!((100.1..=104.0).contains(&interval.high), "{interval:?}");
        assert_eq!(median_interval(&values, 1), Some(interval));
        assert_eq!(median_interval(&values[..2], 1), None);
    }
}
