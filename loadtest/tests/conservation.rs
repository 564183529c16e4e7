//! Every planned request is accounted for, whatever the server does: it works, stands still, dies,
//! or was never there.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use support::{finished, floor, loadtest, ran, start};

const CLOSED: &[&str] = &["-c", "8", "-p", "4"];
const OPEN: &[&str] = &["-c", "8", "-r", "2000"];

/// Long enough for a run to be in its middle; nothing is asserted about it.
fn a_while() {
    std::thread::sleep(Duration::from_millis(400));
}

#[test]
fn a_count_is_kept_to_the_request() {
    for floor_flags in [&[][..], &["--model=threads"]] {
        let (_floor, address) = floor(floor_flags);
        for load in [CLOSED, OPEN] {
            let flags = [load, &["-n", "1001", "-t", "3"]].concat();
            let run = ran(&format!("raw://{address}"), &flags);
            run.adds_up();
            assert_eq!((run.count("planned"), run.count("ok")), (1001, 1001), "{}", run.stderr);
            assert_eq!(run.exit_code, Some(0));
        }
    }
}

#[test]
fn an_open_loop_plans_its_rate() {
    let (_floor, address) = floor(&[]);
    let flags = ["-r", "500", "-d", "2s", "-w", "100ms"];
    let run = ran(&format!("raw://{address}"), &flags);
    run.adds_up();
    assert_eq!(run.count("planned"), 1000);
}

/// What is outstanding when the window begins takes the place of what is when it ends.
#[test]
fn a_closed_loop_sends_once_for_each_answer_within_its_window() {
    let (_floor, address) = floor(&["--model=pool"]);
    let load = ["-c", "8", "-p", "4", "-t", "2", "-w", "200ms", "-d", "500ms"];
    let run = ran(&format!("raw://{address}"), &load);
    run.adds_up();
    assert_eq!(run.count("answered"), run.count("planned"));
    let throughput = run.json["throughput_rps"].as_f64().unwrap();
    assert!((throughput * 0.5 - run.count("answered") as f64).abs() < 1e-3, "{throughput}");
    assert!(run.json["elapsed_s"].as_f64().unwrap() >= 0.5, "{:#}", run.json);
}

/// Without a warm-up, or by count, there is no window whose edges match.
#[test]
fn a_closed_loop_without_such_a_window_counts_to_the_end() {
    let (_floor, address) = floor(&[]);
    for (load, expected) in
        [(["-d", "300ms", "-w", "0s"], None), (["-n", "500", "-w", "0s"], Some(500))]
    {
        let run = ran(&format!("raw://{address}"), &[CLOSED, &load].concat());
        run.adds_up();
        assert_eq!(run.count("answered"), run.count("ok"), "{:#}", run.json);
        assert!(expected.is_none_or(|expected| run.count("ok") == expected));
        let per_s = |name: &str| run.json[name].as_f64().unwrap();
        let answered = per_s("throughput_rps") * per_s("elapsed_s");
        assert!((answered - run.count("ok") as f64).abs() < 1e-3, "{:#}", run.json);
    }
}

#[test]
fn a_server_that_stands_still_for_a_while() {
    for load in [CLOSED, OPEN] {
        let (server, address) = floor(&[]);
        let run = start(&format!("raw://{address}"), &[load, &["-d", "1500ms"]].concat());
        a_while();
        server.signal(Signal::STOP);
        a_while();
        server.signal(Signal::CONT);
        let run = finished(run);
        run.adds_up();
        assert_eq!(run.count("ok"), run.count("planned"));
        // The stall was seen: not all of the 400 ms, for the test may be late itself.
        assert!(run.us("latency_us", "max") > 100_000.0, "{:#}", run.json);
    }
}

#[test]
fn a_server_that_stands_still_for_good() {
    for load in [CLOSED, OPEN] {
        let (server, address) = floor(&[]);
        let flags = [load, &["-d", "1s", "--timeout", "300ms"]].concat();
        let run = start(&format!("raw://{address}"), &flags);
        a_while();
        server.signal(Signal::STOP);
        let run = finished(run);
        run.adds_up();
        assert!(run.count("timed_out") > 0, "{:#}", run.json);
        assert!(run.us("latency_us", "max") >= 299_000.0, "timeouts are in the histogram");
        assert_eq!(run.exit_code, Some(0), "late answers are a result: {}", run.stderr);
    }
}

#[test]
fn a_server_that_dies() {
    for load in [CLOSED, OPEN] {
        let (server, address) = floor(&[]);
        let run = start(&format!("raw://{address}"), &[load, &["-d", "30s"]].concat());
        a_while();
        server.signal(Signal::KILL);
        let run = finished(run);
        run.adds_up();
        assert!(run.count("ok") > 0, "the partial result is kept");
        assert_eq!(run.exit_code, Some(1));
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("8 of 8 connections failed"), "{}", run.stderr);
        assert!(run.stderr.contains(&address), "{}", run.stderr);
        if load == OPEN {
            assert_eq!(run.count("planned"), 60_000, "the plan does not shrink");
            assert!(run.count("unsent") > 0);
        }
    }
}

#[test]
fn ctrl_c_ends_a_run_early() {
    for load in [CLOSED, OPEN] {
        let (_floor, address) = floor(&[]);
        let run = start(&format!("raw://{address}"), &[load, &["-d", "1h"]].concat());
        a_while();
        run.signal(Signal::INT);
        let run = finished(run);
        run.adds_up();
        assert!(run.count("ok") > 0);
        assert_eq!(run.error("interrupted"), 0, "what was sent is waited for");
        assert_eq!(run.exit_code, Some(130), "{}", run.stderr);
    }
}

#[test]
fn a_server_that_is_not_there() {
    // A port that was just free, and that nobody else is told about.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["tcp", "raw", "grpc"] {
        let run = ran(&format!("{scheme}://{address}"), &["-d", "1s"]);
        run.adds_up();
        assert_eq!((run.error("connect"), run.exit_code), (1, Some(1)));
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("is a server listening there?"), "{}", run.stderr);
        assert!(run.stderr.contains(&address.to_string()), "{}", run.stderr);
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    for flags in [&["run"][..], &["run", "7001"], &["compare", "--servers", "nginx"], &["frob"]] {
        let output = loadtest().args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{flags:?}: {said}");
    }
}
