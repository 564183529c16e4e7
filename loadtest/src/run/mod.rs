//! One run: opens the connections, lets the load threads work, looks at the server at both edges
//! of the measured window, and makes the result.
//!
//! Schedule, transport and stop rule are independent: this file only puts them together.

mod outcome;

use std::io;
use std::net::TcpStream;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

pub use self::outcome::recorded;
use self::outcome::{finish, unreachable, window_length};
use crate::background::{Background, BackgroundError};
use crate::connect::connect_all;
use crate::cost::{CostError, Sample, machine_busy_s};
use crate::descriptors::{self, DescriptorError};
use crate::drive::drive;
use crate::live::{Live, Standing};
use crate::plan::{Clock, Planner, Schedule, Stop, nanoseconds};
use crate::recorder::Recorder;
use crate::result::{Agent, RunResult};
use crate::share::{Interrupt, Report, Share};
use crate::start::{Missed, wait_until};
use crate::target::Target;
use crate::template::Templates;
use crate::windows::Windows;
use crate::work::Mix;

/// How often the main thread looks how the run stands.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

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
    /// Which part of the schedule this machine sends; all of it, where there is none.
    pub agent: Option<Agent>,
    /// When the clock starts; at once, where nothing is said.
    pub start_at: Option<SystemTime>,
    /// How many requests a connection carries before it is closed and opened anew.
    pub requests_per_connection: Option<NonZeroU64>,
    /// Silent connections beside those of the load.
    pub background_idle: usize,
    /// Clients beside the load that ask for much and read it slowly.
    pub slow_readers: usize,
}

impl RunConfig {
    /// One connection, one thread, a closed loop of one request at a time, for ten seconds: what a
    /// caller has another wish for, it says.
    pub fn new(target: Target, mix: Mix) -> Self {
        Self {
            target,
            connections: NonZeroUsize::MIN,
            threads: NonZeroUsize::MIN,
            schedule: Schedule::Closed { depth: 1 },
            stop: Stop::After(Duration::from_secs(10)),
            warmup: Duration::ZERO,
            mix,
            timeout: Duration::from_secs(5),
            seed: 1,
            server_pid: None,
            agent: None,
            start_at: None,
            requests_per_connection: None,
            background_idle: 0,
            slow_readers: 0,
        }
    }
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
    /// The time at which it was to start is past.
    #[error(transparent)]
    Missed(#[from] Missed),
    /// A load thread panicked: a bug of this program.
    #[error("a load thread panicked; please report this")]
    Panicked,
}

/// Carries a run out. It blocks until all requests are settled: at the most the timeout longer
/// than planned, or about a second once `interrupt` is triggered.
///
/// # Errors
/// Where nothing could be measured. A server that fails is no error: see [`Finished::failure`].
pub fn run(config: &RunConfig, interrupt: &Interrupt) -> Result<Finished, RunError> {
    run_watched(config, interrupt, |_| {})
}

/// The same; `watch` is told several times a second how it stands.
///
/// # Errors
/// As [`run`].
pub fn run_watched(
    config: &RunConfig,
    interrupt: &Interrupt,
    mut watch: impl FnMut(Standing),
) -> Result<Finished, RunError> {
    Edge::look(config.server_pid)?; // a pid that is none is found before anything is opened
    let count = config.connections.get();
    descriptors::check(count + config.background_idle + config.slow_readers)?;
    // Before anything is opened: it may take a while, and a server has an idle timeout.
    let templates = Arc::new(Templates::new(&config.mix, config.seed, config.target.protocol));
    let background = match background(config) {
        Ok(background) => background,
        Err(BackgroundError::Connect(error)) => return Ok(unreachable(config, &error)),
        Err(BackgroundError::System(error)) => return Err(error.into()),
    };
    let streams = match connect_all(config.target.address, count, config.timeout) {
        Ok(streams) => streams,
        Err(error) => return Ok(unreachable(config, &error)),
    };
    let threads = config.threads.get().min(count);
    let clock = Clock::starting_at(wait_until(config.start_at, interrupt)?);
    let mut before = Edge::look(config.server_pid)?;
    let crew = Crew::start(config, interrupt, clock, (divide(streams, threads), &templates))?;
    let mut report = Report::default();
    let (mut left, mut is_warm) = (threads, config.warmup.is_zero());
    while left > 0 {
        let warmup_rest = nanoseconds(config.warmup).saturating_sub(clock.now_ns());
        let patience = if is_warm { WATCH_INTERVAL } else { Duration::from_nanos(warmup_rest) };
        match crew.reports.recv_timeout(patience.min(WATCH_INTERVAL)) {
            Ok(one) => {
                report.merge(one?);
                left -= 1;
            }
            Err(RecvTimeoutError::Timeout) => {
                watch(Standing::of(crew.live.iter().map(Arc::as_ref)));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(RunError::Panicked),
        }
        if !is_warm && left == threads && clock.now_ns() >= nanoseconds(config.warmup) {
            is_warm = true;
            before = Edge::look(config.server_pid)?;
        }
    }
    let after = Edge::look(config.server_pid).ok();
    crew.end()?;
    let how = (threads, clock, interrupt.is_triggered());
    let mut finished = finish(config, &report, how, (&before, after.as_ref()));
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

/// The load threads. Each keeps its connections open after its report, until the server was
/// looked at.
struct Crew {
    workers: Vec<JoinHandle<()>>,
    live: Vec<Arc<Live>>,
    reports: mpsc::Receiver<io::Result<Report>>,
    /// Dropped, it lets the threads go.
    release: Vec<mpsc::Sender<()>>,
}

impl Crew {
    fn start(
        config: &RunConfig,
        interrupt: &Interrupt,
        clock: Clock,
        (hands, templates): (Vec<Vec<TcpStream>>, &Arc<Templates>),
    ) -> io::Result<Self> {
        // Nobody but the threads keeps a sender, so that one that panicked is noticed.
        let (done, reports) = mpsc::channel();
        let mut crew = Self { workers: Vec::new(), live: Vec::new(), reports, release: Vec::new() };
        let threads = hands.len();
        for (number, streams) in hands.into_iter().enumerate() {
            let share = share(config, clock, interrupt, templates, (number, threads));
            crew.live.push(Arc::clone(&share.live));
            let (released, wait_for_release) = mpsc::channel::<()>();
            crew.release.push(released);
            let done = done.clone();
            let work = move || {
                let (report, streams) = match drive(share, streams) {
                    Ok((report, streams)) => (Ok(report), streams),
                    Err(error) => (Err(error), Vec::new()),
                };
                // Nobody listens only where the run was given up.
                let _ = done.send(report);
                let _ = wait_for_release.recv();
                drop(streams);
            };
            let worker = thread::Builder::new().name(format!("load-{number}")).spawn(work)?;
            crew.workers.push(worker);
        }
        Ok(crew)
    }

    fn end(self) -> Result<(), RunError> {
        drop(self.release);
        for worker in self.workers {
            worker.join().map_err(|_| RunError::Panicked)?;
        }
        Ok(())
    }
}

/// The part of one thread: among all threads of all machines, those of one machine are `of` apart,
/// so that a machine sends what is its own whatever the number of its threads.
fn share(
    config: &RunConfig,
    clock: Clock,
    interrupt: &Interrupt,
    templates: &Arc<Templates>,
    (thread, threads): (usize, usize),
) -> Share {
    let RunConfig { target, schedule, stop, warmup, mix, seed, timeout, agent, .. } = config;
    let Agent { number, of } = agent.unwrap_or(Agent { number: 0, of: 1 });
    let part = (number + of * thread, of * threads);
    let windows = Windows::new(nanoseconds(*warmup), window_length(schedule, *stop));
    Share {
        target: *target,
        planner: Planner::new(schedule.clone(), *stop, *warmup, (mix, *seed), part),
        templates: Arc::clone(templates),
        clock,
        timeout_ns: nanoseconds(*timeout),
        interrupt: interrupt.clone(),
        recorder: Recorder::new(windows),
        live: Arc::default(),
        requests_per_connection: config.requests_per_connection,
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
