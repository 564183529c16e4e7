//! One block: a load on a server that was started for it, measured again while others disturb.
//!
//! A server is started anew for each block. That costs some tens of milliseconds, and it makes its
//! memory and threads those of this load: a server that lived on would carry the allocator's
//! high-water mark of whatever was measured before.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::report::Block;
use crate::commands::bench::BenchArgs;
use crate::cores::OnCore;
use crate::plan::{Schedule, Stop};
use crate::process::{Contender, FLOOR, Launch, ProcessError, SERVERS, Server};
use crate::result::RunResult;
use crate::run::{RunConfig, RunError, run};
use crate::share::Interrupt;
use crate::target::{Protocol, Target};
use crate::verify;
use crate::work::{Mix, scramble};

/// What others may use of the machine, in cores. More, and the block is thrown away: one busy core
/// costs a blocking server a factor of three.
const NOISE_CORES_MAX: f64 = 0.1;
/// Time comes in ticks of 10 ms, from three counters: a short block cannot say less than this.
const NOISE_ERROR_S: f64 = 0.03;
/// How often a block is measured again, and how often over the whole experiment, so that it ends
/// on a machine that is never quiet.
const REPEATS_PER_BLOCK: u32 = 2;
const REPEATS_MAX: u32 = 20;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A name that is none.
    #[error("there is no {what} `{name}`; there are {known}")]
    Unknown {
        /// Server or scenario.
        what: &'static str,
        /// The name.
        name: String,
        /// Those that are.
        known: String,
    },
    /// The servers do not build.
    #[error("building the servers failed: {0}")]
    Build(String),
    /// A server does not run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A run does not run.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Who is measured.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// A server that is started for each block.
    Started(Contender),
    /// One that runs already, and its process, where it is on this machine.
    Running(Target, Option<i32>),
}

impl Subject {
    /// What its row is called.
    pub fn name(&self) -> String {
        match self {
            Self::Started(contender) => contender.name.to_owned(),
            Self::Running(target, _) => target.to_string(),
        }
    }

    /// Whether its process is known, and so its costs and the noise of others.
    pub fn has_process(&self) -> bool {
        !matches!(self, Self::Running(_, None))
    }
}

/// What a block does.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections.
    pub connections: NonZeroUsize,
    /// When a request is sent.
    pub schedule: Schedule,
    /// What the requests ask for.
    pub mix: Mix,
    /// Connections beside those, on which nothing happens.
    pub idle: usize,
    /// How many requests a connection carries before it is closed and opened anew.
    pub requests_per_connection: Option<NonZeroU64>,
    /// How long it is measured.
    pub measured: Duration,
    /// How long the first requests do not count.
    pub warmup: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Decides payloads and the mix.
    pub seed: u64,
    /// The core that a started server has to itself, where it is to have only one.
    pub server_core: Option<usize>,
}

/// A block, and what went wrong in it on the server's side.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The block.
    pub block: Block,
    /// One line, where the server failed.
    pub failure: Option<String>,
}

/// Measures blocks, one at a time.
#[derive(Debug)]
pub struct Bench<'a> {
    interrupt: &'a Interrupt,
    launch: Launch,
    threads: NonZeroUsize,
    repeats_left: u32,
}

impl<'a> Bench<'a> {
    /// As the command line says. Builds the servers that it will start first, where cargo started
    /// this program, so that they are those of the sources.
    ///
    /// # Errors
    /// If they do not build.
    pub fn new(
        args: &BenchArgs,
        subjects: &[Subject],
        interrupt: &'a Interrupt,
    ) -> Result<Self, BenchError> {
        // The floor is this very program.
        let is_built = |subject: &Subject| match subject {
            Subject::Started(contender) => contender.protocol != Protocol::Raw,
            Subject::Running(..) => false,
        };
        if subjects.iter().any(is_built) {
            build_servers(args.bin_dir.as_deref())?;
        }
        let (launch, threads) = (args.launch(), args.threads());
        Ok(Self { interrupt, launch, threads, repeats_left: REPEATS_MAX })
    }

    /// Whether somebody wants it to end.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_triggered()
    }

    /// What ends a run early.
    pub(super) fn interrupt(&self) -> &Interrupt {
        self.interrupt
    }

    /// How servers are started here.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Why the server is not to be measured; nothing where it passes the gate.
    ///
    /// # Errors
    /// If it does not start.
    pub fn gate(&self, contender: Contender) -> Result<Option<String>, BenchError> {
        let server = Server::start(contender, &self.launch)?;
        let refused = verify::gate(server.target, self.interrupt).err();
        server.stop();
        Ok(refused)
    }

    /// One block, measured again while others disturb; nothing once interrupted.
    ///
    /// # Errors
    /// If nothing can be measured.
    pub fn block(
        &mut self,
        subject: &Subject,
        load: &Load,
        number: u64,
    ) -> Result<Option<Measured>, BenchError> {
        let mut repeats = REPEATS_PER_BLOCK;
        loop {
            if self.is_interrupted() {
                return Ok(None);
            }
            let measured = self.measure(subject, load, number)?;
            if self.is_interrupted() {
                return Ok(None); // cut short: not comparable
            }
            // A tester that came to send nothing has nothing to say of the server either.
            let is_testers = measured.failure.is_none() || measured.block.run.planned == 0;
            let is_disturbed = is_testers && !measured.block.is_trusted();
            if !is_disturbed || repeats == 0 || self.repeats_left == 0 {
                return Ok(Some(measured));
            }
            repeats -= 1;
            self.repeats_left -= 1;
        }
    }

    /// One run of this load.
    pub(super) fn config(&self, load: &Load, target: Target, server_pid: Option<i32>) -> RunConfig {
        RunConfig {
            connections: load.connections,
            threads: self.threads,
            schedule: load.schedule.clone(),
            stop: Stop::After(load.measured),
            warmup: load.warmup,
            timeout: load.timeout,
            seed: load.seed,
            server_pid,
            background_idle: load.idle,
            requests_per_connection: load.requests_per_connection,
            ..RunConfig::new(target, load.mix.clone())
        }
    }

    fn measure(&self, subject: &Subject, load: &Load, number: u64) -> Result<Measured, BenchError> {
        let (server, target, server_pid) = match *subject {
            Subject::Started(contender) => {
                let on_its_core = load.server_core.map(OnCore::begin);
                let server = Server::start(contender, &self.launch)?;
                drop(on_its_core);
                let (target, pid) = (server.target, server.pid());
                (Some(server), target, Some(pid))
            }
            Subject::Running(target, pid) => (None, target, pid),
        };
        let finished = run(&self.config(load, target, server_pid), self.interrupt)?;
        let run = without_detail(finished.result);
        let calls = server
            .and_then(|server| server.stats())
            .filter(|stats| stats.requests > 0)
            .map(|stats| (stats.reads + stats.writes + stats.waits) as f64 / stats.requests as f64);
        let window_s = run.elapsed_s.max(1e-3);
        // Of a server whose process is not known, nobody can say what it used and what others did.
        let noise = |cost: crate::cost::ServerCost| {
            (run.client.others_busy_cores - cost.cpu_s / window_s).max(0.0)
        };
        let noise_cores = run.server.map_or(0.0, noise);
        let block = Block {
            number,
            system_calls_per_request: calls,
            noise_cores,
            noisy: noise_cores > NOISE_CORES_MAX + NOISE_ERROR_S / window_s,
            run,
        };
        Ok(Measured { block, failure: finished.failure })
    }
}

/// What a block of many keeps of its run: of closed loops, whose tails say little, the quantiles
/// are enough.
fn without_detail(mut run: RunResult) -> RunResult {
    run.windows.clear();
    if run.settings.rate_rps.is_none() {
        run.histograms = None;
    }
    run
}

/// Builds the servers where cargo started this program and nobody said where they are, so that those
/// which are measured are those of the sources.
///
/// # Errors
/// If they do not build.
pub fn build_servers(bin_dir: Option<&Path>) -> Result<(), BenchError> {
    let Some(cargo) = std::env::var_os("CARGO").filter(|_| bin_dir.is_none()) else {
        return Ok(());
    };
    eprintln!("building the servers");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "servers", "--bins"])
        .status()
        .map_err(|error| BenchError::Build(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(BenchError::Build(status.to_string())) }
}

/// The servers of these names, or all; where it `may_be_floor`, that is a name too.
///
/// # Errors
/// A name that is none.
pub fn choose_servers(names: &[String], may_be_floor: bool) -> Result<Vec<Contender>, BenchError> {
    let floor = may_be_floor.then_some(FLOOR);
    let known: Vec<Contender> = SERVERS.into_iter().chain(floor).collect();
    let find = |name: &String| {
        known.iter().find(|server| server.name == name).copied().ok_or_else(|| {
            let known = list(known.iter().map(|server| server.name));
            BenchError::Unknown { what: "server", name: name.clone(), known }
        })
    };
    if names.is_empty() { Ok(SERVERS.to_vec()) } else { names.iter().map(find).collect() }
}

pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// In which order a block goes over so many: shuffled, and every second block in the reverse of
/// the one before, so that a drift of the machine falls on all alike.
pub fn order(count: usize, seed: u64, number: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let random = scramble(seed ^ scramble(number / 2) ^ scramble(last as u64));
        order.swap(last, usize::try_from(random % (last as u64 + 1)).unwrap_or(0));
    }
    if number % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_shuffled_and_mirrored() {
        let mut first = order(6, 1, 0);
        let second: Vec<usize> = order(6, 1, 1).into_iter().rev().collect();
        assert_eq!(first, second);
        assert_ne!(first, order(6, 1, 2));
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_unknown_server_is_named() {
        let error = choose_servers(&["epol".to_owned()], false).unwrap_err().to_string();
        assert_eq!(error, "there is no server `epol`; there are threads, pool, tasks, epoll, grpc");
        assert!(choose_servers(&["floor".to_owned()], false).is_err());
        assert_eq!(choose_servers(&["floor".to_owned()], true).unwrap(), [FLOOR]);
    }
}
