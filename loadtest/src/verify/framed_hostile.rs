//! Clients that a framed server did not hope for: what they do costs nobody else anything.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use socket2::SockRef;

use super::bystander::beside;
use super::scene::{Fault, HTTP1, STEP_TIMEOUT, Scene, echo, expect, tls_hello};
use crate::client::framed::{Framed, framed, is_reset};
use crate::client::grpc::HTTP2_PREFACE;

/// Clients that leave by a reset.
const RESETS: usize = 200;
/// Echoes that each of them asked for, and the size of one: together more than a socket takes.
const UNREAD_REQUESTS: u64 = 8;
const UNREAD_BYTES: usize = 64 * 1024;
/// What a client sends at the most whose answers nobody reads. Linux lets the buffers of a
/// connection grow to some tens of mebibytes; a server that takes all of this stores it itself.
const NEVER_READ_BYTES_MAX: usize = 64 << 20;
/// A socket that takes nothing for so long is full.
const FULL_AFTER: Duration = Duration::from_secs(1);
/// What the client's own buffers hold. A socket takes more once a third of its buffer is free: with
/// a large one, a server that is merely slow would look like one that holds its client back.
const SMALL_BUFFER_BYTES: usize = 16 * 1024;
/// Connections that begin a frame and do not end it.
const SILENT: usize = 20;

/// What other protocols begin with; as a length, each is far above the limit.
pub(super) fn foreign_bytes(scene: &Scene<'_>) -> Result<(), Fault> {
    for (name, bytes) in [("HTTP/1", HTTP1), ("HTTP/2", HTTP2_PREFACE), ("TLS", &tls_hello())] {
        let mut client = scene.connect()?;
        client.send_bytes(bytes)?;
        error_or_end(&mut client).map_err(|fault| fault.at(name))?;
    }
    Ok(())
}

fn error_or_end(client: &mut Framed) -> Result<(), Fault> {
    match client.receive() {
        Ok(answer) if (answer.id, answer.code == 0) == (0, false) => Ok(client.receive_end()?),
        Ok(answer) => Err(format!("answered as if it were request {}", answer.id).into()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof || is_reset(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// At every place in a frame.
pub(super) fn reset_in_frame(scene: &Scene<'_>) -> Result<(), Fault> {
    let bytes = framed(&[echo(1, b"whole"), echo(2, b"never whole")]);
    beside(scene, || {
        for cut in (1..bytes.len()).cycle().take(RESETS) {
            let mut client = scene.connect()?;
            client.send_bytes(&bytes[..cut])?;
            client.reset();
        }
        Ok(())
    })
}

/// While the server still writes.
pub(super) fn reset_in_reply(scene: &Scene<'_>) -> Result<(), Fault> {
    let payload = vec![7; UNREAD_BYTES];
    let first = framed(&[echo(0, &payload)]);
    let others: Vec<_> = (1..UNREAD_REQUESTS).map(|id| echo(id, &payload)).collect();
    let others = framed(&others);
    beside(scene, || {
        for _ in 0..RESETS {
            let mut client = scene.connect()?;
            client.send_bytes(&first)?;
            // As much as is taken at once: the server stops reading while it cannot write.
            client.stream().set_nonblocking(true)?;
            let _ = client.stream().write(&others);
            client.stream().set_nonblocking(false)?;
            client.receive_begun()?;
            client.reset();
        }
        Ok(())
    })
}

/// Until nothing more goes in; and then it stays as it is.
pub(super) fn never_reads(scene: &Scene<'_>) -> Result<(), Fault> {
    let payload = vec![7; UNREAD_BYTES];
    let bytes = framed(&[echo(1, &payload)]);
    beside(scene, || {
        let client = scene.connect()?;
        let socket = SockRef::from(client.stream());
        socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
        socket.set_send_buffer_size(SMALL_BUFFER_BYTES)?;
        socket.set_write_timeout(Some(FULL_AFTER))?;
        let mut sent = 0;
        while sent < NEVER_READ_BYTES_MAX && !scene.patience.is_over() {
            match client.stream().write(&bytes[sent % bytes.len()..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(client),
                // To give such a client up is a way to be undisturbed too.
                Err(error) if is_reset(&error) => return Ok(client),
                Err(error) => return Err(error.into()),
            }
        }
        let mebibytes = sent >> 20;
        Err(format!("it took {mebibytes} MiB of requests whose answers nobody reads").into())
    })?;
    Ok(())
}

/// Frames that are begun; in the end they are whole, and answered.
pub(super) fn silence(scene: &Scene<'_>) -> Result<(), Fault> {
    let bytes = framed(&[echo(1, b"late but whole")]);
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let mut silent = beside(scene, || {
        let begin = |_| {
            let mut client = scene.connect()?;
            client.send_bytes(first)?;
            Ok(client)
        };
        (0..SILENT).map(begin).collect::<Result<Vec<_>, Fault>>()
    })?;
    for client in &mut silent {
        client.set_patience(scene.patience.at_most(STEP_TIMEOUT));
        client.send_bytes(rest)?;
        let answer = client.receive().map_err(|error| Fault::from(error).at("the rest of it"))?;
        expect(&answer, 1, 0, b"late but whole")?;
    }
    Ok(())
}
