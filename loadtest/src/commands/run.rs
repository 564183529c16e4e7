//! `loadtest run`: one load on one server.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::merge::show;
use super::progress::Progress;
use super::value::{
    CONNECTIONS_MAX, RateFlag, THREADS_MAX, at_least_one, duration, positive, threads_default,
    wall_clock,
};
use super::{EXIT_INTERRUPTED, EXIT_USAGE, interrupt};
use crate::environment::Environment;
use crate::pace::{Arrivals, Pace};
use crate::plan::{OUTSTANDING_MAX, Schedule, Stop};
use crate::result::Agent;
use crate::run::{RunConfig, run_watched};
use crate::target::Target;
use crate::work::Mix;

/// Where a run has no other end.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest run tcp://127.0.0.1:7004 -c 64 -d 10s\n  \
    loadtest run grpc://127.0.0.1:7005 -r 2000 --work echo:64=90,block:5ms=10\n  \
    loadtest run tcp://127.0.0.1:7004 -r 1k:50k:5k -d 60s --arrivals poisson\n  \
    loadtest run tcp://127.0.0.1:7004 -r 20k --idle 5000 --slow-readers 50\n  \
    loadtest run tcp://127.0.0.1:7004 --requests-per-connection 1 --work echo:~512\n  \
    loadtest run tcp://127.0.0.1:7001 -p 16 --json - --server-pid $(pidof threads)")]
pub struct RunArgs {
    /// tcp://HOST:PORT (framed), grpc://HOST:PORT, or raw://HOST:PORT (the floor)
    pub url: Target,
    /// Connections
    #[arg(short, long, default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Load threads [default: half of the cores, for the server needs the others]
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    pub threads: Option<u64>,
    /// How long to measure [default: 10s]
    #[arg(short, long, value_parser = duration, conflicts_with = "requests")]
    pub duration: Option<Duration>,
    /// How many requests to measure, in place of a duration
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Open loop: requests per second over all connections, each sent at its planned time
    /// whatever is outstanding (up to 100,000; more are `unsent`). 2k; or a ramp, 1k..50k; or
    /// steps of equal length, 1k:50k:5k (from, to and by; shuffled) or 1k,20k,5k (as given)
    #[arg(short, long)]
    pub rate: Option<RateFlag>,
    /// How the planned times of an open loop lie around its rate
    #[arg(long, value_enum, default_value_t, requires = "rate")]
    pub arrivals: Arrivals,
    /// Run the steps of a rate in ascending order
    #[arg(long, requires = "rate")]
    pub no_shuffle: bool,
    /// Closed loop: requests in flight per connection; over gRPC, streams per connection
    #[arg(short = 'p', long, default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=OUTSTANDING_MAX as u64))]
    pub depth: u64,
    /// Open each connection anew after so many requests; the connect is in the latency of the
    /// next request on it
    #[arg(long, value_name = "N")]
    pub requests_per_connection: Option<NonZeroU64>,
    /// How long the first requests do not count
    #[arg(short, long, value_parser = duration, default_value = "0s")]
    pub warmup: Duration,
    /// echo:BYTES, wait:DURATION, compute:ROUNDS, block:DURATION, user:KEYS; or a mix with weights,
    /// as echo:64=90,block:5ms=10. Sizes may be distributed: echo:64..4096 evenly, echo:~512
    /// exponentially around that mean
    #[arg(long, default_value = "echo:64")]
    pub work: Mix,
    /// How long an answer may take, from the planned time on
    #[arg(long, value_parser = positive, default_value = "5s")]
    pub timeout: Duration,
    /// Write the result as JSON to a file, or with - to standard output in place of the summary
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure what this process pays
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub server_pid: Option<i32>,
    /// Connections beside those of the load that stay silent
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=CONNECTIONS_MAX))]
    pub idle: u64,
    /// Clients beside the load that ask for echoes of 64 KiB without end and read 40 KiB a second
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=CONNECTIONS_MAX))]
    pub slow_readers: u64,
    /// Decides payloads, the mix, Poisson arrivals and the order of steps
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Send only part K (from 0) of N of the schedule: N machines, started with the same other
    /// flags, make one load; `loadtest merge` makes one result of theirs
    #[arg(long, value_name = "K/N")]
    pub agent: Option<Agent>,
    /// Start then, by this machine's clock: 2026-01-31T12:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = wall_clock)]
    pub start_at: Option<SystemTime>,
}

impl RunArgs {
    /// The run that was asked for.
    ///
    /// # Errors
    /// In words, if two flags contradict each other.
    pub fn config(&self) -> Result<RunConfig, String> {
        let schedule = match &self.rate {
            Some(rate) => {
                let rate = rate.rate((!self.no_shuffle).then_some(self.seed));
                Schedule::Open(Pace { rate, arrivals: self.arrivals })
            }
            None => Schedule::Closed { depth: at_least_one(self.depth).get() },
        };
        let stop = match self.requests {
            Some(_) if self.rate.as_ref().is_some_and(|rate| !rate.is_fixed()) => {
                return Err("a rate that changes goes by time: give --duration in place of \
                            --requests"
                    .to_owned());
            }
            Some(count) => Stop::Count(count),
            None => Stop::After(self.duration.unwrap_or(DURATION_DEFAULT)),
        };
        Ok(RunConfig {
            target: self.url,
            connections: at_least_one(self.connections),
            threads: self.threads.map_or_else(threads_default, at_least_one),
            schedule,
            stop,
            warmup: self.warmup,
            mix: self.work.clone(),
            timeout: self.timeout,
            seed: self.seed,
            server_pid: self.server_pid,
            agent: self.agent,
            start_at: self.start_at,
            requests_per_connection: self.requests_per_connection,
            background_idle: usize::try_from(self.idle).unwrap_or(usize::MAX),
            slow_readers: usize::try_from(self.slow_readers).unwrap_or(usize::MAX),
        })
    }
}

pub(super) fn execute(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error} (see loadtest run --help)");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let interrupt = interrupt()?;
    let mut progress = Progress::new(&config);
    let watched = run_watched(&config, &interrupt, |standing| progress.show(standing));
    progress.clear();
    let mut finished = watched?;
    finished.result.environment = Some(Environment::look());
    finished.result.command = std::env::args().collect();
    show(&finished.result, finished.failure.as_deref(), args.json.as_deref())?;
    if let Some(failure) = &finished.failure {
        eprintln!("loadtest: {failure}");
    }
    Ok(if interrupt.is_triggered() {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if finished.failure.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Cli, Command};
    use clap::Parser;

    fn config(flags: &[&str]) -> Result<RunConfig, clap::Error> {
        let head = ["loadtest", "run", "tcp://127.0.0.1:7001"];
        match Cli::try_parse_from(head.iter().chain(flags))?.command {
            Command::Run(args) => Ok(args.config().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn schedule_and_stop_are_chosen_apart() {
        let open = config(&["-r", "2000", "-n", "10", "-p", "7"]).unwrap();
        assert_eq!(open.schedule, Schedule::Open(Pace::fixed(2000.0)));
        assert_eq!(open.stop, Stop::Count(10));
        let closed = config(&["-p", "7", "-d", "2s"]).unwrap();
        assert_eq!(closed.schedule, Schedule::Closed { depth: 7 });
        assert_eq!(closed.stop, Stop::After(Duration::from_secs(2)));
    }

    #[test]
    fn a_rate_that_changes_goes_by_time() {
        let head = ["loadtest", "run", "tcp://127.0.0.1:7001", "-n", "10", "-r"];
        for rate in ["1k..2k", "1k,2k", "1k:3k:1k"] {
            let Command::Run(args) = Cli::parse_from(head.iter().chain(&[rate])).command else {
                panic!();
            };
            assert!(args.config().unwrap_err().contains("--duration"), "{rate}");
        }
    }

    #[test]
    fn impossible_numbers_are_usage_errors() {
        for flags in [
            &["-c", "0"][..],
            &["-r", "0"],
            &["-r", "nan"],
            &["-p", "0"],
            &["-n", "0"],
            &["--timeout", "0s"],
            &["-d", "10"],
            &["-d", "1s", "-n", "1"],
            &["--work", "echo"],
            &["--arrivals", "poisson"],
            &["--agent", "2/2"],
            &["--start-at", "noon"],
        ] {
            assert_eq!(config(flags).unwrap_err().exit_code(), 2, "{flags:?}");
        }
    }
}
