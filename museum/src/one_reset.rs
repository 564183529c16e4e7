//! A `?` on a client's socket, in a loop that many clients share, hands the failure of one of them to
//! all of them: the loop returns. mio's own `tcp_server` example is written so: a client that resets
//! its connection ends the server, and so does one that makes a write come up short.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);

// ANCHOR: broken
/// One client's error is the loop's.
pub mod broken {
    use super::*;

    /// Echoes to its clients, until so many have left.
    ///
    /// # Errors
    /// Those of the listener; and, alas, of each client.
    pub fn serve(mut clients: Clients, until: usize) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        while clients.left < until {
            clients.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    LISTENER => clients.accept()?,
                    token => {
                        if clients.echo(token)? == Turn::Ended {
                            clients.close(token);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// One client's error ends that client.
pub mod mended {
    use super::*;

    /// Echoes to its clients, until so many have left.
    ///
    /// # Errors
    /// Those of the listener.
    pub fn serve(mut clients: Clients, until: usize) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        while clients.left < until {
            clients.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    LISTENER => clients.accept()?,
                    token => match clients.echo(token) {
                        Ok(Turn::Open) => {}
                        Ok(Turn::Ended) | Err(_) => clients.close(token),
                    },
                }
            }
        }
        Ok(())
    }
}
// ANCHOR_END: mended

/// How a client's turn came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// More may come.
    Open,
    /// It has said all.
    Ended,
}

/// The clients of one loop.
#[derive(Debug)]
pub struct Clients {
    poll: Poll,
    listener: TcpListener,
    sockets: HashMap<Token, TcpStream>,
    next: usize,
    left: usize,
}

impl Clients {
    /// None yet.
    ///
    /// # Errors
    /// If an epoll instance cannot be made, or the listener not be used.
    pub fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (poll, mut listener) = (Poll::new()?, TcpListener::from_std(listener));
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, sockets: HashMap::new(), next: 1, left: 0 })
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut socket, _)) => {
                    let token = Token(self.next);
                    self.next += 1;
                    self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
                    self.sockets.insert(token, socket);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn echo(&mut self, token: Token) -> io::Result<Turn> {
        let Some(socket) = self.sockets.get_mut(&token) else { return Ok(Turn::Open) };
        let mut chunk = [0; 1024];
        loop {
            match socket.read(&mut chunk) {
                Ok(0) => return Ok(Turn::Ended),
                Ok(bytes) => socket.write_all(&chunk[..bytes])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Turn::Open),
                Err(error) => return Err(error),
            }
        }
    }

    fn close(&mut self, token: Token) {
        self.left += usize::from(self.sockets.remove(&token).is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stage::{aside, client_of};

    // ANCHOR: test
    /// Two clients are served; one resets its connection. What the other gets, and how the server
    /// ends once both have left.
    fn beside_a_reset(
        serve: fn(Clients, usize) -> io::Result<()>,
    ) -> (io::Result<u8>, io::Result<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut one, mut other) = (client_of(&listener), client_of(&listener));
        let served = aside(move || serve(Clients::new(listener)?, 2));
        for client in [&mut one, &mut other] {
            client.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        socket2::SockRef::from(&one).set_linger(Some(Duration::ZERO)).unwrap();
        drop(one);
        let mut answer = [0];
        let answered = other.write_all(b"?").and_then(|()| other.read_exact(&mut answer));
        drop(other);
        (answered.map(|()| answer[0]), served.ended())
    }

    #[test]
    fn one_reset_ends_the_server_for_all() {
        let (_answered, ended) = beside_a_reset(broken::serve);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn one_reset_is_the_affair_of_one() {
        let (answered, ended) = beside_a_reset(mended::serve);
        assert_eq!(answered.unwrap(), b'?');
        ended.unwrap();
    }
    // ANCHOR_END: test
}
