//! What a server process has and costs, as the kernel counts it.
//! It pays with a look at all of its memory for each reading: exact where counters of the kernel
//! lag behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::net::TcpState;
use procfs::process::Process;

use crate::process::ServerProcess;

pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// Memory of its own that the process has touched, in bytes; pages of files are none of it.
fn memory_bytes(process: &Process) -> u64 {
    let maps = process.smaps_rollup().expect("it runs").memory_map_rollup;
    maps.0.iter().filter_map(|map| map.extension.map.get("Anonymous")).sum()
}

/// What all of its threads, those that have ended too, have had of the cores.
pub(crate) fn cpu_time(server: &ServerProcess) -> Duration {
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
    let clock = ClockId::pid_cpu_clock_id(pid).expect("it runs");
    clock.now().expect("a clock that can be read").into()
}

pub(crate) fn threads(server: &ServerProcess) -> i64 {
    process(server.id()).stat().expect("it runs").num_threads
}

/// Connections to `server` that their peer has ended, and the server has not.
pub(crate) fn close_waits(server: &ServerProcess) -> usize {
    let of_server = |entry: &procfs::net::TcpNetEntry| {
        entry.local_address == server.address && entry.state == TcpState::CloseWait
    };
    procfs::net::tcp().expect("/proc/net/tcp").iter().filter(|entry| of_server(entry)).count()
}

fn process(id: u32) -> Process {
    Process::new(i32::try_from(id).unwrap()).expect("it runs")
}

/// Watches how far the memory of a process goes above what it had.
pub(crate) struct Growth {
    before: u64,
    stop: Arc<AtomicBool>,
    watch: JoinHandle<u64>,
}

impl Growth {
    /// Begins with what the process has now.
    pub(crate) fn of(server: &ServerProcess) -> Self {
        /// Short against the time in which a fault fills a buffer.
        const PACE: Duration = Duration::from_millis(5);
        let (process, stop) = (process(server.id()), Arc::new(AtomicBool::new(false)));
        let before = memory_bytes(&process);
        let stopped = Arc::clone(&stop);
        let watch = thread::spawn(move || {
            let mut most = before;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(memory_bytes(&process));
                thread::sleep(PACE);
            }
            most.max(memory_bytes(&process))
        });
        Self { before, stop, watch }
    }

    /// What it has beyond that now, in MiB.
    pub(crate) fn now_mib(&self, server: &ServerProcess) -> f64 {
        memory_bytes(&process(server.id())).saturating_sub(self.before) as f64 / MIB
    }

    /// The most that it had beyond that at any time, in MiB.
    pub(crate) fn peak_mib(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        (self.watch.join().expect("the process runs") - self.before) as f64 / MIB
    }
}
