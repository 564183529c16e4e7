//! Somebody who does no harm, and whom nobody should harm: a client that echoes on a connection of
//! its own while another misbehaves.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::scene::{Fault, STEP_TIMEOUT, Scene, echo, expect};
use crate::client::grpc::Grpc;
use crate::target::Protocol;

/// Echoes that must go through once the harm is done.
const ECHOES_AFTER: u64 = 20;
/// Between two of them, so that the bystander is no load itself.
const PAUSE: Duration = Duration::from_millis(1);
/// Connections that are opened and closed.
const OPENED: usize = 500;

/// Says something and hears it come back.
type Talk<'a> = Box<dyn FnMut(u64) -> Result<(), Fault> + Send + 'a>;

/// Carries out `harm` while a bystander echoes, and lets a newcomer echo after it. What the harm
/// leaves behind stays until both are content. The harm's own fault comes first.
pub(super) fn beside<T>(
    scene: &Scene<'_>,
    harm: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, Fault> {
    beside_within(STEP_TIMEOUT, scene, harm)
}

/// The same, where no echo may take longer than `turn`.
pub(super) fn beside_within<T>(
    turn: Duration,
    scene: &Scene<'_>,
    harm: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut talk = talk(scene, turn).map_err(|fault| fault.at("before anything happened"))?;
    talk(0).map_err(|fault| fault.at("before anything happened"))?;
    let (harmed, said) = (AtomicBool::new(false), AtomicU64::new(0));
    let (done, bystander) = thread::scope(|scope| {
        let bystander = scope.spawn(|| {
            let mut left = ECHOES_AFTER;
            while left > 0 {
                // Looked at before the echo, which is then all of the time after.
                let after = harmed.load(Ordering::Acquire);
                let id = said.fetch_add(1, Ordering::Relaxed) + 1;
                talk(id)?;
                left -= u64::from(after);
                thread::sleep(PAUSE);
            }
            Ok::<(), Fault>(())
        });
        let done = harm();
        harmed.store(true, Ordering::Release);
        (done, bystander.join())
    });
    let left_behind = done?;
    let echo = said.load(Ordering::Relaxed);
    bystander
        .unwrap_or_else(|_| Err("it panicked".into()))
        .map_err(|fault| fault.at(&format!("a bystander was disturbed at echo {echo}")))?;
    newcomer(scene).map_err(|fault| fault.at("a newcomer"))?;
    Ok(left_behind)
}

fn newcomer(scene: &Scene<'_>) -> Result<(), Fault> {
    talk(scene, STEP_TIMEOUT)?(1)
}

/// A connection to echo on.
fn talk<'a>(scene: &Scene<'a>, turn: Duration) -> Result<Talk<'a>, Fault> {
    let (address, patience) = (scene.target.address, scene.patience);
    if scene.target.protocol != Protocol::Grpc {
        let mut client = scene.connect()?;
        return Ok(Box::new(move |id| {
            client.set_patience(patience.at_most(turn));
            let payload = id.to_be_bytes();
            client.send(&[echo(id, &payload)])?;
            expect(&client.receive()?, id, 0, &payload)
        }));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let left = patience.at_most(STEP_TIMEOUT).left();
    let connecting = async { tokio::time::timeout(left, Grpc::connect(address)).await };
    let grpc = runtime
        .block_on(connecting)
        .unwrap_or_else(|_| Err("it does not begin HTTP/2 in time".to_owned()))?;
    Ok(Box::new(move |id| {
        let payload = id.to_be_bytes();
        let left = patience.at_most(turn).left();
        let asking = async { tokio::time::timeout(left, grpc.ask(&echo(id, &payload))).await };
        let answer = runtime
            .block_on(asking)
            .unwrap_or_else(|_| Err("it does not answer in time".to_owned()))?;
        expect(&answer, id, 0, &payload)
    }))
}

/// Hundreds who come and go, the half of them with a reset.
pub(super) fn open_and_close(scene: &Scene<'_>) -> Result<(), Fault> {
    beside(scene, || {
        let mut streams = Vec::new();
        for number in 1..=OPENED {
            let stream = TcpStream::connect_timeout(&scene.target.address, scene.patience.left());
            let stream = stream.map_err(|error| format!("connection {number}: {error}"))?;
            if number % 2 == 0 {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            }
            streams.push(stream);
        }
        Ok(())
    })
}
