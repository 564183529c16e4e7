//! A client that always has more to ask, and one that asks now and then, on one event loop.

use loadtest::process::EPOLL;
use loadtest::run::RunConfig;

use crate::bench::{Bench, LabError, after, closed, open};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// Requests of the greedy client that are under way at any time.
const UNDER_WAY: usize = 50_000;

pub(super) const LAB: Lab = Lab {
    name: "fairness",
    title: "Fairness under a greedy client",
    question: "One event loop has two clients. A greedy one keeps 50,000 requests under way on its \
               connection, so that there is always more of it than the loop can do. The other \
               asks a hundred times a second for one echo. How long does the second wait for an \
               answer, as a part of how long the greedy one waits for each of its own?",
    choices: &[
        "As long: who comes later stands behind all that came before.",
        "A small part of it: one turn, and not the whole line.",
        "Much longer: the loop never gets to it.",
    ],
    right: 'b',
    ratios: &[Ratio {
        name: "turn",
        of: "median time of an answer, the quiet client / the greedy one",
    }],
    knob: Knob {
        what: "what the greedy client asks for; the loop computes inline",
        settings: &[
            Setting { value: "echo:64", shape: &[expect("turn", 0.0..=0.25)] },
            Setting { value: "compute:100", shape: &[expect("turn", 0.0..=0.5)] },
        ],
        ask: "A turn ends after 16 KiB of requests. Those of `compute:100` are small, and each \
              costs many times what an echo costs. How long is a turn then, and whose fault \
              is that?",
    },
    rounds: 3,
    experiment,
    why: "The loop reads from a connection once in a turn, 16 KiB at the most, answers what that \
          brought, and goes on with the others; who has more left gets another turn after them. So \
          the quiet client waits for one turn of the greedy one, some two hundred echoes, while \
          the greedy one waits behind its own 50,000. The line is in the sockets' buffers, where \
          it costs nobody else. A loop that reads until a socket has nothing would never come back \
          from a client that always has something. But look what the bound counts: bytes, and not \
          work. With requests that are small and dear, a turn of the same bytes is a thousand \
          requests and takes milliseconds: that is why work that computes belongs on \
          other threads (`--offload on`).",
    varies: "On a machine whose cores are all taken, the quiet client's own wake-up takes longer \
             than a turn.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let server = bench.start(EPOLL.with("epoll", &["--offload=off"]))?;
    let quiet =
        RunConfig { schedule: open(100.0), stop: after(2_500), ..bench.asks(&server, "echo:64") };
    let greedy = RunConfig { schedule: closed(UNDER_WAY), ..bench.asks(&server, knob) };
    let alone = bench.run(&quiet)?;
    let (greedy, beside) = bench.beside(&greedy, || bench.run(&quiet))?;
    let mut round = Round::default();
    for (name, result) in [("quiet, alone", &alone), ("quiet, beside", &beside)] {
        round
            .line(name)
            .us("p50", result.latency_us.p50)
            .us("p90", result.latency_us.p90)
            .count("answers/s", result.throughput_rps);
    }
    round
        .line("greedy")
        .us("p50", greedy.latency_us.p50)
        .us("p90", greedy.latency_us.p90)
        .count("answers/s", greedy.throughput_rps);
    round.ratio("turn", beside.latency_us.p50 / greedy.latency_us.p50);
    Ok(round)
}
