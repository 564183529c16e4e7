//! What experiments are made of: servers in processes of their own, and loads on them.
//!
//! Each server has one worker unless a lab says otherwise, so that what is shown does not hang on
//! how many cores the machine has.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::background::BackgroundError;
use loadtest::compare::bench::BenchError;
use loadtest::cost::CostError;
use loadtest::pace::{Arrivals, Pace, Rate};
use loadtest::plan::{Schedule, Stop};
use loadtest::process::{Contender, Launch, ProcessError, Server};
use loadtest::result::RunResult;
use loadtest::run::{RunConfig, RunError, run};
use loadtest::share::Interrupt;

/// How long the first requests of a load do not count: connections are there after it.
const WARMUP: Duration = Duration::from_millis(300);
/// The longest that a load beside another goes on: the other ends it before.
const BESIDE_MAX: Duration = Duration::from_mins(2);
/// What of a latency the load tester's own delay may be before it is to be doubted; below the
/// second, it is what waking a thread costs.
const LAG_PART: f64 = 0.1;
const LAG_US_MAX: f64 = 1_000.0;
/// How often a pause looks whether somebody wants an end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Why a lab has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A server does not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The servers do not build.
    #[error(transparent)]
    Build(#[from] BenchError),
    /// A load does not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The clients in the background are not there.
    #[error(transparent)]
    Background(#[from] BackgroundError),
    /// A server cannot be looked at.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// A socket, or the clock of a thread.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A server failed under the load.
    #[error("{0}")]
    Failed(String),
    /// Somebody wanted an end.
    #[error("interrupted")]
    Interrupted,
}

/// Starts servers and loads them.
#[derive(Debug)]
pub struct Bench<'a> {
    launch: Launch,
    interrupt: &'a Interrupt,
    seed: u64,
    warnings: Mutex<Vec<String>>,
}

impl<'a> Bench<'a> {
    /// With the servers' binaries of this folder. The seed decides when those come who come
    /// irregularly.
    pub fn new(bin_dir: PathBuf, interrupt: &'a Interrupt, seed: u64) -> Self {
        let launch = Launch { bin_dir, workers: NonZeroUsize::MIN, counts_allocations: false };
        Self { launch, interrupt, seed, warnings: Mutex::default() }
    }

    /// How servers are started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Starts a server. It is killed when it is dropped.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self, contender: Contender) -> Result<Server, LabError> {
        self.check()?;
        Ok(Server::start(contender, &self.launch)?)
    }

    /// A load on this server: one connection, one request at a time, until a lab says otherwise.
    ///
    /// # Panics
    /// If `work` is none; the labs' are constants.
    pub fn asks(&self, server: &Server, work: &str) -> RunConfig {
        let mix = work.parse().expect("the labs' works are constants");
        RunConfig {
            warmup: WARMUP,
            seed: self.seed,
            server_pid: Some(server.pid()),
            ..RunConfig::new(server.target, mix)
        }
    }

    /// Carries a load out.
    ///
    /// # Errors
    /// If that is not possible, the server failed, or somebody wanted an end.
    pub fn run(&self, load: &RunConfig) -> Result<RunResult, LabError> {
        let finished = run(load, self.interrupt)?;
        self.check()?;
        match finished.failure {
            Some(failure) => Err(LabError::Failed(failure)),
            None => Ok(self.doubted(finished.result)),
        }
    }

    /// The same of a load that may well get no answer at all.
    ///
    /// # Errors
    /// If that is not possible, or somebody wanted an end.
    pub fn run_in_vain(&self, load: &RunConfig) -> Result<RunResult, LabError> {
        let finished = run(load, self.interrupt)?;
        self.check()?;
        Ok(finished.result)
    }

    /// Does `then` while `load` goes on, and gives what came of both. The load's answers that are
    /// still due at the end do not count.
    ///
    /// # Errors
    /// Those of either.
    pub fn beside<T>(
        &self,
        load: &RunConfig,
        then: impl FnOnce() -> Result<T, LabError>,
    ) -> Result<(RunResult, T), LabError> {
        let load = RunConfig { stop: Stop::After(BESIDE_MAX), ..load.clone() };
        let stop = Interrupt::default();
        thread::scope(|scope| {
            let _stop = StopOnDrop(&stop); // or the scope would wait for it, whatever failed
            let beside = scope.spawn(|| run(&load, &stop));
            let done = then()?;
            stop.trigger();
            let finished = beside.join().map_err(|_| RunError::Panicked)??;
            match finished.failure {
                Some(failure) => Err(LabError::Failed(failure)),
                None => Ok((finished.result, done)),
            }
        })
    }

    /// Waits.
    ///
    /// # Errors
    /// If somebody wants an end.
    pub fn pause(&self, length: Duration) -> Result<(), LabError> {
        let until = Instant::now() + length;
        while let Some(rest) = until.checked_duration_since(Instant::now())
            && !rest.is_zero()
        {
            self.check()?;
            thread::sleep(rest.min(LOOK_INTERVAL));
        }
        self.check()
    }

    /// What has to be doubted.
    pub fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps why a result may not be believed.
    fn doubted(&self, result: RunResult) -> RunResult {
        if !result.valid && !is_late_in_the_tail_alone(&result) {
            let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
            warnings.extend(result.warnings.first().cloned());
        }
        result
    }

    fn check(&self) -> Result<(), LabError> {
        if self.interrupt.is_triggered() { Err(LabError::Interrupted) } else { Ok(()) }
    }
}

/// Whether requests were sent late, but so few that no quantile of a lab knows of it: they look at
/// p90 and below, and at p99 where it is a second.
fn is_late_in_the_tail_alone(result: &RunResult) -> bool {
    let (lag, latency) = (&result.send_lag_us, &result.latency_us);
    let is_small = |lag: f64, latency: f64| lag <= LAG_US_MAX || lag <= LAG_PART * latency;
    let is_about_lag = result.warnings.first().is_some_and(|first| first.contains("sent late"));
    is_about_lag && is_small(lag.p50, latency.p50) && is_small(lag.p90, latency.p90)
}

struct StopOnDrop<'a>(&'a Interrupt);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

/// So many requests per second, at times that do not ask whether the server is ready, and as
/// irregular as those of many users.
pub fn open(rate_rps: f64) -> Schedule {
    Schedule::Open(Pace { rate: Rate::Fixed(rate_rps), arrivals: Arrivals::Poisson })
}

/// The same at even distances.
pub fn evenly(rate_rps: f64) -> Schedule {
    Schedule::Open(Pace::fixed(rate_rps))
}

/// So many requests under way on each connection; the next one waits for an answer.
pub fn closed(depth: usize) -> Schedule {
    Schedule::Closed { depth }
}

/// Ends after this.
pub fn after(milliseconds: u64) -> Stop {
    Stop::After(Duration::from_millis(milliseconds))
}

/// So many connections.
pub fn connections(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}
