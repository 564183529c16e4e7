//! The capacity: the highest rate of an open loop at which a server holds what it must hold.
//!
//! It costs some twenty runs per server and block, since a rate is only held if most of several
//! probes hold it: one run proves nothing about a tail.

pub mod report;
mod search;
pub mod slo;
pub mod table;

use self::report::{
    CAPACITY_SCHEMA, Capacity, CapacityBlock, CapacityFlags, Probe, ServerCapacity,
};
use self::search::{Judged, search};
use self::slo::Slo;
use crate::commands::bench::command_line;
use crate::compare::bench::{Bench, BenchError, Load, Measured, Subject, order};
use crate::compare::progress::Progress;
use crate::environment::Environment;
use crate::pace::Pace;
use crate::plan::Schedule;
use crate::sweep::passed;
use crate::terminal::grouped;

/// From where the search starts at the least, where the closed loop told nothing.
const START_RPS_MIN: f64 = 100.0;

/// Searches for the capacity of every subject, once per block, and gives what was found, also when
/// interrupted.
///
/// # Errors
/// If nothing can be measured.
pub fn capacity(
    flags: CapacityFlags,
    slo: &Slo,
    (subjects, base): (&[Subject], &Load),
    bench: &mut Bench<'_>,
) -> Result<Capacity, BenchError> {
    let mut failures = Vec::new();
    let subjects = passed(subjects, bench, &mut failures)?;
    let mut servers: Vec<ServerCapacity> =
        subjects.iter().map(|subject| ServerCapacity::new(subject.name())).collect();
    let progress = Progress::new(flags.blocks * subjects.len() as u64);
    'blocks: for number in 0..flags.blocks {
        for at in order(subjects.len(), flags.seed, number) {
            let mut searching = Searching {
                subject: &subjects[at],
                base,
                slo,
                number,
                probes: flags.probes,
                progress: &progress,
                server: &mut servers[at],
            };
            match searching.block(flags.precision, bench)? {
                Found::Interrupted => break 'blocks,
                Found::Nothing(failure) => {
                    failures.push(format!("{}: {failure}", subjects[at].name()));
                    break 'blocks;
                }
                Found::Bracket => progress.step(),
            }
        }
    }
    progress.clear();
    let mut result = Capacity {
        schema: CAPACITY_SCHEMA.to_owned(),
        environment: Environment::look(),
        command: command_line(),
        flags,
        slo: slo.to_string(),
        quantile: slo.first_name().to_owned(),
        servers,
        interrupted: bench.is_interrupted(),
        failures,
        warnings: Vec::new(),
    };
    result.evaluate(slo);
    Ok(result)
}

/// How the search of a block ended.
enum Found {
    Bracket,
    Interrupted,
    /// The server failed before there was anything to search for.
    Nothing(String),
}

/// The search of one server in one block.
struct Searching<'a> {
    subject: &'a Subject,
    base: &'a Load,
    slo: &'a Slo,
    number: u64,
    probes: u64,
    progress: &'a Progress,
    server: &'a mut ServerCapacity,
}

impl Searching<'_> {
    fn block(&mut self, precision: f64, bench: &mut Bench<'_>) -> Result<Found, BenchError> {
        self.progress.say(&format!(
            "{}, block {}: closed loop",
            self.server.server,
            self.number + 1
        ));
        let knee = match bench.block(self.subject, self.base, self.number)? {
            None => return Ok(Found::Interrupted),
            Some(Measured { failure: Some(failure), block }) if block.run.planned > 0 => {
                return Ok(Found::Nothing(failure));
            }
            Some(measured) => measured.block.run.throughput_rps,
        };
        let bracket =
            search(knee.max(START_RPS_MIN), precision, |rate_rps| self.judge(rate_rps, bench))?;
        let Some(bracket) = bracket else { return Ok(Found::Interrupted) };
        let block = CapacityBlock { number: self.number, closed_loop_rps: knee, bracket };
        self.server.blocks.push(block);
        Ok(Found::Bracket)
    }

    /// What most of the probes say; nothing once interrupted.
    fn judge(
        &mut self,
        rate_rps: f64,
        bench: &mut Bench<'_>,
    ) -> Result<Option<Judged>, BenchError> {
        let schedule = Schedule::Open(Pace::fixed(rate_rps));
        let load = Load { schedule, ..self.base.clone() };
        let mut tally = Tally::default();
        let judged = loop {
            let Some(measured) = bench.block(self.subject, &load, self.number)? else {
                return Ok(None);
            };
            let probe = self.probe(rate_rps, measured);
            tally.add(probe.counted, probe.held);
            self.server.probes.push(probe);
            if let Some(judged) = tally.judged(self.probes) {
                break judged;
            }
        };
        let word = match judged {
            Judged::Held => "held",
            Judged::Missed => "missed",
            Judged::Unsent => "beyond the load tester",
        };
        let (server, block) = (&self.server.server, self.number + 1);
        self.progress.say(&format!("{server}, block {block}: {}/s {word}", grouped(rate_rps)));
        Ok(Some(judged))
    }

    fn probe(&self, rate_rps: f64, measured: Measured) -> Probe {
        let Measured { block, failure } = measured;
        // What is wrong with a run in which the server did answer is the load tester's.
        let run = &block.run;
        let is_testers = run.planned == 0 || !run.valid && failure.is_none() && run.ok > 0;
        let missed = failure.or_else(|| self.slo.missed(&block.run, rate_rps));
        let why = if is_testers { block.run.warnings.first().cloned() } else { missed.clone() };
        Probe {
            block: self.number,
            rate_rps,
            held: missed.is_none() && !is_testers,
            counted: !is_testers,
            why,
            quantile_us: self.slo.first_us(&block.run),
            noisy: block.noisy,
            run: block.run,
        }
    }
}

/// How the probes of a rate went.
#[derive(Default)]
struct Tally {
    held: u64,
    missed: u64,
    unsent: u64,
}

impl Tally {
    fn add(&mut self, counted: bool, held: bool) {
        match (counted, held) {
            (false, _) => self.unsent += 1,
            (true, true) => self.held += 1,
            (true, false) => self.missed += 1,
        }
    }

    /// What most of so many say, as soon as they do. What the load tester could not send says
    /// nothing of the server, and after as many such probes it will not get better.
    fn judged(&self, probes: u64) -> Option<Judged> {
        let is_most = |count: u64| count > probes / 2;
        if is_most(self.held) {
            Some(Judged::Held)
        } else if is_most(self.missed) {
            Some(Judged::Missed)
        } else {
            (self.unsent >= probes).then_some(Judged::Unsent)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_probes_decide_and_the_testers_faults_do_not_count() {
        let judged = |probes: &[(bool, bool)]| {
            let mut tally = Tally::default();
            for (counted, held) in probes {
                tally.add(*counted, *held);
            }
            tally.judged(3)
        };
        let (held, missed, unsent) = ((true, true), (true, false), (false, false));
        assert_eq!(judged(&[held, missed]), None);
        assert_eq!(judged(&[held, missed, held]), Some(Judged::Held));
        assert_eq!(judged(&[missed, missed]), Some(Judged::Missed));
        assert_eq!(judged(&[unsent, unsent, held, held]), Some(Judged::Held));
        assert_eq!(judged(&[unsent, unsent]), None);
        assert_eq!(judged(&[unsent, missed, unsent, unsent]), Some(Judged::Unsent));
    }
}
