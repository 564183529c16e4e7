//! The result of a comparison, as programs read it: the schema `quintet/compare/1`.
//!
//! Every block is kept whole, and all else follows from the blocks: [`Comparison::read`] makes
//! medians, intervals, verdicts and warnings again, so that a file from before they were thought of
//! has them too.

use serde::{Deserialize, Serialize};

use super::evaluate::{evaluate, warnings};
use super::ledger::Ledger;
use crate::audit::SATURATED;
use crate::baseline::report::BaselineReport;
use crate::environment::Environment;
use crate::result::RunResult;
use crate::statistics::{Interval, Verdict};

/// Name and version of the schema.
pub const COMPARE_SCHEMA: &str = "quintet/compare/1";

/// What a comparison found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// [`COMPARE_SCHEMA`].
    pub schema: String,
    /// What it ran on.
    pub environment: Environment,
    /// The command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How it was run.
    pub flags: Flags,
    /// Whether it was ended before all was measured.
    pub interrupted: bool,
    /// The gate's verdict on every server, and what an idle connection costs it.
    pub servers: Vec<ServerReport>,
    /// The scenarios.
    pub scenarios: Vec<ScenarioReport>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// What changed since an earlier comparison, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineReport>,
}

impl Comparison {
    /// From the text of a result file.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        let mut comparison: Self = serde_json::from_slice(text)?;
        comparison.evaluate();
        Ok(comparison)
    }

    /// Makes all that follows from the blocks.
    pub fn evaluate(&mut self) {
        self.warnings.clear();
        for scenario in &mut self.scenarios {
            evaluate(&mut scenario.entries, scenario.rate_rps.is_some());
            self.warnings.extend(warnings(&scenario.name, &scenario.entries));
        }
        if self.interrupted {
            self.warnings.push("interrupted: not all was measured".to_owned());
        }
    }
}

/// How it was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flags {
    /// The most telling scenarios only.
    pub quick: bool,
    /// Blocks per scenario and server.
    pub blocks: u64,
    /// How long a block was measured.
    pub block_s: f64,
    /// ... after so long a warm-up.
    pub warmup_s: f64,
    /// Load threads.
    pub client_threads: usize,
    /// What each server got as `--workers`.
    pub server_workers: usize,
    /// Decided payloads, mixes and the order of the blocks.
    pub seed: u64,
}

/// One server as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerReport {
    /// Its name.
    pub name: String,
    /// Why it was not measured; none where it passed the gate.
    pub refused: Option<String>,
    /// Growth of `RssAnon` per idle connection.
    pub idle_connection_bytes: Option<f64>,
}

/// One scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// The line above its table.
    pub title: String,
    /// What it shows.
    pub shows: String,
    /// Requests per second that were planned, where the loop was open.
    pub rate_rps: Option<f64>,
    /// The servers and, last, the floor where it has a meaning.
    pub entries: Vec<Entry>,
}

/// One server under one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub server: String,
    /// What was measured, block by block.
    pub blocks: Vec<Block>,
    /// The middle of it.
    pub medians: Medians,
    /// How sure that is.
    #[serde(default)]
    pub intervals: Intervals,
    /// What the load tester's own limit makes of it.
    #[serde(default)]
    pub bounds: Bounds,
    /// Beside the best server, by throughput, or by p99 where the loop is open. None for the best
    /// itself and for the floor.
    #[serde(default)]
    pub against_best: Option<Verdict>,
    /// Whether no block may be believed, so that the figures are those of bad ones.
    #[serde(default)]
    pub doubtful: bool,
    /// What a request cost, by the server's own counters, in a block that is not among `blocks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
}

impl Entry {
    /// Of these blocks; what follows from them is made by [`evaluate`].
    pub fn new(server: String, blocks: Vec<Block>) -> Self {
        Self {
            server,
            blocks,
            medians: Medians::default(),
            intervals: Intervals::default(),
            bounds: Bounds::default(),
            against_best: None,
            doubtful: false,
            ledger: None,
        }
    }
}

/// One block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Block {
    /// Its number; blocks of one number were measured side by side.
    pub number: u64,
    /// The run.
    pub run: RunResult,
    /// The server's own count of reads, writes and waits per request, warm-up included.
    pub system_calls_per_request: Option<f64>,
    /// Cores that neither the server nor the tester used; 0 where the server's process is not
    /// known.
    pub noise_cores: f64,
    /// Whether that was too much, also when it was repeated.
    pub noisy: bool,
}

impl Block {
    /// Whether the load tester, and not the server, was the limit of a closed loop: then the
    /// server could have done more, and its figure is a lower bound. Such a block is as good as
    /// another one for that. To leave it out, or to measure it again until the tester was not the
    /// limit, would select the slow blocks.
    pub fn is_tester_limited(&self) -> bool {
        let run = &self.run;
        !run.valid && run.ok > 0 && run.settings.depth.is_some() && run.client.busy >= SATURATED
    }

    /// Whether its figures say something of the server.
    pub fn is_trusted(&self) -> bool {
        !self.noisy && (self.run.valid || self.is_tester_limited())
    }
}

/// Medians over the trusted blocks of an entry, or over all where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Medians {
    /// Right answers per second.
    pub throughput_rps: f64,
    /// Half of the range over the blocks, as a part of the median.
    pub throughput_spread: f64,
    /// Of the ratios to the floor's block of the same number; where there is no such pair, the
    /// ratio of the medians.
    pub of_floor: Option<f64>,
    /// The same beside the best server.
    #[serde(default)]
    pub of_best: Option<f64>,
    /// CPU of the server, microseconds per request.
    pub cpu_us_per_request: Option<f64>,
    /// The user's part of it.
    #[serde(default)]
    pub cpu_user_us_per_request: Option<f64>,
    /// The kernel's.
    #[serde(default)]
    pub cpu_system_us_per_request: Option<f64>,
    /// Of the server, with its connections open.
    pub rss_anon_bytes: Option<f64>,
    /// Of the server, with its connections open.
    pub pss_bytes: Option<f64>,
    /// Of the server.
    pub threads: Option<f64>,
    /// Of the server.
    pub context_switches_per_request: Option<f64>,
    /// Those in which a thread waited.
    #[serde(default)]
    pub voluntary_switches_per_request: Option<f64>,
    /// Those in which it was made to.
    #[serde(default)]
    pub involuntary_switches_per_request: Option<f64>,
    /// Of the server.
    pub system_calls_per_request: Option<f64>,
    /// Response time.
    pub latency_p50_us: f64,
    /// Response time.
    pub latency_p99_us: f64,
}

/// Intervals of those medians; none with fewer than two blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Right answers per second.
    pub throughput_rps: Option<Interval>,
    /// Of the paired ratios to the floor.
    pub of_floor: Option<Interval>,
    /// Of the paired ratios to the best server.
    pub of_best: Option<Interval>,
    /// CPU of the server, microseconds per request.
    pub cpu_us_per_request: Option<Interval>,
    /// Response time.
    pub latency_p50_us: Option<Interval>,
    /// Response time.
    pub latency_p99_us: Option<Interval>,
    /// Where the loop is open: of the paired ratios of p99 to the best server's.
    pub latency_p99_of_best: Option<Interval>,
}

/// What the load tester's own limit makes of throughputs and their ratios.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Right answers per second.
    pub throughput_rps: Bound,
    /// The ratio to the floor.
    pub of_floor: Bound,
    /// The ratio to the best server.
    pub of_best: Bound,
}

/// How a median relates to the true one, where in some blocks the load tester was the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The same.
    #[default]
    Exact,
    /// Below it, perhaps.
    AtLeast,
    /// Above it, perhaps.
    AtMost,
    /// Either.
    Unknown,
}
