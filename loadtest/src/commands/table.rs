//! `loadtest table`: makes the Markdown table of a result file again.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use super::print;
use crate::capacity::report::{CAPACITY_SCHEMA, Capacity};
use crate::compare::report::{COMPARE_SCHEMA, Comparison};
use crate::sweep::report::{SWEEP_SCHEMA, Sweep};
use crate::{capacity, compare, sweep};

/// The flags.
#[derive(Args, Debug)]
pub struct TableArgs {
    /// A compare.json, sweep.json or capacity.json
    pub file: PathBuf,
}

/// What every result begins with.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

pub(super) fn execute(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let text = fs::read(&args.file).with_context(|| format!("cannot read {name}"))?;
    let none = || format!("{name} is no result of compare, sweep or capacity");
    let head: Head = serde_json::from_slice(&text).with_context(none)?;
    let markdown = match head.schema.as_str() {
        COMPARE_SCHEMA => compare::table::markdown(&Comparison::read(&text).with_context(none)?),
        SWEEP_SCHEMA => sweep::table::markdown(&Sweep::read(&text).with_context(none)?),
        CAPACITY_SCHEMA => capacity::table::markdown(&Capacity::read(&text).with_context(none)?),
        schema => bail!("{}: its schema is {schema}", none()),
    };
    print(&markdown)?;
    Ok(ExitCode::SUCCESS)
}
