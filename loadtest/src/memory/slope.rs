//! The line through points by least squares, and how sure its slope is.
//!
//! y = a + b x; b = Sxy / Sxx; its standard error is the root of (residual sum of squares /
//! (n - 2)) / Sxx; its interval is b +- t times that, t of Student's distribution with n - 2
//! degrees of freedom. So in any textbook, as in the NIST/SEMATECH e-Handbook of Statistical
//! Methods, 4.1.4.1 and 5.5.

use crate::statistics::Interval;

/// The confidence of all intervals here.
const CONFIDENCE: f64 = 0.95;
/// Student's t for 1 to 30 degrees of freedom: two-sided 95 %, so the quantile 0.975
/// (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2).
const T_QUANTILES: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, //
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, //
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
/// The same of the normal distribution, which is t's limit.
const Z_QUANTILE: f64 = 1.959_964;

/// The slope through `points`; nothing where they are fewer than three, or all above each other.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<Interval> {
    let degrees = points.len().checked_sub(2).filter(|degrees| *degrees > 0)?;
    let count = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let sxx: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    if sxx == 0.0 {
        return None;
    }
    let sxy: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let estimate = sxy / sxx;
    let residual = |(x, y): &(f64, f64)| y - y_mean - estimate * (x - x_mean);
    let squares: f64 = points.iter().map(|point| residual(point).powi(2)).sum();
    let standard_error = (squares / degrees as f64 / sxx).sqrt();
    let reach = t_quantile(degrees) * standard_error;
    let (low, high) = (estimate - reach, estimate + reach);
    Some(Interval { estimate, low, high, confidence: CONFIDENCE })
}

/// Beyond the table: the first terms of the Cornish-Fisher expansion (Abramowitz and Stegun,
/// "Handbook of Mathematical Functions", 26.7.5), there right to four digits.
fn t_quantile(degrees: usize) -> f64 {
    if let Some(t) = degrees.checked_sub(1).and_then(|at| T_QUANTILES.get(at)) {
        return *t;
    }
    let (z, v) = (Z_QUANTILE, degrees as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    z + first / v + second / v.powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::scramble;

    #[test]
    fn the_expansion_continues_the_table() {
        // From the same table of the handbook.
        for (degrees, t) in [(31, 2.040), (40, 2.021), (60, 2.000), (100, 1.984)] {
            assert!((t_quantile(degrees) - t).abs() < 0.0006, "{degrees}: {}", t_quantile(degrees));
        }
        let first = (t_quantile(1), t_quantile(30));
        assert_eq!(first, (12.706, 2.042));
    }

    #[test]
    fn a_line_with_known_residuals() {
        let points = [(0.0, 3.1), (2.0, 3.9), (4.0, 4.9), (6.0, 6.1)];
        let slope = slope(&points).unwrap();
        // Sxx = 20, Sxy = 10; residuals 0.1, -0.1, -0.1, 0.1; s = sqrt(0.04 / 2 / 20).
        assert!((slope.estimate - 0.5).abs() < 1e-12, "{slope:?}");
        let reach = 4.303 * (0.04_f64 / 2.0 / 20.0).sqrt();
        assert!((slope.high - 0.5 - reach).abs() < 1e-12, "{slope:?}");
        assert!((0.5 - slope.low - reach).abs() < 1e-12, "{slope:?}");
    }

    #[test]
    fn without_a_spread_there_is_no_slope() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(slope(&[(5.0, 1.0), (5.0, 2.0), (5.0, 3.0)]), None);
        assert_eq!(slope(&[]), None);
    }

    /// Of many lines with noise, 95 in 100 intervals hold the true slope.
    #[test]
    fn the_interval_covers_as_often_as_it_says() {
        const LINES: u64 = 2_000;
        let uniform = |seed: u64| scramble(seed) as f64 / u64::MAX as f64;
        // A sum of twelve is nearly normal, with a variance of one.
        let noise = |seed: u64| (0..12).map(|k| uniform(seed * 12 + k)).sum::<f64>() - 6.0;
        let covers = |line: u64| {
            let point = |at: u64| (at as f64, 100.0 + 7.0 * at as f64 + noise(line * 16 + at));
            let points: Vec<_> = (0..8).map(point).collect();
            slope(&points).is_some_and(|found| (found.low..found.high).contains(&7.0))
        };
        let covered = (0..LINES).filter(|line| covers(*line)).count();
        // 1,900 expected; the standard deviation is 10.
        assert!((1_860..=1_940).contains(&covered), "{covered}");
    }
}
