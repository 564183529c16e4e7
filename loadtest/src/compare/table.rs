//! The table of a comparison: for a terminal, and as Markdown.
//!
//! A figure that the load tester limited, or that no block vouches for, has a mark and a line
//! below.

use std::fmt::Write;

use console::style;

use super::evaluate::ranked;
use super::grid::{Grid, NOTHING, Row, Tone, digits, measured_on, plus_minus, ratio, times};
use super::ledger::Ledger;
use super::report::{Bound, Bounds, Comparison, Entry, Flags, ScenarioReport};
use crate::process::FLOOR;
use crate::statistics::Verdict;
use crate::terminal::{grouped, time};

/// A column: its head, and its cell for an entry.
type Column = (&'static str, fn(&Entry) -> String);

/// What the process cost, in the columns of every scenario.
const COSTS: [Column; 5] = [
    ("CPU us", |e| digits(e.medians.cpu_us_per_request, 2)),
    ("syscalls", |e| digits(e.medians.system_calls_per_request, 2)),
    ("switches", |e| digits(e.medians.context_switches_per_request, 3)),
    ("threads", |e| digits(e.medians.threads, 0)),
    ("MiB", |e| digits(e.medians.rss_anon_bytes.map(|bytes| bytes / (1024.0 * 1024.0)), 1)),
];

/// Columns of the closed loop.
const CLOSED: [Column; 4] = [
    ("requests/s", |e| {
        let mark = if e.doubtful { "!" } else { mark(e.bounds.throughput_rps) };
        format!("{mark}{}", grouped(e.medians.throughput_rps))
    }),
    ("±", |e| plus_minus(e.intervals.throughput_rps)),
    ("of best", |e| {
        format!("{}{}{}", mark(e.bounds.of_best), digits(e.medians.of_best, 2), tie(e))
    }),
    ("of floor", |e| {
        let of_floor = ratio(e.medians.of_floor, e.intervals.of_floor);
        let own = || NOTHING.to_owned();
        if is_floor(e) { own() } else { format!("{}{of_floor}", mark(e.bounds.of_floor)) }
    }),
];

/// Columns of the open loop: there the throughput is given, and the tail is the question.
const OPEN: [Column; 4] = [
    ("p50", |e| time(e.medians.latency_p50_us)),
    ("p99", |e| {
        let mark = if e.doubtful { "!" } else { "" };
        format!("{mark}{}{}", time(e.medians.latency_p99_us), tie(e))
    }),
    ("low–high", |e| e.intervals.latency_p99_us.map_or_else(|| NOTHING.to_owned(), times)),
    ("achieved", |e| grouped(e.medians.throughput_rps)),
];

/// What a request asks of the kernel and of other threads.
const CALLS: [Column; 9] = [
    ("syscalls", |e| ledger(e, |ledger| Some(ledger.system_calls()), 3)),
    ("reads", |e| ledger(e, |ledger| Some(ledger.reads), 3)),
    ("writes", |e| ledger(e, |ledger| Some(ledger.writes), 3)),
    ("waits", |e| ledger(e, |ledger| Some(ledger.waits), 3)),
    ("wakes", |e| ledger(e, |ledger| Some(ledger.wakes), 3)),
    ("re-arms", |e| ledger(e, |ledger| Some(ledger.registrations), 3)),
    ("hand-offs", |e| ledger(e, |ledger| Some(ledger.handoffs), 3)),
    ("waited", |e| digits(e.medians.voluntary_switches_per_request, 3)),
    ("preempted", |e| digits(e.medians.involuntary_switches_per_request, 3)),
];

/// What it moves, and what of the machine it takes.
const WORK: [Column; 7] = [
    ("read B", |e| ledger(e, |ledger| Some(ledger.bytes_read), 0)),
    ("written B", |e| ledger(e, |ledger| Some(ledger.bytes_written), 0)),
    ("copied B", |e| ledger(e, |ledger| ledger.bytes_copied, 0)),
    ("allocations", |e| ledger(e, |ledger| ledger.allocations, 2)),
    ("allocated B", |e| ledger(e, |ledger| ledger.allocated_bytes, 0)),
    ("user us", |e| digits(e.medians.cpu_user_us_per_request, 2)),
    ("system us", |e| digits(e.medians.cpu_system_us_per_request, 2)),
];

/// What the heads and marks mean.
const LEGEND: &str = "Medians over blocks. CPU, system calls (the server's own count of reads, \
    writes and waits) and\ncontext switches are the server's, per request; MiB is its anonymous \
    memory (RssAnon). The floor\nechoes the same bytes on one bare epoll loop.";
const LEGEND_LEDGER: &str = "Below each table its ledger, per request: the server's own counters, \
    of a block of half a second\nthat is in no median, for allocations are counted in it. Context \
    switches (a thread waited, or was\npreempted) and CPU time are medians over the other blocks.";
const LEGEND_TIE: &str = "tie: cannot be told from the best: the interval of the ratio holds 1, or \
    a sign-flip test would\ncall two that are the same different in more than one of 20 cases.";
const LEGEND_FEW: &str =
    "Too few blocks that may be believed allow no verdict: it takes 6, and 7 are the default.";
const LEGEND_BOUND: &str = "≥ ≤ ~: at least, at most, either: in some blocks the load tester was \
    the limit.";

pub(crate) fn mark(bound: Bound) -> &'static str {
    match bound {
        Bound::Exact => "",
        Bound::AtLeast => "≥",
        Bound::AtMost => "≤",
        Bound::Unknown => "~",
    }
}

pub(crate) fn tie(entry: &Entry) -> &'static str {
    if entry.against_best == Some(Verdict::Tie) { " tie" } else { "" }
}

fn is_floor(entry: &Entry) -> bool {
    entry.server == FLOOR.name
}

fn ledger(entry: &Entry, figure: fn(&Ledger) -> Option<f64>, places: usize) -> String {
    digits(entry.ledger.as_ref().and_then(figure), places)
}

/// The tables of one scenario: what it is compared by, and then its ledger, where there is one.
fn grids(scenario: &ScenarioReport) -> Vec<Grid> {
    let first = if scenario.rate_rps.is_some() { &OPEN } else { &CLOSED };
    let mut grids = vec![grid(scenario, "server", &[&first[..], &COSTS[..]].concat())];
    if scenario.entries.iter().any(|entry| entry.ledger.is_some()) {
        grids.extend([&CALLS[..], &WORK[..]].map(|part| grid(scenario, "per request", part)));
    }
    grids
}

/// One scenario's rows, the best first and the floor last.
fn grid(scenario: &ScenarioReport, corner: &'static str, columns: &[Column]) -> Grid {
    let mut grid = Grid::new(corner, &columns.iter().map(|(head, _)| *head).collect::<Vec<_>>());
    let ranked = ranked(&scenario.entries, scenario.rate_rps.is_some());
    grid.rows.extend(ranked.into_iter().enumerate().map(|(at, entry)| Row {
        name: entry.server.clone(),
        cells: columns.iter().map(|(_, cell)| cell(entry)).collect(),
        tone: match (is_floor(entry), at) {
            (true, _) => Tone::Faint,
            (false, 0) => Tone::Best,
            (false, _) => Tone::Plain,
        },
    }));
    grid
}

/// What there is to know of the figures of this comparison.
fn legend(comparison: &Comparison) -> String {
    let entries = || comparison.scenarios.iter().flat_map(|scenario| &scenario.entries);
    let has = |is: fn(&Entry) -> bool| entries().any(is);
    let intervals = entries().filter_map(|entry| entry.intervals.throughput_rps);
    let confidence = intervals.map(|interval| interval.confidence).fold(f64::NAN, f64::min);
    let mut lines = vec![LEGEND.to_owned()];
    if confidence.is_finite() {
        lines.push(format!(
            "± is half of the interval of the median, and low–high the interval (of p99 in an open \
             loop), with\n{:.0} % confidence.",
            confidence * 100.0
        ));
    }
    let told = [
        (has(|entry| entry.ledger.is_some()), LEGEND_LEDGER),
        (has(|entry| entry.against_best == Some(Verdict::Tie)), LEGEND_TIE),
        (has(|entry| entry.against_best == Some(Verdict::TooFew)), LEGEND_FEW),
        (has(|entry| entry.bounds != Bounds::default()), LEGEND_BOUND),
    ];
    lines.extend(told.into_iter().filter(|(is_so, _)| *is_so).map(|(_, line)| line.to_owned()));
    lines.join("\n")
}

/// The whole report for a terminal: at most 100 columns, in colours where there are any.
pub fn terminal(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, comparison);
    out
}

fn write_terminal(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    for scenario in &comparison.scenarios {
        writeln!(out, "{}", style(&scenario.title).bold())?;
        grids(scenario).iter().try_for_each(|grid| grid.terminal(out))?;
        writeln!(out, "  {}\n", style(&scenario.shows).italic().dim())?;
    }
    if let Some(idle) = idle(comparison) {
        writeln!(out, "{}  {idle}\n", style("An idle connection").bold())?;
    }
    writeln!(out, "{}", style(legend(comparison)).dim())?;
    let Flags { client_threads, server_workers, .. } = comparison.flags;
    let cores = format!(
        "Threads of the load tester: {client_threads}; each server has --workers {server_workers}."
    );
    writeln!(out, "{}", style(cores).dim())?;
    if let Some(baseline) = &comparison.baseline {
        baseline.terminal(out)?;
    }
    for refused in refusals(comparison) {
        writeln!(out, "{} {refused}", style("refused:").red().bold())?;
    }
    for warning in &comparison.warnings {
        writeln!(out, "{} {warning}", style("warning:").yellow())?;
    }
    Ok(())
}

fn idle(comparison: &Comparison) -> Option<String> {
    let each: Vec<String> = comparison
        .servers
        .iter()
        .filter_map(|server| Some((server, server.idle_connection_bytes?)))
        .map(|(server, bytes)| format!("{} {:.1} KiB", server.name, bytes / 1024.0))
        .collect();
    (!each.is_empty()).then(|| each.join(" · "))
}

fn refusals(comparison: &Comparison) -> impl Iterator<Item = String> + '_ {
    comparison.servers.iter().filter_map(|server| {
        server.refused.as_ref().map(|why| format!("{} was not measured: {why}", server.name))
    })
}

/// The same as Markdown, with what it was measured on.
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, comparison);
    out
}

fn write_markdown(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    for scenario in &comparison.scenarios {
        writeln!(out, "**{}** ({})\n", scenario.title, scenario.shows)?;
        let grids = grids(scenario);
        let (compared, ledger) = grids.split_at(1.min(grids.len()));
        compared.iter().try_for_each(|grid| grid.markdown(out))?;
        if !ledger.is_empty() {
            // Folded: it explains the table above it, and is longer.
            writeln!(out, "<details><summary>its ledger</summary>\n")?;
            ledger.iter().try_for_each(|grid| grid.markdown(out))?;
            writeln!(out, "</details>\n")?;
        }
    }
    if let Some(idle) = idle(comparison) {
        writeln!(out, "An idle connection (RssAnon): {idle}.\n")?;
    }
    if let Some(baseline) = &comparison.baseline {
        baseline.markdown(out)?;
    }
    writeln!(out, "{}\n", legend(comparison).replace('\n', " "))?;
    let flags = &comparison.flags;
    writeln!(
        out,
        "{}; {} blocks of {} s, {} load threads, --workers {} for each server, seed {}.",
        measured_on(&comparison.environment),
        flags.blocks,
        flags.block_s,
        flags.client_threads,
        flags.server_workers,
        flags.seed
    )?;
    let notes: Vec<String> = refusals(comparison).chain(comparison.warnings.clone()).collect();
    if !notes.is_empty() {
        writeln!(out)?;
    }
    notes.iter().try_for_each(|note| writeln!(out, "- {note}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::evaluate::tests::{block, limited};
    use crate::compare::report::Block;
    use crate::cost::ServerCost;

    /// Figures as wide as they come, with every mark.
    fn wide(is_open: bool) -> Comparison {
        let cost = ServerCost {
            cpu_us_per_request: 158.84,
            rss_anon_bytes: 999 << 20,
            threads: 1_002,
            context_switches_per_request: 3.071,
            voluntary_switches_per_request: 13.071,
            involuntary_switches_per_request: 10.071,
            cpu_user_us_per_request: 1_158.84,
            cpu_system_us_per_request: 1_158.84,
            ..ServerCost::default()
        };
        let costly = |mut block: Block| {
            block.run.server = Some(cost);
            block.run.latency_us.p50 = 99_990.0;
            block.run.latency_us.p99 = 99_990.0 + block.number as f64;
            block.system_calls_per_request = Some(13.37);
            block
        };
        let of = |server: &str, is_limited: bool| {
            let rate = |number: u64| 7_000_000.0 + 300_000.0 * (number * 3 % 7) as f64;
            let block = |n| if is_limited { limited(n, rate(n)) } else { block(n, rate(n), false) };
            let mut entry = Entry::new(server.to_owned(), (0..7).map(block).map(costly).collect());
            entry.ledger = (server != FLOOR.name).then_some(LEDGER);
            entry
        };
        let mut entries = vec![of("threads", true), of("pool", false), of(FLOOR.name, true)];
        entries[1].blocks.iter_mut().for_each(|block| block.noisy = true);
        let scenario = serde_json::json!({
            "name": "echo", "title": "echo", "shows": "it",
            "rate_rps": is_open.then_some(1.0), "entries": entries,
        });
        let mut old: Comparison = serde_json::from_str(&old_file()).unwrap();
        old.scenarios = vec![serde_json::from_value(scenario).unwrap()];
        old.evaluate();
        old
    }

    const LEDGER: Ledger = Ledger {
        requests: 9_000_000,
        reads: 13.1,
        writes: 12.2,
        waits: 11.3,
        wakes: 10.4,
        registrations: 10.5,
        handoffs: 10.6,
        bytes_read: 4_194_304.0,
        bytes_written: 4_194_304.0,
        bytes_copied: Some(12_582_912.0),
        allocations: Some(1_021.7),
        allocated_bytes: Some(12_582_912.0),
    };

    #[test]
    fn the_ledger_has_a_row_for_each_server() {
        let text = markdown(&wide(false));
        let calls =
            "57.500 | 13.100 | 12.200 | 11.300 | 10.400 | 10.500 | 10.600 | 13.071 | 10.071";
        assert!(text.contains(&format!("| threads | {calls} |")), "{text}");
        let work = "4194304 | 4194304 | 12582912 | 1021.70 | 12582912 | 1158.84 | 1158.84";
        assert!(text.contains(&format!("| pool | {work} |")), "{text}");
        let nothing = "- | - | - | - | - | 1158.84 | 1158.84";
        assert!(
            text.contains(&format!("| floor | {nothing} |")),
            "it counts nothing itself: {text}"
        );
        assert!(text.contains("its ledger, per request"), "{text}");
        let old = markdown(&Comparison::read(old_file().as_bytes()).unwrap());
        assert!(!old.contains("ledger") && !old.contains("per request |"), "it has none: {old}");
    }

    /// From before there were ledgers.
    fn old_file() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/compare.json");
        let mut file: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for scenario in file["scenarios"].as_array_mut().unwrap() {
            for entry in scenario["entries"].as_array_mut().unwrap() {
                entry.as_object_mut().unwrap().remove("ledger");
            }
        }
        file.to_string()
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns() {
        for is_open in [false, true] {
            let text = terminal(&wide(is_open));
            let text = console::strip_ansi_codes(&text);
            let tables = text.lines().filter(|line| !line.contains("warning:"));
            for line in tables {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }

    #[test]
    fn what_should_not_be_believed_has_a_mark_and_a_line() {
        let text = markdown(&wide(false));
        assert!(text.contains("| threads | ≥"), "{text}");
        assert!(text.contains("| pool | !"), "{text}");
        assert!(text.contains("≥ ≤ ~: at least"), "{text}");
        assert!(text.contains("where figures have a !: pool"), "{text}");
        assert!(text.contains("the load tester was the limit"), "{text}");
    }

    /// It has no intervals: they come from its blocks.
    #[test]
    fn a_file_from_before_intervals_has_them_all_the_same() {
        let read = Comparison::read(old_file().as_bytes()).unwrap();
        let again = serde_json::to_vec(&read).unwrap();
        assert_eq!(markdown(&Comparison::read(&again).unwrap()), markdown(&read));
        for entry in read.scenarios.iter().flat_map(|scenario| &scenario.entries) {
            let interval = entry.intervals.throughput_rps.unwrap();
            assert!(interval.contains(entry.medians.throughput_rps), "{interval:?}");
            assert!(
                entry.against_best.is_none_or(|verdict| verdict == Verdict::TooFew)
                    || entry.blocks.len() > 5
            );
        }
    }
}
