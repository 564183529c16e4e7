//! What the commands that start servers have in common: which servers, on how many cores, and
//! where the results go.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::print;
use super::value::{THREADS_MAX, at_least_one, threads_default, workers_beside};
use crate::process::Launch;

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Only these, of threads, pool, tasks, epoll and grpc; where the floor is not measured anyway,
    /// also floor
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub servers: Vec<String>,
    /// Load threads [default: half of the cores, for the servers need the others]
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    pub threads: Option<u64>,
    /// What each server gets as --workers [default: the cores that the load threads leave]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX))]
    pub workers: Option<u64>,
    /// Where the results go
    #[arg(long, value_name = "DIR", default_value = "target/quintet")]
    pub output_dir: PathBuf,
    /// Write the result as JSON to this file too, or with - to standard output in place of the
    /// tables
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the server binaries are [default: where this program is]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// Decides payloads, mixes and the order of the blocks
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl BenchArgs {
    /// Load threads.
    pub fn threads(&self) -> NonZeroUsize {
        self.threads.map_or_else(threads_default, at_least_one)
    }

    /// How the servers are started.
    pub fn launch(&self) -> Launch {
        let this = std::env::current_exe().ok();
        let beside = this.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
        Launch {
            bin_dir: self.bin_dir.clone().unwrap_or_else(|| beside.to_owned()),
            workers: self.workers.map_or_else(|| workers_beside(self.threads()), at_least_one),
            counts_allocations: false,
        }
    }

    /// Writes NAME.json, and NAME.md where there is one, to the output directory, and says so.
    pub(super) fn write(
        &self,
        name: &str,
        result: &impl Serialize,
        markdown: Option<&str>,
    ) -> anyhow::Result<()> {
        let directory = self.output_dir.display();
        fs::create_dir_all(&self.output_dir)
            .with_context(|| format!("cannot create {directory}"))?;
        let json = serde_json::to_string_pretty(result)? + "\n";
        let markdown = markdown.map(|text| ("md", text));
        for (end, text) in [("json", json.as_str())].into_iter().chain(markdown) {
            let path = self.output_dir.join(format!("{name}.{end}"));
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("result: {}", path.display());
        }
        Ok(())
    }

    /// Prints the result, and writes it where --json says.
    pub(super) fn show(&self, result: &impl Serialize, terminal: &str) -> anyhow::Result<()> {
        let json = || serde_json::to_string_pretty(result).map(|json| json + "\n");
        match self.json.as_deref() {
            Some(path) if path == Path::new("-") => return print(&json()?),
            Some(path) => fs::write(path, json()?)
                .with_context(|| format!("cannot write {}", path.display()))?,
            None => {}
        }
        print(terminal)
    }
}

/// The command line, which makes the same result again.
pub(crate) fn command_line() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}
