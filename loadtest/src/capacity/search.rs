//! The search for the highest rate that holds: double or halve from a guess, then bisect.
//!
//! It knows nothing of servers. It assumes that what holds at a rate holds at lower ones; where
//! noise breaks that, the bracket is off by a step, which is what several blocks are for.

use serde::{Deserialize, Serialize};

/// So many doublings, or halvings, are a factor of a thousand: the guess was none.
const STEPS_MAX: u32 = 10;

/// What a rate was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The server held it.
    Held,
    /// The server did not.
    Missed,
    /// The load tester could not send it.
    Unsent,
}

/// Between which rates the capacity lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bracket {
    /// The highest rate that held; none where not even the lowest did.
    pub low_rps: Option<f64>,
    /// The lowest rate that did not; none where all did.
    pub high_rps: Option<f64>,
    /// Whether that was the load tester's doing: then the server's capacity may be higher.
    pub limited_by_tester: bool,
}

impl Bracket {
    fn note(&mut self, rate_rps: f64, judged: Judged) {
        match judged {
            Judged::Held => self.low_rps = Some(rate_rps),
            Judged::Missed | Judged::Unsent => {
                self.high_rps = Some(rate_rps);
                self.limited_by_tester = judged == Judged::Unsent;
            }
        }
    }
}

/// Searches from `start_rps` on until the bracket is narrower than `precision`, a part of its low
/// end. `probe` judges a rate; where it says nothing, the search is given up.
pub(super) fn search<E>(
    start_rps: f64,
    precision: f64,
    mut probe: impl FnMut(f64) -> Result<Option<Judged>, E>,
) -> Result<Option<Bracket>, E> {
    let mut bracket = Bracket::default();
    let mut rate_rps = start_rps.max(1.0).round();
    for _ in 0..=STEPS_MAX {
        let Some(judged) = probe(rate_rps)? else { return Ok(None) };
        bracket.note(rate_rps, judged);
        match (bracket.low_rps, bracket.high_rps) {
            (Some(_), Some(_)) => break,
            (Some(_), None) => rate_rps *= 2.0,
            _ if rate_rps <= 1.0 => break,
            _ => rate_rps = (rate_rps / 2.0).round().max(1.0),
        }
    }
    while let (Some(low), Some(high)) = (bracket.low_rps, bracket.high_rps) {
        // In the middle by ratio, as the precision is one.
        let middle = (low * high).sqrt().round();
        if high <= low * (1.0 + precision) || middle <= low || middle >= high {
            break;
        }
        let Some(judged) = probe(middle)? else { return Ok(None) };
        bracket.note(middle, judged);
    }
    Ok(Some(bracket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn found(start: f64, capacity: f64, tester: f64) -> (Bracket, usize) {
        let mut probes = 0;
        let bracket = search(start, 0.05, |rate| {
            probes += 1;
            Ok::<_, Infallible>(Some(match rate {
                rate if rate > tester => Judged::Unsent,
                rate if rate > capacity => Judged::Missed,
                _ => Judged::Held,
            }))
        });
        (bracket.unwrap().unwrap(), probes)
    }

    #[test]
    fn a_limit_of_the_tester_is_not_the_servers() {
        let (bracket, _) = found(1_000.0, 50_000.0, 5_000.0);
        assert!(bracket.limited_by_tester);
        assert!(bracket.low_rps.unwrap() <= 5_000.0 && bracket.low_rps.unwrap() > 4_700.0);
        assert!(!found(1_000.0, 5_000.0, 50_000.0).0.limited_by_tester);
        // The tester gave up first, but below that it was the server's doing.
        assert!(!found(8_000.0, 3_000.0, 5_000.0).0.limited_by_tester);
    }

    #[test]
    fn a_server_that_holds_nothing_has_no_capacity() {
        let (bracket, probes) = found(64.0, 0.0, 1e9);
        assert_eq!((bracket.low_rps, bracket.high_rps, probes), (None, Some(1.0), 7));
        let (bracket, probes) = found(1e6, 0.0, 1e9);
        assert_eq!((bracket.low_rps, probes), (None, 11));
    }

    #[test]
    fn a_server_that_holds_everything_is_not_searched_for_ever() {
        let (bracket, probes) = found(100.0, 1e12, 1e12);
        assert_eq!((bracket.low_rps, bracket.high_rps, probes), (Some(102_400.0), None, 11));
    }

    #[test]
    fn an_interrupted_search_finds_nothing() {
        assert_eq!(search(1.0, 0.05, |_| Ok::<_, Infallible>(None)), Ok(None));
    }

    proptest! {
        #[test]
        fn the_bracket_holds_the_capacity_and_is_narrow(
            start in 100.0..1e5_f64, capacity in 200.0..1e6_f64,
        ) {
            let (bracket, probes) = found(start, capacity, f64::INFINITY);
            prop_assume!(capacity < start * 1_000.0 && capacity > start / 900.0);
            let (low, high) = (bracket.low_rps.unwrap(), bracket.high_rps.unwrap());
            prop_assert!(low <= capacity && capacity < high, "{:?}", bracket);
            prop_assert!(high <= (low * 1.05).max(low + 1.0) + 1e-6, "{:?}", bracket);
            prop_assert!(probes <= 17, "{}", probes);
        }
    }
}
