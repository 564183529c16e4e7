//! What the five binaries share: flags, logs, signals, and one clear line for each thing that can
//! be wrong.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches};
use common::config::{CONNECTIONS_MAX_DEFAULT, DRAIN_TIMEOUT_DEFAULT, Overload};
use common::frame::FRAME_BYTES_MAX_DEFAULT;
use common::{Config, Service, Shutdown, Stats, Timeouts};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing::level_filters::LevelFilter;

use crate::{Model, listener};

/// More threads than any machine has cores: beyond, it is a slip of the finger.
const WORKERS_MAX: usize = 1024;
/// What Linux can be told to allow as open files (`fs.nr_open`).
const CONNECTIONS_MAX: u64 = 1_048_576;
/// Room for every field of a request but a payload.
const FRAME_BYTES_MIN: u64 = 64;
/// Two thirds of what a length prefix could say; a larger message is a mistake.
const FRAME_BYTES_MAX: u64 = 1 << 30;
/// Longer than any supervisor waits for a drain, and than a network keeps an idle connection.
const TIMEOUT_MAX: Duration = Duration::from_hours(24);
/// Descriptors that are not connections: standard streams, listeners, epoll instances, logs.
const DESCRIPTORS_OF_OUR_OWN: u64 = 64;
/// What a shell calls usage errors.
const EXIT_USAGE: u8 = 2;

/// The flags that every server has.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,

    /// Threads that carry the model out [default: one a core]; `threads` has no use for it
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<NonZeroUsize>,

    /// Connections served at a time; one more is refused
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS_MAX_DEFAULT as u64,
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    max_connections: u64,

    /// Requests carried out at a time, but for those that take no time (pool: connections that wait
    /// for a worker; epoll: in equal shares of its loops) [default: as many as --max-connections]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    max_in_flight: Option<u64>,

    /// What becomes of one more: it waits for its turn, or it is told `RESOURCE_EXHAUSTED`
    #[arg(long, value_enum, default_value_t)]
    overload: Overload,

    /// The largest message taken from a peer, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = FRAME_BYTES_MAX_DEFAULT as u64,
          value_parser = clap::value_parser!(u64).range(FRAME_BYTES_MIN..=FRAME_BYTES_MAX))]
    max_frame: u64,

    /// Closes a connection on which no request comes for so long; 0s: never
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "5m")]
    idle_timeout: humantime::Duration,

    /// Closes one whose request is not whole so long after its first byte; 0s: never
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "30s")]
    read_timeout: humantime::Duration,

    /// Closes one that takes no byte of its replies for so long; 0s: never
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "30s")]
    write_timeout: humantime::Duration,

    /// How long SIGTERM or SIGINT lets the work in progress go on: 500ms, 2s, 5m
    #[arg(long, value_name = "DURATION", value_parser = timeout,
          default_value_t = DRAIN_TIMEOUT_DEFAULT.into())]
    drain_timeout: humantime::Duration,

    /// What to log to standard error: off, error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO)]
    log: LevelFilter,
}

/// A number of threads, as a flag gives it.
///
/// # Errors
/// A sentence, where it is none that a machine could want.
pub fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let workers = text.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= WORKERS_MAX);
    workers.ok_or_else(|| format!("not a number from 1 to {WORKERS_MAX}"))
}

fn timeout(text: &str) -> Result<humantime::Duration, String> {
    let timeout: humantime::Duration = text.parse().map_err(|error| format!("{error}"))?;
    if *timeout > TIMEOUT_MAX {
        return Err(format!("above the limit of {}", humantime::format_duration(TIMEOUT_MAX)));
    }
    Ok(timeout)
}

/// A timeout as people switch it off.
fn or_never(timeout: humantime::Duration) -> Option<Duration> {
    Some(*timeout).filter(|timeout| !timeout.is_zero())
}

/// Reads the command line of `model`'s binary; `A` flattens [`CommonArgs`]. Leaves the process
/// where the command line is wrong (one line, exit code 2) or asks for help.
pub fn parse<A: CommandFactory + FromArgMatches>(
    model: &Model,
    connections_max: Option<&'static str>,
) -> A {
    let command = A::command()
        .name(model.name)
        .mut_arg("listen", |listen| listen.default_value(model.listen).required(false))
        .mut_arg("max_connections", |arg| match connections_max {
            Some(default) => arg.default_value(default),
            None => arg,
        });
    let parsed = command.try_get_matches().and_then(|matches| A::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => {
            eprintln!("{} (see {} --help)", one_line(&error.to_string()), model.name);
            std::process::exit(EXIT_USAGE.into());
        }
    })
}

/// The first paragraph of clap's message: what is wrong, and what would be right.
fn one_line(message: &str) -> String {
    let paragraph = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    paragraph.collect::<Vec<_>>().join(" ")
}

impl CommonArgs {
    fn config(&self) -> Config {
        Config {
            workers: self.workers.unwrap_or(Config::default().workers),
            connections_max: to_usize(self.max_connections),
            in_flight_max: to_usize(self.max_in_flight.unwrap_or(self.max_connections)),
            overload: self.overload,
            frame_bytes_max: to_usize(self.max_frame),
            timeouts: Timeouts {
                idle: or_never(self.idle_timeout),
                read: or_never(self.read_timeout),
                write: or_never(self.write_timeout),
            },
            drain_timeout: *self.drain_timeout,
            ..Config::default()
        }
    }
}

fn to_usize(bounded: u64) -> usize {
    usize::try_from(bounded).expect("the flag's range fits")
}

/// Runs one server from its flags to its exit code; `adjust` puts the model's own knobs in.
pub fn main(model: &Model, args: &CommonArgs, adjust: impl FnOnce(&mut Config)) -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(args.log)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let mut config = args.config();
    adjust(&mut config);
    match run(model, args.listen, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(model: &Model, address: SocketAddr, config: &Config) -> anyhow::Result<()> {
    let listener = listener::bind(address).with_context(|| {
        format!("cannot listen on {address}: free the port, or give another by --listen")
    })?;
    raise_descriptor_limit(config.connections_max as u64);
    let (shutdown, stats) = (Shutdown::new(), Stats::new());
    watch_signals(&shutdown, &stats)?;
    println!("{} listening on {}", model.name, listener.local_addr()?);
    io::stdout().flush()?;
    let served = (model.serve)(listener, Service::new(), config, &shutdown, &stats);
    print_stats(&stats);
    served.with_context(|| format!("{} stopped serving", model.name))
}

/// Takes what the hard limit gives, and says so where it is less than the connections need.
fn raise_descriptor_limit(connections_max: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = connections_max + DESCRIPTORS_OF_OUR_OWN;
    if current.is_some_and(|current| current < needed) {
        let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
        if raised < needed {
            tracing::warn!(
                "only {raised} open files are allowed, --max-connections needs {needed}: \
                 raise the limit (ulimit -n) or lower the flag"
            );
        }
    }
}

/// SIGINT and SIGTERM drain, and the second of them ends the process at once; SIGUSR1 prints the
/// counters.
fn watch_signals(shutdown: &Shutdown, stats: &Stats) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    let (shutdown, stats) = (shutdown.clone(), stats.clone());
    let watch = move || {
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                print_stats(&stats);
            } else if shutdown.is_triggered() {
                eprintln!("second signal: exiting at once");
                std::process::exit(128 + signal);
            } else {
                tracing::info!("draining");
                shutdown.trigger();
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop)
}

fn print_stats(stats: &Stats) {
    match serde_json::to_string(&stats.snapshot()) {
        Ok(json) => eprintln!("stats {json}"),
        Err(error) => tracing::error!("counters: {error}"),
    }
}
