//! The floor: what a socket costs when nothing is done with the bytes but to send them back.
//!
//! No codec, no handler, no limit: whatever a server adds to it is the price of what it does. There
//! is one for each way to wait: a bare epoll loop, a blocking thread per connection, and a pool.
//! The loop has the knobs of an event loop, so that each can be measured where nothing hides it.

mod event_loop;
mod pool;
mod threads;

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::event::epoll::{self, EventData};
use socket2::{Domain, Socket, Type};

pub use self::event_loop::{Knobs, serve as serve_epoll};
pub use self::pool::{Handoff, serve as serve_pool};
pub use self::threads::{STACK_BYTES, serve as serve_threads};

/// Events of one wait, where nothing else is asked for.
pub const EVENTS_MAX: usize = 1024;
/// What one read takes at the most, where nothing else is asked for.
pub const READ_BYTES: usize = 64 * 1024;
/// As many as the servers have who come at once, before they are accepted: whoever finds no room there
/// tries again after a second.
const BACKLOG: i32 = 4096;
/// What names the listener among the connections, which are named by their numbers from 0.
const LISTENER: u64 = u64::MAX;

/// Listens on `address`.
///
/// # Errors
/// As of `bind(2)` and `listen(2)`.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listen(address, false)
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Nothing, where the socket is not ready after all: the next event will tell.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// An epoll instance that tells when somebody wants to be accepted.
fn poll_of(listener: &TcpListener) -> io::Result<std::os::fd::OwnedFd> {
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, listener, EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    Ok(poll)
}
