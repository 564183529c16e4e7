//! The client without a socket: what it says, what it makes of what a server says, and that no
//! cut and no rubbish disturbs it.

use common::{Plan, Request, Response, Service};
use proptest::prelude::*;
use prost::Message;

use super::frame::{HEAD_BYTES, Head, PREFACE};
use super::*;
use crate::plan::Planned;
use crate::recorder::ErrorKind;

const STATUS_200: u8 = 0x88;
const NOT_INDEXED: u8 = 0x00;

type Verdicts = Vec<(u64, Result<(), ErrorKind>)>;

/// A client, and what it said and concluded.
struct Client {
    wire: Http2,
    templates: Templates,
    target: Target,
    out: Vec<u8>,
    verdicts: Verdicts,
    planned: u64,
}

impl Client {
    fn new(work: &str) -> Self {
        let target: Target = "grpc://127.0.0.1:7005".parse().unwrap();
        let templates = Templates::new(&work.parse().unwrap(), 1, target.protocol);
        let mut out = Vec::new();
        let wire = Http2::open(target, &mut out);
        Self { wire, templates, target, out, verdicts: Vec::new(), planned: 0 }
    }

    /// One whose server has said its settings, and whose greeting was read.
    fn greeted(work: &str, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::new(work);
        client.hear(&Server::new().settings(settings).0).unwrap();
        client.said();
        client
    }

    /// Sends as many requests as it may, at most `count`; says how many.
    fn send(&mut self, count: u64) -> u64 {
        let before = self.planned;
        while self.planned < before + count && self.wire.may_send() {
            let index = self.planned;
            let planned = Planned { index, planned_ns: index, kind: 0, measured: true };
            self.wire.send(Awaited::new(planned, index), &self.templates, &mut self.out);
            self.planned += 1;
        }
        self.planned - before
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let terms = Terms { templates: &self.templates, target: self.target };
        let verdicts = &mut self.verdicts;
        let settle = |verdict: Verdict| verdicts.push((verdict.awaited.index, verdict.answer));
        self.wire.take(bytes, terms, &mut self.out, settle)?;
        self.wire.resume(&self.templates, &mut self.out);
        Ok(())
    }

    /// The frames since the last call.
    fn said(&mut self) -> Vec<(Head, Vec<u8>)> {
        let out = std::mem::take(&mut self.out);
        let mut rest = out.strip_prefix(PREFACE).unwrap_or(&out);
        let mut frames = Vec::new();
        while let Some(head) = Head::of(rest) {
            let (frame, after) = rest.split_at(HEAD_BYTES + head.length);
            frames.push((head, frame[HEAD_BYTES..].to_vec()));
            rest = after;
        }
        assert!(rest.is_empty());
        frames
    }

    /// The kinds of the same.
    fn kinds(&mut self) -> Vec<u8> {
        self.said().into_iter().map(|(head, _)| head.kind).collect()
    }

    /// The request's bytes, and the right reply's, prefix included.
    fn exchange(&self, index: u64) -> (Vec<u8>, Vec<u8>) {
        let (template, mut request) = (self.templates.of(0), Vec::new());
        template.write(template.id(index), &mut request);
        let plan = Service::new().plan(Request::decode(&request[5..]).unwrap(), None);
        let Plan::Reply(response) = plan else { panic!("not an echo") };
        (request, message(&response))
    }
}

fn message(response: &Response) -> Vec<u8> {
    let mut bytes = vec![0];
    common::frame::encode(response, &mut bytes);
    bytes
}

/// What a server says.
#[derive(Clone, Default)]
struct Server(Vec<u8>);

impl Server {
    fn new() -> Self {
        Self::default()
    }

    fn frame(mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        frame::head(kind, flags, stream, u32::try_from(payload.len()).unwrap(), &mut self.0);
        self.0.extend_from_slice(payload);
        self
    }

    fn settings(mut self, settings: &[(u16, u32)]) -> Self {
        frame::settings(settings, &mut self.0);
        self
    }

    fn head(self, stream: u32) -> Self {
        self.frame(kind::HEADERS, flag::END_HEADERS, stream, &[STATUS_200])
    }

    fn data(self, stream: u32, bytes: &[u8]) -> Self {
        self.frame(kind::DATA, 0, stream, bytes)
    }

    fn trailers(self, stream: u32, code: u8) -> Self {
        self.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &grpc_status(code))
    }

    fn reply(self, stream: u32, message: &[u8]) -> Self {
        self.head(stream).data(stream, message).trailers(stream, 0)
    }

    fn goaway(self, last: u32, code: u32) -> Self {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.frame(kind::GOAWAY, 0, 0, &payload)
    }

    fn window(self, stream: u32, more: u32) -> Self {
        self.frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
    }
}

fn grpc_status(code: u8) -> Vec<u8> {
    [&[NOT_INDEXED, 11][..], b"grpc-status", &[1, b'0' + code]].concat()
}

#[test]
fn it_begins_as_a_client_must() {
    let mut client = Client::new("echo:1");
    assert!(client.out.starts_with(PREFACE));
    assert_eq!(client.kinds(), [kind::SETTINGS, kind::WINDOW_UPDATE]);
    assert_eq!(client.send(5), 1, "until the settings came it may be that only one is allowed");
    client.hear(&Server::new().settings(&[(setting::MAX_CONCURRENT_STREAMS, 3)]).0).unwrap();
    assert_eq!(client.send(5), 2);
    assert_eq!(client.wire.waiting(), 3);
    let first = client.exchange(0).1;
    client.hear(&Server::new().reply(1, &first).0).unwrap();
    assert_eq!((client.send(5), client.verdicts.len()), (1, 1));
}

#[test]
fn settings_and_pings_are_acknowledged() {
    let mut client = Client::greeted("echo:1", &[]);
    let server = Server::new()
        .settings(&[(99, 7)])
        .frame(kind::SETTINGS, flag::ACK, 0, &[])
        .frame(kind::PING, 0, 0, b"12345678")
        .frame(kind::PING, flag::ACK, 0, b"12345678")
        .frame(0x77, 0xff, 5, b"unknown");
    client.hear(&server.0).unwrap();
    let said = client.said();
    assert_eq!(said.len(), 2);
    assert_eq!((said[0].0.kind, said[0].0.flags), (kind::SETTINGS, flag::ACK));
    assert_eq!((said[1].0.kind, said[1].0.flags), (kind::PING, flag::ACK));
    assert_eq!(said[1].1, b"12345678");
}

#[test]
fn a_request_is_two_frames_and_the_second_costs_six_bytes_of_headers() {
    let mut client = Client::greeted("echo:64", &[]);
    client.send(2);
    let said = client.said();
    let heads: Vec<_> = said.iter().map(|(h, _)| (h.kind, h.flags, h.stream)).collect();
    assert_eq!(
        heads,
        [
            (kind::HEADERS, flag::END_HEADERS, 1),
            (kind::DATA, flag::END_STREAM, 1),
            (kind::HEADERS, flag::END_HEADERS, 3),
            (kind::DATA, flag::END_STREAM, 3),
        ]
    );
    assert_eq!(
        (said[1].1.clone(), said[3].1.clone()),
        (client.exchange(0).0, client.exchange(1).0)
    );
    assert_eq!(said[2].1.len(), 6);
}

/// The answer that the first request of a connection comes to.
#[track_caller]
fn comes_to(server: impl Fn(Server, &[u8]) -> Server, expected: Result<(), ErrorKind>) {
    let mut client = Client::greeted("echo:300", &[]);
    client.send(2);
    client.said();
    let ((_, first), (_, second)) = (client.exchange(0), client.exchange(1));
    client.hear(&server(Server::new(), &first).0).unwrap();
    assert_eq!(client.verdicts, [(0, expected)]);
    client.hear(&Server::new().reply(3, &second).0).unwrap();
    assert_eq!(client.verdicts[1], (1, Ok(())), "the connection goes on");
    assert_eq!(client.wire.waiting(), 0);
}

#[test]
fn a_right_reply_in_all_its_forms() {
    let right = |server: fn(Server, &[u8]) -> Server| comes_to(server, Ok(()));
    right(|server, message| server.reply(1, message));
    right(|server, message| {
        let (one, two) = message.split_at(4); // within the prefix
        server.head(1).data(1, one).data(1, two).trailers(1, 0)
    });
    right(|server, message| {
        server.head(1).data(1, b"").data(1, message).data(1, b"").trailers(1, 0)
    });
    right(|server, message| {
        let padded = [&[3][..], message, b"\0\0\0"].concat();
        server.head(1).frame(kind::DATA, flag::PADDED, 1, &padded).trailers(1, 0)
    });
    right(|server, message| {
        let flags = flag::END_HEADERS | flag::PADDED | flag::PRIORITY;
        let payload = [2, 0, 0, 0, 0, 9, STATUS_200, 0, 0];
        server.frame(kind::HEADERS, flags, 1, &payload).data(1, message).trailers(1, 0)
    });
    right(|server, message| {
        // An interim head with a status of 100, before the real one.
        let interim = [&[0x08, 3][..], b"100"].concat();
        server.frame(kind::HEADERS, flag::END_HEADERS, 1, &interim).reply(1, message)
    });
    right(|server, message| {
        // `grpc-status: 0` as literals in Huffman code, added to the table, in three frames.
        let block = [0x40, 0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f, 0x81, 0x07];
        let server = server.head(1).data(1, message);
        server
            .frame(kind::HEADERS, flag::END_STREAM, 1, &block[..3])
            .frame(kind::CONTINUATION, 0, 1, &block[3..9])
            .frame(kind::CONTINUATION, flag::END_HEADERS, 1, &block[9..])
    });
}

#[test]
fn wrong_replies_are_told_apart() {
    comes_to(
        |server, message| server.head(1).data(1, message).trailers(1, 8),
        Err(ErrorKind::Code(8)),
    );
    comes_to(
        |server, _| {
            let only = [&[STATUS_200][..], &grpc_status(7)].concat();
            server.frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &only)
        },
        Err(ErrorKind::Code(7)),
    );
    let protocol = |server: fn(Server, &[u8]) -> Server| {
        comes_to(server, Err(ErrorKind::Protocol));
    };
    protocol(|server, _| server.head(1).trailers(1, 0)); // no message
    protocol(|server, message| server.head(1).data(1, message).data(1, message).trailers(1, 0));
    protocol(|server, message| server.head(1).data(1, &message[..9]).trailers(1, 0));
    protocol(|server, message| {
        server.head(1).frame(kind::DATA, flag::END_STREAM, 1, message) // no status
    });
    protocol(|server, message| {
        let not_found = [0x8d];
        server
            .frame(kind::HEADERS, flag::END_HEADERS, 1, &not_found)
            .data(1, message)
            .trailers(1, 0)
    });
    let other = |change: fn(&mut Response)| {
        move |server: Server, reply: &[u8]| {
            let mut response = Response::decode(&reply[5..]).unwrap();
            change(&mut response);
            server.reply(1, &message(&response))
        }
    };
    comes_to(other(|response| response.id += 1), Err(ErrorKind::WrongId));
    comes_to(other(|response| response.payload[7] ^= 1), Err(ErrorKind::WrongPayload));
    let reset = |server: Server, _: &[u8]| server.frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 7]);
    comes_to(reset, Err(ErrorKind::StreamReset));
}

/// The lengths of the DATA frames since the last call, and whether the last ended its stream.
fn data_said(client: &mut Client) -> (Vec<usize>, bool) {
    let mut said = client.said();
    said.retain(|(head, _)| head.kind == kind::DATA);
    let ended = said.last().is_some_and(|(head, _)| head.has(flag::END_STREAM));
    (said.iter().map(|(head, _)| head.length).collect(), ended)
}

#[test]
fn a_large_request_keeps_to_windows_and_frames() {
    let mut client = Client::greeted("echo:100000", &[]);
    assert_eq!(client.send(5), 1, "the connection's window is used up");
    assert_eq!(data_said(&mut client), (vec![16384, 16384, 16384, 16383], false));
    client.hear(&Server::new().window(0, 20_000).0).unwrap();
    assert_eq!(data_said(&mut client), (vec![], false), "the stream's own window is closed");
    client.hear(&Server::new().window(1, 10_000).0).unwrap();
    assert_eq!(data_said(&mut client), (vec![10_000], false));
    client
        .hear(&Server::new().settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535 - 500)]).0)
        .unwrap();
    client.hear(&Server::new().window(1, 600).0).unwrap();
    assert_eq!(data_said(&mut client), (vec![100], false), "the window had become negative");
    let settings = [(setting::INITIAL_WINDOW_SIZE, 1 << 20), (setting::MAX_FRAME_SIZE, 1 << 20)];
    client.hear(&Server::new().settings(&settings).0).unwrap();
    assert_eq!(data_said(&mut client), (vec![9_900], false), "the connection's window is closed");
    client.hear(&Server::new().window(0, 1 << 20).0).unwrap();
    let whole = client.exchange(0).0.len();
    assert_eq!(data_said(&mut client), (vec![whole - 65_535 - 20_000], true));
    assert_eq!(client.send(1), 1);
    assert_eq!(data_said(&mut client), (vec![whole], true), "in one frame, as it may now");
}

#[test]
fn the_parts_of_a_large_request_are_its_message() {
    let mut client = Client::greeted("echo:50000", &[]);
    client.send(1);
    let mut parts = client.said();
    parts.retain(|(head, _)| head.kind == kind::DATA);
    let sent: Vec<u8> = parts.into_iter().flat_map(|(_, payload)| payload).collect();
    assert_eq!(sent, client.exchange(0).0);
}

#[test]
fn an_answer_before_the_request_is_whole_ends_the_stream() {
    let mut client = Client::greeted("echo:100000", &[]);
    client.send(1);
    client.said();
    let only = [&[STATUS_200][..], &grpc_status(8)].concat();
    let flags = flag::END_HEADERS | flag::END_STREAM;
    client.hear(&Server::new().frame(kind::HEADERS, flags, 1, &only).window(0, 65_535).0).unwrap();
    assert_eq!(client.verdicts, [(0, Err(ErrorKind::Code(8)))]);
    assert_eq!(client.kinds(), [kind::RST_STREAM]);
    client.hear(&Server::new().frame(kind::RST_STREAM, 0, 1, &[0; 4]).window(1, 9).0).unwrap();
    assert_eq!(client.send(1), 1, "the connection goes on");
}

#[test]
fn a_goaway_fails_what_was_not_looked_at() {
    let mut client = Client::greeted("echo:1", &[]);
    assert_eq!(client.send(3), 3);
    client.hear(&Server::new().goaway(u32::MAX >> 1, 0).0).unwrap();
    assert!(client.verdicts.is_empty() && client.wire.wants_to_close());
    assert_eq!(client.send(1), 0);
    client.hear(&Server::new().goaway(3, 0).0).unwrap();
    assert_eq!(client.verdicts, [(2, Err(ErrorKind::Closed))]);
    let (first, second) = (client.exchange(0).1, client.exchange(1).1);
    client.hear(&Server::new().reply(1, &first).reply(3, &second).0).unwrap();
    assert_eq!(client.verdicts[1..], [(0, Ok(())), (1, Ok(()))]);
    assert_eq!(client.wire.waiting(), 0);
    let lost = client.hear(&Server::new().goaway(0, 11).0).unwrap_err();
    assert_eq!(lost.kind, ErrorKind::Closed);
    assert!(lost.text.contains("GOAWAY with error code 11"), "{}", lost.text);
}

#[test]
fn a_request_that_timed_out_is_given_up_and_its_reply_ignored() {
    let mut client = Client::greeted("echo:1", &[]);
    client.send(2);
    client.said();
    let mut late = Vec::new();
    client.wire.expire(99, 100, &mut client.out, |awaited| late.push(awaited.index));
    assert!(late.is_empty());
    client.wire.expire(100, 100, &mut client.out, |awaited| late.push(awaited.index));
    assert_eq!((late, client.wire.waiting()), (vec![0], 1));
    let said = client.said();
    assert_eq!((said[0].0.kind, said[0].0.stream, said.len()), (kind::RST_STREAM, 1, 1));
    let (first, second) = (client.exchange(0).1, client.exchange(1).1);
    client.hear(&Server::new().reply(1, &first).reply(3, &second).0).unwrap();
    assert_eq!(client.verdicts, [(1, Ok(()))]);
    assert!(client.wire.received_bytes as usize >= 2 * first.len(), "both are counted");
}

#[test]
fn a_header_block_that_nobody_waits_for_is_read_all_the_same() {
    let mut client = Client::greeted("echo:1", &[]);
    client.send(2);
    client.wire.expire(100, 100, &mut client.out, |_| {});
    let added = [&[0x40, 11][..], b"grpc-status", b"\x010"].concat();
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let second = client.exchange(1).1;
    let server = Server::new().head(1).frame(kind::HEADERS, flags, 1, &added);
    let server = server.head(3).data(3, &second).frame(kind::HEADERS, flags, 3, &[0xbe]);
    client.hear(&server.0).unwrap();
    assert_eq!(client.verdicts, [(1, Ok(()))]);
}

#[test]
fn a_server_without_a_header_table_gets_no_index_into_it() {
    let mut client = Client::greeted("echo:1", &[(setting::HEADER_TABLE_SIZE, 0)]);
    client.send(2);
    let said = client.said();
    let blocks = said.iter().filter(|(head, _)| head.kind == kind::HEADERS);
    assert!(blocks.clone().count() == 2 && blocks.clone().all(|(head, _)| head.length > 60));
}

#[test]
fn a_window_is_opened_again_when_half_of_it_is_used() {
    let mut client = Client::greeted("echo:1", &[]);
    client.send(2);
    client.said();
    client.wire.received_bytes = WINDOW_BYTES / 2 - 5;
    let first = client.exchange(0).1;
    client.hear(&Server::new().reply(1, &first).0).unwrap();
    let said = client.said();
    assert_eq!((said[0].0.kind, said[0].0.stream), (kind::WINDOW_UPDATE, 0));
    let more = u32::from_be_bytes(said[0].1[..].try_into().unwrap());
    assert_eq!(more as usize, WINDOW_BYTES as usize / 2 - 5 + first.len());
    assert_eq!(client.wire.received_bytes, 0);
}

#[test]
fn ids_that_are_used_up_end_the_connection() {
    let mut client = Client::greeted("echo:1", &[]);
    assert!(!client.wire.wants_to_close());
    client.wire.streams.use_up();
    assert!(client.wire.wants_to_close());
    assert_eq!(client.send(1), 0);
}

#[test]
fn whatever_breaks_the_protocol_is_said_in_words() {
    let settings = |number: u16, value: u32| Server::new().settings(&[(number, value)]);
    let headers = flag::END_HEADERS;
    let frame =
        |kind, flags, stream, payload: &[u8]| Server::new().frame(kind, flags, stream, payload);
    for (server, named) in [
        (frame(kind::DATA, 0, 1, b"x"), "before its head"),
        (frame(kind::DATA, 0, 0, b"x"), "nobody opened"),
        (frame(kind::DATA, 0, 9, b"x"), "nobody opened"),
        (frame(kind::HEADERS, headers, 2, b""), "nobody opened"),
        (frame(kind::DATA, flag::PADDED, 1, &[7, 0]), "padding without end"),
        (frame(kind::HEADERS, headers | flag::PRIORITY, 1, &[1]), "cut short"),
        (frame(kind::HEADERS, headers, 1, &[0x80]), "not in the table"),
        (frame(kind::HEADERS, headers, 1, &[0x3f]), "ends in the middle"),
        (frame(kind::HEADERS, 0, 1, b"").data(1, b""), "interrupts"),
        (frame(kind::HEADERS, 0, 1, b"").frame(kind::CONTINUATION, 0, 3, b""), "interrupts"),
        (frame(kind::CONTINUATION, 0, 1, b""), "of nothing"),
        (Server::new().head(1).head(1), "not the end"),
        (frame(kind::RST_STREAM, 0, 1, b"123"), "wrong length"),
        (frame(kind::RST_STREAM, 0, 5, &[0; 4]), "nobody opened"),
        (frame(kind::SETTINGS, 0, 0, b"12345"), "wrong length"),
        (frame(kind::SETTINGS, 0, 1, b"123456"), "on a stream"),
        (settings(setting::INITIAL_WINDOW_SIZE, 1 << 31), "too large"),
        (settings(setting::MAX_FRAME_SIZE, 16_383), "out of bounds"),
        (settings(setting::MAX_FRAME_SIZE, 1 << 24), "out of bounds"),
        (frame(kind::PUSH_PROMISE, headers, 1, &[0; 5]), "a push"),
        (frame(kind::PING, 0, 0, b"1234567"), "wrong length"),
        (frame(kind::GOAWAY, 0, 0, b"1234567"), "cut short"),
        (frame(kind::GOAWAY, 0, 1, &[0; 8]), "on a stream"),
        (Server::new().window(0, 0), "window of nothing"),
        (Server::new().window(1, 0), "window of nothing"),
        (Server::new().window(0, u32::MAX >> 1), "too large"),
        (Server::new().window(1, u32::MAX >> 1), "too large"),
        (Server::new().window(7, 1), "nobody opened"),
        (Server(vec![0x10, 0, 1, 0, 0, 0, 0, 0, 1]), "larger than it may be"),
    ] {
        let mut client = Client::greeted("echo:1", &[]);
        client.send(2);
        let lost = client.hear(&server.0).unwrap_err();
        assert_eq!(lost.kind, ErrorKind::Protocol);
        assert!(lost.text.contains(named), "{named}: {}", lost.text);
        assert!(lost.text.starts_with("grpc://127.0.0.1:7005 broke HTTP/2: "), "{}", lost.text);
        let mut buried = 0;
        client.wire.bury(|_| buried += 1);
        assert_eq!((buried, client.wire.held()), (2, 0), "{named}");
    }
}

#[test]
fn nothing_grows_without_bound() {
    let mut client = Client::greeted("echo:1", &[]);
    client.send(1);
    let pings = Server::new().frame(kind::PING, 0, 0, &[0; 8]).0.repeat(70_000);
    let lost = client.hear(&pings).unwrap_err();
    assert!(lost.text.contains("does not read"), "{}", lost.text);
    let mut client = Client::greeted("echo:1", &[]);
    client.send(1);
    client.hear(&Server::new().frame(kind::HEADERS, 0, 1, &[]).0).unwrap();
    let part = Server::new().frame(kind::CONTINUATION, 0, 1, &[0; 16_000]).0;
    let lost = client.hear(&part.repeat(5)).unwrap_err();
    assert!(lost.text.contains("too long"), "{}", lost.text);
}

#[test]
fn other_protocols_are_named() {
    for (bytes, named) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP/1"),
        (&[0, 0, 0, 9, 8, 0, 16, 3, 0], "not of HTTP/2"), // a framed reply
        (&[0, 0, 0, 4, flag::ACK, 0, 0, 0, 0], "not of HTTP/2"),
    ] {
        let mut client = Client::new("echo:1");
        let lost = client.hear(bytes).unwrap_err();
        assert!(lost.text.contains(named) && lost.text.contains("try tcp://"), "{}", lost.text);
    }
    let client = Client::new("echo:1");
    assert!(client.wire.end(client.target).text.contains("try tcp://"));
}

#[test]
fn the_end_after_an_answer_is_not_a_wrong_protocol() {
    let mut client = Client::greeted("echo:1", &[]);
    client.send(1);
    let first = client.exchange(0).1;
    client.hear(&Server::new().reply(1, &first).0).unwrap();
    assert!(client.wire.end(client.target).text.contains("is the server still running?"));
}

/// A conversation with all kinds of frames, and the verdicts that it comes to.
fn conversation() -> (Vec<u8>, Verdicts) {
    let client = Client::new("echo:300");
    let reply = |index| client.exchange(index).1;
    let (half, rest) = (reply(2)[..100].to_vec(), reply(2)[100..].to_vec());
    let date = [&[0x40, 4][..], b"date", &[3], b"Sun"].concat();
    let server = Server::new()
        .settings(&[(setting::MAX_CONCURRENT_STREAMS, 9), (setting::HEADER_TABLE_SIZE, 0)])
        .head(5)
        .reply(1, &reply(0))
        .frame(kind::PING, 0, 0, b"12345678")
        .data(5, &half)
        .frame(kind::HEADERS, 0, 3, &[&[STATUS_200][..], &date].concat())
        .frame(kind::CONTINUATION, flag::END_HEADERS, 3, &[0xbe])
        .window(0, 70_000)
        .data(3, &reply(1))
        .data(5, &rest)
        .trailers(5, 0)
        .trailers(3, 0)
        .frame(kind::RST_STREAM, 0, 7, &[0; 4])
        .goaway(9, 0)
        .reply(9, &reply(3));
    let verdicts = vec![
        (0, Ok(())),
        (2, Ok(())),
        (1, Ok(())),
        (3, Err(ErrorKind::StreamReset)),
        (5, Err(ErrorKind::Closed)),
        (4, Err(ErrorKind::WrongId)),
    ];
    (server.0, verdicts)
}

/// A client with six requests under way, five of them looked at.
fn asking() -> Client {
    let mut client = Client::new("echo:300");
    client.wire.peer.streams_max = 6;
    assert_eq!(client.send(6), 6);
    client
}

proptest! {
    #[test]
    fn cuts_make_no_difference(cuts in proptest::collection::vec(1_usize..400, 0..40)) {
        let (bytes, verdicts) = conversation();
        let mut client = asking();
        let mut rest = &bytes[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            client.hear(now).unwrap();
            rest = later;
        }
        client.hear(rest).unwrap();
        prop_assert_eq!(client.verdicts, verdicts);
    }

    #[test]
    fn rubbish_is_survived(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        tail: Vec<u8>,
    ) {
        let (mut bytes, _) = conversation();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(tail);
        let mut client = asking();
        let survived = client.hear(&bytes).is_ok();
        let settled = client.verdicts.len();
        let mut buried = 0;
        client.wire.bury(|_| buried += 1);
        prop_assert_eq!(settled + buried, 6, "each request is settled once: {}", survived);
    }

    #[test]
    fn frames_of_rubbish_are_survived(
        frames in proptest::collection::vec(
            (0_u8..10, any::<u8>(), 0_u32..14, proptest::collection::vec(any::<u8>(), 0..20)),
            0..30,
        ),
    ) {
        let mut client = asking();
        client.hear(&Server::new().settings(&[]).0).unwrap();
        for (kind, flags, stream, payload) in frames {
            if client.hear(&Server::new().frame(kind, flags, stream, &payload).0).is_err() {
                break;
            }
        }
        let settled = client.verdicts.len();
        let mut buried = 0;
        client.wire.bury(|_| buried += 1);
        prop_assert_eq!(settled + buried, 6);
    }
}
