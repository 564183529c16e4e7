//! Two calls of the grpc server, and what they are on the wire: a client whose bytes are listened
//! to, both ways.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use common::frame;
use common::message::{Request, Response, Work};
use loadtest::client::grpc::Grpc;
use loadtest::drive::http2_frames::{Reader, Shown};
use loadtest::process::GRPC;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::bench::{Bench, LabError};
use crate::lab::{Knob, Lab, Ratio, Round, Setting, expect};

/// Two calls take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const LAB: Lab = Lab {
    name: "http2-frames",
    title: "The frames of two calls",
    question: "A client calls the grpc server, and then again on the same connection: the same \
               method, the same headers. HTTP/2 compresses headers (HPACK) with a table that both \
               sides keep for the connection. How many bytes of headers does the client send with \
               the second call, as a part of the first?",
    choices: &[
        "As many: a call's headers are the call's.",
        "About half.",
        "Next to nothing: all of them are in the table by now.",
    ],
    right: 'b',
    ratios: &[
        Ratio { name: "headers", of: "bytes of the client's header block, second call / first" },
        Ratio { name: "overhead", of: "bytes of the second call, both ways, gRPC / framed" },
    ],
    knob: Knob {
        what: "bytes of the echo that is called for",
        settings: &[
            Setting {
                value: "64",
                shape: &[expect("headers", 0.3..=0.6), expect("overhead", 1.2..=2.0)],
            },
            Setting {
                value: "100000",
                shape: &[expect("headers", 0.3..=0.6), expect("overhead", 1.0..=1.05)],
            },
        ],
        ask: "A frame of data has 16 KiB at the most, and a stream begins with a window. What \
              does a message of 100,000 bytes look like, and who says that it may go on?",
    },
    rounds: 1,
    experiment,
    why: "The first call writes its headers out, and what the sender chooses goes into the table. \
          With the second call, those are a byte each: where in the table they stand. But the \
          sender chooses. The h2 library keeps the value of `:path` out of the table, because on \
          the web paths are many and each would push something else out; so the path is written \
          again. In gRPC there are few paths, and the load tester's own client lets them in: six \
          bytes of headers a call. The table is state of the connection, which is why header \
          blocks have to be decoded in their order, those of all streams. What else a call costs \
          beside its message: nine bytes for each frame, five before each message, and at the end \
          a frame of headers with the status.",
    varies: "The length of a port in `:authority`, and whether the second changes between the two \
             calls, which changes the answer's `date`.",
};

fn experiment(bench: &Bench<'_>, knob: &str) -> Result<Round, LabError> {
    let payload = vec![7; knob.parse().unwrap_or(64)];
    let server = bench.start(GRPC)?;
    let request = |id| Request { id, timeout_ms: 0, work: Some(Work::Echo(payload.clone())) };
    let heard = Heard::new();
    let calls = async {
        let stream = TcpStream::connect(server.target.address).await?;
        let tapped = Tapped { stream, heard: heard.clone() };
        let client =
            Grpc::over_io(tapped, server.target.address).await.map_err(io::Error::other)?;
        let mut ends = vec![heard.lock().frames.len()];
        for id in [1, 2] {
            client.ask(&request(id)).await.map_err(io::Error::other)?;
            ends.push(heard.lock().frames.len());
        }
        Ok::<_, io::Error>(ends)
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ends =
        runtime.block_on(async { timeout(PATIENCE, calls).await }).map_err(io::Error::from)??;
    let frames = std::mem::take(&mut heard.lock().frames);
    let (first, second) = (&frames[ends[0]..ends[1]], &frames[ends[1]..ends[2]]);

    let mut without = Vec::new();
    frame::encode(&request(2), &mut without);
    frame::encode(&Response::ok(2, payload.clone()), &mut without);
    let mut round = Round::default();
    for (name, frames) in [("first call", first), ("second call", second)] {
        round
            .line(name)
            .bytes("client's headers", headers(frames))
            .bytes("all, both ways", all(frames))
            .count("frames", frames.len() as f64);
    }
    round.notes = frames.iter().map(line).collect();
    round.ratio("headers", headers(second) / headers(first));
    round.ratio("overhead", all(second) / without.len() as f64);
    Ok(round)
}

/// Bytes of the client's headers, without the heads of their frames.
fn headers(frames: &[(Side, Shown)]) -> f64 {
    let is_head = |(side, shown): &&(Side, Shown)| *side == Side::Client && shown.kind == "HEADERS";
    frames.iter().filter(is_head).map(|(_, shown)| shown.payload_bytes as f64).sum()
}

/// Bytes of all.
fn all(frames: &[(Side, Shown)]) -> f64 {
    frames.iter().map(|(_, shown)| shown.bytes() as f64).sum()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A frame as people read it.
fn line((side, shown): &(Side, Shown)) -> String {
    let arrow = if *side == Side::Client { "->" } else { "<-" };
    let Shown { kind, flags, stream, said, .. } = shown;
    let head = format!("{arrow} stream {stream} {kind} {flags}");
    format!("{:<48} {:>5} bytes  {said}", head.trim_end(), shown.bytes())
}

/// What is heard of both sides; clones are handles on the same.
#[derive(Clone)]
struct Heard(Arc<Mutex<Ear>>);

struct Ear {
    client: Reader,
    server: Reader,
    /// In the order in which they passed.
    frames: Vec<(Side, Shown)>,
}

impl Heard {
    fn new() -> Self {
        let (client, server) = (Reader::of_client(), Reader::of_server());
        Self(Arc::new(Mutex::new(Ear { client, server, frames: Vec::new() })))
    }

    fn hear(&self, side: Side, bytes: &[u8]) {
        let mut ear = self.lock();
        let shown = match side {
            Side::Client => ear.client.read(bytes),
            Side::Server => ear.server.read(bytes),
        };
        ear.frames.extend(shown.into_iter().map(|shown| (side, shown)));
    }

    fn lock(&self) -> MutexGuard<'_, Ear> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's socket, whose bytes are heard as they pass.
struct Tapped {
    stream: TcpStream,
    heard: Heard,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(task, buffer))?;
        self.heard.hear(Side::Server, &buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(task, bytes))?;
        self.heard.hear(Side::Client, &bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
