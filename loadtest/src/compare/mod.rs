//! The comparison: every server and the floor, in every scenario, in interleaved blocks.
//!
//! It pays for fairness with time: no server has a good moment of the machine to itself, and each
//! is started again for every block.

pub mod aa;
pub mod bench;
pub(crate) mod beside;
pub mod evaluate;
pub mod grid;
pub mod ledger;
pub(crate) mod progress;
pub mod report;
pub mod scenario;
pub mod table;

use std::time::Duration;

use self::bench::{Bench, BenchError, Load, Subject, choose_servers, list, order};
use self::evaluate::evaluate;
use self::progress::Progress;
use self::report::{Block, COMPARE_SCHEMA, Comparison, Entry, Flags, ScenarioReport, ServerReport};
use self::scenario::{CAPACITY_SCENARIO, OPEN_LOOP_FRACTION, Scenario};
use crate::commands::bench::command_line;
use crate::commands::compare::CompareArgs;
use crate::environment::Environment;
use crate::memory;
use crate::process::{Contender, FLOOR};
use crate::share::Interrupt;

/// Blocks per scenario and server: medians need an odd number, and fewer than 6 allow no verdict.
const BLOCKS: u64 = 7;
/// Enough for a look, and for no verdict.
const BLOCKS_QUICK: u64 = 3;
/// How long a block is measured.
const BLOCK: Duration = Duration::from_secs(1);
const BLOCK_QUICK: Duration = Duration::from_millis(400);
/// How long the first requests of a block do not count: connections, caches and a server's
/// threads are there after it. A part of the block, between bounds.
const WARMUP_PART: u32 = 4;
const WARMUP_MAX: Duration = Duration::from_millis(300);
/// Longer than any work of the scenarios under any load that they make.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the first requests of a block of this length do not count.
pub(crate) fn warmup_of(block: Duration) -> Duration {
    (block / WARMUP_PART).min(WARMUP_MAX)
}

/// Compares, and gives what was measured, also when `interrupt` is triggered. The open loops have
/// the rates of `before`, where there is such a comparison, so that the two can be compared.
///
/// # Errors
/// If nothing can be measured: an unknown name, no binaries, no resources.
pub fn compare(
    args: &CompareArgs,
    before: Option<&Comparison>,
    interrupt: &Interrupt,
) -> Result<Comparison, BenchError> {
    let scenarios = chosen_scenarios(&args.scenarios, args.quick)?;
    let servers = choose_servers(&args.bench.servers, false)?;
    let subjects: Vec<Subject> = servers.iter().copied().map(Subject::Started).collect();
    let bench = Bench::new(&args.bench, &subjects, interrupt)?;
    let mut comparing = Comparing::new(args, bench, &scenarios, servers.len());
    let passed = comparing.gate(&servers)?;
    for scenario in &scenarios {
        comparing.scenario(scenario, before, &passed)?;
    }
    Ok(comparing.finish())
}

/// The scenarios of these names, or of `--quick`, or all.
///
/// # Errors
/// A name that is none.
pub fn chosen_scenarios(names: &[String], quick: bool) -> Result<Vec<Scenario>, BenchError> {
    scenario::choose(names, quick).map_err(|name| {
        let known = list(scenario::SCENARIOS.iter().map(|scenario| scenario.name));
        BenchError::Unknown { what: "scenario", name, known }
    })
}

/// How this comparison is run.
pub fn flags(args: &CompareArgs) -> Flags {
    let or_quick = |quick, full| if args.quick { quick } else { full };
    let block = args.block_duration.unwrap_or(if args.quick { BLOCK_QUICK } else { BLOCK });
    Flags {
        quick: args.quick,
        blocks: args.blocks.unwrap_or(or_quick(BLOCKS_QUICK, BLOCKS)),
        block_s: block.as_secs_f64(),
        warmup_s: warmup_of(block).as_secs_f64(),
        client_threads: args.bench.threads().get(),
        server_workers: args.bench.launch().workers.get(),
        seed: args.bench.seed,
    }
}

/// A comparison under way.
struct Comparing<'a> {
    bench: Bench<'a>,
    progress: Progress,
    result: Comparison,
}

impl<'a> Comparing<'a> {
    fn new(args: &CompareArgs, bench: Bench<'a>, scenarios: &[Scenario], servers: usize) -> Self {
        let flags = flags(args);
        let runs: usize =
            scenarios.iter().map(|scenario| servers + usize::from(scenario.has_floor())).sum();
        let steps = (servers * (1 + scenarios.len())) as u64 + runs as u64 * flags.blocks;
        Self {
            bench,
            progress: Progress::new(steps),
            result: Comparison {
                schema: COMPARE_SCHEMA.to_owned(),
                environment: Environment::look(),
                command: command_line(),
                flags,
                interrupted: false,
                servers: Vec::new(),
                scenarios: Vec::new(),
                warnings: Vec::new(),
                baseline: None,
            },
        }
    }

    /// Lets every server through the gate, or not, and measures what idle connections cost it.
    fn gate(&mut self, servers: &[Contender]) -> Result<Vec<Contender>, BenchError> {
        let mut passed = Vec::new();
        for contender in servers {
            if self.bench.is_interrupted() {
                break;
            }
            self.progress.say(&format!("gate: {}", contender.name));
            let refused = self.bench.gate(*contender)?;
            let mut idle_connection_bytes = None;
            if refused.is_none() {
                idle_connection_bytes =
                    memory::idle_connection_bytes(*contender, self.bench.launch())?;
                passed.push(*contender);
            }
            let name = contender.name.to_owned();
            self.result.servers.push(ServerReport { name, refused, idle_connection_bytes });
            self.progress.step();
        }
        Ok(passed)
    }

    fn scenario(
        &mut self,
        scenario: &Scenario,
        before: Option<&Comparison>,
        servers: &[Contender],
    ) -> Result<(), BenchError> {
        if self.bench.is_interrupted() || servers.is_empty() {
            return Ok(());
        }
        let rate_before = before.and_then(|before| {
            before.scenarios.iter().find(|one| one.name == scenario.name)?.rate_rps
        });
        let rate = || rate_before.unwrap_or_else(|| self.open_loop_rate());
        let rate_rps = scenario.depth.is_none().then(rate);
        let title = scenario.title(rate_rps);
        self.progress.say(&title);
        let mut contenders = servers.to_vec();
        contenders.extend(scenario.has_floor().then_some(FLOOR));
        let load = self.load(scenario, rate_rps);
        let mut blocks: Vec<Vec<Block>> = vec![Vec::new(); contenders.len()];
        for number in 0..self.result.flags.blocks {
            for at in order(contenders.len(), self.result.flags.seed, number) {
                let subject = Subject::Started(contenders[at]);
                let measured = self.bench.block(&subject, &load, number)?;
                blocks[at].extend(measured.map(|measured| measured.block));
                self.progress.step();
            }
        }
        let names = contenders.iter().map(|contender| contender.name.to_owned());
        let mut entries: Vec<Entry> =
            names.zip(blocks).map(|(name, blocks)| Entry::new(name, blocks)).collect();
        for (entry, contender) in entries.iter_mut().zip(&contenders) {
            entry.ledger = self.bench.ledger(*contender, &load)?;
            self.progress.step();
        }
        // Now, since the open loop needs what the closed one was capable of.
        evaluate(&mut entries, rate_rps.is_some());
        self.result.scenarios.push(ScenarioReport {
            name: scenario.name.to_owned(),
            title,
            shows: scenario.shows.to_owned(),
            rate_rps,
            entries,
        });
        Ok(())
    }

    fn load(&self, scenario: &Scenario, rate_rps: Option<f64>) -> Load {
        let flags = &self.result.flags;
        Load {
            connections: scenario.connections(),
            schedule: scenario.schedule(rate_rps.unwrap_or(1.0)),
            mix: scenario.mix(),
            idle: 0,
            requests_per_connection: None,
            measured: Duration::from_secs_f64(flags.block_s),
            warmup: Duration::from_secs_f64(flags.warmup_s),
            timeout: TIMEOUT,
            seed: flags.seed,
            server_core: None,
        }
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

    fn finish(mut self) -> Comparison {
        self.result.interrupted = self.bench.is_interrupted();
        self.result.evaluate();
        self.progress.clear();
        self.result
    }
}
