//! One entry beside another, block by block, and what the load tester's own limit makes of it.
//!
//! What is not known is not guessed: a difference that the limit may have made is none.

use super::evaluate::{throughput, usable};
use super::report::{Block, Bound, Entry};
use crate::statistics::{ALPHA, Better, Difference, Interval, Verdict, median};

/// A figure of one block, and in which direction the load tester's limit may have moved it.
#[derive(Clone, Copy)]
pub(super) struct Limited {
    pub(super) value: f64,
    pub(super) may_be_more: bool,
    pub(super) may_be_less: bool,
}

/// What the limits make of the median: a block that may be more moves it only from below.
pub(super) fn bound(values: &[Limited]) -> Bound {
    let of = |value: &dyn Fn(&Limited) -> f64| median(values.iter().map(value));
    let most = of(&|one| if one.may_be_more { f64::MAX } else { one.value });
    let least = of(&|one| if one.may_be_less { 0.0 } else { one.value });
    let middle = of(&|one| one.value);
    match (most == middle, least == middle) {
        (true, true) => Bound::Exact,
        (false, true) => Bound::AtLeast,
        (true, false) => Bound::AtMost,
        (false, false) => Bound::Unknown,
    }
}

/// One entry beside another.
pub(super) struct Beside {
    pub(super) ratio: Option<f64>,
    ratios: Vec<f64>,
    pub(super) difference: Difference,
    pub(super) bound: Bound,
    doubtful: bool,
}

impl Beside {
    /// Block by block, where both were measured under the same conditions; where there is no such
    /// pair the medians must do, without an interval.
    pub(super) fn of(entry: &Entry, other: &Entry, value: fn(&Block) -> f64) -> Self {
        let (blocks, others) = (usable(&entry.blocks), usable(&other.blocks));
        let pair = |block: &&Block| {
            let is_alike = |other: &&&Block| {
                other.number == block.number && other.is_trusted() == block.is_trusted()
            };
            let other = others.iter().find(is_alike)?;
            Some(limited(value(block), block, value(other), other))
        };
        let mut pairs: Vec<Limited> = blocks.iter().filter_map(pair).collect();
        let ratios: Vec<f64> = pairs.iter().map(|pair| pair.value).collect();
        if pairs.is_empty() {
            let middle = |blocks: &[&Block]| median(blocks.iter().map(|block| value(block)));
            let of_medians = middle(&blocks).zip(middle(&others)).map(|(one, other)| one / other);
            let some = |blocks: &[&Block]| blocks.iter().any(|block| block.is_tester_limited());
            pairs.extend(of_medians.map(|value| Limited {
                value,
                may_be_more: some(&blocks),
                may_be_less: some(&others),
            }));
        }
        Self {
            ratio: median(pairs.iter().map(|pair| pair.value)),
            difference: Difference::paired(&ratios, Better::Higher, ALPHA),
            ratios,
            bound: bound(&pairs),
            doubtful: !blocks.iter().chain(&others).all(|block| block.is_trusted()),
        }
    }

    /// What may be said of the two: nothing where one has no block that may be believed. A
    /// difference that the load tester's limit may have made is none.
    pub(super) fn verdict(&self, better: Better) -> Verdict {
        if self.doubtful {
            return Verdict::TooFew;
        }
        let ratio_grows = self.ratio.is_some_and(|ratio| ratio > 1.0);
        match (Difference::paired(&self.ratios, better, ALPHA).verdict, self.bound) {
            (verdict, Bound::Exact) => verdict,
            (verdict, Bound::AtLeast) if ratio_grows => verdict,
            (verdict, Bound::AtMost) if !ratio_grows => verdict,
            (Verdict::TooFew, _) => Verdict::TooFew,
            _ => Verdict::Tie,
        }
    }
}

/// The ratio of a figure of two contenders that were measured side by side, and what the load
/// tester's limit makes of it where the figure is a throughput.
pub(crate) fn ratio_beside(
    entry: &Entry,
    other: &Entry,
    figure: fn(&Block) -> f64,
) -> (Option<f64>, Option<Interval>, Bound) {
    let beside = Beside::of(entry, other, figure);
    (beside.ratio, beside.difference.ratio, beside.bound)
}

/// The ratios of a figure of two contenders, block by block.
pub(crate) fn ratios_beside(entry: &Entry, other: &Entry, figure: fn(&Block) -> f64) -> Vec<f64> {
    Beside::of(entry, other, figure).ratios
}

/// What may be said of the throughputs of two contenders that were measured side by side.
pub(crate) fn throughputs_beside(entry: &Entry, other: &Entry) -> Difference {
    let beside = Beside::of(entry, other, throughput);
    Difference { verdict: beside.verdict(Better::Higher), ..beside.difference }
}

/// The ratio of two blocks' figures.
fn limited(value: f64, block: &Block, other_value: f64, other: &Block) -> Limited {
    Limited {
        value: value / other_value,
        may_be_more: block.is_tester_limited(),
        may_be_less: other.is_tester_limited(),
    }
}
