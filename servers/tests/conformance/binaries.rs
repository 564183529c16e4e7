//! The five binaries as a user or a supervisor meets them: one line when ready, one clear line
//! when something is wrong, a drain on a signal.

use std::io::Read;
use std::process::Output;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::stats::Snapshot;
use rustix::process::Signal;
use servers::{EPOLL, FRAMED, GRPC, Model, POOL, TASKS, THREADS};

use crate::client::{Client, try_connect, wait};
use crate::http2;
use crate::process::{ServerProcess, command};
use crate::server::{PATIENCE, eventually};

fn all() -> impl Iterator<Item = Model> {
    FRAMED.into_iter().chain([GRPC])
}

#[test]
fn one_line_says_who_listens_where() {
    for model in all() {
        let server = ServerProcess::start(model, &[]);
        assert_ne!(server.address.port(), 0);
        assert_eq!(server.ready_line, format!("{} listening on {}", model.name, server.address));
        try_connect(server.address).expect("it listens once it says so");
    }
}

#[test]
fn a_signal_drains() {
    for model in FRAMED {
        for signal in [Signal::TERM, Signal::INT] {
            let mut server = ServerProcess::start(model, &["--drain-timeout=10m".to_owned()]);
            let mut client = Client::connect(server.address);
            client.echoes(1, b"before");
            client.send(&[wait(2, Duration::from_millis(100))]);
            eventually("in progress", 1, || server.stats().in_progress);
            server.signal(signal);
            client.receive_ok(2);
            client.receive_eof();
            drop(client);
            assert_eq!(server.ended().code(), Some(0), "{} on {signal:?}", model.name);
        }
    }
}

/// A client that a drain has to wait for: one with a long request.
fn in_the_way_of_a_drain(server: &ServerProcess, model: Model) -> Client {
    let client = Client::connect(server.address);
    let request = wait(1, Duration::from_mins(1));
    if model.name == GRPC.name {
        client.send_bytes(&[http2::hello(), http2::call(1, &request)].concat());
    } else {
        client.send(&[request]);
    }
    eventually("in progress", 1, || server.stats().in_progress);
    client
}

#[test]
fn a_drain_ends_by_its_timeout() {
    for model in all() {
        let mut server = ServerProcess::start(model, &["--drain-timeout=100ms".to_owned()]);
        let _client = in_the_way_of_a_drain(&server, model);
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0), "{}", model.name);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for model in all() {
        let mut server = ServerProcess::start(model, &["--drain-timeout=10m".to_owned()]);
        let _client = in_the_way_of_a_drain(&server, model);
        server.signal(Signal::TERM);
        eventually("drain begins", true, || try_connect(server.address).is_err());
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(128 + 15), "{}", model.name);
    }
}

#[test]
fn the_counters_are_json_on_a_signal_and_at_the_end() {
    for model in all() {
        let mut server = ServerProcess::start(model, &[]);
        let fields =
            ["accepted", "refused", "open", "requests", "failed", "reads", "writes", "waits"];
        server.signal(Signal::USR1);
        let first: serde_json::Value = serde_json::from_str(&server.stats_json()).unwrap();
        for field in fields {
            assert!(first[field].is_u64(), "{}: no {field} in {first}", model.name);
        }
        server.signal(Signal::TERM);
        let last: Snapshot = serde_json::from_str(&server.stats_json()).unwrap();
        assert_eq!((last.open, last.requests), (0, 0));
        assert!(server.ended().success());
    }
}

#[test]
fn system_calls_are_counted() {
    for model in FRAMED {
        let server = ServerProcess::start(model, &[]);
        let mut client = Client::connect(server.address);
        (0..10).for_each(|id| client.echoes(id, b"ten"));
        eventually("requests", 10, || server.stats().requests);
        let Snapshot { reads, writes, .. } = server.stats();
        assert!((10..=30).contains(&reads), "{}: {reads} reads", model.name);
        assert_eq!(writes, 10, "{}", model.name);
    }
}

#[test]
fn a_port_in_use_is_refused_also_by_those_who_share_it() {
    let sharing = [
        (EPOLL, "--loops=2"),
        (TASKS, "--runtime=per-core"),
        (THREADS, "--log=warn"),
        (POOL, "--handoff=ready"),
        (GRPC, "--workers=2"),
    ];
    for (model, flag) in sharing {
        let first = ServerProcess::start(model, &[flag.to_owned()]);
        let address = first.address.to_string();
        let message = fails(model, &[flag, "--listen", &address]);
        assert!(message.contains(&address) && message.contains("in use"), "{message}");
    }
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    for model in all() {
        for (flag, value) in [
            ("--frobnicate", "?"),
            ("--listen", "nowhere"),
            ("--listen", "127.0.0.1:65536"),
            ("--workers", "0"),
            ("--workers", "-1"),
            ("--workers", "1000000"),
            ("--workers", "many"),
            ("--max-connections", "0"),
            ("--max-connections", "99999999999999999999"),
            ("--max-frame", "0"),
            ("--max-frame", "8589934592"),
            ("--drain-timeout", "5 parsecs"),
            ("--drain-timeout", "-1s"),
            ("--drain-timeout", "9999y"),
            ("--drain-delay", "9999y"),
            ("--admin", "nowhere"),
            ("--log", "lo=ud=er"),
            ("--log-format", "xml"),
            ("--config", "/nonexistent"),
        ] {
            let flag_and_value = format!("{flag}={value}");
            let message = fails(model, &[&flag_and_value]);
            let named = message.contains(flag) && (message.contains(value) || value == "?");
            assert!(named, "{flag_and_value}: {message}");
        }
    }
    for (model, flag) in
        [(POOL, "--handoff=hot-potato"), (TASKS, "--runtime=async-std"), (EPOLL, "--offload=maybe")]
    {
        let message = fails(model, &[flag]);
        assert!(message.contains(flag.split('=').next().unwrap()), "{message}");
    }
    // Another name for the same flag, which is what the message names.
    for loops in ["--loops=0", "--loops=1000000"] {
        assert!(fails(EPOLL, &[loops]).contains("--workers"));
    }
}

/// The one line that the binary leaves with.
#[track_caller]
pub(crate) fn fails(model: Model, arguments: &[&str]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let Output { status, stdout, stderr } = output(model, &arguments);
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    let at = format!("{} {arguments:?}: {status}\n{stdout}{stderr}", model.name);
    assert!(status.code().is_some_and(|code| code != 0), "{at}");
    assert_eq!((stdout.as_str(), stderr.lines().count()), ("", 1), "{at}");
    stderr
}

#[track_caller]
fn output(model: Model, arguments: &[String]) -> Output {
    let mut child = command(model, arguments).spawn().unwrap();
    let read_all = |mut pipe: Box<dyn Read + Send>| {
        let (sender, all) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            sender.send(bytes)
        });
        all
    };
    let stdout = read_all(Box::new(child.stdout.take().unwrap()));
    let stderr = read_all(Box::new(child.stderr.take().unwrap()));
    let ended = (stdout.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE));
    let _ = child.kill();
    let status = child.wait().unwrap();
    let (Ok(stdout), Ok(stderr)) = ended else { panic!("{arguments:?}: it does not end") };
    Output { status, stdout, stderr }
}

#[test]
fn help_is_help() {
    for model in all() {
        let Output { status, stdout, .. } = output(model, &["--help".to_owned()]);
        let help = String::from_utf8(stdout).unwrap();
        assert!(status.success() && help.contains(model.listen), "{help}");
    }
}
