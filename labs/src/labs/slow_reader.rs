//! Clients that ask for much and read it slowly.

use std::time::Duration;

use loadtest::background::Background;
use loadtest::cost::{Memory, kernel_tcp_bytes};
use loadtest::process::{EPOLL, GRPC, THREADS};
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after, connections, open};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

const SLOW_READERS: usize = 20;
/// Until the buffers on the way are full.
const FILLING: Duration = Duration::from_secs(2);

pub(super) const LAB: Lab = Lab {
    name: "slow-reader",
    title: "The slow reader",
    question: "Twenty clients ask for echoes of 64 KiB, as fast as the server takes their \
               requests, and each reads 40 KiB of its answers a second. What becomes of the \
               server's memory, as long as that goes on?",
    choices: &[
        "It grows: answers that nobody reads have to be kept somewhere.",
        "It grows for a moment, and then stays where it is.",
        "It does not grow: the server notices slow readers, and closes their connections.",
    ],
    right: 'b',
    ratios: &[
        Ratio { name: "memory", of: "memory for the slow readers, after five seconds / after two" },
        Ratio { name: "others", of: "median of another client's echoes, beside them / without" },
    ],
    knob: Knob {
        what: "which server",
        settings: &[
            Setting {
                value: "epoll",
                shape: &[expect("memory", 0.5..=2.0), expect("others", 0.2..=5.0)],
            },
            Setting {
                value: "threads",
                shape: &[expect("memory", 0.5..=2.0), expect("others", 0.2..=5.0)],
            },
            Setting {
                value: "grpc",
                shape: &[expect("memory", 0.5..=2.0), expect("others", 0.2..=5.0)],
            },
        ],
        ask: "A thread that waits in `write` reads nothing; a loop that may not wait has to decide \
              not to read; over HTTP/2 there are windows. Do all three keep the promise?",
    },
    rounds: 2,
    experiment,
    why: "The buffers on the way fill up: the client's, the server's socket's, and then what the \
          server itself holds for this connection. At that mark it takes no further request of \
          this client and does not read its socket. So the client's own sending stops, by TCP's \
          flow control: that is back-pressure, and it reaches the one who causes it. Others have \
          other connections, and notice nothing. A server that reads on and keeps all answers \
          would grow by the same every second, at the speed of the loopback, until it is killed: \
          after five seconds it would hold 2.5 times as much as after two.",
    varies: "How much the kernel keeps: its buffers grow by its own rules.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let server = bench.start(match knob {
        "threads" => THREADS,
        "grpc" => GRPC,
        _ => EPOLL,
    })?;
    let echoes = RunConfig {
        connections: connections(4),
        schedule: open(200.0),
        stop: after(2_700), // and the warm-up: three seconds
        ..bench.asks(&server, "echo:64")
    };
    let memory = || -> Result<(f64, f64), LabError> {
        let own = Memory::of(server.pid())?.rss_anon_bytes;
        Ok((own as f64, kernel_tcp_bytes().unwrap_or(0) as f64))
    };
    let alone_us = bench.run(&echoes)?.latency_us.p50;
    let before = memory()?;
    let slow = Background::open(server.target, 0, SLOW_READERS, echoes.timeout)?;
    bench.pause(FILLING)?;
    let soon = memory()?;
    let beside_us = bench.run(&echoes)?.latency_us.p50;
    let later = memory()?;
    slow.finish();
    let mut round = Round::default();
    for (name, (own, kernel)) in [("before", before), ("after 2 s", soon), ("after 5 s", later)] {
        round.line(name).bytes("server's own", own).bytes("TCP, both ends", kernel);
    }
    round.ratio("memory", (later.0 - before.0) / (soon.0 - before.0));
    round.ratio("others", beside_us / alone_us);
    Ok(round)
}
