//! What a server is told: bounds, and the knobs of the models.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::connection::{Limits, Timeouts};
use crate::frame::FRAME_BYTES_MAX_DEFAULT;

/// Bounds and knobs of one server, as validated from its command line.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many threads carry the model out: the pool's workers, the runtime's workers, the
    /// event loops. The threads model has no use for it.
    pub workers: NonZeroUsize,
    /// Connections that are served at a time; one more is refused.
    pub connections_max: usize,
    /// Requests that are carried out at a time, or, in the pool, that wait for a worker.
    pub in_flight_max: usize,
    /// What becomes of one more.
    pub overload: Overload,
    /// The largest message taken from a peer.
    pub frame_bytes_max: usize,
    /// How long a peer may let the server wait.
    pub timeouts: Timeouts,
    /// How long a drain may take before what is left is cut.
    pub drain_timeout: Duration,
    /// What the pool's front hands to a worker.
    pub handoff: Handoff,
    /// What runs the tasks.
    pub runtime: Runtime,
    /// Whether an event loop hands `Compute` and `Block` to other threads.
    pub offload: Offload,
}

impl Config {
    /// The bounds of each connection.
    pub fn limits(&self) -> Limits {
        Limits { frame_bytes_max: self.frame_bytes_max, ..Limits::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            connections_max: CONNECTIONS_MAX_DEFAULT,
            in_flight_max: CONNECTIONS_MAX_DEFAULT,
            overload: Overload::default(),
            frame_bytes_max: FRAME_BYTES_MAX_DEFAULT,
            timeouts: TIMEOUTS_DEFAULT,
            drain_timeout: DRAIN_TIMEOUT_DEFAULT,
            handoff: Handoff::default(),
            runtime: Runtime::default(),
            offload: Offload::default(),
        }
    }
}

/// Leaves room below the 20,000 descriptors that a process commonly has.
pub const CONNECTIONS_MAX_DEFAULT: usize = 16_000;

/// Shorter than the ten seconds that supervisors commonly wait before they kill.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// An idle client commonly comes back within minutes, and costs little until then; one that has
/// begun to speak or to be answered and then says and takes nothing for half a minute is gone.
pub const TIMEOUTS_DEFAULT: Timeouts = Timeouts {
    idle: Some(Duration::from_mins(5)),
    read: Some(Duration::from_secs(30)),
    write: Some(Duration::from_secs(30)),
};

/// What becomes of a request that comes while too many are in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Overload {
    /// It waits for its turn, and its connection is not read meanwhile: the peer is slowed down.
    #[default]
    Wait,
    /// It is answered at once with `RESOURCE_EXHAUSTED`: the peer is told, and may go elsewhere.
    Reject,
}

/// What the pool's front hands to a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Handoff {
    /// The front reads; a worker serves what came and writes the replies.
    #[default]
    Requests,
    /// The front only waits; a worker reads, serves, writes, and re-arms the connection.
    Ready,
    /// The textbook pool: a worker owns a connection until it closes, so idle clients starve
    /// the rest.
    Connection,
}

/// What runs the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// One runtime with many workers, which steal tasks from each other.
    #[default]
    Multi,
    /// One single-threaded runtime per worker, each with a listener of its own.
    PerCore,
}

/// Where an event loop carries out `Compute` and `Block`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Offload {
    /// On other threads, so that the loop goes on.
    #[default]
    On,
    /// On the loop itself: every other connection of the loop waits. For watching it hurt.
    Off,
}
