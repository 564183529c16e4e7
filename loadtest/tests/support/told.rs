//! What the servers of the tests are told, and then held to.

use std::num::NonZeroUsize;
use std::time::Duration;

use loadtest::verify::Told;

/// Short enough to wait for, long enough for a bystander on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);
/// A run prepares its requests between connecting and the first of them.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Of servers that are asked about nothing else.
pub(crate) const CONNECTIONS_MAX: usize = 20;

pub(crate) const TOLD: Told = Told {
    idle_timeout: Some(IDLE_TIMEOUT),
    read_timeout: Some(TIMEOUT),
    write_timeout: Some(TIMEOUT),
    max_connections: None,
};

pub(crate) const LIMITED: Told =
    Told { max_connections: NonZeroUsize::new(CONNECTIONS_MAX), ..TOLD };

/// What a check is told.
#[allow(dead_code)] // each test file uses its part
pub(crate) fn for_check(name: &str) -> &'static Told {
    if name == "max-connections" { &LIMITED } else { &TOLD }
}
