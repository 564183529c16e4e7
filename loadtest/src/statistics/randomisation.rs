//! Fisher's randomisation tests ("The Design of Experiments", 1935, section 21; Edgington and
//! Onghena, "Randomization Tests", 2007): exact for few values and noise of any shape.
//!
//! Two contenders that are the same could have changed places in any block. The p-value is the
//! share of all such worlds in which the difference is at least as large as in this one.

use super::random::Random;

/// Up to so many values all worlds are counted; beyond, this many are drawn.
const EXACT_MAX: usize = 16;
const DRAWN: u32 = 10_000;
/// One for all: a p-value is a function of its values.
const SEED: u64 = 0xf1e1d;
/// Sums of the same numbers in another order differ by this part at the most.
const ROUNDING: f64 = 1e-9;

/// The two-sided p-value that these paired differences have their sum by chance: each could have
/// had the other sign.
pub fn sign_flip(differences: &[f64]) -> f64 {
    let flipped = |is_flipped: &mut dyn FnMut(usize) -> bool| {
        let signed = |(at, value): (usize, &f64)| if is_flipped(at) { -value } else { *value };
        differences.iter().enumerate().map(signed).sum::<f64>().abs()
    };
    let size: f64 = differences.iter().map(|value| value.abs()).sum();
    let least = flipped(&mut |_| false) - ROUNDING * size;
    if differences.len() <= EXACT_MAX {
        let worlds = 1_u32 << differences.len();
        let extreme = |world: &u32| flipped(&mut |at| world >> at & 1 == 1) >= least;
        return share((0..worlds).filter(extreme).count(), worlds);
    }
    let mut random = Random::new(SEED);
    let extreme = |_: &u32| flipped(&mut |_| random.bits() & 1 == 1) >= least;
    drawn_share((0..DRAWN).filter(extreme).count())
}

/// The smallest p-value that [`sign_flip`] can give for so many: this world and its mirror image.
pub fn sign_flip_p_min(count: usize) -> f64 {
    if count <= EXACT_MAX {
        f64::powi(2.0, 1 - i32::try_from(count).unwrap_or(i32::MAX)).min(1.0)
    } else {
        drawn_share(0)
    }
}

/// The two-sided p-value that two sets of values have their difference of means by chance: any of
/// them could have been in the other set. 1 where one is empty.
pub fn permutation(one: &[f64], other: &[f64]) -> f64 {
    if one.is_empty() || other.is_empty() {
        return 1.0;
    }
    let mut all: Vec<f64> = one.iter().chain(other).copied().collect();
    let (count, length) = (one.len(), all.len());
    let total: f64 = all.iter().sum();
    // How far the means differ, up to a constant factor, where the first set has this sum.
    let off = |sum: f64| (sum * length as f64 - total * count as f64).abs();
    let size: f64 = all.iter().map(|value| value.abs()).sum::<f64>() * length as f64;
    let least = off(one.iter().sum()) - ROUNDING * size;
    if length <= EXACT_MAX {
        let (mut worlds, mut extreme) = (0, 0);
        for world in (0..1_u32 << length).filter(|world| world.count_ones() as usize == count) {
            let is_first = |at: &usize| world >> at & 1 == 1;
            worlds += 1;
            extreme +=
                usize::from(off((0..length).filter(is_first).map(|at| all[at]).sum()) >= least);
        }
        return share(extreme, worlds);
    }
    let mut random = Random::new(SEED);
    let mut extreme = 0;
    for _ in 0..DRAWN {
        for at in 0..count {
            all.swap(at, at + random.below(length - at));
        }
        extreme += usize::from(off(all[..count].iter().sum()) >= least);
    }
    drawn_share(extreme)
}

/// The smallest p-value that [`permutation`] can give: this choice, and, where both sets are
/// equally large, its mirror image.
pub fn permutation_p_min(one: usize, other: usize) -> f64 {
    if one == 0 || other == 0 {
        return 1.0;
    }
    if one + other > EXACT_MAX {
        return drawn_share(0);
    }
    let choices =
        (0..one).fold(1.0, |choices, at| choices * (one + other - at) as f64 / (at + 1) as f64);
    if one == other { 2.0 / choices } else { 1.0 / choices }
}

fn share(extreme: usize, worlds: u32) -> f64 {
    extreme as f64 / f64::from(worlds)
}

/// The real world is one of them: without it, a p-value could be 0, and the test would lie
/// (Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010).
fn drawn_share(extreme: usize) -> f64 {
    (extreme + 1) as f64 / f64::from(DRAWN + 1)
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // what is counted is exact
mod tests {
    use super::*;

    #[test]
    fn signs_are_counted_exactly() {
        assert_eq!(sign_flip(&[]), 1.0);
        assert_eq!(sign_flip(&[0.0; 3]), 1.0);
        assert_eq!(sign_flip(&[1.0, 1.0, 1.0]), 0.25);
        assert_eq!(sign_flip(&[-1.0, -2.0, -3.0, -4.0, -5.0]), 0.0625);
        // Sums of at least 6 in size: +++, ---; with the smallest flipped it is 4.
        assert_eq!(sign_flip(&[1.0, 2.0, 3.0]), 0.25);
        // |−1+2+3| = 4: itself, its mirror, and the two above.
        assert_eq!(sign_flip(&[-1.0, 2.0, 3.0]), 0.5);
        // The same in another scale, where sums round differently.
        assert_eq!(sign_flip(&[0.1, 0.2, 0.3].map(|value| value * 1e-8)), 0.25);
    }

    /// Fisher's own: the differences in height of 15 pairs of Darwin's plants, in eighths of an
    /// inch. Of the 32,768 sums, 1,726 are at least as large as 314 in size ("The Design of
    /// Experiments", section 21: 863 of either sign).
    #[test]
    fn darwins_plants_come_out_as_fisher_counted_them() {
        let plants = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48];
        assert_eq!(sign_flip(&plants.map(f64::from)), 1_726.0 / 32_768.0);
    }

    #[test]
    fn drawn_worlds_agree_with_counted_ones() {
        let plants = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48, 0, 0];
        let drawn = sign_flip(&plants.map(f64::from));
        assert!((drawn - 0.052_67).abs() < 0.007, "{drawn}"); // three standard errors
        assert!(sign_flip(&[1.0; 30]) == sign_flip_p_min(30) && sign_flip_p_min(30) > 0.0);
        let (low, high): (Vec<f64>, Vec<f64>) =
            ((0..9).map(f64::from).collect(), (20..29).map(f64::from).collect());
        assert!(permutation(&low, &high) <= 0.001);
        assert!(permutation(&low, &low) > 0.9);
    }

    #[test]
    fn choices_are_counted_exactly() {
        assert_eq!(permutation(&[], &[1.0]), 1.0);
        assert_eq!(permutation(&[1.0, 2.0], &[3.0, 4.0]), 2.0 / 6.0);
        assert_eq!(permutation(&[1.0], &[2.0, 3.0, 4.0]), 0.5);
        assert_eq!(permutation(&[1.0, 1.0], &[1.0, 1.0]), 1.0);
        assert!((permutation_p_min(7, 7) - 2.0 / 3_432.0).abs() < 1e-12);
        assert!((permutation_p_min(3, 5) - 1.0 / 56.0).abs() < 1e-12);
        assert_eq!((permutation_p_min(0, 3), sign_flip_p_min(0)), (1.0, 1.0));
        assert_eq!((sign_flip_p_min(5), sign_flip_p_min(7)), (0.0625, 0.015_625));
    }
}
