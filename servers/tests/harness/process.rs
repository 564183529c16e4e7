//! A server as its users run it: the binary in a process of its own, told by signals.
//! It pays with a process a test; what is counted here is what the whole process has.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use common::stats::Snapshot;
use rustix::process::{Pid, Signal, kill_process};
use servers::Model;

use super::patience::PATIENCE;

/// Dropping it kills the process.
pub(crate) struct ServerProcess {
    pub(crate) address: SocketAddr,
    /// The one line on standard output.
    pub(crate) ready_line: String,
    child: Child,
    errors: Receiver<String>,
    /// Lines on standard error so far, but for counters.
    logged: Arc<AtomicUsize>,
}

/// The binary of `model`, about to run with `arguments`.
pub(crate) fn command(model: Model, arguments: &[String]) -> Command {
    let path = match model.name {
        "threads" => env!("CARGO_BIN_EXE_threads"),
        "pool" => env!("CARGO_BIN_EXE_pool"),
        "tasks" => env!("CARGO_BIN_EXE_tasks"),
        "epoll" => env!("CARGO_BIN_EXE_epoll"),
        "grpc" => env!("CARGO_BIN_EXE_grpc"),
        other => panic!("no binary for {other}"),
    };
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl ServerProcess {
    /// Runs `model`'s binary on a free port, and waits until it says that it listens.
    #[track_caller]
    pub(crate) fn start(model: Model, arguments: &[String]) -> Self {
        Self::start_command(command(model, arguments))
    }

    /// The same, where the process may have only so many descriptors.
    #[track_caller]
    pub(crate) fn start_with_descriptors(model: Model, arguments: &[String], max: usize) -> Self {
        let limited = command(model, arguments);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {max} && exec \"$0\" \"$@\""));
        shell.arg(limited.get_program()).args(limited.get_args());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_command(shell)
    }

    /// The same, of a command that a test has made more of.
    #[track_caller]
    pub(crate) fn start_command(mut command: Command) -> Self {
        if !command.get_args().any(|flag| flag.to_string_lossy().starts_with("--listen=")) {
            command.arg("--listen=127.0.0.1:0");
        }
        let mut child = command.spawn().unwrap();
        let logged = Arc::new(AtomicUsize::new(0));
        let errors = lines_of(child.stderr.take().unwrap(), Arc::clone(&logged));
        let output = lines_of(child.stdout.take().unwrap(), Arc::default());
        let ready_line = output.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("{command:?} never said that it listens: {:?}", errors.recv())
        });
        let address = ready_line.rsplit(' ').next().unwrap().parse().expect(&ready_line);
        Self { address, ready_line, child, errors, logged }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How many lines the server has logged.
    pub(crate) fn log_lines(&self) -> usize {
        self.logged.load(Ordering::Relaxed)
    }

    /// How many descriptors the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    /// What the process has had of the cores so far, in user mode and in the kernel.
    pub(crate) fn cpu_time(&self) -> Duration {
        /// `USER_HZ` of proc(5): the same on every Linux that Rust runs on.
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let after_name = stat.rsplit(") ").next().unwrap();
        let ticks = |field: usize| -> u32 {
            after_name.split(' ').nth(field - 3).unwrap().parse().unwrap()
        };
        TICK * (ticks(14) + ticks(15))
    }

    /// The counters, as SIGUSR1 prints them.
    #[track_caller]
    pub(crate) fn stats(&self) -> Snapshot {
        self.signal(Signal::USR1);
        serde_json::from_str(&self.stats_json()).expect("the counters are JSON")
    }

    /// The next `stats {json}` on standard error.
    #[track_caller]
    pub(crate) fn stats_json(&self) -> String {
        loop {
            let line = self.error_line(PATIENCE).expect("a line of counters");
            if let Some(json) = line.strip_prefix("stats ") {
                return json.to_owned();
            }
        }
    }

    /// The next line on standard error; nothing, where none comes within `patience`.
    pub(crate) fn error_line(&self, patience: Duration) -> Option<String> {
        self.errors.recv_timeout(patience).ok()
    }

    /// The rest of the next line on standard error that has `words` in it, after them.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> String {
        loop {
            let line = self.errors.recv_timeout(PATIENCE).expect("it says so");
            if let Some((_, rest)) = line.split_once(words) {
                return rest.to_owned();
            }
        }
    }

    /// How the process ended, once it has.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        loop {
            match self.errors.recv_timeout(PATIENCE) {
                Ok(_line) => {}
                // Standard error is closed: the process has ended, or is about to.
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the process does not end"),
            }
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(pipe: impl Read + Send + 'static, count: Arc<AtomicUsize>) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if !line.starts_with("stats ") {
                count.fetch_add(1, Ordering::Relaxed);
            }
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
