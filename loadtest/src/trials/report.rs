//! What trials found, as programs read it, and ratios of it.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::compare::beside::{ratio_beside, ratios_beside};
use crate::compare::evaluate::{p99, throughput, usable, warnings};
use crate::compare::grid::measured_on;
use crate::compare::report::{Block, Bound, Entry};
use crate::environment::Environment;
use crate::statistics::{CONFIDENCE, Interval, bootstrap};

/// How trials are run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TrialFlags {
    /// Blocks per contender.
    pub blocks: u64,
    /// How long a block is measured.
    pub block_s: f64,
    /// Load threads.
    pub client_threads: usize,
    /// What each server gets as `--workers`, where it has no flag that says something else.
    pub server_workers: usize,
    /// Decides payloads and the order of the blocks.
    pub seed: u64,
}

/// What every result of trials has: where it is from, and what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// What it ran on.
    pub environment: Environment,
    /// The command line.
    pub command: Vec<String>,
    /// How it was run.
    pub flags: TrialFlags,
    /// Whether it was ended before all was measured.
    pub interrupted: bool,
    /// What was measured.
    pub trials: Vec<TrialReport>,
}

const INTERRUPTED: &str = "Interrupted: not all was measured.";

impl Measured {
    /// The trial of this name, if it was measured.
    pub fn trial(&self, name: &str) -> Option<&TrialReport> {
        self.trials.iter().find(|trial| trial.name == name)
    }

    /// What a reader of the table above it should know, for a terminal.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end_terminal(&self, out: &mut impl Write) -> fmt::Result {
        if self.interrupted {
            writeln!(out, "{INTERRUPTED}")?;
        }
        let mut warnings = self.trials.iter().flat_map(TrialReport::warnings);
        warnings.try_for_each(|warning| writeln!(out, "warning: {warning}"))
    }

    /// The same as Markdown, with what it was measured on.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end_markdown(&self, out: &mut impl Write) -> fmt::Result {
        let TrialFlags { blocks, block_s, client_threads, server_workers, seed } = self.flags;
        writeln!(
            out,
            "{}; {blocks} blocks of {block_s} s, {client_threads} load threads, --workers \
             {server_workers} where nothing else stands, seed {seed}.",
            measured_on(&self.environment)
        )?;
        if self.interrupted {
            writeln!(out, "\n**{INTERRUPTED}**")?;
        }
        let mut warnings = self.trials.iter().flat_map(TrialReport::warnings).peekable();
        if warnings.peek().is_some() {
            writeln!(out)?;
        }
        warnings.try_for_each(|warning| writeln!(out, "- {warning}"))
    }
}

/// One trial.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrialReport {
    /// Its name.
    pub name: String,
    /// What the load was.
    pub title: String,
    /// Who was put side by side.
    pub entries: Vec<Entry>,
}

impl TrialReport {
    /// The contender of this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.server == name)
    }

    /// What a reader of it should know.
    pub fn warnings(&self) -> Vec<String> {
        warnings(&self.name, &self.entries)
    }
}

/// What is put in relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Right answers per second.
    Throughput,
    /// CPU of the server per request.
    Cpu,
    /// Response time.
    P99,
    /// The server's anonymous memory with its connections open.
    Memory,
}

impl Figure {
    /// Of one block; no number where it is not known.
    fn of(self) -> fn(&Block) -> f64 {
        match self {
            Self::Throughput => throughput,
            Self::Cpu => |block| block.run.server.map_or(f64::NAN, |cost| cost.cpu_us_per_request),
            Self::P99 => p99,
            Self::Memory => {
                |block| block.run.server.map_or(f64::NAN, |cost| cost.rss_anon_bytes as f64)
            }
        }
    }
}

/// One contender's figure as a part of another's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The median of the ratios of blocks that were measured side by side.
    pub value: f64,
    /// How sure that is; none with fewer than two blocks.
    pub interval: Option<Interval>,
    /// What the load tester's own limit makes of it, where it is one of throughputs.
    #[serde(default)]
    pub bound: Bound,
}

impl Ratio {
    /// Block by block, where both were measured under the same conditions.
    pub fn each(figure: Figure, entry: &Entry, other: &Entry) -> Vec<f64> {
        ratios_beside(entry, other, figure.of())
    }

    /// Nothing where there is nothing to put in relation.
    pub fn of(figure: Figure, entry: &Entry, other: &Entry) -> Option<Self> {
        let (value, interval, bound) = ratio_beside(entry, other, figure.of());
        let bound = if figure == Figure::Throughput { bound } else { Bound::Exact };
        let value = value.filter(|value| value.is_finite())?;
        Some(Self { value, interval, bound })
    }
}

/// The median of a contender's figure, and how sure it is.
pub fn median_of(entry: &Entry, figure: impl Fn(&Block) -> f64) -> Option<Interval> {
    let values: Vec<f64> = usable(&entry.blocks).into_iter().map(figure).collect();
    bootstrap::of_median(&values, CONFIDENCE)
}
