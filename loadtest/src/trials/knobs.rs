//! The knobs: what each choice changes, by how much, and when it helps.
//!
//! A knob is turned where nothing hides it: those of an event loop on the floor, which does nothing
//! but wait, read and write; those of a model on its server.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::Trial;
use super::report::{Figure, Measured, Ratio, TrialReport};
use crate::compare::grid::{Grid, NOTHING, Row, Tone, ratio};
use crate::compare::report::Entry;
use crate::compare::table::mark;
use crate::process::{Contender, EPOLL, FLOOR, GRPC, POOL, TASKS};
use crate::target::Protocol;

/// Name and version of the schema.
pub const KNOBS_SCHEMA: &str = "quintet/knobs/1";

/// One choice.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// Default first, then what is chosen in its place.
    pub trial: Trial,
    /// When to choose it: what the figures mean.
    pub advice: &'static str,
}

/// Work that blocks the one who does it, in one request of ten.
const SOME_BLOCK: &str = "echo:64=90,block:5ms=10";

/// All of them.
pub const KNOBS: &[Knob] = &[
    Knob {
        trial: Trial::echo(
            "trigger",
            64,
            1,
            &[
                FLOOR,
                Contender::raw("edge", &["--edge"]),
                Contender::raw("edge, until it would block", &["--edge", "--until-would-block"]),
            ],
        ),
        advice: "Neither changes what can be told here: a read that finds nothing is a cheap system call. A short read \
                 says the same without it.",
    },
    Knob {
        trial: Trial::echo(
            "events of one wait",
            1_000,
            1,
            &[
                FLOOR,
                Contender::raw("16 events", &["--events=16"]),
                Contender::raw("1 event", &["--events=1"]),
            ],
        ),
        advice: "One wait is shared by all who are ready: a few dozen share it well enough. Fewer \
                 keep a turn short, for the price of more waits.",
    },
    Knob {
        trial: Trial::echo("busy poll", 1, 1, &[FLOOR, Contender::raw("spin", &["--spin"])]),
        advice: "Nobody waits for a halted core to wake up, and a core is burnt for it. For few \
                 connections, a core to spare, and microseconds that matter.",
    },
    Knob {
        trial: Trial::echo(
            "busy poll under load",
            64,
            1,
            &[FLOOR, Contender::raw("spin", &["--spin"])],
        ),
        advice: "There is always something to do, so that the loop does not sleep anyway.",
    },
    Knob {
        trial: Trial::echo(
            "bytes of one read",
            64,
            16,
            &[
                FLOOR,
                Contender::raw("16 KiB", &["--read-bytes=16384"]),
                Contender::raw("4 KiB", &["--read-bytes=4096"]),
                Contender::raw("512 B", &["--read-bytes=512"]),
            ],
        ),
        advice: "As much as commonly waits, and a buffer that all connections share. Beyond that \
                 it changes nothing.",
    },
    Knob {
        trial: Trial::echo(
            "one write for each reply",
            64,
            16,
            &[
                FLOOR,
                Contender::raw("each by itself", &["--write-bytes=76"]),
                Contender::raw("each by itself, Nagle", &["--write-bytes=76", "--nagle"]),
            ],
        ),
        advice: "Replies that are ready together go out together: the dearest mistake there is. \
                 Nagle's algorithm glues what was written in pieces, and then waits for the peer's \
                 acknowledgement: no cure.",
    },
    Knob {
        trial: Trial::echo("loops", 64, 1, &[FLOOR, Contender::raw("2 loops", &["--workers=2"])]),
        advice: "A loop for each core that the load leaves free. Here the load tester needs the \
                 other one.",
    },
    Knob {
        trial: Trial {
            churn: true,
            ..Trial::echo(
                "listeners, connections of one request",
                64,
                1,
                &[FLOOR, Contender::raw("2 listeners", &["--workers=2"])],
            )
        },
        advice: "With SO_REUSEPORT the kernel deals new connections out. For many short ones; long \
                 ones may fall unevenly.",
    },
    Knob {
        trial: Trial::echo(
            "stack of a thread",
            1_000,
            1,
            &[
                Contender::raw("128 KiB", &["--model=threads"]),
                Contender::raw("2 MiB", &["--model=threads", "--stack=2097152"]),
            ],
        ),
        advice: "Only pages that were touched are memory: a large stack costs addresses, and page \
                 tables where it is used deep.",
    },
    Knob {
        trial: Trial::echo(
            "what a pool's front hands over",
            64,
            1,
            &[
                POOL,
                POOL.with("ready connections", &["--handoff=ready"]),
                POOL.with("connections, 64 workers", &["--handoff=connection", "--workers=64"]),
            ],
        ),
        advice: "Requests: a front that reads keeps idle owners from holding workers. Whole \
                 connections: only where there is a worker for each.",
    },
    Knob {
        trial: Trial::echo(
            "workers of a pool",
            64,
            1,
            &[
                POOL,
                POOL.with("4 workers", &["--workers=4"]),
                POOL.with("16 workers", &["--workers=16"]),
            ],
        ),
        advice: "Echoes go faster with more workers than cores: somebody is awake more often when the next request \
                 is handed over. Each takes its memory, and so much runs at a time as there are.",
    },
    Knob {
        trial: Trial {
            work: "wait:10ms",
            ..Trial::echo(
                "workers of a pool that wait",
                64,
                1,
                &[
                    POOL,
                    POOL.with("16 workers", &["--workers=16"]),
                    POOL.with("64 workers", &["--workers=64"]),
                ],
            )
        },
        advice: "For work that waits: as many as should wait at a time.",
    },
    Knob {
        trial: Trial {
            work: "compute:100",
            ..Trial::echo(
                "queue of a pool",
                64,
                1,
                &[
                    POOL,
                    POOL.with(
                        "16 places, then refuse",
                        &["--max-in-flight=16", "--overload=reject"],
                    ),
                    POOL.with("1 place, then refuse", &["--max-in-flight=1", "--overload=reject"]),
                ],
            )
        },
        advice: "In a closed loop whoever is refused comes again at once, and their refusals are work too: everybody is \
                 slower for it. Refusing is for clients that stay away for a while, and for those who are told early \
                 that they are late.",
    },
    Knob {
        trial: Trial::echo(
            "runtime of tasks",
            64,
            1,
            &[TASKS, TASKS.with("per core", &["--runtime=per-core"])],
        ),
        advice: "With one worker there is nothing between the two. With more, a runtime per core has no lock and no \
                 wake-up between workers, and nobody helps a core that has too much to do.",
    },
    Knob {
        trial: Trial {
            work: SOME_BLOCK,
            ..Trial::echo(
                "offload of a loop",
                64,
                1,
                &[EPOLL, EPOLL.with("off", &["--offload=off"])],
            )
        },
        advice: "One request that blocks on the loop holds all others up. Offload whatever may.",
    },
    Knob {
        trial: Trial {
            work: "compute:10",
            ..Trial::echo(
                "offload of short work",
                64,
                1,
                &[EPOLL, EPOLL.with("off", &["--offload=off"])],
            )
        },
        advice: "The way to another thread and back costs some microseconds: work that takes less is \
                 best done where it is.",
    },
    Knob {
        trial: Trial {
            work: SOME_BLOCK,
            ..Trial::echo(
                "offload of a task",
                64,
                1,
                &[TASKS, TASKS.with("off", &["--offload=off"])],
            )
        },
        advice: "The same in a runtime: a task that blocks holds its worker, and all tasks of it.",
    },
    Knob {
        trial: Trial::echo(
            "logging each call",
            50,
            1,
            &[GRPC, GRPC.with("on", &["--log-calls=on", "--log=warn"])],
        ),
        advice: "What is asked for at each call is paid at each call, also where nobody reads it.",
    },
];

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnobsResult {
    /// [`KNOBS_SCHEMA`].
    pub schema: String,
    /// What was measured, and on what: the first of each trial is the default.
    #[serde(flatten)]
    pub measured: Measured,
}

impl KnobsResult {
    /// From the text of a result file.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

/// The servers that are needed.
pub fn servers() -> impl Iterator<Item = Contender> {
    let all = KNOBS.iter().flat_map(|knob| knob.trial.contenders).copied();
    all.filter(|contender| contender.protocol != Protocol::Raw)
}

fn cell(figure: Figure, entry: &Entry, default: &Entry) -> String {
    Ratio::of(figure, entry, default).map_or_else(
        || NOTHING.to_owned(),
        |of| format!("{}{}", mark(of.bound), ratio(Some(of.value), of.interval)),
    )
}

fn grid(trial: &TrialReport) -> Grid {
    let mut grid = Grid::new("in place of the default", &["requests/s", "CPU", "p99", "memory"]);
    let Some((default, others)) = trial.entries.split_first() else { return grid };
    grid.rows.extend(others.iter().map(|entry| {
        Row {
            name: format!("{} (not {})", entry.server, default.server),
            cells: [Figure::Throughput, Figure::Cpu, Figure::P99, Figure::Memory]
                .map(|figure| cell(figure, entry, default))
                .into(),
            tone: Tone::Plain,
        }
    }));
    grid
}

const LEGEND: &str = "Each figure as a part of the default's: medians of ratios of interleaved \
    blocks, with 95 % intervals. CPU: of the server, per request. Memory: anonymous, with the \
    connections open. ≥ ≤ ~: in some blocks the load tester was the limit.";

fn advice_of(trial: &TrialReport) -> &'static str {
    KNOBS.iter().find(|knob| knob.trial.name == trial.name).map_or("", |knob| knob.advice)
}

/// For a terminal.
pub fn terminal(result: &KnobsResult) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, result);
    out
}

fn write_terminal(out: &mut String, result: &KnobsResult) -> std::fmt::Result {
    for trial in &result.measured.trials {
        writeln!(out, "{}  {}", console::style(&trial.name).bold(), trial.title)?;
        grid(trial).terminal(out)?;
        writeln!(out, "  {}\n", console::style(advice_of(trial)).italic().dim())?;
    }
    writeln!(out, "{LEGEND}")?;
    result.measured.end_terminal(out)
}

/// As Markdown, with what it was measured on.
pub fn markdown(result: &KnobsResult) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, result);
    out
}

fn write_markdown(out: &mut String, result: &KnobsResult) -> std::fmt::Result {
    for trial in &result.measured.trials {
        writeln!(out, "**{}** ({})\n", trial.name, trial.title)?;
        grid(trial).markdown(out)?;
        writeln!(out, "{}\n", advice_of(trial))?;
    }
    writeln!(out, "{LEGEND}\n")?;
    result.measured.end_markdown(out)
}
