//! The program as people and scripts run it.
//!
//! Where servers are needed, they are those beside it: `cargo test --workspace` has built them, and
//! where only this package is tested, cargo is asked for them once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use labs::results::Results;
use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// Where the servers are.
static BIN_DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let bin_dir = Path::new(LAB).parent().unwrap();
    if !["epoll", "pool", "grpc"].iter().all(|server| bin_dir.join(server).exists()) {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "servers", "--bins"])
            .status();
        assert!(build.unwrap().success());
    }
    bin_dir.to_owned()
});

/// Without a terminal.
fn lab(arguments: &[&str]) -> Output {
    let mut lab = Command::new(LAB);
    // Nothing here may build anything; NO_COLOR is for a test that is run by hand.
    lab.args(arguments).env_remove("CARGO").env("NO_COLOR", "1").stdin(Stdio::null());
    lab.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it says where the command line is wrong: one line, and nothing else.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = lab(arguments);
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn without_a_name_there_is_a_list() {
    let output = lab(&[]);
    assert_eq!(output.status.code(), Some(0));
    let list = stdout(&output);
    for lab in &labs::labs::LABS {
        assert!(list.contains(lab.name) && list.contains(lab.title), "{}", lab.name);
    }
}

#[test]
fn without_a_terminal_an_answer_is_wanted() {
    let said = refused(&["nagle"]);
    assert_eq!(
        said,
        "lab: nagle wants your answer first: --answer, one of a, b, c (see cargo lab --help)\n"
    );
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (arguments, said) in [
        (&["nagel", "--answer", "a"][..], "there is no lab `nagel`; there are idle-memory, "),
        (&["nagle", "--answer", "x"], "--answer x is no choice: a, b, c"),
        (&["nagle", "--answer", "ab"], "ab"),
        (&["nagle", "--knob", "7"], "--knob of nagle (pieces of a request) is one of 2, 3"),
        (&["nagle", "--run", "2"], "--json"),
        (&["all", "--answer", "a"], "`all` asks nothing"),
        (&["nagle", "--knobs"], "--knobs is for `all`"),
        (&["nagle", "--flag"], "--flag"),
    ] {
        let line = refused(arguments);
        assert!(line.starts_with("lab: ") && line.contains(said), "{line}");
    }
}

#[test]
fn a_file_that_is_no_result_is_refused_before_anything_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.json");
    fs::write(&path, "[]").unwrap();
    let line = refused(&["nagle", "--answer", "a", "--json", path.to_str().unwrap()]);
    assert!(line.contains("is no result of labs"), "{line}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "[]");
}

#[test]
fn servers_that_are_not_there_are_one_clear_line() {
    let nowhere = tempfile::tempdir().unwrap();
    let bin_dir = nowhere.path().to_str().unwrap();
    let output = lab(&["nagle", "--answer", "a", "--bin-dir", bin_dir]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.lines().last().unwrap().starts_with("lab: cannot start "), "{stderr}");
}

/// Bytes are the same on every machine, however busy.
#[test]
fn frames_are_shown_judged_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("labs.json");
    let bin_dir = BIN_DIR.to_str().unwrap();
    let head = ["http2-frames", "--answer", "c", "--bin-dir", bin_dir, "--json"];
    let output = lab(&[&head[..], &[path.to_str().unwrap(), "--run", "2"]].concat());
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for said in [
        "-> stream 1 HEADERS END_HEADERS",
        ":path=/quintet.v1.Quintet/Call",
        "grpc-status=0",
        "expected 0.3 to 0.6: in shape",
        "b is right; you said c.",
        "Change one knob: cargo lab http2-frames --knob 100000",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let kept = Results::read(&path).unwrap().unwrap();
    let outcome = &kept.runs[0].labs[0];
    assert_eq!(
        (kept.runs[0].run, outcome.name.as_str(), outcome.in_shape),
        (2, "http2-frames", true)
    );
    assert!(outcome.rows.len() == 2 && outcome.notes.len() > 10, "{outcome:?}");
}

/// A turned knob asks nothing and tells no answer.
#[test]
fn a_large_message_needs_room() {
    let bin_dir = BIN_DIR.to_str().unwrap();
    let output = lab(&["http2-frames", "--knob", "100000", "--bin-dir", bin_dir]);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(
        shown.contains("16393 bytes  a message of 100") && shown.contains("WINDOW_UPDATE"),
        "{shown}"
    );
    assert!(!shown.contains("is right"), "{shown}");
}

/// Whether a worker is free does not hang on how fast the machine is.
#[test]
fn idle_owners_starve_a_pool() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("labs.json");
    let bin_dir = BIN_DIR.to_str().unwrap();
    let head = ["pool-starvation", "--answer", "c", "--bin-dir", bin_dir, "--json"];
    let output = lab(&[&head[..], &[path.to_str().unwrap()]].concat());
    assert!(stdout(&output).contains("c is right, and you said so."), "{}", stdout(&output));
    let kept = Results::read(&path).unwrap().unwrap();
    let ratio = |name: &str| {
        let ratios = &kept.runs[0].labs[0].ratios;
        ratios.iter().find(|ratio| ratio.name == name).unwrap().value.unwrap()
    };
    assert!(ratio("owned") < 0.05 && ratio("fronted") > ratio("owned"));
}

/// The processes that this one has started.
fn children(parent: u32) -> Vec<i32> {
    let parent = i32::try_from(parent).unwrap();
    let of_parent = |process: &Process| process.stat().is_ok_and(|stat| stat.ppid == parent);
    let all = all_processes().unwrap().flatten();
    all.filter(of_parent).map(|process| process.pid).collect()
}

/// Ctrl-C ends what is under way, and no server is left, whether it stands still or not.
#[test]
fn an_interrupted_lab_leaves_nothing_behind() {
    const PATIENCE: Duration = Duration::from_mins(1);
    let deadline = Instant::now() + PATIENCE;
    let mut lab = Command::new(LAB);
    lab.args(["missed-stall", "--answer", "c", "--bin-dir", BIN_DIR.to_str().unwrap()]);
    lab.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = lab.spawn().unwrap();
    let server = loop {
        assert!(Instant::now() < deadline, "no server was started");
        if let Some(server) = children(child.id()).first() {
            break *server;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(Instant::now() < deadline, "it took its time");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("lab: interrupted before a round was measured whole"), "{stderr}");
    assert!(Process::new(server).is_err(), "the server lives on");
}
