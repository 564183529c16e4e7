//! The gRPC transport against HTTP/2 that no library would write: a server of this file, frame by
//! frame.

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use common::{Plan, Request, Service, frame};
use prost::Message;
use support::ran;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const ACK: u8 = 1;

/// A call whose request is whole.
struct Call {
    stream: u32,
    /// The right message, prefix included.
    reply: Vec<u8>,
    /// How many there were before it on its connection.
    number: u32,
}

/// What the server says to a call.
type Answer = fn(&Call) -> Vec<u8>;

fn bytes_of(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn serve(settings: &'static [(u16, u32)], answer: Answer) -> String {
    serve_some(settings, answer, u32::MAX)
}

/// The same, but each connection is closed after so many calls.
fn serve_some(settings: &'static [(u16, u32)], answer: Answer, calls_max: u32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || converse(stream.unwrap(), settings, answer, calls_max));
        }
    });
    url
}

/// Nothing at the end of the connection.
fn converse(
    mut stream: TcpStream,
    settings: &[(u16, u32)],
    answer: Answer,
    calls_max: u32,
) -> Option<()> {
    let setting =
        |(number, value): &(u16, u32)| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let settings: Vec<u8> = settings.iter().flat_map(setting).collect();
    stream.set_nodelay(true).ok()?;
    stream.read_exact(&mut [0; 24]).ok()?; // the preface
    stream.write_all(&bytes_of(SETTINGS, 0, 0, &settings)).ok()?;
    let mut requests: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut number = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).ok()?;
        let [.., kind, flags, a, b, c, d] = head;
        let id = u32::from_be_bytes([a, b, c, d]);
        match kind {
            SETTINGS if flags & ACK == 0 => {
                stream.write_all(&bytes_of(SETTINGS, ACK, 0, &[])).ok()?;
            }
            PING => assert_eq!((flags, &payload[..]), (ACK, &b"12345678"[..])),
            DATA => {
                let request = requests.entry(id).or_default();
                request.extend_from_slice(&payload);
                if flags & END_STREAM != 0 {
                    let reply = reply_to(&requests.remove(&id).unwrap());
                    stream.write_all(&answer(&Call { stream: id, reply, number })).ok()?;
                    number += 1;
                    if number == calls_max {
                        return None;
                    }
                } else {
                    let more = u32::try_from(payload.len()).unwrap().to_be_bytes();
                    stream.write_all(&bytes_of(WINDOW_UPDATE, 0, 0, &more)).ok()?;
                    stream.write_all(&bytes_of(WINDOW_UPDATE, 0, id, &more)).ok()?;
                }
            }
            _ => {}
        }
    }
}

fn reply_to(request: &[u8]) -> Vec<u8> {
    let Plan::Reply(response) = Service::new().plan(Request::decode(&request[5..]).unwrap(), None)
    else {
        panic!("not an echo")
    };
    let mut reply = vec![0];
    frame::encode(&response, &mut reply);
    reply
}

/// `:status: 200`, which every table has.
const OK: &[u8] = &[0x88];

fn right(call: &Call) -> Vec<u8> {
    let trailers = [&[0, 11][..], b"grpc-status", b"\x010"].concat();
    let message = call.reply.chunks(16_384).map(|part| bytes_of(DATA, 0, call.stream, part));
    [
        bytes_of(HEADERS, END_HEADERS, call.stream, OK),
        message.collect::<Vec<_>>().concat(),
        bytes_of(HEADERS, END_HEADERS | END_STREAM, call.stream, &trailers),
    ]
    .concat()
}

#[test]
fn a_server_that_uses_all_that_a_server_may() {
    let url = serve(&[(1, 0), (99, 99)], |call| {
        let id = call.stream;
        // Literals in Huffman code, added to the table by the first call and then named; in pieces.
        let trailers: &[u8] = match call.number {
            0 => &[0x40, 0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f, 0x81, 0x07],
            _ => &[0xbe],
        };
        let (one, two) = call.reply.split_at(call.number as usize % call.reply.len());
        let padded = [&[3], two, &[0; 3]].concat();
        [
            bytes_of(PING, 0, 0, b"12345678"),
            bytes_of(HEADERS, 0, id, &[]),
            bytes_of(CONTINUATION, END_HEADERS, id, OK),
            bytes_of(0x42, 0xff, id, b"a kind that nobody knows"),
            bytes_of(DATA, 0, id, one),
            bytes_of(DATA, PADDED, id, &padded),
            bytes_of(HEADERS, END_STREAM, id, &trailers[..trailers.len() / 2]),
            bytes_of(CONTINUATION, END_HEADERS, id, &trailers[trailers.len() / 2..]),
        ]
        .concat()
    });
    for load in [&["-c", "3", "-p", "5"][..], &["-c", "3", "-r", "2000"]] {
        let run = ran(&url, &[load, &["-n", "600"]].concat());
        run.adds_up();
        assert_eq!((run.count("ok"), run.exit_code), (600, Some(0)), "{}", run.stderr);
    }
}

#[test]
fn large_requests_through_small_windows() {
    let url = serve(&[(4, 100), (3, 2)], right);
    let run = ran(&url, &["-c", "2", "-p", "5", "-n", "40", "--work", "echo:30000,echo:10"]);
    run.adds_up();
    assert_eq!((run.count("ok"), run.exit_code), (40, Some(0)), "{}", run.stderr);
}

/// Answers ten calls on a connection, the tenth with a farewell, and none after it.
fn ten_and_goodbye(call: &Call) -> Vec<u8> {
    match call.number {
        0..9 => right(call),
        9 => {
            let last = [call.stream.to_be_bytes(), [0; 4]].concat();
            [bytes_of(GOAWAY, 0, 0, &last), right(call)].concat()
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_goodbye_is_followed_to_a_new_connection() {
    // The server waits for the end of the connection, or does not.
    for calls_max in [u32::MAX, 10] {
        let url = serve_some(&[], ten_and_goodbye, calls_max);
        let run = ran(&url, &["-c", "2", "-p", "1", "-n", "200"]);
        run.adds_up();
        assert_eq!((run.count("ok"), run.exit_code), (200, Some(0)), "{}", run.stderr);
        assert!((20..=22).contains(&run.count("connections_opened")), "{:#}", run.json);
    }
}

#[test]
fn what_was_not_looked_at_before_a_goodbye_is_an_error() {
    let url = serve(&[], ten_and_goodbye);
    for load in [&["-c", "2", "-p", "4"][..], &["-c", "2", "-r", "20000"]] {
        let run = ran(&url, &[load, &["-n", "200"]].concat());
        run.adds_up();
        let (ok, closed) = (run.count("ok"), run.error("closed"));
        assert_eq!((ok + closed, run.exit_code), (200, Some(0)), "{:#}", run.json);
        assert!(ok >= 20, "of those of a connection, ten are answered: {:#}", run.json);
    }
    let run = ran(&url, &["-c", "2", "-p", "4", "-n", "200"]);
    assert!(run.error("closed") > 0, "{:#}", run.json);
}

#[test]
fn requests_that_a_server_does_not_allow_yet_go_to_the_next_connection() {
    // One stream at a time, and a farewell after ten: the others were never sent, so none fails.
    let url = serve(&[(3, 1)], ten_and_goodbye);
    let run = ran(&url, &["-c", "2", "-p", "4", "-n", "200"]);
    run.adds_up();
    assert_eq!((run.count("ok"), run.exit_code), (200, Some(0)), "{:#}", run.json);
    assert!((20..=22).contains(&run.count("connections_opened")), "{:#}", run.json);
}

#[test]
fn a_server_that_gives_up_is_quoted() {
    let url = serve(&[], |_| bytes_of(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]));
    let run = ran(&url, &["-c", "2", "-n", "20"]);
    run.adds_up();
    assert_eq!((run.error("closed"), run.exit_code), (2, Some(1)), "{:#}", run.json);
    assert!(run.stderr.contains("GOAWAY with error code 11"), "{}", run.stderr);
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_what() {
    let url = serve(&[], |call| bytes_of(HEADERS, END_HEADERS, call.stream, &[0xbe]));
    let run = ran(&url, &["-c", "2", "-n", "20"]);
    run.adds_up();
    assert_eq!((run.error("protocol"), run.exit_code), (2, Some(1)), "{:#}", run.json);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("an index that is not in the table"), "{}", run.stderr);
}
