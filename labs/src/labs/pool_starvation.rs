//! A pool whose workers own connections, and owners that say nothing.

use std::time::Duration;

use loadtest::process::{Contender, POOL};
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

const WHOLE_CONNECTIONS: Contender =
    POOL.with("connections", &["--handoff=connection", "--workers=4"]);
const REQUESTS: Contender = POOL.with("requests", &["--handoff=requests", "--workers=4"]);

pub(super) const LAB: Lab = Lab {
    name: "pool-starvation",
    title: "A pool starved by idle owners",
    question: "A pool has four workers, and each converses with one client until that closes: \
               the pool of the textbook. Four clients connect and say nothing. Then a fifth \
               comes, and asks. How many answers does it get, as a part of what it got before the \
               four came?",
    choices: &[
        "All of them: clients that say nothing cost nothing.",
        "About a fifth: five clients share four workers.",
        "None.",
    ],
    right: 'c',
    ratios: &[
        Ratio {
            name: "owned",
            of: "answers beside idle clients / without, a worker per connection",
        },
        Ratio {
            name: "fronted",
            of: "answers beside idle clients / without, a worker per request",
        },
    ],
    knob: Knob {
        what: "how many clients say nothing",
        settings: &[
            Setting {
                value: "4",
                shape: &[expect("owned", 0.0..=0.05), expect("fronted", 0.5..=2.0)],
            },
            Setting {
                value: "3",
                shape: &[expect("owned", 0.5..=2.0), expect("fronted", 0.5..=2.0)],
            },
        ],
        ask: "With one idle client less, does the fifth get a quarter of its answers, or all?",
    },
    rounds: 3,
    experiment,
    why: "A worker that owns a connection is in `read`, waiting for a client that has nothing to \
          say. Four such clients are four workers, and the fifth stands in the queue until one of \
          them leaves, or is thrown out by the idle timeout (five minutes). No processor is busy; \
          nothing is overloaded; all is at rest. What is handed over decides: behind an event \
          front that hands over *requests*, a client costs a worker only while it is answered. The \
          failure has no slope: with one worker left, everything works.",
    varies: "Nothing much: whether a worker is free does not hang on the machine.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let idle = if knob == "3" { 3 } else { 4 };
    let answers = |contender: Contender, idle: usize| -> Result<f64, LabError> {
        let server = bench.start(contender)?;
        let load = RunConfig {
            background_idle: idle, // connected before the load is
            stop: after(1_000),
            timeout: Duration::from_millis(500),
            ..bench.asks(&server, "wait:2ms")
        };
        Ok(bench.run_in_vain(&load)?.throughput_rps)
    };
    let mut round = Round::default();
    for (ratio, contender) in [("owned", WHOLE_CONNECTIONS), ("fronted", REQUESTS)] {
        let (alone, beside) = (answers(contender, 0)?, answers(contender, idle)?);
        round
            .line(format!("a worker per {}", contender.name.trim_end_matches('s')))
            .count("answers/s, alone", alone)
            .count("beside idle clients", beside);
        round.ratio(ratio, beside / alone);
    }
    Ok(round)
}
