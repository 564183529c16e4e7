//! A framed connection that blocks: bytes out, frames in, each step bounded in time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use common::frame::{self, PREFIX_BYTES};
use common::{Request, Response};
use prost::Message;
use socket2::SockRef;

use super::Patience;

/// No answer is longer: the frame limit is 4 MiB unless a server was told otherwise.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What one read takes at the most.
const READ_BYTES: usize = 16 * 1024;
const CLOSED: &str = "it closed the connection";
const MORE: &str = "there are more bytes than answers";

/// One connection.
#[derive(Debug)]
pub struct Framed {
    stream: TcpStream,
    patience: Patience,
    inbound: Vec<u8>,
    consumed: usize,
}

/// Requests as the wire has them.
pub fn framed(requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        frame::encode(request, &mut bytes);
    }
    bytes
}

impl Framed {
    /// Connects.
    ///
    /// # Errors
    /// If that fails, or takes too long.
    pub fn connect(address: SocketAddr, patience: Patience) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience.left())?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, patience))
    }

    /// Over a connection that is there.
    pub fn over(stream: TcpStream, patience: Patience) -> Self {
        Self { stream, patience, inbound: Vec::new(), consumed: 0 }
    }

    /// Gives it another end.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends requests.
    ///
    /// # Errors
    /// If the server closed, or does not take them in time.
    pub fn send(&mut self, requests: &[Request]) -> io::Result<()> {
        self.send_bytes(&framed(requests))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The same.
    pub fn send_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.patience.left()))?;
            match self.stream.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(in_words(error, "it takes no more bytes")),
            }
            if self.patience.is_over() && !bytes.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "it takes bytes too slowly"));
            }
        }
        Ok(())
    }

    /// The next answer.
    ///
    /// # Errors
    /// If there is none in time, or it is no answer of the contract.
    pub fn receive(&mut self) -> io::Result<Response> {
        let message = self.receive_message()?;
        Response::decode(message).map_err(|error| wrong(format!("no response: {error}")))
    }

    /// The bytes of the next answer, without their length.
    ///
    /// # Errors
    /// If there is none in time.
    pub fn receive_message(&mut self) -> io::Result<&[u8]> {
        loop {
            let bytes = &self.inbound[self.consumed..];
            let found = frame::split_first(bytes, ANSWER_BYTES_MAX)
                .map_err(|error| wrong(format!("no response: {error}")))?
                .map(<[u8]>::len);
            if let Some(length) = found {
                let first = self.consumed + PREFIX_BYTES;
                self.consumed = first + length;
                return Ok(&self.inbound[first..first + length]);
            }
            if self.read()? == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, CLOSED));
            }
        }
    }

    /// Waits until the next answer has begun, and takes some of its bytes.
    ///
    /// # Errors
    /// If it does not, in time.
    pub fn receive_begun(&mut self) -> io::Result<()> {
        match self.read()? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, CLOSED)),
            _ => Ok(()),
        }
    }

    /// Waits for the end of the connection.
    ///
    /// # Errors
    /// If more bytes come first, or neither comes in time. A reset is an end too.
    pub fn receive_end(&mut self) -> io::Result<()> {
        if self.consumed < self.inbound.len() {
            return Err(wrong(MORE.to_owned()));
        }
        match self.read() {
            Ok(0) => Ok(()),
            Ok(_) => Err(wrong(MORE.to_owned())),
            Err(error) if is_reset(&error) => Ok(()),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                Err(io::Error::new(ErrorKind::TimedOut, "it does not close the connection"))
            }
            Err(error) => Err(error),
        }
    }

    /// One read; 0 at the end.
    fn read(&mut self) -> io::Result<usize> {
        if self.patience.is_over() {
            return Err(io::Error::new(ErrorKind::TimedOut, "it does not answer in time"));
        }
        self.inbound.drain(..self.consumed);
        self.consumed = 0;
        let old = self.inbound.len();
        self.stream.set_read_timeout(Some(self.patience.left()))?;
        self.inbound.resize(old + READ_BYTES, 0);
        let result = loop {
            match self.stream.read(&mut self.inbound[old..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.inbound.truncate(old + result.as_ref().map_or(0, |read| *read));
        result.map_err(|error| in_words(error, "it does not answer in time"))
    }

    /// Will send no more.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn half_close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Leaves without a word: the server gets a reset.
    pub fn reset(self) {
        // It fails only where the connection is gone, which is as good.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// Whether the peer ended the connection by force.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

fn wrong(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

/// A socket's timeout in words; the system calls it "resource temporarily unavailable".
fn in_words(error: io::Error, timeout: &'static str) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => io::Error::new(ErrorKind::TimedOut, timeout),
        _ => error,
    }
}
