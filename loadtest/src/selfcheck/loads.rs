//! Servers that are left alone: too slow for the load, of known delay, or only there to be sent to
//! on time.

use std::time::Duration;

use super::child::{KnownServer, LoadRun};
use super::oracle::{Load, concurrency, overloaded_quantile_s, overloaded_share_late};
use super::report::{Check, Unit};
use super::server::Behaviour;
use super::{
    Bench, CONNECTIONS, QUANTILE_PART, RATE_RPS, SelfcheckError, explained, open_loop, settled, us,
};

/// What each request takes in the overload: with 16 connections, 1,600/s.
const SERVICE: Duration = Duration::from_millis(10);
/// The capacity of the built-in server is exact, and so nearly is what a load tester finds.
const CAPACITY_PART: f64 = 0.02;
/// Timeouts are looked for 16 times within their length: one is recorded that much later at the
/// most, and an answer that comes before the next look is still an answer.
const TIMEOUT_PART: f64 = 0.1;

/// The known delay, the slow one of every hundredth request, and a rate and connections that leave
/// each connection twice the slow one's time: no request waits behind another.
const DELAY: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_millis(100);
const SLOW_EVERY: u64 = 100;
const DELAY_RATE_RPS: f64 = 500.0;
const DELAY_CONNECTIONS: &str = "100";

/// In the closed loop, with depth 4 on each connection.
const CLOSED_SERVICE: Duration = Duration::from_millis(2);
const CLOSED_DEPTH: u16 = 4;

/// What a quick and quiet machine does: wakes a thread within this ...
const LAG_US_MAX: f64 = 60.0;
/// ... and spends no more than this part of a core on the rate.
const CORES_MAX: f64 = 0.2;

/// More is asked for than the server can do: once with patience, once without.
pub(super) fn overload(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let behaviour = Behaviour { delay: SERVICE, slow: None };
    let connections = CONNECTIONS.to_string();
    let flags = ["--connections", &connections, "--timeout", "5m"];
    let patient = bench.open(behaviour, bench.scale.overloaded, &flags)?;
    let planned_s = bench.scale.overloaded.as_secs_f64();
    let known_rps = f64::from(CONNECTIONS) / SERVICE.as_secs_f64();
    let capacity_rps = patient.throughput_rps;
    let load = Load { rate_rps: RATE_RPS, capacity_rps, planned_s };
    let p99_us = us(overloaded_quantile_s(load, SERVICE.as_secs_f64(), 0.99));
    let planned = RATE_RPS * planned_s;
    let mut checks = explained(
        vec![
            Check::within(
                "overload: capacity",
                Unit::Rps,
                (known_rps, capacity_rps),
                known_rps * CAPACITY_PART,
            ),
            Check::within(
                "overload: p99",
                Unit::Us,
                (p99_us, patient.latency_us.p99),
                p99_us * QUANTILE_PART,
            ),
            Check::exactly("overload: answered", Unit::Count, (planned, patient.ok as f64)),
        ],
        "10 ms a request on 16 connections, 2,000/s planned: the backlog grows as C < R says",
        &patient,
    );

    let timeout = humantime::format_duration(bench.scale.timeout).to_string();
    let flags = ["--connections", &connections, "--timeout", &timeout];
    let cut_short = bench.open(behaviour, bench.scale.cut_short, &flags)?;
    let planned_s = bench.scale.cut_short.as_secs_f64();
    let timeout_s = bench.scale.timeout.as_secs_f64();
    let load = Load { planned_s, ..load };
    let planned = RATE_RPS * planned_s;
    let late = planned * overloaded_share_late(load, SERVICE.as_secs_f64(), timeout_s);
    let latency = &cut_short.latency_us;
    checks.extend(explained(
        vec![
            Check::within(
                "timeouts: how many",
                Unit::Count,
                (late, cut_short.timed_out as f64),
                late * TIMEOUT_PART,
            ),
            Check::at_least("timeouts: p99 is not below", Unit::Us, (us(timeout_s), latency.p99)),
            Check::within(
                "timeouts: max",
                Unit::Us,
                (us(timeout_s), latency.max),
                us(timeout_s) * TIMEOUT_PART,
            ),
            Check::exactly(
                "timeouts: accounted for",
                Unit::Count,
                (planned, settled(&cut_short) as f64),
            ),
        ],
        "the same with a short timeout: late requests are in the percentiles, at the timeout",
        &cut_short,
    ));
    Ok(checks)
}

/// Every hundredth request is slow, and no other waits for it.
pub(super) fn known_delay(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let behaviour = Behaviour { delay: DELAY, slow: Some((SLOW_EVERY, SLOW)) };
    let attempt = || {
        let server = KnownServer::start(behaviour)?;
        let flags = ["--connections", DELAY_CONNECTIONS];
        let flags = open_loop(DELAY_RATE_RPS, bench.scale.known_delay, &flags);
        Ok((LoadRun::start(&server.url(), &flags)?.finish(bench.interrupt)?, ()))
    };
    let (result, ()) = bench.valid(attempt)?;
    let (delay_us, slow_us) = (us(DELAY.as_secs_f64()), us(SLOW.as_secs_f64()));
    let mean_us = delay_us + (slow_us - delay_us) / SLOW_EVERY as f64;
    let latency = &result.latency_us;
    let row = |name, predicted, measured| {
        Check::within(name, Unit::Us, (predicted, measured), predicted * QUANTILE_PART)
    };
    let checks = vec![
        row("known delay: p50", delay_us, latency.p50),
        row("known delay: p99.5", slow_us, latency.p99_5),
        row("known delay: mean", mean_us, latency.mean),
    ];
    let what = "10 ms on all requests, 100 ms on every hundredth";
    Ok(explained(checks, what, &result))
}

/// Little's law, where the number under way is known: connections x depth.
pub(super) fn closed(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let behaviour = Behaviour { delay: CLOSED_SERVICE, slow: None };
    let result = bench.closed(behaviour, CLOSED_DEPTH, bench.scale.closed)?;
    let under_way = f64::from(CONNECTIONS) * f64::from(CLOSED_DEPTH);
    let known_rps = f64::from(CONNECTIONS) / CLOSED_SERVICE.as_secs_f64();
    let found = concurrency(result.throughput_rps, result.latency_us.mean / 1e6);
    let checks = vec![
        Check::within(
            "closed loop: throughput",
            Unit::Rps,
            (known_rps, result.throughput_rps),
            known_rps * QUANTILE_PART,
        ),
        Check::within(
            "closed loop: throughput x mean latency",
            Unit::Count,
            (under_way, found),
            under_way * QUANTILE_PART,
        ),
    ];
    let what = "16 connections, 4 requests under way on each, 2 ms a request (Little's law)";
    Ok(explained(checks, what, &result))
}

/// Requests leave when they are planned, and that costs little.
pub(super) fn pacing(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let connections = CONNECTIONS.to_string();
    let flags = ["--connections", &connections];
    let result = bench.open(Behaviour::default(), bench.scale.pacing, &flags)?;
    let lag_us = result.send_lag_us.p50;
    let checks = vec![
        Check::machine("pacing: median send lag", Unit::Us, (LAG_US_MAX, lag_us)),
        Check::machine("pacing: load thread", Unit::Cores, (CORES_MAX, result.client.busy)),
    ];
    let what = "2,000/s on an idle server; a slow or busy machine wakes threads later";
    Ok(explained(checks, what, &result))
}
