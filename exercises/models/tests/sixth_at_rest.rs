//! Exercise 2, alone in its process: what the server costs while its clients do nothing.

use std::time::Duration;

use models::sixth::serve;

#[allow(dead_code, missing_docs, reason = "each exercise needs its part of it")]
mod support;

use support::{SOON, Server, echo, framed, wait};

/// What this process has had of the cores so far, in user mode and in the kernel.
fn cpu_time() -> Duration {
    /// `USER_HZ` of proc(5): the same on every Linux that Rust runs on.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    let ticks =
        |field: usize| -> u32 { after_name.split(' ').nth(field - 3).unwrap().parse().unwrap() };
    TICK * (ticks(14) + ticks(15))
}

#[test]
fn clients_that_do_nothing_cost_no_core() {
    let server = Server::start(serve, SOON);
    let idle: Vec<_> = (0..10).map(|_| server.connect()).collect();
    let (silent, deaf, mut other) = (server.connect(), server.connect(), server.connect());
    silent.send_bytes(&framed(&[echo(1, b"never whole")])[..5]);
    deaf.asks_and_never_reads();
    let before = cpu_time();
    other.send(&[wait(1, Duration::from_secs(1))]);
    other.receive_ok(1);
    let spent = cpu_time().saturating_sub(before);
    assert!(spent < Duration::from_millis(300), "{spent:?} of a second to do nothing");
    drop((idle, silent, deaf));
}
