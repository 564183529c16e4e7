//! What is planned is what was asked for: rates that change, arrivals at random, a schedule that
//! several load testers share.

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{Killed, floor, loadtest, ran};

#[test]
fn steps_are_told_apart() {
    let (_floor, address) = floor(&[]);
    let flags = ["-r", "200:600:200", "-d", "1500ms", "-c", "4"];
    let run = ran(&format!("raw://{address}"), &flags);
    run.adds_up();
    let mut steps: Vec<(String, u64)> = run.json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["rate_rps"].to_string(), step["planned"].as_u64().unwrap()))
        .collect();
    steps.sort_unstable();
    assert_eq!(
        steps,
        [("200.0", 100), ("400.0", 200), ("600.0", 300)].map(|(rate, n)| (rate.to_owned(), n))
    );
    let windows = run.json["windows"].as_array().unwrap();
    let planned: u64 = windows.iter().map(|window| window["planned"].as_u64().unwrap()).sum();
    assert_eq!(planned, run.count("planned"));
}

#[test]
fn a_ramp_and_poisson_arrivals_plan_their_mean() {
    let (_floor, address) = floor(&[]);
    for (flags, least, most) in [
        (&["-r", "100..900", "-d", "1s"][..], 499, 501),
        // Six standard deviations of a Poisson count.
        (&["-r", "500", "--arrivals", "poisson", "-d", "1s"], 366, 634),
    ] {
        let run = ran(&format!("raw://{address}"), flags);
        run.adds_up();
        let planned = run.count("planned");
        assert!((least..=most).contains(&planned), "{flags:?}: {planned}");
        let again = ran(&format!("raw://{address}"), flags);
        assert_eq!(again.count("planned"), planned, "the seed decides");
    }
}

#[test]
fn sizes_are_distributed_and_every_answer_is_checked() {
    let (_floor, address) = floor(&[]);
    let flags = ["-n", "2000", "-p", "8", "--work", "echo:0..5000=3,echo:~100=1"];
    let run = ran(&format!("raw://{address}"), &flags);
    run.adds_up();
    assert_eq!(run.count("ok"), 2000, "{}", run.stderr);
}

/// One of several load testers of one schedule.
fn agent(url: &str, number: usize, of: usize, start: &str, file: &Path) -> Killed {
    loadtest()
        .args(["run", url, "-r", "1k..3k", "-d", "1s", "-t", "2", "--arrivals", "poisson"])
        .args(["--agent", &format!("{number}/{of}"), "--start-at", start, "--json"])
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap()
}

#[test]
fn agents_send_what_one_would() {
    let (_floor, address) = floor(&[]);
    let url = format!("raw://{address}");
    let directory = tempfile::tempdir().unwrap();
    let planned = |agents: usize| {
        let start = SystemTime::now() + Duration::from_secs(2);
        let start = humantime::format_rfc3339_millis(start).to_string();
        let file = |number| directory.path().join(format!("{number}-{agents}.json"));
        let runs: Vec<Killed> =
            (0..agents).map(|number| agent(&url, number, agents, &start, &file(number))).collect();
        for run in runs {
            let output = run.output();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let merged =
            loadtest().arg("merge").args((0..agents).map(file)).args(["--json", "-"]).output();
        let merged = merged.unwrap();
        assert!(merged.status.success(), "{}", String::from_utf8_lossy(&merged.stderr));
        let merged: Value = serde_json::from_slice(&merged.stdout).unwrap();
        let parts = (0..agents).map(|number| {
            let part: Value = serde_json::from_slice(&fs::read(file(number)).unwrap()).unwrap();
            part["planned"].as_u64().unwrap()
        });
        let whole = merged["planned"].as_u64().unwrap();
        assert_eq!(whole, parts.sum::<u64>());
        assert_eq!(merged["ok"].as_u64(), Some(whole), "{merged:#}");
        whole
    };
    let alone = planned(1);
    assert_eq!(planned(3), alone);
}

#[test]
fn a_start_that_is_past_is_one_clear_line() {
    let (_floor, address) = floor(&[]);
    let output = loadtest()
        .args(["run", &format!("raw://{address}"), "--start-at", "2020-01-01T00:00:00Z"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("--start-at"), "{stderr}");
}

#[test]
fn what_cannot_be_merged_is_one_clear_line() {
    let (_floor, address) = floor(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (file, nothing) = (directory.path().join("run.json"), directory.path().join("no.json"));
    let url = format!("raw://{address}");
    loadtest().args(["run", &url, "-n", "10", "--json"]).arg(&file).output().unwrap();
    fs::write(&nothing, "{}").unwrap();
    for (file, named) in [
        (&file, "no agent"),
        (&nothing, "is no result of"),
        (&directory.path().join("x"), "cannot read"),
    ] {
        let output = loadtest().arg("merge").arg(file).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
    }
}
