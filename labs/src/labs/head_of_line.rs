//! Many requests on one connection: answered in order, or as streams beside each other.

use loadtest::process::{Contender, EPOLL, GRPC};
use loadtest::result::RunResult;
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after, closed, connections, evenly};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// Requests under way at a time, over all connections.
const UNDER_WAY: usize = 10;

pub(super) const LAB: Lab = Lab {
    name: "head-of-line",
    title: "Head-of-line blocking against streams",
    question: "A client has one connection, and ten requests under way on it at a time, each of \
               which waits for 20 ms on the server without needing anything of it. On a framed \
               connection answers come in the order of requests, one after the other; over HTTP/2 \
               each request is a stream. How much more does the client get done over HTTP/2?",
    choices: &[
        "Less: HTTP/2 costs more for each request.",
        "About the same: the ten are under way in both cases.",
        "Ten times as much.",
    ],
    right: 'c',
    ratios: &[
        Ratio { name: "answers", of: "answers a second, streams / framed" },
        Ratio { name: "behind", of: "p75 of quick requests between slow ones, framed / streams" },
    ],
    knob: Knob {
        what: "framed connections among which the client divides the same requests",
        settings: &[
            Setting {
                value: "1",
                shape: &[expect("answers", 6.0..=14.0), expect("behind", 8.0..=5000.0)],
            },
            Setting {
                value: "10",
                shape: &[expect("answers", 0.6..=1.4), expect("behind", 0.05..=5.0)],
            },
        ],
        ask: "How many framed connections make up for ten streams? What do they cost the server \
              that streams do not?",
    },
    rounds: 3,
    experiment,
    why: "Where answers must come in order, a request behind a slow one waits for it, though \
          nothing keeps the server from doing it: the head of the line blocks. One request at a \
          time is 20 ms each: 50 a second, however many are under way. Streams have no order among \
          each other, so that ten of them wait at the same time. It is the protocol that blocks, \
          and not the model: the loop behind the framed connection is idle. Ten framed connections \
          do the same as ten streams, for ten sockets. (Below HTTP/2 there is one TCP connection, \
          and a lost packet holds all its streams up. HTTP/3 is about that.)",
    varies: "A wait of 20 ms ends a millisecond or two late, by the timers' resolution and the \
             machine's load; each server has its own timers.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let lines = if knob == "10" { 10 } else { 1 };
    let loads = |contender: Contender, lines: usize| -> Result<[RunResult; 2], LabError> {
        let server = bench.start(contender)?;
        let many = RunConfig {
            connections: connections(lines),
            schedule: closed(UNDER_WAY / lines),
            stop: after(1_500),
            ..bench.asks(&server, "wait:20ms")
        };
        // Ten slow ones a second: for half of the time, one is on its way.
        let mixed = RunConfig {
            connections: connections(lines),
            schedule: evenly(100.0),
            stop: after(2_000),
            ..bench.asks(&server, "echo:64=9,wait:50ms=1")
        };
        Ok([bench.run(&many)?, bench.run(&mixed)?])
    };
    let [framed, framed_mixed] = loads(EPOLL, lines)?;
    let [streams, streams_mixed] = loads(GRPC, 1)?;
    let mut round = Round::default();
    round
        .line(if lines == 1 { "framed, 1 connection" } else { "framed, 10 connections" })
        .count("answers/s", framed.throughput_rps)
        .us("p75 of the mix", framed_mixed.latency_us.p75);
    round
        .line("streams, 1 connection")
        .count("answers/s", streams.throughput_rps)
        .us("p75 of the mix", streams_mixed.latency_us.p75);
    round.ratio("answers", streams.throughput_rps / framed.throughput_rps);
    round.ratio("behind", framed_mixed.latency_us.p75 / streams_mixed.latency_us.p75);
    Ok(round)
}
