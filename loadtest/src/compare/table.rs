//! The table of a comparison: for a terminal, and as Markdown.
//!
//! Both are made from the same cells, so neither can say what the other does not.

use std::fmt::Write;

use console::style;

use super::report::{Comparison, Entry, Flags, Medians, ScenarioReport};
use crate::process::FLOOR;
use crate::terminal::{grouped, time};

/// What stands where there is nothing to say.
const NOTHING: &str = "-";

/// A column: its head, and its cell for an entry, given the best throughput of the scenario.
type Column = (&'static str, fn(&Medians, f64) -> String);

/// Columns of every scenario.
const COLUMNS: &[Column] = &[
    ("requests/s", |m, _| grouped(m.throughput_rps)),
    ("±", |m, _| format!("{:.0} %", m.throughput_spread * 100.0)),
    ("of best", |m, best| format!("{:.2}", m.throughput_rps / best)),
    ("of floor", |m, _| digits(m.of_floor, 2)),
    ("CPU us", |m, _| digits(m.cpu_us_per_request, 2)),
    ("syscalls", |m, _| digits(m.system_calls_per_request, 2)),
    ("switches", |m, _| digits(m.context_switches_per_request, 3)),
    ("threads", |m, _| digits(m.threads, 0)),
    ("MiB", |m, _| digits(m.rss_anon_bytes.map(|bytes| bytes / (1024.0 * 1024.0)), 1)),
];

/// Columns of the open loop: there the throughput is given, and the tail is the question.
const COLUMNS_OPEN: &[Column] = &[
    ("p50", |m, _| time(m.latency_p50_us)),
    ("p99", |m, _| time(m.latency_p99_us)),
    ("requests/s", |m, _| grouped(m.throughput_rps)),
    ("CPU us", |m, _| digits(m.cpu_us_per_request, 2)),
    ("syscalls", |m, _| digits(m.system_calls_per_request, 2)),
    ("switches", |m, _| digits(m.context_switches_per_request, 3)),
    ("threads", |m, _| digits(m.threads, 0)),
    ("MiB", |m, _| digits(m.rss_anon_bytes.map(|bytes| bytes / (1024.0 * 1024.0)), 1)),
];

/// What the heads mean.
const LEGEND: &str = "Medians over blocks, ± half of their range. CPU, system calls (the server's \
    own count of reads, writes\nand waits) and context switches are the server's, per request; MiB \
    is its anonymous memory (RssAnon).\nThe floor echoes the same bytes on one bare epoll loop.";

fn digits(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.digits$}"))
}

/// One scenario's rows, the best first and the floor last.
fn rows(scenario: &ScenarioReport) -> Vec<(&Entry, Vec<String>)> {
    let is_floor = |entry: &Entry| entry.server == FLOOR.name;
    let best = scenario
        .entries
        .iter()
        .filter(|entry| !is_floor(entry))
        .map(|entry| entry.medians.throughput_rps)
        .fold(f64::MIN_POSITIVE, f64::max);
    let rank = |entry: &&Entry| match scenario.rate_rps {
        Some(_) => entry.medians.latency_p99_us,
        None => -entry.medians.throughput_rps,
    };
    let mut entries: Vec<&Entry> =
        scenario.entries.iter().filter(|entry| !entry.blocks.is_empty()).collect();
    entries.sort_by(|a, b| is_floor(a).cmp(&is_floor(b)).then(rank(a).total_cmp(&rank(b))));
    let cells = |entry: &Entry| {
        columns(scenario).iter().map(|(_, cell)| cell(&entry.medians, best)).collect()
    };
    entries.into_iter().map(|entry| (entry, cells(entry))).collect()
}

fn columns(scenario: &ScenarioReport) -> &'static [Column] {
    if scenario.rate_rps.is_some() { COLUMNS_OPEN } else { COLUMNS }
}

/// The whole report for a terminal: below 100 columns, in colours where there are any.
pub fn terminal(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, comparison);
    out
}

fn write_terminal(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    for scenario in &comparison.scenarios {
        writeln!(out, "{}", style(&scenario.title).bold())?;
        let rows = rows(scenario);
        let widths = widths(scenario, &rows);
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            cells
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:>width$}"))
                .collect::<Vec<_>>()
                .join("  ")
        };
        let mut heads = columns(scenario).iter().map(|(head, _)| *head);
        writeln!(out, "  {:<8}  {}", "", style(line(&mut heads)).dim())?;
        for (at, (entry, cells)) in rows.iter().enumerate() {
            let text = line(&mut cells.iter().map(String::as_str));
            let name = format!("{:<8}  ", entry.server);
            match entry.server == FLOOR.name {
                true => writeln!(out, "  {}", style(format!("{name}{text}")).dim())?,
                false if at == 0 => writeln!(out, "  {}{text}", style(name).green().bold())?,
                false => writeln!(out, "  {}{text}", style(name).cyan())?,
            }
        }
        writeln!(out, "  {}\n", style(&scenario.shows).italic().dim())?;
    }
    if let Some(idle) = idle(comparison) {
        writeln!(out, "{}  {idle}\n", style("An idle connection").bold())?;
    }
    writeln!(out, "{}", style(LEGEND).dim())?;
    let Flags { client_threads, server_workers, .. } = comparison.flags;
    let cores = format!(
        "Threads of the load tester: {client_threads}; each server has --workers {server_workers}."
    );
    writeln!(out, "{}", style(cores).dim())?;
    for refused in refusals(comparison) {
        writeln!(out, "{} {refused}", style("refused:").red().bold())?;
    }
    for warning in &comparison.warnings {
        writeln!(out, "{} {warning}", style("warning:").yellow())?;
    }
    Ok(())
}

fn widths(scenario: &ScenarioReport, rows: &[(&Entry, Vec<String>)]) -> Vec<usize> {
    let width = |text: &str| text.chars().count();
    columns(scenario)
        .iter()
        .enumerate()
        .map(|(at, (head, _))| {
            rows.iter().map(|(_, cells)| width(&cells[at])).fold(width(head), usize::max)
        })
        .collect()
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
        let heads = columns(scenario).iter().map(|(head, _)| *head).collect::<Vec<_>>();
        writeln!(out, "| server | {} |", heads.join(" | "))?;
        writeln!(out, "|:--|{}", "--:|".repeat(heads.len()))?;
        for (entry, cells) in rows(scenario) {
            writeln!(out, "| {} | {} |", entry.server, cells.join(" | "))?;
        }
        writeln!(out)?;
    }
    if let Some(idle) = idle(comparison) {
        writeln!(out, "An idle connection (RssAnon): {idle}.\n")?;
    }
    writeln!(out, "{}\n", LEGEND.replace('\n', " "))?;
    let environment = &comparison.environment;
    let flags = &comparison.flags;
    writeln!(
        out,
        "{}, {} cores, Linux {}, {}; {}, revision {}; {} blocks of {} s, \
         {} load threads, --workers {} for each server, seed {}.",
        environment.cpu_model,
        environment.cores,
        environment.kernel,
        environment.rust_version.as_deref().unwrap_or("unknown compiler"),
        environment.date,
        environment.git_revision.as_deref().unwrap_or("unknown"),
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
