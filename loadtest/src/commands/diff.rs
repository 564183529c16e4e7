//! `loadtest diff`: two results of one kind beside each other.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::print;
use crate::report::{diff, diff_text, input};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    loadtest diff results/compare.json target/quintet/compare.json\n  \
    loadtest diff before.json after.json --markdown")]
pub struct DiffArgs {
    /// A result
    #[arg(value_name = "A")]
    pub before: PathBuf,
    /// Another of the same kind
    #[arg(value_name = "B")]
    pub after: PathBuf,
    /// Print a Markdown table
    #[arg(long)]
    pub markdown: bool,
}

pub(super) fn execute(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let sources = input::read_all(&[args.before.clone(), args.after.clone()])?;
    let [before, after] = &sources[..] else { anyhow::bail!("two files are two results") };
    let difference = diff::difference(before, after)?;
    print(&if args.markdown {
        diff_text::markdown(&difference)
    } else {
        diff_text::terminal(&difference)
    })?;
    Ok(ExitCode::SUCCESS)
}
