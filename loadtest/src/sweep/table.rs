//! The tables of a sweep: one per server, a row per point.

use std::fmt::Write;

use console::style;

use super::over::Parameter;
use super::report::{Fit, Point, Sweep};
use crate::compare::grid::{Grid, NOTHING, Row, Tone, digits, measured_on, plus_minus, times};
use crate::compare::report::Entry;
use crate::compare::table::{mark, tie};
use crate::terminal::{grouped, time};

const MIB: f64 = 1024.0 * 1024.0;

/// A column: its head, and its cell for an entry.
type Column = (&'static str, fn(&Entry) -> String);

const COLUMNS: [Column; 8] = [
    ("requests/s", |e| {
        let mark = if e.doubtful { "!" } else { mark(e.bounds.throughput_rps) };
        format!("{mark}{}", grouped(e.medians.throughput_rps))
    }),
    ("±", |e| plus_minus(e.intervals.throughput_rps)),
    ("p50", |e| time(e.medians.latency_p50_us)),
    ("p99", |e| time(e.medians.latency_p99_us)),
    ("low–high", |e| e.intervals.latency_p99_us.map_or_else(|| NOTHING.to_owned(), times)),
    ("CPU us", |e| digits(e.medians.cpu_us_per_request, 2)),
    ("syscalls", |e| digits(e.medians.system_calls_per_request, 2)),
    ("MiB", |e| digits(e.medians.rss_anon_bytes.map(|bytes| bytes / MIB), 1)),
];

const LEGEND: &str = "Medians over blocks, ± half of the interval of the median, low–high that of \
    p99. CPU and system\ncalls are the server's, per request; MiB is its anonymous memory \
    (RssAnon). tie: cannot be told from\nthe best. ≥: the load tester was the limit. !: no block \
    may be believed.";
const LEGEND_CLOSED: &str = "Closed loop: latency is little more than connections x depth / \
    throughput.";

fn grid(sweep: &Sweep, server: &str) -> Grid {
    let heads: Vec<&str> = COLUMNS.iter().map(|(head, _)| *head).collect();
    let mut grid = Grid::new(sweep.parameter.name(), &heads);
    // Where there is only one, it is the best.
    if sweep.servers().len() > 1 {
        grid.heads.insert(0, "of best".to_owned());
    }
    let row = |(point, entry): (&Point, &Entry)| {
        let mut cells: Vec<String> = COLUMNS.iter().map(|(_, cell)| cell(entry)).collect();
        if sweep.servers().len() > 1 {
            let ratio = entry.intervals.latency_p99_of_best.map(|ratio| ratio.estimate);
            let ratio = if sweep.is_open() { ratio } else { entry.medians.of_best };
            cells.insert(0, format!("{}{}", digits(ratio, 2), tie(entry)));
        }
        Row { name: point.label.clone(), cells, tone: Tone::Plain }
    };
    grid.rows.extend(sweep.of(server).map(row));
    grid
}

/// What is the same in all rows.
fn title(sweep: &Sweep, server: &str) -> String {
    let (flags, over) = (&sweep.flags, sweep.parameter);
    let mut fixed = Vec::new();
    if !matches!(over, Parameter::Work | Parameter::Payload) {
        fixed.push(flags.work.clone());
    }
    if over != Parameter::Connections {
        fixed.push(format!("{} connections", flags.connections));
    }
    match (flags.rate_rps, flags.depth) {
        _ if matches!(over, Parameter::Rate | Parameter::Depth) => {}
        (Some(rate), _) => fixed.push(format!("{rate} requests/s planned")),
        (None, depth) => fixed.extend(depth.map(|depth| format!("depth {depth}"))),
    }
    format!("{server} by {}: {}", over.name(), fixed.join(", "))
}

/// A law in words.
fn law(fit: &Fit) -> String {
    let usl = &fit.usl;
    let peak = match (fit.peak_at, fit.peak_rps) {
        (Some(at), Some(rps)) if fit.extrapolated => {
            format!("a peak of {}/s at {at:.0}, beyond what was measured: a guess", grouped(rps))
        }
        (Some(at), Some(rps)) => format!("a peak of {}/s at {at:.0}", grouped(rps)),
        _ => "no peak".to_owned(),
    };
    format!(
        "Universal Scalability Law: lambda {}/s, sigma {:.3}, kappa {:.1e}, R2 {:.3}; {peak}",
        grouped(usl.lambda),
        usl.sigma,
        usl.kappa,
        usl.r_squared
    )
}

fn legend(sweep: &Sweep) -> String {
    if sweep.is_open() { LEGEND.to_owned() } else { format!("{LEGEND}\n{LEGEND_CLOSED}") }
}

/// For a terminal: at most 100 columns, in colours where there are any.
pub fn terminal(sweep: &Sweep) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, sweep);
    out
}

fn write_terminal(out: &mut String, sweep: &Sweep) -> std::fmt::Result {
    for server in sweep.servers() {
        writeln!(out, "{}", style(title(sweep, &server)).bold())?;
        grid(sweep, &server).terminal(out)?;
        for fit in sweep.fits.iter().filter(|fit| fit.server == server) {
            writeln!(out, "  {}", law(fit))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", style(legend(sweep)).dim())?;
    if let Some(baseline) = &sweep.baseline {
        baseline.terminal(out)?;
    }
    for failure in &sweep.failures {
        writeln!(out, "{} {failure}", style("failed:").red().bold())?;
    }
    for warning in &sweep.warnings {
        writeln!(out, "{} {warning}", style("warning:").yellow())?;
    }
    Ok(())
}

/// The same as Markdown, with what it was measured on.
pub fn markdown(sweep: &Sweep) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, sweep);
    out
}

fn write_markdown(out: &mut String, sweep: &Sweep) -> std::fmt::Result {
    for server in sweep.servers() {
        writeln!(out, "**{}**\n", title(sweep, &server))?;
        grid(sweep, &server).markdown(out)?;
        for fit in sweep.fits.iter().filter(|fit| fit.server == server) {
            writeln!(out, "{}.\n", law(fit))?;
        }
    }
    if let Some(baseline) = &sweep.baseline {
        baseline.markdown(out)?;
    }
    writeln!(out, "{}\n", legend(sweep).replace('\n', " "))?;
    let flags = &sweep.flags;
    writeln!(
        out,
        "{}; {} blocks of {} s, {} load threads, seed {}.",
        measured_on(&sweep.environment),
        flags.blocks,
        flags.block_s,
        flags.client_threads,
        flags.seed
    )?;
    let notes: Vec<&String> = sweep.failures.iter().chain(&sweep.warnings).collect();
    if !notes.is_empty() {
        writeln!(out)?;
    }
    notes.iter().try_for_each(|note| writeln!(out, "- {note}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::swept;
    use super::*;
    use crate::compare::evaluate::tests::{block, limited};
    use crate::cost::ServerCost;

    #[test]
    fn no_line_is_wider_than_a_hundred_columns() {
        for parameter in [Parameter::Connections, Parameter::Rate] {
            let sweep = swept(parameter, |number, rps| {
                let mut block = limited(number, rps * 400.0);
                block.run.latency_us.p50 = 99_990.0;
                block.run.latency_us.p99 = 99_990.0 + number as f64;
                let cpu_us_per_request = 158.84 + number as f64;
                let rss_anon_bytes = 999 << 20;
                let cost =
                    ServerCost { cpu_us_per_request, rss_anon_bytes, ..ServerCost::default() };
                block.run.server = Some(cost);
                block.system_calls_per_request = Some(13.37);
                block
            });
            let text = terminal(&sweep);
            let text = console::strip_ansi_codes(&text);
            for line in text.lines().filter(|line| !line.contains("warning:")) {
                assert!(line.chars().count() <= 100, "{line}");
            }
            assert!(text.contains(" ≥"), "{text}");
        }
    }

    #[test]
    fn each_server_has_a_table_and_a_law() {
        let text = markdown(&swept(Parameter::Connections, |n, rps| block(n, rps, false)));
        assert!(text.contains("**threads by connections: echo:64, depth 1**"), "{text}");
        assert!(text.contains("lambda 1,000/s, sigma 0.050, kappa 2.0e-4, R2 1.000; a peak of"));
        assert_eq!(text.matches("| connections | of best |").count(), 2);
        let rated = markdown(&swept(Parameter::Rate, |n, rps| block(n, rps, false)));
        assert!(rated.contains("**threads by rate: echo:64, 64 connections**"), "{rated}");
    }
}
