//! HTTP/2 frames as bytes (RFC 9113): what a library would never send, and what comes back.
//! It pays with knowing no header compression: what a status says is left to tonic's own client.

/// The window that a connection and each stream begin with (6.9.2).
pub(crate) const WINDOW_BYTES: i64 = 65_535;
/// The largest payload that every peer takes (4.2).
pub(crate) const FRAME_BYTES: usize = 16_384;
/// The largest window there is (6.9.1).
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// One frame, of any kind and with any flags.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What a client says first: it gives the server all the windows there are.
pub(crate) fn hello() -> Vec<u8> {
    hello_with_window(WINDOW_BYTES_MAX)
}

/// The same with windows of so many bytes for the answers of each stream.
pub(crate) fn hello_with_window(bytes: u32) -> Vec<u8> {
    let rest = WINDOW_BYTES_MAX - u32::try_from(WINDOW_BYTES).unwrap();
    let first = settings(INITIAL_WINDOW_SIZE, bytes);
    [PREFACE.to_vec(), first, window_update(0, rest)].concat()
}

pub(crate) fn settings(name: u16, value: u32) -> Vec<u8> {
    frame(4, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

pub(crate) fn settings_ack() -> Vec<u8> {
    frame(4, ACK, 0, &[])
}

pub(crate) fn ping(is_ack: bool, opaque: [u8; 8]) -> Vec<u8> {
    frame(6, if is_ack { ACK } else { 0 }, 0, &opaque)
}

pub(crate) fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(8, 0, stream, &bytes.to_be_bytes())
}

pub(crate) fn reset_stream(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(3, 0, stream, &CANCEL.to_be_bytes())
}

/// The head of a call to `method` of the contract.
pub(crate) fn call(stream: u32, method: &str) -> Vec<u8> {
    frame(1, END_HEADERS, stream, &head(method))
}

/// The same, to be continued.
pub(crate) fn call_without_end(stream: u32, method: &str) -> Vec<u8> {
    frame(1, 0, stream, &head(method))
}

pub(crate) fn continuation(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(9, 0, stream, block)
}

/// Bytes of a stream, in frames that every peer takes.
pub(crate) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(FRAME_BYTES).flat_map(|chunk| frame(0, 0, stream, chunk)).collect()
}

/// What ends a request.
pub(crate) fn end(stream: u32) -> Vec<u8> {
    frame(0, END_STREAM, stream, &[])
}

fn head(method: &str) -> Vec<u8> {
    let path = format!("/quintet.v1.Quintet/{method}");
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .flat_map(|(name, value)| field(name, value))
    .collect()
}

/// A header as RFC 7541 (6.2.2) lets one say it without a table: literally.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let string = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
        [&[length.expect("one byte says how long it is")], text.as_bytes()].concat()
    };
    [vec![0], string(name), string(value)].concat()
}

/// How a server ends a stream, or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// HEADERS that end the stream: over gRPC, those with the status.
    Status,
    Reset,
    GoAway(u32),
    Closed,
}

/// A frame, as far as it matters here.
#[derive(Debug)]
pub(crate) enum Frame {
    Data {
        stream: u32,
        payload: Vec<u8>,
    },
    Window {
        stream: u32,
        more: i64,
    },
    /// With the window of a new stream, where it says one.
    Settings {
        is_ack: bool,
        window: Option<i64>,
    },
    Ping {
        is_ack: bool,
        opaque: [u8; 8],
    },
    End(End),
    Other,
}

impl Frame {
    /// Takes the first frame off `bytes`, once it is whole.
    pub(crate) fn split_first(bytes: &mut Vec<u8>) -> Option<Self> {
        let head = bytes.get(..HEAD_BYTES)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        if bytes.len() < HEAD_BYTES + length {
            return None;
        }
        let payload: Vec<_> = bytes.drain(..HEAD_BYTES + length).skip(HEAD_BYTES).collect();
        let number =
            |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
        Some(match kind {
            0 => Self::Data { stream, payload },
            1 if flags & END_STREAM != 0 => Self::End(End::Status),
            3 => Self::End(End::Reset),
            4 => {
                let is_window = |setting: &&[u8]| setting[..2] == INITIAL_WINDOW_SIZE.to_be_bytes();
                let window = payload.chunks_exact(6).find(is_window);
                let window = window.map(|setting| {
                    u32::from_be_bytes(setting[2..].try_into().expect("four bytes")).into()
                });
                Self::Settings { is_ack: flags & ACK != 0, window }
            }
            6 => {
                let opaque = payload.try_into().expect("eight bytes");
                Self::Ping { is_ack: flags & ACK != 0, opaque }
            }
            7 => Self::End(End::GoAway(number(4))),
            8 => Self::Window { stream, more: number(0).into() },
            _ => Self::Other,
        })
    }
}
