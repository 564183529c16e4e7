//! The charts of runs: times by percentile, the run over time, and its steps.

use super::{US_PER_MS, point};
use crate::report::ReportError;
use crate::report::chart::{Axis, Chart, Point, Series, Style, key};
use crate::report::figure::{Measure, Measures};
use crate::report::histogram::{Step, decode, distribution};
use crate::report::input::{Document, Source};
use crate::report::rows::{Row, of_run};
use crate::result::{Histograms, Quantiles, RunResult, WindowResult};
use crate::terminal::{grouped, time};

/// Times by percentile have their own axis: 90 % and 99 % are as far apart as 99 % and 99.9 %.
const PERCENTILES: [(f64, &str); 9] = [
    (1.0, "0 %"),
    (2.0, "50 %"),
    (1e1, "90 %"),
    (1e2, "99 %"),
    (1e3, "99.9 %"),
    (1e4, "99.99 %"),
    (1e5, "99.999 %"),
    (1e6, "99.9999 %"),
    (1e7, "99.99999 %"),
];
/// What results without histograms know of the distribution.
const QUANTILES: [(&str, f64); 9] = [
    ("latency_p50_us", 0.5),
    ("latency_p75_us", 0.75),
    ("latency_p90_us", 0.9),
    ("latency_p95_us", 0.95),
    ("latency_p97_us", 0.97),
    ("latency_p99_us", 0.99),
    ("latency_p99_5_us", 0.995),
    ("latency_p99_9_us", 0.999),
    ("latency_p99_99_us", 0.9999),
];

/// The charts of one run.
///
/// # Errors
/// If a histogram cannot be read.
pub fn charts(run: &RunResult, label: &str, prefix: &str) -> Result<Vec<Chart>, ReportError> {
    let mut charts = Vec::new();
    if run.ok + run.timed_out > 0 {
        charts.push(by_percentile(run, label, prefix)?);
    }
    if !run.windows.is_empty() {
        charts.push(over_time(&run.windows, prefix));
        charts.push(rate_over_time(&run.windows, prefix));
    }
    if !run.steps.is_empty() {
        charts.push(over_steps(run, prefix));
    }
    Ok(charts)
}

/// Response times of several runs beside each other.
///
/// # Errors
/// If a histogram cannot be read.
pub fn beside(sources: &[&Source]) -> Result<Chart, ReportError> {
    let mut all = Vec::new();
    for (n, source) in sources.iter().enumerate() {
        let Document::Run(run) = &source.document else { continue };
        let points = response(run, &source.label)?;
        all.push(series(&source.label, &(n % 6 + 1).to_string(), Style::Plain, points));
    }
    Ok(percentiles("runs-latency".to_owned(), "Response time by percentile", all))
}

fn by_percentile(run: &RunResult, label: &str, prefix: &str) -> Result<Chart, ReportError> {
    let mut all = vec![series("response time", "1", Style::Plain, response(run, label)?)];
    // In the closed loop nothing is planned, so the other two say nothing that this does not.
    if run.settings.rate_rps.is_some() {
        let kept = |of: fn(&Histograms) -> &String, quantiles: &Quantiles, name: &str| {
            let kept = run.histograms.as_ref().map(of);
            times(kept, quantiles, run.ok + run.timed_out, label, name)
        };
        let service = kept(|h| &h.service, &run.service_us, "service time")?;
        all.push(series("service time", "3", Style::Plain, service));
        let send_lag = kept(|h| &h.send_lag, &run.send_lag_us, "send lag")?;
        all.push(series("send lag", "6", Style::Plain, send_lag));
    }
    let chart = percentiles(format!("{prefix}-latency"), "Time by percentile", all);
    Ok(chart.note(
        "Response time counts from the planned sending, service time from the actual one; \
         the send lag between them is the tester's own.",
    ))
}

fn response(run: &RunResult, label: &str) -> Result<Vec<Point>, ReportError> {
    let kept = run.histograms.as_ref().map(|histograms| &histograms.latency);
    times(kept, &run.latency_us, run.ok + run.timed_out, label, label)
}

/// From the whole histogram where it was kept, and else from the quantiles.
fn times(
    kept: Option<&String>,
    quantiles: &Quantiles,
    count: u64,
    label: &str,
    name: &str,
) -> Result<Vec<Point>, ReportError> {
    let Some(kept) = kept else {
        let measures = measures_of(quantiles);
        return Ok(from_quantiles(&measures, count as f64, name));
    };
    let histogram = decode(kept, label)?;
    let values = histogram.len() as f64;
    let place = |quantile: f64| (1.0 / (1.0 - quantile)).min(values);
    // So many values can tell no finer quantiles apart; the maximum stands for the rest.
    let known = |step: &Step| step.quantile >= 1.0 || 1.0 / (1.0 - step.quantile) < values;
    Ok(distribution(&histogram)
        .into_iter()
        .filter(known)
        .map(|step| mark(place(step.quantile), step.quantile, step.value_ms, name))
        .collect())
}

/// On a logarithmic axis 0 has no place.
fn mark(x: f64, quantile: f64, value_ms: f64, name: &str) -> Point {
    let says = vec![name.to_owned(), percent(quantile), time(value_ms * US_PER_MS)];
    Point { x, y: (value_ms > 0.0).then_some(value_ms), ends: None, says }
}

fn percent(quantile: f64) -> String {
    if quantile >= 1.0 {
        return "maximum".to_owned();
    }
    let percent = format!("{:.6}", quantile * 100.0);
    format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
}

fn measures_of(quantiles: &Quantiles) -> Measures {
    let Quantiles { p50, p75, p90, p95, p97, p99, p99_5, p99_9, p99_99, max, .. } = *quantiles;
    let values = [p50, p75, p90, p95, p97, p99, p99_5, p99_9, p99_99];
    let names = QUANTILES.iter().map(|(name, _)| *name);
    names
        .zip(values)
        .chain([("latency_max_us", max)])
        .map(|(name, value)| (name, Measure { value, interval: None }))
        .collect()
}

/// Points of the distribution that quantiles give; `count` values can tell no finer ones apart.
pub(super) fn from_quantiles(measures: &Measures, count: f64, name: &str) -> Vec<Point> {
    let heads = |quantile| [name.to_owned(), percent(quantile)];
    let known = QUANTILES.iter().filter(|(_, quantile)| 1.0 / (1.0 - quantile) < count);
    let known = known.filter_map(|(figure, quantile)| {
        let x = 1.0 / (1.0 - quantile);
        Some(point(x, figure, measures.get(figure)?, US_PER_MS, &heads(*quantile)))
    });
    let max = measures.get("latency_max_us").into_iter();
    let max = max.map(|max| point(count.max(1.0), "latency_max_us", max, US_PER_MS, &heads(1.0)));
    known.chain(max).map(above_zero).collect()
}

fn above_zero(point: Point) -> Point {
    Point { y: point.y.filter(|y| *y > 0.0), ..point }
}

/// Times over the usual axis.
pub(super) fn percentiles(id: String, title: &str, series: Vec<Series>) -> Chart {
    let points = || series.iter().flat_map(|series| &series.points);
    let furthest = points().map(|point| point.x).fold(1e2, f64::max);
    let ticks = PERCENTILES.iter().filter(|(x, _)| *x <= furthest * 2.0);
    let x = Axis::ticks("percentile", ticks.map(|(x, name)| (*x, (*name).to_owned())).collect());
    let y = Axis::log("milliseconds", points().filter_map(|point| point.y));
    Chart::lines(id, title, &x, &y, series)
}

fn over_time(windows: &[WindowResult], prefix: &str) -> Chart {
    let line = |name: &str, key: &str, of: fn(&WindowResult) -> f64| {
        let points = windows.iter().map(|window| {
            let value_us = of(window);
            let says = vec![name.to_owned(), span(window), time(value_us)];
            let y = (value_us > 0.0).then_some(value_us / US_PER_MS);
            Point { x: middle(window), y, ends: None, says }
        });
        series(name, key, Style::Plain, points.collect())
    };
    let all = vec![
        line("max", "6", |window| window.max_us),
        line("p99", "2", |window| window.p99_us),
        line("p50", "1", |window| window.p50_us),
    ];
    let values = all.iter().flat_map(|series| &series.points).filter_map(|point| point.y);
    let y = Axis::log("milliseconds", values);
    let x = Axis::linear("seconds since the warm-up");
    Chart::lines(format!("{prefix}-time"), "Response time over the run", &x, &y, all)
        .note("By the planned time of the requests.")
        .half()
}

fn rate_over_time(windows: &[WindowResult], prefix: &str) -> Chart {
    let line = |name: &str, key: &str, style, of: fn(&WindowResult) -> u64| {
        let points = windows.iter().map(|window| {
            let rate = of(window) as f64 / window.length_s;
            let says = vec![name.to_owned(), span(window), format!("{}/s", grouped(rate))];
            Point { x: middle(window), y: rate.is_finite().then_some(rate), ends: None, says }
        });
        series(name, key, style, points.collect())
    };
    let mut all = vec![
        line("planned", "6", Style::Plain, |window| window.planned),
        line("right answers", "3", Style::Plain, |window| window.ok),
    ];
    let failed: fn(&WindowResult) -> u64 =
        |window| window.errors + window.timed_out + window.unsent;
    if windows.iter().any(|window| failed(window) > 0) {
        all.push(line("failed, timed out or unsent", "2", Style::Plain, failed));
    }
    let (x, y) = (Axis::linear("seconds since the warm-up"), Axis::linear("requests per second"));
    Chart::lines(format!("{prefix}-rate"), "Rate over the run", &x, &y, all)
        .note("What became of the requests that were planned then.")
        .half()
}

fn middle(window: &WindowResult) -> f64 {
    window.from_s + window.length_s / 2.0
}

fn span(window: &WindowResult) -> String {
    format!("{:.1} s to {:.1} s", window.from_s, window.from_s + window.length_s)
}

fn over_steps(run: &RunResult, prefix: &str) -> Chart {
    let rows = of_run(run);
    let mut steps: Vec<&Row> = rows.iter().filter(|row| row.kind == "step").collect();
    let rate = |row: &Row| row.load.rate_rps.unwrap_or(0.0);
    steps.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    let line = |name: &str, key: &str, figure: &str| {
        let points = steps.iter().filter_map(|row| {
            let heads = [name.to_owned(), format!("{}/s planned", grouped(rate(row)))];
            let measure = row.measures.get(figure)?;
            Some(above_zero(point(rate(row), figure, measure, US_PER_MS, &heads)))
        });
        series(name, key, Style::Marked, points.collect())
    };
    let all = vec![
        line("max", "6", "latency_max_us"),
        line("p99", "2", "latency_p99_us"),
        line("p50", "1", "latency_p50_us"),
    ];
    let values = all.iter().flat_map(|series| &series.points).filter_map(|point| point.y);
    let (x, y) = (Axis::linear("planned requests per second"), Axis::log("milliseconds", values));
    Chart::lines(format!("{prefix}-steps"), "Response time by rate", &x, &y, all)
}

/// A series that the legend has.
pub(super) fn series(name: &str, colour: &str, style: Style, points: Vec<Point>) -> Series {
    Series { name: name.to_owned(), key: colour.to_owned(), style, in_legend: true, points }
}

/// The colour of a row's server.
pub(super) fn colour(row: &Row, n: usize) -> String {
    key(&row.server, n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_tell_no_fine_quantiles_apart() {
        let quantiles =
            Quantiles { p50: 1e3, p90: 2e3, p99: 3e3, p99_9: 4e3, max: 4e3, ..Default::default() };
        let measures = measures_of(&quantiles);
        let xs = |count: f64| -> Vec<f64> {
            from_quantiles(&measures, count, "it").iter().map(|point| point.x.round()).collect()
        };
        assert_eq!(xs(50.0), [2.0, 4.0, 10.0, 20.0, 33.0, 50.0]);
        assert_eq!(xs(1e6).len(), 10);
        let points = from_quantiles(&measures, 1e6, "it");
        assert_eq!((points[0].y, points[1].y), (Some(1.0), None), "0 has no place on the axis");
        assert_eq!(points[0].says, ["it", "50 %", "1.00 ms"]);
        assert_eq!(points.last().unwrap().says[1], "maximum");
    }

    #[test]
    fn percentiles_have_no_more_digits_than_they_need() {
        assert_eq!([0.5, 0.999, 0.99999].map(percent), ["50 %", "99.9 %", "99.999 %"]);
    }
}
