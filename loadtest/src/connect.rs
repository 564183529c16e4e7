//! Opens the connections of a run before its clock starts.
//!
//! Each is opened by a blocking connect, one after the other: 10,000 take below a second on the
//! loopback, and a failure names the one that failed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections per source address on the loopback. Linux has some 28,000 ephemeral ports for each
/// pair of addresses, and looks for a free one the longer the fewer are left: with 4,000 the
/// search stays short.
const CONNECTIONS_PER_SOURCE: usize = 4_000;
/// The most source addresses: 127.0.0.1 to 127.0.0.250.
const SOURCES_MAX: usize = 250;

/// Why the connections of a run could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open connection {number} of {of} to {address}: {error}; {hint}")]
pub struct ConnectError {
    /// Which one, from 1.
    pub number: usize,
    /// How many were to be opened.
    pub of: usize,
    /// Where to.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub error: io::Error,
    /// What to do.
    pub hint: &'static str,
}

/// Opens `count` connections to `address`, without Nagle's delay, each within `timeout`.
///
/// # Errors
/// At the first that cannot be opened.
pub fn connect_all(
    address: SocketAddr,
    count: usize,
    timeout: Duration,
) -> Result<Vec<TcpStream>, ConnectError> {
    (0..count)
        .map(|at| {
            connect(address, source(address, at, count), timeout).map_err(|error| ConnectError {
                number: at + 1,
                of: count,
                address,
                hint: hint(&error),
                error,
            })
        })
        .collect()
}

/// Where connection number `at` comes from; nothing where the system may choose.
fn source(address: SocketAddr, at: usize, count: usize) -> Option<SocketAddr> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() && count > CONNECTIONS_PER_SOURCE => {
            let host = u8::try_from(at / CONNECTIONS_PER_SOURCE % SOURCES_MAX).unwrap_or(0) + 1;
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
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    socket.connect_timeout(&address.into(), timeout)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

fn hint(error: &io::Error) -> &'static str {
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::ConnectionRefused, _) => "is a server listening there?",
        (io::ErrorKind::TimedOut, _) => "is the server alive, and is its backlog large enough?",
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
        assert_eq!(source(here, 0, 64), None);
        let host = |at| source(here, at, 10_000).map(|source| source.ip().to_string());
        assert_eq!(host(3_999).as_deref(), Some("127.0.0.1"));
        assert_eq!(host(9_999).as_deref(), Some("127.0.0.3"));
        assert_eq!(source("10.1.1.1:7001".parse().unwrap(), 0, 10_000), None);
    }
}
