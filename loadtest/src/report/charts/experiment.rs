//! The charts of experiments: servers beside each other, over a parameter, at the highest rate that
//! holds a promise, and over the number of connections.

use super::point;
use super::run::{colour, from_quantiles, percentiles, series};
use crate::process::FLOOR;
use crate::report::chart::{Axis, Bar, Chart, Point, Series, Style, key, number};
use crate::report::figure::shown;
use crate::report::rows::Row;
use crate::report::schema::{Capacity, Comparison, Fit, Sweep};
use crate::report::table::rank;
use crate::terminal::grouped;

/// A kibibyte and a mebibyte.
const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;
const US_PER_MS: f64 = super::US_PER_MS;
/// More values than this would crowd the axis: then it gets ticks of its own.
const TICKS_MAX: usize = 12;
/// A parameter that grows by more is drawn on a logarithmic axis.
const LINEAR_RATIO_MAX: f64 = 20.0;
/// A curve through so many points looks like one.
const CURVE_POINTS: u32 = 60;

/// Of a comparison: all scenarios in one, then each by itself.
pub fn comparison(comparison: &Comparison, rows: &[Row], prefix: &str) -> Vec<Chart> {
    let mut charts = vec![overview(comparison, rows, prefix)];
    for (n, scenario) in comparison.scenarios.iter().enumerate() {
        let mut entries: Vec<&Row> = rows
            .iter()
            .filter(|row| row.kind == "entry" && row.scenario == scenario.name)
            .collect();
        rank(&mut entries);
        let id = |what: &str| format!("{prefix}-s{n}-{what}");
        let chart = match scenario.rate_rps {
            Some(rate) => tails(id("latency"), rate, &entries),
            None => {
                let axis = "requests per second";
                bars(id("throughput"), "Throughput", axis, "throughput_rps", 1.0, &entries)
            }
        };
        charts.push(chart.part(n + 1));
        let (axis, figure) = ("microseconds per request", "cpu_us_per_request");
        let chart = bars(id("cpu"), "CPU of the server", axis, figure, 1.0, &entries);
        charts.push(chart.part(n + 1));
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

/// Of a sweep: each figure over the parameter.
pub fn sweep(sweep: &Sweep, rows: &[Row], prefix: &str) -> Vec<Chart> {
    let over = Over::new(sweep, rows);
    let id = |what: &str| format!("{prefix}-{what}");
    let mut charts = Vec::new();
    let open = rows.iter().any(|row| row.load.rate_rps.is_some());
    if open {
        charts.push(over.hockey_stick(id("hockey-stick")));
    }
    let y = Axis::linear("requests per second");
    let mut lines = over.lines("throughput_rps", 1.0, Style::Marked);
    lines.extend(sweep.fits.iter().enumerate().map(|(n, fit)| over.law(fit, n)));
    let title = format!("Throughput by {}", sweep.parameter);
    let note = match sweep.fits.is_empty() {
        true => "Medians over blocks, with their intervals.",
        false => {
            "Medians over blocks, with their intervals; dashed: the Universal Scalability Law."
        }
    };
    charts.push(Chart::lines(id("throughput"), &title, &over.x, &y, lines).note(note));
    let figures = [
        ("cpu_us_per_request", "CPU of the server", "microseconds per request", 1.0),
        ("rss_anon_bytes", "Memory of the server", "MiB (RssAnon)", MIB),
        ("system_calls_per_request", "System calls", "per request", 1.0),
        ("context_switches_per_request", "Context switches", "per request", 1.0),
    ];
    charts.extend(figures.into_iter().map(|(figure, title, axis, scale)| {
        let title = format!("{title} by {}", sweep.parameter);
        let lines = over.lines(figure, scale, Style::Marked);
        Chart::lines(id(figure), &title, &over.x, &Axis::linear(axis), lines).half()
    }));
    charts.retain(|chart| !chart.is_empty());
    charts
}

/// The common axis of a sweep.
struct Over<'a> {
    rows: &'a [Row],
    servers: Vec<&'a str>,
    values: Vec<f64>,
    x: Axis,
}

impl<'a> Over<'a> {
    fn new(sweep: &'a Sweep, rows: &'a [Row]) -> Self {
        let mut servers: Vec<&str> = Vec::new();
        for row in rows {
            if !servers.contains(&row.server.as_str()) {
                servers.push(&row.server);
            }
        }
        let values: Vec<f64> = sweep.points.iter().map(|point| point.value).collect();
        let title = match sweep.parameter.as_str() {
            "rate" => "planned requests per second",
            "payload" => "payload, bytes",
            "idle" => "idle connections in the background",
            other => other,
        };
        let label = |value: f64, label: &str| match label {
            "" => number(value),
            label => label.to_owned(),
        };
        let ticks = sweep.points.iter().map(|p| (p.value, label(p.value, &p.label)));
        let x = match wide(&values) {
            true if values.len() <= TICKS_MAX => Axis::ticks(title, ticks.collect()),
            true => Axis::log(title, values.iter().copied()),
            false => Axis::linear(title),
        };
        Self { rows, servers, values, x }
    }

    /// A line for each server that has the figure.
    fn lines(&self, figure: &str, scale: f64, style: Style) -> Vec<Series> {
        let lines = self.servers.iter().enumerate().map(|(n, server)| {
            let rows = self.rows.iter().filter(|row| row.server == *server);
            let points = rows.filter_map(|row| {
                let (name, value) = row.parameter.as_ref()?;
                let at =
                    if row.scenario.is_empty() { number(*value) } else { row.scenario.clone() };
                let heads =
                    [(*server).to_owned(), format!("{name} {at}"), figure.replace('_', " ")];
                Some(point(*value, figure, row.measures.get(figure)?, scale, &heads))
            });
            series(server, &key(server, n), style, points.collect())
        });
        lines.filter(|line| !line.points.is_empty()).collect()
    }

    fn hockey_stick(&self, id: String) -> Chart {
        let mut all = self.lines("latency_p99_us", US_PER_MS, Style::Marked);
        let mut p50 = self.lines("latency_p50_us", US_PER_MS, Style::Dotted);
        p50.iter_mut().for_each(|line| line.in_legend = false);
        all.extend(p50);
        let values = all.iter().flat_map(|line| &line.points).filter_map(|point| point.y);
        let y = Axis::log("milliseconds", values);
        Chart::lines(id, "Response time by rate", &self.x, &y, all)
            .note("Solid: p99. Dotted: p50. Medians over blocks, with their intervals.")
    }

    /// The law that was fitted to a server's points, where there were points.
    fn law(&self, fit: &Fit, n: usize) -> Series {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(0.0, f64::max);
        let points = (0..=CURVE_POINTS).map(|step| {
            let part = f64::from(step) / f64::from(CURVE_POINTS);
            let x = match least > 0.0 {
                true => least * (most / least).powf(part),
                false => least + (most - least) * part,
            };
            let y = fit.lambda * x / (1.0 + fit.sigma * (x - 1.0) + fit.kappa * x * (x - 1.0));
            Point { x, y: y.is_finite().then_some(y), ..Point::default() }
        });
        let place = self.servers.iter().position(|server| *server == fit.server).unwrap_or(n);
        Series {
            in_legend: false,
            ..series(&fit.server, &key(&fit.server, place), Style::Law, points.collect())
        }
    }
}

/// Whether the values are too far apart for a linear axis.
fn wide(values: &[f64]) -> bool {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    least > 0.0 && most / least >= LINEAR_RATIO_MAX
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
