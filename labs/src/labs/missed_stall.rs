//! A server that stands still for a while, seen by a closed loop and by an open one.

use std::thread;
use std::time::{Duration, Instant};

use loadtest::process::EPOLL;
use loadtest::result::RunResult;
use loadtest::run::RunConfig;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, LabError, after, closed, connections, evenly};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// How long a load goes on before the server is stopped.
const BEFORE: Duration = Duration::from_millis(1_500);

pub(super) const LAB: Lab = Lab {
    name: "missed-stall",
    title: "The stall that is missed",
    question: "A server stands still for one second out of four; for the rest it answers in a \
               tenth of a millisecond. A load tester with four connections sends each request \
               when the last was answered: a closed loop. What p99 does it report?",
    choices: &[
        "About a second: it was there all the time.",
        "About a quarter of a second.",
        "Less than a millisecond or two.",
    ],
    right: 'c',
    ratios: &[
        Ratio { name: "closed", of: "p99 of the closed loop / the stall" },
        Ratio { name: "open", of: "p99 of the open schedule / the stall" },
    ],
    knob: Knob {
        what: "how long the server stands still",
        settings: &[
            Setting {
                value: "1s",
                shape: &[expect("closed", 0.0..=0.1), expect("open", 0.85..=1.05)],
            },
            Setting {
                value: "100ms",
                shape: &[expect("closed", 0.0..=0.3), expect("open", 0.3..=0.9)],
            },
        ],
        ask: "A stall of a tenth of a second meets 2.5 % of the schedule. Where in the stall is \
              the p99 of the open schedule then?",
    },
    rounds: 2,
    experiment,
    why: "A closed loop stops when the server stops: four requests are on their way, and none is \
          sent until they return. So four requests are slow, among hundreds of thousands of quick \
          ones, and no percentile below the maximum knows of it. The loop asked the server only \
          when the server was ready to be asked: its omissions are coordinated with what it \
          measures. Users are not: they come meanwhile. The open schedule plans each request ahead \
          and counts from the planned time, so a quarter of its requests meets the stall, and waits \
          for the rest of it. Where waits are spread evenly from nothing to the whole stall, the \
          hundredth part of all requests waits for more than 0.96 of it.",
    varies: "How quickly the server gets through what has piled up, which is short here.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let stall = if knob == "100ms" { Duration::from_millis(100) } else { Duration::from_secs(1) };
    let server = bench.start(EPOLL)?;
    let load = RunConfig {
        connections: connections(4),
        stop: after(4_000),
        warmup: Duration::ZERO,
        ..bench.asks(&server, "echo:64")
    };
    let closed = RunConfig { schedule: closed(1), ..load.clone() };
    let open = RunConfig { schedule: evenly(500.0), ..load };
    let mut round = Round::default();
    for (ratio, load) in [("closed", closed), ("open", open)] {
        let (result, stood_s) = stalled(bench, server.pid(), &load, stall)?;
        round
            .line(ratio)
            .us("p50", result.latency_us.p50)
            .us("p99", result.latency_us.p99)
            .us("max", result.latency_us.max)
            .count("requests", result.ok as f64);
        round.ratio(ratio, result.latency_us.p99 / (stood_s * 1e6));
    }
    Ok(round)
}

/// The load, in the middle of which the server stands still; and for how long it really did.
fn stalled(
    bench: &Bench<'_>,
    pid: i32,
    load: &RunConfig,
    stall: Duration,
) -> Result<(RunResult, f64), LabError> {
    thread::scope(|scope| {
        let standing = scope.spawn(|| -> Result<f64, LabError> {
            bench.pause(BEFORE)?;
            let _continues = Stopped::new(pid);
            let began = Instant::now();
            bench.pause(stall)?;
            Ok(began.elapsed().as_secs_f64())
        });
        let result = bench.run(load);
        let stood_s = standing.join().map_err(|_| LabError::Failed("no stall".to_owned()))?;
        Ok((result?, stood_s?))
    })
}

/// A server of ours that stands still as long as this lives.
struct Stopped(Option<Pid>);

impl Stopped {
    fn new(pid: i32) -> Self {
        let pid = Pid::from_raw(pid);
        let _ = pid.map(|pid| kill_process(pid, Signal::STOP));
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.map(|pid| kill_process(pid, Signal::CONT));
    }
}
