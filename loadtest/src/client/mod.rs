//! Plain clients, one request at a time: what checks and memory measurements talk through.
//!
//! They are not fast, and need not be. What they promise is that no step takes longer than the
//! [`Patience`] that is left, whatever the server does.

pub mod framed;
pub mod grpc;

use std::time::{Duration, Instant};

/// The time until which somebody is ready to wait.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Instant);

impl Patience {
    /// From now on.
    pub fn of(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// The shorter of this and `duration` from now on.
    #[must_use]
    pub fn at_most(self, duration: Duration) -> Self {
        Self(self.0.min(Instant::now() + duration))
    }

    /// What is left; never quite nothing, which sockets take for "without end".
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        Instant::now() >= self.0
    }
}
