//! A sweep: one parameter of the load in many values, on every server, in interleaved blocks.
//!
//! Points and servers are shuffled together, since what one point leaves behind (a backlog, a warm
//! cache, a hot CPU) would else always fall on the next higher one.

pub mod over;
pub mod report;
pub mod table;
pub mod usl;

use self::over::{Over, OverError, load_at};
use self::report::{Point, SWEEP_SCHEMA, Sweep, SweepFlags};
use crate::commands::bench::command_line;
use crate::compare::bench::{Bench, BenchError, Load, Subject, order};
use crate::compare::progress::Progress;
use crate::compare::report::{Block, Entry};
use crate::environment::Environment;
use crate::run::RunError;

/// Why there is no sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A value that the load cannot have.
    #[error(transparent)]
    Over(#[from] OverError),
    /// Nothing can be measured.
    #[error(transparent)]
    Bench(#[from] BenchError),
}

/// Sweeps, and gives what was measured, also when interrupted or when a server that ran already is
/// gone. Servers that are started pass the gate first, or are left out.
///
/// # Errors
/// If nothing can be measured.
pub fn sweep(
    flags: SweepFlags,
    over: &Over,
    (subjects, base): (&[Subject], &Load),
    bench: &mut Bench<'_>,
) -> Result<Sweep, SweepError> {
    let mut failures = Vec::new();
    let subjects = passed(subjects, bench, &mut failures)?;
    let at = |value| load_at(base, over.parameter, value);
    let loads = over.values.iter().map(at).collect::<Result<Vec<Load>, _>>()?;
    let tasks: Vec<(usize, usize)> = (0..loads.len())
        .flat_map(|point| (0..subjects.len()).map(move |who| (point, who)))
        .collect();
    let mut blocks: Vec<Vec<Vec<Block>>> = vec![vec![Vec::new(); subjects.len()]; loads.len()];
    let progress = Progress::new(flags.blocks * tasks.len() as u64);
    'blocks: for number in 0..flags.blocks {
        progress.say(&format!("{over}, block {} of {}", number + 1, flags.blocks));
        let shuffled = || order(tasks.len(), flags.seed, number);
        let order = if flags.shuffled { shuffled() } else { (0..tasks.len()).collect() };
        for (point, who) in order.into_iter().map(|at| tasks[at]) {
            let subject = &subjects[who];
            let name = format!("{}={}", over.parameter.name(), over.values[point].label);
            match bench.block(subject, &loads[point], number) {
                Ok(None) => break 'blocks,
                Ok(Some(measured)) => {
                    // One that is started for each block may do better in the next.
                    let run = &measured.block.run;
                    let is_gone =
                        matches!(subject, Subject::Running(..)) && run.planned > 0 && run.ok == 0;
                    blocks[point][who].push(measured.block);
                    if let (true, Some(failure)) = (is_gone, measured.failure) {
                        failures.push(format!("{name}: {failure}"));
                        break 'blocks;
                    }
                }
                Err(BenchError::Run(RunError::Descriptors(error))) => {
                    failures.push(format!("{name}, {}: {error}", subject.name()));
                    break 'blocks;
                }
                Err(error) => return Err(error.into()),
            }
            progress.step();
        }
    }
    progress.clear();
    let entries = |of: Vec<Vec<Block>>| {
        subjects.iter().zip(of).map(|(who, blocks)| Entry::new(who.name(), blocks)).collect()
    };
    let points = over.values.iter().zip(blocks).map(|(value, blocks)| Point {
        value: value.value,
        label: value.label.clone(),
        entries: entries(blocks),
    });
    let mut result = Sweep {
        schema: SWEEP_SCHEMA.to_owned(),
        environment: Environment::look(),
        command: command_line(),
        flags,
        parameter: over.parameter,
        points: points.collect(),
        fits: Vec::new(),
        interrupted: bench.is_interrupted(),
        failures,
        warnings: Vec::new(),
        baseline: None,
    };
    result.evaluate();
    Ok(result)
}

/// Those that answer rightly; a server that runs already is checked by every answer it gives.
pub(crate) fn passed(
    subjects: &[Subject],
    bench: &Bench<'_>,
    failures: &mut Vec<String>,
) -> Result<Vec<Subject>, BenchError> {
    let mut passed = Vec::new();
    for subject in subjects {
        let refused = match subject {
            Subject::Started(contender) if !bench.is_interrupted() => bench.gate(*contender)?,
            _ => None,
        };
        match refused {
            Some(why) => failures.push(format!("{} was not measured: {why}", subject.name())),
            None => passed.push(*subject),
        }
    }
    Ok(passed)
}
