//! A peer of a server, over either wire, that does with its bytes what no client library would.
//! It pays with an HTTP/2 of its own: enough of it to break, and to read what comes back.
//!
//! Over framed TCP a peer's requests are the connection; over gRPC they are one `Converse` stream
//! on it. Both answer in order and say a code in the response, so that most faults read the same.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::{Request, Response};
use prost::Message;
use socket2::SockRef;

use crate::http2::{self, End, Frame};
use crate::patience::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Framed,
    Grpc,
}

impl Wire {
    /// What stands before each message: a length, and over gRPC whether it is compressed.
    fn prefix_bytes(self) -> usize {
        match self {
            Wire::Framed => 4,
            Wire::Grpc => 5,
        }
    }

    /// A message with its prefix, on neither wire cut into anything smaller.
    pub(crate) fn message(self, message: &impl Message) -> Vec<u8> {
        let length = u32::try_from(message.encoded_len()).unwrap();
        let mut bytes = vec![0; self.prefix_bytes() - 4];
        bytes.extend_from_slice(&length.to_be_bytes());
        message.encode(&mut bytes).unwrap();
        bytes
    }

    /// What a client sends before its first request.
    pub(crate) fn greeting(self) -> Vec<u8> {
        match self {
            Wire::Framed => Vec::new(),
            Wire::Grpc => [http2::hello(), http2::call(STREAM, "Converse")].concat(),
        }
    }

    /// Requests as they stand on the wire, after the greeting.
    pub(crate) fn requests(self, requests: &[Request]) -> Vec<u8> {
        let messages: Vec<_> = requests.iter().map(|request| self.message(request)).collect();
        match self {
            Wire::Framed => messages.concat(),
            Wire::Grpc => messages.iter().flat_map(|bytes| http2::data(STREAM, bytes)).collect(),
        }
    }
}

/// The first that a client may open.
const STREAM: u32 = 1;

/// One connection.
pub(crate) struct Peer {
    wire: Wire,
    stream: TcpStream,
    /// Bytes that came, and are no whole frame or message yet.
    bytes: Vec<u8>,
    /// gRPC: of the stream's messages, what came in DATA frames.
    messages: Vec<u8>,
    /// gRPC: bytes of DATA that the server still takes on the connection.
    credit: i64,
    /// gRPC: bytes of DATA that it takes on a new stream.
    stream_credit: i64,
    /// gRPC: the server has ended the stream, or the connection.
    ended: Option<End>,
}

impl Peer {
    /// Connects, and says nothing.
    #[track_caller]
    pub(crate) fn mute(wire: Wire, address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            wire,
            stream,
            bytes: Vec::new(),
            messages: Vec::new(),
            credit: http2::WINDOW_BYTES,
            stream_credit: http2::WINDOW_BYTES,
            ended: None,
        }
    }

    /// Connects, and may send requests.
    #[track_caller]
    pub(crate) fn connect(wire: Wire, address: SocketAddr) -> Self {
        let peer = Self::mute(wire, address);
        peer.send_bytes(&wire.greeting());
        peer
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    #[track_caller]
    pub(crate) fn send_bytes(&self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).expect("the server takes what is sent");
    }

    /// Sends requests that fit into the windows that HTTP/2 begins with.
    #[track_caller]
    pub(crate) fn send(&self, requests: &[Request]) {
        self.send_bytes(&self.wire.requests(requests));
    }

    pub(crate) fn try_send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// Sends a request of any size as the only one of stream `of`, as fast as the server lets it.
    /// Over gRPC only.
    pub(crate) fn try_send_large(&mut self, of: u32, request: &Request) -> io::Result<()> {
        let message = self.wire.message(request);
        let mut used = 0;
        let mut more_window = 0;
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            // What there is room for, however little: a server need not give more before it is used.
            let window = self.credit.min(self.stream_credit + more_window - used);
            let Ok(window @ 1..) = usize::try_from(window) else {
                if let Some((stream, more)) = self.take_frame()? {
                    more_window += if stream == of { more } else { 0 };
                }
                continue;
            };
            let (chunk, later) = rest.split_at(window.min(http2::FRAME_BYTES).min(rest.len()));
            self.try_send_bytes(&http2::data(of, chunk))?;
            let bytes = i64::try_from(chunk.len()).unwrap();
            self.credit -= bytes;
            used += bytes;
            rest = later;
        }
        Ok(())
    }

    /// The next response, whatever it says.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Response {
        self.try_receive().expect("a response comes")
    }

    /// The next response; the error is what came instead of it.
    pub(crate) fn try_receive(&mut self) -> io::Result<Response> {
        let prefix_bytes = self.wire.prefix_bytes();
        loop {
            let whole = match self.wire {
                Wire::Framed => &mut self.bytes,
                Wire::Grpc => &mut self.messages,
            };
            if let Some(length) = whole.get(prefix_bytes - 4..prefix_bytes) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if whole.len() >= prefix_bytes + length {
                    let message: Vec<_> = whole.drain(..prefix_bytes + length).collect();
                    let response = Response::decode(&message[prefix_bytes..]);
                    return response.map_err(io::Error::other);
                }
            }
            match self.wire {
                Wire::Framed => self.read()?,
                Wire::Grpc => {
                    if let Some(end) = &self.ended {
                        return Err(io::Error::other(format!("{end:?}")));
                    }
                    self.take_frame()?;
                }
            }
        }
    }

    /// The next response is `id`'s, and good; its payload.
    #[track_caller]
    pub(crate) fn receive_ok(&mut self, id: u64) -> Vec<u8> {
        let Response { id: of, code, message, payload } = self.receive();
        assert_eq!((of, code, message.as_str()), (id, 0, ""));
        payload
    }

    /// The next response is `id`'s, and says why it is none.
    #[track_caller]
    pub(crate) fn receive_error(&mut self, id: u64, code: common::Code) {
        let response = self.receive();
        assert_eq!((response.id, response.code), (id, code as u32), "{response:?}");
        assert!(response.payload.is_empty() && !response.message.is_empty(), "{response:?}");
    }

    /// gRPC: how the server ended the stream or the connection, once it has.
    #[track_caller]
    pub(crate) fn receive_end(&mut self) -> End {
        loop {
            if let Some(end) = self.ended.take() {
                return end;
            }
            if let Err(error) = self.take_frame() {
                assert!(is_end(&error), "neither an end nor a close: {error}");
                return End::Closed;
            }
        }
    }

    /// Waits for the server to close the connection, with a reset or without, and reads what it
    /// says before; how many bytes that was. An error where it is still open after `patience`.
    pub(crate) fn closed_within(&mut self, patience: Duration) -> Result<usize, String> {
        let (give_up_at, mut bytes) = (Instant::now() + patience, 0);
        let mut chunk = [0; 16 * 1024];
        loop {
            let left = give_up_at.saturating_duration_since(Instant::now());
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(bytes),
                Ok(more) => bytes += more,
                Err(error) if is_end(&error) => return Ok(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {}
            }
            if Instant::now() >= give_up_at {
                return Err(format!("open after another {patience:?}"));
            }
        }
    }

    /// Leaves as a process that crashes or a cable that breaks: no end, a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Over gRPC one frame: what it says of windows, else nothing. What has to be answered is.
    fn take_frame(&mut self) -> io::Result<Option<(u32, i64)>> {
        let frame = loop {
            match Frame::split_first(&mut self.bytes) {
                Some(frame) => break frame,
                None => self.read()?,
            }
        };
        match frame {
            Frame::Data { stream: STREAM, payload } => self.messages.extend(payload),
            Frame::Window { stream: 0, more } => self.credit += more,
            Frame::Window { stream, more } => return Ok(Some((stream, more))),
            Frame::Settings { is_ack: false, window } => {
                self.stream_credit = window.unwrap_or(self.stream_credit);
                self.try_send_bytes(&http2::settings_ack())?;
            }
            Frame::Ping { is_ack: false, opaque } => {
                self.try_send_bytes(&http2::ping(true, opaque))?;
            }
            // Code 0 says only that no new streams are taken.
            Frame::End(end) if end != End::GoAway(0) => self.ended = Some(end),
            _ => {}
        }
        Ok(None)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match (&self.stream).read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.bytes.extend_from_slice(&chunk[..bytes]);
                Ok(())
            }
        }
    }
}

/// Whether an error of a socket says that the server has closed it.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
