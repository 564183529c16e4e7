//! A server compared with itself, many times over: how often is it called different from itself?
//!
//! It costs minutes and tells nothing of the server. It tells whether the verdicts of a comparison
//! on this machine may be believed.

use std::fmt::Write;
use std::time::Duration;

use console::style;
use serde::{Deserialize, Serialize};

use super::bench::{Bench, BenchError, Load, Subject, order};
use super::beside::throughputs_beside;
use super::progress::Progress;
use super::report::{Block, Entry};
use super::scenario::Scenario;
use super::{TIMEOUT, warmup_of};
use crate::commands::bench::command_line;
use crate::environment::Environment;
use crate::process::Contender;
use crate::statistics::{ALPHA, Difference, Verdict};

/// Name and version of the schema.
pub const AA_SCHEMA: &str = "quintet/aa/1";
/// How long starting and stopping a server takes about, beside a block itself.
const AROUND_BLOCK: Duration = Duration::from_millis(100);

/// How it is run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AaFlags {
    /// Who.
    pub server: String,
    /// Under which load.
    pub scenario: String,
    /// How many experiments.
    pub experiments: u64,
    /// Blocks of each, for either side.
    pub blocks: u64,
    /// How long a block is measured.
    pub block_s: f64,
    /// ... after so long a warm-up.
    pub warmup_s: f64,
    /// Load threads.
    pub client_threads: usize,
    /// What the server gets as `--workers`.
    pub server_workers: usize,
    /// Decides payloads and the order of the blocks.
    pub seed: u64,
}

impl AaFlags {
    /// How long it takes about, where nothing has to be repeated.
    pub fn expected(&self) -> Duration {
        let runs = u32::try_from(2 * self.experiments * self.blocks).unwrap_or(u32::MAX);
        let block = Duration::from_secs_f64(self.block_s + self.warmup_s) + AROUND_BLOCK;
        Duration::from_secs(block.saturating_mul(runs).as_secs())
    }
}

/// What it found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Aa {
    /// [`AA_SCHEMA`].
    pub schema: String,
    /// What it ran on.
    pub environment: Environment,
    /// The command line.
    pub command: Vec<String>,
    /// How it was run.
    pub flags: AaFlags,
    /// How often two that are the same may be called different.
    pub alpha: f64,
    /// One by one.
    pub experiments: Vec<AaExperiment>,
    /// How many of them said "different".
    pub different: usize,
    /// Their share.
    pub share: f64,
    /// The standard error of such a share, where the true one is `alpha`.
    pub share_error: f64,
    /// Whether the share is at most `alpha` and its error.
    pub passed: bool,
    /// Whether it was ended before all was measured.
    pub interrupted: bool,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// One comparison of the server with itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AaExperiment {
    /// Its number.
    pub number: u64,
    /// Right answers per second in the one side's blocks.
    pub one_rps: Vec<f64>,
    /// ... and in the other's.
    pub other_rps: Vec<f64>,
    /// What was said of them.
    pub difference: Difference,
}

/// Runs the experiments.
///
/// # Errors
/// If nothing can be measured.
pub fn aa(
    flags: AaFlags,
    (contender, scenario): (Contender, &Scenario),
    bench: &mut Bench<'_>,
) -> Result<Aa, BenchError> {
    let load = Load {
        connections: scenario.connections(),
        schedule: scenario.schedule(1.0),
        mix: scenario.mix(),
        idle: 0,
        requests_per_connection: None,
        measured: Duration::from_secs_f64(flags.block_s),
        warmup: warmup_of(Duration::from_secs_f64(flags.block_s)),
        timeout: TIMEOUT,
        seed: flags.seed,
        server_core: None,
    };
    let progress = Progress::new(flags.experiments);
    progress.say(&format!("{} against itself", flags.server));
    let mut experiments = Vec::new();
    let mut blocks_noisy = 0;
    for number in 0..flags.experiments {
        let Some([one, other]) = experiment(&flags, number, (contender, &load), bench)? else {
            break;
        };
        let is_noisy = |block: &&Block| !block.is_trusted();
        blocks_noisy += one.blocks.iter().chain(&other.blocks).filter(is_noisy).count();
        let rates = |of: &Entry| of.blocks.iter().map(|block| block.run.throughput_rps).collect();
        experiments.push(AaExperiment {
            number,
            one_rps: rates(&one),
            other_rps: rates(&other),
            difference: throughputs_beside(&one, &other),
        });
        progress.step();
    }
    progress.clear();
    let mut result = judge(flags, experiments);
    result.interrupted = bench.is_interrupted();
    if blocks_noisy > 0 {
        result.warnings.push(format!(
            "{blocks_noisy} blocks were disturbed and are in no pair: the machine is not quiet"
        ));
    }
    Ok(result)
}

/// One comparison; nothing once interrupted.
fn experiment(
    flags: &AaFlags,
    number: u64,
    (contender, load): (Contender, &Load),
    bench: &mut Bench<'_>,
) -> Result<Option<[Entry; 2]>, BenchError> {
    let mut sides = ["one", "other"].map(|name| Entry::new(name.to_owned(), Vec::new()));
    for block in 0..flags.blocks {
        // Another order in each experiment, or whoever tends to be first would be so in all.
        for side in order(sides.len(), flags.seed.wrapping_add(number), block) {
            let Some(measured) = bench.block(&Subject::Started(contender), load, block)? else {
                return Ok(None);
            };
            sides[side].blocks.push(measured.block);
        }
    }
    Ok(Some(sides))
}

fn judge(flags: AaFlags, experiments: Vec<AaExperiment>) -> Aa {
    let verdicts = || experiments.iter().map(|experiment| experiment.difference.verdict);
    let different = verdicts().filter(|verdict| verdict.is_different()).count();
    let undecided = verdicts().filter(|verdict| *verdict == Verdict::TooFew).count();
    let judged = (experiments.len() - undecided).max(1) as f64;
    let (share, share_error) = (different as f64 / judged, (ALPHA * (1.0 - ALPHA) / judged).sqrt());
    let warning = format!("{undecided} experiments had too few undisturbed blocks for a verdict");
    Aa {
        schema: AA_SCHEMA.to_owned(),
        environment: Environment::look(),
        command: command_line(),
        flags,
        alpha: ALPHA,
        different,
        share,
        share_error,
        passed: undecided < experiments.len() && share <= ALPHA + share_error,
        interrupted: false,
        warnings: (undecided > 0).then_some(warning).into_iter().collect(),
        experiments,
    }
}

/// The result for a terminal.
pub fn terminal(result: &Aa) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, result);
    out
}

fn write_terminal(out: &mut String, result: &Aa) -> std::fmt::Result {
    let Aa { flags, experiments, .. } = result;
    let AaFlags { server, scenario, blocks, block_s, .. } = flags;
    writeln!(
        out,
        "{}  {} experiments of {blocks} pairs of blocks of {block_s} s, {scenario}",
        style(format!("{server} against itself")).bold(),
        experiments.len()
    )?;
    let ratios = || {
        let ratio = |experiment: &AaExperiment| experiment.difference.ratio;
        experiments.iter().filter_map(ratio).map(|ratio| ratio.estimate)
    };
    writeln!(
        out,
        "  ratios of the two sides from {:.3} to {:.3}",
        ratios().fold(f64::INFINITY, f64::min),
        ratios().fold(0.0, f64::max)
    )?;
    let verdict = format!("{} called different: {:.1} %", result.different, result.share * 100.0);
    let verdict = style(verdict).bold();
    writeln!(
        out,
        "  {}; {:.0} % is the stated level, {:.1} % its binomial error over so many: {}",
        if result.passed { verdict.green() } else { verdict.red() },
        result.alpha * 100.0,
        result.share_error * 100.0,
        if result.passed { "passed" } else { "FAILED" }
    )?;
    let warn = |warning| writeln!(out, "{} {warning}", style("warning:").yellow());
    result.warnings.iter().try_for_each(warn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Better;

    fn experiments(different: usize, of: usize) -> Vec<AaExperiment> {
        let experiment = |number: usize| {
            let ratio = if number < different { 1.2 } else { 1.0 };
            AaExperiment {
                number: number as u64,
                one_rps: vec![],
                other_rps: vec![],
                difference: Difference::paired(&[ratio; 7], Better::Higher, ALPHA),
            }
        };
        (0..of).map(experiment).collect()
    }

    fn flags() -> AaFlags {
        AaFlags {
            server: "epoll".to_owned(),
            scenario: "echo".to_owned(),
            experiments: 20,
            blocks: 7,
            block_s: 0.15,
            warmup_s: 0.05,
            client_threads: 1,
            server_workers: 1,
            seed: 1,
        }
    }

    #[test]
    fn it_fails_above_the_level_and_its_error() {
        // The error of 5 % over 20 is 4.9 %: one of 20 is 5 %, two are 10 %.
        for (different, passed) in [(0, true), (1, true), (2, false), (20, false)] {
            let result = judge(flags(), experiments(different, 20));
            assert_eq!((result.different, result.passed), (different, passed));
            assert!((result.share_error - 0.0487).abs() < 1e-4);
            assert_eq!(terminal(&result).contains("FAILED"), !passed);
        }
        // Two of 30 are 6.7 %: above the level, and within its error of 4 %.
        assert!(judge(flags(), experiments(2, 30)).passed);
        assert!(!judge(flags(), experiments(3, 30)).passed);
        assert!(!judge(flags(), vec![]).passed, "nothing was shown");
    }

    #[test]
    fn it_says_beforehand_how_long_it_takes() {
        assert_eq!(flags().expected(), Duration::from_secs(84));
    }
}
