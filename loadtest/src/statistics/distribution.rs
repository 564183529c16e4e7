//! Two distribution functions, from Abramowitz and Stegun's "Handbook of Mathematical Functions"
//! (1964): exact formulas, since a table would have an end.

use std::f64::consts::PI;

/// The share of the standard normal distribution below `x` (formula 26.2.10).
pub(super) fn normal_below(x: f64) -> f64 {
    /// Beyond, the share is below 1e-15, and the series has nothing left to add.
    const FAR: f64 = 8.0;
    if x.abs() > FAR {
        return if x < 0.0 { 0.0 } else { 1.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-18 {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * PI).sqrt()
}

/// The share of Student's t distribution between `-t` and `t` (formulas 26.7.3 and 26.7.4).
fn t_within(t: f64, freedom: u32) -> f64 {
    let angle = (t / f64::from(freedom).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = freedom % 2 == 1;
    let mut term = if is_odd { cosine } else { 1.0 };
    let mut sum = if freedom == 1 { 0.0 } else { term };
    let mut at = if is_odd { 3 } else { 2 };
    while at + 2 <= freedom {
        term *= f64::from(at - 1) / f64::from(at) * cosine * cosine;
        sum += term;
        at += 2;
    }
    if is_odd { 2.0 / PI * (angle + sine * sum) } else { sine * sum }
}

/// Between which `-t` and `t` this share lies.
pub(crate) fn t_of(share: f64, freedom: u32) -> f64 {
    /// Halvings that leave nothing of the precision of a float.
    const HALVINGS: usize = 100;
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if t_within(middle, freedom) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference values are those of the usual printed tables.
    #[test]
    fn both_agree_with_the_tables() {
        for (x, share) in [(0.0, 0.5), (1.0, 0.841_345), (-1.959_964, 0.025), (3.0, 0.998_650)] {
            assert!((normal_below(x) - share).abs() < 1e-6, "{x}: {}", normal_below(x));
        }
        assert!(normal_below(-20.0).abs() < 1e-12);
        for (freedom, t) in [(1, 12.706), (2, 4.303), (3, 3.182), (6, 2.447), (11, 2.201)] {
            assert!((t_of(0.95, freedom) - t).abs() < 1e-3, "{freedom}: {}", t_of(0.95, freedom));
        }
        assert!((t_of(0.99, 30) - 2.750).abs() < 1e-3);
    }
}
