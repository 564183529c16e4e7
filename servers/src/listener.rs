//! Listening sockets: options that std does not offer, shards of one port, and what to do with a
//! connection that cannot be served.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use common::{Code, Response, frame};
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use socket2::{Domain, Protocol, Socket, Type};

use crate::seldom::Seldom;

/// Linux's own bound (`net.core.somaxconn`): connections that come at once, before the accept
/// loop gets to them.
const BACKLOG: i32 = 4096;

/// How long an accept loop rests when the process is out of descriptors: the connection stays in
/// the backlog and the listener ready, so that trying again at once would spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on `address`.
///
/// # Errors
/// As of `bind(2)` and `listen(2)`. A port in use is refused even where the other listener has
/// `SO_REUSEPORT`, because this one has not (yet: see [`shards`]).
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listen(address, false)
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server may bind while connections of the last one are in TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes of one listener as many as there are loops, all on the same port: the kernel spreads
/// new connections over them by a hash of their addresses.
///
/// # Errors
/// As of `setsockopt(2)`, `bind(2)` and `listen(2)`.
pub fn shards(first: TcpListener, count: usize) -> io::Result<Vec<TcpListener>> {
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    if count > 1 {
        socket2::SockRef::from(&listeners[0]).set_reuse_port(true)?;
    }
    while listeners.len() < count {
        listeners.push(listen(address, true)?);
    }
    Ok(listeners)
}

/// Whether accepting failed for want of descriptors or memory: a reason to pause and not to
/// stop.
pub fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    exhausted.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Tells a framed peer that there is no room for its connection. The caller then drops it.
///
/// Nothing here waits: the send buffer of a new socket is empty, and a peer that is not
/// listening does not matter.
pub fn refuse(socket: impl AsFd) {
    let response = Response::error(0, Code::ResourceExhausted, "too many connections; try later");
    let mut reply = Vec::new();
    frame::encode(&response, &mut reply);
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let _ = rustix::net::send(&socket, &reply, flags);
    let _ = rustix::net::shutdown(&socket, Shutdown::Write);
    // Closing over unread bytes would send a reset, which may overtake the reply.
    let mut unwanted = [0; 4096];
    let _ = rustix::net::recv(&socket, &mut unwanted, RecvFlags::DONTWAIT);
}

/// Says from time to time that accepting failed, and always whether to pause.
pub fn accept_failed(error: &io::Error) -> bool {
    static EXHAUSTED: Seldom = Seldom::new();
    if is_exhausted(error) {
        if let Some(left_out) = EXHAUSTED.say() {
            tracing::warn!(%error, left_out, "cannot accept; trying again in {ACCEPT_PAUSE:?}");
        }
        return true;
    }
    // The peer gave up before it was accepted, or a signal came: nothing to pause for.
    if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) {
        tracing::debug!(%error, "accept");
    }
    false
}
