//! A write to a socket that does not block takes what has room, and says how much that was; who does
//! not look loses the rest, and nobody is told. It works until the first client that reads late:
//! no test with a prompt client and a small reply sees it.

use std::io::{self, ErrorKind, Write};

// ANCHOR: broken
/// Believes that a write writes.
pub mod broken {
    use super::*;

    /// The socket has room: sends what is `unsent`.
    ///
    /// # Errors
    /// Those of the socket.
    #[expect(clippy::unused_io_amount, reason = "that is the exhibit: clippy finds this one")]
    pub fn on_writable(socket: &mut impl Write, unsent: &mut Vec<u8>) -> io::Result<()> {
        socket.write(unsent)?; // it says how much it took
        unsent.clear();
        Ok(())
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Keeps what was not taken, until the next event.
pub mod mended {
    use super::*;

    /// The socket has room: sends what is `unsent`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn on_writable(socket: &mut impl Write, unsent: &mut Vec<u8>) -> io::Result<()> {
        while !unsent.is_empty() {
            match socket.write(unsent) {
                Ok(taken) => drop(unsent.drain(..taken)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The rest goes when an event says that there is room.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use mio::{Events, Interest, Poll, Token};

    use super::*;
    use crate::stage::{aside, pair};

    type OnWritable = fn(&mut mio::net::TcpStream, &mut Vec<u8>) -> io::Result<()>;

    // ANCHOR: test
    /// What the kernel holds for each end is set; a reply is many times as much.
    const BUFFER_BYTES: usize = 64 << 10;
    const REPLY_BYTES: usize = 4 << 20;

    /// How much of a reply reaches a client that begins to read when the server has written once.
    fn delivered(on_writable: OnWritable) -> usize {
        let (server, mut client) = pair();
        socket2::SockRef::from(&server).set_send_buffer_size(BUFFER_BYTES).unwrap();
        socket2::SockRef::from(&client).set_recv_buffer_size(BUFFER_BYTES).unwrap();
        let (say, has_written) = mpsc::channel();
        let loops = aside(move || -> io::Result<()> {
            server.set_nonblocking(true)?;
            let mut socket = mio::net::TcpStream::from_std(server);
            let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(8));
            poll.registry().register(&mut socket, Token(0), Interest::WRITABLE)?;
            let mut unsent = vec![7; REPLY_BYTES];
            while !unsent.is_empty() {
                poll.poll(&mut events, None)?;
                on_writable(&mut socket, &mut unsent)?;
                let _ = say.send(());
            }
            Ok(())
        });
        has_written.recv().unwrap();
        let delivered = io::copy(&mut client, &mut io::sink()).unwrap();
        loops.ended().unwrap();
        usize::try_from(delivered).unwrap()
    }

    #[test]
    fn the_rest_is_lost() {
        assert!(delivered(broken::on_writable) < REPLY_BYTES);
    }

    #[test]
    fn all_of_it_arrives() {
        assert_eq!(delivered(mended::on_writable), REPLY_BYTES);
    }
    // ANCHOR_END: test
}
