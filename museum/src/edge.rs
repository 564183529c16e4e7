//! Edge-triggered readiness says that something has changed, and says it once: what one read has left
//! in the kernel is announced by no further event. The client has sent all, the server waits for more,
//! and both wait for ever. (mio is edge-triggered on Linux; tokio's sockets do this for you.)

use std::io::{self, ErrorKind, Read};

// ANCHOR: broken
/// Reads once an event.
pub mod broken {
    use super::*;

    /// Bytes have come: puts them into `inbox`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn on_readable(socket: &mut impl Read, inbox: &mut Vec<u8>) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let bytes = socket.read(&mut chunk)?;
        inbox.extend_from_slice(&chunk[..bytes]);
        Ok(())
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Reads until a read says that nothing is left.
pub mod mended {
    use super::*;

    /// Bytes have come: puts them into `inbox`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn on_readable(socket: &mut impl Read, inbox: &mut Vec<u8>) -> io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            match socket.read(&mut chunk) {
                Ok(0) => return Ok(()), // the end
                Ok(bytes) => inbox.extend_from_slice(&chunk[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use mio::{Events, Interest, Poll, Token};

    use super::*;
    use crate::stage::{eventually, pair, unread};

    type OnReadable = fn(&mut mio::net::TcpStream, &mut Vec<u8>) -> io::Result<()>;

    // ANCHOR: test
    const SENT_BYTES: usize = 10_000;

    /// How much of what a client has sent gets into the inbox, until no event comes any more.
    fn received(on_readable: OnReadable) -> usize {
        let (server, mut client) = pair();
        client.write_all(&[7; SENT_BYTES]).unwrap();
        eventually("all has come", || unread(&server) == SENT_BYTES as u64);
        server.set_nonblocking(true).unwrap();
        let mut socket = mio::net::TcpStream::from_std(server);
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
        let mut inbox = Vec::new();
        loop {
            // Nothing is on its way: an event that is not there now will never be.
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            if events.is_empty() {
                return inbox.len();
            }
            on_readable(&mut socket, &mut inbox).unwrap();
        }
    }

    #[test]
    fn the_rest_is_announced_by_nothing() {
        assert_eq!(received(broken::on_readable), 4096);
    }

    #[test]
    fn nothing_is_left_behind() {
        assert_eq!(received(mended::on_readable), SENT_BYTES);
    }
    // ANCHOR_END: test
}
