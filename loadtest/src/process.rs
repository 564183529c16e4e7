//! A server's process: started, awaited, asked for its counters, and stopped.
//!
//! Only processes that were started here are ever signalled, by their handle; one that is dropped
//! is killed, so that none outlives the comparison.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::stats::Snapshot;
use rustix::process::{Pid, Signal, kill_process};

use crate::target::{Protocol, Target};

/// How long a server may take until it says that it listens.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may drain: its own default is 5 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);
/// How long it may take to print its counters.
const STATS_TIMEOUT: Duration = Duration::from_millis(500);
/// How often an ending process is looked at.
const STOP_INTERVAL: Duration = Duration::from_millis(2);
/// Ports for servers: below the ephemeral ones, which begin at 32768 on Linux, so that no
/// client's source port is in the way.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Name of the row.
    pub name: &'static str,
    /// Name of the binary; what speaks [`Protocol::Raw`] is this very program.
    pub program: &'static str,
    /// What it speaks.
    pub protocol: Protocol,
    /// What it is told beside where to listen, and how many workers to have unless that is here.
    pub flags: &'static [&'static str],
}

impl Contender {
    const fn server(name: &'static str, protocol: Protocol) -> Self {
        Self { name, program: name, protocol, flags: &[] }
    }

    /// A floor: no codec, no handler.
    pub const fn raw(name: &'static str, flags: &'static [&'static str]) -> Self {
        Self { name, program: "floor", protocol: Protocol::Raw, flags }
    }

    /// The same program with these flags, in a row of its own.
    #[must_use]
    pub const fn with(self, name: &'static str, flags: &'static [&'static str]) -> Self {
        Self { name, flags, ..self }
    }

    fn command(&self, launch: &Launch) -> Command {
        let mut command = if self.protocol == Protocol::Raw {
            let this = std::env::current_exe();
            let mut command = Command::new(this.unwrap_or_else(|_| "loadtest".into()));
            command.arg(self.program);
            command
        } else {
            Command::new(launch.bin_dir.join(self.program))
        };
        // The floor has one loop for all: that is what makes it the floor.
        let has_workers = self.flags.iter().any(|flag| flag.starts_with("--workers"));
        if self.protocol != Protocol::Raw && !has_workers {
            command.arg(format!("--workers={}", launch.workers));
        }
        if self.protocol != Protocol::Raw && launch.counts_allocations {
            command.arg("--count-allocations=on");
        }
        command.args(self.flags);
        command
    }
}

/// The servers, by the model that each shows.
pub const THREADS: Contender = Contender::server("threads", Protocol::Framed);
#[allow(missing_docs)] // as above
pub const POOL: Contender = Contender::server("pool", Protocol::Framed);
#[allow(missing_docs)] // as above
pub const TASKS: Contender = Contender::server("tasks", Protocol::Framed);
#[allow(missing_docs)] // as above
pub const EPOLL: Contender = Contender::server("epoll", Protocol::Framed);
#[allow(missing_docs)] // as above
pub const GRPC: Contender = Contender::server("grpc", Protocol::Grpc);

/// The five servers.
pub const SERVERS: [Contender; 5] = [THREADS, POOL, TASKS, EPOLL, GRPC];

/// What they are measured against: this very program.
pub const FLOOR: Contender = Contender::raw("floor", &[]);

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No such binary, or no right to run it.
    #[error("cannot start {path}: {error}; build it with: cargo build --release --package servers")]
    Start {
        /// The binary.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// It said nothing, or ended.
    #[error("{name} did not say that it listens: {said}")]
    NotReady {
        /// The server.
        name: &'static str,
        /// The last line of its standard error.
        said: String,
    },
    /// There is no free port below the ephemeral ones.
    #[error("no free port between {} and {} of 127.0.0.1", PORTS.start, PORTS.end)]
    NoPort,
}

/// How contenders are started: all in the same way.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Where the servers' binaries are.
    pub bin_dir: PathBuf,
    /// What each gets as `--workers`.
    pub workers: NonZeroUsize,
    /// Whether each counts its allocations, which costs it time.
    pub counts_allocations: bool,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub target: Target,
    stats: Receiver<Snapshot>,
    last_line: Arc<Mutex<String>>,
}

impl Server {
    /// Starts the contender and returns once it listens.
    ///
    /// # Errors
    /// If it cannot be started, or does not listen in time.
    pub fn start(contender: Contender, launch: &Launch) -> Result<Self, ProcessError> {
        let address = free_port().ok_or(ProcessError::NoPort)?;
        let mut command = contender.command(launch);
        let mut child = command
            .args(["--listen", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0) // Ctrl-C is for this program, which then stops its servers
            .spawn()
            .map_err(|error| {
                let path = command.get_program().to_string_lossy().into_owned();
                ProcessError::Start { path, error }
            })?;
        let last_line = Arc::new(Mutex::new(String::new()));
        let (stats_in, stats) = mpsc::channel();
        let (ready_in, ready) = mpsc::channel();
        let (ended_in, ended) = mpsc::channel::<()>();
        if let Some(stderr) = child.stderr.take() {
            let last_line = Arc::clone(&last_line);
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    match line.strip_prefix("stats ").map(serde_json::from_str) {
                        Some(Ok(snapshot)) => drop(stats_in.send(snapshot)),
                        _ => *lock(&last_line) = line,
                    }
                }
                drop(ended_in);
            });
        }
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    drop(ready_in.send(line));
                }
            });
        }
        let target = Target { protocol: contender.protocol, address };
        let mut server = Self { child, target, stats, last_line };
        match ready.recv_timeout(READY_TIMEOUT) {
            Ok(line) if line.contains(" listening on ") => Ok(server),
            _ => {
                // Why it ended may still be on its way.
                let _ = server.child.kill();
                let _ = ended.recv_timeout(STATS_TIMEOUT);
                let said = lock(&server.last_line).clone();
                Err(ProcessError::NotReady { name: contender.name, said })
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    /// Its own counters, where it has any to show.
    pub fn stats(&self) -> Option<Snapshot> {
        if self.target.protocol == Protocol::Raw {
            return None; // the floor counts nothing, and SIGUSR1 would end it
        }
        while self.stats.try_recv().is_ok() {} // older ones
        self.signal(Signal::USR1);
        self.stats.recv_timeout(STATS_TIMEOUT).ok()
    }

    /// Asks it to end, waits, and kills it if it does not. Gives the counters that it prints at
    /// its end, which miss nothing.
    pub fn stop(mut self) -> Option<Snapshot> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(STOP_INTERVAL),
                Ok(Some(_)) => return self.last_stats(deadline),
                Err(_) => break,
            }
        }
        None // dropped now, and so killed
    }

    /// The last that its standard error said of them, once that has ended.
    fn last_stats(&self, deadline: Instant) -> Option<Snapshot> {
        let rest = || deadline.saturating_duration_since(Instant::now());
        std::iter::from_fn(|| self.stats.recv_timeout(rest()).ok()).last()
    }

    fn signal(&self, signal: Signal) {
        // The pid is this child's until it was waited for, and nobody waits but `stop` and `drop`.
        if let Some(pid) = Pid::from_raw(self.pid()) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn lock(line: &Mutex<String>) -> std::sync::MutexGuard<'_, String> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address that nobody listens on at the moment; the search begins where no other comparison
/// that runs now is likely to.
fn free_port() -> Option<SocketAddr> {
    let ports = PORTS.end - PORTS.start;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    let first = crate::work::scramble(now.subsec_nanos().into()) % u64::from(ports);
    let first = u16::try_from(first).ok()?;
    (0..ports)
        .map(|step| PORTS.start + (first + step) % ports)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A script in the place of the epoll server.
    fn script(text: &str) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("epoll");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let launch = Launch {
            bin_dir: directory.path().to_owned(),
            workers: NonZeroUsize::MIN,
            counts_allocations: false,
        };
        Server::start(SERVERS[3], &launch).unwrap()
    }

    #[test]
    fn what_it_says_at_its_end_is_heard() {
        let last =
            Snapshot { accepted: 1, requests: 7, reads: 8, writes: 7, ..Snapshot::default() };
        let json = serde_json::to_string(&last).unwrap();
        let trap = format!("trap 'echo stats \"$LAST\" >&2; exit 0' TERM; LAST='{json}'");
        let server =
            script(&format!("{trap}; echo epoll listening on x; while :; do sleep 0.01; done"));
        assert_eq!(server.stop(), Some(last));
    }

    #[test]
    fn one_that_is_dropped_is_killed() {
        let began = Instant::now();
        let server = script("trap '' TERM; echo epoll listening on x; exec sleep 60");
        drop(server); // which waits for its end
        assert!(began.elapsed() < Duration::from_secs(30), "it ended by itself");
    }
}
