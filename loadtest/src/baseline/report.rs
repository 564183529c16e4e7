//! What changed since an earlier experiment, scenario by scenario and server by server.
//!
//! The two were measured at different times, so a drift of the machine is in every change. That is
//! said beside the figures, since no statistics can take it out.

use std::fmt::Write;

use console::style;
use serde::{Deserialize, Serialize};

use crate::compare::evaluate::usable;
use crate::compare::grid::{Grid, NOTHING, Row, Tone, ratio};
use crate::compare::report::{Block, Bound, Entry};
use crate::environment::Environment;
use crate::statistics::{ALPHA, Better, Difference, Verdict};

/// Below the table.
const LEGEND: &str = "Now as a part of then, with the interval of the ratio of medians. tie: \
    cannot be told apart, by that\nor by a permutation test. Two times of one machine: what it did in \
    between is in these changes, and\nno statistics can take it out.";

/// The changes since a baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaselineReport {
    /// Its name.
    pub name: String,
    /// When it was measured.
    pub date: String,
    /// Of which sources.
    pub git_revision: Option<String>,
    /// One by one.
    pub changes: Vec<Change>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// One server under one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// The load.
    pub scenario: String,
    /// The server.
    pub server: String,
    /// Throughput, as a part of what it was. None in an open loop, where it is given, and where
    /// the load tester was the limit.
    pub throughput: Option<Difference>,
    /// CPU per request, as a part of what it was.
    pub cpu: Option<Difference>,
}

impl Change {
    /// In words, what got worse by more than `tolerance`, and not by chance.
    pub fn regressions(&self, tolerance: f64) -> Vec<String> {
        let is_worse = |difference: &Difference| difference.verdict == Verdict::Slower;
        let worse = |what, difference: Option<Difference>, is_beyond: &dyn Fn(f64) -> bool| {
            let estimate = difference.filter(is_worse)?.ratio?.estimate;
            let (scenario, server) = (&self.scenario, &self.server);
            is_beyond(estimate)
                .then(|| format!("{scenario}, {server}: {what} {estimate:.2} of what it was"))
        };
        let throughput = worse("throughput is", self.throughput, &|ratio| ratio < 1.0 - tolerance);
        let cpu = worse("CPU per request is", self.cpu, &|ratio| ratio > 1.0 + tolerance);
        throughput.into_iter().chain(cpu).collect()
    }
}

/// One load as the experiment has it: its name, its rate where the loop is open, its entries.
pub type Loaded<'a> = (&'a str, Option<f64>, &'a [Entry]);

impl BaselineReport {
    /// What changed; loads and servers that only one of the two has are left out, and named.
    pub fn new(
        (name, environment): (&str, &Environment),
        before: &[Loaded<'_>],
        now: &[Loaded<'_>],
        forced: &[String],
    ) -> Self {
        let mut report = Self {
            name: name.to_owned(),
            date: environment.date.clone(),
            git_revision: environment.git_revision.clone(),
            changes: Vec::new(),
            warnings: forced
                .iter()
                .map(|what| format!("the baseline has another {what}"))
                .collect(),
        };
        for (scenario, rate, entries) in now {
            let earlier = before.iter().find(|(name, ..)| name == scenario);
            let earlier = earlier.filter(|(_, earlier_rate, _)| earlier_rate == rate);
            for entry in *entries {
                let is_same = |before: &&Entry| before.server == entry.server;
                match earlier.and_then(|(_, _, entries)| entries.iter().find(is_same)) {
                    Some(before) if before.doubtful || entry.doubtful => {
                        report.warnings.push(format!(
                            "{scenario}, {}: not compared: no block that may be believed",
                            entry.server
                        ));
                    }
                    Some(before) => {
                        report.change(scenario, rate.is_some(), entry, before);
                    }
                    _ => report.warnings.push(format!(
                        "{scenario}, {}: the baseline does not have it",
                        entry.server
                    )),
                }
            }
        }
        report
    }

    fn change(&mut self, scenario: &str, is_open: bool, now: &Entry, before: &Entry) {
        let values = |entry: &Entry, value: fn(&Block) -> Option<f64>| -> Vec<f64> {
            usable(&entry.blocks).into_iter().filter_map(value).collect()
        };
        let difference = |value, better| {
            let (now, before) = (values(now, value), values(before, value));
            let difference = Difference::unpaired(&now, &before, better, ALPHA);
            difference.ratio.map(|_| difference)
        };
        let is_exact = |entry: &Entry| entry.bounds.throughput_rps == Bound::Exact;
        let has_throughput = !is_open && is_exact(now) && is_exact(before);
        if !is_open && !has_throughput {
            self.warnings.push(format!(
                "{scenario}, {}: the load tester was the limit, so throughput is not compared",
                now.server
            ));
        }
        let throughput = difference(|block| Some(block.run.throughput_rps), Better::Higher);
        self.changes.push(Change {
            scenario: scenario.to_owned(),
            server: now.server.clone(),
            throughput: throughput.filter(|_| has_throughput),
            cpu: difference(|block| Some(block.run.server?.cpu_us_per_request), Better::Lower),
        });
    }

    /// In words, what got worse by more than `tolerance`, and not by chance.
    pub fn regressions(&self, tolerance: f64) -> Vec<String> {
        self.changes.iter().flat_map(|change| change.regressions(tolerance)).collect()
    }

    fn title(&self) -> String {
        let revision = self.git_revision.as_deref().unwrap_or("unknown");
        format!("since baseline {} ({}, revision {revision})", self.name, self.date)
    }

    fn grid(&self) -> Grid {
        let mut grid = Grid::new("scenario", &["server", "throughput", "", "CPU/request", ""]);
        for change in &self.changes {
            let cells =
                |difference: Option<Difference>, [better, worse]: [&str; 2]| match difference {
                    None => [NOTHING.to_owned(), String::new()],
                    Some(Difference { ratio: interval, verdict, .. }) => {
                        let word = match verdict {
                            Verdict::Faster => better,
                            Verdict::Slower => worse,
                            Verdict::Tie => "tie",
                            Verdict::TooFew => "too few blocks",
                        };
                        [ratio(interval.map(|ratio| ratio.estimate), interval), word.to_owned()]
                    }
                };
            let throughput = cells(change.throughput, ["better", "WORSE"]);
            let cpu = cells(change.cpu, ["better", "WORSE"]);
            let server = [change.server.clone()];
            let cells = server.into_iter().chain(throughput).chain(cpu).collect();
            grid.rows.push(Row { name: change.scenario.clone(), cells, tone: Tone::Plain });
        }
        grid
    }

    /// Below the tables of a terminal.
    pub(crate) fn terminal(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n{}", style(self.title()).bold())?;
        self.grid().terminal(out)?;
        writeln!(out, "{}", style(LEGEND).dim())?;
        for warning in &self.warnings {
            writeln!(out, "{} {warning}", style("warning:").yellow())?;
        }
        Ok(())
    }

    /// The same as Markdown.
    pub(crate) fn markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "**Changes {}**\n", self.title())?;
        self.grid().markdown(out)?;
        writeln!(out, "{}\n", LEGEND.replace('\n', " "))?;
        for warning in &self.warnings {
            writeln!(out, "- {warning}")?;
        }
        if self.warnings.is_empty() { Ok(()) } else { writeln!(out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::evaluate::evaluate;
    use crate::compare::evaluate::tests::{entry, limited};
    use crate::cost::ServerCost;

    const RATES: [f64; 7] = [100.0, 103.0, 98.0, 101.0, 99.0, 102.0, 97.0];

    /// A server with these rates, each request of which costs so many microseconds.
    fn with_cpu(server: &str, rates: &[f64], cpu_us: f64) -> Entry {
        let mut entry = entry(server, rates);
        for (at, block) in entry.blocks.iter_mut().enumerate() {
            let cpu_us_per_request = cpu_us * (1.0 + at as f64 / 1_000.0);
            block.run.server = Some(ServerCost { cpu_us_per_request, ..ServerCost::default() });
        }
        evaluated(entry)
    }

    fn evaluated(entry: Entry) -> Entry {
        let mut entries = [entry];
        evaluate(&mut entries, false);
        entries.into_iter().next().unwrap()
    }

    fn report(before: &Entry, now: &Entry, rates: [Option<f64>; 2]) -> BaselineReport {
        let loads = |entry, rate| [("echo", rate, std::slice::from_ref(entry))];
        let environment = Environment::look();
        let (before, now) = (loads(before, rates[0]), loads(now, rates[1]));
        BaselineReport::new(("main", &environment), &before, &now, &[])
    }

    #[test]
    fn less_throughput_and_more_cpu_are_regressions() {
        let before = with_cpu("epoll", &RATES, 5.0);
        let named = |now: &Entry, tolerance| {
            report(&before, now, [None, None]).regressions(tolerance).join("; ")
        };
        let slower = with_cpu("epoll", &RATES.map(|rate| rate * 0.8), 5.0);
        assert_eq!(named(&slower, 0.05), "echo, epoll: throughput is 0.80 of what it was");
        assert_eq!(named(&slower, 0.25), "");
        let dearer = with_cpu("epoll", &RATES, 6.0);
        assert_eq!(named(&dearer, 0.05), "echo, epoll: CPU per request is 1.20 of what it was");
        assert_eq!(named(&dearer, 0.25), "");
        let better = with_cpu("epoll", &RATES.map(|rate| rate * 1.2), 4.0);
        assert_eq!(named(&better, 0.05), "");
        assert_eq!(named(&before, 0.0), "");
        // A median of 0.8 that chance may have made.
        let unsteady = [80.0, 40.0, 160.0, 78.0, 150.0, 30.0, 120.0];
        assert_eq!(named(&with_cpu("epoll", &unsteady, 5.0), 0.05), "");
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let before = with_cpu("epoll", &RATES, 5.0);
        let warned = |now: &Entry, rates| {
            let report = report(&before, now, rates);
            (report.changes.len(), report.warnings.join("; "))
        };
        let other = with_cpu("tasks", &RATES, 5.0);
        let (changes, warnings) = warned(&other, [None, None]);
        assert_eq!((changes, warnings.as_str()), (0, "echo, tasks: the baseline does not have it"));
        assert_eq!(warned(&before, [Some(1.0), Some(2.0)]).0, 0, "another rate is another load");
        let mut noisy = before.clone();
        noisy.blocks.iter_mut().for_each(|block| block.noisy = true);
        let (changes, warnings) = warned(&evaluated(noisy), [None, None]);
        assert!(changes == 0 && warnings.contains("no block that may be believed"), "{warnings}");
        let mut capped = before.clone();
        capped.blocks = (0..7).map(|number| limited(number, 10.0)).collect();
        let report = report(&before, &evaluated(capped), [None, None]);
        assert_eq!(report.changes[0].throughput, None);
        assert!(report.warnings[0].contains("the load tester was the limit"));
        assert_eq!(report.regressions(0.0), Vec::<String>::new());
    }

    #[test]
    fn in_the_open_loop_only_the_cost_is_compared() {
        let before = with_cpu("epoll", &RATES, 5.0);
        let now = with_cpu("epoll", &RATES.map(|rate| rate * 0.8), 6.0);
        let report = report(&before, &now, [Some(100.0), Some(100.0)]);
        assert_eq!(report.changes[0].throughput, None);
        assert_eq!(report.changes[0].cpu.map(|cpu| cpu.verdict), Some(Verdict::Slower));
        assert_eq!(report.warnings, Vec::<String>::new());
        let mut text = String::new();
        report.terminal(&mut text).unwrap();
        assert!(text.contains("WORSE"), "{text}");
        let text = console::strip_ansi_codes(&text).into_owned();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
