//! Five servers that play the same score and differ in one thing: who waits, and where.
//!
//! Read them by diff, in this order: [`threads`], [`pool`], [`tasks`], [`epoll`], [`grpc`]. Each
//! has the same `serve`, by convention and not by trait: a trait would force every model into
//! the shape of the weakest. What two of them share without hiding the model stands in
//! [`blocking`] (for threads and pool) and in [`awaiting`] (for tasks and grpc).

pub mod admin;
pub mod awaiting;
pub mod blocking;
pub mod cli;
pub mod epoll;
pub mod grpc;
pub mod listener;
pub mod pool;
#[cfg(all(test, feature = "shuttle"))]
mod schedules;
mod seldom;
mod sync;
pub mod tasks;
pub mod threads;

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::connection::Timeout;
use common::{Config, Connection, Limits, Plan, Request, Service, Shutdown, Stats, Timeouts};

/// A concurrency model, by name.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Also the name of its binary.
    pub name: &'static str,
    /// Where its binary listens unless told otherwise.
    pub listen: &'static str,
    /// Serves until `shutdown` is triggered and the drain is over. The caller binds.
    pub serve: fn(TcpListener, Service, &Config, &Shutdown, &Stats) -> io::Result<()>,
}

/// A thread per connection.
pub const THREADS: Model =
    Model { name: "threads", listen: "127.0.0.1:7001", serve: threads::serve };
/// A bounded pool of workers behind an event front.
pub const POOL: Model = Model { name: "pool", listen: "127.0.0.1:7002", serve: pool::serve };
/// A tokio task per connection.
pub const TASKS: Model = Model { name: "tasks", listen: "127.0.0.1:7003", serve: tasks::serve };
/// Event loops over epoll.
pub const EPOLL: Model = Model { name: "epoll", listen: "127.0.0.1:7004", serve: epoll::serve };
/// HTTP/2 and gRPC.
pub const GRPC: Model = Model { name: "grpc", listen: "127.0.0.1:7005", serve: grpc::serve };

/// The models that speak framed TCP.
pub const FRAMED: [Model; 4] = [THREADS, POOL, TASKS, EPOLL];

/// How much one read takes at the most. The same for every model, so that none gets larger
/// messages through with fewer calls; where the buffer lives is the model's affair. Where clients
/// share a thread it is also a turn: after a read that took so much, the others come first.
pub const READ_CHUNK_BYTES: usize = 16 * 1024;

/// Threads that may be blocked at a time on behalf of an event loop: what the `blocking` crate
/// allows, given to tokio too.
const BLOCKED_THREADS_MAX: usize = 500;

/// What a connection is served with; clones are handles on the same.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    service: Service,
    limits: Limits,
    timeouts: Timeouts,
    shutdown: Shutdown,
    stats: Stats,
}

impl Context {
    fn new(service: Service, config: &Config, shutdown: &Shutdown, stats: &Stats) -> Self {
        Self {
            service,
            limits: config.limits(),
            timeouts: config.timeouts,
            shutdown: shutdown.clone(),
            stats: stats.clone(),
        }
    }

    /// What a request needs that was just taken from this connection.
    fn plan(&self, connection: &Connection, request: Request) -> Plan {
        let deadline = connection.deadline(&request);
        self.service.plan(request, deadline)
    }

    /// Counts the connection among those that were closed for their peer's silence, if it is one.
    fn has_timed_out(&self, connection: &Connection, now: Instant) -> bool {
        let timed_out = connection.times_out(&self.timeouts).filter(|(at, _)| *at <= now);
        if let Some((_, timeout)) = timed_out {
            self.timed_out(timeout);
        }
        timed_out.is_some()
    }

    fn timed_out(&self, timeout: Timeout) {
        tracing::debug!("connection: closed by the {timeout:?} timeout");
        self.stats.timed_out(timeout);
    }
}

/// How often to look at all connections for those that have been silent for too long: they are
/// closed up to an eighth of the shortest timeout late. Nothing, where silence has no bound.
fn sweep_interval(timeouts: &Timeouts) -> Option<Duration> {
    const BETWEEN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
    let Timeouts { idle, read, write } = *timeouts;
    let shortest = [idle, read, write].into_iter().flatten().min()?;
    Some((shortest / 8).clamp(BETWEEN.0, BETWEEN.1))
}

/// Threads that do `Compute` for an event loop: one a core. Their queue has no bound of its own, so
/// whoever uses them bounds what it gives them.
fn compute_threads() -> io::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .thread_name(|index| format!("compute-{index}"))
        .build()
        .map_err(io::Error::other)
}
