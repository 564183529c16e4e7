//! A CPU spike: which thread is it? The same question to each model, as `top -H` would answer it.

use std::collections::BTreeMap;
use std::time::Duration;

use loadtest::process::{Contender, EPOLL, GRPC, POOL, TASKS, THREADS};
use loadtest::run::RunConfig;
use procfs::process::Process;

use crate::bench::{Bench, LabError, closed, connections};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// Until the load is there, and for how long threads are looked at.
const BEFORE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(1_500);

pub(super) const LAB: Lab = Lab {
    name: "hot-thread",
    title: "Finding the hot thread",
    question: "The epoll server burns a core, and then some. Its threads have names: `epoll`, which \
               is the main thread, `epoll-loop-0`, `compute-0` and so on. Sixteen clients load it, \
               with requests of 5,000 hashes each. Which threads use the CPU?",
    choices: &[
        "`epoll-loop-0`: the loop serves all clients.",
        "`compute-0` and its like: the loop hands such work to them.",
        "`epoll`, the main thread.",
    ],
    right: 'b',
    ratios: &[
        Ratio { name: "compute", of: "CPU of epoll's threads named compute / of all its threads" },
        Ratio { name: "loop", of: "CPU of epoll's loop / of all its threads" },
        Ratio { name: "spread", of: "CPU of the hottest thread of threads / of all its threads" },
    ],
    knob: Knob {
        what: "--offload of the servers that have it",
        settings: &[
            Setting {
                value: "on",
                shape: &[
                    expect("compute", 0.8..=1.0),
                    expect("loop", 0.0..=0.2),
                    expect("spread", 0.03..=0.4),
                ],
            },
            Setting {
                value: "off",
                shape: &[
                    expect("compute", 0.0..=0.1),
                    expect("loop", 0.85..=1.0),
                    expect("spread", 0.03..=0.4),
                ],
            },
        ],
        ask: "With `--offload off` the loop does the work itself. Which thread is hot then, and how \
              does that differ from a loop that has too many clients?",
    },
    rounds: 2,
    experiment,
    why: "A model is also a place for each kind of work, and a thread's name says which place it \
          is. In epoll, tasks and grpc the loop or the workers wait and the `compute` threads \
          compute: heat there is work that was asked for. Heat in the loop itself is too many \
          requests, or something on it that does not belong there. In the pool it is in a worker. \
          With a thread per connection it is spread over as many threads as there are busy \
          clients, and none is at the top: there the question is who asks, and not which thread. \
          So: `top -H` for the thread, its name for the place, `perf` for what it does there.",
    varies: "How many compute threads there are: one a core.",
};

/// The same program with each knob.
const OFF: &[&str] = &["--offload=off"];
/// Clients, and what each of their requests costs.
const CLIENTS: usize = 16;
const WORK: &str = "compute:5000";

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let flags = if knob == "off" { OFF } else { &[] };
    let mut round = Round::default();
    for contender in [THREADS, POOL, TASKS, EPOLL, GRPC] {
        let has_knob = contender.name != THREADS.name && contender.name != POOL.name;
        let flags = if has_knob { flags } else { &[] };
        let heat = Heat::of(bench, contender.with(contender.name, flags))?;
        let (hottest, part) = heat.hottest();
        round
            .line(format!("{}: {hottest}", contender.name))
            .part("hottest thread", part)
            .part("all of that name", heat.part_of(kind(&hottest)))
            .count("threads", heat.threads.len() as f64);
        match contender.name {
            "threads" => round.ratio("spread", part),
            "epoll" => {
                round.ratio("compute", heat.part_of("compute"));
                round.ratio("loop", heat.part_of("epoll-loop"));
            }
            _ => {}
        }
    }
    Ok(round)
}

/// What each thread of a process used of its CPU time, by its number and name.
struct Heat {
    threads: Vec<(String, u64)>,
}

impl Heat {
    fn of(bench: &Bench<'_>, contender: Contender) -> Result<Self, LabError> {
        let server = bench.start(contender)?;
        let load = RunConfig {
            connections: connections(CLIENTS),
            schedule: closed(1),
            ..bench.asks(&server, WORK)
        };
        let (_, threads) = bench.beside(&load, || {
            bench.pause(BEFORE)?;
            let before = ticks(server.pid())?;
            bench.pause(LOOK)?;
            let after = ticks(server.pid())?;
            let used = after.into_iter().map(|(tid, (name, ticks))| {
                let then = before.get(&tid).map_or(0, |(_, then)| *then);
                (name, ticks.saturating_sub(then))
            });
            Ok(used.collect())
        })?;
        Ok(Self { threads })
    }

    /// Its name, and its part of all CPU time.
    fn hottest(&self) -> (String, f64) {
        let hottest = self.threads.iter().max_by_key(|(_, ticks)| *ticks);
        hottest.map_or_else(Default::default, |(name, ticks)| {
            (name.clone(), *ticks as f64 / self.all())
        })
    }

    /// The part of all threads of this kind.
    fn part_of(&self, name: &str) -> f64 {
        let of_kind = self.threads.iter().filter(|(other, _)| kind(other) == name);
        of_kind.map(|(_, ticks)| ticks).sum::<u64>() as f64 / self.all()
    }

    fn all(&self) -> f64 {
        self.threads.iter().map(|(_, ticks)| ticks).sum::<u64>() as f64
    }
}

/// A thread's name without its number.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|end: char| end.is_ascii_digit()).trim_end_matches('-')
}

/// CPU time of each thread so far, in ticks of some milliseconds.
fn ticks(pid: i32) -> Result<BTreeMap<i32, (String, u64)>, LabError> {
    let read = || -> procfs::ProcResult<_> {
        let tasks = Process::new(pid)?.tasks()?.flatten();
        let stat = tasks.filter_map(|task| Some((task.tid, task.stat().ok()?)));
        Ok(stat.map(|(tid, stat)| (tid, (stat.comm, stat.utime + stat.stime))).collect())
    };
    read().map_err(|error| LabError::Failed(format!("cannot read the threads of {pid}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_kind_have_a_name_without_its_number() {
        assert_eq!(kind("compute-11"), "compute");
        assert_eq!(kind("epoll-loop-0"), "epoll-loop");
        assert_eq!(kind("threads-conn"), "threads-conn");
        let heat = Heat {
            threads: [("epoll", 0), ("epoll-loop-0", 10), ("compute-0", 50), ("compute-1", 40)]
                .map(|(name, ticks)| (name.to_owned(), ticks))
                .into(),
        };
        assert_eq!(heat.hottest(), ("compute-0".to_owned(), 0.5));
        assert!((heat.part_of("compute") - 0.9).abs() < 1e-9);
    }
}
