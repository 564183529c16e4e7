//! Every figure that a report can show: its name with its unit, its head in a table, and how
//! people write it. Tables, CSV and `diff` all go through this list, so none can show another set.

use std::collections::BTreeMap;

use crate::statistics::Interval;
use crate::terminal::{grouped, time};

/// A figure as such.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// With its unit, as in the JSON and in the head of a CSV.
    pub name: &'static str,
    /// In the head of a table.
    pub head: &'static str,
    /// As people write it.
    pub show: fn(f64) -> String,
    /// Where it has a place.
    pub place: Place,
}

/// Where a figure has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In every table.
    Always,
    /// Where the throughput is a result: in an open loop it is what was asked for.
    Ratios,
    /// In tables of runs whose times mean something: in a closed loop they are connections over
    /// throughput and no more.
    Times,
    /// In the ledger of a comparison: what a request costs, by kind.
    Ledger,
    /// In the CSV, and where a run is shown alone.
    Alone,
}

use Place::{Alone, Always, Ledger, Ratios, Times};

/// In the order of the columns.
pub const FIGURES: &[Figure] = &[
    figure("capacity_rps", "capacity, requests/s", grouped, Always),
    figure("throughput_rps", "requests/s", grouped, Always),
    figure("of_best", "of best", two_digits, Ratios),
    figure("of_floor", "of floor", two_digits, Ratios),
    figure("slo_quantile_us", "the promise's quantile", time, Always),
    figure("latency_p50_us", "p50", time, Times),
    figure("latency_p75_us", "p75", time, Alone),
    figure("latency_p90_us", "p90", time, Alone),
    figure("latency_p95_us", "p95", time, Alone),
    figure("latency_p97_us", "p97", time, Alone),
    figure("latency_p99_us", "p99", time, Times),
    figure("latency_p99_5_us", "p99.5", time, Alone),
    figure("latency_p99_9_us", "p99.9", time, Times),
    figure("latency_p99_99_us", "p99.99", time, Alone),
    figure("latency_max_us", "max", time, Times),
    figure("latency_mean_us", "mean", time, Alone),
    figure("service_p50_us", "service p50", time, Alone),
    figure("service_p99_us", "service p99", time, Alone),
    figure("send_lag_p50_us", "send lag p50", time, Alone),
    figure("send_lag_p99_us", "send lag p99", time, Alone),
    figure("cpu_user_us_per_request", "CPU user us", two_digits, Ledger),
    figure("cpu_system_us_per_request", "CPU system us", two_digits, Ledger),
    figure("cpu_us_per_request", "CPU us/request", two_digits, Always),
    figure("system_calls_per_request", "system calls/request", two_digits, Always),
    figure("reads_per_request", "reads", three_digits, Ledger),
    figure("writes_per_request", "writes", three_digits, Ledger),
    figure("waits_per_request", "waits", three_digits, Ledger),
    figure("wakes_per_request", "wakes", three_digits, Ledger),
    figure("registrations_per_request", "re-arms", three_digits, Ledger),
    figure("handoffs_per_request", "hand-offs", three_digits, Ledger),
    figure("voluntary_switches_per_request", "waited", three_digits, Ledger),
    figure("involuntary_switches_per_request", "preempted", three_digits, Ledger),
    figure("bytes_read_per_request", "read", bytes, Ledger),
    figure("bytes_written_per_request", "written", bytes, Ledger),
    figure("bytes_copied_per_request", "copied", bytes, Ledger),
    figure("allocations_per_request", "allocations", two_digits, Ledger),
    figure("allocated_bytes_per_request", "allocated", bytes, Ledger),
    figure("context_switches_per_request", "switches/request", three_digits, Always),
    figure("threads", "threads", grouped, Always),
    figure("rss_anon_bytes", "RssAnon", bytes, Always),
    figure("pss_bytes", "PSS", bytes, Alone),
    figure("kernel_bytes", "kernel memory", bytes, Always),
    figure("user_bytes_per_connection", "user memory/connection", bytes, Always),
    figure("kernel_bytes_per_connection", "kernel memory/connection", bytes, Always),
    figure("planned", "planned", grouped, Alone),
    figure("ok", "ok", grouped, Alone),
    figure("errors", "errors", grouped, Alone),
    figure("timed_out", "timed out", grouped, Alone),
    figure("unsent", "unsent", grouped, Alone),
    figure("client_cpu_us_per_request", "tester's CPU us/request", two_digits, Alone),
    figure("client_busy", "tester's threads busy", two_digits, Alone),
];

const fn figure(
    name: &'static str,
    head: &'static str,
    show: fn(f64) -> String,
    place: Place,
) -> Figure {
    Figure { name, head, show, place }
}

/// What was measured of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The value; over several blocks, the median.
    pub value: f64,
    /// Where it would lie if it were measured again, where that can be said.
    pub interval: Option<Interval>,
}

/// Figures by name.
pub type Measures = BTreeMap<&'static str, Measure>;

/// The figure of a name in [`FIGURES`], as people write it; the plain number for any other.
pub fn shown(name: &str, value: f64) -> String {
    match FIGURES.iter().find(|figure| figure.name == name) {
        Some(figure) => (figure.show)(value),
        None => value.to_string(),
    }
}

fn two_digits(value: f64) -> String {
    format!("{value:.2}")
}

fn three_digits(value: f64) -> String {
    format!("{value:.3}")
}

/// Bytes with the unit that suits them. Slopes may be below zero, by noise.
pub fn bytes(value: f64) -> String {
    const KIB: f64 = 1024.0;
    match value.abs() {
        size if size < KIB => format!("{value:.0} B"),
        size if size < KIB * KIB => format!("{:.1} KiB", value / KIB),
        size if size < KIB * KIB * KIB => format!("{:.1} MiB", value / KIB / KIB),
        _ => format!("{:.2} GiB", value / KIB / KIB / KIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_figures_have_one_name() {
        let names: std::collections::BTreeSet<_> = FIGURES.iter().map(|f| f.name).collect();
        assert_eq!(names.len(), FIGURES.len());
    }

    #[test]
    fn figures_are_written_with_their_units() {
        assert_eq!(shown("throughput_rps", 176_113.6), "176,114");
        assert_eq!(shown("rss_anon_bytes", 14_102.5), "13.8 KiB");
        assert_eq!(shown("latency_p99_us", 1_680.0), "1.68 ms");
        assert_eq!([bytes(-20.0), bytes(3.5e6), bytes(3.0e9)], ["-20 B", "3.3 MiB", "2.79 GiB"]);
    }
}
