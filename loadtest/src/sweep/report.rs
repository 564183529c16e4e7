//! The result of a sweep, as programs read it: the schema `quintet/sweep/1`.
//!
//! As of a comparison, every block is kept whole, and all else follows from the blocks.

use serde::{Deserialize, Serialize};

use super::over::Parameter;
use super::usl::Usl;
use crate::baseline::report::BaselineReport;
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::compare::evaluate::tests::{block, limited};
    use crate::compare::report::Block;
    use crate::process::FLOOR;
    use crate::sweep::table;

    const LAW: Usl = Usl { lambda: 1_000.0, sigma: 0.05, kappa: 2e-4, r_squared: 1.0 };

    /// Of two servers that follow the law, with blocks that differ by some percent.
    pub(crate) fn swept(parameter: Parameter, block_of: fn(u64, f64) -> Block) -> Sweep {
        let entry = |name: &str, rps: f64| {
            let rate = |number: u64| rps * (1.0 + 0.01 * (number as f64 - 3.0));
            let blocks = (0..7).map(|number| block_of(number, rate(number)));
            Entry::new(name.to_owned(), blocks.collect())
        };
        let points = [1.0, 4.0, 16.0, 64.0, 256.0].map(|value| Point {
            value,
            label: value.to_string(),
            entries: vec![entry("threads", LAW.at(value)), entry(FLOOR.name, 3.0 * LAW.at(value))],
        });
        let mut sweep = Sweep {
            schema: SWEEP_SCHEMA.to_owned(),
            environment: Environment::look(),
            command: Vec::new(),
            flags: SweepFlags {
                target: None,
                connections: 64,
                depth: Some(1),
                rate_rps: None,
                work: "echo:64".to_owned(),
                blocks: 7,
                block_s: 1.0,
                warmup_s: 0.25,
                timeout_s: 5.0,
                client_threads: 1,
                server_workers: 1,
                shuffled: true,
                seed: 1,
            },
            parameter,
            points: points.to_vec(),
            fits: Vec::new(),
            interrupted: false,
            failures: Vec::new(),
            warnings: Vec::new(),
            baseline: None,
        };
        sweep.evaluate();
        sweep
    }

    fn quiet(number: u64, rps: f64) -> Block {
        block(number, rps, false)
    }

    #[test]
    fn a_law_is_fitted_to_each_server_of_a_closed_loop() {
        let sweep = swept(Parameter::Connections, quiet);
        let servers: Vec<&str> = sweep.fits.iter().map(|fit| fit.server.as_str()).collect();
        assert_eq!((servers, sweep.warnings.len()), (vec!["threads", FLOOR.name], 0));
        let fit = &sweep.fits[0];
        assert!((fit.usl.sigma / LAW.sigma - 1.0).abs() < 1e-6, "{fit:?}");
        assert!((fit.peak_at.unwrap() / (0.95_f64 / 2e-4).sqrt() - 1.0).abs() < 1e-6, "{fit:?}");
        assert!(!fit.extrapolated);
        for other in [Parameter::Payload, Parameter::Rate, Parameter::Idle] {
            assert!(swept(other, quiet).fits.is_empty(), "{other:?}");
        }
        let mut open = sweep;
        open.flags.rate_rps = Some(10.0);
        open.evaluate();
        assert!(open.fits.is_empty() && open.warnings.is_empty());
    }

    #[test]
    fn points_that_the_tester_limited_are_in_no_law() {
        let capped =
            |number, rps| if rps > 5_000.0 { limited(number, rps) } else { quiet(number, rps) };
        let sweep = swept(Parameter::Depth, capped);
        assert!(sweep.fits.is_empty());
        let warnings = sweep.warnings.join("; ");
        assert!(warnings.contains("threads: no scalability law: 2 points"), "{warnings}");
        assert!(warnings.contains("the load tester was the limit"), "{warnings}");
    }

    #[test]
    fn all_follows_from_the_blocks() {
        let sweep = swept(Parameter::Connections, quiet);
        let mut bare = sweep.clone();
        bare.fits.clear();
        for entry in bare.points.iter_mut().flat_map(|point| &mut point.entries) {
            *entry = Entry::new(entry.server.clone(), entry.blocks.clone());
        }
        let read = Sweep::read(&serde_json::to_vec(&bare).unwrap()).unwrap();
        let (made, again) = (table::markdown(&sweep), table::markdown(&read));
        assert!(made == again, "{made}\n{again}");
        let fit = serde_json::to_value(&read.fits[0]).unwrap();
        assert!(fit["law"] == "usl" && fit["lambda"].is_f64(), "{fit}");
        assert!(read.points[0].entries[0].intervals.throughput_rps.is_some());
    }
}
