//! `loadtest memory`: what a connection costs in memory, idle and active.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::value::{CONNECTIONS_MAX, THREADS_MAX, at_least_one, workers_default};
use super::{EXIT_INTERRUPTED, EXIT_USAGE, interrupt, print};
use crate::compare::bench::choose_servers;
use crate::memory::{COUNTS_MIN, MemoryConfig, Requests, Subjects, measure, table};
use crate::process::Launch;
use crate::target::Target;
use crate::work::Kind;

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest memory\n  \
    loadtest memory --servers threads,epoll --counts 0,1000,4000 --json memory.json\n  \
    loadtest memory tcp://127.0.0.1:7004 --server-pid $(pidof epoll)\n\n\
    An idle connection has said nothing since it was opened (over gRPC, since both sides said\n\
    their settings). An active one has had --requests answered, one after the other, and has one\n\
    `wait` of a minute outstanding.")]
pub struct MemoryArgs {
    /// A server that runs already, in place of servers that are started for it
    #[arg(requires = "server_pid", conflicts_with_all = ["servers", "workers", "bin_dir"])]
    pub url: Option<Target>,
    /// Its process
    #[arg(long, value_name = "PID", requires = "url",
          value_parser = clap::value_parser!(i32).range(1..))]
    pub server_pid: Option<i32>,
    /// Only these, of threads, pool, tasks, epoll and grpc
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub servers: Vec<String>,
    /// Numbers of connections, at least three
    #[arg(long, value_delimiter = ',', value_name = "COUNTS", default_value = "0,250,500,1000,2000",
          value_parser = clap::value_parser!(u64).range(..=CONNECTIONS_MAX))]
    pub counts: Vec<u64>,
    /// How often each is measured, in turns; a server that runs already is measured once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repetitions: u32,
    /// What active connections ask before: echo:BYTES, wait:DURATION, compute:ROUNDS,
    /// block:DURATION or user:KEYS
    #[arg(long, default_value = "echo:64")]
    pub work: Kind,
    /// How often they ask that
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub requests: u64,
    /// What each server gets as --workers [default: the cores that the load threads leave]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    pub workers: Option<u64>,
    /// Where the server binaries are [default: where this program is]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Write the result as JSON to a file, or with - to standard output in place of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl MemoryArgs {
    /// What was asked for; where it makes no sense, why not.
    fn config(&self) -> Result<MemoryConfig, String> {
        let mut counts: Vec<usize> =
            self.counts.iter().map(|count| usize::try_from(*count).unwrap_or(usize::MAX)).collect();
        counts.sort_unstable();
        counts.dedup();
        if counts.len() < COUNTS_MIN {
            return Err(format!("a slope needs {COUNTS_MIN} different --counts at the least"));
        }
        let subjects = match (self.url, self.server_pid) {
            (Some(target), Some(pid)) => Subjects::Running { target, pid },
            _ => Subjects::Started(
                choose_servers(&self.servers, false).map_err(|error| error.to_string())?,
                Launch {
                    bin_dir: self.bin_dir(),
                    workers: self.workers(),
                    counts_allocations: false,
                },
            ),
        };
        let requests = Requests { work: self.work, count: self.requests };
        Ok(MemoryConfig { subjects, counts, repetitions: self.repetitions, requests })
    }

    fn workers(&self) -> NonZeroUsize {
        self.workers.map_or_else(workers_default, at_least_one)
    }

    fn bin_dir(&self) -> PathBuf {
        let beside = || Some(std::env::current_exe().ok()?.parent()?.to_owned());
        self.bin_dir.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("."))
    }
}

pub(super) fn execute(args: &MemoryArgs) -> anyhow::Result<ExitCode> {
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("loadtest: {error}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let interrupt = interrupt()?;
    let result = measure(&config, &interrupt)?;
    let json = || serde_json::to_string_pretty(&result).map(|json| json + "\n");
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => print(&json()?)?,
        Some(path) => {
            fs::write(path, json()?).with_context(|| format!("cannot write {}", path.display()))?;
            print(&table::terminal(&result))?;
        }
        None => print(&table::terminal(&result))?,
    }
    Ok(if interrupt.is_triggered() {
        ExitCode::from(EXIT_INTERRUPTED)
    } else if result.servers.iter().any(|server| server.idle.is_none()) {
        eprintln!(
            "loadtest: {}",
            result.warnings.first().map_or("nothing was measured", |why| why)
        );
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
