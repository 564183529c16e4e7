//! Shutdown: what was read is answered, who is idle is let go, who does not listen is cut, and
//! nobody new comes in.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::Timeouts;

use crate::client::{block, compute, echo, framed, try_connect, wait};
use crate::server::{PATIENCE, eventually};

/// A drain that has to wait for this has failed.
const NEVER: Duration = Duration::from_mins(10);
/// A drain that ends by its timeout ends soon.
const SOON: Duration = Duration::from_millis(200);

for_every_model!(a_request_in_flight_is_answered, |model| {
    for slow in [wait(1, Duration::from_millis(200)), block(1, Duration::from_millis(200))] {
        let mut server = model.start_for(2, |config| config.drain_timeout = NEVER);
        let mut client = server.connect();
        client.send(&[slow]);
        server.has_in_progress(1);
        server.begin_drain();
        client.receive_ok(1);
        client.receive_eof();
        drop(client);
        server.drained();
    }
});

for_every_model!(serve_returns_after_the_last_answer_and_not_before, |model| {
    let mut server = model.start_for(2, |config| config.drain_timeout = NEVER);
    let mut client = server.connect();
    client.send(&[wait(1, Duration::from_millis(200)), echo(2, b"last")]);
    client.half_close();
    server.has_in_progress(1);
    server.drained();
    let now = server.stats.snapshot();
    assert_eq!((now.requests, now.in_progress), (2, 0));
    client.receive_ok(1);
    client.receive_ok(2);
    client.receive_eof();
});

for_every_model!(pipelined_requests_that_were_read_are_answered, |model| {
    let mut server = model.start_for(2, |config| config.drain_timeout = NEVER);
    let mut client = server.connect();
    let mut requests = vec![wait(0, Duration::from_millis(100))];
    requests.extend((1..100).map(|id| match id % 3 {
        0 => compute(id, 2),
        1 => wait(id, Duration::from_micros(10)),
        _ => echo(id, b"read with the first"),
    }));
    client.send_bytes(&framed(&requests));
    server.has_in_progress(1);
    server.begin_drain();
    for id in 0..100 {
        client.receive_ok(id);
    }
    client.receive_eof();
    drop(client);
    server.drained();
});

/// More than the sockets of both sides take together, as Linux bounds them (`tcp_wmem`, `tcp_rmem`),
/// with room to spare: what they had taken whole would be owed no more.
const LARGE_BYTES: usize = 48 * 1024 * 1024;

for_every_model!(requests_behind_a_large_reply_do_not_wait_for_their_client, |model| {
    let mut server = model.start_for(2, |config| {
        (config.drain_timeout, config.timeouts) = (NEVER, Timeouts::default());
        config.frame_bytes_max = 2 * LARGE_BYTES;
    });
    let client = server.connect();
    let mut requests = vec![echo(0, &vec![0; LARGE_BYTES])];
    requests.extend((1..100).map(|id| echo(id, b"read with the first")));
    client.send(&requests);
    // Its reply has begun, and is more than sockets hold.
    client.stream().peek(&mut [0]).expect("a reply begins");
    server.begin_drain();
    let mut replies = Vec::new();
    client.stream().read_to_end(&mut replies).expect("the server ends, and does not wait");
    assert!(replies.len() > LARGE_BYTES, "{} bytes", replies.len());
    drop(client);
    server.drained();
});

for_every_model!(idle_clients_are_let_go_at_once, |model| {
    let mut server = model.start_for(8, |config| config.drain_timeout = NEVER);
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.echoes(1, b"was here");
    }
    server.begin_drain();
    for client in &mut clients {
        client.receive_eof();
    }
    server.drained();
    assert_eq!(server.stats.snapshot().open, 0);
});

for_every_model!(clients_that_no_worker_has_taken_are_let_go_too, |model| {
    let mut server = model.start_for(2, |config| config.drain_timeout = NEVER);
    let clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    eventually("accepted", 8, || server.stats.snapshot().accepted);
    server.drained();
    for mut client in clients {
        client.receive_eof();
    }
});

for_every_model!(half_a_frame_does_not_hold_the_drain_up, |model| {
    let mut server = model.start_for(2, |config| config.drain_timeout = NEVER);
    let mut client = server.connect();
    let bytes = framed(&[echo(1, b"whole"), echo(2, b"never whole")]);
    client.send_bytes(&bytes[..bytes.len() - 1]);
    client.receive_ok(1);
    server.drained();
});

for_every_model!(a_client_that_never_reads_is_cut, |model| {
    let mut server = model.start_for(2, |config| config.drain_timeout = SOON);
    let client = server.connect();
    client.stream().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Until nothing moves any more: the server waits for this client, and it for the server.
    while client.try_send(&[echo(1, &vec![0; 1 << 20])]).is_ok() {}
    let began = Instant::now();
    server.drained();
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
});

for_every_model!(a_client_that_stays_after_its_answer_is_cut, |model| {
    let mut server = model.start_for(2, |config| config.drain_timeout = SOON);
    let mut client = server.connect();
    client.send(&[wait(1, Duration::from_millis(50))]);
    server.has_in_progress(1);
    server.begin_drain();
    client.receive_ok(1);
    client.receive_eof();
    server.drained();
});

for_every_model!(a_request_that_takes_longer_than_the_timeout_is_cut, |model| {
    for slow in [wait(1, Duration::from_mins(1)), block(1, Duration::from_secs(3))] {
        let mut server = model.start_for(2, |config| config.drain_timeout = SOON);
        let client = server.connect();
        client.send(&[slow]);
        server.has_in_progress(1);
        let began = Instant::now();
        server.drained();
        assert!(began.elapsed() >= SOON, "cut before its time");
    }
});

for_every_model!(nobody_new_comes_in, |model| {
    let mut server = model.start_for(2, |config| config.drain_timeout = NEVER);
    let mut client = server.connect();
    client.send(&[wait(1, Duration::from_millis(300))]);
    server.has_in_progress(1);
    server.begin_drain();
    // Those who came in the last moment may still be let in by the kernel, and are let go.
    eventually("connect", Some(ErrorKind::ConnectionRefused), || try_connect(server.address).err());
    client.receive_ok(1);
    drop(client);
    server.drained();
    TcpListener::bind(server.address).expect("the port is free");
});

for_every_model!(a_server_that_is_told_to_stop_before_it_starts_stops, |model| {
    let mut server = model.start();
    server.drained();
    assert_eq!(try_connect(server.address).err(), Some(ErrorKind::ConnectionRefused));
});
