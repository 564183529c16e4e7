//! Memory by slope: the points are where they should be, and the connections do what is said of
//! them. How much memory it is, is the machine's affair.

#[path = "support/ours.rs"]
mod ours;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::Config;
use loadtest::memory::result::{MemoryResult, Point};
use loadtest::memory::{Activity, MemoryConfig, Requests, Subjects, measure};
use loadtest::share::Interrupt;
use loadtest::work::Kind;
use servers::{EPOLL, GRPC, POOL, TASKS, THREADS};
use support::{Killed, floor, loadtest};

/// One test at a time: another's memory would not come to rest.
static ALONE: Mutex<()> = Mutex::new(());

/// `loadtest memory FLAGS`: what it says, and its code.
fn memory(flags: &[&str]) -> (String, String, Option<i32>) {
    let child =
        loadtest().arg("memory").args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = Killed(child.unwrap()).output();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn of_kind(points: &[Point], kind: Activity) -> Vec<(usize, u64)> {
    let of_kind = points.iter().filter(|point| point.kind == kind);
    of_kind.map(|point| (point.connections, point.threads)).collect()
}

#[test]
fn the_slope_of_a_thread_per_connection() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (floor, address) = floor(&["--model=threads"]);
    let pid = floor.0.id().to_string();
    let url = format!("raw://{address}");
    let counts = "--counts=300,0,100,200,100"; // any order, each once
    let (stdout, stderr, code) = memory(&[&url, "--server-pid", &pid, counts, "--json", "-"]);
    assert_eq!(code, Some(0), "{stderr}");
    let result: MemoryResult = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (result.schema.as_str(), result.counts),
        ("quintet/memory/1", vec![0, 100, 200, 300])
    );
    let [server] = result.servers.as_slice() else { panic!("one server") };
    assert_eq!(server.server, url);
    let points = of_kind(&server.points, Activity::Idle);
    assert_eq!(points, [(0, 1), (100, 101), (200, 201), (300, 301)], "a thread for each");
    let idle = server.idle.unwrap();
    // A thread touches a page of its stack at the least, and its stack bounds it.
    let user = idle.user;
    assert!((4096.0..131_072.0).contains(&user.estimate), "{user:?}");
    assert!(user.low <= user.estimate && user.estimate <= user.high, "{user:?}");
    assert!(server.active.is_none() && of_kind(&server.points, Activity::Active).is_empty());
    let (stdout, _, code) = memory(&[&url, "--server-pid", &pid, "--counts=0,5,10"]);
    assert!(code == Some(0) && stdout.contains("an idle connection"), "{stdout}");
}

/// The process is this one, so its memory says nothing; its servers' counters do.
#[test]
fn active_connections_are_what_is_said_of_them() {
    const REQUESTS: u64 = 7;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for model in [THREADS, POOL, TASKS, EPOLL, GRPC] {
        let server = ours::start(model);
        // The pool's workers are all held by the first count: one growth must do.
        let counts = if model.name == "pool" { vec![20] } else { vec![0, 10, 20] };
        let config = MemoryConfig {
            subjects: Subjects::Running {
                target: server.target,
                pid: std::process::id().try_into().unwrap(),
            },
            counts: counts.clone(),
            repetitions: 1,
            requests: Requests { work: Kind::Echo { bytes: 100 }, count: REQUESTS },
        };
        let over = AtomicBool::new(false);
        let (result, open_peak) = std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let mut peak = 0;
                while !over.load(Ordering::Relaxed) {
                    peak = peak.max(server.stats.snapshot().open);
                    std::thread::sleep(Duration::from_millis(1));
                }
                peak
            });
            let result = measure(&config, &Interrupt::default());
            over.store(true, Ordering::Relaxed);
            (result.unwrap(), watching.join().unwrap())
        });
        assert_eq!(open_peak, 40, "{}: the idle ones stayed below the active ones", model.name);
        assert_eq!(result.warnings, [""; 0], "{}", model.name);
        let points = &result.servers[0].points;
        for kind in [Activity::Idle, Activity::Active] {
            let connections: Vec<_> = of_kind(points, kind).iter().map(|point| point.0).collect();
            assert_eq!(connections, counts, "{}", model.name);
        }
        let now = server.stats.snapshot();
        assert_eq!(now.accepted, 40, "{}", model.name);
        assert_eq!(now.requests, 20 * REQUESTS, "{}: answered, and no more", model.name);
        let outstanding = match model.name {
            "pool" => Config::default().workers.get() as u64, // the others are in its queue
            _ => 20,
        };
        assert_eq!(now.in_progress_peak, outstanding, "{}", model.name);
    }
}

#[test]
fn a_server_that_is_started_for_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("epoll");
    // The floor in the place of the server: it holds connections, and has no counters to tell.
    let text = format!(
        "#!/bin/sh\ntrap '' USR1; shift; exec {} floor \"$@\"\n",
        loadtest().get_program().display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bin_dir = directory.path().to_str().unwrap();
    let flags = ["--servers=epoll", "--counts=0,5,10", "--repetitions=2", "--bin-dir", bin_dir];
    let (stdout, stderr, code) = memory(&[&flags[..], &["--json", "-"]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let result: MemoryResult = serde_json::from_str(&stdout).unwrap();
    let points = &result.servers[0].points;
    let idle: Vec<_> = points.iter().filter(|point| point.kind == Activity::Idle).collect();
    let order: Vec<_> = idle.iter().map(|point| (point.repetition, point.connections)).collect();
    assert_eq!(order, [(0, 0), (0, 5), (0, 10), (1, 0), (1, 5), (1, 10)]);
    assert!(idle.iter().all(|point| point.threads == 1), "each is a fresh process");
    // It answers with the request's own bytes, which is no answer of the contract.
    assert!(result.servers[0].active.is_none());
    let warned = |text: &str| result.warnings.iter().any(|warning| warning.contains(text));
    assert!(warned("epoll: 5 active connections were not measured: a wrong answer"), "{result:#?}");
    assert!(stderr.contains("round 2 of 2: 10 connections"), "{stderr}");
}

#[test]
fn usage() {
    for (flags, named) in [
        (&["--counts", "0,5,5"][..], "a slope needs 3 different --counts"),
        (&["--servers", "fibers"], "there is no server `fibers`"),
        (&["tcp://127.0.0.1:9"], "--server-pid"),
        (&["tcp://127.0.0.1:9", "--server-pid", "1", "--servers", "epoll"], "cannot be used with"),
        (&["--work", "sleep:1s"], "is not echo:BYTES"),
    ] {
        let (_, stderr, code) = memory(flags);
        assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
    }
    let pid = std::process::id().to_string();
    let (_, stderr, code) = memory(&["tcp://127.0.0.1:9", "--server-pid", &pid]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains("Connection refused"), "{stderr}");
    let (_, stderr, code) = memory(&["tcp://127.0.0.1:9", "--server-pid", "2147483647"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot read /proc/2147483647"), "{stderr}");
}
