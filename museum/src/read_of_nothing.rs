//! A read that brings no bytes is the end: the peer will send no more, now and for ever. Who takes it
//! for "nothing yet, try again" spins, one core for each client that has left.

use std::io::{self, Read, Write};

// ANCHOR: broken
/// Believes that there is nothing yet.
pub mod broken {
    use super::*;

    /// Sends back what comes.
    ///
    /// # Errors
    /// Those of the stream.
    #[expect(clippy::needless_continue, reason = "that is the exhibit")]
    pub fn echo(mut stream: impl Read + Write) -> io::Result<()> {
        let mut chunk = [0; 1024];
        loop {
            match stream.read(&mut chunk)? {
                0 => continue,
                bytes => stream.write_all(&chunk[..bytes])?,
            }
        }
    }
}
// ANCHOR_END: broken

// ANCHOR: mended
/// Knows the end.
pub mod mended {
    use super::*;

    /// Sends back what comes.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn echo(mut stream: impl Read + Write) -> io::Result<()> {
        let mut chunk = [0; 1024];
        loop {
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                bytes => stream.write_all(&chunk[..bytes])?,
            }
        }
    }
}
// ANCHOR_END: mended

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::stage::{aside, pair};

    // ANCHOR: test
    /// A socket that has seen enough when it was asked a thousand times after the end.
    struct Watched {
        stream: TcpStream,
        reads_left: usize,
    }

    impl Read for Watched {
        fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
            match self.stream.read(chunk)? {
                0 if self.reads_left == 0 => Err(io::Error::other("it spins")),
                0 => {
                    self.reads_left -= 1;
                    Ok(0)
                }
                bytes => Ok(bytes),
            }
        }
    }

    impl Write for Watched {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.stream.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.stream.flush()
        }
    }

    /// What becomes of the server of a client that says one byte, gets it back, and leaves.
    fn after_a_client(echo: fn(Watched) -> io::Result<()>) -> io::Result<()> {
        let (stream, mut client) = pair();
        let served = aside(move || echo(Watched { stream, reads_left: 1000 }));
        client.write_all(b"!")?;
        client.read_exact(&mut [0])?;
        drop(client);
        served.ended()
    }

    #[test]
    fn it_spins() {
        assert_eq!(after_a_client(broken::echo).unwrap_err().to_string(), "it spins");
    }

    #[test]
    fn it_ends() {
        after_a_client(mended::echo).unwrap();
    }
    // ANCHOR_END: test
}
