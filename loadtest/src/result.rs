//! The result of one run, as programs read it: the schema `quintet/run/1`.
//!
//! Fields are added, and never renamed or given another meaning within a schema; the README of
//! this package lists them with their units.

use std::collections::BTreeMap;
use std::str::FromStr;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::background::BackgroundResult;
use crate::cost::ServerCost;
use crate::environment::Environment;
use crate::pace::Arrivals;

/// Name and version of the schema.
pub const RUN_SCHEMA: &str = "quintet/run/1";

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// The URL.
    pub target: String,
    /// Requests that were planned within the measured window. Always the sum of the next four.
    pub planned: u64,
    /// Right answers.
    pub ok: u64,
    /// The right answers that `throughput_rps` counts. Closed loop, measured whole after a warm-up:
    /// those that came within the window, to requests of the warm-up too. Closed loop otherwise: those
    /// that came after the warm-up. Open loop: `ok`.
    #[serde(default)]
    pub answered: u64,
    /// Failures, by kind.
    pub errors: BTreeMap<String, u64>,
    /// Requests without an answer within the timeout.
    pub timed_out: u64,
    /// Requests that could not be sent: too many were outstanding, or every connection was gone.
    pub unsent: u64,
    /// From the end of the warm-up until the last request was settled, and at the least the
    /// duration that was asked for.
    pub elapsed_s: f64,
    /// Right answers per second: `answered`, by the length of the window in a closed loop that was
    /// measured whole after a warm-up, and otherwise by `elapsed_s`.
    pub throughput_rps: f64,
    /// Connections that were opened, before the run and in it.
    #[serde(default)]
    pub connections_opened: u64,
    /// From the planned time to the answer: the response time. Of right answers, and of timeouts
    /// at no less than the timeout.
    pub latency_us: Quantiles,
    /// From the actual sending to the answer.
    pub service_us: Quantiles,
    /// From the planned time to the actual sending: the tester's own delay.
    pub send_lag_us: Quantiles,
    /// What the server process paid, where its pid was given.
    pub server: Option<ServerCost>,
    /// What the tester paid.
    pub client: ClientCost,
    /// What was asked for.
    pub settings: Settings,
    /// The run over time, by the planned time of its requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowResult>,
    /// One for each rate, in the order in which they were run, where the rate goes in steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepResult>,
    /// The whole histograms, from which the quantiles come: what `merge` adds and `report` draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histograms: Option<Histograms>,
    /// What else the server had to bear, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<BackgroundResult>,
    /// What it ran on, where the run stands for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The command line, which makes such a result again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Whether the figures may be believed.
    pub valid: bool,
    /// Why not, and what else a reader should know.
    pub warnings: Vec<String>,
}

/// A stretch of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowResult {
    /// Where it begins, in seconds from the end of the warm-up.
    pub from_s: f64,
    /// How long it is.
    pub length_s: f64,
    /// Requests that were planned within it: the sum of the next four.
    pub planned: u64,
    /// Right answers.
    pub ok: u64,
    /// Failures.
    pub errors: u64,
    /// No answer in time.
    pub timed_out: u64,
    /// Never sent.
    pub unsent: u64,
    /// Response time, to two digits.
    pub p50_us: f64,
    /// The same.
    pub p99_us: f64,
    /// The same.
    pub max_us: f64,
    /// Those response times whole, where several machines share a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
}

/// One of several rates of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// Requests per second that were planned.
    pub rate_rps: f64,
    /// How long.
    pub length_s: f64,
    /// Requests that were planned within it: the sum of the next four.
    pub planned: u64,
    /// Right answers.
    pub ok: u64,
    /// Failures.
    pub errors: u64,
    /// No answer in time.
    pub timed_out: u64,
    /// Never sent.
    pub unsent: u64,
    /// Response time, to two digits.
    pub latency_us: Quantiles,
}

/// Histograms in nanoseconds, three digits, in `HdrHistogram`'s own compressed form
/// (V2, deflated, base64), which its other implementations read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histograms {
    /// From the planned time to the answer.
    pub latency: String,
    /// From the actual sending to the answer.
    pub service: String,
    /// From the planned time to the actual sending.
    pub send_lag: String,
}

/// Microseconds by quantile; all 0 where nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct Quantiles {
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p95: f64,
    pub p97: f64,
    pub p99: f64,
    #[serde(rename = "p99.5")]
    pub p99_5: f64,
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    #[serde(rename = "p99.99")]
    pub p99_99: f64,
    pub max: f64,
    pub mean: f64,
}

impl Quantiles {
    /// Of a histogram in nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: at(0.50),
            p75: at(0.75),
            p90: at(0.90),
            p95: at(0.95),
            p97: at(0.97),
            p99: at(0.99),
            p99_5: at(0.995),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 / 1e3,
            mean: histogram.mean() / 1e3,
        }
    }
}

/// What the load threads paid within the measured window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientCost {
    /// CPU time of the load threads in microseconds per request.
    pub cpu_us_per_request: f64,
    /// The share of their time that the load threads were on a CPU: 1 is saturated.
    pub busy: f64,
    /// Load threads.
    pub threads: usize,
    /// The longest that a load thread stood still.
    pub stall_max_us: f64,
    /// Cores that everything else on this machine used, the server included.
    pub others_busy_cores: f64,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Connections.
    pub connections: usize,
    /// Requests (or streams) outstanding per connection in the closed loop; none in the open one.
    pub depth: Option<usize>,
    /// Requests per second in the open loop (their mean over the time); none in the closed one.
    pub rate_rps: Option<f64>,
    /// The same as `--rate` takes it: one, a ramp, or steps in the order in which they were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// How planned times lay around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// Requests that a connection carries before it is opened anew; none where it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_connection: Option<u64>,
    /// The mix, as `--work` takes it.
    pub work: String,
    /// Warm-up.
    pub warmup_s: f64,
    /// Timeout.
    pub timeout_s: f64,
    /// Decides payloads, the mix, and Poisson arrivals.
    pub seed: u64,
    /// Which part of the schedule this is, where several machines share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
}

/// One of several load testers with one schedule: it sends the requests i = number mod of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// From 0.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl FromStr for Agent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// More machines than anybody has at hand: a slip of the finger.
        const AGENTS_MAX: usize = 10_000;
        let numbers = text.split_once('/').and_then(|(number, of)| {
            Some(Self { number: number.parse().ok()?, of: of.parse().ok()? })
        });
        numbers.filter(|agent| agent.number < agent.of && agent.of <= AGENTS_MAX).ok_or_else(|| {
            format!(
                "`{text}` is not K/N: the number of this machine, from 0, and how many there are"
            )
        })
    }
}
