//! Bytes that are no requests, and requests that come three bytes at a time.

use std::io::Read;
use std::time::Duration;

use common::{Code, Response};

use crate::client::{compute, echo, wait};
use crate::gauge::Growth;
use crate::http2::{self, End};
use crate::matrix::{Ground, Record};
use crate::patience::PATIENCE;
use crate::peer::{Peer, Wire};

const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const NOISE: &[u8] = b"\xc3\x9e\x07\x51\xb8\x2f\xea\x66\x1d\x90\x44\xf7\x0b\xd5\x38\xac";
/// A field of bytes whose length goes beyond the message.
const MALFORMED: &[u8] = b"\x52\x7f\x00\x00";

/// How the peer hears that its bytes are none of the contract.
enum Answer {
    /// One response to nobody's request, then the end.
    Error(Code),
    /// The connection closes: HTTP/2 has not begun, or has no way to go on.
    Close,
    /// A status ends the stream; the connection is in order.
    Status,
}

pub(super) fn foreign_bytes(ground: &Ground, record: &mut Record) {
    /// Of each kind, and all of them at once: one alone would be less than a page.
    const CONNECTIONS: usize = 20;
    let server = ground.serve(&[]);
    let bystander = ground.bystander(&server);
    let growth = Growth::of(&server);
    let mut peers = Vec::new();
    for (bytes, answer) in foreign(ground.wire) {
        for _ in 0..CONNECTIONS {
            let mut peer = ground.mute(&server);
            peer.send_bytes(&bytes);
            heard(&mut peer, &answer);
            peers.push(peer);
        }
    }
    let kib = growth.peak_mib() * 1024.0 / peers.len() as f64;
    record.at_most("growth a connection", kib, "KiB", 64.0, 64.0);
    drop(peers);
    record.bystander(bystander.leave());
}

#[track_caller]
fn heard(peer: &mut Peer, answer: &Answer) {
    match answer {
        Answer::Error(code) => {
            peer.receive_error(0, *code);
            let more = peer.closed_within(PATIENCE).expect("the server closes");
            assert_eq!(more, 0, "more bytes after the error");
        }
        Answer::Close => drop(peer.closed_within(PATIENCE).expect("the server closes")),
        Answer::Status => assert_eq!(peer.receive_end(), End::Status),
    }
}

fn foreign(wire: Wire) -> Vec<(Vec<u8>, Answer)> {
    let message = |prefix: &[u8], bytes: &[u8]| [prefix, bytes].concat();
    match wire {
        Wire::Framed => {
            let too_large = || Answer::Error(Code::ResourceExhausted);
            vec![
                (HTTP1.to_vec(), too_large()),
                (TLS.to_vec(), too_large()),
                (NOISE.to_vec(), too_large()),
                (message(b"\x00\x40\x00\x01", b"\x08\x01"), too_large()),
                (message(b"\0\0\0\x04", MALFORMED), Answer::Error(Code::InvalidArgument)),
            ]
        }
        Wire::Grpc => {
            let call = |bytes: Vec<u8>| [wire.greeting(), http2::data(1, &bytes)].concat();
            let large_frame = b"\xff\xff\xff\0\0\0\0\0\x01".to_vec();
            vec![
                (HTTP1.to_vec(), Answer::Close),
                (TLS.to_vec(), Answer::Close),
                (NOISE.repeat(2), Answer::Close),
                ([wire.greeting(), large_frame].concat(), Answer::Close),
                (call(message(b"\0\x00\x40\x00\x01", b"\x08\x01")), Answer::Status),
                (call(message(b"\0\0\0\0\x04", MALFORMED)), Answer::Status),
            ]
        }
    }
}

pub(super) fn three_bytes_at_a_time(ground: &Ground, record: &mut Record) {
    const REQUESTS: u64 = 60;
    const SLICE_BYTES: usize = 3;
    let server = ground.serve(&[]);
    let bystander = ground.bystander(&server);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|id| match id % 4 {
            0 => compute(id, 2),
            1 => wait(id, Duration::from_micros(100)),
            _ => echo(id, &vec![u8::try_from(id).unwrap(); usize::try_from(id).unwrap()]),
        })
        .collect();
    let expected: Vec<_> = requests.iter().map(|request| reply(ground.wire, request)).collect();
    let mut peer = ground.mute(&server);
    let bytes = [ground.wire.greeting(), ground.wire.requests(&requests)].concat();
    for slice in bytes.chunks(SLICE_BYTES) {
        peer.send_bytes(slice);
    }
    if ground.is_framed() {
        let expected = expected.concat();
        let mut replies = vec![0; expected.len()];
        for slice in replies.chunks_mut(SLICE_BYTES) {
            peer.stream().read_exact(slice).expect("a slice of the replies");
        }
        assert!(replies == expected, "other bytes came back");
    } else {
        for expected in expected {
            assert!(ground.wire.message(&peer.receive()) == expected, "another reply came back");
        }
    }
    record.figure("replies, byte for byte", REQUESTS as f64, "");
    // Exactly once: behind the last reply comes the next one, and nothing between.
    peer.send(&[echo(REQUESTS, b"next")]);
    assert_eq!(peer.receive_ok(REQUESTS), b"next");
    record.bystander(bystander.leave());
}

/// What `request` is to be answered by, as bytes.
fn reply(wire: Wire, request: &common::Request) -> Vec<u8> {
    let payload = match request.work.clone().expect("there is work") {
        common::Work::Echo(payload) => payload,
        common::Work::ComputeRounds(rounds) => common::job::digest(request.id, rounds).to_vec(),
        common::Work::WaitUs(_) | common::Work::BlockUs(_) | common::Work::GetUser(_) => Vec::new(),
    };
    wire.message(&Response::ok(request.id, payload))
}
