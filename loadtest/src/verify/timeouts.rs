//! Clients that a server gives up: when it was told to, and not before.
//!
//! A server's clock starts later than ours, at its own accept or read, so that an end which is too
//! early by our clock is too early by any.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::Work;
use socket2::SockRef;

use super::bystander::beside;
use super::scene::{Fault, STEP_TIMEOUT, Scene, echo, expect, request};
use crate::client::framed::{Framed, framed, is_reset};
use crate::client::grpc::{Grpc, HTTP2_ACK, HTTP2_PREFACE};

/// A server may look at all its connections from time to time, an eighth of the timeout late ...
const LATE_PART: u32 = 8;
/// ... and be busy, or far away.
const LATE: Duration = Duration::from_secs(1);
/// A client that sends a byte now and then does so this often before it is given up.
const BYTES_WITHIN: u32 = 8;
/// How often to look whether the end has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// What the client's own buffers hold that reads nothing.
const SMALL_BUFFER_BYTES: usize = 16 * 1024;
/// Payload of each of its requests.
const UNREAD_BYTES: usize = 64 * 1024;
/// PING (RFC 9113, 6.7): each wants an answer, and no flow control holds it back.
const PING: &[u8; 17] = b"\0\0\x08\x06\0\0\0\0\0........";
/// Pings of one write.
const PINGS: usize = 4_000;

/// Who said nothing, who said something once, and who is waiting.
pub(super) fn idle_framed(scene: &Scene<'_>) -> Result<(), Fault> {
    let timeout = scene.told.idle_timeout.unwrap_or_default();
    beside(scene, || {
        let began = Instant::now();
        let never = scene.connect()?;
        closed_in_time(scene, never.stream(), began, timeout).map_err(|it| it.at("never spoke"))?;
        let mut client = scene.connect()?;
        // Longer than the timeout, as far as the contract lets a request wait.
        let wait_us = u64::try_from((timeout * 3 / 2).as_micros()).unwrap_or(u64::MAX);
        let wait = Work::WaitUs(wait_us.min(common::service::WAIT_US_MAX));
        client.set_patience(scene.patience);
        client.send(&[request(1, wait)])?;
        let answered = client.receive().map_err(|it| Fault::from(it).at("waits for its answer"))?;
        expect(&answered, 1, 0, b"")?;
        let began = Instant::now();
        client.send(&[echo(2, b"once")])?;
        expect(&client.receive()?, 2, 0, b"once")?;
        closed_in_time(scene, client.stream(), began, timeout).map_err(|it| it.at("spoke once"))
    })
}

/// The same over HTTP/2, where nothing but the preface was said.
pub(super) fn idle_grpc(scene: &Scene<'_>) -> Result<(), Fault> {
    let timeout = scene.told.idle_timeout.unwrap_or_default();
    beside(scene, || {
        let began = Instant::now();
        let mut stream = connect(scene)?;
        stream.write_all(HTTP2_PREFACE)?;
        stream.write_all(HTTP2_ACK)?;
        closed_in_time(scene, &stream, began, timeout).map_err(|it| it.at("never called"))?;
        scene.block_on(async {
            let grpc = Grpc::connect(scene.target.address).await?;
            let wait_us = u64::try_from((timeout * 3 / 2).as_micros()).unwrap_or(u64::MAX);
            let wait = Work::WaitUs(wait_us.min(common::service::WAIT_US_MAX));
            let answer = grpc.ask(&request(1, wait)).await;
            let answer = answer.map_err(|it| Fault::from(it).at("waits for its answer"))?;
            expect(&answer, 1, 0, b"")
        })
    })
}

/// A byte now and then does not help.
pub(super) fn read_framed(scene: &Scene<'_>) -> Result<(), Fault> {
    let timeout = scene.told.read_timeout.unwrap_or_default();
    beside(scene, || {
        let mut client = scene.connect()?;
        client.send(&[echo(1, b"whole")])?;
        expect(&client.receive()?, 1, 0, b"whole")?;
        trickle(scene, &client, &framed(&[echo(2, &[7; 1000])]), (timeout, timeout))
    })
}

/// Before HTTP/2 has begun, the shorter of two timeouts may end it.
pub(super) fn read_grpc(scene: &Scene<'_>) -> Result<(), Fault> {
    let timeout = scene.told.read_timeout.unwrap_or_default();
    // Where nobody says it, it may be shorter.
    let least = scene.told.idle_timeout.map_or(Duration::ZERO, |idle| idle.min(timeout));
    beside(scene, || {
        let client = Framed::over(connect(scene)?, scene.patience);
        trickle(scene, &client, HTTP2_PREFACE, (least, timeout))
    })
}

fn connect(scene: &Scene<'_>) -> Result<TcpStream, Fault> {
    let left = scene.patience.at_most(STEP_TIMEOUT).left();
    Ok(TcpStream::connect_timeout(&scene.target.address, left)?)
}

/// Sends `bytes` so slowly that the end has to come first.
fn trickle(
    scene: &Scene<'_>,
    client: &Framed,
    bytes: &[u8],
    (least, most): (Duration, Duration),
) -> Result<(), Fault> {
    let began = Instant::now();
    let ended = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            for byte in bytes {
                if client.stream().write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(most / BYTES_WITHIN);
                if began.elapsed() > latest(most) {
                    return;
                }
            }
        });
        let ended = end_of(scene, client.stream(), latest(most));
        drop(sending);
        ended
    });
    in_time(ended?, began, least, most)
}

/// That the server ends a connection on which nothing more happens.
fn closed_in_time(
    scene: &Scene<'_>,
    stream: &TcpStream,
    began: Instant,
    timeout: Duration,
) -> Result<(), Fault> {
    in_time(end_of(scene, stream, latest(timeout))?, began, timeout, timeout)
}

fn latest(timeout: Duration) -> Duration {
    timeout + timeout / LATE_PART + LATE
}

fn in_time(
    ended: Option<Instant>,
    began: Instant,
    least: Duration,
    most: Duration,
) -> Result<(), Fault> {
    let Some(ended) = ended else {
        return Err(format!("it does not close within {:?}", latest(most)).into());
    };
    let after = ended.duration_since(began);
    if after < least {
        return Err(format!("it closed after {after:.1?}, told {least:?}").into());
    }
    Ok(())
}

/// When the end came, or a reset; what comes before it is nobody's matter here. Nothing, where it
/// did not come so soon.
fn end_of(
    scene: &Scene<'_>,
    mut stream: &TcpStream,
    within: Duration,
) -> Result<Option<Instant>, Fault> {
    let patience = scene.patience.at_most(within);
    let mut said = [0; 1024];
    while !patience.is_over() {
        stream.set_read_timeout(Some(patience.left()))?;
        match stream.read(&mut said) {
            Ok(0) => return Ok(Some(Instant::now())),
            Ok(_) => {}
            Err(error) if is_reset(&error) => return Ok(Some(Instant::now())),
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Requests without end, and no read.
pub(super) fn write_framed(scene: &Scene<'_>) -> Result<(), Fault> {
    never_reads(scene, &[], &framed(&[echo(1, &vec![7; UNREAD_BYTES])]))
}

/// Pings without end, and no read.
pub(super) fn write_grpc(scene: &Scene<'_>) -> Result<(), Fault> {
    never_reads(scene, &[HTTP2_PREFACE, HTTP2_ACK].concat(), &PING.repeat(PINGS))
}

/// What a socket does not take is tried again, until it is no more.
fn never_reads(scene: &Scene<'_>, hello: &[u8], more: &[u8]) -> Result<(), Fault> {
    let timeout = scene.told.write_timeout.unwrap_or_default();
    // A write that blocks may have taken some bytes before it gave up, and is tried once more.
    let most = 2 * timeout;
    beside(scene, || {
        let began = Instant::now();
        let mut stream = connect(scene)?;
        SockRef::from(&stream).set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
        stream.write_all(hello)?;
        stream.set_nonblocking(true)?;
        let (mut sent, mut moved) = (0, Instant::now());
        loop {
            match stream.write(&more[sent % more.len()..]) {
                Ok(some) => (sent, moved) = (sent + some, Instant::now()),
                Err(error) if is_late(&error) => thread::sleep(LOOK_INTERVAL),
                Err(error) if is_reset(&error) => {
                    return in_time(Some(Instant::now()), began, timeout, most);
                }
                Err(error) => return Err(error.into()),
            }
            if moved.elapsed() > latest(most) || scene.patience.is_over() {
                return in_time(None, began, timeout, most);
            }
        }
    })
}
