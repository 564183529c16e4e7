//! Clients that a gRPC server did not hope for: what they do costs nobody else anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::Work;
use socket2::SockRef;
use tokio::time::timeout;

use super::bystander::beside;
use super::scene::{Fault, HTTP1, STEP_TIMEOUT, Scene, echo, expect, request, tls_hello};
use crate::client::framed::{framed, is_reset};
use crate::client::grpc::{CALL, CONVERSE, Call, Grpc, HTTP2_PREFACE, message};

/// Streams, or clients, that end by a reset.
const RESETS: usize = 200;
/// What a client sends at the most whose answers nobody reads. HTTP/2's own windows hold 64 KiB
/// unless a server gives more; one that takes all of this stores it itself.
const NEVER_READ_BYTES_MAX: usize = 64 << 20;
/// Payload of each of its requests.
const NEVER_READ_PAYLOAD_BYTES: usize = 16 * 1024;
/// Flow control that gives no room for so long is closed.
const FULL_AFTER: Duration = Duration::from_secs(1);
/// Connections that begin HTTP/2 and do not go on.
const SILENT: usize = 20;

/// What other protocols begin with.
pub(super) fn foreign_bytes(scene: &Scene<'_>) -> Result<(), Fault> {
    let frames = framed(&[echo(1, &[7; 100])]);
    for (name, bytes) in [("HTTP/1", HTTP1), ("TLS", &tls_hello()), ("framed TCP", &frames)] {
        let patience = scene.patience.at_most(STEP_TIMEOUT);
        let mut stream = TcpStream::connect_timeout(&scene.target.address, patience.left())?;
        stream.write_all(bytes)?;
        let mut said = [0; 1024];
        loop {
            if patience.is_over() {
                return Err(Fault::from("it does not close the connection").at(name));
            }
            stream.set_read_timeout(Some(patience.left()))?;
            match stream.read(&mut said) {
                Ok(1..) => {} // its settings, or what it thinks of this
                Ok(0) => break,
                Err(error) if is_reset(&error) => break,
                Err(_) => return Err(Fault::from("it does not close the connection").at(name)),
            }
        }
    }
    Ok(())
}

/// Streams that are given up after the first answer, with the second on its way.
pub(super) fn reset_streams(scene: &Scene<'_>) -> Result<(), Fault> {
    beside(scene, || {
        scene.block_on(async {
            let grpc = Grpc::connect(scene.target.address).await?;
            for id in 0..RESETS as u64 {
                let Call { mut requests, answers } = grpc.begin(CONVERSE).await?;
                requests.queue(message(&echo(id, b"first")), false)?;
                let rest = answers.begun().await?;
                requests.queue(message(&request(id, Work::WaitUs(20_000))), false)?;
                requests.reset();
                drop(rest);
            }
            let answer = grpc.ask(&echo(1, b"the connection")).await?;
            expect(&answer, 1, 0, b"the connection")
        })
    })
}

/// Connections that are reset while a call waits and another has sent half of its message.
pub(super) fn reset_in_call(scene: &Scene<'_>) -> Result<(), Fault> {
    let waits = message(&request(1, Work::WaitUs(20_000)));
    let half = message(&echo(2, b"never whole")).slice(..9);
    beside(scene, || {
        scene.block_on(async {
            for _ in 0..RESETS {
                let stream = TcpStream::connect(scene.target.address)?;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                let grpc = Grpc::over(stream).await?;
                for (message, end) in [(&waits, true), (&half, false)] {
                    let mut call = grpc.begin(CALL).await?;
                    call.requests.queue(message.clone(), end)?;
                    tokio::task::yield_now().await; // the connection's own task sends it
                }
                drop(grpc);
            }
            Ok(())
        })
    })
}

/// Until flow control gives no more room; and then it stays as it is.
pub(super) fn never_reads(scene: &Scene<'_>) -> Result<(), Fault> {
    let one = message(&echo(1, &[7; NEVER_READ_PAYLOAD_BYTES]));
    beside(scene, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let send = async {
            let grpc = Grpc::connect(scene.target.address).await?;
            let mut call = grpc.begin(CONVERSE).await?;
            let mut sent = 0;
            while sent < NEVER_READ_BYTES_MAX {
                match timeout(FULL_AFTER, call.requests.send(one.clone())).await {
                    Ok(Ok(())) => sent += one.len(),
                    // Held back, or given up, which is a way to be undisturbed too.
                    Err(_) | Ok(Err(_)) => return Ok((grpc, call)),
                }
            }
            let mebibytes = sent >> 20;
            Err(Fault::from(format!("it took {mebibytes} MiB whose answers nobody reads")))
        };
        let bounded = async { timeout(scene.patience.left(), send).await };
        let late = |_| Err("it does not answer in time".into());
        let left_open = runtime.block_on(bounded).unwrap_or_else(late)?;
        Ok((left_open, runtime))
    })?;
    Ok(())
}

/// Connections that say half of what HTTP/2 begins with, all of it, or nothing.
pub(super) fn silence(scene: &Scene<'_>) -> Result<(), Fault> {
    beside(scene, || {
        let begin = |at: usize| {
            let address = scene.target.address;
            let mut stream = TcpStream::connect_timeout(&address, scene.patience.left())?;
            stream.write_all(&HTTP2_PREFACE[..HTTP2_PREFACE.len() * (at % 3) / 2])?;
            Ok(stream)
        };
        (0..SILENT).map(begin).collect::<Result<Vec<_>, Fault>>()
    })?;
    Ok(())
}
