//! `loadtest bars`, `loadtest knobs` and `loadtest crossovers`: contenders side by side, for one question
//! each.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::bench::{BenchArgs, command_line};
use super::table::insert;
use super::value::positive;
use super::{EXIT_INTERRUPTED, EXIT_USAGE, compare, interrupt};
use crate::compare::bench::{Bench, BenchError, Subject};
use crate::environment::Environment;
use crate::memory;
use crate::process::Contender;
use crate::share::Interrupt;
use crate::statistics::{CONFIDENCE, bootstrap};
use crate::trials::bars::{self, BARS_SCHEMA, BarsResult, Idle};
use crate::trials::crossovers::{self, CrossoversResult};
use crate::trials::knobs::{self, KNOBS_SCHEMA, KnobsResult};
use crate::trials::report::{Measured, TrialFlags};
use crate::trials::{Trial, run};

/// The flags.
#[derive(Args, Debug)]
pub struct TrialArgs {
    /// Only these, by the names that the table shows; more than once for more than one
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Blocks per contender: fewer than 6 allow no verdict
    #[arg(long, value_name = "N", default_value_t = 7,
          value_parser = clap::value_parser!(u64).range(1..=100))]
    pub blocks: u64,
    /// How long a block is measured
    #[arg(long, value_name = "DURATION", default_value = "700ms", value_parser = positive)]
    pub block_duration: Duration,
    /// Put the table into this Markdown file too, in place of what stands between the lines
    /// `<!-- results: begin -->` and `<!-- results: end -->`
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub bench: BenchArgs,
}

impl TrialArgs {
    fn flags(&self) -> TrialFlags {
        TrialFlags {
            blocks: self.blocks,
            block_s: self.block_duration.as_secs_f64(),
            client_threads: self.bench.threads().get(),
            server_workers: self.bench.launch().workers.get(),
            seed: self.bench.seed,
        }
    }

    /// Those of the names that were given, or all.
    fn choose<T: Copy>(
        &self,
        all: impl Iterator<Item = T> + Clone,
        name: impl Fn(T) -> &'static str,
    ) -> Result<Vec<T>, BenchError> {
        let unknown = |wanted: &&String| all.clone().all(|one| name(one) != wanted.as_str());
        if let Some(wanted) = self.only.iter().find(unknown) {
            let known = all.map(name).collect::<Vec<_>>().join("; ");
            return Err(BenchError::Unknown { what: "trial", name: wanted.clone(), known });
        }
        let is_wanted =
            |one: &T| self.only.is_empty() || self.only.iter().any(|wanted| wanted == name(*one));
        Ok(all.filter(is_wanted).collect())
    }

    fn measure(&self, trials: &[&Trial], bench: &mut Bench<'_>) -> Result<Measured, BenchError> {
        let flags = self.flags();
        let trials = run(trials, &flags, bench)?;
        Ok(Measured {
            environment: Environment::look(),
            command: command_line(),
            flags,
            interrupted: bench.is_interrupted(),
            trials,
        })
    }

    /// Writes a result to wherever it is wanted.
    fn end(
        &self,
        name: &str,
        result: &impl Serialize,
        markdown: &str,
        terminal: &str,
    ) -> anyhow::Result<()> {
        self.bench.write(name, result, Some(markdown))?;
        if let Some(page) = &self.into {
            insert(page, markdown)?;
        }
        self.bench.show(result, terminal)
    }
}

/// Each server passes the gate with the flags that it is measured with, or nothing is measured.
fn ready<'a>(
    args: &TrialArgs,
    servers: impl Iterator<Item = Contender>,
    interrupt: &'a Interrupt,
) -> anyhow::Result<Bench<'a>> {
    let servers: Vec<Contender> = servers.collect();
    let subjects: Vec<Subject> = servers.iter().copied().map(Subject::Started).collect();
    let bench = Bench::new(&args.bench, &subjects, interrupt)?;
    for server in servers {
        if let Some(refused) = bench.gate(server)? {
            anyhow::bail!("{} was not measured: {refused}", server.name);
        }
    }
    Ok(bench)
}

pub(super) fn bars(args: &TrialArgs) -> anyhow::Result<ExitCode> {
    measure_bars(args).or_else(compare::usage)
}

fn measure_bars(args: &TrialArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    if !args.bench.servers.is_empty() {
        return Ok(without_servers());
    }
    let trials = args.choose(bars::TRIALS.iter(), |trial| trial.name)?;
    let mut bench = ready(args, bars::servers(), &interrupt)?;
    let idle = if args.only.is_empty() { idle(args, &bench)? } else { Vec::new() };
    let measured = args.measure(&trials, &mut bench)?;
    let result = BarsResult { schema: BARS_SCHEMA.to_owned(), idle, measured };
    let (markdown, terminal) = (bars::markdown(&result), bars::terminal(&result));
    args.end("bars", &result, &markdown, &terminal)?;
    Ok(ended(&result.measured))
}

/// What an idle connection takes, measured as often as the blocks of a trial.
fn idle(args: &TrialArgs, bench: &Bench<'_>) -> anyhow::Result<Vec<Idle>> {
    let mut all = Vec::new();
    for (contender, _) in bars::IDLE_BARS {
        eprintln!("an idle connection: {}", contender.name);
        let mut bytes = Vec::new();
        for _ in 0..args.blocks {
            if bench.is_interrupted() {
                return Ok(all);
            }
            bytes.extend(memory::idle_connection_bytes(*contender, bench.launch())?);
        }
        let server = contender.name.to_owned();
        all.extend(bootstrap::of_median(&bytes, CONFIDENCE).map(|bytes| Idle { server, bytes }));
    }
    Ok(all)
}

pub(super) fn knobs(args: &TrialArgs) -> anyhow::Result<ExitCode> {
    measure_knobs(args).or_else(compare::usage)
}

fn measure_knobs(args: &TrialArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    if !args.bench.servers.is_empty() {
        return Ok(without_servers());
    }
    let trials = args.choose(knobs::KNOBS.iter().map(|knob| &knob.trial), |trial| trial.name)?;
    // Not gated: a knob may well be turned to where a server no longer keeps every promise.
    let servers: Vec<Subject> = knobs::servers().map(Subject::Started).collect();
    let mut bench = Bench::new(&args.bench, &servers, &interrupt)?;
    let measured = args.measure(&trials, &mut bench)?;
    let result = KnobsResult { schema: KNOBS_SCHEMA.to_owned(), measured };
    let (markdown, terminal) = (knobs::markdown(&result), knobs::terminal(&result));
    args.end("knobs", &result, &markdown, &terminal)?;
    Ok(ended(&result.measured))
}

pub(super) fn crossovers(args: &TrialArgs) -> anyhow::Result<ExitCode> {
    measure_crossovers(args).or_else(compare::usage)
}

fn measure_crossovers(args: &TrialArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    if !args.bench.servers.is_empty() {
        return Ok(without_servers());
    }
    let questions = args.choose(crossovers::QUESTIONS.iter(), |question| question.name)?;
    let points = questions.iter().flat_map(|question| question.points);
    let trials: Vec<&Trial> = points.map(|(_, trial)| trial).collect();
    // Not gated, as above: a loop that blocks is there to be seen failing.
    let servers: Vec<Subject> = crossovers::servers().map(Subject::Started).collect();
    let mut bench = Bench::new(&args.bench, &servers, &interrupt)?;
    let result = CrossoversResult::of(args.measure(&trials, &mut bench)?);
    let (markdown, terminal) = (crossovers::markdown(&result), crossovers::terminal(&result));
    args.end("crossovers", &result, &markdown, &terminal)?;
    Ok(ended(&result.measured))
}

fn without_servers() -> ExitCode {
    eprintln!(
        "loadtest: the trials have servers of their own: choose with --only in place of --servers"
    );
    ExitCode::from(EXIT_USAGE)
}

fn ended(measured: &Measured) -> ExitCode {
    if measured.interrupted { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS }
}
