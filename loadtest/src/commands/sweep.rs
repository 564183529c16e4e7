//! `loadtest sweep`: one parameter of the load in many values.

use std::process::ExitCode;

use clap::Args;

use super::baseline::BaselineArgs;
use super::bench::BenchArgs;
use super::compare::usage;
use super::load::LoadArgs;
use super::value::{at_least_one, rate};
use super::{EXIT_INTERRUPTED, EXIT_REGRESSION, interrupt};
use crate::baseline::report::{BaselineReport, Loaded};
use crate::baseline::{self, BaselineError};
use crate::compare::bench::{Bench, Load};
use crate::environment::Environment;
use crate::pace::Pace;
use crate::plan::{OUTSTANDING_MAX, Schedule};
use crate::share::Interrupt;
use crate::sweep::over::Over;
use crate::sweep::report::{Point, Sweep, SweepFlags};
use crate::sweep::{sweep, table};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest sweep --servers epoll,tasks --over connections=1,8,64,512,4096\n  \
    loadtest sweep --servers epoll --over depth=1..64\n  \
    loadtest sweep --over rate=1k:50k:5k --blocks 7 --output-dir results\n  \
    loadtest sweep tcp://127.0.0.1:7004 --over payload=64,1k,16k --server-pid $(pidof epoll)")]
pub struct SweepArgs {
    /// What to vary, and its values: connections, depth, payload (bytes), rate, work or idle
    /// (connections); as connections=1,8,64, depth=1..64 (doubling), rate=1k:50k:5k (from, to,
    /// step), work=compute:10,compute:100
    #[arg(long, value_name = "PARAMETER=VALUES")]
    pub over: Over,
    /// Blocks per value and server
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub blocks: u64,
    /// Go over the values in the order in which they are written
    #[arg(long)]
    pub no_shuffle: bool,
    /// Closed loop: requests in flight per connection; over gRPC, streams per connection
    #[arg(short = 'p', long, default_value_t = 1, conflicts_with = "rate",
          value_parser = clap::value_parser!(u64).range(1..=OUTSTANDING_MAX as u64))]
    pub depth: u64,
    /// Open loop: requests per second over all connections
    #[arg(short, long, value_parser = rate)]
    pub rate: Option<f64>,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub load: LoadArgs,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub baselines: BaselineArgs,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub bench: BenchArgs,
}

impl SweepArgs {
    fn base(&self) -> Load {
        let schedule = match self.rate {
            Some(rate_per_s) => Schedule::Open(Pace::fixed(rate_per_s)),
            None => Schedule::Closed { depth: at_least_one(self.depth).get() },
        };
        self.load.load(schedule, self.bench.seed)
    }

    fn flags(&self) -> SweepFlags {
        let base = self.base();
        SweepFlags {
            target: self.load.url.map(|url| url.to_string()),
            connections: base.connections.get(),
            depth: self.rate.is_none().then(|| at_least_one(self.depth).get()),
            rate_rps: self.rate,
            work: base.mix.to_string(),
            blocks: self.blocks,
            block_s: base.measured.as_secs_f64(),
            warmup_s: base.warmup.as_secs_f64(),
            timeout_s: base.timeout.as_secs_f64(),
            client_threads: self.bench.threads().get(),
            server_workers: self.bench.launch().workers.get(),
            shuffled: !self.no_shuffle,
            seed: self.bench.seed,
        }
    }
}

pub(super) fn execute(args: &SweepArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    swept(args, &interrupt).or_else(usage)
}

fn swept(args: &SweepArgs, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let before = args.baselines.baseline.as_deref().map(|name| before(args, name)).transpose()?;
    let subjects = args.load.subjects(&args.bench)?;
    let mut bench = Bench::new(&args.bench, &subjects, interrupt)?;
    let mut result = sweep(args.flags(), &args.over, (&subjects, &args.base()), &mut bench)?;
    if let (Some(name), Some((before, forced))) = (&args.baselines.baseline, &before) {
        let (names_before, names) = (names(before), names(&result));
        result.baseline = Some(BaselineReport::new(
            (name, &before.environment),
            &loads(before, &names_before),
            &loads(&result, &names),
            forced,
        ));
    }
    args.bench.write("sweep", &result, Some(&table::markdown(&result)))?;
    if !result.interrupted && result.failures.is_empty() {
        args.baselines.save(&args.bench.output_dir, &result)?;
    }
    args.bench.show(&result, &table::terminal(&result))?;
    for failure in &result.failures {
        eprintln!("loadtest: {failure}");
    }
    let regressions = args.baselines.regressions(result.baseline.as_ref());
    Ok(if result.interrupted {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if !result.failures.is_empty() {
        ExitCode::FAILURE
    } else if regressions {
        ExitCode::from(EXIT_REGRESSION)
    } else {
        ExitCode::SUCCESS
    })
}

fn names(sweep: &Sweep) -> Vec<String> {
    sweep.points.iter().map(|point| sweep.name(point)).collect()
}

fn loads<'a>(sweep: &'a Sweep, names: &'a [String]) -> Vec<Loaded<'a>> {
    let load = |(point, name): (&'a Point, &'a String)| {
        (name.as_str(), sweep.rate_rps(point), point.entries.as_slice())
    };
    sweep.points.iter().zip(names).map(load).collect()
}

/// The baseline, and what differs where that was forced.
fn before(args: &SweepArgs, name: &str) -> Result<(Sweep, Vec<String>), BaselineError> {
    let text = baseline::read(&args.bench.output_dir, name)?;
    let foreign = |error| BaselineError::Foreign { name: name.to_owned(), error };
    let before = Sweep::read(&text).map_err(foreign)?;
    let (now, then) = (args.flags(), &before.flags);
    let mut unlike = baseline::machines_differ(&Environment::look(), &before.environment);
    let load = |flags: &SweepFlags| {
        let rate = flags.rate_rps.map_or_else(String::new, |rate| format!(", rate {rate}"));
        let depth = flags.depth.map_or_else(String::new, |depth| format!(", depth {depth}"));
        format!("{} over {} connections{depth}{rate}", flags.work, flags.connections)
    };
    unlike.extend(baseline::differ(&[("load", load(&now), load(then))]));
    unlike.extend(baseline::differ(&[
        ("duration in seconds", now.block_s, then.block_s),
        ("warm-up in seconds", now.warmup_s, then.warmup_s),
        ("number of --threads", now.client_threads as f64, then.client_threads as f64),
        ("number of --workers", now.server_workers as f64, then.server_workers as f64),
    ]));
    unlike.extend(baseline::counts_differ(before.points.iter().flat_map(|point| &point.entries)));
    args.baselines.check(name, unlike).map(|forced| (before, forced))
}
