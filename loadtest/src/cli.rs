//! The command line, parsed once into what the rest of the program takes.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::plan::{OUTSTANDING_MAX, Schedule, Stop};
use crate::run::RunConfig;
use crate::target::Target;
use crate::work::Mix;

/// More is beyond what a process may have as open files on common machines.
const CONNECTIONS_MAX: u64 = 100_000;
/// More load threads than any machine has cores: beyond, it is a slip of the finger.
const THREADS_MAX: u64 = 256;
/// A planned time must be distinct from the next in nanoseconds, with room to spare.
const RATE_MAX: f64 = 1e8;
/// The longest of any duration.
const DURATION_MAX: Duration = Duration::from_hours(24);
/// Where a run has no other end.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

/// Measures what each concurrency model costs, and checks every answer
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load one server and report
    Run(RunArgs),
    /// Start the servers, compare them with each other and with the floor, print the table
    Compare(CompareArgs),
    /// Serve the floor: echo bytes with no codec and no handler
    Floor(FloorArgs),
    /// Make the Markdown table of a result file again
    Table(TableArgs),
}

/// `loadtest run`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest run tcp://127.0.0.1:7004 -c 64 -d 10s\n  \
    loadtest run grpc://127.0.0.1:7005 -r 2000 --work echo:64=90,block:5ms=10\n  \
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
    /// whatever is outstanding (up to 100,000; more are `unsent`)
    #[arg(short, long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Closed loop: requests in flight per connection; over gRPC, streams per connection
    #[arg(short = 'p', long, default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=OUTSTANDING_MAX as u64))]
    pub depth: u64,
    /// How long the first requests do not count
    #[arg(short, long, value_parser = duration, default_value = "0s")]
    pub warmup: Duration,
    /// echo:BYTES, wait:DURATION, compute:ROUNDS, block:DURATION; or a mix with weights, as
    /// echo:64=90,block:5ms=10
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
    /// Decides payloads and the mix
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl RunArgs {
    /// The run that was asked for.
    pub fn config(&self) -> RunConfig {
        let schedule = match self.rate {
            Some(rate_per_s) => Schedule::Open { rate_per_s },
            None => Schedule::Closed { depth: at_least_one(self.depth).get() },
        };
        let stop = match self.requests {
            Some(count) => Stop::Count(count),
            None => Stop::After(self.duration.unwrap_or(DURATION_DEFAULT)),
        };
        RunConfig {
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
        }
    }
}

/// `loadtest floor`.
#[derive(Args, Debug)]
pub struct FloorArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub listen: SocketAddr,
    /// A blocking thread per connection, in place of one epoll loop
    #[arg(long)]
    pub threads: bool,
}

/// `loadtest table`.
#[derive(Args, Debug)]
pub struct TableArgs {
    /// A compare.json
    pub file: PathBuf,
}

/// `loadtest compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// The most telling scenarios only, in under a minute
    #[arg(long)]
    pub quick: bool,
    /// Only these, of threads, pool, tasks, epoll and grpc
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub servers: Vec<String>,
    /// Only these, by the names that the table shows
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub scenarios: Vec<String>,
    /// Blocks per scenario and server [default: 5; with --quick 3]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub blocks: Option<u64>,
    /// How long a block is measured [default: 1s; with --quick 400ms]
    #[arg(long, value_parser = positive)]
    pub block_duration: Option<Duration>,
    /// What each server gets as --workers [default: the cores that the load threads leave]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    pub workers: Option<u64>,
    /// Where compare.json and compare.md go
    #[arg(long, value_name = "DIR", default_value = "target/quintet")]
    pub output_dir: PathBuf,
    /// Where the server binaries are [default: where this program is]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Decides payloads, mixes and the order of the blocks
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl CompareArgs {
    /// A server with more threads than cores are left for it would fight the load tester for
    /// them, and the comparison would be one of the scheduler's moods.
    pub fn workers(&self) -> NonZeroUsize {
        self.workers.map_or_else(
            || {
                let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
                let left = cores.saturating_sub(threads_default().get());
                NonZeroUsize::new(left).unwrap_or(NonZeroUsize::MIN)
            },
            at_least_one,
        )
    }
}

/// Half of the cores, since the server needs the others.
pub fn threads_default() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN)
}

/// What a range has checked already.
fn at_least_one(value: u64) -> NonZeroUsize {
    usize::try_from(value).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= DURATION_MAX => Ok(duration),
        Ok(_) => Err("longer than 24 hours".to_owned()),
        Err(error) => Err(format!("{error} (write 500ms, 2s, 5m)")),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(rate),
        Ok(_) => Err(format!("must be above 0 and at most {RATE_MAX}")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    fn config(flags: &[&str]) -> Result<RunConfig, clap::Error> {
        let head = ["loadtest", "run", "tcp://127.0.0.1:7001"];
        match Cli::try_parse_from(head.iter().chain(flags))?.command {
            Command::Run(args) => Ok(args.config()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn schedule_and_stop_are_chosen_apart() {
        let open = config(&["-r", "2000", "-n", "10", "-p", "7"]).unwrap();
        assert_eq!(open.schedule, Schedule::Open { rate_per_s: 2000.0 });
        assert_eq!(open.stop, Stop::Count(10));
        let closed = config(&["-p", "7", "-d", "2s"]).unwrap();
        assert_eq!(closed.schedule, Schedule::Closed { depth: 7 });
        assert_eq!(closed.stop, Stop::After(Duration::from_secs(2)));
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
        ] {
            assert_eq!(config(flags).unwrap_err().exit_code(), 2, "{flags:?}");
        }
    }
}
