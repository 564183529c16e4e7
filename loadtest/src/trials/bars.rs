//! The bars: how near each server is to the floor that waits as it does, and whether that is near
//! enough.
//!
//! A bar is held against the medians of interleaved blocks. Where the load tester was the limit of
//! both, their requests per second say nothing: then the CPU that each request takes decides.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::report::{Figure, Measured, Ratio, median_of};
use super::{Cores, Trial};
use crate::compare::grid::{Grid, NOTHING, Row, Tone, digits, range, ratio};
use crate::compare::report::Bound;
use crate::compare::table::mark;
use crate::process::{Contender, EPOLL, FLOOR, GRPC, POOL, TASKS, THREADS};
use crate::statistics::Interval;
use crate::target::Protocol;

/// Name and version of the schema.
pub const BARS_SCHEMA: &str = "quintet/bars/1";

/// As many as the floor's pool has, and one loop or runtime for those who have no such choice.
const POOL_WORKERS: &str = "--workers=2";
const TASKS_ALONE: Contender =
    TASKS.with("tasks, per core", &["--workers=1", "--runtime=per-core"]);
const TASKS_MULTI: Contender = TASKS.with("tasks", &["--workers=1"]);
const EPOLL_ONE: Contender = EPOLL.with("epoll", &["--workers=1"]);
const POOL_TWO: Contender = POOL.with("pool", &[POOL_WORKERS]);
const RAW_THREADS: Contender = Contender::raw("raw threads", &["--model=threads"]);
const RAW_POOL: Contender = Contender::raw("raw pool", &["--model=pool", POOL_WORKERS]);
const RAW_POOL_READY: Contender =
    Contender::raw("raw pool, ready", &["--model=pool", "--handoff=ready", POOL_WORKERS]);

/// More than it lets in where nobody asks for it.
const MANY_THREADS: Contender = THREADS.with("threads", &["--max-connections=10000"]);

const ALL: &[Contender] = &[
    FLOOR,
    EPOLL_ONE,
    TASKS_MULTI,
    TASKS_ALONE,
    RAW_THREADS,
    THREADS,
    RAW_POOL,
    RAW_POOL_READY,
    POOL_TWO,
];

/// Where a block takes seconds to open its connections.
const ALL_BUT_PER_CORE: &[Contender] =
    &[FLOOR, EPOLL_ONE, TASKS_MULTI, RAW_THREADS, MANY_THREADS, RAW_POOL, RAW_POOL_READY, POOL_TWO];

/// What is measured.
pub const TRIALS: &[Trial] = &[
    Trial::echo("depth 1", 50, 1, ALL),
    Trial::echo("1,000 connections", 1_000, 1, ALL),
    Trial::echo("depth 16", 50, 16, ALL),
    Trial::echo("depth 64", 50, 64, &[FLOOR, EPOLL_ONE, TASKS_ALONE]),
    Trial::echo("10,000 connections", 10_000, 1, ALL_BUT_PER_CORE),
    Trial {
        cores: Cores::Shared,
        ..Trial::echo("one connection", 1, 1, &[FLOOR, EPOLL_ONE, TASKS_ALONE, THREADS])
    },
    Trial::echo("gRPC", 50, 1, &[GRPC, EPOLL_ONE]),
    Trial::echo("gRPC, 16 streams", 8, 16, &[GRPC, EPOLL_ONE]),
];

/// Who must come how near to whom.
struct Bar {
    trial: &'static str,
    who: &'static str,
    against: &'static [&'static str],
    figure: Figure,
    wanted: f64,
}

const fn bar(
    trial: &'static str,
    who: &'static str,
    against: &'static [&'static str],
    wanted: f64,
) -> Bar {
    Bar { trial, who, against, figure: Figure::Throughput, wanted }
}

const RAW_POOLS: &[&str] = &["raw pool", "raw pool, ready"];

const BARS: &[Bar] = &[
    bar("depth 1", "epoll", &["floor"], 0.95),
    bar("depth 1", "tasks", &["floor"], 0.85),
    bar("depth 1", "tasks, per core", &["floor"], 0.96),
    bar("depth 1", "threads", &["raw threads"], 0.97),
    bar("depth 1", "pool", RAW_POOLS, 0.9),
    bar("1,000 connections", "epoll", &["floor"], 0.93),
    bar("1,000 connections", "tasks", &["floor"], 0.85),
    bar("1,000 connections", "tasks, per core", &["floor"], 0.96),
    bar("1,000 connections", "threads", &["raw threads"], 0.97),
    bar("1,000 connections", "pool", RAW_POOLS, 0.9),
    bar("depth 16", "epoll", &["floor"], 0.9),
    bar("depth 16", "tasks", &["floor"], 0.75),
    bar("depth 16", "tasks, per core", &["floor"], 0.85),
    bar("depth 16", "threads", &["raw threads"], 0.8),
    bar("depth 16", "pool", RAW_POOLS, 0.8),
    bar("depth 64", "epoll", &["floor"], 0.6),
    bar("10,000 connections", "epoll", &["floor"], 0.8),
    bar("10,000 connections", "tasks", &["floor"], 0.8),
    Bar { figure: Figure::P99, ..bar("10,000 connections", "epoll", &["floor"], 1.5) },
    Bar { figure: Figure::P99, ..bar("10,000 connections", "tasks", &["floor"], 1.5) },
    bar("10,000 connections", "threads", &["raw threads"], 0.9),
    bar("10,000 connections", "pool", RAW_POOLS, 0.9),
    bar("one connection", "epoll", &["floor"], 0.95),
    bar("one connection", "tasks, per core", &["floor"], 0.95),
    bar("one connection", "threads", &["floor"], 0.95),
];

/// What a request may cost the load tester, in microseconds of CPU: trial, server, bound.
const CLIENT_BARS: &[(&str, &str, f64)] = &[
    ("depth 1", "epoll", 3.8),
    ("depth 16", "epoll", 0.35),
    ("gRPC", "grpc", 7.0),
    ("gRPC, 16 streams", "grpc", 2.0),
];

/// What an idle connection may take of a server's anonymous memory, in bytes.
pub const IDLE_BARS: &[(Contender, f64)] =
    &[(EPOLL, 400.0), (TASKS, 1_536.0), (THREADS, 14_336.0), (POOL, 400.0), (GRPC, 12_288.0)];

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BarsResult {
    /// [`BARS_SCHEMA`].
    pub schema: String,
    /// What an idle connection takes of each server's anonymous memory, in bytes.
    pub idle: Vec<Idle>,
    /// What was measured, and on what.
    #[serde(flatten)]
    pub measured: Measured,
}

/// One server's idle connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Idle {
    /// Whose.
    pub server: String,
    /// Bytes of `RssAnon` for each: the median over several measurements.
    pub bytes: Interval,
}

/// A bar, and how it stands.
#[derive(Clone, Debug, PartialEq)]
struct Standing {
    what: String,
    wanted: String,
    measured: String,
    cpu: String,
    reached: &'static str,
}

impl BarsResult {
    /// From the text of a result file.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    fn standings(&self) -> Vec<Standing> {
        // Of blocks that nobody may believe there is nothing to say: the warnings name them.
        let ratios = BARS.iter().filter_map(|bar| self.ratio(bar));
        let clients = CLIENT_BARS.iter().filter_map(|bar| self.client(bar));
        ratios.chain(self.idle.iter().filter_map(idle)).chain(clients).collect()
    }

    fn ratio(&self, bar: &Bar) -> Option<Standing> {
        let trial = self.measured.trial(bar.trial)?;
        let who = trial.entry(bar.who).filter(|entry| !entry.doubtful)?;
        let others = bar.against.iter().filter_map(|name| trial.entry(name));
        let others = others.filter(|entry| !entry.doubtful);
        let rate = |entry: &&crate::compare::report::Entry| entry.medians.throughput_rps;
        let other = others.max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
        let measured = Ratio::of(bar.figure, who, other)?;
        let cpu = Ratio::of(Figure::Cpu, who, other);
        let (figure, wanted, is_reached) = match bar.figure {
            Figure::P99 => ("p99", format!("≤ {}", bar.wanted), measured.value <= bar.wanted),
            _ => ("requests/s", format!("≥ {}", bar.wanted), measured.value >= bar.wanted),
        };
        let is_known = matches!(
            (measured.bound, is_reached),
            (Bound::Exact, _) | (Bound::AtLeast, true) | (Bound::AtMost, false)
        );
        let by_cpu = cpu.map(|cpu| cpu.value * bar.wanted <= 1.0);
        Some(Standing {
            what: format!("{}: {} of {}, {figure}", bar.trial, bar.who, other.server),
            wanted,
            measured: format!(
                "{}{}",
                mark(measured.bound),
                ratio(Some(measured.value), measured.interval)
            ),
            cpu: cpu.map_or_else(|| NOTHING.to_owned(), |cpu| ratio(Some(cpu.value), cpu.interval)),
            reached: match (is_known, is_reached, by_cpu) {
                (true, true, _) => "yes",
                (true, false, _) => "no",
                (false, _, Some(true)) => "yes, by CPU",
                (false, _, _) => "no, by CPU",
            },
        })
    }

    fn client(&self, (name, server, wanted): &(&str, &str, f64)) -> Option<Standing> {
        let entry = self.measured.trial(name)?.entry(server).filter(|entry| !entry.doubtful)?;
        let us = median_of(entry, |block| block.run.client.cpu_us_per_request)?;
        Some(Standing {
            what: format!("{name}: load tester on {server}, CPU us per request"),
            wanted: format!("≤ {wanted}"),
            measured: format!("{} ({})", digits(Some(us.estimate), 2), range(us)),
            cpu: NOTHING.to_owned(),
            reached: if us.estimate <= *wanted { "yes" } else { "no" },
        })
    }
}

fn idle(idle: &Idle) -> Option<Standing> {
    let (_, wanted) = IDLE_BARS.iter().find(|(who, _)| who.name == idle.server)?;
    let Interval { estimate, low, high, .. } = idle.bytes;
    Some(Standing {
        what: format!("an idle connection: {}, bytes of RssAnon", idle.server),
        wanted: format!("≤ {wanted}"),
        measured: format!("{estimate:.0} ({low:.0}–{high:.0})"),
        cpu: NOTHING.to_owned(),
        reached: if estimate <= *wanted { "yes" } else { "no" },
    })
}

const LEGEND: &str = "Medians of ratios of interleaved blocks, with 95 % intervals. Each is held \
    against the floor that waits as it does; of two the faster one. CPU: of the server, per request, \
    as a part of the other's. ≥ ≤ ~: in some blocks the load tester was the limit; then CPU decides. \
    With 10,000 connections a block lasts 2 s.";

/// The result as a table.
fn grid(result: &BarsResult) -> Grid {
    let mut grid = Grid::new("bar", &["wanted", "measured", "CPU", "reached"]);
    grid.rows.extend(result.standings().into_iter().map(|standing| Row {
        tone: if standing.reached.starts_with("yes") { Tone::Plain } else { Tone::Best },
        name: standing.what,
        cells: vec![standing.wanted, standing.measured, standing.cpu, standing.reached.to_owned()],
    }));
    grid
}

/// For a terminal.
pub fn terminal(result: &BarsResult) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_terminal(&mut out, result);
    out
}

fn write_terminal(out: &mut String, result: &BarsResult) -> std::fmt::Result {
    grid(result).terminal(out)?;
    writeln!(out, "\n{LEGEND}")?;
    result.measured.end_terminal(out)
}

/// As Markdown, with what it was measured on.
pub fn markdown(result: &BarsResult) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_markdown(&mut out, result);
    out
}

fn write_markdown(out: &mut String, result: &BarsResult) -> std::fmt::Result {
    grid(result).markdown(out)?;
    writeln!(out, "{LEGEND}\n")?;
    result.measured.end_markdown(out)
}

/// Whether each server passes before it is measured is asked of these.
pub fn servers() -> impl Iterator<Item = Contender> {
    let mut all: Vec<Contender> =
        TRIALS.iter().flat_map(|trial| trial.contenders).copied().collect();
    all.retain(|contender| contender.protocol != Protocol::Raw);
    all.sort_by_key(|contender| contender.name);
    all.dedup();
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_is_of_somebody_who_is_measured() {
        let has = |trial: &str, name: &str| {
            let trial = TRIALS.iter().find(|one| one.name == trial).expect(trial);
            trial.contenders.iter().any(|contender| contender.name == name)
        };
        for bar in BARS {
            assert!(bar.against.iter().chain([&bar.who]).all(|name| has(bar.trial, name)));
        }
        assert!(CLIENT_BARS.iter().all(|(trial, server, _)| has(trial, server)));
    }
}
