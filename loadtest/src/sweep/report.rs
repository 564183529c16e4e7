//! The result of a sweep, as programs read it: the schema `quintet/sweep/1`.
//!
//! As of a comparison, every block is kept whole, and all else follows from the blocks.

use serde::{Deserialize, Serialize};

use super::over::Parameter;
use super::usl::Usl;
use crate::baseline::BaselineReport;
use crate::compare::evaluate::{evaluate, warnings};
use crate::compare::report::{Bound, Entry};
use crate::environment::Environment;

/// Name and version of the schema.
pub const SWEEP_SCHEMA: &str = "quintet/sweep/1";

/// What a sweep found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// [`SWEEP_SCHEMA`].
    pub schema: String,
    /// What it ran on.
    pub environment: Environment,
    /// The command line.
    pub command: Vec<String>,
    /// How it was run.
    pub flags: SweepFlags,
    /// What it went over.
    pub parameter: Parameter,
    /// Its values, in the order in which they were written.
    pub points: Vec<Point>,
    /// Scalability laws, where they apply.
    pub fits: Vec<Fit>,
    /// Whether it was ended before all was measured.
    pub interrupted: bool,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
    /// What a reader should know.
    pub warnings: Vec<String>,
    /// What changed since an earlier sweep, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineReport>,
}

/// How it was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepFlags {
    /// Of a server that ran already: its URL.
    pub target: Option<String>,
    /// Connections, where the sweep does not say.
    pub connections: usize,
    /// Requests outstanding per connection in the closed loop; none in the open one.
    pub depth: Option<usize>,
    /// Requests per second in the open loop; none in the closed one, and where the sweep says.
    pub rate_rps: Option<f64>,
    /// The mix, where the sweep does not say.
    pub work: String,
    /// Blocks per point and server.
    pub blocks: u64,
    /// How long a block was measured.
    pub block_s: f64,
    /// ... after so long a warm-up.
    pub warmup_s: f64,
    /// How long an answer might take.
    pub timeout_s: f64,
    /// Load threads.
    pub client_threads: usize,
    /// What each server that was started got as `--workers`.
    pub server_workers: usize,
    /// Whether points and servers were measured in an order by chance.
    pub shuffled: bool,
    /// Decided payloads, mixes and the order.
    pub seed: u64,
}

/// One value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// As a number.
    pub value: f64,
    /// As it was written.
    pub label: String,
    /// The servers.
    pub entries: Vec<Entry>,
}

/// A law that describes a server over all points.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// The server.
    pub server: String,
    /// `usl`.
    pub law: String,
    /// The law's coefficients.
    #[serde(flatten)]
    pub usl: Usl,
    /// Where the throughput would be highest; none where it only levels off.
    pub peak_at: Option<f64>,
    /// The throughput there.
    pub peak_rps: Option<f64>,
    /// Whether that is beyond the points: then it is a guess.
    pub extrapolated: bool,
}

impl Sweep {
    /// From the text of a result file.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        let mut sweep: Self = serde_json::from_slice(text)?;
        sweep.evaluate();
        Ok(sweep)
    }

    /// Whether the rate was given.
    pub fn is_open(&self) -> bool {
        self.parameter == Parameter::Rate || self.flags.rate_rps.is_some()
    }

    /// The rate of a point, where the loop is open.
    pub fn rate_rps(&self, point: &Point) -> Option<f64> {
        (self.parameter == Parameter::Rate).then_some(point.value).or(self.flags.rate_rps)
    }

    /// The name of a point.
    pub fn name(&self, point: &Point) -> String {
        format!("{}={}", self.parameter.name(), point.label)
    }

    /// The servers.
    pub fn servers(&self) -> Vec<String> {
        let entries = self.points.first().map_or(&[][..], |point| &point.entries);
        entries.iter().map(|entry| entry.server.clone()).collect()
    }

    /// Of one server, each point and its entry there.
    pub fn of<'a>(&'a self, server: &'a str) -> impl Iterator<Item = (&'a Point, &'a Entry)> {
        let entry = move |point: &'a Point| {
            let entry = point.entries.iter().find(|entry| entry.server == server)?;
            Some((point, entry)).filter(|_| !entry.blocks.is_empty())
        };
        self.points.iter().filter_map(entry)
    }

    /// Makes all that follows from the blocks.
    pub fn evaluate(&mut self) {
        let is_open = self.is_open();
        self.warnings.clear();
        for point in &mut self.points {
            evaluate(&mut point.entries, is_open);
        }
        // Over all points together: which one it is, is marked there.
        let servers = self.servers();
        let over_all = |server: &String| {
            let entries = || self.of(server).map(|(_, entry)| entry);
            let blocks = entries().flat_map(|entry| entry.blocks.clone());
            let mut all = Entry::new(server.clone(), blocks.collect());
            all.doubtful = entries().any(|entry| entry.doubtful);
            all
        };
        let over_all: Vec<Entry> = servers.iter().map(over_all).collect();
        self.warnings.extend(warnings(self.parameter.name(), &over_all));
        self.fit();
        if self.interrupted {
            self.warnings.push("interrupted: not all was measured".to_owned());
        }
    }

    /// The law is one of a closed loop: it says what so many make of it who wait for each other.
    fn fit(&mut self) {
        self.fits.clear();
        let is_law = matches!(self.parameter, Parameter::Connections | Parameter::Depth);
        if !is_law || self.is_open() {
            return;
        }
        for server in self.servers() {
            let is_sound = |(_, entry): &(&Point, &Entry)| {
                !entry.doubtful && entry.bounds.throughput_rps == Bound::Exact
            };
            let points: Vec<(f64, f64)> = self
                .of(&server)
                .filter(is_sound)
                .map(|(point, entry)| (point.value, entry.medians.throughput_rps))
                .collect();
            match Usl::fit(&points) {
                Ok(usl) => {
                    let peak = usl.peak();
                    let most = points.iter().map(|(n, _)| *n).fold(0.0, f64::max);
                    self.fits.push(Fit {
                        server,
                        law: "usl".to_owned(),
                        usl,
                        peak_at: peak.map(|(at, _)| at),
                        peak_rps: peak.map(|(_, rps)| rps),
                        extrapolated: peak.is_some_and(|(at, _)| at > most),
                    });
                }
                Err(why) => self.warnings.push(format!("{server}: no scalability law: {why}")),
            }
        }
    }
}
