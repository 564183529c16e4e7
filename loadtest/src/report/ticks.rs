//! Where a logarithmic axis has its ticks, and how they are written.

use crate::terminal::grouped;

/// A logarithmic axis with fewer decades also has ticks at 2 and 5.
const DECADES_FEW: f64 = 2.5;

/// Ticks at 1, 10, 100; with few decades also at 2 and 5.
pub fn decades(values: impl Iterator<Item = f64>) -> Vec<(f64, String)> {
    let (low, high) = values
        .filter(|value| *value > 0.0 && value.is_finite())
        .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
    if high == 0.0 {
        return Vec::new();
    }
    let (low, high) = (low.log10(), high.log10());
    let steps: &[f64] = if high - low < DECADES_FEW { &[1.0, 2.0, 5.0] } else { &[1.0] };
    #[allow(clippy::cast_possible_truncation)] // a logarithm is small
    let decades = low.floor() as i32..=high.ceil() as i32;
    decades
        .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
        .map(|tick| (tick, number(tick)))
        .collect()
}

/// A tick as people write it: 0.05, 1, 20, 1,000.
pub fn number(tick: f64) -> String {
    if tick >= 1.0 {
        return grouped(tick);
    }
    let places = (-tick.log10()).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 1 to some 300
    let places = places as usize;
    format!("{tick:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_decades_and_what_lies_between_few() {
        let texts = |values: &[f64]| -> Vec<String> {
            decades(values.iter().copied()).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(texts(&[0.06, 900.0]), ["0.01", "0.1", "1", "10", "100", "1,000"]);
        assert_eq!(texts(&[1.5, 8.0]), ["1", "2", "5", "10", "20", "50"]);
        assert!(texts(&[0.0, f64::NAN]).is_empty());
    }
}
