//! The result files as a report reads them: what it does not know it ignores, and what is absent
//! is empty, so that it reads the files of older and of newer load testers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::compare::ledger::Ledger;
use crate::compare::report::Block;
use crate::result::RunResult;
use crate::statistics::Interval;

/// Figures by name, as `throughput_rps`.
pub type Medians = BTreeMap<String, Option<f64>>;
/// Their intervals, by the same names.
pub type Intervals = BTreeMap<String, Option<Interval>>;

/// `quintet/compare/1`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // compare/report.rs says it
pub struct Comparison {
    pub interrupted: bool,
    pub servers: Vec<ServerReport>,
    pub scenarios: Vec<Scenario>,
    pub warnings: Vec<String>,
}

/// One server as a whole.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // compare/report.rs says it
pub struct ServerReport {
    pub name: String,
    pub refused: Option<String>,
    pub idle_connection_bytes: Option<f64>,
}

/// One scenario.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // compare/report.rs says it
pub struct Scenario {
    pub name: String,
    pub title: String,
    pub shows: String,
    pub rate_rps: Option<f64>,
    pub entries: Vec<Entry>,
}

/// One server in one scenario, or at one point of a sweep.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // compare/report.rs says it
pub struct Entry {
    pub server: String,
    pub blocks: Vec<Block>,
    pub medians: Medians,
    pub intervals: Intervals,
    pub ledger: Option<Ledger>,
}

/// `quintet/sweep/1`: the servers over a parameter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sweep {
    /// `connections`, `depth`, `payload`, `rate`, `work` or `idle`.
    pub parameter: String,
    /// In the order of the parameter.
    pub points: Vec<SweepPoint>,
    /// Laws that were fitted to the points.
    pub fits: Vec<Fit>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// One value of the parameter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SweepPoint {
    /// As a number.
    pub value: f64,
    /// As people write it.
    pub label: String,
    /// The servers.
    pub entries: Vec<Entry>,
}

/// The Universal Scalability Law of one server (Gunther): X(N) = λN / (1 + σ(N-1) + κN(N-1)).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fit {
    /// Whose.
    pub server: String,
    /// `usl`.
    pub law: String,
    /// Requests per second of one.
    pub lambda: f64,
    /// Contention.
    pub sigma: f64,
    /// Crosstalk.
    pub kappa: f64,
    /// The N with the highest throughput, where there is one.
    pub peak_at: Option<f64>,
    /// The throughput there.
    pub peak_rps: Option<f64>,
    /// The share of the variance that the law explains.
    pub r_squared: Option<f64>,
}

/// `quintet/capacity/1`: the highest rate that holds a promise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Capacity {
    /// The promise, as `p99=2ms`.
    pub slo: String,
    /// What each server holds.
    pub servers: Vec<ServerCapacity>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// What one server holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerCapacity {
    /// Its name.
    pub server: String,
    /// None where no rate held.
    pub capacity_rps: Option<Interval>,
    /// The rates that were tried, in that order.
    pub probes: Vec<Probe>,
}

/// One rate that was tried.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Requests per second that were planned.
    pub rate_rps: f64,
    /// Whether the promise was kept.
    pub held: bool,
    /// The quantile of the promise.
    pub quantile_us: f64,
    /// The run.
    pub run: Option<RunResult>,
}

/// `quintet/memory/1`: what connections cost.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The servers.
    pub servers: Vec<ServerMemory>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// What they cost one server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerMemory {
    /// Its name.
    pub server: String,
    /// What was seen.
    pub points: Vec<MemoryPoint>,
    /// Bytes per idle connection, by slope.
    pub idle: Slopes,
    /// Bytes per active connection, by slope.
    pub active: Slopes,
}

/// What a server held at one count of connections.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MemoryPoint {
    /// How many.
    pub connections: u64,
    /// `idle` or `active`.
    pub kind: String,
    /// Anonymous memory of the process.
    pub rss_anon_bytes: f64,
    /// Its proportional set size.
    pub pss_bytes: f64,
    /// What the kernel held for the sockets.
    pub kernel_bytes: f64,
    /// Threads.
    pub threads: f64,
}

/// Bytes per connection.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Slopes {
    /// In the process.
    pub user: Option<Interval>,
    /// In the kernel.
    pub kernel: Option<Interval>,
}
