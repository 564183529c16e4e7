//! A client that asks without end, as fast as it is answered, and reads all: no fault of its own, and
//! yet others want their turn.

use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::bystander::beside_within;
use super::scene::{Fault, Scene, echo, expect};
use crate::client::framed::{self, Framed};
use crate::client::grpc::Grpc;

/// How long it does so.
const GREEDY: Duration = Duration::from_millis(1_500);
/// How long a bystander may wait meanwhile: much less, and more than a busy machine needs.
const TURN_TIMEOUT: Duration = Duration::from_millis(750);
/// Requests of one write.
const BATCH: u64 = 2_000;
/// Payload of each.
const PAYLOAD: &[u8] = &[7; 64];
/// Calls that are under way at a time on its one connection.
const CALLS: usize = 100;

/// Thousands of requests ahead of their answers.
pub(super) fn framed(scene: &Scene<'_>) -> Result<(), Fault> {
    let batch: Vec<_> = (0..BATCH).map(|id| echo(id, PAYLOAD)).collect();
    let bytes = framed::framed(&batch);
    beside_within(TURN_TIMEOUT, scene, || {
        let mut client = scene.connect()?;
        client.set_patience(scene.patience);
        let mut writer = Framed::over(client.stream().try_clone()?, scene.patience);
        let began = Instant::now();
        let writing = thread::spawn(move || {
            while began.elapsed() < GREEDY {
                writer.send_bytes(&bytes)?;
            }
            writer.half_close()
        });
        let mut id = 0;
        while began.elapsed() < GREEDY {
            expect(&client.receive()?, id % BATCH, 0, PAYLOAD)?;
            id += 1;
        }
        client.reset();
        // It met the reset, or was done before.
        let _ = writing.join();
        Ok(())
    })
}

/// A hundred calls at any time.
pub(super) fn grpc(scene: &Scene<'_>) -> Result<(), Fault> {
    beside_within(TURN_TIMEOUT, scene, || {
        scene.block_on(async {
            let grpc = std::sync::Arc::new(Grpc::connect(scene.target.address).await?);
            let began = Instant::now();
            let mut callers = JoinSet::new();
            for _ in 0..CALLS {
                let grpc = grpc.clone();
                callers.spawn(async move {
                    for id in 0.. {
                        if began.elapsed() >= GREEDY {
                            break;
                        }
                        let answer = grpc.ask(&echo(id, PAYLOAD)).await?;
                        expect(&answer, id, 0, PAYLOAD)?;
                    }
                    Ok::<(), Fault>(())
                });
            }
            callers.join_all().await.into_iter().collect()
        })
    })
}
