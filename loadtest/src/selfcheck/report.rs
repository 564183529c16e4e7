//! What the self-check found: the schema `quintet/selfcheck/1`, and the table for people.

use std::fmt::Write;

use console::style;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::terminal::{grouped, time};

/// Name and version of the schema.
pub const SELFCHECK_SCHEMA: &str = "quintet/selfcheck/1";

/// The whole self-check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SELFCHECK_SCHEMA`].
    pub schema: String,
    /// The machine and the build.
    pub environment: Environment,
    /// Whether it was the short form.
    pub quick: bool,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
    /// Whether all passed that are about the load tester.
    pub passed: bool,
    /// Whether it was ended before all checks were made.
    pub interrupted: bool,
}

/// A figure that was predicted, and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What happened, and which figure.
    pub name: String,
    /// Why it must be so.
    pub what: String,
    /// By arithmetic.
    pub predicted: f64,
    /// By the load tester.
    pub measured: f64,
    /// Of both.
    pub unit: Unit,
    /// How the measured may lie to the predicted.
    pub bound: Bound,
    /// By how much they may differ, in the same unit, where the bound is `within`.
    pub tolerance: f64,
    /// What a failure would be about: one about the machine is only a remark.
    pub about: About,
    /// Whether it did.
    pub passed: bool,
    /// What else there is to know.
    pub detail: String,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Microseconds.
    Us,
    /// Requests, or histogram buckets.
    Count,
    /// Requests per second.
    Rps,
    /// Of one core; 1 is all of it.
    Cores,
    /// 1 is yes, 0 is no.
    YesNo,
}

/// How a measured figure may lie to the predicted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// On either side of it.
    Within,
    /// Not above it.
    AtMost,
    /// Not below it.
    AtLeast,
}

/// What a failure would be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The load tester is wrong, or this machine was too busy to tell.
    Instrument,
    /// The machine is slow or busy; figures are right, but not all it could give.
    Machine,
}

impl Check {
    /// A figure that must be within `tolerance` of the predicted one.
    pub fn within(
        name: impl Into<String>,
        unit: Unit,
        (predicted, measured): (f64, f64),
        tolerance: f64,
    ) -> Self {
        let passed = (predicted - measured).abs() <= tolerance;
        Self {
            name: name.into(),
            what: String::new(),
            predicted,
            measured,
            unit,
            bound: Bound::Within,
            tolerance,
            about: About::Instrument,
            passed,
            detail: String::new(),
        }
    }

    /// A figure that must be what was predicted.
    pub fn exactly(name: impl Into<String>, unit: Unit, figures: (f64, f64)) -> Self {
        Self::within(name, unit, figures, 0.0)
    }

    /// A figure that must not be below `least`.
    pub fn at_least(name: impl Into<String>, unit: Unit, (least, measured): (f64, f64)) -> Self {
        let passed = measured >= least;
        let figures = (least, measured);
        Self { bound: Bound::AtLeast, passed, ..Self::exactly(name, unit, figures) }
    }

    /// A figure that should not be above `most` on a machine that is quick and quiet.
    pub fn machine(name: impl Into<String>, unit: Unit, (most, measured): (f64, f64)) -> Self {
        Self {
            bound: Bound::AtMost,
            passed: measured <= most,
            about: About::Machine,
            ..Self::exactly(name, unit, (most, measured))
        }
    }

    /// Whether a failure of it fails the whole.
    pub fn is_failure(&self) -> bool {
        !self.passed && self.about == About::Instrument
    }
}

/// The table, and in words what failed. In colours where standard output is a terminal.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "{:<42}{:>13}{:>13}{:>12}{:>11}",
        "check", "predicted", "measured", "error", "tolerance"
    );
    for check in &report.checks {
        let _ = writeln!(text, "{}", row(check));
    }
    for check in report.checks.iter().filter(|check| !check.passed) {
        let (word, at) = if check.is_failure() { ("FAILED", "") } else { ("note", "machine: ") };
        let _ = writeln!(text, "{}: {at}{}: {}", style(word).yellow(), check.name, check.what);
        if !check.detail.is_empty() {
            let _ = writeln!(text, "  {}", check.detail);
        }
    }
    let failed = report.checks.iter().filter(|check| check.is_failure()).count();
    let _ = match (report.interrupted, failed) {
        (true, _) => writeln!(text, "interrupted: not all checks were made"),
        (false, 0) => writeln!(text, "all checks passed: figures can be trusted on this machine"),
        (false, _) => writeln!(
            text,
            "{failed} of {} checks failed; is the machine quiet? If so, trust no figure from it",
            report.checks.len()
        ),
    };
    text
}

fn row(check: &Check) -> String {
    let figure = |value| figure(check.unit, value);
    let (bound, error, tolerance) = match check.bound {
        Bound::Within if check.tolerance > 0.0 => {
            let error = check.measured - check.predicted;
            let sign = if error < 0.0 { "-" } else { "+" };
            ("", format!("{sign}{}", figure(error.abs())), format!("± {}", figure(check.tolerance)))
        }
        Bound::Within => ("", String::new(), "exactly".to_owned()),
        Bound::AtMost => ("<= ", String::new(), String::new()),
        Bound::AtLeast => (">= ", String::new(), String::new()),
    };
    let verdict = match (check.passed, check.about) {
        (true, _) => style("ok").green(),
        (false, About::Instrument) => style("FAILED").red().bold(),
        (false, About::Machine) => style("note").yellow(),
    };
    format!(
        "{:<42}{:>13}{:>13}{error:>12}{tolerance:>11}  {verdict}",
        check.name,
        format!("{bound}{}", figure(check.predicted)),
        figure(check.measured)
    )
}

fn figure(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Us => time(value),
        Unit::Count => grouped(value),
        Unit::Rps => format!("{}/s", grouped(value)),
        Unit::Cores => format!("{value:.2} cores"),
        Unit::YesNo => (if value == 0.0 { "no" } else { "yes" }).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>) -> Report {
        Report {
            schema: SELFCHECK_SCHEMA.to_owned(),
            environment: Environment::look(),
            quick: true,
            passed: !checks.iter().any(Check::is_failure),
            checks,
            interrupted: false,
        }
    }

    #[test]
    fn bounds_are_kept_to_the_edge() {
        let within = |measured| Check::within("x", Unit::Us, (100.0, measured), 5.0).passed;
        assert_eq!([94.9, 95.0, 105.0, 105.1].map(within), [false, true, true, false]);
        let exactly = |measured| Check::exactly("x", Unit::Count, (7.0, measured)).passed;
        assert_eq!([6.0, 7.0, 8.0].map(exactly), [false, true, false]);
        let at_least = |measured| Check::at_least("x", Unit::Us, (7.0, measured)).passed;
        assert_eq!([6.9, 7.0, 8.0].map(at_least), [false, true, true]);
        let machine = |measured| Check::machine("x", Unit::Us, (7.0, measured)).passed;
        assert_eq!([6.9, 7.0, 7.1].map(machine), [true, true, false]);
        assert!(!within(f64::NAN), "what is no number is not right");
    }

    #[test]
    fn a_failure_is_seen_and_a_slow_machine_is_only_a_note() {
        let slow = Check::machine("pacing", Unit::Us, (60.0, 90.0));
        let right = Check::within("known delay", Unit::Us, (10_000.0, 10_100.0), 500.0);
        let wrong = Check::exactly("answered", Unit::Count, (2_000.0, 1_999.0));
        let fine = report(vec![slow.clone(), right.clone()]);
        assert!(fine.passed);
        let text = table(&fine);
        assert!(text.contains("note: machine: pacing") && text.contains("all checks passed"));
        let bad = report(vec![slow, right, wrong]);
        assert!(!bad.passed);
        let text = table(&bad);
        assert!(text.contains("FAILED: answered") && text.contains("1 of 3 checks failed"));
        assert!(text.contains("+100 us") && text.contains("± 500 us"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn what_was_written_is_read() {
        let made = report(vec![Check::exactly("answered", Unit::YesNo, (1.0, 1.0))]);
        let json = serde_json::to_string(&made).unwrap();
        assert!(json.contains(r#""unit":"yes_no","bound":"within""#), "{json}");
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), made);
    }
}
