//! A peer that writes HTTP/2 frames by hand (RFC 9113), and so can break every rule of it.
//! It pays with knowing little: no header compression, and windows only where it is asked to mind
//! them.

use std::collections::HashMap;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{Request, Response};
use prost::Message;
use socket2::SockRef;

use crate::server::PATIENCE;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;

pub(crate) const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const SETTINGS_MAX_FRAME_SIZE: u16 = 5;
pub(crate) const SETTINGS_MAX_HEADER_LIST_SIZE: u16 = 6;

pub(crate) const CALL: &str = "/quintet.v1.Quintet/Call";
pub(crate) const CONVERSE: &str = "/quintet.v1.Quintet/Converse";

/// The largest that may be sent without asking.
pub(crate) const FRAME_BYTES_MAX: usize = 16 * 1024;

/// A frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One connection.
pub(crate) struct Peer {
    input: BufReader<TcpStream>,
    /// What the server lets each stream send at first.
    window: i64,
    /// ... and by how much it has moved since, for each, and for the connection as stream 0.
    windows: HashMap<u32, i64>,
    /// Whether it says so when it reads that it is asked (PING).
    pub(crate) is_there: bool,
}

/// What a peer heard until its connection ended.
#[derive(Debug)]
pub(crate) struct Farewell {
    /// The error code of a GOAWAY, if there was one.
    pub(crate) goaway: Option<u32>,
    /// Frames before the end, by kind.
    pub(crate) frames: [usize; 10],
}

impl Peer {
    /// A connection over which nothing was said.
    #[track_caller]
    pub(crate) fn mute(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        let windows = HashMap::from([(0, 0xffff)]);
        Self { input: BufReader::new(stream), window: 0xffff, windows, is_there: true }
    }

    /// One that is open: preface and settings were exchanged, and both acknowledged.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, own: &[(u16, u32)]) -> Self {
        let mut peer = Self::mute(address);
        peer.send(&hello());
        peer.send(&settings(own));
        for _ in 0..2 {
            while !matches!(peer.next().unwrap(), Frame { kind: SETTINGS, flags: ACK, .. }) {}
        }
        peer
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.input.get_ref()
    }

    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    /// Sends, to a server that may not take it.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream().write_all(bytes)
    }

    pub(crate) fn next(&mut self) -> io::Result<Frame> {
        let frame = read_frame(&mut self.input)?;
        self.minds(&frame);
        if self.is_there && frame.kind == PING && frame.flags & ACK == 0 {
            let _ = self.try_send(&self::frame(PING, ACK, 0, &frame.payload));
        }
        Ok(frame)
    }

    fn minds(&mut self, frame: &Frame) {
        let number = |bytes: &[u8]| i64::from(u32::from_be_bytes(bytes.try_into().unwrap()));
        match frame.kind {
            WINDOW_UPDATE => {
                *self.windows.entry(frame.stream).or_default() += number(&frame.payload);
            }
            SETTINGS => {
                for setting in frame.payload.chunks(6) {
                    if setting[..2] == SETTINGS_INITIAL_WINDOW_SIZE.to_be_bytes() {
                        self.window = number(&setting[2..]);
                    }
                }
            }
            _ => {}
        }
    }

    /// Sends the same on all `streams`, a frame each in turn, as the server opens its windows, and
    /// ends them; until all is sent, or the server has said nothing for so long. How much went over each.
    pub(crate) fn upload(
        &mut self,
        streams: &[u32],
        bytes: &[u8],
        patience: Duration,
    ) -> Vec<usize> {
        self.upload_and_hear(streams, bytes, patience, &mut |_| ())
    }

    /// The same, for one who wants to hear what comes meanwhile.
    pub(crate) fn upload_and_hear(
        &mut self,
        streams: &[u32],
        bytes: &[u8],
        patience: Duration,
        hears: &mut impl FnMut(&Frame),
    ) -> Vec<usize> {
        let mut sent = vec![0; streams.len()];
        let mut turn = 0;
        loop {
            let mut has_sent = false;
            for _ in streams {
                // When it opens again, it is the turn of the stream that it has stopped.
                let Ok(window @ 1..) = usize::try_from(self.windows[&0]) else { break };
                let (stream, sent) = (&streams[turn], &mut sent[turn]);
                turn = (turn + 1) % streams.len();
                let its_window = self.window + self.windows.get(stream).unwrap_or(&0);
                let window = window.min(usize::try_from(its_window).unwrap_or(0));
                let length = window.min(FRAME_BYTES_MAX).min(bytes.len() - *sent);
                if length > 0 {
                    let is_last = *sent + length == bytes.len();
                    let flags = if is_last { END_STREAM } else { 0 };
                    self.send(&frame(DATA, flags, *stream, &bytes[*sent..][..length]));
                    *sent += length;
                    for stream in [0, *stream] {
                        let length = i64::try_from(length).unwrap();
                        *self.windows.entry(stream).or_default() -= length;
                    }
                    has_sent = true;
                }
            }
            if sent.iter().all(|sent| *sent == bytes.len()) {
                return sent;
            }
            if !has_sent {
                self.stream().set_read_timeout(Some(patience)).unwrap();
                let next = self.next();
                self.stream().set_read_timeout(Some(PATIENCE)).unwrap();
                match next {
                    Ok(frame) => hears(&frame),
                    Err(_) => return sent,
                }
            }
        }
    }

    /// The next frame of that kind.
    #[track_caller]
    pub(crate) fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().expect("a frame of this kind comes");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The answer to a call of this stream, its bytes taken by opening the windows as they come.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Response {
        let mut message = Vec::new();
        loop {
            let frame = self.next().expect("an answer comes");
            if frame.kind == DATA && frame.stream == stream {
                if let Ok(length @ 1..) = u32::try_from(frame.payload.len()) {
                    // The server may have gone after its last answer.
                    let _ = self.try_send(&window_update(0, length));
                    let _ = self.try_send(&window_update(stream, length));
                }
                message.extend(&frame.payload);
            }
            if let Some(response) = message.get(5..).map(Response::decode) {
                let length = u32::from_be_bytes(message[1..5].try_into().unwrap());
                if message.len() == length as usize + 5 {
                    return response.expect("an answer is a message");
                }
            }
            assert!(
                frame.stream != stream || frame.flags & END_STREAM == 0 || frame.kind > HEADERS,
                "the stream ended without an answer: {frame:?}"
            );
        }
    }

    /// Reads to the end of the connection, with a reset or without.
    #[track_caller]
    pub(crate) fn farewell(&mut self) -> Farewell {
        let mut farewell = Farewell { goaway: None, frames: [0; 10] };
        loop {
            match self.next() {
                Ok(frame) => {
                    farewell.frames[usize::from(frame.kind)] += 1;
                    if frame.kind == GOAWAY {
                        let code = frame.payload[4..8].try_into().unwrap();
                        farewell.goaway = Some(u32::from_be_bytes(code));
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe => return farewell,
                    _ => panic!("the connection does not end: {error}"),
                },
            }
        }
    }

    /// The same beside whatever else is done with the connection.
    pub(crate) fn listen(&self) -> JoinHandle<Farewell> {
        let stream = self.stream().try_clone().unwrap();
        thread::spawn(move || Peer::over(stream).farewell())
    }

    pub(crate) fn leave(&self) {
        let _ = self.stream().shutdown(Shutdown::Both);
    }

    /// As a process that crashes or a cable that breaks: no end, a reset.
    pub(crate) fn reset(self) {
        SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// The next frame, from whatever carries it.
pub(crate) fn read_frame(input: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; 9];
    input.read_exact(&mut head)?;
    let [length @ .., kind, flags, _, _, _, _] = head;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
    let mut payload = vec![0; length];
    input.read_exact(&mut payload)?;
    Ok(Frame { kind, flags, stream, payload })
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length.to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload = settings.iter().flat_map(|(number, value)| {
        number.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect::<Vec<_>>()
    });
    frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>())
}

/// What opens a connection: preface, settings, and the server's acknowledged before they come.
pub(crate) fn hello() -> Vec<u8> {
    [PREFACE, &settings(&[]), &frame(SETTINGS, ACK, 0, b"")].concat()
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// Why a stream is reset: nobody needs it any more.
pub(crate) fn reset_stream(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// The head of a call, in words of the static table and literals (RFC 7541).
pub(crate) fn head(path: &str) -> Vec<u8> {
    let mut head = vec![0x83, 0x86]; // :method POST, :scheme http
    for (name, value) in
        [(&[0x04][..], path), (&[0x01], "test"), (&[0x0f, 0x10], "application/grpc")]
    {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    }
    head.extend(b"\0\x02te\x08trailers");
    head
}

pub(crate) fn headers(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head(path))
}

/// A message as gRPC frames it.
pub(crate) fn message(request: &Request) -> Vec<u8> {
    let mut message = vec![0];
    message.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
    request.encode(&mut message).unwrap();
    message
}

/// Its frames of DATA, without an end.
pub(crate) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(FRAME_BYTES_MAX).flat_map(|chunk| frame(DATA, 0, stream, chunk)).collect()
}

/// A whole call.
pub(crate) fn call(stream: u32, request: &Request) -> Vec<u8> {
    let mut call = headers(stream, CALL);
    call.extend(data(stream, &message(request)));
    call.extend(frame(DATA, END_STREAM, stream, b""));
    call
}

/// The streams that a client opens, one after the other.
pub(crate) fn streams() -> impl Iterator<Item = u32> {
    (1..=0x7fff_ffff).step_by(2)
}
