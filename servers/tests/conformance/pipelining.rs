//! Many requests under way on one connection.
//! Every answer comes, in order, whenever the reader gets to it, and none is held back by a
//! later request.

use std::thread;
use std::time::Duration;

use common::Request;

use crate::client::{Client, block, compute, echo, framed, wait};
use crate::server::eventually;

for_every_model!(ten_thousand_with_a_late_reader, |model| {
    let server = model.start();
    let mut client = server.connect();
    let requests: Vec<_> = (0..10_000_u64).map(|id| echo(id, &id.to_be_bytes()[4..])).collect();
    client.send(&requests);
    // Only now does anybody read.
    for id in 0..10_000_u64 {
        assert_eq!(client.receive_ok(id), id.to_be_bytes()[4..]);
    }
    client.half_close();
    client.receive_eof();
    eventually("requests", 10_000, || server.stats.snapshot().requests);
});

for_every_model!(more_answers_than_the_sockets_hold, |model| {
    const REQUESTS: u64 = 2500;
    let server = model.start();
    let mut slow = server.connect();
    // Many to a write, and now and then one that takes many writes: 65 MB in all.
    let payload_bytes = |id: u64| if id % 100 == 99 { 1_000_000 } else { 16_000 };
    let payload = move |id: u64| vec![id.to_le_bytes()[0]; payload_bytes(id)];
    let sender = {
        let stream = slow.stream().try_clone().unwrap();
        thread::spawn(move || {
            let client = Client::over(stream);
            (0..REQUESTS).for_each(|id| client.send(&[echo(id, &payload(id))]));
            client.half_close();
        })
    };
    // A client that does not read holds nobody else up, and is not answered without end.
    let mut other = server.connect();
    (0..100).for_each(|id| other.echoes(id, b"meanwhile"));
    assert!(server.stats.snapshot().requests < REQUESTS, "the server buffers without bound");
    for id in 0..REQUESTS {
        assert!(slow.receive_ok(id) == payload(id), "answer {id} has another payload");
    }
    slow.receive_eof();
    sender.join().unwrap();
});

for_every_model!(half_close_is_answered, |model| {
    let server = model.start();
    let quick: Vec<Request> = (0..50).map(|id| echo(id, b"half")).collect();
    let mixed: Vec<Request> = (0..50)
        .map(|id| match id % 4 {
            0 => wait(id, Duration::from_millis(1)),
            1 => compute(id, 2),
            2 => block(id, Duration::from_millis(1)),
            _ => echo(id, b"half"),
        })
        .collect();
    for requests in [quick, mixed] {
        let mut client = server.connect();
        client.send(&requests);
        client.half_close();
        for id in 0..50 {
            client.receive_ok(id);
        }
        client.receive_eof();
    }
    eventually("open connections", 0, || server.stats.snapshot().open);
});

for_every_model!(half_close_long_after_the_last_request, |model| {
    let server = model.start();
    let mut client = server.connect();
    client.send(&[wait(1, Duration::from_millis(50))]);
    server.has_in_progress(1);
    client.half_close();
    client.receive_ok(1);
    client.receive_eof();
});

for_every_model!(answers_do_not_wait_for_a_slower_request_behind_them, |model| {
    let server = model.start();
    let slow = Duration::from_secs(1);
    let mut clients = [wait(2, slow), block(2, slow)].map(|slow| {
        let client = server.connect();
        client.send(&[echo(1, b"quick"), slow]);
        client
    });
    for client in &mut clients {
        client.receive_ok(1);
    }
    // Had the answers waited, nothing would be in progress by now.
    server.has_in_progress(2);
    clients.into_iter().for_each(Client::reset);
});

for_every_model!(one_request_of_a_connection_is_carried_out_at_a_time, |model| {
    let server = model.start();
    let mut client = server.connect();
    let requests: Vec<_> =
        (0..20).flat_map(|id| [wait(id, Duration::from_millis(1)), compute(id, 2)]).collect();
    client.send_bytes(&framed(&requests));
    for id in 0..20 {
        client.receive_ok(id);
        client.receive_ok(id);
    }
    assert_eq!(server.stats.snapshot().in_progress_peak, 1);
});
