//! What goes wrong on purpose: the load tester is stopped, or the server is killed. The first must
//! not be blamed on the server, the second must lose no request.

use super::child::{KnownServer, LoadRun};
use super::report::{Check, Unit};
use super::server::Behaviour;
use super::{
    Bench, CONNECTIONS, QUANTILE_PART, RATE_RPS, SelfcheckError, explained, open_loop, settled, us,
};

/// The run must call itself invalid, and say why.
pub(super) fn generator_stopped(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let server = KnownServer::start(Behaviour::default())?;
    let connections = CONNECTIONS.to_string();
    let flags = open_loop(RATE_RPS, bench.scale.stopped, &["--connections", &connections]);
    let run = LoadRun::start(&server.url(), &flags)?;
    run.wait_until((bench.scale.stopped.saturating_sub(bench.scale.stop)) / 2, bench.interrupt);
    let stood = run.stand_still(bench.scale.stop);
    let result = run.finish(bench.interrupt)?;
    let stood_us = us(stood.length_s);
    let why = result.warnings.iter().find(|warning| warning.contains("stood still"));
    let mut checks = vec![
        Check::exactly("load tester stopped: valid", Unit::YesNo, (0.0, f64::from(result.valid))),
        Check::exactly(
            "load tester stopped: says that it stood still",
            Unit::YesNo,
            (1.0, f64::from(why.is_some())),
        ),
        Check::within(
            "load tester stopped: for how long",
            Unit::Us,
            (stood_us, result.client.stall_max_us),
            stood_us * QUANTILE_PART,
        ),
    ];
    for check in &mut checks {
        check.detail = result.warnings.join("; ");
    }
    let what = "the load tester was stopped, and the server was not: that is not the server's";
    Ok(explained(checks, what, &result))
}

/// What was planned is accounted for, whatever became of it.
pub(super) fn server_killed(bench: &Bench) -> Result<Vec<Check>, SelfcheckError> {
    let server = KnownServer::start(Behaviour::default())?;
    let connections = CONNECTIONS.to_string();
    let flags = open_loop(RATE_RPS, bench.scale.killed, &["--connections", &connections]);
    let run = LoadRun::start(&server.url(), &flags)?;
    run.wait_until(bench.scale.killed / 2, bench.interrupt);
    server.kill();
    let result = run.finish(bench.interrupt)?;
    let planned = RATE_RPS * bench.scale.killed.as_secs_f64();
    let mut checks = vec![
        Check::exactly("server killed: planned", Unit::Count, (planned, result.planned as f64)),
        Check::exactly(
            "server killed: accounted for",
            Unit::Count,
            (planned, settled(&result) as f64),
        ),
        Check::exactly("server killed: valid", Unit::YesNo, (0.0, f64::from(result.valid))),
    ];
    for check in &mut checks {
        check.detail = format!(
            "{} ok, {} errors, {} timed out, {} unsent",
            result.ok,
            result.errors.values().sum::<u64>(),
            result.timed_out,
            result.unsent
        );
    }
    let what = "the server died in the middle: the plan does not shrink";
    Ok(explained(checks, what, &result))
}
