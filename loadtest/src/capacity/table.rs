//! The table of capacities.
//!
//! A capacity that the load tester limited has a mark, and a line below.

use std::fmt::Write;

use console::style;

use super::report::{Capacity, ServerCapacity};
use crate::compare::grid::{Grid, NOTHING, Row, Tone, digits, measured_on};
use crate::statistics::median;
use crate::terminal::{grouped, time};

const LEGEND: &str = "The highest rate of an open loop that holds it: the median over searches, \
    with the outer ends of\ntheir brackets. Times and CPU (the server's, per request) are those at that \
    rate. The search started\nfrom the closed loop's throughput. ≥: the load tester was the limit.";

fn grid(capacity: &Capacity) -> Grid {
    let quantile = capacity.quantile.as_str();
    let heads = ["requests/s", "low–high", quantile, "CPU us", "closed loop", "probes"];
    let mut grid = Grid::new("server", &heads);
    let estimate = |server: &ServerCapacity| server.capacity_rps.map_or(0.0, |rps| rps.estimate);
    let mut servers: Vec<&ServerCapacity> = capacity.servers.iter().collect();
    servers.sort_by(|a, b| estimate(b).total_cmp(&estimate(a)));
    grid.rows.extend(servers.into_iter().enumerate().map(|(at, server)| {
        let nothing = || NOTHING.to_owned();
        let mark = if server.limited_by_tester { "≥" } else { "" };
        let cpu = server.at_capacity().filter_map(|probe| probe.run.server);
        let quantile = median(server.at_capacity().map(|probe| probe.quantile_us));
        let cells = vec![
            server
                .capacity_rps
                .map_or_else(nothing, |rps| format!("{mark}{}", grouped(rps.estimate))),
            server
                .capacity_rps
                .map_or_else(nothing, |rps| format!("{}–{}", grouped(rps.low), grouped(rps.high))),
            quantile.map_or_else(nothing, time),
            digits(median(cpu.map(|cost| cost.cpu_us_per_request)), 2),
            median(server.blocks.iter().map(|block| block.closed_loop_rps))
                .map_or_else(nothing, grouped),
            server.probes.len().to_string(),
        ];
        let tone = if at == 0 { Tone::Best } else { Tone::Plain };
        Row { name: server.server.clone(), cells, tone }
    }));
    grid
}

fn title(capacity: &Capacity) -> String {
    let flags = &capacity.flags;
    format!("capacity at {}: {} over {} connections", capacity.slo, flags.work, flags.connections)
}

/// For a terminal, in colours where there are any.
pub fn terminal(capacity: &Capacity) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, capacity);
    out
}

fn write_terminal(out: &mut String, capacity: &Capacity) -> std::fmt::Result {
    writeln!(out, "{}", style(title(capacity)).bold())?;
    grid(capacity).terminal(out)?;
    writeln!(out, "{}", style(LEGEND).dim())?;
    for failure in &capacity.failures {
        writeln!(out, "{} {failure}", style("failed:").red().bold())?;
    }
    for warning in &capacity.warnings {
        writeln!(out, "{} {warning}", style("warning:").yellow())?;
    }
    Ok(())
}

/// The same as Markdown, with what it was measured on.
pub fn markdown(capacity: &Capacity) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, capacity);
    out
}

fn write_markdown(out: &mut String, capacity: &Capacity) -> std::fmt::Result {
    writeln!(out, "**{}**\n", title(capacity))?;
    grid(capacity).markdown(out)?;
    let flags = &capacity.flags;
    writeln!(out, "{}\n", LEGEND.replace('\n', " "))?;
    writeln!(
        out,
        "{}; {} searches, probes of {} s, {} load threads, seed {}.",
        measured_on(&capacity.environment),
        flags.blocks,
        flags.probe_s,
        flags.client_threads,
        flags.seed
    )?;
    let notes: Vec<&String> = capacity.failures.iter().chain(&capacity.warnings).collect();
    if !notes.is_empty() {
        writeln!(out)?;
    }
    notes.iter().try_for_each(|note| writeln!(out, "- {note}"))
}
