//! One run: opens the connections, lets the load threads work, looks at the server at both edges
//! of the measured window, and makes the result.
//!
//! Schedule, transport and stop rule are independent: this file only puts them together.

use std::io;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::audit::audit;
use crate::background::{Background, BackgroundError};
use crate::connect::{ConnectError, connect_all};
use crate::cost::{CostError, Sample, machine_busy_s};
use crate::descriptors::{self, DescriptorError};
use crate::plan::{Clock, Planner, Schedule, Stop, nanoseconds};
use crate::recorder::ErrorKind;
use crate::result::{ClientCost, Quantiles, RUN_SCHEMA, RunResult, Settings};
use crate::share::{Interrupt, Report, Share};
use crate::target::{Protocol, Target};
use crate::template::Templates;
use crate::work::Mix;
use crate::{framed, grpc};

/// How often the main thread looks whether the warm-up is over early.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// A run, as it was asked for and checked.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Where to.
    pub target: Target,
    /// How many connections; at least one.
    pub connections: NonZeroUsize,
    /// How many load threads at the most.
    pub threads: NonZeroUsize,
    /// When a request is sent.
    pub schedule: Schedule,
    /// When no more are planned.
    pub stop: Stop,
    /// How long the first requests do not count.
    pub warmup: Duration,
    /// What the requests ask for.
    pub mix: Mix,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Decides payloads and the mix.
    pub seed: u64,
    /// Whose costs to measure.
    pub server_pid: Option<i32>,
    /// Silent connections beside those of the load.
    pub background_idle: usize,
    /// Clients beside the load that ask for much and read it slowly.
    pub slow_readers: usize,
}

/// What a run found, and what went wrong in it.
#[derive(Debug)]
pub struct Finished {
    /// The figures; partial ones where something went wrong.
    pub result: RunResult,
    /// One line that names what broke, where, and what to do.
    pub failure: Option<String>,
}

/// Why a run gave no figures at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process of `--server-pid` cannot be looked at.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// There are more connections than this process may have open files.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// The system refused a thread, or epoll.
    #[error("cannot run the load threads: {0}")]
    System(#[from] io::Error),
    /// A load thread panicked: a bug of this program.
    #[error("a load thread panicked; please report this")]
    Panicked,
}

/// What keeps the connections open until the server was looked at.
enum Held {
    Streams(#[allow(dead_code)] Vec<TcpStream>), // held, not read
    Runtime(#[allow(dead_code)] grpc::Connections),
}

/// Carries a run out. It blocks until all requests are settled: at the most the timeout longer
/// than planned, or about a second once `interrupt` is triggered.
///
/// # Errors
/// Where nothing could be measured. A server that fails is no error: see [`Finished::failure`].
pub fn run(config: &RunConfig, interrupt: &Interrupt) -> Result<Finished, RunError> {
    let count = config.connections.get();
    descriptors::check(count + config.background_idle + config.slow_readers)?;
    let background = match background(config) {
        Ok(background) => background,
        Err(BackgroundError::Connect(error)) => return Ok(unreachable(config, &error)),
        Err(BackgroundError::System(error)) => return Err(error.into()),
    };
    let mut before = Edge::look(config.server_pid)?;
    let streams = match connect_all(config.target.address, count, config.timeout) {
        Ok(streams) => streams,
        Err(error) => return Ok(unreachable(config, &error)),
    };
    let threads = config.threads.get().min(count);
    let clock = Clock::start();
    let (done, reports) = mpsc::channel();
    let mut release = Vec::new();
    let mut workers = Vec::new();
    for (number, streams) in divide(streams, threads).into_iter().enumerate() {
        let share = share(config, clock, interrupt, (number, threads));
        let (released, wait_for_release) = mpsc::channel::<()>();
        release.push(released);
        let done = done.clone();
        let work = move || {
            let (report, held) = match drive(share, streams) {
                Ok((report, held)) => (Ok(report), Some(held)),
                Err(error) => (Err(error), None),
            };
            // Nobody listens only where the run was given up.
            let _ = done.send(report);
            let _ = wait_for_release.recv();
            drop(held);
        };
        workers.push(thread::Builder::new().name(format!("load-{number}")).spawn(work)?);
    }
    drop(done); // so that a thread that panicked is noticed
    let mut report = Report::default();
    let mut left = threads;
    wait_until(clock, config.warmup, &reports, (&mut report, &mut left))?;
    if left == threads && !config.warmup.is_zero() {
        before = Edge::look(config.server_pid)?;
    }
    for _ in 0..left {
        report.merge(reports.recv().map_err(|_| RunError::Panicked)??);
    }
    let after = Edge::look(config.server_pid).ok();
    drop(release);
    for worker in workers {
        worker.join().map_err(|_| RunError::Panicked)?;
    }
    let mut finished = finish(config, &report, (threads, clock), (&before, after.as_ref()));
    finished.result.background = background.map(Background::finish);
    if let Some(warning) = finished.result.background.and_then(|background| background.warning()) {
        finished.result.warnings.push(warning);
    }
    Ok(finished)
}

/// What else the server has to bear, where anything was asked for. It is there before the load's
/// connections are, and after them.
fn background(config: &RunConfig) -> Result<Option<Background>, BackgroundError> {
    let RunConfig { target, background_idle, slow_readers, timeout, .. } = config;
    let any = background_idle + slow_readers > 0;
    any.then(|| Background::open(*target, *background_idle, *slow_readers, *timeout)).transpose()
}

fn drive(share: Share, streams: Vec<TcpStream>) -> io::Result<(Report, Held)> {
    match share.target.protocol {
        Protocol::Framed | Protocol::Raw => {
            framed::drive(share, streams).map(|(report, streams)| (report, Held::Streams(streams)))
        }
        Protocol::Grpc => {
            grpc::drive(share, streams).map(|(report, open)| (report, Held::Runtime(open)))
        }
    }
}

fn share(config: &RunConfig, clock: Clock, interrupt: &Interrupt, of: (usize, usize)) -> Share {
    let RunConfig { target, schedule, stop, warmup, mix, seed, timeout, .. } = config;
    Share {
        target: *target,
        planner: Planner::new(schedule.clone(), *stop, *warmup, (mix, *seed), of),
        templates: Arc::new(Templates::new(mix, *seed, target.protocol)),
        clock,
        timeout_ns: nanoseconds(*timeout),
        interrupt: interrupt.clone(),
    }
}

/// Deals the connections out to the threads, so that their numbers differ by one at the most.
fn divide(streams: Vec<TcpStream>, threads: usize) -> Vec<Vec<TcpStream>> {
    let mut hands: Vec<Vec<TcpStream>> = (0..threads).map(|_| Vec::new()).collect();
    for (at, stream) in streams.into_iter().enumerate() {
        hands[at % threads].push(stream);
    }
    hands
}

/// Returns at the end of the warm-up, or when all threads ended before.
fn wait_until(
    clock: Clock,
    warmup: Duration,
    reports: &mpsc::Receiver<io::Result<Report>>,
    (report, left): (&mut Report, &mut usize),
) -> Result<(), RunError> {
    while *left > 0 && clock.now_ns() < nanoseconds(warmup) {
        let rest = nanoseconds(warmup).saturating_sub(clock.now_ns());
        match reports.recv_timeout(Duration::from_nanos(rest).min(WATCH_INTERVAL)) {
            Ok(one) => {
                report.merge(one?);
                *left -= 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(RunError::Panicked),
        }
    }
    Ok(())
}

/// What is known of the server and the machine at an edge of the measured window.
struct Edge {
    server: Option<Sample>,
    machine_busy_s: f64,
    at: std::time::Instant,
}

impl Edge {
    fn look(pid: Option<i32>) -> Result<Self, CostError> {
        Ok(Self {
            server: pid.map(Sample::of).transpose()?,
            machine_busy_s: machine_busy_s().unwrap_or(0.0),
            at: std::time::Instant::now(),
        })
    }
}

fn finish(
    config: &RunConfig,
    report: &Report,
    (threads, clock): (usize, Clock),
    (before, after): (&Edge, Option<&Edge>),
) -> Finished {
    let recorder = &report.recorder;
    let measure_from_ns = nanoseconds(config.warmup);
    let window_ns = recorder.settled_last_ns().saturating_sub(measure_from_ns);
    let measured_ns = match config.stop {
        // What was asked for, where the run did not end before.
        Stop::After(duration) if clock.now_ns() >= measure_from_ns + nanoseconds(duration) => {
            window_ns.max(nanoseconds(duration))
        }
        _ => window_ns,
    };
    let elapsed_s = measured_ns as f64 / 1e9;
    let settled = recorder.planned() - recorder.never_sent();
    let each = |total: f64| if settled == 0 { 0.0 } else { total / settled as f64 };
    let meter = &report.meter;
    let others_busy_cores = after.map_or(0.0, |after| {
        let wall_s = after.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let busy_s = after.machine_busy_s - before.machine_busy_s - meter.cpu_ns as f64 / 1e9;
        (busy_s / wall_s).max(0.0)
    });
    let server = match (&before.server, after.and_then(|after| after.server.as_ref())) {
        (Some(before), Some(after)) => Some(after.cost_since(before, settled)),
        _ => None,
    };
    let throughput_rps = if measured_ns == 0 { 0.0 } else { recorder.right() as f64 / elapsed_s };
    let mut result = RunResult {
        planned: recorder.planned(),
        ok: recorder.right(),
        errors: recorder.errors().iter().map(|(kind, n)| (kind.name().into_owned(), *n)).collect(),
        timed_out: recorder.late(),
        unsent: recorder.never_sent(),
        elapsed_s,
        throughput_rps,
        latency_us: Quantiles::of(&recorder.latency()),
        service_us: Quantiles::of(&recorder.service()),
        send_lag_us: Quantiles::of(&recorder.send_lag()),
        server,
        client: ClientCost {
            cpu_us_per_request: each(meter.cpu_ns as f64 / 1e3),
            busy: if meter.wall_ns == 0 { 0.0 } else { meter.cpu_ns as f64 / meter.wall_ns as f64 },
            threads,
            stall_max_us: meter.stall_ns_max as f64 / 1e3,
            others_busy_cores,
        },
        ..empty(config)
    };
    audit(&mut result);
    let failure = failure(config, report);
    result.valid &= failure.is_none();
    result.warnings.splice(0..0, failure.iter().cloned());
    Finished { result, failure }
}

fn failure(config: &RunConfig, report: &Report) -> Option<String> {
    let recorder = &report.recorder;
    match (&report.failure, report.broken) {
        (Some(text), 0) => Some(text.clone()),
        (Some(text), broken) => {
            Some(format!("{broken} of {} connections failed: {text}", config.connections))
        }
        (None, _)
            if recorder.right() == 0
                && !recorder.errors().contains_key(&ErrorKind::Interrupted) =>
        {
            Some(format!(
                "{} gave no right answer to {} requests, {} of them timed out; \
             is this its protocol, and is --timeout long enough?",
                config.target,
                recorder.planned(),
                recorder.late()
            ))
        }
        (None, _) => None,
    }
}

/// No connection, no figures: but the first request was planned, and it failed.
fn unreachable(config: &RunConfig, error: &ConnectError) -> Finished {
    let errors = [(ErrorKind::Connect.name().into_owned(), 1)].into();
    let mut result = RunResult { planned: 1, errors, ..empty(config) };
    audit(&mut result);
    result.warnings.insert(0, error.to_string());
    Finished { result, failure: Some(error.to_string()) }
}

fn empty(config: &RunConfig) -> RunResult {
    let (depth, rate_rps) = match &config.schedule {
        Schedule::Closed { depth } => (Some(*depth), None),
        Schedule::Open(pace) => (None, Some(pace.rate.mean())),
    };
    RunResult {
        schema: RUN_SCHEMA.to_owned(),
        target: config.target.to_string(),
        planned: 0,
        ok: 0,
        errors: [].into(),
        timed_out: 0,
        unsent: 0,
        elapsed_s: 0.0,
        throughput_rps: 0.0,
        latency_us: Quantiles::default(),
        service_us: Quantiles::default(),
        send_lag_us: Quantiles::default(),
        server: None,
        client: ClientCost::default(),
        settings: Settings {
            connections: config.connections.get(),
            depth,
            rate_rps,
            work: config.mix.to_string(),
            warmup_s: config.warmup.as_secs_f64(),
            timeout_s: config.timeout.as_secs_f64(),
            seed: config.seed,
            agent: None,
        },
        windows: Vec::new(),
        steps: Vec::new(),
        histograms: None,
        background: None,
        environment: None,
        command: Vec::new(),
        valid: false,
        warnings: Vec::new(),
    }
}
