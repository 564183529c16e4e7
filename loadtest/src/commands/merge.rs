//! `loadtest merge`: one result out of those of several machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::print;
use crate::merge::merge;
use crate::result::RunResult;
use crate::terminal;

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    loadtest run tcp://server:7004 -r 40k -d 60s --agent 0/2 --start-at $T --json 0.json # here\n  \
    loadtest run tcp://server:7004 -r 40k -d 60s --agent 1/2 --start-at $T --json 1.json # there\n  \
    loadtest merge 0.json 1.json --json all.json")]
pub struct MergeArgs {
    /// The results of `run --agent K/N --json FILE`: all of them, in any order
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Write the result as JSON to a file, or with - to standard output in place of the summary
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

pub(super) fn execute(args: &MergeArgs) -> anyhow::Result<ExitCode> {
    let parts = args.files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let whole = merge(&parts)?;
    show(&whole, None, args.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<(String, RunResult)> {
    let name = file.display().to_string();
    let text = fs::read(file).with_context(|| format!("cannot read {name}"))?;
    let result = serde_json::from_slice(&text)
        .with_context(|| format!("{name} is no result of `loadtest run --json`"))?;
    Ok((name, result))
}

/// The summary, and the JSON where it is wanted.
pub(super) fn show(
    result: &RunResult,
    failure: Option<&str>,
    json: Option<&Path>,
) -> anyhow::Result<()> {
    let text = || serde_json::to_string_pretty(result).map(|json| json + "\n");
    match json {
        Some(path) if path == Path::new("-") => return print(&text()?),
        Some(path) => {
            fs::write(path, text()?).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => {}
    }
    print(&terminal::summary(result, failure))
}
