//! What is compared: each scenario is one load, put on every server in turn.

use std::num::NonZeroUsize;

use crate::pace::Pace;
use crate::plan::Schedule;
use crate::work::Mix;

/// The open loop runs at this part of what the slowest server can do: far enough from saturation
/// that a tail is the model's and not a queue's, and the same rate for all.
pub const OPEN_LOOP_FRACTION: f64 = 0.5;
/// The scenario whose throughput is that capacity.
pub const CAPACITY_SCENARIO: &str = "echo";

/// One load.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// As `--work` takes it.
    pub work: &'static str,
    /// Connections.
    pub connections: usize,
    /// Requests in flight per connection; none where the loop is open.
    pub depth: Option<usize>,
    /// Whether `--quick` has it.
    pub quick: bool,
    /// What it shows, in a few words.
    pub shows: &'static str,
}

/// All of them, in the order of the table. The open loop is last: it needs the capacity.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "echo",
        work: "echo:64",
        connections: 64,
        depth: Some(1),
        quick: true,
        shows: "the cost of waking up for each request",
    },
    Scenario {
        name: "pipelined",
        work: "echo:64",
        connections: 64,
        depth: Some(16),
        quick: true,
        shows: "the cost of a request itself; over gRPC 16 streams on each connection",
    },
    Scenario {
        name: "many",
        work: "echo:64",
        connections: 1_000,
        depth: Some(1),
        quick: false,
        shows: "what a connection costs",
    },
    Scenario {
        name: "wait",
        work: "wait:10ms",
        connections: 64,
        depth: Some(1),
        quick: false,
        shows: "time to pass: 64 connections see 6,400/s at the most; a pool's worker is held",
    },
    Scenario {
        name: "compute",
        work: "compute:100",
        connections: 64,
        depth: Some(1),
        quick: false,
        shows: "handing work to a core",
    },
    Scenario {
        name: "block",
        work: "echo:64=90,block:5ms=10",
        connections: 64,
        depth: Some(1),
        quick: true,
        shows: "whether one blocked request in ten holds the others up",
    },
    Scenario {
        name: "users",
        work: "user:10000",
        connections: 64,
        depth: Some(16),
        quick: false,
        shows: "state that all share: one lock before a cache that holds a tenth of the users",
    },
    Scenario {
        name: "open",
        work: "echo:64",
        connections: 64,
        depth: None,
        quick: true,
        shows: "tails at half of the slowest server's capacity",
    },
];

impl Scenario {
    /// The mix.
    ///
    /// # Panics
    /// Never: a test parses the works of all scenarios.
    pub fn mix(&self) -> Mix {
        self.work.parse().expect("the scenarios' works are constants that a test parses")
    }

    /// When its requests are sent; `rate_per_s` is for the open loop.
    pub fn schedule(&self, rate_per_s: f64) -> Schedule {
        match self.depth {
            Some(depth) => Schedule::Closed { depth },
            None => Schedule::Open(Pace::fixed(rate_per_s)),
        }
    }

    /// The connections, at least one.
    pub fn connections(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.connections).unwrap_or(NonZeroUsize::MIN)
    }

    /// Whether the floor, which only echoes, does the same as a server would.
    pub fn has_floor(&self) -> bool {
        self.work.starts_with("echo:") && !self.work.contains(',')
    }

    /// A line above its table.
    pub fn title(&self, rate_rps: Option<f64>) -> String {
        let load = match (self.depth, rate_rps) {
            (Some(depth), _) => format!("depth {depth}"),
            (None, Some(rate)) => format!("{rate:.0} requests/s planned"),
            (None, None) => "open loop".to_owned(),
        };
        format!("{}: {} over {} connections, {load}", self.name, self.work, self.connections)
    }
}

/// The scenarios of these names, or of `--quick`, or all; with the one that gives the capacity
/// where the open loop needs it.
///
/// # Errors
/// A name that is none.
pub fn choose(names: &[String], quick: bool) -> Result<Vec<Scenario>, String> {
    let unknown = |name: &&String| SCENARIOS.iter().all(|scenario| scenario.name != name.as_str());
    if let Some(name) = names.iter().find(unknown) {
        return Err(name.clone());
    }
    let chosen = |name: &str| names.iter().any(|one| one == name);
    let wanted = |scenario: &&Scenario| {
        if names.is_empty() {
            return !quick || scenario.quick;
        }
        chosen(scenario.name) || (scenario.name == CAPACITY_SCENARIO && chosen("open"))
    };
    Ok(SCENARIOS.iter().filter(wanted).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_well_formed() {
        for scenario in SCENARIOS {
            assert!(scenario.mix().kinds().count() > 0);
            assert!(scenario.title(Some(1.0)).len() < 100);
        }
        assert!(SCENARIOS.iter().any(|scenario| scenario.name == CAPACITY_SCENARIO));
    }

    #[test]
    fn the_open_loop_brings_what_it_needs() {
        let names = |chosen: &[&str], quick| {
            let chosen: Vec<String> = chosen.iter().map(ToString::to_string).collect();
            choose(&chosen, quick).map(|all| all.iter().map(|s| s.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["open"], false), Ok(vec!["echo", "open"]));
        assert_eq!(names(&["wait"], true), Ok(vec!["wait"]));
        assert_eq!(names(&["nap"], false), Err("nap".to_owned()));
        assert_eq!(names(&[], false).map(|all| all.len()), Ok(SCENARIOS.len()));
    }
}
