//! Out of descriptors, an accept fails at once and leaves the connection where it is, in the backlog:
//! who tries again at once spins, a core for an outage that is not over. libev's manual has a section
//! on it; tonic 0.14 goes on without a pause, as many have done before it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

// ANCHOR: broken
/// Tries again.
pub mod broken {
    use super::*;

    /// The next connection.
    pub fn accept(listener: &TcpListener, mut log: impl FnMut(&io::Error)) -> TcpStream {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => log(&error),
            }
        }
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Tries again after a pause: nothing says when a descriptor is free.
pub mod mended {
    use super::*;

    /// The next connection.
    pub fn accept(listener: &TcpListener, mut log: impl FnMut(&io::Error)) -> TcpStream {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    log(&error);
                    if is_exhausted(&error) {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        }
    }

    /// The others mean that one client has gone, or that a signal came: the next may be there.
    fn is_exhausted(error: &io::Error) -> bool {
        use rustix::io::Errno;
        let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        exhausted.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }
}

/// Short for a client that waits, long for a core.
pub const PAUSE: Duration = Duration::from_millis(100);
// ANCHOR_END: mended
