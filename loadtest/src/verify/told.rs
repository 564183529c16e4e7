//! What a server was told when it was started, as far as somebody says so: a server promises to keep
//! to that too, but nobody outside could know of it, nor wait for timeouts of minutes.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Flags of the server, with their values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// How long a client may say nothing.
    pub idle_timeout: Option<Duration>,
    /// How long a request may take to become whole.
    pub read_timeout: Option<Duration>,
    /// How long a client may take none of its answers.
    pub write_timeout: Option<Duration>,
    /// How many connections are served at a time.
    pub max_connections: Option<NonZeroUsize>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    IdleTimeout,
    ReadTimeout,
    WriteTimeout,
    MaxConnections,
}

impl Flag {
    /// The same for the server, for this program and for the check.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle-timeout",
            Self::ReadTimeout => "read-timeout",
            Self::WriteTimeout => "write-timeout",
            Self::MaxConnections => "max-connections",
        }
    }
}

impl Told {
    pub(super) fn has(&self, flag: Flag) -> bool {
        match flag {
            Flag::MaxConnections => self.max_connections.is_some(),
            _ => self.timeout(flag).is_some(),
        }
    }

    fn timeout(&self, flag: Flag) -> Option<Duration> {
        match flag {
            Flag::IdleTimeout => self.idle_timeout,
            Flag::ReadTimeout => self.read_timeout,
            Flag::WriteTimeout => self.write_timeout,
            Flag::MaxConnections => None,
        }
    }

    /// How much longer a check takes for it: it may wait twice, each time a little longer than told.
    pub(super) fn waits(&self, flag: Flag) -> Duration {
        3 * self.timeout(flag).unwrap_or_default()
    }
}
