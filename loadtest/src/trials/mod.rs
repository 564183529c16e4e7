//! Trials: a few contenders under one load, side by side, in interleaved blocks.
//!
//! The comparison puts the five servers under every load; a trial is made for one question. Its
//! contenders may be one program with different flags, or the floor that waits in the same way.

pub mod bars;
pub mod crossovers;
pub mod knobs;
pub mod report;

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use self::report::{TrialFlags, TrialReport};
use crate::compare::bench::{Bench, BenchError, Load, Subject, order};
use crate::compare::evaluate::evaluate;
use crate::compare::progress::Progress;
use crate::compare::report::Entry;
use crate::compare::{TIMEOUT, warmup_of};
use crate::cores::{OnCore, ends};
use crate::plan::Schedule;
use crate::process::Contender;

/// What a block lasts at the least, for each connection: ten rounds of requests at 50,000 per second.
/// The first ones are others, with new stacks and cold buffers.
const BLOCK_PER_CONNECTION: Duration = Duration::from_micros(200);

/// Where load tester and server run. One core is the last of those that this process may use: the
/// first has the machine's interrupts on many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Where the scheduler puts them.
    Any,
    /// Both on one, so that nobody waits for a halted one.
    Shared,
    /// Each on one, so that no server has more of them than another.
    Apart,
}

/// Who is put side by side, and under which load.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// As `--work` takes it.
    pub work: &'static str,
    /// Connections.
    pub connections: usize,
    /// Requests in flight per connection.
    pub depth: usize,
    /// Whether a connection carries one request only.
    pub churn: bool,
    /// Where load tester and server run.
    pub cores: Cores,
    /// Who. The first is the one that the others are held against, where nothing else is said.
    pub contenders: &'static [Contender],
}

impl Trial {
    /// An echo of 64 bytes.
    pub const fn echo(
        name: &'static str,
        connections: usize,
        depth: usize,
        contenders: &'static [Contender],
    ) -> Self {
        let work = "echo:64";
        Self { name, work, connections, depth, churn: false, cores: Cores::Any, contenders }
    }

    /// A line that says what the load is.
    pub fn title(&self) -> String {
        let Self { work, connections, depth, .. } = self;
        let each = if self.churn { ", one request each" } else { "" };
        let cores = match self.cores {
            Cores::Any => "",
            Cores::Shared => ", all on one core",
            Cores::Apart => ", the server on one core",
        };
        let many = if *connections == 1 { "connection" } else { "connections" };
        format!("{work} over {connections} {many}, depth {depth}{each}{cores}")
    }

    fn load(&self, flags: &TrialFlags) -> Load {
        let least =
            BLOCK_PER_CONNECTION.saturating_mul(self.connections.try_into().unwrap_or(u32::MAX));
        let measured = Duration::from_secs_f64(flags.block_s).max(least);
        Load {
            connections: NonZeroUsize::new(self.connections).unwrap_or(NonZeroUsize::MIN),
            schedule: Schedule::Closed { depth: self.depth },
            mix: self.work.parse().expect("the trials' works are constants that a test parses"),
            idle: 0,
            requests_per_connection: self.churn.then_some(NonZeroU64::MIN),
            measured,
            warmup: warmup_of(measured),
            timeout: TIMEOUT,
            seed: flags.seed,
            server_core: (self.cores == Cores::Apart).then(|| ends().1),
        }
    }
}

/// Runs the trials, and gives those that were measured whole: fewer once interrupted.
///
/// # Errors
/// If nothing can be measured.
pub fn run(
    trials: &[&Trial],
    flags: &TrialFlags,
    bench: &mut Bench<'_>,
) -> Result<Vec<TrialReport>, BenchError> {
    let runs = trials.iter().map(|trial| trial.contenders.len() as u64).sum::<u64>();
    let progress = Progress::new(runs * flags.blocks);
    let mut reports = Vec::new();
    for trial in trials {
        progress.say(&format!("{}: {}", trial.name, trial.title()));
        let Some(mut entries) = measure(trial, flags, bench, &progress)? else { break };
        evaluate(&mut entries, false);
        let (name, title) = (trial.name.to_owned(), trial.title());
        reports.push(TrialReport { name, title, entries });
    }
    progress.clear();
    Ok(reports)
}

fn measure(
    trial: &Trial,
    flags: &TrialFlags,
    bench: &mut Bench<'_>,
    progress: &Progress,
) -> Result<Option<Vec<Entry>>, BenchError> {
    let load = trial.load(flags);
    let (first, last) = ends();
    let _on_core = match trial.cores {
        Cores::Any => None,
        Cores::Shared => Some(OnCore::begin(last)),
        Cores::Apart => Some(OnCore::begin(first)),
    };
    let new = |contender: &Contender| Entry::new(contender.name.to_owned(), Vec::new());
    let mut entries: Vec<Entry> = trial.contenders.iter().map(new).collect();
    for number in 0..flags.blocks {
        for at in order(entries.len(), flags.seed, number) {
            let subject = Subject::Started(trial.contenders[at]);
            let Some(measured) = bench.block(&subject, &load, number)? else { return Ok(None) };
            entries[at].blocks.push(measured.block);
            progress.step();
        }
    }
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_long_enough_for_its_connections() {
        let flags =
            TrialFlags { blocks: 1, block_s: 0.4, client_threads: 1, server_workers: 1, seed: 1 };
        let measured = |connections| Trial::echo("some", connections, 1, &[]).load(&flags).measured;
        assert_eq!(measured(50), Duration::from_millis(400));
        assert_eq!(measured(10_000), Duration::from_secs(2));
    }

    #[test]
    fn every_trial_is_well_formed() {
        let flags =
            TrialFlags { blocks: 1, block_s: 0.1, client_threads: 1, server_workers: 1, seed: 1 };
        let knobs = knobs::KNOBS.iter().map(|knob| &knob.trial);
        let points = crossovers::QUESTIONS.iter().flat_map(|question| question.points);
        let points = points.map(|(_, trial)| trial);
        for trial in bars::TRIALS.iter().chain(knobs).chain(points) {
            assert!(trial.load(&flags).mix.kinds().count() > 0, "{}", trial.name);
            let mut names: Vec<_> = trial.contenders.iter().map(|who| who.name).collect();
            assert!(names.len() > 1, "{}", trial.name);
            names.sort_unstable();
            assert!(names.windows(2).all(|two| two[0] != two[1]), "{}: a name twice", trial.name);
        }
    }
}
