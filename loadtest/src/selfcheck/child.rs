//! The two processes of a check: the built-in server, and the load tester as a user runs it.
//!
//! They are processes, and not threads, so that either can be stopped (SIGSTOP) while the other
//! goes on. Only these children are ever signalled, by their handle, and none outlives this one.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::SelfcheckError;
use super::oracle::Stall;
use super::server::Behaviour;
use crate::result::RunResult;
use crate::share::Interrupt;

/// The hidden command that serves.
pub const SERVER_COMMAND: &str = "known-server";
/// How often a waiting check looks whether somebody wants it to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A child that is killed when it is no longer held, also one that stands still.
#[derive(Debug)]
struct Held(Child);

impl Held {
    fn start(arguments: &[String]) -> Result<(Self, ChildStdout), SelfcheckError> {
        let start = |error| SelfcheckError::Start { error };
        let mut child = Command::new(std::env::current_exe().map_err(start)?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C is for this program, which then ends its children
            .spawn()
            .map_err(start)?;
        let stdout = child.stdout.take().expect("it was asked for above");
        Ok((Self(child), stdout))
    }

    fn signal(&self, signal: Signal) {
        // The pid is this child's until it was waited for, which only `drop` and `finish` do.
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    /// Stops it for `length`, counted from `began`, and says when and for how long it really stood
    /// still: a busy machine wakes this thread late too.
    fn stand_still(&self, length: Duration, began: Instant) -> Stall {
        let from = Instant::now();
        self.signal(Signal::STOP);
        thread::sleep(length);
        self.signal(Signal::CONT);
        Stall {
            from_s: from.duration_since(began).as_secs_f64(),
            length_s: from.elapsed().as_secs_f64(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The built-in server.
#[derive(Debug)]
pub(super) struct KnownServer {
    held: Held,
    address: SocketAddr,
}

impl KnownServer {
    /// Starts one, and returns once it listens.
    pub(super) fn start(behaviour: Behaviour) -> Result<Self, SelfcheckError> {
        let mut arguments = vec![SERVER_COMMAND.to_owned(), "--delay".to_owned()];
        arguments.push(humantime::format_duration(behaviour.delay).to_string());
        if let Some((every, delay)) = behaviour.slow {
            let delay = humantime::format_duration(delay).to_string();
            arguments.extend(["--slow-every".to_owned(), every.to_string()]);
            arguments.extend(["--slow-delay".to_owned(), delay]);
        }
        let (held, stdout) = Held::start(&arguments)?;
        let mut line = String::new();
        // A server that ends says nothing more, and the reading ends too.
        let _ = BufReader::new(stdout).read_line(&mut line);
        let address = line.trim().rsplit(' ').next().and_then(|address| address.parse().ok());
        Ok(Self { held, address: address.ok_or(SelfcheckError::NotReady)? })
    }

    /// As `loadtest run` takes it.
    pub(super) fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Stops it for a while; see [`Stall`].
    pub(super) fn stand_still(&self, length: Duration, began: Instant) -> Stall {
        self.held.stand_still(length, began)
    }

    /// Ends it without a farewell.
    pub(super) fn kill(&self) {
        self.held.signal(Signal::KILL);
    }
}

/// `loadtest run`, under way.
#[derive(Debug)]
pub(super) struct LoadRun {
    held: Held,
    output: JoinHandle<Vec<u8>>,
    /// When it was started: its first request is planned a few milliseconds later.
    pub(super) began: Instant,
}

impl LoadRun {
    /// Starts one with `flags`, on one load thread: nothing of what is checked needs more.
    pub(super) fn start(url: &str, flags: &[String]) -> Result<Self, SelfcheckError> {
        let fixed = ["run", url, "--json", "-", "--threads", "1"].map(str::to_owned);
        let began = Instant::now();
        let (held, mut stdout) = Held::start(&[&fixed, flags].concat())?;
        let output = thread::spawn(move || {
            let mut output = Vec::new();
            let _ = stdout.read_to_end(&mut output); // a part of it is no JSON, and said so
            output
        });
        Ok(Self { held, output, began })
    }

    /// Stops it for a while; see [`Stall`].
    pub(super) fn stand_still(&self, length: Duration) -> Stall {
        self.held.stand_still(length, self.began)
    }

    /// Returns once so much of it has passed; earlier where somebody wants an end.
    pub(super) fn wait_until(&self, after: Duration, interrupt: &Interrupt) {
        while let Some(rest) = after.checked_sub(self.began.elapsed())
            && !interrupt.is_triggered()
        {
            thread::sleep(rest.min(LOOK_INTERVAL));
        }
    }

    /// Its result, once it ended by itself, or because somebody wanted it to.
    pub(super) fn finish(self, interrupt: &Interrupt) -> Result<RunResult, SelfcheckError> {
        let mut told = false;
        while !self.output.is_finished() {
            if interrupt.is_triggered() && !told {
                self.held.signal(Signal::INT);
                told = true;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        let output = self.output.join().unwrap_or_default();
        serde_json::from_slice(&output).map_err(|error| SelfcheckError::NoResult { error })
    }
}
