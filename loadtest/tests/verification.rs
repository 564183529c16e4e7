//! Every answer is checked: servers that lie are found out, by what they lie about.
//!
//! The servers are of this file: a thread per connection, around the one handler.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use common::frame;
use common::message::Code;
use common::{Connection, Limits, Plan, Request, Response, Service};
use serde_json::Value;
use support::ran;

/// Answers to the requests that came together, in place of the right ones.
type Lie = fn(Vec<Response>) -> Vec<Response>;

fn honest(responses: Vec<Response>) -> Vec<Response> {
    responses
}

/// A server that lives as long as the test.
fn serve(lie: Lie) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || converse(stream.unwrap(), lie));
        }
    });
    address
}

fn converse(mut stream: TcpStream, lie: Lie) {
    let mut connection = Connection::new(Limits::default(), Instant::now());
    let mut buffer = [0; 16384];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        connection.receive(&buffer[..read], Instant::now());
        let mut responses = Vec::new();
        loop {
            match connection.next_request() {
                Ok(Some(request)) => responses.push(answer(request)),
                Ok(None) => break,
                Err(_) => return,
            }
            connection.respond(Response::default()); // only so that it goes on
        }
        let mut bytes = Vec::new();
        for response in lie(responses) {
            frame::encode(&response, &mut bytes);
        }
        if stream.write_all(&bytes).is_err() {
            return;
        }
        let unsent = connection.to_send().len();
        connection.sent(unsent, Instant::now());
    }
}

fn answer(request: Request) -> Response {
    match Service::new().plan(request, None) {
        Plan::Reply(response) => response,
        Plan::Wait { duration, response, .. } => {
            std::thread::sleep(duration);
            response
        }
        Plan::Compute(job) => job.run(),
        Plan::Block(job) => job.run(),
    }
}

#[track_caller]
fn found(lie: Lie, kind: &str, exit_code: i32) {
    let url = format!("tcp://{}", serve(lie));
    for work in ["echo:64", "compute:3", "user:100"] {
        let flags = ["-c", "2", "-p", "4", "-n", "64", "--work", work, "--timeout", "2s"];
        let run = ran(&url, &flags);
        run.adds_up();
        assert!(run.error(kind) > 0, "{work}: {:#}", run.json);
        assert_eq!(run.exit_code, Some(exit_code), "{}", run.stderr);
    }
}

#[test]
fn an_honest_server_is_believed() {
    let url = format!("tcp://{}", serve(honest));
    let work = "echo:0=2,echo:5000=2,wait:1ms,compute:10,block:1ms,user:50";
    let run = ran(&url, &["-c", "3", "-p", "5", "-n", "500", "--work", work]);
    run.adds_up();
    assert_eq!((run.count("ok"), run.exit_code), (500, Some(0)), "{:#}", run.json);
}

#[test]
fn a_wrong_payload() {
    let lie: Lie = |mut responses| {
        for response in &mut responses {
            response.payload[3] ^= 1;
        }
        responses
    };
    found(lie, "wrong_payload", 1);
}

#[test]
fn a_missing_payload() {
    let lie: Lie = |mut responses| {
        for response in &mut responses {
            response.payload.clear();
        }
        responses
    };
    found(lie, "wrong_payload", 1);
}

#[test]
fn a_wrong_id() {
    let lie: Lie = |mut responses| {
        for response in &mut responses {
            response.id += 1;
        }
        responses
    };
    found(lie, "wrong_id", 1);
}

#[test]
fn a_wrong_order() {
    let lie: Lie = |mut responses| {
        responses.reverse();
        responses
    };
    found(lie, "wrong_id", 1);
}

#[test]
fn an_answer_too_many() {
    let lie: Lie = |mut responses| {
        responses.extend_from_within(..1);
        responses
    };
    let url = format!("tcp://{}", serve(lie));
    let run = ran(&url, &["-c", "1", "-n", "64", "--timeout", "2s"]);
    run.adds_up();
    assert!(run.stderr.contains("a reply to no request"), "{}", run.stderr);
    assert_eq!((run.exit_code, &run.json["valid"]), (Some(1), &Value::Bool(false)));
}

#[test]
fn a_refusal_is_an_answer() {
    let lie: Lie = |responses| {
        let refuse = |(at, response): (usize, Response)| match at {
            0 => Response::error(response.id, Code::ResourceExhausted, "full"),
            _ => response,
        };
        responses.into_iter().enumerate().map(refuse).collect()
    };
    let url = format!("tcp://{}", serve(lie));
    let run = ran(&url, &["-c", "1", "-p", "4", "-n", "64"]);
    run.adds_up();
    assert!(run.error("code_8") > 0, "{:#}", run.json);
}

#[test]
fn a_server_of_another_protocol() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0]; // an HTTP/2 server's first frame
    for (greeting, named) in
        [(SETTINGS, "try grpc://"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let open = |stream: std::io::Result<TcpStream>| {
                let mut stream = stream.unwrap();
                stream.write_all(greeting).unwrap();
                stream
            };
            let _open: Vec<TcpStream> = listener.incoming().map(open).collect();
        });
        let run = ran(&url, &["-c", "1", "-d", "1s"]);
        run.adds_up();
        assert_eq!((run.error("protocol"), run.exit_code), (1, Some(1)), "{:#}", run.json);
        assert!(run.stderr.contains(named), "{}", run.stderr);
    }
    let framed = serve(honest);
    let run = ran(&format!("grpc://{framed}"), &["-c", "1", "-d", "1s"]);
    run.adds_up();
    assert_eq!(run.exit_code, Some(1));
    assert!(run.stderr.contains("try tcp://"), "{}", run.stderr);
}

#[test]
fn a_server_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["tcp", "grpc"] {
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let flags = ["-c", "2", "-n", "2", "--timeout", "200ms"];
        let run = ran(&url, &flags);
        run.adds_up();
        assert_eq!((run.count("timed_out"), run.exit_code), (2, Some(1)), "{:#}", run.json);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("gave no right answer"), "{}", run.stderr);
    }
}

#[test]
fn a_result_has_the_documented_fields() {
    let url = format!("tcp://{}", serve(honest));
    let pid = std::process::id().to_string();
    let run = ran(&url, &["-n", "100", "--server-pid", &pid]);
    let fields = |value: &Value| {
        value.as_object().unwrap().keys().map(String::clone).collect::<Vec<String>>()
    };
    let has = |value: &Value, names: &[&str]| {
        let fields = fields(value);
        for name in names {
            assert!(fields.iter().any(|field| field == name), "{name}: {fields:?}");
        }
    };
    let all = [
        "schema",
        "target",
        "planned",
        "ok",
        "errors",
        "timed_out",
        "unsent",
        "elapsed_s",
        "throughput_rps",
        "latency_us",
        "service_us",
        "send_lag_us",
        "server",
        "valid",
        "warnings",
    ];
    has(&run.json, &all);
    assert_eq!(run.json["schema"], "quintet/run/1");
    assert_eq!(run.json["target"], url);
    let quantiles =
        ["p50", "p75", "p90", "p95", "p97", "p99", "p99.5", "p99.9", "p99.99", "max", "mean"];
    for times in ["latency_us", "service_us", "send_lag_us"] {
        has(&run.json[times], &quantiles);
        assert_eq!(fields(&run.json[times]).len(), quantiles.len());
    }
    let server = [
        "cpu_us_per_request",
        "rss_anon_bytes",
        "pss_bytes",
        "threads",
        "context_switches_per_request",
    ];
    has(&run.json["server"], &server);
    assert!(ran(&url, &["-n", "1"]).json["server"].is_null());
}

#[test]
fn a_file_gets_the_json_and_the_terminal_the_summary() {
    let url = format!("tcp://{}", serve(honest));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("run.json");
    let output =
        support::loadtest().args(["run", &url, "-n", "100", "--json"]).arg(&file).output().unwrap();
    let json: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(json["ok"], 100);
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.contains("100 planned = 100 ok"), "{summary}");
    assert!(summary.lines().all(|line| line.chars().count() <= 100), "{summary}");
}
