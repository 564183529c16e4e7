//! A connection for each request, against connections that stay.

use std::num::NonZeroU64;

use loadtest::process::EPOLL;
use loadtest::result::RunResult;
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after, closed, connections};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

pub(super) const LAB: Lab = Lab {
    name: "churn",
    title: "Connection churn",
    question: "Sixteen clients ask for echoes, one at a time each. In one case their connections \
               stay; in the other each request comes on a connection of its own, which is closed \
               after the answer. How many times more requests get done where connections stay?",
    choices: &[
        "About 1.2 times: on one machine a connect is nearly free.",
        "Three times, or ten.",
        "A thousand times.",
    ],
    right: 'b',
    ratios: &[
        Ratio { name: "throughput", of: "requests a second, kept / opened anew" },
        Ratio { name: "cpu", of: "CPU of a request, opened anew / kept" },
    ],
    knob: Knob {
        what: "requests that a connection carries",
        settings: &[
            Setting {
                value: "1",
                shape: &[expect("throughput", 2.5..=40.0), expect("cpu", 1.8..=30.0)],
            },
            Setting {
                value: "100",
                shape: &[expect("throughput", 0.7..=2.0), expect("cpu", 0.7..=1.7)],
            },
        ],
        ask: "If a connection costs as much as N requests, what is left of the difference when it \
              carries a hundred? (Turn it to 100, and see how near your N was.)",
    },
    rounds: 3,
    experiment,
    why: "An echo on an open connection is two system calls of the server, and two segments. A \
          connection adds a handshake of three segments, an accept, a socket that is made, set up \
          and registered, a read that finds the end, a close, and the farewell of both sides; and \
          half of the processor's caches for all that. Over a network it also adds a round trip or \
          two, and with TLS a signature. It is paid once a connection, so that its part of a \
          request falls as 1/N: with a hundred requests on each there is little left of it. \
          (Whoever closes first keeps the port for a minute, in TIME-WAIT: an address has some \
          28,000, so that a client with one address can open fewer than 500 connections a second \
          in the long run. The load tester comes from 250 addresses.)",
    varies: "Which side is the limit: the client pays for its half of each connection too.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let requests_each = if knob == "100" { 100 } else { 1 };
    let load = |requests_per_connection: Option<NonZeroU64>| -> Result<RunResult, LabError> {
        let server = bench.start(EPOLL)?;
        let load = RunConfig {
            connections: connections(16),
            schedule: closed(1),
            stop: after(1_500),
            requests_per_connection,
            ..bench.asks(&server, "echo:64")
        };
        bench.run(&load)
    };
    let (kept, anew) = (load(None)?, load(NonZeroU64::new(requests_each))?);
    let cpu_us =
        |result: &RunResult| result.server.map_or(f64::NAN, |cost| cost.cpu_us_per_request);
    let mut round = Round::default();
    for (name, result) in [("kept", &kept), ("opened anew", &anew)] {
        round
            .line(name)
            .count("requests/s", result.throughput_rps)
            .us("CPU of a request", cpu_us(result))
            .count("connections", result.connections_opened as f64);
    }
    round.ratio("throughput", kept.throughput_rps / anew.throughput_rps);
    round.ratio("cpu", cpu_us(&anew) / cpu_us(&kept));
    Ok(round)
}
