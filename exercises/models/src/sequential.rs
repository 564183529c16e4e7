//! sequential: one connection at a time, on one thread.
//! It pays with everybody else's patience.
//!
//! Exercise 1. The outline is this; each line is some five lines of Rust.
//!
//! ```text
//! when shutdown is triggered: end a blocked accept; end a blocked read of whoever is being served
//! until then:
//!     accept a client
//!     until it is finished:
//!         take each whole request, carry its plan out, respond
//!         send all that is to be sent
//!         has the output ended? then shut the sending side down
//!         read once, if a read is wanted; nothing read: that is the end of its input
//! ```
//!
//! Two calls end what blocks, from another thread: `rustix::net::shutdown` on the listening socket ends
//! `accept`, and `TcpStream::shutdown` of the reading side ends `read` as if the client had said that it
//! sends no more. `Connection::drain` is for the moment after that.

use std::io;
use std::net::TcpListener;

use common::{Config, Service, Shutdown, Stats};

/// Serves one client after the other until `shutdown`, then drains.
///
/// # Errors
/// If the listening socket cannot be used.
pub fn serve(
    listener: TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let _yours = (listener, service, config, shutdown, stats);
    Err(io::Error::other("sequential: to be written"))
}
