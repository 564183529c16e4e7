//! What a server must hold: times, no errors, nothing unsent, and the planned throughput.
//!
//! All of it must hold at once: a server that drops requests is not fast.

use std::fmt;
use std::str::FromStr;

use crate::commands::value::positive;
use crate::result::{Quantiles, RunResult};

/// How much of the planned throughput may be missing: the ends of a run are not sharp.
const MISSING_MAX: f64 = 0.01;
/// Samples that must lie beyond a quantile for it to mean something: as the audit has it.
const SAMPLES_BEYOND_MIN: f64 = 10.0;

/// A time of a run: its name, the share of requests below it, and where it is.
type Measure = (&'static str, Option<f64>, fn(&Quantiles) -> f64);

const MEASURES: [Measure; 11] = [
    ("p50", Some(0.5), |us| us.p50),
    ("p75", Some(0.75), |us| us.p75),
    ("p90", Some(0.9), |us| us.p90),
    ("p95", Some(0.95), |us| us.p95),
    ("p97", Some(0.97), |us| us.p97),
    ("p99", Some(0.99), |us| us.p99),
    ("p99.5", Some(0.995), |us| us.p99_5),
    ("p99.9", Some(0.999), |us| us.p99_9),
    ("p99.99", Some(0.9999), |us| us.p99_99),
    ("max", None, |us| us.max),
    ("mean", None, |us| us.mean),
];

/// One time, and what it may be at the most.
#[derive(Clone, Copy, Debug)]
struct Term {
    measure: Measure,
    limit_us: f64,
}

/// A service level objective: all its terms must hold.
#[derive(Clone, Debug)]
pub struct Slo {
    terms: Vec<Term>,
    text: String,
}

/// Why a text is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SloError {
    /// No time that is known, or no limit.
    #[error("`{0}` is not p99=2ms; there are p50 p75 p90 p95 p97 p99 p99.5 p99.9 p99.99 max mean")]
    Measure(String),
    /// The limit is no duration.
    #[error("`{text}`: {reason}")]
    Limit {
        /// The part it stands in.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let term = |text: &str| {
            let unknown = || SloError::Measure(text.to_owned());
            let (name, limit) = text.split_once('=').ok_or_else(unknown)?;
            let measure = MEASURES.into_iter().find(|measure| measure.0 == name.trim());
            let limit = positive(limit.trim())
                .map_err(|reason| SloError::Limit { text: text.to_owned(), reason })?;
            Ok(Term { measure: measure.ok_or_else(unknown)?, limit_us: limit.as_secs_f64() * 1e6 })
        };
        let terms = text.split(',').map(term).collect::<Result<Vec<Term>, SloError>>()?;
        Ok(Self { terms, text: text.to_owned() })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Slo {
    /// The name of the first time, which stands for all in tables.
    pub fn first_name(&self) -> &'static str {
        self.terms.first().map_or("p99", |term| term.measure.0)
    }

    /// The first time of a run.
    pub fn first_us(&self, run: &RunResult) -> f64 {
        self.terms.first().map_or(0.0, |term| (term.measure.2)(&run.latency_us))
    }

    /// What a run that was planned at `rate_rps` did not hold, in words; nothing where it held all.
    pub fn missed(&self, run: &RunResult, rate_rps: f64) -> Option<String> {
        let errors: u64 = run.errors.values().sum();
        let counts = [(errors, "errors"), (run.timed_out, "timed out"), (run.unsent, "unsent")];
        if let Some((count, what)) = counts.into_iter().find(|(count, _)| *count > 0) {
            return Some(format!("{count} {what}"));
        }
        // As long as the slowest allowed, some answers may still be under way when planning ends.
        let longest_s = self.terms.iter().map(|term| term.limit_us / 1e6).fold(0.0, f64::max);
        let expected = rate_rps * (run.elapsed_s - longest_s);
        if ((run.ok + 1) as f64) < (1.0 - MISSING_MAX) * expected {
            return Some(format!("{:.0}/s of {rate_rps:.0}/s planned", run.throughput_rps));
        }
        let is_over = |term: &&Term| (term.measure.2)(&run.latency_us) > term.limit_us;
        let over = self.terms.iter().find(is_over)?;
        Some(format!("{} {:.0} us", over.measure.0, (over.measure.2)(&run.latency_us)))
    }

    /// The first time for which so many samples are too few.
    pub fn too_few_for(&self, samples: u64) -> Option<&'static str> {
        let is_shaky = |share: f64| samples as f64 * (1.0 - share) < SAMPLES_BEYOND_MIN;
        let shaky = self.terms.iter().find(|term| term.measure.1.is_some_and(is_shaky));
        shaky.map(|term| term.measure.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::evaluate::tests::block;

    fn run(change: impl FnOnce(&mut RunResult)) -> RunResult {
        let mut run = block(0, 1_000.0, false).run;
        run.ok = 1_000;
        change(&mut run);
        run
    }

    #[test]
    fn all_terms_must_hold() {
        let slo: Slo = "p99=2ms, max=50ms".parse().unwrap();
        let missed = |change: fn(&mut RunResult)| slo.missed(&run(change), 1_000.0);
        assert_eq!(missed(|_| {}), None);
        assert_eq!(missed(|run| run.latency_us.p99 = 2_000.0), None);
        assert_eq!(missed(|run| run.latency_us.p99 = 2_001.0).unwrap(), "p99 2001 us");
        assert_eq!(missed(|run| run.latency_us.max = 60_000.0).unwrap(), "max 60000 us");
        assert_eq!(missed(|run| run.timed_out = 1).unwrap(), "1 timed out");
        assert_eq!(missed(|run| run.unsent = 2).unwrap(), "2 unsent");
        let error = |run: &mut RunResult| run.errors = [("reset".to_owned(), 3)].into();
        assert_eq!(missed(error).unwrap(), "3 errors");
    }

    #[test]
    fn the_planned_throughput_must_come() {
        let slo: Slo = "max=50ms".parse().unwrap();
        // In 1.05 s, of which the last 50 ms may be the slowest answer, 1,000 were planned.
        let missed = |ok, elapsed_s| {
            let change = |run: &mut RunResult| (run.ok, run.elapsed_s) = (ok, elapsed_s);
            slo.missed(&run(change), 1_000.0)
        };
        assert_eq!(missed(1_000, 1.05), None);
        assert_eq!(missed(990, 1.0), None);
        assert!(missed(900, 1.0).unwrap().ends_with("of 1000/s planned"));
        assert!(missed(1_000, 1.5).is_some());
    }

    #[test]
    fn few_samples_do_not_carry_a_far_quantile() {
        let slo: Slo = "p99=2ms,p99.9=5ms".parse().unwrap();
        assert_eq!(slo.too_few_for(10_001), None);
        assert_eq!(slo.too_few_for(9_000), Some("p99.9"));
        assert_eq!(slo.too_few_for(900), Some("p99"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("p99", "`p99` is not p99=2ms"),
            ("p98=1ms", "`p98=1ms` is not p99=2ms"),
            ("p99=2", "`p99=2`: "),
            ("p99=0s", "longer than nothing"),
            ("p99=2ms,", "`` is not p99=2ms"),
        ] {
            let error = text.parse::<Slo>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
