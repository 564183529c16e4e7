//! The flags of baselines, which several commands have.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::baseline::report::BaselineReport;
use crate::baseline::{self, BaselineError, name, percent};

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct BaselineArgs {
    /// Keep the result under this name, in the output directory
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub save_baseline: Option<String>,
    /// Say what changed since the result of this name
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub baseline: Option<String>,
    /// Exit with 3 if throughput or CPU per request got worse, by more than --tolerance and not by
    /// chance
    #[arg(long, requires = "baseline")]
    pub fail_on_regression: bool,
    /// How much worse is no regression
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "5%")]
    pub tolerance: f64,
    /// Compare also with a baseline of another machine, or of other flags
    #[arg(long, requires = "baseline")]
    pub force: bool,
}

impl BaselineArgs {
    /// Gives back what is unlike where that was forced.
    ///
    /// # Errors
    /// Where something is, and it was not.
    pub(super) fn check(
        &self,
        name: &str,
        unlike: Vec<String>,
    ) -> Result<Vec<String>, BaselineError> {
        if unlike.is_empty() || self.force {
            return Ok(unlike);
        }
        Err(BaselineError::Unlike { name: name.to_owned(), what: unlike.join(", ") })
    }

    /// Keeps the result, where that was asked for.
    pub(super) fn save(&self, output_dir: &Path, result: &impl Serialize) -> anyhow::Result<()> {
        let Some(name) = &self.save_baseline else { return Ok(()) };
        let path = baseline::path(output_dir, name);
        let shown = path.display();
        let directory = path.parent().unwrap_or(output_dir);
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let text = serde_json::to_string_pretty(result)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {shown}"))?;
        eprintln!("baseline: {shown}");
        Ok(())
    }

    /// Names the regressions on standard error; whether there are any, and that matters.
    pub(super) fn regressions(&self, report: Option<&BaselineReport>) -> bool {
        let regressions = report.map_or_else(Vec::new, |report| report.regressions(self.tolerance));
        for regression in &regressions {
            eprintln!("loadtest: regression: {regression}");
        }
        self.fail_on_regression && !regressions.is_empty()
    }
}
