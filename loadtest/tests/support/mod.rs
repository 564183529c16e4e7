//! What the tests share: processes that are killed when a test ends, however it ends, and runs
//! that never take longer than a bound.

#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No run of these tests takes longer, on the slowest machine.
pub(crate) const RUN_TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) fn loadtest() -> Command {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
}

/// A child that does not outlive its test.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Killed {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its output, once it ended by itself.
    #[track_caller]
    pub(crate) fn output(self) -> Output {
        self.output_within(RUN_TIMEOUT)
    }

    /// The same of a program that may take longer.
    #[track_caller]
    pub(crate) fn output_within(mut self, timeout: Duration) -> Output {
        let deadline = Instant::now() + timeout;
        // Small enough outputs for a pipe, so that reading may wait until the end.
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it did not end in time");
            std::thread::sleep(Duration::from_millis(5));
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout, stderr }
    }
}

/// A floor, and the address that it listens on.
pub(crate) fn floor(flags: &[&str]) -> (Killed, String) {
    listening(&[&["floor", "--listen", "127.0.0.1:0"], flags].concat())
}

/// A command that says where it listens, and the address.
pub(crate) fn listening(command: &[&str]) -> (Killed, String) {
    let mut child = loadtest().args(command).stdout(Stdio::piped()).spawn().map(Killed).unwrap();
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (_, address) = line.trim().split_once(" listening on ").unwrap();
    (child, address.to_owned())
}

/// `loadtest run URL --json - FLAGS`, started.
pub(crate) fn start(url: &str, flags: &[&str]) -> Killed {
    loadtest()
        .args(["run", url, "--json", "-"])
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap()
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) json: Value,
    pub(crate) stderr: String,
    pub(crate) exit_code: Option<i32>,
}

#[track_caller]
pub(crate) fn finished(run: Killed) -> Ran {
    let output = run.output();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    Ran { json, stderr, exit_code: output.status.code() }
}

#[track_caller]
pub(crate) fn ran(url: &str, flags: &[&str]) -> Ran {
    finished(start(url, flags))
}

impl Ran {
    pub(crate) fn count(&self, field: &str) -> u64 {
        self.json[field].as_u64().unwrap()
    }

    pub(crate) fn error(&self, kind: &str) -> u64 {
        self.json["errors"].get(kind).map_or(0, |count| count.as_u64().unwrap())
    }

    pub(crate) fn us(&self, times: &str, quantile: &str) -> f64 {
        self.json[times][quantile].as_f64().unwrap()
    }

    #[track_caller]
    pub(crate) fn adds_up(&self) {
        let errors: u64 =
            self.json["errors"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        let sum = self.count("ok") + errors + self.count("timed_out") + self.count("unsent");
        assert_eq!(self.count("planned"), sum, "{:#}", self.json);
        assert!(self.count("planned") > 0, "nothing was planned: {:#}", self.json);
    }
}
