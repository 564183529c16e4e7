//! Where a run sends its requests: `tcp://`, `grpc://` or `raw://`, a host and a port.
//!
//! The name is resolved once, before the clock starts, to the first address it has.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// What is spoken on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `tcp://`: a 4-byte length and a protobuf message, answered in order.
    Framed,
    /// `raw://`: the same frames, but the reply is the request's own bytes: the floor.
    Raw,
    /// `grpc://`: one HTTP/2 stream per request, without TLS.
    Grpc,
}

impl Protocol {
    fn scheme(self) -> &'static str {
        match self {
            Self::Framed => "tcp",
            Self::Raw => "raw",
            Self::Grpc => "grpc",
        }
    }
}

/// A protocol and an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.protocol.scheme(), self.address)
    }
}

/// Why a text is no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No scheme that is known.
    #[error("`{0}` does not begin with tcp://, grpc:// or raw://")]
    Scheme(String),
    /// What follows the scheme is no host and port.
    #[error("`{text}` is not HOST:PORT: {reason}")]
    Address {
        /// What was given.
        text: String,
        /// What the resolver said.
        reason: String,
    },
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let scheme = |(scheme, rest)| {
            let known = [Protocol::Framed, Protocol::Raw, Protocol::Grpc];
            known.into_iter().find(|known| known.scheme() == scheme).map(|known| (known, rest))
        };
        let (protocol, rest) = text
            .split_once("://")
            .and_then(scheme)
            .ok_or_else(|| TargetError::Scheme(text.to_owned()))?;
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let wrong = |reason: String| TargetError::Address { text: host.to_owned(), reason };
        let address = host
            .to_socket_addrs()
            .map_err(|error| wrong(error.to_string()))?
            .next()
            .ok_or_else(|| wrong("the name has no address".to_owned()))?;
        Ok(Self { protocol, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_people_write_them() {
        let target: Target = "grpc://127.0.0.1:7005/".parse().unwrap();
        assert_eq!(target.protocol, Protocol::Grpc);
        assert_eq!(target.to_string(), "grpc://127.0.0.1:7005");
        let localhost: Target = "raw://localhost:7000".parse().unwrap();
        assert!(localhost.address.ip().is_loopback());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("127.0.0.1:7001", "tcp://, grpc:// or raw://"),
            ("http://127.0.0.1:7001", "tcp://, grpc:// or raw://"),
            ("tcp://127.0.0.1", "`127.0.0.1` is not HOST:PORT"),
            ("tcp://127.0.0.1:99999", "`127.0.0.1:99999` is not HOST:PORT"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
