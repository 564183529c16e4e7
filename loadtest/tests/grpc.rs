//! The gRPC transport against a server of this file: what comes back is checked, by what the
//! status and the message say.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::frame;
use common::message::Code;
use common::{Config, Plan, Request, Response, Service, Shutdown, Stats};
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request as Head, Response as HeadBack};
use prost::Message;
use rustix::process::Signal;
use support::{finished, ran, start};

/// How the server answers a request.
#[derive(Clone, Copy)]
enum Manner {
    Honest,
    /// Answers to the next id.
    WrongId,
    /// Leaves the payload out.
    Empty,
    /// Refuses by the call's own status, without a message.
    Refuses,
    /// Keeps the stream open for good.
    Silent,
    /// Gives up the stream.
    Resets,
}

/// A server that lives as long as the test.
fn serve(manner: Manner) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(converse(stream, manner));
            }
        });
    });
    address
}

async fn converse(stream: tokio::net::TcpStream, manner: Manner) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, back))) = connection.accept().await {
        tokio::spawn(answer(request, back, manner));
    }
}

async fn answer(
    request: Head<h2::RecvStream>,
    mut back: SendResponse<Bytes>,
    manner: Manner,
) -> Option<()> {
    assert_eq!(request.uri().path(), "/quintet.v1.Quintet/Call");
    assert_eq!(request.headers()["te"], "trailers");
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.ok()?;
        body.flow_control().release_capacity(chunk.len()).ok()?;
        bytes.extend_from_slice(&chunk);
    }
    let head = HeadBack::builder().header("content-type", "application/grpc");
    let status = |code: Code| HeaderValue::from(code as u32);
    match manner {
        Manner::Silent => std::future::pending().await,
        Manner::Resets => {
            back.send_reset(h2::Reason::INTERNAL_ERROR);
            return None;
        }
        Manner::Refuses => {
            let head = head.header("grpc-status", status(Code::ResourceExhausted));
            back.send_response(head.body(()).unwrap(), true).ok()?;
            return None;
        }
        Manner::Honest | Manner::WrongId | Manner::Empty => {}
    }
    let mut response = plan(Request::decode(&bytes[5..]).unwrap()).await;
    match manner {
        Manner::WrongId => response.id += 1,
        Manner::Empty => response.payload.clear(),
        _ => {}
    }
    let mut message = vec![0];
    frame::encode(&response, &mut message);
    let mut body = back.send_response(head.body(()).unwrap(), false).ok()?;
    // In two halves, as a message may come.
    let rest = message.split_off(message.len() / 2);
    body.send_data(message.into(), false).ok()?;
    body.send_data(rest.into(), false).ok()?;
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), status(Code::Ok))]);
    body.send_trailers(trailers).ok()
}

async fn plan(request: Request) -> Response {
    match Service::new().plan(request, None) {
        Plan::Reply(response) => response,
        Plan::Wait { duration, response, .. } => {
            tokio::time::sleep(duration).await;
            response
        }
        Plan::Compute(job) => job.run(),
        Plan::Block(job) => job.run(),
    }
}

#[test]
fn an_honest_server_is_believed() {
    let url = format!("grpc://{}", serve(Manner::Honest));
    let work = "echo:0=2,echo:70000=2,wait:1ms,compute:10,block:1ms";
    for load in [&["-c", "3", "-p", "5"][..], &["-c", "3", "-r", "1000"]] {
        let run = ran(&url, &[load, &["-n", "500", "--work", work]].concat());
        run.adds_up();
        assert_eq!((run.count("ok"), run.exit_code), (500, Some(0)), "{:#}", run.json);
    }
}

/// The server of this workspace, on one worker, as long as the test lives.
fn serve_quintet() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (shutdown, stats) = (Shutdown::new(), Stats::new());
        servers::grpc::serve(listener, Service::new(), &Config::default(), &shutdown, &stats)
    });
    url
}

#[test]
fn the_real_server_on_more_streams_than_it_allows() {
    let url = serve_quintet();
    let run = ran(&url, &["-c", "2", "-p", "300", "-n", "20000"]); // it allows 100
    run.adds_up();
    assert_eq!((run.count("ok"), run.exit_code), (20_000, Some(0)), "{}", run.stderr);
    let work = "echo:64=8,compute:10,wait:2ms,block:1ms,user:10000";
    let run = ran(&url, &["-c", "3", "-r", "2000", "-n", "2000", "--work", work]);
    run.adds_up();
    assert_eq!((run.count("ok"), run.exit_code), (2000, Some(0)), "{}", run.stderr);
}

#[test]
fn payloads_above_all_windows() {
    let url = serve_quintet();
    let work = "echo:1000000=2,echo:3000000,echo:10=5";
    for load in [&["-c", "2", "-p", "9"][..], &["-c", "2", "-r", "200"]] {
        let run = ran(&url, &[load, &["-n", "100", "--work", work, "--timeout", "30s"]].concat());
        run.adds_up();
        assert_eq!((run.count("ok"), run.exit_code), (100, Some(0)), "{}", run.stderr);
    }
    // Above the server's limit: it says no, and the connection goes on.
    let run = ran(&url, &["-c", "1", "-p", "2", "-n", "40", "--work", "echo:5000000,echo:10=9"]);
    run.adds_up();
    let refused = run.error("code_8") + run.error("stream_reset");
    assert!(refused > 0 && run.count("ok") + refused == 40, "{:#}", run.json);
}

#[test]
fn lies_are_found_out() {
    for (manner, kind, exit_code) in [
        (Manner::WrongId, "wrong_id", 1),
        (Manner::Empty, "wrong_payload", 1),
        (Manner::Refuses, "code_8", 1),
        (Manner::Resets, "stream_reset", 1),
    ] {
        let url = format!("grpc://{}", serve(manner));
        let run = ran(&url, &["-c", "2", "-p", "4", "-n", "64"]);
        run.adds_up();
        assert_eq!(run.error(kind), 64, "{kind}: {:#}", run.json);
        assert_eq!(run.exit_code, Some(exit_code), "{kind}");
        assert_eq!(run.stderr.lines().count(), 1, "{kind}: {}", run.stderr);
    }
}

#[test]
fn silence_times_out() {
    let url = format!("grpc://{}", serve(Manner::Silent));
    for load in [&["-c", "2", "-p", "4"][..], &["-c", "2", "-r", "100"]] {
        let run = ran(&url, &[load, &["-n", "16", "--timeout", "200ms"]].concat());
        run.adds_up();
        assert_eq!(run.count("timed_out"), 16, "{:#}", run.json);
        assert!(run.us("latency_us", "p50") >= 199_000.0);
    }
}

#[test]
fn ctrl_c_ends_a_run_that_waits() {
    let url = format!("grpc://{}", serve(Manner::Silent));
    for load in [&["-c", "2", "-p", "4"][..], &["-c", "2", "-r", "100"]] {
        let run = start(&url, &[load, &["-d", "1h", "--timeout", "1h"]].concat());
        std::thread::sleep(Duration::from_millis(400)); // into its middle
        run.signal(Signal::INT);
        let run = finished(run);
        run.adds_up();
        assert!(run.error("interrupted") > 0, "{:#}", run.json);
        assert_eq!(run.exit_code, Some(130), "{}", run.stderr);
    }
}

#[test]
fn a_server_that_goes_away() {
    for load in [&["-c", "2", "-p", "4"][..], &["-c", "2", "-r", "100"]] {
        // Accepts, reads a little, and closes in the middle of everything.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("grpc://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let streams: Vec<_> = listener.incoming().take(2).collect();
            std::thread::sleep(Duration::from_millis(200));
            drop(streams);
        });
        let run = ran(&url, &[load, &["-d", "20s"]].concat());
        run.adds_up();
        assert_eq!(run.exit_code, Some(1), "{:#}", run.json);
        assert!(run.stderr.contains("2 of 2 connections failed"), "{}", run.stderr);
        if load.contains(&"-r") {
            assert_eq!(run.count("planned"), 2_000, "the plan does not shrink");
        }
    }
}
