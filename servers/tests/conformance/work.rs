//! What each kind of work answers, up to its limit and one beyond.
//! Errors cost the request and never the connection.

use std::time::{Duration, Instant};

use common::service::{BLOCK_US_MAX, COMPUTE_ROUNDS_MAX, WAIT_US_MAX};
use common::{Code, Request, Work, config, job};
use prost::Message;

use crate::client::{Client, block, compute, echo, request, wait};
use crate::server::eventually;

for_every_model!(echo_of_few_bytes, |model| {
    let server = model.start();
    let mut client = server.connect();
    for (id, length) in [(0, 0), (1, 1), (u64::MAX, 1000)] {
        client.echoes(id, &vec![0xa5; length]);
    }
});

for_every_model!(echo_of_the_frame_limit, |model| {
    let server = model.start();
    let mut client = server.connect();
    client.echoes(1, &payload_of_message(common::frame::FRAME_BYTES_MAX_DEFAULT));
    client.echoes(2, b"and the connection goes on");
});

for_every_model!(one_byte_above_the_frame_limit_is_refused, |model| {
    const FRAME_BYTES_MAX: usize = 1000;
    let server = model.start_for(2, |config| config.frame_bytes_max = FRAME_BYTES_MAX);
    let mut client = server.connect();
    client.echoes(1, &payload_of_message(FRAME_BYTES_MAX));
    client.send(&[echo(1, &payload_of_message(FRAME_BYTES_MAX + 1))]);
    let message = client.receive_error(0, Code::ResourceExhausted);
    assert!(message.contains("1001") && message.contains("1000"), "{message}");
    client.receive_eof();
});

/// So many bytes that the request they are echoed by has `message_bytes`.
fn payload_of_message(message_bytes: usize) -> Vec<u8> {
    let mut payload = vec![7; message_bytes];
    while echo(1, &payload).encoded_len() > message_bytes {
        payload.pop();
    }
    assert_eq!(echo(1, &payload).encoded_len(), message_bytes);
    payload
}

for_every_model!(each_kind_of_work_is_done, |model| {
    let server = model.start();
    each_kind_is_done_on(&mut server.connect());
});

for_every_model!(inline_on_the_loop_the_answers_are_the_same, |model| {
    let server = model.start_for(2, |config| config.offload = config::Offload::Off);
    each_kind_is_done_on(&mut server.connect());
});

fn each_kind_is_done_on(client: &mut Client) {
    let nap = Duration::from_millis(20);
    for slow in [wait(1, nap), block(1, nap)] {
        let began = Instant::now();
        client.send(&[slow]);
        assert_eq!(client.receive_ok(1), b"");
        assert!(began.elapsed() >= nap, "answered too early");
    }
    client.send(&[wait(2, Duration::ZERO), block(3, Duration::ZERO)]);
    client.receive_ok(2);
    client.receive_ok(3);
    for (id, rounds) in [(0, 1), (42, 2), (u64::MAX, 500)] {
        client.send(&[compute(id, rounds)]);
        assert_eq!(client.receive_ok(id), job::digest(id, rounds));
    }
    client.echoes(4, b"echo");
}

for_every_model!(beyond_a_limit_the_request_is_refused_and_the_connection_goes_on, |model| {
    let server = model.start();
    let mut client = server.connect();
    let rounds = u32::try_from(COMPUTE_ROUNDS_MAX + 1).unwrap();
    for (work, field, value, limit) in [
        (Work::WaitUs(WAIT_US_MAX + 1), "wait_us", WAIT_US_MAX + 1, WAIT_US_MAX),
        (Work::WaitUs(u64::MAX), "wait_us", u64::MAX, WAIT_US_MAX),
        (Work::BlockUs(BLOCK_US_MAX + 1), "block_us", BLOCK_US_MAX + 1, BLOCK_US_MAX),
        (Work::ComputeRounds(rounds), "compute_rounds", rounds.into(), COMPUTE_ROUNDS_MAX),
        (Work::ComputeRounds(0), "compute_rounds", 0, 1),
    ] {
        client.send(&[request(9, work)]);
        let message = client.receive_error(9, Code::InvalidArgument);
        for part in [field.to_owned(), value.to_string(), limit.to_string()] {
            assert!(message.contains(&part), "{message:?} does not name {part}");
        }
    }
    client.send(&[Request { id: 10, timeout_ms: 0, work: None }]);
    let message = client.receive_error(10, Code::InvalidArgument);
    assert!(message.contains("work"), "{message}");
    client.echoes(11, b"still here");
    eventually("failed", 6, || server.stats.snapshot().failed);
});

for_every_model!(what_a_newer_client_sends_besides_is_ignored, |model| {
    let server = model.start();
    let mut client = server.connect();
    let mut message = echo(5, b"old").encode_to_vec();
    message.extend_from_slice(b"\xa2\x06\x03new"); // field 100, bytes
    let prefix = u32::try_from(message.len()).unwrap().to_be_bytes();
    client.send_bytes(&[prefix.as_slice(), &message].concat());
    assert_eq!(client.receive_ok(5), b"old");
});
