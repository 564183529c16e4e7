//! Opens connections: all of a run before its clock starts, and single ones in its middle.
//!
//! Those before are opened by a blocking connect, one after the other: 10,000 take below a second
//! on the loopback, and a failure names the one that failed. Those in the middle wait for nobody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::descriptors::{self, DescriptorError};

/// Connections per source address on the loopback. Linux has some 28,000 ephemeral ports for each
/// pair of addresses, and looks for a free one the longer the fewer are left: with 4,000 the
/// search stays short.
const CONNECTIONS_PER_SOURCE: usize = 4_000;
/// The most source addresses: 127.0.0.1 to 127.0.0.250.
const SOURCES_MAX: usize = 250;
/// The next that is due: whoever closes a connection keeps its port for a minute (TIME-WAIT), and a
/// run is not to find those of the one before.
static NEXT_SOURCE: AtomicUsize = AtomicUsize::new(0);

/// Why the connections of a run could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// One of them could not.
    #[error("cannot open connection {number} of {of} to {address}: {error}; {hint}")]
    One {
        /// Which one, from 1.
        number: usize,
        /// How many were to be opened.
        of: usize,
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        #[source]
        error: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// They are more than this process may have; none was opened.
    #[error(transparent)]
    TooMany(#[from] DescriptorError),
}

/// Opens `count` connections to `address`, without Nagle's delay, each within `timeout`.
///
/// # Errors
/// If they are more than the process may have, before the first; else at the first that cannot be
/// opened.
pub fn connect_all(
    address: SocketAddr,
    count: usize,
    timeout: Duration,
) -> Result<Vec<TcpStream>, ConnectError> {
    descriptors::check(count)?;
    let sources = count.div_ceil(CONNECTIONS_PER_SOURCE);
    let first = if sources > 1 { NEXT_SOURCE.fetch_add(sources, Relaxed) } else { 0 };
    let connect = |at| {
        connect(address, source(address, first, at, count), timeout).map_err(|error| {
            ConnectError::One { number: at + 1, of: count, address, hint: hint(&error), error }
        })
    };
    (0..count).map(connect).collect()
}

/// Where connection number `at` comes from, of a run whose sources begin with the `first`; nothing
/// where the system may choose.
fn source(address: SocketAddr, first: usize, at: usize, count: usize) -> Option<SocketAddr> {
    let number = first + at / CONNECTIONS_PER_SOURCE;
    (count > CONNECTIONS_PER_SOURCE).then(|| loopback(address, number))?
}

/// The source address of this number for a destination on the loopback.
fn loopback(address: SocketAddr, number: usize) -> Option<SocketAddr> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            let host = u8::try_from(number % SOURCES_MAX).unwrap_or(0) + 1;
            Some((Ipv4Addr::new(127, 0, 0, host), 0).into())
        }
        _ => None,
    }
}

fn connect(
    address: SocketAddr,
    source: Option<SocketAddr>,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let socket = socket(address, source)?;
    socket.connect_timeout(&address.into(), timeout)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, source: Option<SocketAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Opens connections in the middle of a run, and waits for none.
///
/// Whoever closes a connection keeps its port for a minute (TIME-WAIT). On the loopback each comes
/// from the next of 250 source addresses, so that ports last for 100,000 connects per second;
/// elsewhere the ephemeral ports are for 470.
#[derive(Debug)]
pub struct Opener {
    address: SocketAddr,
    opened: usize,
}

impl Opener {
    /// One for connections to `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, opened: 0 }
    }

    /// A socket, not blocking, that is being connected. It takes bytes once it is; if it cannot be
    /// connected, writing or reading says why.
    ///
    /// # Errors
    /// If there is no descriptor or no port left, or it is known at once that nobody listens.
    pub fn start(&mut self) -> io::Result<TcpStream> {
        const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
        let stream = TcpStream::from(socket(self.address, loopback(self.address, self.opened))?);
        self.opened += 1;
        stream.set_nonblocking(true)?;
        match SockRef::from(&stream).connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => Err(error),
            _ => Ok(stream),
        }
    }
}

/// What to do about a connection that could not be opened.
pub fn hint(error: &io::Error) -> &'static str {
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::ConnectionRefused, _) => "is a server listening there?",
        (io::ErrorKind::TimedOut, _) => "is the server alive, and is its backlog large enough?",
        (io::ErrorKind::AddrNotAvailable, _) => {
            "all ports are in use or in TIME-WAIT: use fewer connections, or more requests on each"
        }
        (_, Some(EMFILE)) => "raise the limit of open files (ulimit -n) or use fewer connections",
        _ => "check the address and the network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_loopback_connections_come_from_several_addresses() {
        let here: SocketAddr = "127.0.0.1:7001".parse().unwrap();
        assert_eq!(source(here, 0, 0, 64), None);
        let host = |at| source(here, 0, at, 10_000).map(|source| source.ip().to_string());
        assert_eq!(host(3_999).as_deref(), Some("127.0.0.1"));
        assert_eq!(host(9_999).as_deref(), Some("127.0.0.3"));
        // The next run does not begin where the last one left its ports behind.
        let next = source(here, 3, 0, 10_000).map(|source| source.ip().to_string());
        assert_eq!(next.as_deref(), Some("127.0.0.4"));
        assert_eq!(source("10.1.1.1:7001".parse().unwrap(), 0, 0, 10_000), None);
    }

    #[test]
    fn too_many_are_refused_before_the_first() {
        // Nobody listens there: a connect would fail in another way.
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let error = connect_all(nobody, usize::MAX, Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, ConnectError::TooMany(_)), "{error}");
        let error = connect_all(nobody, 1, Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("is a server listening there?"), "{error}");
    }

    #[test]
    fn a_connection_of_the_middle_comes_from_the_next_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut opener = Opener::new(listener.local_addr().unwrap());
        for host in 1..=3 {
            let _open = opener.start().unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, host));
        }
    }
}
