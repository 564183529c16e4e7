//! What a file says of one thing that was measured, as figures by their names in [`FIGURES`].
//!
//! [`FIGURES`]: super::figure::FIGURES

use super::figure::{Measure, Measures};
use super::schema::{MemoryPoint, Slopes};
use crate::compare::ledger::Ledger;
use crate::cost::ServerCost;
use crate::result::{Quantiles, RunResult, StepResult};
use crate::statistics::Interval;

/// What one run found. Times are left out where nothing was timed.
pub fn figures(run: &RunResult) -> Vec<(&'static str, f64)> {
    let mut figures = vec![
        ("throughput_rps", run.throughput_rps),
        ("planned", run.planned as f64),
        ("ok", run.ok as f64),
        ("errors", run.errors.values().sum::<u64>() as f64),
        ("timed_out", run.timed_out as f64),
        ("unsent", run.unsent as f64),
        ("client_cpu_us_per_request", run.client.cpu_us_per_request),
        ("client_busy", run.client.busy),
    ];
    if run.ok + run.timed_out > 0 {
        figures.extend(times(&run.latency_us));
        figures.extend([
            ("service_p50_us", run.service_us.p50),
            ("service_p99_us", run.service_us.p99),
            ("send_lag_p50_us", run.send_lag_us.p50),
            ("send_lag_p99_us", run.send_lag_us.p99),
        ]);
    }
    if let Some(server) = &run.server {
        figures.extend([
            ("cpu_us_per_request", server.cpu_us_per_request),
            ("context_switches_per_request", server.context_switches_per_request),
            ("threads", server.threads as f64),
            ("rss_anon_bytes", server.rss_anon_bytes as f64),
            ("pss_bytes", server.pss_bytes as f64),
        ]);
    }
    figures.extend(run.server.iter().flat_map(parts));
    figures
}

/// What it paid by kind; files from before they were told apart have the sums alone.
fn parts(server: &ServerCost) -> Vec<(&'static str, f64)> {
    let mut parts = Vec::new();
    if server.cpu_user_us_per_request + server.cpu_system_us_per_request > 0.0 {
        parts.extend([
            ("cpu_user_us_per_request", server.cpu_user_us_per_request),
            ("cpu_system_us_per_request", server.cpu_system_us_per_request),
        ]);
    }
    if server.voluntary_switches_per_request + server.involuntary_switches_per_request > 0.0 {
        parts.extend([
            ("voluntary_switches_per_request", server.voluntary_switches_per_request),
            ("involuntary_switches_per_request", server.involuntary_switches_per_request),
        ]);
    }
    parts
}

/// What its own counters say of a request.
pub fn of_ledger(ledger: &Ledger) -> Vec<(&'static str, f64)> {
    let counted = [
        ("bytes_copied_per_request", ledger.bytes_copied),
        ("allocations_per_request", ledger.allocations),
        ("allocated_bytes_per_request", ledger.allocated_bytes),
    ];
    let mut figures = vec![
        ("reads_per_request", ledger.reads),
        ("writes_per_request", ledger.writes),
        ("waits_per_request", ledger.waits),
        ("wakes_per_request", ledger.wakes),
        ("registrations_per_request", ledger.registrations),
        ("handoffs_per_request", ledger.handoffs),
        ("bytes_read_per_request", ledger.bytes_read),
        ("bytes_written_per_request", ledger.bytes_written),
    ];
    figures.extend(counted.into_iter().filter_map(|(name, value)| Some((name, value?))));
    figures
}

/// What one step of a run found.
pub fn of_step(step: &StepResult) -> Vec<(&'static str, f64)> {
    let mut figures = vec![
        ("throughput_rps", step.ok as f64 / step.length_s),
        ("planned", step.planned as f64),
        ("ok", step.ok as f64),
        ("errors", step.errors as f64),
        ("timed_out", step.timed_out as f64),
        ("unsent", step.unsent as f64),
    ];
    if step.ok + step.timed_out > 0 {
        figures.extend(times(&step.latency_us));
    }
    figures
}

fn times(quantiles: &Quantiles) -> [(&'static str, f64); 11] {
    [
        ("latency_p50_us", quantiles.p50),
        ("latency_p75_us", quantiles.p75),
        ("latency_p90_us", quantiles.p90),
        ("latency_p95_us", quantiles.p95),
        ("latency_p97_us", quantiles.p97),
        ("latency_p99_us", quantiles.p99),
        ("latency_p99_5_us", quantiles.p99_5),
        ("latency_p99_9_us", quantiles.p99_9),
        ("latency_p99_99_us", quantiles.p99_99),
        ("latency_max_us", quantiles.max),
        ("latency_mean_us", quantiles.mean),
    ]
}

/// A figure that came with its interval.
pub fn measured(interval: Interval) -> Measure {
    Measure { value: interval.estimate, interval: Some(interval) }
}

/// Figures of something that was not repeated.
pub fn plain(figures: Vec<(&'static str, f64)>) -> Measures {
    let plain = |(name, value): (&'static str, f64)| (name, Measure { value, interval: None });
    figures.into_iter().filter(|(_, value)| value.is_finite()).map(plain).collect()
}

/// By slope.
pub fn of_slopes(slopes: Slopes) -> Measures {
    let names = ["user_bytes_per_connection", "kernel_bytes_per_connection"];
    let both = names.into_iter().zip([slopes.user, slopes.kernel]);
    both.filter_map(|(name, slope)| Some((name, measured(slope?)))).collect()
}

/// At one count of connections.
pub fn of_point(point: &MemoryPoint) -> Vec<(&'static str, f64)> {
    vec![
        ("rss_anon_bytes", point.rss_anon_bytes),
        ("pss_bytes", point.pss_bytes),
        ("kernel_bytes", point.kernel_bytes),
        ("threads", point.threads),
    ]
}
