//! The charts of a sweep: each figure of the servers over the parameter, and the laws.

use super::run::series;
use super::{MIB, US_PER_MS, point};
use crate::report::chart::{Axis, Chart, Point, Series, Style, key};
use crate::report::rows::Row;
use crate::report::schema::{Fit, Sweep};
use crate::report::ticks::number;

/// More values than this would crowd the axis: then it gets ticks of its own.
const TICKS_MAX: usize = 12;
/// A parameter that grows by more is drawn on a logarithmic axis.
const LINEAR_RATIO_MAX: f64 = 20.0;
/// A curve through so many points looks like one.
const CURVE_POINTS: u32 = 60;

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
    let note = if sweep.fits.is_empty() {
        "Medians over blocks, with their intervals."
    } else {
        "Medians over blocks, with their intervals; dashed: the Universal Scalability Law."
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
        let label = |value: f64, label: &str| {
            if label.is_empty() { number(value) } else { label.to_owned() }
        };
        let ticks = sweep.points.iter().map(|p| (p.value, label(p.value, &p.label)));
        let x = if !wide(&values) {
            Axis::linear(title)
        } else if values.len() <= TICKS_MAX {
            Axis::ticks(title, ticks.collect())
        } else {
            Axis::log(title, values.iter().copied())
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
        for line in &mut p50 {
            line.in_legend = false;
        }
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
            let x = if least > 0.0 {
                least * (most / least).powf(part)
            } else {
                least + (most - least) * part
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
