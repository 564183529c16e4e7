//! Bytes arrive cut anywhere, or are no requests at all.
//! However they are cut the answers are the same, and what is no request costs one answer.

use std::io::Write;
use std::thread;
use std::time::Duration;

use common::{Code, Request, Work, job, users};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;

use crate::client::{Client, compute, echo, framed, request, wait};
use crate::server::eventually;

for_every_model!(every_split_point, |model| {
    let server = model.start();
    let mut client = server.connect();
    let bytes = framed(&[echo(1, b"one"), echo(2, &[7; 20])]);
    for cut in 0..=bytes.len() {
        // The answer to a request that stands before the cut says that the part was read.
        let first = [framed(&[echo(u64::MAX, b"barrier")]), bytes[..cut].to_vec()].concat();
        client.send_bytes(&first);
        client.receive_ok(u64::MAX);
        client.send_bytes(&bytes[cut..]);
        assert_eq!(client.receive_ok(1), b"one", "cut at {cut}");
        assert_eq!(client.receive_ok(2), [7; 20], "cut at {cut}");
    }
});

for_every_model!(byte_by_byte, |model| {
    let server = model.start();
    let mut client = server.connect();
    let bytes = framed(&[echo(1, b"one"), wait(2, Duration::from_micros(1)), compute(3, 3)]);
    for byte in bytes {
        let before = server.stats.snapshot().reads;
        client.send_bytes(&[byte]);
        // Else the kernel would gather what is sent too fast.
        eventually("read", true, || server.stats.snapshot().reads > before);
    }
    assert_eq!(client.receive_ok(1), b"one");
    client.receive_ok(2);
    assert_eq!(client.receive_ok(3), job::digest(3, 3));
});

for_every_model!(any_requests_in_any_pieces, |model| {
    let server = model.start();
    let config = Config { cases: 8, failure_persistence: None, ..Config::default() };
    let requests = proptest::collection::vec(any_request(), 1..40);
    let pieces_bytes = proptest::collection::vec(1_usize..3000, 1..40);
    TestRunner::new(config)
        .run(&(requests, pieces_bytes), |(requests, pieces_bytes)| {
            send_in_pieces(&server.connect(), &framed(&requests), &pieces_bytes)
                .for_each_answer(&requests);
            Ok(())
        })
        .unwrap();
});

fn any_request() -> impl Strategy<Value = Request> {
    let work = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Work::Echo),
        1 => (0_u64..2000).prop_map(Work::WaitUs),
        1 => (0_u64..2000).prop_map(Work::BlockUs),
        1 => (1_u32..5).prop_map(Work::ComputeRounds),
        1 => (1_u32..=users::USERS).prop_map(|id| Work::GetUser(id.to_string())),
    ];
    (any::<u64>(), work).prop_map(|(id, work)| request(id, work))
}

struct Answers(Client);

fn send_in_pieces(client: &Client, bytes: &[u8], pieces_bytes: &[usize]) -> Answers {
    let mut rest = bytes;
    for piece_bytes in pieces_bytes.iter().cycle() {
        let (piece, later) = rest.split_at(rest.len().min(*piece_bytes));
        client.send_bytes(piece);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    client.half_close();
    Answers(Client::over(client.stream().try_clone().unwrap()))
}

impl Answers {
    fn for_each_answer(mut self, requests: &[Request]) {
        for request in requests {
            let payload = self.0.receive_ok(request.id);
            let expected = match request.work.as_ref().unwrap() {
                Work::Echo(payload) => payload.clone(),
                Work::ComputeRounds(rounds) => job::digest(request.id, *rounds).to_vec(),
                Work::GetUser(id) => users::user(id.parse().unwrap()).unwrap().encode_to_vec(),
                Work::WaitUs(_) | Work::BlockUs(_) => Vec::new(),
            };
            assert_eq!(payload, expected);
        }
        self.0.receive_eof();
    }
}

/// What people send to the wrong port, and what is a frame but no message.
const FOREIGN: [(&[u8], Code); 5] = [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", Code::ResourceExhausted),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Code::ResourceExhausted),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Code::ResourceExhausted),
    (b"\x00\x00\x00\x02\xff\xff", Code::InvalidArgument),
    (b"\x00\x00\x00\x04\x52\x7f\x00\x00", Code::InvalidArgument),
];

for_every_model!(foreign_bytes_are_answered_once_and_the_connection_ends, |model| {
    let server = model.start();
    for (count, (bytes, code)) in (1..).zip(FOREIGN) {
        let mut client = server.connect();
        client.send_bytes(bytes);
        client.receive_error(0, code);
        client.receive_eof();
        drop(client);
        server.connect().echoes(1, b"others do not notice");
        eventually("failed", count, || server.stats.snapshot().failed);
    }
});

for_every_model!(earlier_requests_are_answered_before_the_error, |model| {
    let server = model.start();
    for (bytes, code) in FOREIGN {
        let mut client = server.connect();
        let earlier = framed(&[echo(1, b"a"), wait(2, Duration::from_millis(5)), echo(3, b"b")]);
        client.send_bytes(&[earlier, bytes.to_vec(), framed(&[echo(4, b"after")])].concat());
        for id in 1..=3 {
            client.receive_ok(id);
        }
        client.receive_error(0, code);
        client.receive_eof();
    }
});

for_every_model!(an_error_before_a_half_close_is_answered, |model| {
    let server = model.start();
    for (bytes, code) in FOREIGN {
        let mut client = server.connect();
        client.send_bytes(bytes);
        client.half_close();
        client.receive_error(0, code);
        client.receive_eof();
    }
});

for_every_model!(a_peer_that_never_stops_after_an_error_is_cut, |model| {
    const MEBIBYTES_MAX: usize = 256;
    let server = model.start();
    let mut client = server.connect();
    client.send_bytes(FOREIGN[0].0);
    let mut stream = client.stream().try_clone().unwrap();
    let flood = thread::spawn(move || {
        let mebibyte = vec![0xee; 1 << 20];
        (0..MEBIBYTES_MAX).try_for_each(|_| stream.write_all(&mebibyte))
    });
    client.receive_error(0, Code::ResourceExhausted);
    client.receive_eof();
    flood.join().unwrap().expect_err("the server took it all");
    eventually("open connections", 0, || server.stats.snapshot().open);
});

for_every_model!(half_a_frame_and_then_the_end_is_just_an_end, |model| {
    let server = model.start();
    let mut client = server.connect();
    let bytes = framed(&[echo(1, b"whole"), echo(2, b"never whole")]);
    client.send_bytes(&bytes[..bytes.len() - 1]);
    client.half_close();
    client.receive_ok(1);
    client.receive_eof();
});
