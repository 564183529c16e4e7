//! `loadtest compare`: the servers beside each other and beside the floor.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::baseline::BaselineArgs;
use super::bench::BenchArgs;
use super::table::insert;
use super::value::positive;
use super::{EXIT_INTERRUPTED, EXIT_REGRESSION, EXIT_USAGE, interrupt};
use crate::baseline::report::{BaselineReport, Loaded};
use crate::baseline::{self, BaselineError};
use crate::compare::aa::{self, AaFlags, aa};
use crate::compare::bench::{Bench, BenchError, Subject, choose_servers};
use crate::compare::report::{Comparison, Flags, ScenarioReport};
use crate::compare::scenario::CAPACITY_SCENARIO;
use crate::compare::{chosen_scenarios, compare, flags, table, warmup_of};
use crate::environment::Environment;
use crate::share::Interrupt;

/// Who is compared with itself, where nobody was named.
const AA_SERVER: &str = "epoll";
/// Blocks of an A/A run are short, for there are many of them.
const AA_BLOCK: Duration = Duration::from_millis(150);
/// Fewer allow no verdict, and then none could be wrong.
const AA_BLOCKS_MIN: u64 = 6;

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest compare --quick\n  \
    loadtest compare --servers epoll,tasks --scenarios pipelined --blocks 15\n  \
    loadtest compare --save-baseline before\n  \
    loadtest compare --baseline before --fail-on-regression --tolerance 10%\n  \
    loadtest compare --aa 20")]
pub struct CompareArgs {
    /// The most telling scenarios only, in under a minute; too few blocks for a verdict
    #[arg(long)]
    pub quick: bool,
    /// Only these, by the names that the table shows
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub scenarios: Vec<String>,
    /// Blocks per scenario and server [default: 7; with --quick 3]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub blocks: Option<u64>,
    /// How long a block is measured [default: 1s; with --quick 400ms; with --aa 150ms]
    #[arg(long, value_parser = positive)]
    pub block_duration: Option<Duration>,
    /// Compare one server (epoll, or the one of --servers) with itself in so many experiments, and
    /// fail if it is called different from itself more often than stated
    #[arg(long, value_name = "EXPERIMENTS",
          value_parser = clap::value_parser!(u64).range(1..=10_000),
          conflicts_with_all = ["quick", "baseline", "save_baseline"])]
    pub aa: Option<u64>,
    /// Put the tables into this Markdown file too, in place of what stands between the lines
    /// `<!-- results: begin -->` and `<!-- results: end -->`
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub baselines: BaselineArgs,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub bench: BenchArgs,
}

pub(super) fn execute(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    let done = match args.aa {
        Some(experiments) => against_itself(args, experiments, &interrupt),
        None => against_each_other(args, &interrupt),
    };
    done.or_else(usage)
}

/// What the user has to write differently is a usage error; all else is a failure.
pub(super) fn usage(error: anyhow::Error) -> anyhow::Result<ExitCode> {
    let is_unknown = |error: &BenchError| matches!(error, BenchError::Unknown { .. });
    if error.downcast_ref().is_some_and(is_unknown) || error.is::<BaselineError>() {
        eprintln!("loadtest: {error}");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    Err(error)
}

fn against_each_other(args: &CompareArgs, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let before = args.baselines.baseline.as_deref().map(|name| before(args, name)).transpose()?;
    let earlier = before.as_ref().map(|(comparison, _)| comparison);
    let mut comparison = compare(args, earlier, interrupt)?;
    if let (Some(name), Some((before, forced))) = (&args.baselines.baseline, &before) {
        let report = BaselineReport::new(
            (name, &before.environment),
            &loads(before),
            &loads(&comparison),
            forced,
        );
        comparison.baseline = Some(report);
    }
    args.bench.write("compare", &comparison, Some(&table::markdown(&comparison)))?;
    if !comparison.interrupted {
        args.baselines.save(&args.bench.output_dir, &comparison)?;
    }
    if let Some(page) = &args.into {
        insert(page, &table::markdown(&comparison))?;
    }
    args.bench.show(&comparison, &table::terminal(&comparison))?;
    let regressions = args.baselines.regressions(comparison.baseline.as_ref());
    Ok(if comparison.interrupted {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if comparison.servers.iter().any(|server| server.refused.is_some()) {
        ExitCode::FAILURE
    } else if regressions {
        ExitCode::from(EXIT_REGRESSION)
    } else {
        ExitCode::SUCCESS
    })
}

fn loads(comparison: &Comparison) -> Vec<Loaded<'_>> {
    fn load(scenario: &ScenarioReport) -> Loaded<'_> {
        (&scenario.name, scenario.rate_rps, &scenario.entries)
    }
    comparison.scenarios.iter().map(load).collect()
}

/// The baseline, and what differs where that was forced.
fn before(args: &CompareArgs, name: &str) -> Result<(Comparison, Vec<String>), BaselineError> {
    let text = baseline::read(&args.bench.output_dir, name)?;
    let foreign = |error| BaselineError::Foreign { name: name.to_owned(), error };
    let before = Comparison::read(&text).map_err(foreign)?;
    let mut unlike = baseline::machines_differ(&Environment::look(), &before.environment);
    unlike.extend(flags_differ(&flags(args), &before.flags));
    let entries = before.scenarios.iter().flat_map(|scenario| &scenario.entries);
    unlike.extend(baseline::counts_differ(entries));
    args.baselines.check(name, unlike).map(|forced| (before, forced))
}

fn flags_differ(now: &Flags, before: &Flags) -> Vec<String> {
    baseline::differ(&[
        ("block duration in seconds", now.block_s, before.block_s),
        ("warm-up in seconds", now.warmup_s, before.warmup_s),
        ("number of --threads", now.client_threads as f64, before.client_threads as f64),
        ("number of --workers", now.server_workers as f64, before.server_workers as f64),
    ])
}

fn against_itself(
    args: &CompareArgs,
    experiments: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    let Flags { blocks, client_threads, server_workers, seed, .. } = flags(args);
    let or = |named: &[String], name: &str| match named {
        [] => vec![name.to_owned()],
        named => named.to_vec(),
    };
    let chosen = choose_servers(&or(&args.bench.servers, AA_SERVER), true)?;
    let scenarios = chosen_scenarios(&or(&args.scenarios, CAPACITY_SCENARIO), false)?;
    let ([server], [scenario]) = (&chosen[..], &scenarios[..]) else {
        eprintln!("loadtest: --aa takes one server and one scenario with a closed loop");
        return Ok(ExitCode::from(EXIT_USAGE));
    };
    if blocks < AA_BLOCKS_MIN {
        eprintln!("loadtest: --aa needs verdicts, and so --blocks {AA_BLOCKS_MIN} or more");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let block = args.block_duration.unwrap_or(AA_BLOCK);
    let flags = AaFlags {
        server: server.name.to_owned(),
        scenario: scenario.title(None),
        experiments,
        blocks,
        block_s: block.as_secs_f64(),
        warmup_s: warmup_of(block).as_secs_f64(),
        client_threads,
        server_workers,
        seed,
    };
    let mut bench = Bench::new(&args.bench, &[Subject::Started(*server)], interrupt)?;
    eprintln!("{experiments} experiments: about {}", humantime::format_duration(flags.expected()));
    if let Some(refused) = bench.gate(*server)? {
        anyhow::bail!("{} was not measured: {refused}", server.name);
    }
    let result = aa(flags, (*server, scenario), &mut bench)?;
    args.bench.write("aa", &result, None)?;
    args.bench.show(&result, &aa::terminal(&result))?;
    Ok(match (result.interrupted, result.passed) {
        (true, _) => ExitCode::from(EXIT_INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    })
}
