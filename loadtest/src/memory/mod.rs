//! What a connection costs in memory, idle and active: the slope over several numbers of
//! connections, so that what a process has anyway cancels out.
//!
//! A server is started anew for each point, so that none carries the allocator's high-water mark of
//! another, and the points are as independent as the slope's interval takes them to be. A process
//! that somebody else started is measured in one go, upwards, because memory does not come back.

mod crowd;
pub mod result;
mod slope;
pub mod table;

use std::thread;
use std::time::Duration;

use common::stats::Snapshot;
use indicatif::ProgressBar;

use self::crowd::Crowd;
pub use self::crowd::{Activity, OUTSTANDING, Requests};
use self::result::{MEMORY_SCHEMA, MemoryResult, Point, ServerMemory, Slopes};
use self::slope::slope;
use crate::client::Patience;
use crate::cost::{CostError, Memory, kernel_slab_bytes, kernel_stack_bytes, kernel_tcp_bytes};
use crate::descriptors::{self, DescriptorError};
use crate::environment::Environment;
use crate::process::{Contender, Launch, ProcessError, Server};
use crate::share::Interrupt;
use crate::target::{Protocol, Target};
use crate::work::Kind;

/// Fewer counts make no line.
pub const COUNTS_MIN: usize = 3;

/// How often a server is looked at until nothing changes any more, ...
const SETTLE_INTERVAL: Duration = Duration::from_millis(20);
/// ... how many looks in a row must be the same, ...
const SETTLE_LOOKS: u32 = 4;
/// ... how often in a row it may leave the question for its counters without an answer before it
/// is taken for one that has none, ...
const UNHEARD_MAX: u32 = 2;
/// ... and how long all that may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections whose memory `compare` measures: it has five servers and little time.
const COUNTS_QUICK: [usize; 3] = [0, 500, 1_000];

/// Whose memory.
#[derive(Clone, Debug)]
pub enum Subjects {
    /// Servers that are started for it.
    Started(Vec<Contender>, Launch),
    /// A process that runs.
    Running {
        /// Where it listens.
        target: Target,
        /// Which it is.
        pid: i32,
    },
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// Whose memory.
    pub subjects: Subjects,
    /// Numbers of connections, ascending, at least [`COUNTS_MIN`] different ones.
    pub counts: Vec<usize>,
    /// How often each is measured; a process that runs already is measured once.
    pub repetitions: u32,
    /// What active connections ask before.
    pub requests: Requests,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A server does not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The process cannot be looked at.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// Too few descriptors here.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// No thread or no epoll to be had.
    #[error("cannot open connections: {0}")]
    System(#[from] std::io::Error),
}

/// Measures, and gives what there is also when `interrupt` is triggered.
///
/// # Errors
/// If a server does not start, or this process may not open as many files. A server that does not
/// come to hold the connections is no error: a warning says so.
pub fn measure(config: &MemoryConfig, interrupt: &Interrupt) -> Result<MemoryResult, MemoryError> {
    let most = config.counts.last().copied().unwrap_or(0);
    let (servers, warnings) = match &config.subjects {
        Subjects::Started(contenders, launch) => {
            descriptors::check(most)?;
            of_started(config, contenders, launch, interrupt)?
        }
        Subjects::Running { target, pid } => {
            // The idle ones stay open below the active ones.
            descriptors::check(2 * most)?;
            of_running(config, *target, *pid, interrupt)?
        }
    };
    let servers = servers.into_iter().map(|(server, points)| ServerMemory {
        server,
        idle: Slopes::of(&points, Activity::Idle),
        active: Slopes::of(&points, Activity::Active),
        points,
    });
    Ok(MemoryResult {
        schema: MEMORY_SCHEMA.to_owned(),
        environment: Environment::look(),
        command: std::env::args().collect(),
        counts: config.counts.clone(),
        servers: servers.collect(),
        warnings,
    })
}

/// Points by server, and warnings.
type Measured = (Vec<(String, Vec<Point>)>, Vec<String>);

/// What one server in one state is asked for.
fn kinds(protocol: Protocol) -> &'static [Activity] {
    match protocol {
        Protocol::Framed | Protocol::Grpc => &[Activity::Idle, Activity::Active],
        Protocol::Raw => &[Activity::Idle],
    }
}

/// A server for each point; the servers take turns, so that whatever the machine does falls on all.
fn of_started(
    config: &MemoryConfig,
    contenders: &[Contender],
    launch: &Launch,
    interrupt: &Interrupt,
) -> Result<Measured, MemoryError> {
    let named = |contender: &Contender| (contender.name.to_owned(), Vec::new());
    let mut servers: Vec<(String, Vec<Point>)> = contenders.iter().map(named).collect();
    let mut warnings = Vec::new();
    let rounds = u64::from(config.repetitions) * config.counts.len() as u64;
    let bar = ProgressBar::new(rounds * contenders.len() as u64); // none, where no terminal is
    for repetition in 0..config.repetitions {
        for count in &config.counts {
            if bar.is_hidden() {
                let round = repetition + 1;
                eprintln!("round {round} of {}: {count} connections", config.repetitions);
            }
            for (contender, (name, points)) in contenders.iter().zip(&mut servers) {
                for kind in kinds(contender.protocol) {
                    if interrupt.is_triggered() {
                        warnings.push("interrupted: not all was measured".to_owned());
                        return Ok((servers, warnings));
                    }
                    let server = Server::start(*contender, launch)?;
                    let mut crowd = Crowd::new(server.target, *kind, &config.requests)?;
                    match look(&mut crowd, *count, server.pid(), || server.stats()) {
                        Ok(point) => points.push(Point { repetition, ..point }),
                        Err(text) => warn(&mut warnings, name, *kind, *count, &text),
                    }
                    // Dropped before its connections, and so killed: a drain would wait for what
                    // is outstanding.
                    drop(server);
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok((servers, warnings))
}

/// One series upwards; the idle connections stay, so that the active ones are on top of them and
/// do not get their memory.
fn of_running(
    config: &MemoryConfig,
    target: Target,
    pid: i32,
    interrupt: &Interrupt,
) -> Result<Measured, MemoryError> {
    Memory::of(pid)?;
    let (name, mut points, mut warnings) = (target.to_string(), Vec::new(), Vec::new());
    let mut crowds = Vec::new();
    for kind in kinds(target.protocol) {
        let mut crowd = Crowd::new(target, *kind, &config.requests)?;
        for count in &config.counts {
            if interrupt.is_triggered() {
                warnings.push("interrupted: not all was measured".to_owned());
                break;
            }
            match look(&mut crowd, *count, pid, || None) {
                Ok(point) => points.push(point),
                Err(text) => {
                    warn(&mut warnings, &name, *kind, *count, &text);
                    break; // more would fail too
                }
            }
        }
        crowds.push(crowd);
    }
    Ok((vec![(name, points)], warnings))
}

fn warn(warnings: &mut Vec<String>, name: &str, kind: Activity, count: usize, text: &str) {
    let kind = match kind {
        Activity::Idle => "idle",
        Activity::Active => "active",
    };
    warnings.push(format!("{name}: {count} {kind} connections were not measured: {text}"));
}

/// Brings a crowd to `count` and looks at the process.
fn look(
    crowd: &mut Crowd,
    count: usize,
    pid: i32,
    stats: impl Fn() -> Option<Snapshot>,
) -> Result<Point, String> {
    crowd.grow(count)?;
    settle(pid, count, stats)?;
    let memory = Memory::of(pid).map_err(|error| error.to_string())?;
    crowd.check()?;
    Ok(Point {
        repetition: 0,
        connections: count,
        kind: crowd.activity(),
        rss_anon_bytes: memory.rss_anon_bytes,
        pss_bytes: memory.pss_bytes,
        kernel_bytes: kernel_tcp_bytes().unwrap_or(0),
        page_table_bytes: memory.page_table_bytes,
        kernel_stack_bytes: kernel_stack_bytes().unwrap_or(0),
        slab_bytes: kernel_slab_bytes().unwrap_or(0),
        threads: memory.threads,
    })
}

/// Waits until the server holds `count` connections, where it says how many it has, and until its
/// memory and its counters stand still.
fn settle(pid: i32, count: usize, stats: impl Fn() -> Option<Snapshot>) -> Result<(), String> {
    let patience = Patience::of(SETTLE_TIMEOUT);
    let (mut last, mut same, mut unheard) = (None, 0, 0);
    while same < SETTLE_LOOKS {
        if patience.is_over() {
            return Err(format!("it did not come to rest within {} s", SETTLE_TIMEOUT.as_secs()));
        }
        let said = if unheard < UNHEARD_MAX { stats() } else { None };
        unheard = if said.is_some() { 0 } else { unheard + 1 };
        let memory = Memory::of(pid).map_err(|error| error.to_string())?;
        let done = said.map(|said| (said.open, said.reads, said.requests, said.in_progress));
        let now = Some((memory.rss_anon_bytes, memory.threads, done));
        let all_there = said.is_none_or(|said| said.open >= count as u64);
        same = if all_there && now == last { same + 1 } else { 0 };
        last = now;
        thread::sleep(SETTLE_INTERVAL);
    }
    Ok(())
}

/// Growth of `RssAnon` per idle connection, in bytes, in the quickest way that is a slope; nothing
/// where the server does not come to hold them all.
///
/// # Errors
/// If the server does not start.
pub fn idle_connection_bytes(
    contender: Contender,
    launch: &Launch,
) -> Result<Option<f64>, ProcessError> {
    let nothing = Requests { work: Kind::Echo { bytes: 0 }, count: 0 };
    let mut points = Vec::new();
    for count in COUNTS_QUICK {
        let server = Server::start(contender, launch)?;
        let Ok(mut crowd) = Crowd::new(server.target, Activity::Idle, &nothing) else { break };
        let point = look(&mut crowd, count, server.pid(), || server.stats());
        points.extend(point.map(|point| (count as f64, point.rss_anon_bytes as f64)));
        drop(crowd);
        server.stop();
    }
    Ok(slope(&points).map(|slope| slope.estimate.max(0.0)))
}
