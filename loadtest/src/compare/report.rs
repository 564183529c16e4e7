//! The result of a comparison, as programs read it: the schema `quintet/compare/1`.
//!
//! Every block is kept whole, so that the medians and the table can be made again from the file.

use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::result::RunResult;

/// Name and version of the schema.
pub const COMPARE_SCHEMA: &str = "quintet/compare/1";

/// What a comparison found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// [`COMPARE_SCHEMA`].
    pub schema: String,
    /// What it ran on.
    pub environment: Environment,
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

/// One server in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub server: String,
    /// What was measured, block by block.
    pub blocks: Vec<Block>,
    /// The middle of it.
    pub medians: Medians,
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
    /// Cores that neither the server nor the tester used.
    pub noise_cores: f64,
    /// Whether that was too much, also when it was repeated.
    pub noisy: bool,
}

/// Medians over the quiet blocks of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Medians {
    /// Right answers per second.
    pub throughput_rps: f64,
    /// Half of the range over the blocks, as a part of the median.
    pub throughput_spread: f64,
    /// Of the ratios to the floor's block of the same number; where noise left no such pair, the
    /// ratio of the medians.
    pub of_floor: Option<f64>,
    /// CPU of the server, microseconds per request.
    pub cpu_us_per_request: Option<f64>,
    /// Of the server, with its connections open.
    pub rss_anon_bytes: Option<f64>,
    /// Of the server, with its connections open.
    pub pss_bytes: Option<f64>,
    /// Of the server.
    pub threads: Option<f64>,
    /// Of the server.
    pub context_switches_per_request: Option<f64>,
    /// Of the server.
    pub system_calls_per_request: Option<f64>,
    /// Response time.
    pub latency_p50_us: f64,
    /// Response time.
    pub latency_p99_us: f64,
}

impl Medians {
    /// Of an entry's blocks; `floor` are the floor's. Noisy blocks count only where there are no
    /// others.
    pub fn of(blocks: &[Block], floor: Option<&[Block]>) -> Self {
        let blocks = usable(blocks);
        let floor = floor.map(usable);
        let of = |value: &dyn Fn(&Block) -> Option<f64>| {
            median(blocks.iter().copied().filter_map(value).collect())
        };
        let server = |value: fn(&crate::cost::ServerCost) -> f64| {
            of(&|block| block.run.server.as_ref().map(value))
        };
        let rates = || blocks.iter().map(|block| block.run.throughput_rps);
        let throughput_rps = median(rates().collect()).unwrap_or(0.0);
        let range = rates().fold(0.0, f64::max) - rates().fold(f64::INFINITY, f64::min);
        let spread = if throughput_rps > 0.0 { range / 2.0 / throughput_rps } else { 0.0 };
        let beside = |block: &Block| {
            let floor = floor
                .as_ref()?
                .iter()
                .find(|floor| floor.number == block.number && floor.noisy == block.noisy)?;
            Some(block.run.throughput_rps / floor.run.throughput_rps)
        };
        // Where no two blocks were measured under the same conditions, the medians must do.
        let of_medians = || {
            let rates = floor.as_ref()?.iter().map(|floor| floor.run.throughput_rps);
            Some(throughput_rps / median(rates.collect())?)
        };
        Self {
            throughput_rps,
            throughput_spread: spread,
            of_floor: of(&beside).or_else(of_medians),
            cpu_us_per_request: server(|cost| cost.cpu_us_per_request),
            rss_anon_bytes: server(|cost| cost.rss_anon_bytes as f64),
            pss_bytes: server(|cost| cost.pss_bytes as f64),
            threads: server(|cost| cost.threads as f64),
            context_switches_per_request: server(|cost| cost.context_switches_per_request),
            system_calls_per_request: of(&|block| block.system_calls_per_request),
            latency_p50_us: of(&|block| Some(block.run.latency_us.p50)).unwrap_or(0.0),
            latency_p99_us: of(&|block| Some(block.run.latency_us.p99)).unwrap_or(0.0),
        }
    }
}

/// The quiet blocks, or all where none was.
fn usable(blocks: &[Block]) -> Vec<&Block> {
    let quiet: Vec<&Block> = blocks.iter().filter(|block| !block.noisy).collect();
    if quiet.is_empty() { blocks.iter().collect() } else { quiet }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{ClientCost, Quantiles};

    fn block(number: u64, throughput_rps: f64, noisy: bool) -> Block {
        let run = serde_json::json!({
            "schema": "", "target": "", "planned": 1, "ok": 1, "errors": {}, "timed_out": 0,
            "unsent": 0, "elapsed_s": 1.0, "throughput_rps": throughput_rps,
            "latency_us": Quantiles::default(), "service_us": Quantiles::default(),
            "send_lag_us": Quantiles::default(), "server": null,
            "client": ClientCost::default(), "valid": true, "warnings": [],
            "settings": { "connections": 1, "depth": 1, "rate_rps": null, "work": "",
                          "warmup_s": 0.0, "timeout_s": 1.0, "seed": 1 },
        });
        let run = serde_json::from_value(run).unwrap();
        Block { number, run, system_calls_per_request: None, noise_cores: 0.0, noisy }
    }

    #[test]
    fn noise_stays_out_of_the_medians_and_of_the_pairs() {
        let blocks = [block(0, 50.0, false), block(1, 60.0, false), block(2, 1.0, true)];
        let floor = [block(0, 100.0, false), block(1, 10.0, true)];
        let medians = Medians::of(&blocks, Some(&floor));
        assert_eq!((medians.throughput_rps, medians.of_floor), (55.0, Some(0.5)));
        let unpaired = Medians::of(&blocks[..1], Some(&[block(1, 200.0, false)]));
        assert_eq!(unpaired.of_floor, Some(0.25));
        assert_eq!(Medians::of(&blocks, None).of_floor, None);
    }

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![f64::NAN, 1.0]), Some(1.0));
    }
}
