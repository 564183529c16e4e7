//! Several load testers that share one schedule, started as `deploy/loadtest/` says: by Kubernetes,
//! over ssh, by Slurm, and on machines with addresses of their own.
//!
//! A tool that is not there fails its test, and the test says how to get it: none is skipped.

mod kubernetes;
mod namespaces;
mod scripts;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::Killed;

/// A process of whatever kind, on the slowest machine.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A file of the repository.
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Runs it to its end, or fails and says which package has it.
#[track_caller]
fn finished(command: &mut Command, package: &str, timeout: Duration) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            let program = command.get_program().display();
            panic!("{program}: {error} (Debian, Ubuntu: apt install {package})")
        });
    Killed(child).output_within(timeout)
}

/// The same of one that must succeed.
#[track_caller]
fn succeeded(command: &mut Command, package: &str, timeout: Duration) -> Output {
    let output = finished(command, package, timeout);
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    output
}

fn both(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// A server of known behaviour, and its port.
fn server() -> (Killed, u16) {
    let (server, address) = support::listening(&["known-server"]);
    (server, address.rsplit(':').next().unwrap().parse().unwrap())
}

fn json(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// The merged result has every request of the schedule, and is the sum of its parts.
#[track_caller]
fn is_whole(directory: &Path, agents: usize, planned: u64) -> Value {
    let merged = json(directory.join("merged.json"));
    assert_eq!(merged["planned"], planned, "{merged:#}");
    assert_eq!(merged["ok"], planned, "{merged:#}");
    for field in ["planned", "ok", "timed_out", "unsent"] {
        let parts = (0..agents).map(|number| directory.join(format!("agent-{number}.json")));
        let sum: u64 = parts.map(|part| json(part)[field].as_u64().unwrap()).sum();
        assert_eq!(merged[field], sum, "{field}");
    }
    merged
}
