//! The charts of experiments: servers beside each other, at the highest rate that holds a promise,
//! and over the number of connections.

use super::run::{colour, from_quantiles, percentiles, series};
use super::{KIB, MIB, US_PER_MS, point};
use crate::process::FLOOR;
use crate::report::chart::{Axis, Bar, Chart, Part, Point, Series, Style, key};
use crate::report::figure::shown;
use crate::report::rows::Row;
use crate::report::schema::{Capacity, Comparison};
use crate::report::table::entries;
use crate::terminal::grouped;

/// System calls that a server counts, in the order of the bar.
const CALLS: [(&str, &str); 5] = [
    ("reads_per_request", "reads"),
    ("writes_per_request", "writes"),
    ("waits_per_request", "waits"),
    ("registrations_per_request", "re-arms"),
    ("wakes_per_request", "wakes"),
];
const CPU: [(&str, &str); 2] =
    [("cpu_user_us_per_request", "user"), ("cpu_system_us_per_request", "system")];

/// Of a comparison: all scenarios in one, then each by itself.
pub fn comparison(comparison: &Comparison, rows: &[Row], prefix: &str) -> Vec<Chart> {
    let mut charts = vec![overview(comparison, rows, prefix)];
    for (n, scenario) in comparison.scenarios.iter().enumerate() {
        let entries = entries(&scenario.name, rows);
        let id = |what: &str| format!("{prefix}-s{n}-{what}");
        let chart = if let Some(rate) = scenario.rate_rps {
            tails(id("latency"), rate, &entries)
        } else {
            let axis = "requests per second";
            bars(id("throughput"), "Throughput", axis, "throughput_rps", 1.0, &entries)
        };
        charts.push(chart.part(n + 1));
        let (axis, figure) = ("microseconds per request", "cpu_us_per_request");
        let chart = bars(id("cpu"), "CPU of the server", axis, figure, 1.0, &entries);
        charts.push(chart.part(n + 1));
        let calls = parts(id("calls"), "System calls by kind", "per request", &CALLS, &entries);
        charts.push(calls.part(n + 1));
        let cpu = parts(id("cpu-parts"), "CPU, user and system", axis, &CPU, &entries);
        charts.push(cpu.part(n + 1));
    }
    let idle: Vec<&Row> = rows.iter().filter(|row| row.kind == "slope").collect();
    let figure = "user_bytes_per_connection";
    let id = format!("{prefix}-idle");
    let chart = bars(id, "Memory", "KiB per connection (RssAnon)", figure, KIB, &idle);
    charts.push(chart.part(comparison.scenarios.len() + 1));
    charts.retain(|chart| !chart.is_empty());
    charts
}

/// Each server as a part of the best, scenario by scenario.
fn overview(comparison: &Comparison, rows: &[Row], prefix: &str) -> Chart {
    let closed = comparison.scenarios.iter().filter(|scenario| scenario.rate_rps.is_none());
    // The first on top.
    let names: Vec<String> = closed.rev().map(|scenario| scenario.name.clone()).collect();
    let servers = comparison.servers.iter().map(|server| server.name.as_str());
    let all = servers.chain([FLOOR.name]).enumerate().map(|(n, server)| {
        let points = names.iter().enumerate().filter_map(|(place, name)| {
            let chosen = |row: &&Row| row.scenario == *name && row.server == server;
            let row = rows.iter().filter(|row| row.kind == "entry").find(chosen)?;
            let part = row.measures.get("of_best")?;
            let heads = [server.to_owned(), name.clone(), "of the best server:".to_owned()];
            let at = point(0.0, "of_best", part, 1.0, &heads);
            Some(Point { x: part.value, y: Some(place as f64), ends: None, ..at })
        });
        series(server, &key(server, n), Style::Marks, points.collect())
    });
    let all: Vec<Series> = all.filter(|series| !series.points.is_empty()).collect();
    let values = all.iter().flat_map(|series| &series.points).map(|point| point.x);
    let x = Axis::log("throughput as a part of the best server's", values);
    let title = "Throughput in every scenario";
    Chart::lines(format!("{prefix}-overview"), title, &x, &Axis::linear(""), all).rows(&names).note(
        "The best server is at 1; the floor, which has no codec and no handler, may be above.",
    )
}

fn tails(id: String, rate_rps: f64, entries: &[&Row]) -> Chart {
    let all = entries.iter().enumerate().map(|(n, row)| {
        let value = |name: &str| row.measures.get(name).map_or(0.0, |measure| measure.value);
        let count = value("ok") + value("timed_out");
        let points = from_quantiles(&row.measures, count, &row.server);
        series(&row.server, &colour(row, n), Style::Marked, points)
    });
    percentiles(id, "Response time by percentile", all.collect()).note(&format!(
        "At {} planned requests per second. Medians over blocks, with their intervals.",
        grouped(rate_rps)
    ))
}

fn bars(id: String, title: &str, axis: &str, figure: &str, scale: f64, rows: &[&Row]) -> Chart {
    let bars = rows.iter().enumerate().filter_map(|(n, row)| {
        let measure = row.measures.get(figure)?;
        let name = match row.scenario.as_str() {
            kind @ "active" => format!("{}, {kind}", row.server),
            _ => row.server.clone(),
        };
        let point = point(0.0, figure, measure, scale, std::slice::from_ref(&name));
        Some(Bar { name, key: colour(row, n), point })
    });
    Chart::bars(id, title, axis, bars.collect())
}

/// What a request costs each server, one kind after the other; only where a file tells them apart.
fn parts(id: String, title: &str, axis: &str, kinds: &[(&str, &str)], rows: &[&Row]) -> Chart {
    let known = |row: &&&Row| kinds.iter().all(|(figure, _)| row.measures.contains_key(figure));
    let rows: Vec<&Row> = rows.iter().filter(known).copied().collect();
    let all = kinds.iter().enumerate().map(|(n, (figure, name))| {
        let bars = rows.iter().map(|row| {
            let heads = [row.server.clone(), format!("{name}:")];
            let point = point(0.0, figure, &row.measures[figure], 1.0, &heads);
            (row.server.clone(), Point { ends: None, ..point })
        });
        Part { name: (*name).to_owned(), key: (n + 1).to_string(), bars: bars.collect() }
    });
    Chart::stacked(id, title, axis, all.collect())
}

/// Of a search for the capacity: what was found, and what was tried.
pub fn capacity(capacity: &Capacity, rows: &[Row], prefix: &str) -> Vec<Chart> {
    let found: Vec<&Row> = rows.iter().filter(|row| row.kind == "capacity").collect();
    let title = format!("The highest rate that holds {}", capacity.slo);
    let (axis, figure) = ("requests per second", "capacity_rps");
    let found = bars(format!("{prefix}-capacity"), &title, axis, figure, 1.0, &found);
    let tried = capacity.servers.iter().enumerate().map(|(n, server)| {
        let mut probes: Vec<_> = server.probes.iter().collect();
        probes.sort_by(|a, b| a.rate_rps.total_cmp(&b.rate_rps));
        let points =
            probes.into_iter().filter(|probe| probe.quantile_us > 0.0).map(|probe| Point {
                x: probe.rate_rps,
                y: Some(probe.quantile_us / US_PER_MS),
                ends: None,
                says: vec![
                    server.server.clone(),
                    format!("{}/s planned", grouped(probe.rate_rps)),
                    shown("slo_quantile_us", probe.quantile_us),
                    if probe.held { "held" } else { "not held" }.to_owned(),
                ],
            });
        series(&server.server, &key(&server.server, n), Style::Marked, points.collect())
    });
    let mut tried: Vec<Series> = tried.filter(|series| !series.points.is_empty()).collect();
    tried.extend(promise(&capacity.slo, &tried));
    let values = tried.iter().flat_map(|series| &series.points).filter_map(|point| point.y);
    let y = Axis::log("milliseconds", values);
    let x = Axis::linear("planned requests per second");
    let title = format!("The rates that were tried for {}", capacity.slo);
    let mut charts = vec![found, Chart::lines(format!("{prefix}-probes"), &title, &x, &y, tried)];
    charts.retain(|chart| !chart.is_empty());
    charts
}

/// The time that was promised, across all rates.
fn promise(slo: &str, tried: &[Series]) -> Option<Series> {
    let limit = humantime::parse_duration(slo.split_once('=')?.1.trim()).ok()?;
    let rates = tried.iter().flat_map(|series| &series.points).map(|point| point.x);
    let ends = rates.fold((f64::INFINITY, 0.0), |(a, b): (f64, f64), x| (a.min(x), b.max(x)));
    let y = Some(limit.as_secs_f64() * 1e3);
    let at = |x: f64| Point { x, y, ..Point::default() };
    (ends.0 < ends.1).then(|| series(slo, "6", Style::Law, vec![at(ends.0), at(ends.1)]))
}

/// Of the memory that connections cost: over their number, and by slope.
pub fn memory(rows: &[Row], prefix: &str) -> Vec<Chart> {
    let mut servers: Vec<&str> = Vec::new();
    for row in rows {
        if !servers.contains(&row.server.as_str()) {
            servers.push(&row.server);
        }
    }
    let over = |id: &str, title: &str, figure: &str| {
        let mut all = Vec::new();
        for (kind, style) in [("idle", Style::Marked), ("active", Style::Dotted)] {
            for (n, server) in servers.iter().enumerate() {
                let chosen = |row: &&Row| row.kind == "connections" && row.scenario == kind;
                let rows = rows.iter().filter(chosen).filter(|row| row.server == *server);
                let points = rows.filter_map(|row| {
                    let (_, connections) = row.parameter.as_ref()?;
                    let heads = [(*server).to_owned(), format!("{} {kind}", grouped(*connections))];
                    Some(point(*connections, figure, row.measures.get(figure)?, MIB, &heads))
                });
                let line = series(server, &key(server, n), style, points.collect());
                all.push(Series { in_legend: kind == "idle", ..line });
            }
        }
        all.retain(|line| !line.points.is_empty());
        let (x, y) = (Axis::linear("connections"), Axis::linear("MiB"));
        Chart::lines(format!("{prefix}-{id}"), title, &x, &y, all)
            .note("Solid: idle. Dotted: active.")
    };
    let slopes: Vec<&Row> = rows.iter().filter(|row| row.kind == "slope").collect();
    let slope = |id: &str, title: &str, figure: &str| {
        bars(format!("{prefix}-{id}"), title, "KiB per connection", figure, KIB, &slopes)
    };
    let mut charts = vec![
        over("user", "Memory of the server by connections (RssAnon)", "rss_anon_bytes").half(),
        over("kernel", "Memory of the kernel by connections", "kernel_bytes").half(),
        slope("user-slope", "One more connection, in the server", "user_bytes_per_connection"),
        slope("kernel-slope", "One more connection, in the kernel", "kernel_bytes_per_connection"),
    ];
    charts.retain(|chart| !chart.is_empty());
    charts
}
