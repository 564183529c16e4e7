//! Work that needs a core: on the event loop itself, or on another thread.

use loadtest::process::{Contender, EPOLL};
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after, closed, connections, open};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

pub(super) const LAB: Lab = Lab {
    name: "inline-compute",
    title: "Compute inline against offloaded",
    question: "Sixteen clients ask an event loop for ten hashes a request: a microsecond of a core, \
               or a few. The loop can do that itself, or hand it to a pool of threads and write the \
               answer when they are done. How much CPU does a request cost the server if it is \
               handed over?",
    choices: &[
        "Less: the loop has less to do.",
        "The same: the hashes are the same.",
        "More: half as much again, or a multiple.",
    ],
    right: 'c',
    ratios: &[
        Ratio { name: "cpu", of: "CPU of a request, offloaded / inline" },
        Ratio { name: "echo", of: "median of another client's echoes, inline / offloaded" },
    ],
    knob: Knob {
        what: "hashes of a request",
        settings: &[
            Setting { value: "10", shape: &[expect("cpu", 1.25..=30.0)] },
            Setting { value: "100", shape: &[expect("cpu", 0.9..=6.0)] },
            Setting {
                value: "20000",
                shape: &[expect("cpu", 0.6..=2.2), expect("echo", 2.0..=5000.0)],
            },
        ],
        ask: "With ten times the work, what is left of the difference? And with 20,000 hashes a \
              request, which takes a millisecond or more, what do handing over and doing it inline \
              cost, and whom?",
    },
    rounds: 3,
    experiment,
    why: "To hand a job over is to put it into a queue, to wake a thread for it, to put the \
          result into another queue, and to wake the loop: system calls and context switches that \
          cost some microseconds themselves. A job that takes less than that is cheaper where it is. \
          For one of milliseconds the price of handing over is lost in the work, and what counts is \
          who waits meanwhile: inline, everybody whom the loop serves; offloaded, the one who \
          asked. Somewhere between lies the crossover of your machine: look for it with the knob, \
          and measure the work before you offload it.",
    varies: "How fast the processor hashes, and whether two threads share one of its cores: then \
             the same work costs each more time.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let load = |contender: Contender| -> Result<[f64; 3], LabError> {
        let server = bench.start(contender)?;
        let compute = RunConfig {
            connections: connections(16),
            schedule: closed(1),
            ..bench.asks(&server, &format!("compute:{knob}"))
        };
        let echoes = RunConfig {
            schedule: open(50.0),
            stop: after(2_000),
            ..bench.asks(&server, "echo:64")
        };
        let (compute, echoes) = bench.beside(&compute, || bench.run(&echoes))?;
        let cpu_us = compute.server.map_or(f64::NAN, |cost| cost.cpu_us_per_request);
        Ok([cpu_us, compute.throughput_rps, echoes.latency_us.p50])
    };
    let inline = load(EPOLL.with("inline", &["--offload=off"]))?;
    let offloaded = load(EPOLL.with("offloaded", &["--offload=on"]))?;
    let mut round = Round::default();
    for (name, [cpu_us, rps, echo_us]) in [("inline", inline), ("offloaded", offloaded)] {
        round
            .line(name)
            .us("CPU of a request", cpu_us)
            .count("requests/s", rps)
            .us("p50 of echoes", echo_us);
    }
    round.ratio("cpu", offloaded[0] / inline[0]);
    round.ratio("echo", inline[2] / offloaded[2]);
    Ok(round)
}
