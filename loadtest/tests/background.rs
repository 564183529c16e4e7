//! What a run has in the background: it is there, it does what it says, and it is reported.

#[path = "support/ours.rs"]
mod ours;
mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loadtest::background::Background;
use loadtest::client::grpc::{HTTP2_ACK, HTTP2_PREFACE};
use loadtest::target::{Protocol, Target};
use serde_json::Value;
use servers::{EPOLL, GRPC, THREADS};
use support::{Killed, floor, loadtest, ran};

/// No test waits longer for what it expects.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so.
#[track_caller]
fn eventually(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_reports_its_background() {
    let (_floor, address) = floor(&[]);
    let began = Instant::now();
    let url = format!("raw://{address}");
    let run = ran(&url, &["-c", "2", "-d", "1s", "--idle", "50", "--slow-readers", "3"]);
    run.adds_up();
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let background = &run.json["background"];
    assert_eq!(
        (background["idle"].as_u64(), background["slow_readers"].as_u64()),
        (Some(50), Some(3))
    );
    for closed in ["idle_closed_by_server", "slow_readers_closed_by_server"] {
        assert_eq!(background[closed], 0, "{background}");
    }
    let read = background["slow_reader_bytes_read"].as_u64().unwrap();
    // Ten reads a second of 4 KiB, however slow the machine is; and one at the beginning.
    let ticks = u64::try_from(began.elapsed().as_millis()).unwrap() / 100 + 1;
    assert!(read > 0 && read <= 3 * 4096 * ticks, "{read} bytes in {ticks} ticks");
    assert!(ran(&url, &["-n", "10"]).json.get("background").is_none());
}

#[test]
fn our_servers_hold_it_and_serve_others() {
    for model in [THREADS, EPOLL, GRPC] {
        let server = ours::start(model);
        let background = Background::open(server.target, 100, 4, PATIENCE).unwrap();
        eventually("all accepted", || server.stats.snapshot().open == 104);
        eventually("slow readers are answered", || server.stats.snapshot().requests >= 4);
        let run = ran(&server.target.to_string(), &["-c", "4", "-n", "400"]);
        assert_eq!((run.count("ok"), run.exit_code), (400, Some(0)), "{}", model.name);
        assert_eq!(server.stats.snapshot().open, 104, "{}: still there", model.name);
        let result = background.finish();
        assert_eq!((result.idle, result.slow_readers), (100, 4));
        let closed = (result.idle_closed_by_server, result.slow_readers_closed_by_server);
        assert_eq!((closed, result.warning()), ((0, 0), None), "{}", model.name);
        // Over gRPC nothing is answered before the server's settings were read.
        assert!(result.slow_reader_bytes_read > 0 || model.name != "grpc");
        eventually("all closed", || server.stats.snapshot().open == 0);
    }
}

#[test]
fn what_the_server_closes_is_counted() {
    for protocol in [Protocol::Framed, Protocol::Grpc] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target { protocol, address: listener.local_addr().unwrap() };
        let background = Background::open(target, 5, 3, PATIENCE).unwrap();
        let accepted: Vec<_> = listener.incoming().take(8).map(Result::unwrap).collect();
        // The first three that came are idle, and the last is a slow reader.
        accepted.iter().take(3).chain(accepted.last()).for_each(|stream| {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        });
        let result = background.finish();
        let closed = (result.idle_closed_by_server, result.slow_readers_closed_by_server);
        assert_eq!(closed, (3, 1), "{protocol:?}");
        let warning = result.warning().unwrap();
        assert!(warning.contains("closed 3 of 5 idle connections and 1 of 3 slow"), "{warning}");
        drop(accepted);
    }
}

#[test]
fn a_run_says_what_was_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("raw://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map(Result::unwrap).enumerate() {
            if number >= 2 {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        }
    });
    let run = ran(&url, &["-c", "2", "-n", "100", "--idle", "5"]);
    assert_eq!((run.count("ok"), run.exit_code), (100, Some(0)), "{}", run.stderr);
    assert_eq!(run.json["background"]["idle_closed_by_server"], 2);
    let warnings = run.json["warnings"].as_array().unwrap();
    let warned = |warning: &Value| warning.as_str().unwrap().contains("closed 2 of 5 idle");
    assert!(warnings.iter().any(warned), "{warnings:?}");
}

#[test]
fn an_idle_connection_over_grpc_begins_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target { protocol: Protocol::Grpc, address: listener.local_addr().unwrap() };
    let background = Background::open(target, 1, 0, PATIENCE).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = vec![0; HTTP2_PREFACE.len()];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(said, HTTP2_PREFACE);
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap(); // settings, none of them
    let mut acknowledged = [0; HTTP2_ACK.len()];
    stream.read_exact(&mut acknowledged).unwrap();
    assert_eq!(&acknowledged, HTTP2_ACK);
    assert_eq!(background.finish().idle_closed_by_server, 0);
}

#[test]
fn too_many_are_refused_before_anything_is_opened() {
    let text =
        r#"ulimit -n 200; exec "$0" run tcp://127.0.0.1:9 -c 64 --idle 100 --slow-readers 9"#;
    let child = Command::new("sh")
        .args(["-c", text, loadtest().get_program().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = Killed(child.unwrap()).output();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("173 connections need more open files than the 200"), "{stderr}");
}

#[test]
fn no_server_for_the_background_is_no_run() {
    let run = ran("tcp://127.0.0.1:9", &["-c", "2", "-n", "5", "--idle", "3"]);
    run.adds_up();
    assert_eq!((run.error("connect"), run.exit_code), (1, Some(1)));
    assert!(run.stderr.contains("cannot open connection 1 of 3"), "{}", run.stderr);
}
