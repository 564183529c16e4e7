//! Twice as much work as there is capacity for: have it wait, or refuse it.

use std::time::Duration;

use loadtest::process::{Contender, EPOLL};
use loadtest::result::RunResult;
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after, connections, evenly};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// Four places of 10 ms each.
const CAPACITY_RPS: f64 = 400.0;
const WAITS: Contender = EPOLL.with("all wait", &["--max-in-flight=4", "--overload=wait"]);
const SHEDS: Contender = EPOLL.with("refused", &["--max-in-flight=4", "--overload=reject"]);

pub(super) const LAB: Lab = Lab {
    name: "overload",
    title: "Overload, with and without shedding",
    question: "A server can do 400 requests a second: four at a time, 10 ms each. For four \
               seconds 800 a second come. Who gets no answer within half a second gives up. One \
               server has all requests wait for their turn; another refuses at once what finds no \
               place. How many useful answers does the first give, as a part of the second's?",
    choices: &[
        "More: it refuses nobody.",
        "As many: both do 400 a second, and more cannot be done.",
        "About a quarter.",
    ],
    right: 'c',
    ratios: &[
        Ratio { name: "goodput", of: "answers in time, all wait / refused" },
        Ratio {
            name: "p50",
            of: "median time of a request that was not refused, all wait / refused",
        },
    ],
    knob: Knob {
        what: "what is offered, as a part of the capacity",
        settings: &[
            Setting {
                value: "2",
                shape: &[expect("goodput", 0.1..=0.5), expect("p50", 8.0..=120.0)],
            },
            Setting {
                value: "0.5",
                shape: &[expect("goodput", 0.8..=1.25), expect("p50", 0.5..=2.0)],
            },
        ],
        ask: "At half of the capacity, what does the server lose that would refuse?",
    },
    rounds: 3,
    experiment,
    why: "Both servers do the same work: 400 a second. The first does it for people who have \
          left. It is behind from the start, by as much as comes too much; after half a second \
          the line is half a second long, and from then on every answer comes too late. It works \
          at full capacity, and of no use: goodput falls to what was answered before the line grew. \
          The second keeps the line short. Half of the requests are refused at once, and can be \
          sent elsewhere; the other half is answered as fast as on an idle server. (A \
          server may also drop what nobody waits for: `timeout_ms` in a request says how long its \
          client will.)",
    varies: "Its capacity: a wait of 10 ms takes up to a millisecond more, by the timers' \
             resolution.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let offered = if knob == "0.5" { 0.5 } else { 2.0 };
    let offer = |contender: Contender| -> Result<RunResult, LabError> {
        let server = bench.start(contender)?;
        let load = RunConfig {
            connections: connections(64),
            schedule: evenly(CAPACITY_RPS * offered),
            stop: after(4_000),
            warmup: Duration::ZERO, // the beginning is what the first server lives on
            timeout: Duration::from_millis(500),
            ..bench.asks(&server, "wait:10ms")
        };
        bench.run(&load)
    };
    let (waits, sheds) = (offer(WAITS)?, offer(SHEDS)?);
    let mut round = Round::default();
    for (name, result) in [("all wait", &waits), ("refused", &sheds)] {
        round
            .line(name)
            .count("in time", result.ok as f64)
            .count("refused", result.errors.values().sum::<u64>() as f64)
            .count("too late", result.timed_out as f64)
            .us("p50", result.latency_us.p50);
    }
    round.ratio("goodput", waits.ok as f64 / sheds.ok as f64);
    round.ratio("p50", waits.latency_us.p50 / sheds.latency_us.p50);
    Ok(round)
}
