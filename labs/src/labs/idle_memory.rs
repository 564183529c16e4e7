//! Connections that say nothing: what each of them costs in memory.

use loadtest::memory::idle_connection_bytes;
use loadtest::process::{Contender, EPOLL, GRPC, TASKS, THREADS};

use crate::bench::{Bench, LabError};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

pub(super) const LAB: Lab = Lab {
    name: "idle-memory",
    title: "Idle connections against memory",
    question: "A thousand clients connect to a server with a thread per connection, and say \
               nothing. The same to an event loop. How much more of its own memory does the \
               first need for each of them?",
    choices: &[
        "About the same: a connection is a socket, and that is the kernel's.",
        "Some tens of times more.",
        "Some thousands of times more: a thread has a stack of megabytes.",
    ],
    right: 'b',
    ratios: &[Ratio {
        name: "memory",
        of: "memory of an idle connection, the server of the knob / epoll",
    }],
    knob: Knob {
        what: "which server is held against epoll",
        settings: &[
            Setting { value: "threads", shape: &[expect("memory", 8.0..=100.0)] },
            Setting { value: "tasks", shape: &[expect("memory", 1.5..=10.0)] },
            Setting { value: "grpc", shape: &[expect("memory", 12.0..=150.0)] },
        ],
        ask: "A task is a future on the heap, and no thread waits in it. Is it nearer to the \
              thread, or to the event loop? And an HTTP/2 connection, whose task is such a future \
              too?",
    },
    rounds: 3,
    experiment,
    why: "A thread that waits in `read` stands in the middle of its calls, and they are on its \
          stack. Untouched pages of a stack are no memory, so that its size hardly matters; but \
          the pages that were touched are, and a page is 4 KiB: two or three of them, and what \
          the C library keeps for each thread. An event loop keeps of a silent client what it \
          needs to go on: a socket, a state, no buffer, in a table. That is some hundred bytes. \
          (The kernel has its own part: a socket for both, and for a thread 16 KiB of kernel \
          stack on top. That is not in this figure.)",
    varies: "The size of a page: with pages of 16 or 64 KiB a thread takes as much more.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let other = match knob {
        "tasks" => TASKS,
        "grpc" => GRPC,
        _ => THREADS,
    };
    let bytes = |server: Contender| {
        let slope = idle_connection_bytes(server, bench.launch())?;
        let held = || LabError::Failed(format!("{} did not hold 1,000 connections", server.name));
        slope.ok_or_else(held)
    };
    let (few, many) = (bytes(EPOLL)?, bytes(other)?);
    let mut round = Round::default();
    round.line("epoll").bytes("a connection", few).bytes("10,000 of them", few * 1e4);
    round.line(other.name).bytes("a connection", many).bytes("10,000 of them", many * 1e4);
    round.ratio("memory", many / few);
    Ok(round)
}
