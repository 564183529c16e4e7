//! `loadtest compare`: the servers beside each other and beside the floor.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::value::{THREADS_MAX, at_least_one, positive, workers_default};
use super::{EXIT_INTERRUPTED, EXIT_USAGE, interrupt, print};
use crate::compare::{CompareError, compare, table};

/// The flags.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// The most telling scenarios only, in under a minute
    #[arg(long)]
    pub quick: bool,
    /// Only these, of threads, pool, tasks, epoll and grpc
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub servers: Vec<String>,
    /// Only these, by the names that the table shows
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub scenarios: Vec<String>,
    /// Blocks per scenario and server [default: 5; with --quick 3]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub blocks: Option<u64>,
    /// How long a block is measured [default: 1s; with --quick 400ms]
    #[arg(long, value_parser = positive)]
    pub block_duration: Option<Duration>,
    /// What each server gets as --workers [default: the cores that the load threads leave]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    pub workers: Option<u64>,
    /// Where compare.json and compare.md go
    #[arg(long, value_name = "DIR", default_value = "target/quintet")]
    pub output_dir: PathBuf,
    /// Where the server binaries are [default: where this program is]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Decides payloads, mixes and the order of the blocks
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl CompareArgs {
    /// What each server gets as `--workers`.
    pub fn workers(&self) -> NonZeroUsize {
        self.workers.map_or_else(workers_default, at_least_one)
    }
}

pub(super) fn execute(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt()?;
    let comparison = match compare(args, &interrupt) {
        Err(error @ CompareError::Unknown { .. }) => {
            eprintln!("loadtest: {error}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        result => result?,
    };
    let directory = args.output_dir.display();
    fs::create_dir_all(&args.output_dir).with_context(|| format!("cannot create {directory}"))?;
    for (name, text) in [
        ("compare.json", serde_json::to_string_pretty(&comparison)? + "\n"),
        ("compare.md", table::markdown(&comparison)),
    ] {
        fs::write(args.output_dir.join(name), text)
            .with_context(|| format!("cannot write {directory}/{name}"))?;
    }
    print(&table::terminal(&comparison))?;
    eprintln!("results: {directory}/compare.json, {directory}/compare.md");
    Ok(if comparison.interrupted {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if comparison.servers.iter().any(|server| server.refused.is_some()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
