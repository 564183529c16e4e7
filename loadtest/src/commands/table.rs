//! `loadtest table`: makes the Markdown table of a comparison again.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::print;
use crate::compare::report::Comparison;
use crate::compare::table;

/// The flags.
#[derive(Args, Debug)]
pub struct TableArgs {
    /// A compare.json
    pub file: PathBuf,
}

pub(super) fn execute(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let text = fs::read(&args.file).with_context(|| format!("cannot read {name}"))?;
    let comparison = Comparison::read(&text)
        .with_context(|| format!("{name} is no result of `loadtest compare`"))?;
    print(&table::markdown(&comparison))?;
    Ok(ExitCode::SUCCESS)
}
