//! What the five binaries share: settings, logs, signals, and one clear line for each thing that
//! can be wrong.

mod drain;
mod logs;
mod sources;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use common::config::{CONNECTIONS_MAX_DEFAULT, DRAIN_TIMEOUT_DEFAULT, Overload};
use common::frame::FRAME_BYTES_MAX_DEFAULT;
use common::stats::Snapshot;
use common::{Config, Service, Shutdown, Stats, Timeouts};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tracing::level_filters::LevelFilter;

use self::drain::{Drain, tell_supervisor, watch_signals};
use self::logs::LogFormat;
pub use self::sources::parse;
use crate::admin::{Admin, Readiness};
use crate::grpc::Switch;
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

    /// Where to answer /metrics, /healthz and /readyz over HTTP, in clear; nowhere unless given
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,

    /// Threads that carry the model out [default: one a core]; `threads` has no use for it
    #[arg(long, value_name = "N", value_parser = workers,
          default_value_t = Config::default().workers, hide_default_value = true)]
    workers: NonZeroUsize,

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

    /// How long SIGTERM or SIGINT lets new clients come after readiness has gone
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "0s")]
    drain_delay: humantime::Duration,

    /// What to log to standard error: off, error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value_t = LevelFilter::INFO)]
    log: LevelFilter,

    /// For people, or for programs: one object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    /// Whether to count allocations among what SIGUSR1 prints: for whoever asks what a request
    /// costs, at the price of an addition for each
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    count_allocations: Switch,

    /// A TOML file of settings, named as these flags; environment and flags go before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print the settings as they would be used, and where each is from, and exit
    #[arg(long)]
    print_config: bool,
}

fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let workers = text.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= WORKERS_MAX);
    workers.ok_or_else(|| format!("not a number from 1 to {WORKERS_MAX}"))
}

pub(crate) fn timeout(text: &str) -> Result<humantime::Duration, String> {
    let timeout: humantime::Duration = text.parse().map_err(|error| format!("{error}"))?;
    if *timeout > TIMEOUT_MAX {
        return Err(format!("above the limit of {}", humantime::format_duration(TIMEOUT_MAX)));
    }
    Ok(timeout)
}

/// A timeout that cannot be switched off.
pub(crate) fn some_time(text: &str) -> Result<humantime::Duration, String> {
    timeout(text).and_then(|timeout| match or_never(timeout) {
        Some(_) => Ok(timeout),
        None => Err("it must be some time".to_owned()),
    })
}

/// A timeout as people switch it off.
pub(crate) fn or_never(timeout: humantime::Duration) -> Option<Duration> {
    Some(*timeout).filter(|timeout| !timeout.is_zero())
}

impl CommonArgs {
    fn config(&self) -> Config {
        Config {
            workers: self.workers,
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
    main_with(model, args, adjust, |_| Ok(Prepared::new(model.serve)))
}

/// What a server serves with, once it is known that it can.
pub struct Prepared<'a> {
    serve: Serve<'a>,
    reload: Option<Reload>,
}

type Serve<'a> =
    Box<dyn FnOnce(TcpListener, Service, &Config, &Shutdown, &Stats) -> io::Result<()> + 'a>;
/// What is to be done on SIGHUP.
type Reload = Box<dyn Fn() + Send>;

impl<'a> Prepared<'a> {
    /// It serves so, and SIGHUP ends it.
    pub fn new(
        serve: impl FnOnce(TcpListener, Service, &Config, &Shutdown, &Stats) -> io::Result<()> + 'a,
    ) -> Self {
        Self { serve: Box::new(serve), reload: None }
    }

    /// It reads something again on SIGHUP.
    #[must_use]
    pub fn reloading(self, reload: impl Fn() + Send + 'static) -> Self {
        Self { reload: Some(Box::new(reload)), ..self }
    }
}

/// The same, where a server has more to prepare before it listens, and is told of readiness.
pub fn main_with<'a>(
    model: &Model,
    args: &CommonArgs,
    adjust: impl FnOnce(&mut Config),
    prepare: impl FnOnce(&Readiness) -> anyhow::Result<Prepared<'a>>,
) -> ExitCode {
    logs::init(args.log, args.log_format);
    if args.count_allocations == Switch::On {
        allocator::count();
    }
    let mut config = args.config();
    adjust(&mut config);
    let ready = Readiness::ready();
    match prepare(&ready).and_then(|prepared| run(model, args, &config, prepared, &ready)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    model: &Model,
    args: &CommonArgs,
    config: &Config,
    prepared: Prepared<'_>,
    ready: &Readiness,
) -> anyhow::Result<()> {
    let listener = listen(args.listen, "--listen")?;
    let admin = args.admin.map(|address| listen(address, "--admin")).transpose()?;
    raise_descriptor_limit(config.connections_max as u64);
    let shutdown = Shutdown::new();
    let stats = if admin.is_some() { Stats::with_latency() } else { Stats::new() };
    let delay = *args.drain_delay;
    let drain = Drain { ready: ready.clone(), delay, shutdown: shutdown.clone() };
    watch_signals(drain, &stats, prepared.reload)?;
    if let Some(admin) = admin {
        tracing::info!(address = %admin.local_addr()?, "admin");
        Admin::new(model.name, &stats, ready).start(admin)?;
    }
    let listening = format!("listening on {}", listener.local_addr()?);
    println!("{} {listening}", model.name);
    io::stdout().flush()?;
    tell_supervisor(&[NotifyState::Ready, NotifyState::Status(&listening)]);
    let served = (prepared.serve)(listener, Service::new(), config, &shutdown, &stats);
    print_stats(&stats);
    served.with_context(|| format!("{} stopped serving", model.name))
}

fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    listener::bind(address).with_context(|| {
        format!("cannot listen on {address}: free the port, or give another by {flag}")
    })
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
                allowed = raised,
                needed,
                "--max-connections needs more open files than are allowed: \
                 raise the limit (ulimit -n) or lower the flag"
            );
        }
    }
}

fn print_stats(stats: &Stats) {
    let counted = allocator::counted();
    let now = Snapshot {
        allocations: counted.map(|counted| counted.allocations),
        allocated_bytes: counted.map(|counted| counted.bytes),
        ..stats.snapshot()
    };
    match serde_json::to_string(&now) {
        Ok(json) => eprintln!("stats {json}"),
        Err(error) => tracing::error!(%error, "counters"),
    }
}
