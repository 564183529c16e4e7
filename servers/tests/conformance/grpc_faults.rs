//! The faults of the other modules, over HTTP/2: peers that never speak, that fall silent, that do
//! not listen; deadlines; a handler that panics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Request, Service, Timeouts};
use servers::grpc::generated::quintet_client::QuintetClient;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::client::{block, compute, echo, wait};
use crate::models::GRPC;
use crate::server::{PATIENCE, Server, eventually};

const SHORT: Duration = Duration::from_millis(300);
/// The preface and an empty SETTINGS frame (RFC 9113, 3.4), and the server's acknowledged: a client
/// that has come to stay.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

fn start(timeouts: Timeouts) -> Server {
    GRPC.start_for(8, |config| config.timeouts = timeouts)
}

fn silent(server: &Server, hello: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(hello).unwrap();
    stream
}

/// Until the server closes it, with a reset or without.
#[track_caller]
fn is_closed(mut stream: TcpStream) {
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
}

#[test]
fn a_peer_that_never_speaks_http2_is_closed_by_the_shorter_timeout() {
    for (read, idle) in [(Some(SHORT), None), (None, Some(SHORT))] {
        let server = start(Timeouts { idle, read, write: None });
        for hello in [&b""[..], &HELLO[..10]] {
            is_closed(silent(&server, hello));
        }
        eventually("read timeouts", 2, || server.stats.snapshot().read_timeouts);
        eventually("open", 0, || server.stats.snapshot().open);
    }
}

#[test]
fn a_peer_that_falls_silent_is_closed() {
    let server = start(Timeouts { idle: Some(SHORT), ..Timeouts::default() });
    is_closed(silent(&server, HELLO));
    assert_eq!(server.stats.snapshot().idle_timeouts, 1);
}

/// As much as a peer may ask for without reading an answer.
#[test]
fn a_peer_that_does_not_read_is_closed() {
    let server = start(Timeouts { write: Some(SHORT), ..Timeouts::default() });
    let mut deaf = silent(&server, HELLO);
    deaf.set_write_timeout(Some(SHORT / 10)).unwrap();
    // PINGs (RFC 9113, 6.7) want to be answered one by one.
    let pings = b"\0\0\x08\x06\0\0\0\0\0........".repeat(10_000);
    let (began, mut written) = (Instant::now(), 0);
    while server.stats.snapshot().write_timeouts == 0 {
        assert!(began.elapsed() < PATIENCE, "it was never closed");
        // In whole frames, wherever the last write ended: half of one would be another fault.
        written += deaf.write(&pings[written % 17..]).unwrap_or(0);
    }
    eventually("open", 0, || server.stats.snapshot().open);
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
}

async fn connect(server: &Server) -> QuintetClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    QuintetClient::new(endpoint.timeout(PATIENCE).connect().await.unwrap())
}

#[test]
fn one_that_waits_for_its_answer_is_not_idle() {
    let server = start(Timeouts { idle: Some(SHORT), read: Some(SHORT), write: Some(SHORT) });
    runtime().block_on(async {
        let mut client = connect(&server).await;
        assert_eq!(client.call(wait(1, 3 * SHORT)).await.unwrap().into_inner().id, 1);
    });
}

/// All cores are taken, and the one that stands behind has no patience.
#[test]
fn work_that_comes_to_its_turn_too_late_is_not_begun() {
    const BEFORE: u64 = 64;
    let server = GRPC.start();
    runtime().block_on(async {
        let client = connect(&server).await;
        let mut before = JoinSet::new();
        for id in 0..BEFORE {
            let mut client = client.clone();
            before.spawn(async move { client.call(compute(id, 5_000)).await.unwrap() });
        }
        server.has_in_progress_at_least(BEFORE / 2);
        let late = Request { timeout_ms: 1, ..compute(BEFORE, 1) };
        let status = client.clone().call(late).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
        assert_eq!(before.join_all().await.len(), usize::try_from(BEFORE).unwrap());
    });
}

#[test]
fn a_panic_is_one_calls_and_no_more() {
    let cursed = Service::with_fault(|id| assert_ne!(id, 13, "a test's panic, on purpose"));
    let server = GRPC.start_with(cursed, 2, |_| ());
    runtime().block_on(async {
        let mut client = connect(&server).await;
        let moment = Duration::from_millis(1);
        for _ in 0..5 {
            for request in [echo(13, b""), wait(13, moment), compute(13, 1), block(13, moment)] {
                let status = client.call(request).await.unwrap_err();
                assert_eq!(status.code(), tonic::Code::Internal, "{status:?}");
                let reply = client.call(echo(1, b"after")).await.unwrap().into_inner();
                assert_eq!(reply.payload, b"after");
            }
        }
    });
    eventually("in progress", 0, || server.stats.snapshot().in_progress);
}
