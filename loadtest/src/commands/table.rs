//! `loadtest table`: makes the Markdown table of a result file again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use super::print;
use crate::capacity::report::{CAPACITY_SCHEMA, Capacity};
use crate::compare::report::{COMPARE_SCHEMA, Comparison};
use crate::sweep::report::{SWEEP_SCHEMA, Sweep};
use crate::trials::bars::{self, BARS_SCHEMA, BarsResult};
use crate::trials::crossovers::{self, CROSSOVERS_SCHEMA, CrossoversResult};
use crate::trials::knobs::{self, KNOBS_SCHEMA, KnobsResult};
use crate::{capacity, compare, sweep};

/// The flags.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  loadtest table results/compare.json")]
pub struct TableArgs {
    /// A compare.json, sweep.json, capacity.json, bars.json, knobs.json or
    /// crossovers.json
    pub file: PathBuf,
    /// Put it into this Markdown file, in place of what stands between the lines
    /// `<!-- results: begin -->` and `<!-- results: end -->`
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
}

/// What every result begins with.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

pub(super) fn execute(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let text = fs::read(&args.file).with_context(|| format!("cannot read {name}"))?;
    let none =
        || format!("{name} is no result of compare, sweep, capacity, bars, knobs or crossovers");
    let head: Head = serde_json::from_slice(&text).with_context(none)?;
    let markdown = match head.schema.as_str() {
        COMPARE_SCHEMA => compare::table::markdown(&Comparison::read(&text).with_context(none)?),
        SWEEP_SCHEMA => sweep::table::markdown(&Sweep::read(&text).with_context(none)?),
        CAPACITY_SCHEMA => capacity::table::markdown(&Capacity::read(&text).with_context(none)?),
        BARS_SCHEMA => bars::markdown(&BarsResult::read(&text).with_context(none)?),
        KNOBS_SCHEMA => knobs::markdown(&KnobsResult::read(&text).with_context(none)?),
        CROSSOVERS_SCHEMA => {
            crossovers::markdown(&CrossoversResult::read(&text).with_context(none)?)
        }
        schema => bail!("{}: its schema is {schema}", none()),
    };
    match &args.into {
        Some(file) => insert(file, &markdown)?,
        None => print(&markdown)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a table where a page has its place for one.
pub(super) fn insert(file: &Path, markdown: &str) -> anyhow::Result<()> {
    const BEGIN: &str = "<!-- results: begin -->";
    const END: &str = "<!-- results: end -->";
    let name = file.display();
    let page = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?)));
    let Some((head, (_, tail))) = parts else {
        bail!("{name} has no place for a table: write {BEGIN} and {END} where it shall stand");
    };
    let page = format!("{head}{BEGIN}\n\n{}\n\n{END}{tail}", markdown.trim());
    fs::write(file, page).with_context(|| format!("cannot write {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let page = directory.path().join("page.md");
        fs::write(&page, "above\n<!-- results: begin -->\nold\n<!-- results: end -->\nbelow")
            .unwrap();
        for table in ["| new |\n", "| newer |\n"] {
            insert(&page, table).unwrap();
            let expected =
                format!("above\n<!-- results: begin -->\n\n{table}\n<!-- results: end -->\nbelow");
            assert_eq!(fs::read_to_string(&page).unwrap(), expected);
        }
        fs::write(&page, "no place").unwrap();
        assert!(insert(&page, "").unwrap_err().to_string().contains("no place for a table"));
        assert_eq!(fs::read_to_string(&page).unwrap(), "no place");
    }
}
