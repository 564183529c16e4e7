//! Sweeps, searches for capacity, A/A runs and baselines: what they measure is what was asked for,
//! what they found is kept, and their exit codes say how it went.
//!
//! No figure is asserted but those that are so far apart that no machine can confuse them.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::{Killed, floor, loadtest};

fn started(command: &str, directory: &Path, flags: &[&str]) -> Killed {
    loadtest()
        .arg(command)
        .args(["--output-dir".as_ref(), directory.as_os_str()])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap()
}

fn done(command: &str, directory: &Path, flags: &[&str]) -> Output {
    started(command, directory, flags).output()
}

fn kept(directory: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap()
}

#[track_caller]
fn ends_with(output: &Output, code: i32) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
}

/// An echo that takes this long for what one read brings: the load tester is never its limit.
/// Counts the connections that it had.
fn slow_echo(delay: Duration) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("raw://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    let serve = move |mut stream: TcpStream| {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            std::thread::sleep(delay);
            if stream.write_all(&buffer[..read]).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || serve(stream.unwrap()));
        }
    });
    (url, accepted)
}

#[test]
fn each_point_of_a_sweep_has_its_load() {
    let directory = tempfile::tempdir().unwrap();
    let (_floor, address) = floor(&[]);
    let url = format!("raw://{address}");
    let mut answered = 0;
    for (over, field, values) in [
        ("connections=1,3", "connections", [1.into(), 3.into()]),
        ("depth=2..4", "depth", [2.into(), 4.into()]),
        ("rate=100:300:200", "rate_rps", [100.0.into(), 300.0.into()]),
        ("payload=0,1k", "work", ["echo:0".into(), "echo:1000".into()]),
        ("work=echo:1,echo:2", "work", ["echo:1".into(), Value::from("echo:2")]),
    ] {
        let flags = [
            &url, "--over", over, "--blocks", "2", "-d", "20ms", "-w", "0s", "-c", "5", "--json",
            "-",
        ];
        let output = done("sweep", directory.path(), &flags);
        ends_with(&output, 0);
        let sweep: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(sweep, kept(directory.path(), "sweep.json"));
        assert_eq!(sweep["schema"], "quintet/sweep/1");
        assert_eq!(sweep["parameter"], over.split_once('=').unwrap().0);
        assert!(sweep["command"].as_array().unwrap().contains(&over.into()));
        for (point, value) in sweep["points"].as_array().unwrap().iter().zip(&values) {
            let blocks = point["entries"][0]["blocks"].as_array().unwrap();
            assert_eq!(blocks.len(), 2, "{over}");
            for (number, block) in blocks.iter().enumerate() {
                assert_eq!(block["number"], number);
                assert_eq!(&block["run"]["settings"][field], value, "{over}");
                // A tester without CPU may come to plan nothing in so short a block.
                assert_eq!(block["run"]["ok"], block["run"]["planned"], "{over}: {block}");
                answered += block["run"]["ok"].as_u64().unwrap();
            }
        }
        let again = loadtest().arg("table").arg(directory.path().join("sweep.json")).output();
        assert_eq!(again.unwrap().stdout, fs::read(directory.path().join("sweep.md")).unwrap());
    }
    assert!(answered > 0);
}

#[test]
fn idle_connections_are_there_beside_the_others() {
    let directory = tempfile::tempdir().unwrap();
    // A block in which the tester stood still is repeated, with all its connections.
    for (idle, connections) in [("idle=0", 2), ("idle=5", 7)] {
        let (url, accepted) = slow_echo(Duration::from_millis(1));
        let flags = [&url, "--over", idle, "--blocks", "1", "-d", "20ms", "-w", "0s", "-c", "2"];
        ends_with(&done("sweep", directory.path(), &flags), 0);
        let accepted = accepted.load(Ordering::SeqCst);
        assert!(accepted > 0 && accepted % connections == 0, "{idle}: {accepted}");
    }
}

#[test]
fn a_server_that_is_started_is_swept_with_its_costs() {
    let directory = tempfile::tempdir().unwrap();
    let flags = [
        "--servers",
        "floor",
        "--over",
        "connections=1,2",
        "--blocks",
        "2",
        "-d",
        "30ms",
        "-w",
        "0s",
    ];
    ends_with(&done("sweep", directory.path(), &flags), 0);
    let sweep = kept(directory.path(), "sweep.json");
    for point in sweep["points"].as_array().unwrap() {
        assert_eq!(point["entries"][0]["server"], "floor");
        assert!(point["entries"][0]["medians"]["threads"].as_f64().unwrap() >= 1.0);
    }
    let text = sweep["warnings"].to_string();
    assert!(text.contains("no scalability law"), "two points are too few: {text}");
}

#[test]
fn an_unreachable_server_is_one_line_and_the_result_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    // Bound, and not listening: nobody else gets the port, and nobody answers.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let url = format!("tcp://{}", socket.local_addr().unwrap().as_socket().unwrap());
    for (command, flags) in
        [("sweep", ["--over", "connections=1,2"]), ("capacity", ["--slo", "p99=1ms"])]
    {
        let output = done(command, directory.path(), &[&[url.as_str()], &flags[..]].concat());
        ends_with(&output, 1);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.lines().last().unwrap().contains("is a server listening there?"),
            "{stderr}"
        );
        let result = kept(directory.path(), &format!("{command}.json"));
        assert_eq!(result["failures"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn ctrl_c_ends_a_sweep_and_keeps_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let (url, _) = slow_echo(Duration::from_millis(1));
    let flags = [&url, "--over", "connections=1,2", "--blocks", "2", "-d", "30s"];
    let mut sweeping = started("sweep", directory.path(), &flags);
    let mut line = String::new();
    BufReader::new(sweeping.0.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("block 1 of 2"), "{line}");
    sweeping.signal(Signal::INT);
    ends_with(&sweeping.output(), 130);
    assert_eq!(kept(directory.path(), "sweep.json")["interrupted"], true);
}

/// The same server is measured again; the kept figures are changed, so that a change is certain.
#[test]
fn a_baseline_shows_what_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (url, _) = slow_echo(Duration::from_millis(2));
    let flags = [&url, "--over", "connections=1", "--blocks", "5", "-d", "40ms", "-w", "0s"];
    let save = [&flags[..], &["--save-baseline", "before"]].concat();
    ends_with(&done("sweep", directory.path(), &save), 0);
    let path = directory.path().join("baselines/before.json");
    let original: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let compare = [&flags[..], &["--baseline", "before", "--fail-on-regression"]].concat();
    // A machine that is busy beyond measure may disturb all blocks: then another try is due.
    let judged = |flags: &[&str]| {
        let once =
            || (done("sweep", directory.path(), flags), kept(directory.path(), "sweep.json"));
        let is_judged = |(_, result): &(Output, Value)| {
            result["baseline"]["changes"][0]["throughput"]["verdict"]
                .as_str()
                .is_some_and(|verdict| verdict != "too_few")
        };
        let (output, result) = std::iter::repeat_with(once).take(20).find(is_judged).unwrap();
        (output, result["baseline"].clone())
    };
    for (factor, code, verdict) in [(1e-3, 0, "faster"), (1e3, 3, "slower")] {
        let mut changed = original.clone();
        for block in changed["points"][0]["entries"][0]["blocks"].as_array_mut().unwrap() {
            let rate = block["run"]["throughput_rps"].as_f64().unwrap();
            block["run"]["throughput_rps"] = (rate * factor).into();
            block["run"]["valid"] = true.into();
        }
        fs::write(&path, changed.to_string()).unwrap();
        let (output, baseline) = judged(&compare);
        ends_with(&output, code);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.contains("regression: connections=1, raw://"), code == 3, "{stderr}");
        assert_eq!(baseline["name"], "before");
        assert_eq!(baseline["changes"][0]["throughput"]["verdict"], verdict);
        assert!(baseline["changes"][0]["throughput"]["ratio"]["confidence"].as_f64().is_some());
    }
    // What is within the tolerance is no regression, however certain.
    let tolerant = [&compare[..], &["--tolerance", "100%"]].concat();
    ends_with(&judged(&tolerant).0, 0);
}

#[test]
fn a_baseline_of_other_flags_is_refused_unless_forced() {
    let directory = tempfile::tempdir().unwrap();
    let (url, _) = slow_echo(Duration::from_millis(1));
    let sweep = |flags: &[&str]| {
        let first = [url.as_str(), "--over", "connections=1", "--blocks", "1", "-w", "0s"];
        done("sweep", directory.path(), &[&first[..], flags].concat())
    };
    ends_with(&sweep(&["-d", "20ms", "--save-baseline", "short"]), 0);
    let refused = sweep(&["-d", "30ms", "--baseline", "short"]);
    ends_with(&refused, 2);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("another duration in seconds (0.02, now 0.03)"), "{stderr}");
    ends_with(&sweep(&["-d", "30ms", "--baseline", "short", "--force"]), 0);
    let warnings = &kept(directory.path(), "sweep.json")["baseline"]["warnings"];
    assert!(warnings[0].as_str().unwrap().contains("duration in seconds"), "{warnings}");
    for (name, named) in [("none", "no baseline `none`"), ("../short", "a name is made of")] {
        let output = sweep(&["-d", "20ms", "--baseline", name]);
        ends_with(&output, 2);
        assert!(String::from_utf8_lossy(&output.stderr).contains(named));
    }
    let output = done("compare", directory.path(), &["--baseline", "short"]);
    ends_with(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no result of this command"));
}

#[test]
fn a_capacity_is_searched_for_and_its_floor_enforced() {
    let directory = tempfile::tempdir().unwrap();
    // Slow beside what a busy machine makes of the tester's own sending.
    let (url, _) = slow_echo(Duration::from_millis(30));
    let first =
        [url.as_str(), "-c", "2", "-d", "100ms", "-w", "0s", "--blocks", "2", "--probes", "1"];
    let capacity = |flags: &[&str]| {
        let output = done("capacity", directory.path(), &[&first[..], flags].concat());
        (output, kept(directory.path(), "capacity.json"))
    };
    // The search goes through rates of this echo's order, and a million is beyond it.
    let coarse = ["--slo", "p50=500ms,max=5s", "--precision", "60%", "--fail-below", "1M"];
    let (output, result) = capacity(&coarse);
    assert_eq!(
        (&result["schema"], &result["slo"]),
        (&"quintet/capacity/1".into(), &coarse[1].into())
    );
    let server = &result["servers"][0];
    assert_eq!(server["blocks"].as_array().unwrap().len(), 2);
    // A tester without CPU can say nothing of the server, and must not say that it is slow.
    let is_limited = server["limited_by_tester"].as_bool().unwrap();
    ends_with(&output, if is_limited { 1 } else { 3 });
    if let Some(capacity) = server["capacity_rps"].as_object() {
        let [low, rps, high] =
            ["low", "estimate", "high"].map(|end| capacity[end].as_f64().unwrap());
        assert!(0.0 < rps && low <= rps && rps <= high && high < 1e6, "{capacity:?}");
    } else {
        assert!(is_limited, "{result}");
    }
    for probe in server["probes"].as_array().unwrap() {
        assert_eq!(probe["held"].as_bool().unwrap(), probe["why"].is_null(), "{probe}");
        assert_eq!(probe["run"]["settings"]["rate_rps"], probe["rate_rps"]);
    }
    let again = loadtest().arg("table").arg(directory.path().join("capacity.json")).output();
    assert_eq!(again.unwrap().stdout, fs::read(directory.path().join("capacity.md")).unwrap());
    // Nothing is as fast as that; a tester that had no CPU says nothing of the server.
    let (output, result) = capacity(&["--slo", "p50=1us"]);
    assert!(result["servers"][0]["capacity_rps"].is_null());
    if result["servers"][0]["limited_by_tester"] == true {
        ends_with(&output, 1);
    } else {
        ends_with(&output, 0);
        assert!(result["warnings"].to_string().contains("does not hold even at"));
    }
}

#[test]
fn a_server_is_compared_with_itself() {
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--aa", "2", "--servers", "floor", "--blocks", "6", "--block-duration", "20ms"];
    let output = done("compare", directory.path(), &flags);
    let result = kept(directory.path(), "aa.json");
    // Whether the machine was quiet enough is not known here, but that it is said.
    ends_with(&output, i32::from(result["passed"] != true));
    assert!(String::from_utf8_lossy(&output.stderr).contains("2 experiments: about 3s"));
    assert_eq!((&result["schema"], &result["alpha"]), (&"quintet/aa/1".into(), &0.05.into()));
    for experiment in result["experiments"].as_array().unwrap() {
        for side in ["one_rps", "other_rps"] {
            assert_eq!(experiment[side].as_array().unwrap().len(), 6);
        }
        assert!(experiment["difference"]["verdict"].is_string());
    }
    for (flags, named) in [
        (&["--aa", "2", "--blocks", "5"][..], "--blocks 6 or more"),
        (&["--aa", "2", "--servers", "floor,epoll"], "one server"),
        (&["--aa", "2", "--servers", "nobody"], "there is no server `nobody`"),
        (&["--aa", "0"], "invalid value"),
    ] {
        let output = done("compare", directory.path(), flags);
        ends_with(&output, 2);
        assert!(String::from_utf8_lossy(&output.stderr).contains(named), "{flags:?}");
    }
}
