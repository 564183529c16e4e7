//! The stall oracle: the server is stopped for a known time, and the response times of the requests
//! that were planned meanwhile follow from arithmetic.
//!
//! A load tester that only looks at answers, or waits for one before it sends the next, misses
//! nearly all of them ("coordinated omission"): it would report a p99 below a millisecond.

use std::time::Duration;

use super::child::{KnownServer, LoadRun};
use super::oracle::{Load, Stall, stalled_quantile_s};
use super::report::{Check, Unit};
use super::server::Behaviour;
use super::{
    Bench, CONNECTIONS, QUANTILE_PART, RATE_RPS, SelfcheckError, explained, open_loop, us,
};
use crate::result::RunResult;

/// Where f is near 1 - p, a quantile hangs on the drain capacity: 25 ms for a stall of a second.
const P97_PART: f64 = 1.0 / 40.0;
/// Requests per connection in the closed loop that measures how fast a backlog is drained.
const DRAIN_DEPTH: u16 = 16;

pub(super) fn at_the_start(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let from = bench.scale.stalled / 15;
    check(bench, "stall at the start", &[(from, bench.scale.stall)])
}

pub(super) fn in_the_middle(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let from = bench.scale.stalled / 2;
    check(bench, "stall in the middle", &[(from, bench.scale.stall)])
}

/// Half of the stall lies after the last planned request.
pub(super) fn across_the_end(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let from = bench.scale.stalled.saturating_sub(bench.scale.stall / 2);
    check(bench, "stall across the end", &[(from, bench.scale.stall)])
}

/// The second is half as long.
pub(super) fn two(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let (length, stall) = (bench.scale.stalled, bench.scale.stall);
    check(bench, "two stalls", &[(length / 4, stall), (length * 5 / 8, stall / 2)])
}

fn check(
    bench: &Bench,
    name: &str,
    asked: &[(Duration, Duration)],
) -> Result<Vec<Check>, SelfcheckError> {
    let capacity_rps = drain_capacity_rps(bench)?;
    let (result, stalls) = bench.valid(|| stalled(bench, asked))?;
    let planned_s = bench.scale.stalled.as_secs_f64();
    let load = Load { rate_rps: RATE_RPS, capacity_rps, planned_s };
    let predicted = |p| us(stalled_quantile_s(load, &stalls, p));
    let longest_us = predicted(1.0);
    let latency = &result.latency_us;
    let row = |quantile: &str, p, measured, tolerance| {
        let name = format!("{name}: {quantile}");
        Check::within(name, Unit::Us, (predicted(p), measured), tolerance)
    };
    let tail =
        |quantile: &str, p, measured| row(quantile, p, measured, predicted(p) * QUANTILE_PART);
    let answered = (RATE_RPS * planned_s, result.ok as f64);
    let checks = vec![
        row("p97", 0.97, latency.p97, longest_us * P97_PART),
        tail("p99", 0.99, latency.p99),
        tail("p99.9", 0.999, latency.p99_9),
        tail("max", 1.0, latency.max),
        Check::exactly(format!("{name}: answered"), Unit::Count, answered),
    ];
    let stood: Vec<String> =
        stalls.iter().map(|stall| format!("{:.0} ms", stall.length_s * 1e3)).collect();
    let what = format!(
        "the server stood still for {} of {planned_s} s at {RATE_RPS}/s and then did {capacity_rps:.0}/s",
        stood.join(" and ")
    );
    Ok(explained(checks, &what, &result))
}

/// How fast the server and the load tester get through a backlog.
fn drain_capacity_rps(bench: &Bench) -> Result<f64, SelfcheckError> {
    let closed = bench.closed(Behaviour::default(), DRAIN_DEPTH, bench.scale.capacity)?;
    Ok(closed.throughput_rps)
}

/// The run, and the stalls as they really were.
fn stalled(
    bench: &Bench,
    asked: &[(Duration, Duration)],
) -> Result<(RunResult, Vec<Stall>), SelfcheckError> {
    let server = KnownServer::start(Behaviour::default())?;
    let timeout = humantime::format_duration(bench.scale.stalled).to_string();
    let connections = CONNECTIONS.to_string();
    let flags = ["--timeout", &timeout, "--connections", &connections];
    let run = LoadRun::start(&server.url(), &open_loop(RATE_RPS, bench.scale.stalled, &flags))?;
    let stalls = asked.iter().map(|(from, length)| {
        run.wait_until(*from, bench.interrupt);
        server.stand_still(*length, run.began)
    });
    let stalls = stalls.collect();
    Ok((run.finish(bench.interrupt)?, stalls))
}
