//! `loadtest capacity`: the highest rate at which a server holds what it must hold.

use std::process::ExitCode;

use clap::Args;

use super::bench::BenchArgs;
use super::compare::usage;
use super::load::LoadArgs;
use super::value::rate;
use super::{EXIT_INTERRUPTED, EXIT_REGRESSION, interrupt};
use crate::baseline::percent;
use crate::capacity::report::{Capacity, CapacityFlags};
use crate::capacity::slo::Slo;
use crate::capacity::{capacity, table};
use crate::compare::bench::Bench;
use crate::plan::Schedule;
use crate::share::Interrupt;

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "A server takes some twenty probes per block: with the defaults, about a \
    minute and a half.\n\nExamples:\n  \
    loadtest capacity --slo p99=2ms --servers epoll,tasks\n  \
    loadtest capacity --slo p99=2ms,max=100ms --work echo:64=90,block:5ms=10\n  \
    loadtest capacity tcp://127.0.0.1:7004 --slo p99.9=5ms -d 5s --fail-below 50k")]
pub struct CapacityArgs {
    /// What must hold: p99=2ms, or several joined by commas, of p50 p75 p90 p95 p97 p99 p99.5
    /// p99.9 p99.99 max mean. Besides, no error, nothing unsent, and 99 % of the planned
    /// throughput
    #[arg(long, value_name = "TIME=LIMIT")]
    pub slo: Slo,
    /// How often the search is made; the result is the median
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub blocks: u64,
    /// Probes of a rate, of which most must hold it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    pub probes: u64,
    /// How narrow the search makes the bracket
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "5%")]
    pub precision: f64,
    /// Exit with 3 if a server's capacity is below this rate
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub fail_below: Option<f64>,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub load: LoadArgs,
    #[allow(missing_docs)] // the flags say it
    #[command(flatten)]
    pub bench: BenchArgs,
}

pub(super) fn execute(args: &CapacityArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    searched(args, &interrupt).or_else(usage)
}

fn searched(args: &CapacityArgs, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let subjects = args.load.subjects(&args.bench)?;
    let base = args.load.load(Schedule::Closed { depth: 1 }, args.bench.seed);
    let flags = CapacityFlags {
        target: args.load.url.map(|url| url.to_string()),
        connections: base.connections.get(),
        work: base.mix.to_string(),
        blocks: args.blocks,
        probes: args.probes,
        precision: args.precision,
        probe_s: base.measured.as_secs_f64(),
        warmup_s: base.warmup.as_secs_f64(),
        timeout_s: base.timeout.as_secs_f64(),
        client_threads: args.bench.threads().get(),
        server_workers: args.bench.launch().workers.get(),
        seed: args.bench.seed,
    };
    let mut bench = Bench::new(&args.bench, &subjects, interrupt)?;
    let result = capacity(flags, &args.slo, (&subjects, &base), &mut bench)?;
    args.bench.write("capacity", &result, Some(&table::markdown(&result)))?;
    args.bench.show(&result, &table::terminal(&result))?;
    for failure in &result.failures {
        eprintln!("loadtest: {failure}");
    }
    Ok(if result.interrupted {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if !result.failures.is_empty() {
        ExitCode::FAILURE
    } else {
        args.fail_below.map_or(ExitCode::SUCCESS, |least| below(&result, least))
    })
}

/// Whether all have the capacity that they must have; where the load tester was the limit, nobody
/// knows, and that is a failure of the measurement.
fn below(result: &Capacity, least_rps: f64) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut is_breached = false;
    for server in &result.servers {
        let rps = server.capacity_rps.map_or(0.0, |rps| rps.estimate);
        let (name, slo) = (&server.server, &result.slo);
        if rps < least_rps && server.limited_by_tester {
            eprintln!(
                "loadtest: {name} may hold {slo} at {least_rps}/s, but the load tester does not: \
                 use more --threads"
            );
            code = ExitCode::FAILURE;
        } else if rps < least_rps {
            eprintln!("loadtest: {name} holds {slo} up to {rps}/s, below {least_rps}/s");
            is_breached = true;
        }
    }
    if is_breached { ExitCode::from(EXIT_REGRESSION) } else { code }
}
