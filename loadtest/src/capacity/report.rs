//! The result of a search for capacity, as programs read it: the schema `quintet/capacity/1`.
//!
//! Every probe is kept whole: a reader can see why a rate was held or not.

use serde::{Deserialize, Serialize};

pub use super::search::Bracket;
use super::slo::Slo;
use crate::environment::Environment;
use crate::result::RunResult;
use crate::statistics::{CONFIDENCE, Interval, bootstrap, median};

/// Name and version of the schema.
pub const CAPACITY_SCHEMA: &str = "quintet/capacity/1";

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Capacity {
    /// [`CAPACITY_SCHEMA`].
    pub schema: String,
    /// What it ran on.
    pub environment: Environment,
    /// The command line.
    pub command: Vec<String>,
    /// How it was run.
    pub flags: CapacityFlags,
    /// What had to hold, as `--slo` takes it.
    pub slo: String,
    /// The first of its times, which is `quantile_us` of the probes.
    pub quantile: String,
    /// The servers.
    pub servers: Vec<ServerCapacity>,
    /// Whether it was ended before all was measured.
    pub interrupted: bool,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// How it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityFlags {
    /// Of a server that ran already: its URL.
    pub target: Option<String>,
    /// Connections.
    pub connections: usize,
    /// The mix.
    pub work: String,
    /// How often the search was made.
    pub blocks: u64,
    /// Probes of a rate, of which most must hold it.
    pub probes: u64,
    /// How narrow the bracket of a search had to become, as a part of its low end.
    pub precision: f64,
    /// How long a probe was measured.
    pub probe_s: f64,
    /// ... after so long a warm-up.
    pub warmup_s: f64,
    /// How long an answer might take.
    pub timeout_s: f64,
    /// Load threads.
    pub client_threads: usize,
    /// What each server that was started got as `--workers`.
    pub server_workers: usize,
    /// Decided payloads, mixes and the order.
    pub seed: u64,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerCapacity {
    /// Its name.
    pub server: String,
    /// The median over the blocks of the highest rate that held; its bounds are the lowest and the
    /// highest end of all brackets. None where most blocks found no rate that holds.
    pub capacity_rps: Option<Interval>,
    /// Whether in some block the load tester was the limit, so that the capacity may be higher.
    pub limited_by_tester: bool,
    /// The searches.
    pub blocks: Vec<CapacityBlock>,
    /// All probes, in the order in which they were made.
    pub probes: Vec<Probe>,
}

/// One search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityBlock {
    /// Its number.
    pub number: u64,
    /// The throughput of the closed loop, from which it started.
    pub closed_loop_rps: f64,
    /// What it found.
    #[serde(flatten)]
    pub bracket: Bracket,
}

/// One run of the open loop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Of which search.
    pub block: u64,
    /// The planned rate.
    pub rate_rps: f64,
    /// Whether all held.
    pub held: bool,
    /// Whether it says something of the server: it does not where the load tester was at fault.
    pub counted: bool,
    /// What did not hold, or why it does not count.
    pub why: Option<String>,
    /// The first time of the objective.
    pub quantile_us: f64,
    /// Whether other processes were busy, also when it was repeated.
    pub noisy: bool,
    /// The run.
    pub run: RunResult,
}

impl ServerCapacity {
    /// Of which nothing is known.
    pub fn new(server: String) -> Self {
        let (blocks, probes) = (Vec::new(), Vec::new());
        Self { server, capacity_rps: None, limited_by_tester: false, blocks, probes }
    }

    /// The middle of the searches, and their outer ends as bounds. These hold the median of what
    /// such searches find with the confidence of so many coins.
    fn interval(&self) -> Option<Interval> {
        let lows = || self.blocks.iter().map(|block| block.bracket.low_rps.unwrap_or(0.0));
        let high = |block: &CapacityBlock| block.bracket.high_rps.or(block.bracket.low_rps);
        let highs = self.blocks.iter().filter_map(high);
        let estimate = median(lows()).filter(|estimate| *estimate > 0.0)?;
        Some(Interval {
            estimate,
            low: lows().fold(f64::INFINITY, f64::min),
            high: highs.fold(0.0, f64::max),
            confidence: bootstrap::confidence_max(self.blocks.len()).min(CONFIDENCE),
        })
    }

    /// The probes at the highest rate that held, of each search.
    pub fn at_capacity(&self) -> impl Iterator<Item = &Probe> {
        let is_at = |probe: &&Probe| {
            let block = self.blocks.iter().find(|block| block.number == probe.block);
            probe.held && block.is_some_and(|block| block.bracket.low_rps == Some(probe.rate_rps))
        };
        self.probes.iter().filter(is_at)
    }
}

impl Capacity {
    /// From the text of a result file.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Makes all that follows from the searches.
    pub(super) fn evaluate(&mut self, slo: &Slo) {
        for server in &mut self.servers {
            server.capacity_rps = server.interval();
            server.limited_by_tester =
                server.blocks.iter().any(|block| block.bracket.limited_by_tester);
            let name = &server.server;
            let lowest =
                server.probes.iter().map(|probe| probe.rate_rps).fold(f64::INFINITY, f64::min);
            match (server.capacity_rps, server.limited_by_tester) {
                (Some(_), true) => self.warnings.push(format!(
                    "{name}: the load tester was the limit, and the capacity may be higher; if \
                     cores are free, use more --threads"
                )),
                (None, true) => self.failures.push(format!(
                    "{name}: the load tester could not send even {lowest}/s on time, so nothing is \
                     known of the server: is the machine quiet?"
                )),
                (None, false) if !server.blocks.is_empty() => {
                    self.warnings.push(format!("{name}: {slo} does not hold even at {lowest}/s"));
                }
                _ => {}
            }
            if server.blocks.iter().any(|block| block.bracket.high_rps.is_none()) {
                self.warnings.push(format!(
                    "{name}: a search found no rate that does not hold; the capacity is higher"
                ));
            }
            let samples = server.at_capacity().map(|probe| probe.run.ok).min();
            if let Some(what) = samples.and_then(|samples| slo.too_few_for(samples)) {
                self.warnings.push(format!(
                    "{name}: a probe at the capacity has too few samples for {what}: use a longer \
                     --duration"
                ));
            }
            let noisy = server.probes.iter().filter(|probe| probe.noisy).count();
            if noisy > 0 {
                let all = server.probes.len();
                self.warnings
                    .push(format!("{name}: probes while other processes were busy: {noisy}/{all}"));
            }
        }
        if self.interrupted {
            self.warnings.push("interrupted: not all was measured".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(brackets: &[(Option<f64>, Option<f64>)]) -> ServerCapacity {
        let block =
            |(number, (low_rps, high_rps)): (u64, &(Option<f64>, Option<f64>))| CapacityBlock {
                number,
                closed_loop_rps: 100.0,
                bracket: Bracket {
                    low_rps: *low_rps,
                    high_rps: *high_rps,
                    limited_by_tester: false,
                },
            };
        let blocks = (0..).zip(brackets).map(block).collect();
        ServerCapacity { blocks, ..ServerCapacity::new("epoll".to_owned()) }
    }

    #[test]
    fn the_capacity_lies_between_the_outer_ends_of_the_searches() {
        let three =
            [(Some(100.0), Some(104.0)), (Some(96.0), Some(99.0)), (Some(110.0), Some(115.0))];
        let interval = server(&three).interval().unwrap();
        let expected = Interval { estimate: 100.0, low: 96.0, high: 115.0, confidence: 0.75 };
        assert_eq!(interval, expected);
        // One search that held nothing makes the low end nothing, two make the capacity none.
        let one = server(&[three[0], three[1], (None, Some(1.0))]).interval().unwrap();
        assert!((one.low, one.estimate) == (0.0, 96.0), "{one:?}");
        assert_eq!(server(&[three[0], (None, Some(1.0)), (None, Some(1.0))]).interval(), None);
        assert_eq!(server(&[]).interval(), None);
        // All that was tried held: that is a bound from below alone, and the bracket says so.
        assert_eq!(server(&[(Some(100.0), None)]).interval().map(|i| i.high), Some(100.0));
    }
}
