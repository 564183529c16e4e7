//! The self-check: loads a built-in server whose behaviour is known with `loadtest run`, on the
//! user's machine, and puts what arithmetic predicts beside what was measured.
//!
//! It runs the very command that a user runs, one check after the other, so it takes minutes; in
//! exchange a passed check says that figures from this machine can be trusted.

mod child;
mod failures;
mod loads;
mod merging;
pub mod oracle;
pub mod report;
pub mod server;
mod stalls;

pub use child::SERVER_COMMAND;

use std::io;
use std::time::Duration;

use self::child::{KnownServer, LoadRun};
use self::report::{Check, Report, SELFCHECK_SCHEMA};
use self::server::Behaviour;
use crate::compare::progress::Progress;
use crate::environment::Environment;
use crate::histogram::HistogramError;
use crate::merge::MergeError;
use crate::result::RunResult;
use crate::share::Interrupt;

/// The rate of the open loops: one that every machine keeps, and at which the thread that sends
/// sleeps between any two requests.
const RATE_RPS: f64 = 2_000.0;
/// Connections, where a check says nothing else.
const CONNECTIONS: u16 = 16;
/// What a quantile may be off, as a part of it.
const QUANTILE_PART: f64 = 0.05;
/// How often a run is made again that the audit calls invalid: the machine was busy, not the
/// load tester wrong.
const REPEATS_MAX: usize = 1;

/// Why there is no self-check.
#[derive(Debug, thiserror::Error)]
pub enum SelfcheckError {
    /// This program cannot start itself.
    #[error("cannot start this program again: {error}; is its file still there?")]
    Start {
        /// What the system said.
        error: io::Error,
    },
    /// The built-in server ended, or said something else.
    #[error("the built-in server did not say that it listens; is 127.0.0.1 there?")]
    NotReady,
    /// The load tester ended without a result.
    #[error("`loadtest run` gave no result: {error}; run it by hand to see why")]
    NoResult {
        /// What its output is instead.
        error: serde_json::Error,
    },
    /// Two halves of one result do not fit together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A histogram that was just written cannot be read.
    #[error(transparent)]
    Histogram(#[from] HistogramError),
}

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// A run with a stall, and the stall.
    stalled: Duration,
    stall: Duration,
    overloaded: Duration,
    /// An overload whose timeout is short, and the timeout.
    cut_short: Duration,
    timeout: Duration,
    /// A run whose load tester is stopped, and for how long.
    stopped: Duration,
    stop: Duration,
    known_delay: Duration,
    closed: Duration,
    capacity: Duration,
    pacing: Duration,
    /// A run whose server is killed in the middle.
    killed: Duration,
}

/// About three minutes: the times that the formulas are commonly quoted with.
const FULL: Scale = Scale {
    stalled: Duration::from_secs(30),
    stall: Duration::from_secs(1),
    overloaded: Duration::from_secs(20),
    cut_short: Duration::from_secs(8),
    timeout: Duration::from_secs(1),
    stopped: Duration::from_secs(4),
    stop: Duration::from_secs(1),
    known_delay: Duration::from_secs(10),
    closed: Duration::from_secs(3),
    capacity: Duration::from_secs(1),
    pacing: Duration::from_secs(5),
    killed: Duration::from_secs(2),
};

/// Some 35 seconds: shorter runs and stalls of the same proportions.
const QUICK: Scale = Scale {
    stalled: Duration::from_millis(4_500),
    stall: Duration::from_millis(150),
    overloaded: Duration::from_secs(4),
    cut_short: Duration::from_secs(2),
    timeout: Duration::from_millis(250),
    stopped: Duration::from_secs(2),
    stop: Duration::from_millis(500),
    known_delay: Duration::from_secs(3),
    closed: Duration::from_secs(1),
    capacity: Duration::from_millis(500),
    pacing: Duration::from_secs(2),
    killed: Duration::from_secs(1),
};

/// What the checks share.
struct Bench<'a> {
    scale: Scale,
    interrupt: &'a Interrupt,
}

/// One check: some runs, and several figures.
type Step = fn(&Bench) -> Result<Vec<Check>, SelfcheckError>;

const STEPS: [(&str, Step); 11] = [
    ("a stall at the start", stalls::at_the_start),
    ("a stall in the middle", stalls::in_the_middle),
    ("a stall across the end", stalls::across_the_end),
    ("two stalls", stalls::two),
    ("overload", loads::overload),
    ("a known delay", loads::known_delay),
    ("a closed loop", loads::closed),
    ("pacing", loads::pacing),
    ("the load tester itself is stopped", failures::generator_stopped),
    ("the server is killed", failures::server_killed),
    ("two agents are merged", merging::two_agents),
];

/// Makes all checks, and says on standard error how far it is. Ends early, with those that were
/// made, once `interrupt` is triggered.
///
/// # Errors
/// Where this program cannot be started again, or a run gives no result: a wrong one is no error.
pub fn selfcheck(quick: bool, interrupt: &Interrupt) -> Result<Report, SelfcheckError> {
    let environment = Environment::look();
    let bench = Bench { scale: if quick { QUICK } else { FULL }, interrupt };
    let progress = Progress::new(STEPS.len() as u64);
    let mut checks = Vec::new();
    for (at, (name, step)) in STEPS.iter().enumerate() {
        progress.say(&format!("selfcheck {}/{}: {name}", at + 1, STEPS.len()));
        let made = step(&bench);
        if interrupt.is_triggered() {
            break; // what was cut off says nothing, and may have no result at all
        }
        checks.extend(made?);
        progress.step();
    }
    progress.clear();
    Ok(Report {
        schema: SELFCHECK_SCHEMA.to_owned(),
        environment,
        quick,
        passed: !checks.iter().any(Check::is_failure),
        checks,
        interrupted: interrupt.is_triggered(),
    })
}

impl Bench<'_> {
    /// An open loop at [`RATE_RPS`] on a server that is left alone.
    fn open(
        &self,
        behaviour: Behaviour,
        length: Duration,
        flags: &[&str],
    ) -> Result<RunResult, SelfcheckError> {
        let attempt = || {
            let server = KnownServer::start(behaviour)?;
            let run = LoadRun::start(&server.url(), &open_loop(RATE_RPS, length, flags))?;
            Ok((run.finish(self.interrupt)?, ()))
        };
        self.valid(attempt).map(|(result, ())| result)
    }

    /// A closed loop, with `depth` requests under way on each of [`CONNECTIONS`].
    fn closed(
        &self,
        behaviour: Behaviour,
        depth: u16,
        length: Duration,
    ) -> Result<RunResult, SelfcheckError> {
        let server = KnownServer::start(behaviour)?;
        let length = humantime::format_duration(length).to_string();
        let (connections, depth) = (CONNECTIONS.to_string(), depth.to_string());
        let flags = ["--connections", &connections, "--depth", &depth, "--duration", &length];
        LoadRun::start(&server.url(), &flags.map(str::to_owned))?.finish(self.interrupt)
    }

    /// Makes the run again where it is invalid: once.
    fn valid<T>(
        &self,
        attempt: impl Fn() -> Result<(RunResult, T), SelfcheckError>,
    ) -> Result<(RunResult, T), SelfcheckError> {
        let mut made = attempt()?;
        for _ in 0..REPEATS_MAX {
            if made.0.valid || self.interrupt.is_triggered() {
                break;
            }
            made = attempt()?;
        }
        Ok(made)
    }
}

/// The flags of an open loop; later ones of `flags` add to them.
fn open_loop(rate_rps: f64, length: Duration, flags: &[&str]) -> Vec<String> {
    let length = humantime::format_duration(length).to_string();
    let fixed = ["--rate".to_owned(), rate_rps.to_string(), "--duration".to_owned(), length];
    fixed.into_iter().chain(flags.iter().copied().map(str::to_owned)).collect()
}

/// Says of each check why it must be so, and what the run itself remarked.
fn explained(mut checks: Vec<Check>, what: &str, result: &RunResult) -> Vec<Check> {
    for check in &mut checks {
        what.clone_into(&mut check.what);
        if !result.valid && check.detail.is_empty() {
            check.detail = format!("the run is invalid: {}", result.warnings.join("; "));
        }
    }
    checks
}

/// All that became of the planned requests.
fn settled(result: &RunResult) -> u64 {
    result.ok + result.errors.values().sum::<u64>() + result.timed_out + result.unsent
}

/// Seconds as the microseconds of results.
fn us(seconds: f64) -> f64 {
    seconds * 1e6
}
