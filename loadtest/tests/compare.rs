//! The comparison itself: it refuses servers that answer wrongly, stops what it started, and keeps
//! what it measured.
//!
//! The servers here are small scripts around the floor, so that no test waits for other packages.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::{Killed, loadtest};

fn script(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn compare(directory: &Path, flags: &[&str]) -> Killed {
    loadtest()
        .arg("compare")
        .args(["--bin-dir".as_ref(), directory.as_os_str()])
        .args(["--output-dir".as_ref(), directory.as_os_str()])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap()
}

#[test]
fn a_server_that_fails_the_gate_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    // All but the first flag, which is --workers.
    let floor = format!("shift; exec {} floor \"$@\"", env!("CARGO_BIN_EXE_loadtest"));
    script(directory.path(), "epoll", &floor); // an echo is no server of the contract
    let output = compare(directory.path(), &["--servers", "epoll"]).output();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("refused: epoll was not measured: late-reader"), "{stdout}");
    assert_eq!(output.status.code(), Some(1));
    let json = fs::read(directory.path().join("compare.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["schema"], "quintet/compare/1");
    assert!(json["servers"][0]["refused"].as_str().unwrap().contains("answer 0"));
    let again =
        loadtest().arg("table").arg(directory.path().join("compare.json")).output().unwrap();
    assert_eq!(again.stdout, fs::read(directory.path().join("compare.md")).unwrap());
}

#[test]
fn a_server_that_does_not_start_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    for (text, named) in [(None, "cannot start"), (Some("echo no port >&2; exit 1"), "no port")] {
        if let Some(text) = text {
            script(directory.path(), "epoll", text);
        }
        let output = compare(directory.path(), &["--servers", "epoll"]).output();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.lines().last().unwrap().contains(named), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn ctrl_c_stops_the_servers_and_keeps_the_result() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    // Listens, and then never answers: the gate waits for it.
    let silent = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; echo epoll listening on here; exec sleep 600",
        pid_file.display()
    );
    script(directory.path(), "epoll", &silent);
    let comparing = compare(directory.path(), &["--servers", "epoll,epoll"]);
    while !pid_file.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    comparing.signal(Signal::INT);
    let output = comparing.output();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(directory.path().join("compare.json").exists());
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_err(), "the server outlived it");
}
