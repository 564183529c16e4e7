//! Gunther's Universal Scalability Law ("Guerrilla Capacity Planning", 2007, chapters 4 to 6):
//! `X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))`.
//!
//! `lambda` is the throughput of one, `sigma` the part that must be done one after the other
//! (contention), `kappa` what it costs that all know of all (coherency). A fit always gives three
//! numbers; whether they mean something is asked first.

use serde::{Deserialize, Serialize};

use crate::statistics::distribution::t_of;

/// Fewer points are met by three coefficients whatever they are.
const POINTS_MIN: usize = 4;
/// A fit that leaves more of the variance than 1 - this unexplained is none.
const R_SQUARED_MIN: f64 = 0.9;
/// A coefficient that is below zero by more than its error at this confidence is not zero by
/// chance. High, since it is asked of two coefficients, and few points make errors small by luck.
const CONFIDENCE: f64 = 0.99;
/// What a coefficient changes at the last point by less than this part is rounding.
const ROUNDING: f64 = 1e-9;
/// Steps of Gauss and Newton until it must have converged, and halvings of one step.
const STEPS_MAX: usize = 100;
const HALVINGS_MAX: usize = 30;
/// A step that makes the error smaller by less than this part is the last.
const CONVERGED: f64 = 1e-12;

/// The law with its coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usl {
    /// Throughput of one, per second.
    pub lambda: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherency.
    pub kappa: f64,
    /// Which part of the variance it explains.
    pub r_squared: f64,
}

/// Why there is no law.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoFit {
    /// Three coefficients fit so few points whatever they are.
    #[error("{0} points that may be believed are too few: it takes {POINTS_MIN}")]
    TooFew(usize),
    /// The points contradict the law: more than linear growth, most often.
    #[error(
        "{name} would be {value:.2e}, below zero by more than its error: the law does not apply"
    )]
    Negative {
        /// Which coefficient.
        name: &'static str,
        /// What it would be.
        value: f64,
    },
    /// It does not describe the points.
    #[error("it explains only {:.0} % of the variance", .0 * 100.0)]
    Poor(f64),
    /// Nothing to solve.
    #[error("the points do not determine it")]
    Undetermined,
}

impl Usl {
    // ANCHOR: law
    /// Throughput at `n`.
    pub fn at(&self, n: f64) -> f64 {
        self.lambda * n / self.divisor(n)
    }

    fn divisor(&self, n: f64) -> f64 {
        1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0)
    }

    /// Where the throughput is highest, and how high; none where it only levels off.
    pub fn peak(&self) -> Option<(f64, f64)> {
        let at = ((1.0 - self.sigma) / self.kappa).sqrt();
        (self.kappa > 0.0 && at.is_finite() && at >= 1.0).then(|| (at, self.at(at)))
    }
    // ANCHOR_END: law

    /// Fits the law to pairs of `n` and the throughput there, by least squares: first on the
    /// linear form `n / X = (1 + sigma (n - 1) + kappa n (n - 1)) / lambda`, and from there on X
    /// itself, by Gauss and Newton. Both on relative errors, since noise is a part of the
    /// throughput: on absolute ones the highest points would drown the others, and the errors of
    /// the coefficients would come out too small.
    ///
    /// A coefficient that is below zero within its error is taken for zero.
    ///
    /// # Errors
    /// Where the law does not apply.
    pub fn fit(points: &[(f64, f64)]) -> Result<Self, NoFit> {
        let mut distinct: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        if points.iter().any(|(_, throughput)| *throughput <= 0.0) {
            return Err(NoFit::Undetermined);
        }
        if distinct.len() < POINTS_MIN {
            return Err(NoFit::TooFew(distinct.len()));
        }
        let mut free = [true, true];
        loop {
            let (law, errors) = fitted(points, free).ok_or(NoFit::Undetermined)?;
            let coefficients = [("sigma", law.sigma, 0), ("kappa", law.kappa, 1)];
            let below = coefficients.into_iter().filter(|(_, value, _)| *value < 0.0);
            // The one that is furthest from what it may be: without it the other may be fine.
            let worst = below.max_by(|a, b| (-a.1 / errors[a.2]).total_cmp(&(-b.1 / errors[b.2])));
            match worst {
                Some((name, value, at)) if -value > errors[at] => {
                    return Err(NoFit::Negative { name, value });
                }
                Some((_, _, at)) => free[at] = false,
                None if law.r_squared < R_SQUARED_MIN => return Err(NoFit::Poor(law.r_squared)),
                None => return Ok(law),
            }
        }
    }
}

/// The best law with these of sigma and kappa free and the others zero, and their errors.
fn fitted(points: &[(f64, f64)], free: [bool; 2]) -> Option<(Usl, [f64; 2])> {
    let chosen = |columns: [f64; 3]| -> Vec<f64> {
        let is_free = [true, free[0], free[1]];
        columns.into_iter().zip(is_free).filter_map(|(value, free)| free.then_some(value)).collect()
    };
    let spread = |values: &[f64]| {
        let (mut all, mut values) = ([0.0; 3], values.iter());
        for (place, free) in all.iter_mut().zip([true, free[0], free[1]]) {
            *place = if free { values.next().copied().unwrap_or(0.0) } else { 0.0 };
        }
        all
    };
    let linear = points.iter().map(|&(n, x)| {
        let weight = x / n;
        (chosen([weight, weight * (n - 1.0), weight * n * (n - 1.0)]), 1.0)
    });
    let (start, _) = least_squares(&linear.collect::<Vec<_>>())?;
    let [a, b, c] = spread(&start);
    let mut law = Usl { lambda: 1.0 / a, sigma: b / a, kappa: c / a, r_squared: 0.0 };
    let mut errors = Vec::new();
    for _ in 0..STEPS_MAX {
        let row = |&(n, x): &(f64, f64)| {
            let divisor = law.divisor(n);
            let slope = -law.lambda * n * (n - 1.0) / (divisor * divisor);
            (chosen([n / divisor / x, slope / x, slope * n / x]), 1.0 - law.at(n) / x)
        };
        let (step, inverse) = least_squares(&points.iter().map(row).collect::<Vec<_>>())?;
        let before = squares(&law, points);
        let freedom = points.len().checked_sub(step.len()).filter(|rest| *rest > 0)?;
        errors = inverse.iter().map(|one| (one * before / freedom as f64).sqrt()).collect();
        let [lambda, sigma, kappa] = spread(&step);
        let halved = (0..HALVINGS_MAX).map(|halvings| {
            let part = f64::powi(0.5, i32::try_from(halvings).unwrap_or(i32::MAX));
            Usl {
                lambda: law.lambda + part * lambda,
                sigma: law.sigma + part * sigma,
                kappa: law.kappa + part * kappa,
                ..law
            }
        });
        let is_better = |law: &Usl| squares(law, points) < before * (1.0 - CONVERGED);
        match halved.into_iter().find(is_better) {
            Some(better) => law = better,
            None => break,
        }
    }
    let mean = points.iter().map(|(_, x)| x).sum::<f64>() / points.len() as f64;
    let variance: f64 = points.iter().map(|(_, x)| (x - mean).powi(2)).sum();
    let left: f64 = points.iter().map(|(n, x)| (x - law.at(*n)).powi(2)).sum();
    law.r_squared = if variance > 0.0 { 1.0 - left / variance } else { 0.0 };
    let freedom = u32::try_from(points.len() - errors.len()).ok()?;
    let [_, sigma, kappa] = spread(&errors).map(|error| error * t_of(CONFIDENCE, freedom));
    let most = points.iter().map(|(n, _)| *n).fold(0.0, f64::max);
    let (sigma, kappa) = (sigma.max(ROUNDING / most), kappa.max(ROUNDING / most / most));
    let is_sound = law.lambda.is_finite() && law.lambda > 0.0 && law.r_squared.is_finite();
    is_sound.then_some((law, [sigma, kappa]))
}

/// The sum of the squared relative errors; infinite where the law has a pole among the points.
fn squares(law: &Usl, points: &[(f64, f64)]) -> f64 {
    if points.iter().any(|(n, _)| law.divisor(*n) <= 0.0) {
        return f64::INFINITY;
    }
    points.iter().map(|(n, x)| (1.0 - law.at(*n) / x).powi(2)).sum()
}

/// The coefficients that bring the rows nearest to their values, and the diagonal of the inverse
/// of the normal matrix, by which their variance grows. Columns are scaled to one length before:
/// theirs differ by many orders of magnitude.
fn least_squares(rows: &[(Vec<f64>, f64)]) -> Option<(Vec<f64>, Vec<f64>)> {
    /// A pivot below this part of its column has lost all its digits.
    const PIVOT_MIN: f64 = 1e-13;
    let count = rows.first()?.0.len();
    let length = |at: usize| rows.iter().map(|(row, _)| row[at] * row[at]).sum::<f64>().sqrt();
    let lengths: Vec<f64> = (0..count).map(length).collect();
    let product = |a: usize, b: usize| {
        rows.iter().map(|(row, _)| row[a] * row[b]).sum::<f64>() / lengths[a] / lengths[b]
    };
    // The normal matrix, the right-hand side, and the unit matrix that becomes the inverse.
    let mut matrix: Vec<Vec<f64>> = (0..count)
        .map(|a| {
            let value = rows.iter().map(|(row, value)| row[a] * value).sum::<f64>() / lengths[a];
            let unit = (0..count).map(|b| f64::from(u8::from(a == b)));
            (0..count).map(|b| product(a, b)).chain([value]).chain(unit).collect()
        })
        .collect();
    for pivot in 0..count {
        let size = |row: &usize| matrix[*row][pivot].abs();
        let best = (pivot..count).max_by(|a, b| size(a).total_cmp(&size(b)))?;
        matrix.swap(pivot, best);
        let divisor = matrix[pivot][pivot];
        if divisor.abs() < PIVOT_MIN || !divisor.is_finite() {
            return None;
        }
        matrix[pivot].iter_mut().for_each(|value| *value /= divisor);
        let pivot_row = matrix[pivot].clone();
        for (_, row) in matrix.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
            let factor = row[pivot];
            row.iter_mut().zip(&pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    let solution = (0..count).map(|at| matrix[at][count] / lengths[at]).collect();
    let inverse = (0..count).map(|at| matrix[at][count + 1 + at] / lengths[at].powi(2)).collect();
    Some((solution, inverse))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::Random;
    use proptest::prelude::*;

    fn points(law: Usl, noise: f64) -> Vec<(f64, f64)> {
        let mut random = Random::new(7);
        let mut even = || (random.below(2_001) as f64 - 1_000.0) / 1_000.0;
        (0..13)
            .map(|power| f64::powi(2.0, power))
            .map(|n| (n, law.at(n) * (1.0 + noise * even())))
            .collect()
    }

    fn law(lambda: f64, sigma: f64, kappa: f64) -> Usl {
        Usl { lambda, sigma, kappa, r_squared: 1.0 }
    }

    #[test]
    fn noisy_points_give_nearly_their_coefficients() {
        let (truth, fit) =
            (law(3_000.0, 0.02, 1e-5), Usl::fit(&points(law(3_000.0, 0.02, 1e-5), 0.02)));
        let fit = fit.unwrap();
        assert!((fit.lambda / truth.lambda - 1.0).abs() < 0.1, "{fit:?}");
        assert!((fit.sigma / truth.sigma - 1.0).abs() < 0.1, "{fit:?}");
        assert!((fit.kappa / truth.kappa - 1.0).abs() < 0.1, "{fit:?}");
        assert!(fit.r_squared > 0.99, "{fit:?}");
        let (at, rps) = fit.peak().unwrap();
        assert!((at / (0.98_f64 / 1e-5).sqrt() - 1.0).abs() < 0.1, "{at}");
        assert!((rps / truth.at(at) - 1.0).abs() < 0.05, "{rps}");
    }

    #[test]
    fn a_coefficient_that_is_zero_is_found_so() {
        // Amdahl's law levels off and has no peak; linear growth has neither.
        let amdahl = Usl::fit(&points(law(1_000.0, 0.05, 0.0), 0.02)).unwrap();
        assert!((amdahl.sigma / 0.05 - 1.0).abs() < 0.1, "{amdahl:?}");
        assert!(amdahl.kappa < 1e-5, "{amdahl:?}");
        let linear = Usl::fit(&points(law(1_000.0, 0.0, 0.0), 0.0)).unwrap();
        assert!(linear.sigma.abs() < 1e-9 && linear.kappa.abs() < 1e-9, "{linear:?}");
        assert!(linear.peak().is_none_or(|(at, _)| at > 1e4));
    }

    #[test]
    fn a_law_that_does_not_apply_is_refused_and_why() {
        let exact = points(law(3_000.0, 0.02, 1e-5), 0.0);
        assert_eq!(Usl::fit(&exact[..3]), Err(NoFit::TooFew(3)));
        assert_eq!(Usl::fit(&[exact[0]; 9]), Err(NoFit::TooFew(1)));
        // Faster than linear: depth one wakes up for each request, depth two for every other.
        let growing: Vec<_> = (1..8).map(|n| (f64::from(n), f64::from(n).powf(1.4))).collect();
        assert!(
            matches!(Usl::fit(&growing), Err(NoFit::Negative { .. })),
            "{:?}",
            Usl::fit(&growing)
        );
        let jumping: Vec<_> =
            (1..9).map(|n| (f64::from(n), if n % 2 == 0 { 900.0 } else { 300.0 })).collect();
        assert!(matches!(Usl::fit(&jumping), Err(NoFit::Poor(_))), "{:?}", Usl::fit(&jumping));
        let dead: Vec<_> = (1..9).map(|n| (f64::from(n), 0.0)).collect();
        assert_eq!(Usl::fit(&dead), Err(NoFit::Undetermined));
    }

    proptest! {
        #[test]
        fn exact_points_give_their_coefficients(
            lambda in 1.0..1e6_f64, sigma in 0.001..0.5_f64, kappa in 1e-7..1e-2_f64,
        ) {
            let fit = Usl::fit(&points(law(lambda, sigma, kappa), 0.0)).unwrap();
            prop_assert!((fit.lambda / lambda - 1.0).abs() < 1e-5, "{:?}", fit);
            prop_assert!((fit.sigma - sigma).abs() < 1e-5 * (1.0 + sigma), "{:?}", fit);
            prop_assert!((fit.kappa / kappa - 1.0).abs() < 1e-2, "{:?}", fit);
        }
    }
}
