//! The self-check as a user runs it: every row is there, and those that no machine can be too busy
//! for are right. The formulas have their own tests, against a simulated queue.

mod support;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::{Killed, listening, loadtest, ran};

/// A check that was hindered is made once more, on the slowest machine.
const SELFCHECK_TIMEOUT: Duration = Duration::from_mins(5);

/// In the order of the table.
const ROWS: [&str; 43] = [
    "stall at the start: p97",
    "stall at the start: p99",
    "stall at the start: p99.9",
    "stall at the start: max",
    "stall at the start: answered",
    "stall in the middle: p97",
    "stall in the middle: p99",
    "stall in the middle: p99.9",
    "stall in the middle: max",
    "stall in the middle: answered",
    "stall across the end: p97",
    "stall across the end: p99",
    "stall across the end: p99.9",
    "stall across the end: max",
    "stall across the end: answered",
    "two stalls: p97",
    "two stalls: p99",
    "two stalls: p99.9",
    "two stalls: max",
    "two stalls: answered",
    "overload: capacity",
    "overload: p99",
    "overload: answered",
    "timeouts: how many",
    "timeouts: p99 is not below",
    "timeouts: max",
    "timeouts: accounted for",
    "known delay: p50",
    "known delay: p99.5",
    "known delay: mean",
    "closed loop: throughput",
    "closed loop: throughput x mean latency",
    "pacing: median send lag",
    "pacing: load thread",
    "load tester stopped: valid",
    "load tester stopped: says that it stood still",
    "load tester stopped: for how long",
    "server killed: planned",
    "server killed: accounted for",
    "server killed: valid",
    "merge: requests",
    "merge: buckets",
    "merge: buckets that are equal",
];

fn started(flags: &[&str]) -> Killed {
    loadtest()
        .arg("selfcheck")
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap()
}

#[test]
fn it_prints_every_row_and_those_without_a_clock_are_right() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("selfcheck.json");
    let selfcheck = started(&["--quick", "--json", json.to_str().unwrap()]);
    let output = selfcheck.output_within(SELFCHECK_TIMEOUT);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(report["schema"], "quintet/selfcheck/1");
    let checks = report["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ROWS);
    for (row, name) in stdout.lines().skip(1).zip(ROWS) {
        assert!(row.starts_with(name), "{stdout}");
        assert!(row.chars().count() <= 100, "{row}");
    }
    for check in checks {
        // Counts of requests, and yes or no: what was planned, answered and said.
        if check["bound"] == "within" && check["tolerance"] == 0.0 || check["bound"] == "at_least" {
            assert_eq!(check["passed"], true, "{check:#}");
        }
    }
    assert_eq!(stderr.lines().count(), 11, "a line for each step: {stderr}");
    let failed = checks.iter().any(|check| check["passed"] == false && check["about"] != "machine");
    assert_eq!(report["passed"], !failed);
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{stdout}");
}

#[test]
fn ctrl_c_ends_it_and_its_children() {
    let selfcheck = started(&[]);
    let children = format!("/proc/{0}/task/{0}/children", selfcheck.0.id());
    // Until both the server and the load tester run; then the full check would take minutes.
    let pids = loop {
        let pids = fs::read_to_string(&children).unwrap();
        if pids.split_whitespace().count() == 2 {
            break pids;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let began = Instant::now();
    selfcheck.signal(Signal::INT);
    let output = selfcheck.output();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(30), "it was not ended");
    assert!(String::from_utf8(output.stdout).unwrap().contains("interrupted"));
    for pid in pids.split_whitespace() {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_err(), "a child outlived it");
    }
}

/// Never earlier than its delay; how much later is the machine's affair.
#[test]
fn the_server_takes_its_time_and_answers_rightly() {
    let slow = ["known-server", "--delay", "20ms", "--slow-every", "5", "--slow-delay", "60ms"];
    let (_server, address) = listening(&slow);
    let run = ran(&format!("tcp://{address}"), &["-c", "1", "-p", "2", "-n", "10"]);
    run.adds_up();
    assert_eq!((run.count("ok"), run.exit_code), (10, Some(0)), "{}", run.stderr);
    // One at a time: the first waits for its own, each later one also for the one before it.
    assert!(run.us("latency_us", "p50") >= 39_000.0, "{:#}", run.json);
    assert!(run.us("latency_us", "max") >= 79_000.0, "{:#}", run.json);
    let elapsed_s = run.json["elapsed_s"].as_f64().unwrap();
    assert!(elapsed_s >= 0.279, "8 x 20 ms and 2 x 60 ms, but {elapsed_s} s");
    let other = ran(&format!("tcp://{address}"), &["-c", "1", "-n", "1", "--work", "wait:1ms"]);
    assert_eq!(other.error("code_3"), 1, "only an echo has a known time: {:#}", other.json);
}

#[test]
fn the_server_is_not_in_the_help() {
    let help = loadtest().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("selfcheck") && !help.contains("known-server"), "{help}");
}
