//! The same promises over gRPC, asked by tonic's own client; and what a peer that speaks
//! something else may not break.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::service::WAIT_US_MAX;
use common::{Code, Config, Request, Response, Work, job};
use servers::grpc::generated::quintet_client::QuintetClient;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

use crate::client::{block, compute, echo, request, try_connect, wait};
use crate::http2::{self, Peer};
use crate::models::GRPC;
use crate::server::{PATIENCE, Server, eventually};

/// A whole test may take this long.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs `test` against a server, on a runtime of its own.
pub(crate) fn with_server(adjust: impl FnOnce(&mut Config), test: impl AsyncFnOnce(&mut Server)) {
    with(GRPC.start_for(64, adjust), test);
}

/// The same, where the server is a special one.
pub(crate) fn with(mut server: Server, test: impl AsyncFnOnce(&mut Server)) {
    // A worker of its own drives the connections, so that a test may block.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let test = async { tokio::time::timeout(TEST_TIMEOUT, test(&mut server)).await };
    let ended = runtime.block_on(test);
    drop(runtime); // and with it the connections
    ended.expect("the test takes too long");
}

pub(crate) async fn connect(server: &Server) -> QuintetClient<Channel> {
    QuintetClient::new(channel(server.address).await)
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.timeout(PATIENCE).connect().await.unwrap()
}

async fn call(client: &mut QuintetClient<Channel>, request: Request) -> Response {
    let id = request.id;
    let response = client.call(request).await.unwrap().into_inner();
    assert_eq!((response.id, response.code, response.message.as_str()), (id, 0, ""));
    response
}

#[test]
fn each_kind_of_work_is_done() {
    for offload in [common::config::Offload::On, common::config::Offload::Off] {
        with_server(
            |config| config.offload = offload,
            async |server| {
                let mut client = connect(server).await;
                for payload in [vec![], vec![1], vec![2; 1000]] {
                    assert_eq!(call(&mut client, echo(1, &payload)).await.payload, payload);
                }
                let nap = Duration::from_millis(20);
                for slow in [wait(2, nap), block(2, nap)] {
                    let began = Instant::now();
                    assert_eq!(call(&mut client, slow).await.payload, b"");
                    assert!(began.elapsed() >= nap, "answered too early");
                }
                let digest = call(&mut client, compute(42, 10)).await.payload;
                assert_eq!(digest, job::digest(42, 10));
            },
        );
    }
}

#[test]
fn beyond_a_limit_the_call_has_a_status() {
    with_server(
        |_| (),
        async |server| {
            let mut client = connect(server).await;
            let too_long = request(1, Work::WaitUs(WAIT_US_MAX + 1));
            let status = client.call(too_long).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert_eq!(status.message(), "wait_us is 60000001, above the limit of 60000000");
            let nothing = Request { id: 2, timeout_ms: 0, work: None };
            let status = client.call(nothing).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            call(&mut client, echo(3, b"and the connection goes on")).await;
            assert_eq!(server.stats.snapshot().failed, 2);
        },
    );
}

#[test]
fn the_frame_limit_is_that_of_the_contract() {
    with_server(
        |config| config.frame_bytes_max = 1000,
        async |server| {
            let mut client = connect(server).await;
            // Beside the payload: 2 bytes of id, 3 of tag and length.
            call(&mut client, echo(1, &[7; 995])).await;
            let status = client.call(echo(1, &[7; 996])).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
            call(&mut client, echo(2, b"and the connection goes on")).await;
        },
    );
}

#[test]
fn a_small_frame_limit_does_not_bound_the_answers() {
    with_server(
        |config| config.frame_bytes_max = 64,
        async |server| {
            let nothing = Request { id: 1, timeout_ms: 0, work: None };
            let responses = converse(&mut connect(server).await, vec![nothing, echo(2, b"")]).await;
            let codes: Vec<_> = responses.iter().map(|response| response.code).collect();
            assert_eq!(codes, [Code::InvalidArgument as u32, 0]);
        },
    );
}

async fn converse(client: &mut QuintetClient<Channel>, requests: Vec<Request>) -> Vec<Response> {
    let stream = client.converse(tokio_stream::iter(requests)).await.unwrap().into_inner();
    stream.map(|response| response.expect("the stream goes on")).collect().await
}

#[test]
fn a_stream_answers_a_thousand_in_order() {
    with_server(
        |_| (),
        async |server| {
            let requests = (0..1000).map(|id| match id % 100 {
                1 => wait(id, Duration::from_micros(50)),
                2 => compute(id, 2),
                3 => block(id, Duration::from_micros(50)),
                4 => request(id, Work::BlockUs(u64::MAX)),
                _ => echo(id, &id.to_be_bytes()),
            });
            let responses = converse(&mut connect(server).await, requests.collect()).await;
            assert_eq!(responses.len(), 1000);
            for (id, response) in (0..).zip(responses) {
                // A code stays in its message, and the stream goes on.
                let code = if id % 100 == 4 { Code::InvalidArgument } else { Code::Ok };
                assert_eq!((response.id, response.code), (id, code as u32));
                if id % 100 > 4 {
                    assert_eq!(response.payload, id.to_be_bytes());
                }
            }
        },
    );
}

#[test]
fn a_stream_answers_before_it_was_all_asked() {
    with_server(
        |_| (),
        async |server| {
            let (requests, ask) = tokio::sync::mpsc::channel(1);
            let ask = tokio_stream::wrappers::ReceiverStream::new(ask);
            let mut answers = connect(server).await.converse(ask).await.unwrap().into_inner();
            for id in 0..10 {
                requests.send(echo(id, b"turn by turn")).await.unwrap();
                assert_eq!(answers.next().await.unwrap().unwrap().id, id);
            }
            drop(requests);
            assert!(answers.next().await.is_none());
        },
    );
}

#[test]
fn waits_at_once_on_one_connection_and_on_many() {
    for connections in [1, 64] {
        with_server(
            |_| (),
            async |server| {
                let mut clients = Vec::new();
                for _ in 0..connections {
                    clients.push(connect(server).await);
                }
                let mut calls = JoinSet::new();
                for id in 0..64 {
                    let mut client = clients[usize::try_from(id).unwrap() % connections].clone();
                    calls.spawn(async move {
                        call(&mut client, wait(id, Duration::from_millis(300))).await;
                    });
                }
                while let Some(ended) = calls.join_next().await {
                    ended.unwrap();
                }
                assert_eq!(server.stats.snapshot().in_progress_peak, 64, "{connections}");
            },
        );
    }
}

#[test]
fn a_call_in_flight_is_answered_by_the_drain() {
    with_server(
        |config| config.drain_timeout = Duration::from_mins(10),
        async |server| {
            let mut client = connect(server).await;
            let in_flight = tokio::spawn(async move {
                call(&mut client, wait(1, Duration::from_millis(200))).await;
            });
            while server.stats.snapshot().in_progress == 0 {
                tokio::task::yield_now().await;
            }
            server.begin_drain();
            in_flight.await.unwrap();
            server.drained();
        },
    );
}

#[test]
fn a_drain_ends_though_peers_stay() {
    with_server(
        |config| config.drain_timeout = Duration::from_millis(200),
        async |server| {
            let mute = server.connect();
            let mut open = connect(server).await;
            let requests = tokio_stream::StreamExt::chain(
                tokio_stream::iter([echo(1, b"first")]),
                tokio_stream::pending(),
            );
            let mut answers = open.converse(requests).await.unwrap().into_inner();
            assert_eq!(answers.next().await.unwrap().unwrap().id, 1);
            server.drained();
            assert_eq!(try_connect(server.address).err(), Some(ErrorKind::ConnectionRefused));
            drop(mute);
        },
    );
}

#[test]
fn one_more_connection_than_allowed_is_told_so() {
    with_server(
        |config| config.connections_max = 2,
        async |server| {
            let mut served = [connect(server).await, connect(server).await];
            for client in &mut served {
                call(client, echo(1, b"served")).await;
            }
            for refused in 1..=3 {
                // tonic comes back by itself.
                let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
                // It is told before or after it has asked, as the two race.
                if let Ok(channel) = endpoint.connect().await {
                    let status = QuintetClient::new(channel).call(echo(1, b"")).await.unwrap_err();
                    let codes = [tonic::Code::ResourceExhausted, tonic::Code::Unavailable];
                    assert!(codes.contains(&status.code()), "{status:?}");
                }
                assert!(server.stats.snapshot().refused >= refused);
            }
            let mut refused = Peer::mute(server.address);
            refused.send(http2::PREFACE);
            assert_eq!(refused.next().unwrap().kind, http2::SETTINGS);
            let goaway = refused.next().unwrap();
            assert_eq!(
                (goaway.kind, &goaway.payload[..8]),
                (http2::GOAWAY, &b"\0\0\0\0\0\0\0\x0b"[..])
            );
            assert_eq!(goaway.payload[8..], *b"too many connections; try later");
            refused.farewell();
            for client in &mut served {
                call(client, echo(2, b"still served")).await;
            }
            drop(served);
            eventually("open", 0, || server.stats.snapshot().open);
            call(&mut connect(server).await, echo(3, b"room again")).await;
        },
    );
}

#[test]
fn bytes_that_are_no_message_fail_their_call() {
    with_server(
        |_| (),
        async |server| {
            let mut peer = Peer::open(server.address, &[]);
            for (stream, bytes) in [(1, &b"\0\0\0\0\x02\xff\xff"[..]), (3, b"\x07\0\0\0\x01x")] {
                peer.send(&http2::headers(stream, http2::CALL));
                peer.upload(&[stream], bytes, PATIENCE);
                let head = peer.next_of(http2::HEADERS);
                assert_eq!((head.stream, head.flags & http2::END_STREAM), (stream, 1));
            }
            peer.send(&http2::call(5, &echo(5, b"and the connection goes on")));
            assert_eq!(peer.answer(5).id, 5);
        },
    );
}

#[test]
fn garbage_harms_nobody_else() {
    with_server(
        |_| (),
        async |server| {
            let mut client = connect(server).await;
            let foreign: [&[u8]; 4] = [
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x16\x03\x01\x02\x00",
                b"\x00\x00\x00\x04\x52\x02hi",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            ];
            for bytes in foreign {
                let peer = server.connect();
                peer.stream().write_all(bytes).unwrap();
                call(&mut client, echo(1, b"unharmed")).await;
                peer.reset();
            }
            eventually("open connections", 1, || server.stats.snapshot().open);
            call(&mut client, echo(2, b"unharmed")).await;
        },
    );
}

#[test]
fn a_caller_that_leaves_costs_nothing() {
    static ID: AtomicU64 = AtomicU64::new(0);
    with_server(
        |_| (),
        async |server| {
            let mut client = connect(server).await;
            for _ in 0..200 {
                let mut leaver = client.clone();
                let id = ID.fetch_add(1, Ordering::Relaxed);
                let left = leaver.call(wait(id, Duration::from_mins(1)));
                let _ = tokio::time::timeout(Duration::from_millis(1), left).await;
            }
            call(&mut client, echo(1, b"one of a hundred streams at a time")).await;
            while server.stats.snapshot().in_progress > 0 {
                call(&mut client, echo(2, b"")).await;
            }
        },
    );
}
