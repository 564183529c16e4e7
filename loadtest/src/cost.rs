//! What a server process paid: CPU time, memory, threads, context switches and page faults.
//!
//! A sample reads a file per thread, which is some 15 ms at 1,000 threads: it is taken at the
//! edges of the measured window only. [`Memory`] alone reads two files.

use std::collections::BTreeMap;
use std::fs;

use nix::time::ClockId;
use nix::unistd::Pid;
use procfs::process::{Process, Status};
use serde::{Deserialize, Serialize};

/// A process's counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Time on a CPU of all threads there ever were, exactly.
    cpu_ns: u64,
    /// The same in ticks, user and system apart.
    user_ticks: u64,
    system_ticks: u64,
    /// Of all threads there ever were.
    minor_faults: u64,
    major_faults: u64,
    /// Voluntary and involuntary, by living thread: the kernel shows no total.
    switches: BTreeMap<i32, [u64; 2]>,
    memory: Memory,
    kernel_tcp_bytes: u64,
}

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous memory that is resident.
    pub rss_anon_bytes: u64,
    /// Proportional set size: shared pages are divided among those who share them.
    pub pss_bytes: u64,
    /// Page tables, which are the kernel's memory.
    pub page_table_bytes: u64,
    /// Threads.
    pub threads: u64,
}

/// What the server paid for a run. "Per request" is per request that it had to do with in that time: those
/// that were sent and settled, and those of the warm-up that were settled in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerCost {
    /// CPU time (user and system, all threads) in microseconds per request.
    pub cpu_us_per_request: f64,
    /// The user's part of it. The total is exact, but the kernel divides it by what its ticks
    /// of some milliseconds found the process at: over a second the parts are good to some per cent.
    #[serde(default)]
    pub cpu_user_us_per_request: f64,
    /// The rest of it.
    #[serde(default)]
    pub cpu_system_us_per_request: f64,
    /// Anonymous memory at the end of the run, with its connections open.
    pub rss_anon_bytes: u64,
    /// Proportional set size then: shared pages are divided among those who share them.
    pub pss_bytes: u64,
    /// Threads then.
    pub threads: u64,
    /// Voluntary and involuntary context switches per request: the sum of the next two.
    pub context_switches_per_request: f64,
    /// A thread waited. Threads that ended within the window took their count along.
    #[serde(default)]
    pub voluntary_switches_per_request: f64,
    /// A thread was made to wait. The same holds.
    #[serde(default)]
    pub involuntary_switches_per_request: f64,
    /// Page faults without a disk, per request, of all threads.
    #[serde(default)]
    pub minor_faults_per_request: f64,
    /// Page faults with a disk, per request, of all threads.
    #[serde(default)]
    pub major_faults_per_request: f64,
    /// Memory in the buffers of TCP sockets at the end, with the connections open: see
    /// [`kernel_tcp_bytes`].
    #[serde(default)]
    pub kernel_tcp_bytes: u64,
    /// The same at the beginning of the window.
    #[serde(default)]
    pub kernel_tcp_bytes_before: u64,
    /// CPU time in seconds.
    pub cpu_s: f64,
}

/// Why a process could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read /proc/{pid}: {error}; is the process alive, and is it yours?")]
pub struct CostError {
    /// Which process.
    pub pid: i32,
    /// What the system said.
    #[source]
    pub error: procfs::ProcError,
}

impl Sample {
    /// Reads the counters of `pid`.
    ///
    /// # Errors
    /// If there is no such process, or it belongs to another user.
    pub fn of(pid: i32) -> Result<Self, CostError> {
        Self::read(pid).map_err(|error| CostError { pid, error })
    }

    fn read(pid: i32) -> procfs::ProcResult<Self> {
        let process = Process::new(pid)?;
        let stat = process.stat()?;
        let mut sample = Self {
            cpu_ns: cpu_ns(pid).unwrap_or_else(|| ticks_ns(stat.utime + stat.stime)),
            user_ticks: stat.utime,
            system_ticks: stat.stime,
            minor_faults: stat.minflt,
            major_faults: stat.majflt,
            switches: BTreeMap::new(),
            memory: Memory::read(&process)?,
            kernel_tcp_bytes: kernel_tcp_bytes().unwrap_or(0),
        };
        for task in process.tasks()? {
            // A thread may end between the listing and the reading.
            let Ok(task) = task else { continue };
            if let Ok(status) = task.status() {
                sample.switches.insert(task.tid, switches(&status));
            }
        }
        Ok(sample)
    }

    /// What `requests` requests cost between `earlier` and this sample.
    pub fn cost_since(&self, earlier: &Self, requests: u64) -> ServerCost {
        let each = |total: f64| if requests == 0 { 0.0 } else { total / requests as f64 };
        let since = |now: u64, then: u64| each(now.saturating_sub(then) as f64);
        let cpu_s = self.cpu_ns.saturating_sub(earlier.cpu_ns) as f64 / 1e9;
        let user = self.user_part_since(earlier);
        let [voluntary, involuntary] = self.switches_since(earlier);
        ServerCost {
            cpu_us_per_request: each(cpu_s * 1e6),
            cpu_user_us_per_request: each(cpu_s * 1e6 * user),
            cpu_system_us_per_request: each(cpu_s * 1e6 * (1.0 - user)),
            rss_anon_bytes: self.memory.rss_anon_bytes,
            pss_bytes: self.memory.pss_bytes,
            threads: self.memory.threads,
            context_switches_per_request: each((voluntary + involuntary) as f64),
            voluntary_switches_per_request: each(voluntary as f64),
            involuntary_switches_per_request: each(involuntary as f64),
            minor_faults_per_request: since(self.minor_faults, earlier.minor_faults),
            major_faults_per_request: since(self.major_faults, earlier.major_faults),
            kernel_tcp_bytes: self.kernel_tcp_bytes,
            kernel_tcp_bytes_before: earlier.kernel_tcp_bytes,
            cpu_s,
        }
    }

    /// Which part of the CPU time the process spent in its own code, by the ticks of the window;
    /// where it was too short for any, by those of the process's whole life.
    fn user_part_since(&self, earlier: &Self) -> f64 {
        let part = |user: u64, system: u64| match user + system {
            0 => None,
            all => Some(user as f64 / all as f64),
        };
        let user = self.user_ticks.saturating_sub(earlier.user_ticks);
        let system = self.system_ticks.saturating_sub(earlier.system_ticks);
        part(user, system).or_else(|| part(self.user_ticks, self.system_ticks)).unwrap_or(1.0)
    }

    /// Context switches of the threads that live now. The number of a thread that ended may have
    /// passed to another, whose count is then the smaller one, and wholly of the window.
    fn switches_since(&self, earlier: &Self) -> [u64; 2] {
        let mut sum = [0; 2];
        for (tid, now) in &self.switches {
            let then = earlier.switches.get(tid).copied().unwrap_or_default();
            let same_thread = now.iter().zip(&then).all(|(now, then)| now >= then);
            let then = if same_thread { then } else { [0; 2] };
            sum = [sum[0] + now[0] - then[0], sum[1] + now[1] - then[1]];
        }
        sum
    }
}

impl Memory {
    /// Looks at `pid`.
    ///
    /// # Errors
    /// If there is no such process, or it belongs to another user.
    pub fn of(pid: i32) -> Result<Self, CostError> {
        let read = || Self::read(&Process::new(pid)?);
        read().map_err(|error| CostError { pid, error })
    }

    fn read(process: &Process) -> procfs::ProcResult<Self> {
        let status = process.status()?;
        let pss = process.smaps_rollup().ok().and_then(|rollup| {
            let map = rollup.memory_map_rollup.into_iter().next()?;
            map.extension.map.get("Pss").copied()
        });
        Ok(Self {
            rss_anon_bytes: status.rssanon.unwrap_or(0) * 1024,
            pss_bytes: pss.unwrap_or(0),
            page_table_bytes: status.vmpte.unwrap_or(0) * 1024,
            threads: status.threads,
        })
    }
}

fn switches(status: &Status) -> [u64; 2] {
    [status.voluntary_ctxt_switches, status.nonvoluntary_ctxt_switches]
        .map(Option::unwrap_or_default)
}

/// The process's CPU clock, which keeps the time of threads that ended (`clock_getcpuclockid(3)`).
fn cpu_ns(pid: i32) -> Option<u64> {
    let now = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).and_then(ClockId::now).ok()?;
    let seconds = u64::try_from(now.tv_sec()).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).ok()?)
}

fn ticks_ns(ticks: u64) -> u64 {
    ticks * (1_000_000_000 / procfs::ticks_per_second())
}

/// What the kernel holds for data in TCP sockets: `mem` of `/proc/net/sockstat`, in bytes.
///
/// It is of the whole machine, all network namespaces together (the counter is one), and so of
/// both ends of a connection over the loopback. The kernel counts in pages, and keeps up to 1 MiB
/// a core in hand before it tells (`SK_MEMORY_PCPU_RESERVE`). A socket without data counts
/// nothing: what it is made of is in the slab.
pub fn kernel_tcp_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/net/sockstat").ok()?;
    Some(tcp_pages(&text)? * procfs::page_size())
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem").skip(1);
    words.next()?.parse().ok()
}

/// What the kernel holds in slab caches, where sockets, files and epoll entries live, in bytes:
/// `Slab` of `/proc/meminfo`. It is of the whole machine, whatever else runs there.
pub fn kernel_slab_bytes() -> Option<u64> {
    use procfs::Current;
    procfs::Meminfo::current().ok().map(|memory| memory.slab)
}

/// Kernel stacks of all threads of the whole machine, in bytes: 16 KiB a thread on most.
pub fn kernel_stack_bytes() -> Option<u64> {
    use procfs::Current;
    procfs::Meminfo::current().ok()?.kernel_stack
}

/// Seconds that all cores together were busy since the machine started.
///
/// # Errors
/// If `/proc/stat` cannot be read.
pub fn machine_busy_s() -> procfs::ProcResult<f64> {
    use procfs::CurrentSI;
    let total = procfs::KernelStats::current()?.total;
    let busy = total.user
        + total.nice
        + total.system
        + total.irq.unwrap_or(0)
        + total.softirq.unwrap_or(0);
    Ok(busy as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Looks at this process before and after `work`.
    fn cost_of(requests: u64, work: impl FnOnce()) -> ServerCost {
        let pid = std::process::id().try_into().unwrap();
        let before = Sample::of(pid).unwrap();
        work();
        Sample::of(pid).unwrap().cost_since(&before, requests)
    }

    fn burn(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::black_box(common::job::digest(1, 100));
        }
    }

    #[test]
    fn this_process_pays_for_what_it_does() {
        let cost = cost_of(10, || burn(Duration::from_millis(50)));
        assert!(cost.cpu_s > 0.001 && cost.cpu_us_per_request > 100.0, "{cost:?}");
        let parts = cost.cpu_user_us_per_request + cost.cpu_system_us_per_request;
        assert!((parts - cost.cpu_us_per_request).abs() < 0.001, "{cost:?}");
        assert!(cost.rss_anon_bytes > 0 && cost.pss_bytes > 0 && cost.threads > 0, "{cost:?}");
    }

    #[test]
    fn a_thread_that_ended_is_still_paid_for() {
        let mut spent_ns = 0;
        let cost = cost_of(1, || {
            let clock = rustix::time::ClockId::ThreadCPUTime;
            let burning = move || {
                burn(Duration::from_millis(50));
                let spent = rustix::time::clock_gettime(clock);
                u64::try_from(spent.tv_sec * 1_000_000_000 + spent.tv_nsec).unwrap()
            };
            spent_ns = std::thread::spawn(burning).join().unwrap();
        });
        assert!(cost.cpu_s >= spent_ns as f64 / 1e9, "{cost:?}, {spent_ns} ns");
    }

    #[test]
    fn waiting_and_touching_memory_are_counted() {
        const PAGES: usize = 2_000;
        let cost = cost_of(1, || {
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let touched = vec![1_u8; PAGES * 4096];
            std::hint::black_box(&touched);
        });
        assert!(cost.voluntary_switches_per_request >= 20.0, "{cost:?}");
        let both = cost.voluntary_switches_per_request + cost.involuntary_switches_per_request;
        assert!((both - cost.context_switches_per_request).abs() < 0.001, "{cost:?}");
        // Fewer where the kernel gave huge pages.
        assert!(cost.minor_faults_per_request >= 1.0, "{cost:?}");
    }

    fn sample(cpu_ns: u64, ticks: [u64; 2], switches: &[(i32, [u64; 2])]) -> Sample {
        let [user_ticks, system_ticks] = ticks;
        let switches = switches.iter().copied().collect();
        Sample { cpu_ns, user_ticks, system_ticks, switches, ..Sample::default() }
    }

    #[test]
    #[allow(clippy::float_cmp)] // quotients of small powers of two
    fn the_ticks_of_the_window_divide_the_exact_time() {
        let before = sample(1_000, [100, 100], &[]);
        let cost = sample(9_000, [101, 103], &[]).cost_since(&before, 1);
        assert_eq!((cost.cpu_user_us_per_request, cost.cpu_system_us_per_request), (2.0, 6.0));
        let cost = sample(9_000, [100, 100], &[]).cost_since(&before, 1);
        assert_eq!(cost.cpu_user_us_per_request, 4.0, "no tick: as over its whole life");
        let cost = sample(9_000, [0, 0], &[]).cost_since(&sample(1_000, [0, 0], &[]), 0);
        assert_eq!((cost.cpu_us_per_request, cost.cpu_s), (0.0, 8e-6));
    }

    #[test]
    fn threads_come_and_go_and_numbers_are_used_again() {
        let before = sample(0, [0, 0], &[(1, [10, 2]), (2, [500, 50]), (3, [70, 7])]);
        let after = sample(0, [0, 0], &[(1, [13, 4]), (3, [5, 9]), (4, [100, 0])]);
        assert_eq!(after.switches_since(&before), [3 + 5 + 100, 2 + 9]);
    }

    #[test]
    fn the_kernels_line_is_read() {
        let text = "sockets: used 14\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 433\nUDP: mem 7\n";
        assert_eq!(tcp_pages(text), Some(433));
        assert_eq!(tcp_pages("UDP: inuse 0 mem 3\n"), None);
        assert!(kernel_tcp_bytes().is_some() && kernel_slab_bytes().is_some_and(|slab| slab > 0));
    }

    #[test]
    fn no_process_is_said() {
        let error = Sample::of(i32::MAX).unwrap_err().to_string();
        assert!(error.contains("cannot read /proc/2147483647"), "{error}");
        assert!(Memory::of(i32::MAX).is_err());
    }
}
