//! One event loop, and a request that blocks: on the loop itself, or on another thread.

use loadtest::process::{Contender, EPOLL};
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after, connections, evenly, open};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// The part of the time for which some request blocks.
const BLOCKED: f64 = 0.2;

pub(super) const LAB: Lab = Lab {
    name: "blocked-loop",
    title: "The blocked event loop",
    question: "One event loop serves four clients that ask for echoes, 200 a second. A fifth \
               client asks four times a second for something that blocks for 50 ms, and the loop \
               does that itself: it is blocked for a fifth of the time. What becomes of the p90 \
               of the echoes, against a loop that hands the blocking to another thread?",
    choices: &[
        "Nothing much: four fifths of the time the loop is free, and echoes are short.",
        "It grows by about a fifth.",
        "It grows to some 25 ms: a hundred times.",
    ],
    right: 'c',
    ratios: &[
        Ratio { name: "p90", of: "p90 of echoes, blocked loop / offloaded" },
        Ratio { name: "of-block", of: "p90 of echoes on the blocked loop / what blocks it" },
    ],
    knob: Knob {
        what: "how long a request blocks, for the same fifth of the time in all",
        settings: &[
            Setting {
                value: "50ms",
                shape: &[expect("p90", 8.0..=5000.0), expect("of-block", 0.3..=0.8)],
            },
            Setting {
                value: "5ms",
                shape: &[expect("p90", 2.0..=500.0), expect("of-block", 0.3..=0.9)],
            },
        ],
        ask: "Ten times as many requests block for a tenth of the time each: the loop is as busy \
              as before. Which of the two ratios changes, and which does not?",
    },
    rounds: 3,
    experiment,
    why: "While the loop sleeps in a system call, nobody is read, and nobody written to: an echo \
          that arrives then waits for the rest of it. A fifth of them do, and their waits are \
          spread evenly from nothing to the whole 50 ms. So a tenth of all echoes waits for more \
          than half of that: p90 is 25 ms, however fast an echo is. A mean of load says nothing of \
          this; what counts is the longest thing that runs on the loop. Handed to another thread, \
          the block costs the loop the handing over.",
    varies: "How long an undisturbed echo takes, by which the first ratio is divided: on a \
             machine with other work that is longer. The second ratio does not hang on it.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let block_s = if knob == "5ms" { 0.005 } else { 0.050 };
    let p90_us = |server: Contender| -> Result<f64, LabError> {
        let server = bench.start(server)?;
        let block = RunConfig {
            schedule: evenly(BLOCKED / block_s),
            ..bench.asks(&server, &format!("block:{knob}"))
        };
        let echoes = RunConfig {
            connections: connections(4),
            schedule: open(200.0),
            stop: after(3_000),
            ..bench.asks(&server, "echo:64")
        };
        let (_, echoes) = bench.beside(&block, || bench.run(&echoes))?;
        Ok(echoes.latency_us.p90)
    };
    let offloaded = p90_us(EPOLL.with("offloaded", &["--offload=on"]))?;
    let blocked = p90_us(EPOLL.with("blocked", &["--offload=off"]))?;
    let mut round = Round::default();
    round.line("offloaded").us("p90 of echoes", offloaded);
    round.line("on the loop").us("p90 of echoes", blocked);
    round.ratio("p90", blocked / offloaded);
    round.ratio("of-block", blocked / (block_s * 1e6));
    Ok(round)
}
