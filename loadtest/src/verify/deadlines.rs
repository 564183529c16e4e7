//! `timeout_ms`: a client that has given up does not want the work begun.

use std::time::{Duration, Instant};

use common::job::digest;
use common::{Code, Request, Work};
use tokio::task::JoinSet;

use super::scene::{Fault, Scene, echo, expect, request};
use crate::client::grpc::Grpc;

const OK: u32 = Code::Ok as u32;
const DEADLINE_EXCEEDED: u32 = Code::DeadlineExceeded as u32;

/// The patience of those who stand behind, and how long they stand there.
const PATIENCE_MS: u32 = 50;
const BEFORE: Duration = Duration::from_millis(300);
/// More patience than any check has time.
const MUCH_PATIENCE_MS: u32 = 60_000;

/// Of one connection, one request is carried out at a time: what stands behind a long one waits.
pub(super) fn framed(scene: &Scene<'_>) -> Result<(), Fault> {
    let within = |timeout_ms, request| Request { timeout_ms, ..request };
    let before = Work::WaitUs(u64::try_from(BEFORE.as_micros()).unwrap_or(u64::MAX));
    let minute = 60_000_000;
    let mut client = scene.connect()?;
    client.send(&[
        request(1, before),
        within(PATIENCE_MS, echo(2, b"late")),
        within(PATIENCE_MS, request(3, Work::WaitUs(minute))),
        within(PATIENCE_MS, request(4, Work::ComputeRounds(1_000_000))),
        within(PATIENCE_MS, request(5, Work::BlockUs(minute))),
        within(MUCH_PATIENCE_MS, echo(6, b"patient")),
        echo(7, b"without a bound"),
    ])?;
    expect(&client.receive()?, 1, OK, b"")?;
    for id in 2..=5 {
        expect(&client.receive()?, id, DEADLINE_EXCEEDED, b"")?;
    }
    expect(&client.receive()?, 6, OK, b"patient")?;
    expect(&client.receive()?, 7, OK, b"without a bound")
}

/// Calls that take the cores, as many as RFC 9113 (6.5.2) wants allowed on a connection but one ...
const CALLS: u64 = 99;
/// ... and how long each takes one, more or less.
const CALL: Duration = Duration::from_millis(20);
/// By so many rounds it is found out how many that are.
const TRIAL_ROUNDS: u32 = 10_000;
/// An answer that comes so long after a patience of a millisecond was begun when that was over.
const LATE: Duration = Duration::from_millis(300);

/// All cores are taken; who stands behind them has no patience. With as many cores as calls nobody
/// stands behind, and an answer in time is right.
pub(super) fn grpc(scene: &Scene<'_>) -> Result<(), Fault> {
    scene.block_on(async {
        let grpc = std::sync::Arc::new(Grpc::connect(scene.target.address).await?);
        let began = Instant::now();
        grpc.ask(&request(0, Work::ComputeRounds(TRIAL_ROUNDS))).await?;
        let a_round = began.elapsed().max(Duration::from_micros(100)) / TRIAL_ROUNDS;
        let rounds = CALL.as_nanos() / a_round.as_nanos().max(1);
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX).clamp(1, 1_000_000);

        let mut before = JoinSet::new();
        for id in 0..CALLS {
            let grpc = grpc.clone();
            before.spawn(async move {
                expect(
                    &grpc.ask(&request(id, Work::ComputeRounds(rounds))).await?,
                    id,
                    OK,
                    &digest(id, rounds),
                )
            });
        }
        tokio::task::yield_now().await; // the others are on their way first
        let late = Request { timeout_ms: 1, ..request(CALLS, Work::ComputeRounds(1)) };
        let began = Instant::now();
        let answer = grpc.ask(&late).await?;
        let took = began.elapsed();
        before.join_all().await.into_iter().collect::<Result<(), Fault>>()?;
        match answer.code {
            OK if took > LATE => {
                Err(format!("it was done, {took:.1?} after 1 ms of patience").into())
            }
            OK => expect(&answer, CALLS, OK, &digest(CALLS, 1)),
            _ => expect(&answer, CALLS, DEADLINE_EXCEEDED, b""),
        }
    })
}
