//! The frames of one direction of a connection, for people: what each of them is, and what it says.
//!
//! It pays with a string for each frame; the driver decodes its own in place.

use std::collections::HashMap;

use super::frame::{HEAD_BYTES, Head, PREFACE, flag, kind, number, setting, unpadded};
use super::hpack::Decoder;

/// What stands before a gRPC message: whether it is compressed, and its length.
const MESSAGE_PREFIX_BYTES: usize = 5;
/// What a frame of headers has before its block, where it has the flag (RFC 9113, 6.2).
const PRIORITY_BYTES: usize = 5;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As RFC 9113 names it; what a client says before its first frame is the `preface`.
    pub kind: &'static str,
    /// Those that are set, by name.
    pub flags: String,
    /// 0 for what is about the connection.
    pub stream: u32,
    /// Of its payload: the head has nine more.
    pub payload_bytes: usize,
    /// What the payload means.
    pub said: String,
}

impl Shown {
    /// All that it puts on the wire.
    pub fn bytes(&self) -> usize {
        let head = if self.kind == "preface" { 0 } else { HEAD_BYTES };
        head + self.payload_bytes
    }
}

/// Reads what one side says, in whatever pieces it comes.
#[derive(Debug)]
pub struct Reader {
    /// What is not a whole frame yet.
    pending: Vec<u8>,
    headers: Decoder,
    /// By stream, where a message goes on.
    left_of_message: HashMap<u32, usize>,
    expects_preface: bool,
}

impl Reader {
    /// Of what a client says.
    pub fn of_client() -> Self {
        Self { expects_preface: true, ..Self::of_server() }
    }

    /// Of what a server says.
    pub fn of_server() -> Self {
        Self {
            pending: Vec::new(),
            headers: Decoder::new(),
            left_of_message: HashMap::new(),
            expects_preface: false,
        }
    }

    /// The frames that `bytes` complete.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Shown> {
        self.pending.extend_from_slice(bytes);
        std::iter::from_fn(|| self.next()).collect()
    }

    fn next(&mut self) -> Option<Shown> {
        if self.expects_preface {
            let said = "PRI * HTTP/2.0".to_owned();
            let preface = self.pending.get(..PREFACE.len())?;
            self.expects_preface = false;
            if preface == PREFACE {
                self.pending.drain(..PREFACE.len());
                let (flags, payload_bytes) = (String::new(), PREFACE.len());
                return Some(Shown { kind: "preface", flags, stream: 0, payload_bytes, said });
            }
        }
        let head = Head::of(&self.pending)?;
        let end = HEAD_BYTES + head.length;
        let payload = self.pending.get(HEAD_BYTES..end)?.to_vec();
        self.pending.drain(..end);
        let (kind, flags) = names(head);
        let said = self.said(head, &payload).unwrap_or_else(|| "malformed".to_owned());
        Some(Shown { kind, flags, stream: head.stream, payload_bytes: head.length, said })
    }

    fn said(&mut self, head: Head, payload: &[u8]) -> Option<String> {
        match head.kind {
            kind::DATA => Some(self.messages(head.stream, unpadded(head, payload)?)),
            kind::HEADERS => {
                let mut block = unpadded(head, payload)?;
                if head.has(flag::PRIORITY) {
                    block = block.get(PRIORITY_BYTES..)?;
                }
                if head.has(flag::END_HEADERS) {
                    self.fields(block)
                } else {
                    Some("…".to_owned())
                }
            }
            kind::SETTINGS if head.has(flag::ACK) => Some("yours are in force".to_owned()),
            kind::SETTINGS if payload.is_empty() => Some("nothing but defaults".to_owned()),
            kind::SETTINGS => Some(settings(payload)),
            kind::WINDOW_UPDATE => {
                let bytes = number(*payload.first_chunk()?);
                Some(format!("{bytes} more bytes may be sent"))
            }
            kind::RST_STREAM => {
                Some(format!("error {}", u32::from_be_bytes(*payload.first_chunk()?)))
            }
            kind::GOAWAY => {
                let (last, rest) = payload.split_first_chunk()?;
                let (error, reason) = rest.split_first_chunk()?;
                let (last, error) = (number(*last), u32::from_be_bytes(*error));
                let reason = String::from_utf8_lossy(reason);
                Some(format!("the last stream looked at is {last}; error {error} {reason}"))
            }
            _ => Some(String::new()),
        }
    }

    /// What gRPC has put into a frame of data: messages, the last of which may go on in the next.
    fn messages(&mut self, stream: u32, mut data: &[u8]) -> String {
        let left = self.left_of_message.entry(stream).or_default();
        let mut said = Vec::new();
        while !data.is_empty() {
            if *left == 0 {
                let Some((prefix, rest)) = data.split_first_chunk::<MESSAGE_PREFIX_BYTES>() else {
                    said.push("a part of a message's prefix".to_owned());
                    break;
                };
                let [_compressed, length @ ..] = *prefix;
                *left = u32::from_be_bytes(length) as usize;
                data = rest;
                said.push(format!("a message of {left} bytes"));
                if data.len() < *left {
                    said.push(format!("the first {} of them", data.len()));
                }
            } else {
                said.push(format!("{} more bytes of it", data.len().min(*left)));
            }
            let taken = data.len().min(*left);
            (*left, data) = (*left - taken, &data[taken..]);
        }
        said.join(", ")
    }

    fn fields(&mut self, block: &[u8]) -> Option<String> {
        let mut fields = Vec::new();
        let take = |name: &[u8], value: &[u8]| {
            let text = String::from_utf8_lossy;
            fields.push(format!("{}={}", text(name), text(value)));
        };
        self.headers.decode(block, take).ok()?;
        Some(fields.join(" "))
    }
}

/// A frame's kind and flags by name.
fn names(head: Head) -> (&'static str, String) {
    let (name, known): (_, &[(u8, &str)]) = match head.kind {
        kind::DATA => ("DATA", &[(flag::END_STREAM, "END_STREAM"), (flag::PADDED, "PADDED")]),
        kind::HEADERS => (
            "HEADERS",
            &[
                (flag::END_STREAM, "END_STREAM"),
                (flag::END_HEADERS, "END_HEADERS"),
                (flag::PADDED, "PADDED"),
                (flag::PRIORITY, "PRIORITY"),
            ],
        ),
        kind::SETTINGS => ("SETTINGS", &[(flag::ACK, "ACK")]),
        kind::PING => ("PING", &[(flag::ACK, "ACK")]),
        kind::RST_STREAM => ("RST_STREAM", &[]),
        kind::PUSH_PROMISE => ("PUSH_PROMISE", &[]),
        kind::GOAWAY => ("GOAWAY", &[]),
        kind::WINDOW_UPDATE => ("WINDOW_UPDATE", &[]),
        kind::CONTINUATION => ("CONTINUATION", &[(flag::END_HEADERS, "END_HEADERS")]),
        _ => ("unknown", &[]),
    };
    let set = known.iter().filter(|(flag, _)| head.has(*flag)).map(|(_, name)| *name);
    (name, set.collect::<Vec<_>>().join(" "))
}

fn settings(payload: &[u8]) -> String {
    let one = |pair: &[u8; 6]| {
        let [id_high, id_low, value @ ..] = *pair;
        let name = match u16::from_be_bytes([id_high, id_low]) {
            setting::HEADER_TABLE_SIZE => "HEADER_TABLE_SIZE".to_owned(),
            setting::ENABLE_PUSH => "ENABLE_PUSH".to_owned(),
            setting::MAX_CONCURRENT_STREAMS => "MAX_CONCURRENT_STREAMS".to_owned(),
            setting::INITIAL_WINDOW_SIZE => "INITIAL_WINDOW_SIZE".to_owned(),
            setting::MAX_FRAME_SIZE => "MAX_FRAME_SIZE".to_owned(),
            setting::MAX_HEADER_LIST_SIZE => "MAX_HEADER_LIST_SIZE".to_owned(),
            other => format!("setting {other}"),
        };
        format!("{name}={}", u32::from_be_bytes(value))
    };
    let (pairs, _) = payload.as_chunks::<6>();
    pairs.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::frame::{head, ping_ack, settings as write_settings, settings_ack};
    use super::*;

    /// What a client says: preface, settings, a call with a message of two bytes.
    fn client() -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        write_settings(&[(setting::INITIAL_WINDOW_SIZE, 70_000)], &mut bytes);
        settings_ack(&mut bytes);
        // RFC 7541, C.2.4 and C.2.1: an indexed field, and a literal that goes into the table.
        let block = [&[0x82, 0x40, 0x0a][..], b"custom-key", &[0x0d], b"custom-header"].concat();
        let length = u32::try_from(block.len()).unwrap();
        head(kind::HEADERS, flag::END_HEADERS, 1, length, &mut bytes);
        bytes.extend(block);
        head(kind::DATA, flag::END_STREAM, 1, 7, &mut bytes);
        bytes.extend([0, 0, 0, 0, 2, 8, 1]);
        bytes
    }

    #[test]
    fn frames_are_told_in_words_however_they_come() {
        let bytes = client();
        let whole = Reader::of_client().read(&bytes);
        let line = |shown: &Shown| {
            format!("{} {} {}: {}", shown.kind, shown.flags, shown.stream, shown.said)
        };
        assert_eq!(
            whole.iter().map(line).collect::<Vec<_>>(),
            [
                "preface  0: PRI * HTTP/2.0",
                "SETTINGS  0: INITIAL_WINDOW_SIZE=70000",
                "SETTINGS ACK 0: yours are in force",
                "HEADERS END_HEADERS 1: :method=GET custom-key=custom-header",
                "DATA END_STREAM 1: a message of 2 bytes",
            ]
        );
        assert_eq!(whole.iter().map(Shown::bytes).sum::<usize>(), bytes.len());
        let mut reader = Reader::of_client();
        let cut: Vec<Shown> = bytes.iter().flat_map(|byte| reader.read(&[*byte])).collect();
        assert_eq!(cut, whole);
    }

    #[test]
    fn the_table_is_the_connections() {
        let mut reader = Reader::of_client();
        reader.read(&client());
        let mut again = Vec::new();
        head(kind::HEADERS, flag::END_HEADERS, 3, 1, &mut again);
        again.push(0b1000_0000 + 62); // the newest entry
        assert_eq!(reader.read(&again)[0].said, "custom-key=custom-header");
    }

    #[test]
    fn a_message_goes_on_in_the_next_frame() {
        let mut bytes = Vec::new();
        head(kind::DATA, 0, 1, 8, &mut bytes);
        bytes.extend([0, 0, 0, 0, 5, 1, 2, 3]);
        head(kind::DATA, 0, 3, 0, &mut bytes);
        head(kind::DATA, 0, 1, 9, &mut bytes);
        bytes.extend([0, 5, 0, 0, 0, 0, 1, 9, 0]);
        let shown = Reader::of_server().read(&bytes);
        let said: Vec<&str> = shown.iter().map(|shown| shown.said.as_str()).collect();
        assert_eq!(said[0], "a message of 5 bytes, the first 3 of them");
        assert_eq!(said[1], "", "another stream's is another");
        assert_eq!(
            said[2],
            "2 more bytes of it, a message of 1 bytes, a part of a message's prefix"
        );
    }

    #[test]
    fn what_a_server_says_and_what_is_wrong() {
        let mut bytes = Vec::new();
        ping_ack([7; 8], &mut bytes);
        head(kind::GOAWAY, 0, 0, 10, &mut bytes);
        bytes.extend([0, 0, 0, 5, 0, 0, 0, 11, b'h', b'i']);
        head(kind::WINDOW_UPDATE, 0, 0, 2, &mut bytes);
        bytes.extend([0, 0]);
        let shown = Reader::of_server().read(&bytes);
        let said: Vec<&str> = shown.iter().map(|shown| shown.said.as_str()).collect();
        assert_eq!(said, ["", "the last stream looked at is 5; error 11 hi", "malformed"]);
        assert_eq!((shown[0].kind, shown[0].flags.as_str()), ("PING", "ACK"));
    }
}
