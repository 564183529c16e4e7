//! The comparison: every server and the floor, in every scenario, in interleaved blocks.
//!
//! A server is started anew for each block. That costs some tens of milliseconds, and it makes its
//! memory and threads those of this scenario: a server that lived on would carry the allocator's
//! high-water mark of whatever was measured before.

pub(crate) mod progress;
pub mod report;
pub mod scenario;
pub mod table;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use self::progress::Progress;
use self::report::{
    Block, COMPARE_SCHEMA, Comparison, Entry, Flags, Medians, ScenarioReport, ServerReport,
};
use self::scenario::{CAPACITY_SCENARIO, OPEN_LOOP_FRACTION, Scenario};
use crate::commands::compare::CompareArgs;
use crate::commands::value::threads_default;
use crate::environment::Environment;
use crate::memory;
use crate::plan::Stop;
use crate::process::{Contender, FLOOR, Launch, ProcessError, SERVERS, Server};
use crate::run::{RunConfig, RunError, run};
use crate::share::Interrupt;
use crate::verify;
use crate::work::scramble;

/// Blocks per scenario and server: medians need an odd number.
const BLOCKS: u64 = 5;
const BLOCKS_QUICK: u64 = 3;
/// How long a block is measured.
const BLOCK: Duration = Duration::from_secs(1);
const BLOCK_QUICK: Duration = Duration::from_millis(400);
/// How long the first requests of a block do not count: connections, caches and a server's
/// threads are there after it. A part of the block, between bounds.
const WARMUP_PART: u32 = 4;
const WARMUP_MAX: Duration = Duration::from_millis(300);
/// Longer than any work of the scenarios under any load that they make.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What others may use of the machine, in cores. More, and the block is thrown away: one busy core
/// costs a blocking server a factor of three.
const NOISE_CORES_MAX: f64 = 0.1;
/// Time comes in ticks of 10 ms, from three counters: a short block cannot say less than this.
const NOISE_ERROR_S: f64 = 0.03;
/// How often a block is measured again for noise, and how often over the whole comparison, so that
/// it ends on a machine that is never quiet.
const REPEATS_PER_BLOCK: u32 = 2;
const REPEATS_MAX: u32 = 20;

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
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

/// Compares, and gives what was measured, also when `interrupt` is triggered.
///
/// # Errors
/// If nothing can be measured: an unknown name, no binaries, no resources.
pub fn compare(args: &CompareArgs, interrupt: &Interrupt) -> Result<Comparison, CompareError> {
    let scenarios = scenario::choose(&args.scenarios, args.quick).map_err(|name| {
        let known = scenario::SCENARIOS.iter().map(|scenario| scenario.name);
        CompareError::Unknown { what: "scenario", name, known: list(known) }
    })?;
    let servers = choose_servers(&args.servers)?;
    build(args)?;
    let mut comparing = Comparing::new(args, interrupt, &scenarios, servers.len());
    let passed = comparing.gate(&servers)?;
    for scenario in &scenarios {
        comparing.scenario(scenario, &passed)?;
    }
    Ok(comparing.finish())
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The servers of these names, or all.
///
/// # Errors
/// A name that is none.
pub(crate) fn choose_servers(names: &[String]) -> Result<Vec<Contender>, CompareError> {
    let find = |name: &String| {
        SERVERS.into_iter().find(|server| server.name == name).ok_or_else(|| {
            let known = list(SERVERS.iter().map(|server| server.name));
            CompareError::Unknown { what: "server", name: name.clone(), known }
        })
    };
    if names.is_empty() { Ok(SERVERS.to_vec()) } else { names.iter().map(find).collect() }
}

/// Builds the servers where cargo started this program, so that they are those of the sources.
fn build(args: &CompareArgs) -> Result<(), CompareError> {
    let Some(cargo) = std::env::var_os("CARGO").filter(|_| args.bin_dir.is_none()) else {
        return Ok(());
    };
    eprintln!("building the servers");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "servers", "--bins"])
        .status()
        .map_err(|error| CompareError::Build(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(CompareError::Build(status.to_string())) }
}

/// A comparison under way.
struct Comparing<'a> {
    interrupt: &'a Interrupt,
    launch: Launch,
    block: Duration,
    warmup: Duration,
    progress: Progress,
    repeats_left: u32,
    result: Comparison,
}

impl<'a> Comparing<'a> {
    fn new(
        args: &CompareArgs,
        interrupt: &'a Interrupt,
        scenarios: &[Scenario],
        servers: usize,
    ) -> Self {
        let or_quick = |quick, full| if args.quick { quick } else { full };
        let blocks = args.blocks.unwrap_or(or_quick(BLOCKS_QUICK, BLOCKS));
        let block = args.block_duration.unwrap_or(if args.quick { BLOCK_QUICK } else { BLOCK });
        let warmup = (block / WARMUP_PART).min(WARMUP_MAX);
        let beside = std::env::current_exe().ok();
        let beside = beside.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
        let runs: usize =
            scenarios.iter().map(|scenario| servers + usize::from(scenario.has_floor())).sum();
        let flags = Flags {
            quick: args.quick,
            blocks,
            block_s: block.as_secs_f64(),
            warmup_s: warmup.as_secs_f64(),
            client_threads: threads_default().get(),
            server_workers: args.workers().get(),
            seed: args.seed,
        };
        Self {
            interrupt,
            launch: Launch {
                bin_dir: args.bin_dir.clone().unwrap_or_else(|| beside.to_owned()),
                workers: args.workers(),
            },
            block,
            warmup,
            progress: Progress::new(servers as u64 + runs as u64 * blocks),
            repeats_left: REPEATS_MAX,
            result: Comparison {
                schema: COMPARE_SCHEMA.to_owned(),
                environment: Environment::look(),
                flags,
                interrupted: false,
                servers: Vec::new(),
                scenarios: Vec::new(),
                warnings: Vec::new(),
            },
        }
    }

    /// Lets every server through the gate, or not, and measures what idle connections cost it.
    fn gate(&mut self, servers: &[Contender]) -> Result<Vec<Contender>, CompareError> {
        let mut passed = Vec::new();
        for contender in servers {
            if self.interrupt.is_triggered() {
                break;
            }
            self.progress.say(&format!("gate: {}", contender.name));
            let server = Server::start(*contender, &self.launch)?;
            let refused = verify::gate(server.target, self.interrupt).err();
            server.stop();
            let mut idle_connection_bytes = None;
            if refused.is_none() {
                idle_connection_bytes = memory::idle_connection_bytes(*contender, &self.launch)?;
                passed.push(*contender);
            }
            let name = contender.name.to_owned();
            self.result.servers.push(ServerReport { name, refused, idle_connection_bytes });
            self.progress.step();
        }
        Ok(passed)
    }

    fn scenario(&mut self, scenario: &Scenario, servers: &[Contender]) -> Result<(), CompareError> {
        if self.interrupt.is_triggered() || servers.is_empty() {
            return Ok(());
        }
        let rate_rps = scenario.depth.is_none().then(|| self.open_loop_rate());
        let title = scenario.title(rate_rps);
        self.progress.say(&title);
        let mut contenders = servers.to_vec();
        contenders.extend(scenario.has_floor().then_some(FLOOR));
        let mut blocks: Vec<Vec<Block>> = vec![Vec::new(); contenders.len()];
        for number in 0..self.result.flags.blocks {
            for at in order(contenders.len(), self.result.flags.seed, number) {
                if let Some(block) = self.block(scenario, contenders[at], rate_rps, number)? {
                    blocks[at].push(block);
                }
                self.progress.step();
            }
        }
        let floor = scenario.has_floor().then(|| blocks[contenders.len() - 1].clone());
        let entries: Vec<Entry> = contenders
            .iter()
            .zip(blocks)
            .map(|(contender, blocks)| Entry {
                server: contender.name.to_owned(),
                medians: Medians::of(&blocks, floor.as_deref()),
                blocks,
            })
            .collect();
        self.warn_of(scenario, &entries);
        self.result.scenarios.push(ScenarioReport {
            name: scenario.name.to_owned(),
            title,
            shows: scenario.shows.to_owned(),
            rate_rps,
            entries,
        });
        Ok(())
    }

    /// The same rate for all: a part of what the slowest can do.
    fn open_loop_rate(&self) -> f64 {
        let capacity = self
            .result
            .scenarios
            .iter()
            .filter(|scenario| scenario.name == CAPACITY_SCENARIO)
            .flat_map(|scenario| &scenario.entries)
            .map(|entry| entry.medians.throughput_rps)
            .fold(f64::INFINITY, f64::min);
        // A figure that people can read; at least one, where the slowest answers nothing.
        let hundreds = (capacity * OPEN_LOOP_FRACTION / 100.0).round();
        if hundreds.is_finite() { hundreds.max(1.0) * 100.0 } else { 100.0 }
    }

    /// One block, measured again while others disturb; nothing once interrupted.
    fn block(
        &mut self,
        scenario: &Scenario,
        contender: Contender,
        rate_rps: Option<f64>,
        number: u64,
    ) -> Result<Option<Block>, CompareError> {
        let mut repeats = REPEATS_PER_BLOCK;
        loop {
            if self.interrupt.is_triggered() {
                return Ok(None);
            }
            let block = self.measure(scenario, contender, rate_rps, number)?;
            if self.interrupt.is_triggered() {
                return Ok(None); // cut short: not comparable
            }
            if !block.noisy || repeats == 0 || self.repeats_left == 0 {
                return Ok(Some(block));
            }
            repeats -= 1;
            self.repeats_left -= 1;
        }
    }

    fn measure(
        &self,
        scenario: &Scenario,
        contender: Contender,
        rate_rps: Option<f64>,
        number: u64,
    ) -> Result<Block, CompareError> {
        let server = Server::start(contender, &self.launch)?;
        let config = RunConfig {
            connections: scenario.connections(),
            threads: threads_default(),
            schedule: scenario.schedule(rate_rps.unwrap_or(1.0)),
            stop: Stop::After(self.block),
            warmup: self.warmup,
            timeout: TIMEOUT,
            seed: self.result.flags.seed,
            server_pid: Some(server.pid()),
            ..RunConfig::new(server.target, scenario.mix())
        };
        let run = run(&config, self.interrupt)?.result;
        let calls = server
            .stats()
            .filter(|stats| stats.requests > 0)
            .map(|stats| (stats.reads + stats.writes + stats.waits) as f64 / stats.requests as f64);
        let window_s = run.elapsed_s.max(1e-3);
        let server_cores = run.server.map_or(0.0, |cost| cost.cpu_s / window_s);
        let noise_cores = (run.client.others_busy_cores - server_cores).max(0.0);
        Ok(Block {
            number,
            system_calls_per_request: calls,
            noise_cores,
            noisy: noise_cores > NOISE_CORES_MAX + NOISE_ERROR_S / window_s,
            run,
        })
    }

    /// What a reader of this scenario's table should know.
    fn warn_of(&mut self, scenario: &Scenario, entries: &[Entry]) {
        let blocks_that = |is: fn(&Block) -> bool| {
            let count = |entry: &Entry| match entry.blocks.iter().filter(|block| is(block)).count()
            {
                0 => None,
                count => Some(format!("{} {count}/{}", entry.server, entry.blocks.len())),
            };
            let counts: Vec<String> = entries.iter().filter_map(count).collect();
            (!counts.is_empty()).then(|| counts.join(", "))
        };
        let name = scenario.name;
        let warnings = &mut self.result.warnings;
        if let Some(counts) = blocks_that(|block| block.noisy) {
            warnings.push(format!("{name}: blocks in which other processes were busy: {counts}"));
        }
        if let Some(counts) = blocks_that(|block| !block.run.valid) {
            let all = || entries.iter().flat_map(|entry| &entry.blocks);
            let first = all().find(|block| !block.run.valid);
            let why = first.and_then(|block| block.run.warnings.first()).map_or("", String::as_str);
            warnings.push(format!("{name}: invalid blocks: {counts}; the first: {why}"));
        }
        if let Some(counts) = blocks_that(|block| block.run.ok < block.run.planned) {
            warnings.push(format!("{name}: blocks in which requests failed: {counts}"));
        }
    }

    fn finish(mut self) -> Comparison {
        self.result.interrupted = self.interrupt.is_triggered();
        if self.result.interrupted {
            self.result.warnings.push("interrupted: not all was measured".to_owned());
        }
        self.progress.clear();
        self.result
    }
}

/// In which order a block goes over the contenders: shuffled, and every second block in the
/// reverse of the one before, so that a drift of the machine falls on all alike.
fn order(count: usize, seed: u64, number: u64) -> Vec<usize> {
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
        let error = choose_servers(&["epol".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "there is no server `epol`; there are threads, pool, tasks, epoll, grpc");
    }
}
