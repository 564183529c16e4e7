//! Probes: what they say while a server serves and while it drains, and what is no probe at all.

use std::time::Duration;

use rustix::process::Signal;
use servers::GRPC;

use crate::client::{Client, try_connect, wait};
use crate::process::{ServerProcess, command};
use crate::server::eventually;
use crate::support::{Administered, all, ask, fails};

#[test]
fn each_page_says_what_it_is_for() {
    for model in all() {
        let server = Administered::start(model, &[]);
        assert_eq!(server.get("/healthz"), (200, "alive\n".to_owned()));
        assert_eq!(server.get("/readyz"), (200, "ready\n".to_owned()));
        assert_eq!(server.get("/readyz?verbose"), (200, "ready\n".to_owned()));
        let metrics = ask(server.admin, "GET", "/metrics");
        assert_eq!(metrics.status, 200);
        assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{metrics:?}");
        for path in ["/", "/metric", "/metrics/", "//readyz"] {
            assert_eq!(server.get(path).0, 404, "{path}");
        }
    }
}

#[test]
fn only_reading_is_allowed() {
    let server = Administered::start(GRPC, &[]);
    for path in ["/metrics", "/healthz", "/readyz"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let answer = ask(server.admin, method, path);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.head.contains("allow: get, head"), "{answer:?}");
        }
        let head = ask(server.admin, "HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""));
    }
}

/// Nobody is sent here any more, and who comes all the same is served: a load balancer hears of
/// it late.
#[test]
fn readiness_goes_before_accepting_stops() {
    for model in all() {
        let mut server = Administered::start(model, &["--drain-delay=10m"]);
        server.signal(Signal::TERM);
        eventually("readyz", 503, || server.get("/readyz").0);
        assert_eq!(server.get("/readyz").1, "draining\n");
        assert_eq!(server.get("/healthz").0, 200);
        let client = try_connect(server.address).expect("it still accepts");
        if model.name != GRPC.name {
            let mut client = client;
            client.echoes(1, b"late, and served");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.process().ended().code(), Some(128 + 15), "{}", model.name);
    }
}

#[test]
fn the_admin_port_outlives_the_drain() {
    for model in all().filter(|model| model.name != GRPC.name) {
        let mut server = Administered::start(model, &["--drain-timeout=10m"]);
        let client = Client::connect(server.address);
        client.send(&[wait(1, Duration::from_mins(1))]);
        eventually("in progress", 1, || server.stats().in_progress);
        server.signal(Signal::TERM);
        eventually("drain begins", true, || try_connect(server.address).is_err());
        assert_eq!(server.get("/readyz").0, 503, "{}", model.name);
        assert_eq!(server.get("/healthz").0, 200);
        assert!(server.get("/metrics").1.contains("\nquintet_ready 0\n"));
        server.signal(Signal::TERM);
        assert_eq!(server.process().ended().code(), Some(128 + 15));
    }
}

#[test]
fn a_delay_ends_by_itself() {
    for model in all() {
        let mut server = Administered::start(model, &["--drain-delay=100ms"]);
        server.signal(Signal::TERM);
        assert!(server.process().ended().success(), "{}", model.name);
    }
}

#[test]
fn a_second_signal_ends_a_delay() {
    let mut server = Administered::start(GRPC, &["--drain-delay=10m"]);
    server.signal(Signal::TERM);
    eventually("readyz", 503, || server.get("/readyz").0);
    server.signal(Signal::TERM);
    assert_eq!(server.process().ended().code(), Some(128 + 15));
}

#[test]
fn an_address_that_cannot_be_had_is_told_in_one_line() {
    for model in all() {
        let first = Administered::start(model, &[]);
        let admin = format!("--admin={}", first.admin);
        let arguments = ["--listen=127.0.0.1:0".to_owned(), admin.clone()];
        let (line, code) = fails(&mut command(model, &arguments));
        assert!(line.contains("--admin") && line.contains("in use"), "{line}");
        assert!(line.contains(&first.admin.to_string()) && code == 1, "{code}: {line}");

        let (line, code) =
            fails(&mut command(model, &[admin.replace("--admin", "--listen"), admin]));
        assert!(line.contains("--listen and --admin are both"), "{line}");
        assert_eq!(code, 2);
    }
}

#[test]
fn nothing_of_it_is_there_unless_asked_for() {
    for model in all() {
        let with = Administered::start(model, &["--workers=1"]);
        // A thread names itself once it runs.
        eventually("admin", true, || with.threads().contains(&"admin".to_owned()));
        let without = ServerProcess::start(model, &["--workers=1".to_owned()]);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", without.id())).unwrap();
        let is_admin = |task: std::io::Result<std::fs::DirEntry>| {
            let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
            name.is_ok_and(|name| name.trim() == "admin")
        };
        assert!(!tasks.into_iter().any(is_admin), "{}", model.name);
    }
}
