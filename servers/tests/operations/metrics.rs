//! The numbers: in a format that Prometheus's own checker finds no fault with, and the same as
//! what was done to the server.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use common::latency::bounds;
use common::{Request, Work};
use servers::grpc::generated::quintet_client::QuintetClient;
use servers::{FRAMED, GRPC};

use crate::client::{Client, block, framed, request, wait};
use crate::server::{PATIENCE, eventually};
use crate::support::{Administered, all, connect, succeeded};

type Samples = HashMap<String, f64>;

/// By name and labels, as they stand.
#[track_caller]
fn samples(server: &Administered) -> Samples {
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect(line);
        (name.to_owned(), value.parse().expect(line))
    });
    samples.collect()
}

#[track_caller]
fn has(server: &Administered, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        let of = |samples: &Samples| *samples.get(*name).unwrap_or_else(|| panic!("no {name}"));
        eventually(name, *value, || of(&samples(server)));
    }
}

#[test]
fn promtool_finds_no_fault() {
    for model in all() {
        let server = Administered::start(model, &[]);
        let (_, text) = server.get("/metrics");
        let mut promtool = Command::new("promtool");
        let said = succeeded(promtool.args(["check", "metrics"]), &text, "prometheus", PATIENCE);
        assert_eq!(said, "", "{}", model.name);
        let build = format!("quintet_build_info{{model=\"{}\",version=\"0.1.0\",", model.name);
        assert!(text.contains(&build), "{text}");
    }
}

fn refused_work(id: u64) -> Request {
    Request { id, timeout_ms: 0, work: None }
}

/// The three answers of each kind, and what is no request at all.
#[test]
fn what_was_done_is_what_is_counted() {
    for model in FRAMED {
        let server = Administered::start(model, &["--workers=2", "--max-connections=2"]);
        let mut client = Client::connect(server.address);
        (0..10).for_each(|id| client.echoes(id, b"ten"));
        for id in 0..3 {
            client.send(&[refused_work(id)]);
            client.receive_error(id, common::Code::InvalidArgument);
        }
        client.send(&[wait(1, Duration::from_millis(20))]);
        client.receive_ok(1);
        has(&server, &[("quintet_connections_open", 1.0)]);
        // Two requests in one go, and what is none behind them.
        let mut other = Client::connect(server.address);
        let echo = |id| request(id, Work::Echo(vec![1]));
        let mut bytes = framed(&[echo(1), echo(2)]);
        bytes.extend([0, 0, 0, 2, 0xff, 0xff]);
        other.send_bytes(&bytes);
        other.receive_ok(1);
        other.receive_ok(2);
        other.receive_error(0, common::Code::InvalidArgument);
        let third = Client::connect(server.address);
        has(&server, &[("quintet_connections_refused_total", 1.0)]);
        drop((other, third));
        has(
            &server,
            &[
                ("quintet_requests_total{code=\"OK\"}", 13.0),
                ("quintet_requests_total{code=\"INVALID_ARGUMENT\"}", 3.0),
                ("quintet_requests_total{code=\"INTERNAL\"}", 0.0),
                ("quintet_protocol_errors_total", 1.0),
                ("quintet_request_duration_seconds_count", 16.0),
                ("quintet_requests_in_progress", 0.0),
                ("quintet_requests_in_progress_peak", 1.0),
                ("quintet_connections_accepted_total", 2.0),
                ("quintet_connections_open", 1.0),
                ("quintet_ready", 1.0),
            ],
        );
        let stats = server.stats();
        has(&server, &[("quintet_system_calls_total{call=\"write\"}", stats.writes as f64)]);
        assert!(stats.writes >= 14, "{stats:?}");
        assert_eq!((stats.requests, stats.failed), (16, 4));
        let sum = samples(&server)["quintet_request_duration_seconds_sum"];
        assert!((0.02..10.0).contains(&sum), "{sum}: the wait alone takes 20 ms");
    }
}

#[test]
fn calls_over_http_2_are_counted_too() {
    let server = Administered::start(GRPC, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calls = async {
        let address = format!("http://{}", server.address);
        let mut client = QuintetClient::connect(address).await.unwrap();
        for id in 0..10 {
            client.call(request(id, Work::Echo(vec![1]))).await.unwrap();
        }
        for id in 0..3 {
            client.call(refused_work(id)).await.unwrap_err();
        }
        client.call(wait(1, Duration::from_millis(20))).await.unwrap();
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, calls).await }).unwrap();
    has(
        &server,
        &[
            ("quintet_requests_total{code=\"OK\"}", 11.0),
            ("quintet_requests_total{code=\"INVALID_ARGUMENT\"}", 3.0),
            ("quintet_request_duration_seconds_count", 14.0),
        ],
    );
    assert!(samples(&server)["quintet_request_duration_seconds_sum"] > 0.02);
}

/// The bucket that a request is in says how long it took, whichever way it was carried out.
#[test]
fn a_request_that_takes_long_is_in_a_high_bucket() {
    const LONG: Duration = Duration::from_millis(300);
    for model in FRAMED {
        let server = Administered::start(model, &[]);
        let mut client = Client::connect(server.address);
        for (id, slow) in (0..).zip([wait, block]) {
            client.send(&[slow(id, LONG)]);
            client.receive_ok(id);
        }
        has(&server, &[("quintet_request_duration_seconds_count", 2.0)]);
        let samples = samples(&server);
        let mut last = 0.0;
        for bound in bounds() {
            let name = format!(
                "quintet_request_duration_seconds_bucket{{le=\"{}\"}}",
                bound.as_secs_f64()
            );
            let count = samples[&name];
            assert!(count >= last, "cumulative: {samples:?}");
            assert!(bound >= LONG || count == 0.0, "{}: {name} {count}", model.name);
            last = count;
        }
        has(&server, &[("quintet_request_duration_seconds_bucket{le=\"+Inf\"}", 2.0)]);
    }
}

#[test]
fn timeouts_are_counted_by_kind() {
    for model in FRAMED {
        let server = Administered::start(
            model,
            &["--idle-timeout=100ms", "--read-timeout=100ms", "--workers=2"],
        );
        let mut silent = connect(server.address);
        let mut halfway = connect(server.address);
        halfway.write_all(&[0, 0]).unwrap();
        for stream in [&mut silent, &mut halfway] {
            let _ = stream.read(&mut [0; 64]);
        }
        has(
            &server,
            &[
                ("quintet_timeouts_total{kind=\"idle\"}", 1.0),
                ("quintet_timeouts_total{kind=\"read\"}", 1.0),
                ("quintet_timeouts_total{kind=\"write\"}", 0.0),
                ("quintet_connections_open", 0.0),
            ],
        );
    }
}
