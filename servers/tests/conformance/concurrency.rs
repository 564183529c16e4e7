//! How many requests a model has in progress at once: the difference that the models are about.
//! The counters show it, so that no clock has to.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{block, compute, echo, wait};
use crate::server::eventually;

const CLIENTS: u64 = 64;

for_every_model!(waits_of_all_clients_at_once, |model| {
    // A pool's workers are all the places to wait that it has: there the waits queue up.
    let (at_once, duration) = if model.is_pool() {
        (model.workers as u64, Duration::from_millis(10))
    } else {
        (CLIENTS, Duration::from_millis(300))
    };
    let server = model.start();
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|id| {
            let client = server.connect();
            client.send(&[wait(id, duration)]);
            client
        })
        .collect();
    for (id, mut client) in (0..).zip(clients) {
        client.receive_ok(id);
    }
    let one_by_one = duration * u32::try_from(CLIENTS).unwrap();
    assert!(
        model.is_pool() || began.elapsed() < one_by_one / 2,
        "{:?}: one after another",
        began.elapsed()
    );
    assert_eq!(server.stats.snapshot().in_progress_peak, at_once);
    eventually("in progress", 0, || server.stats.snapshot().in_progress);
});

for_every_model!(blocked_clients_do_not_hold_the_others_up, |model| {
    let server = model.start_for(9, |_| ());
    // One fewer than a pool has workers: the last one is for the others.
    let blocked: Vec<_> = (0..if model.is_pool() { 1 } else { 8 })
        .map(|id| {
            let client = server.connect();
            client.send(&[block(id, Duration::from_millis(500))]);
            client
        })
        .collect();
    server.has_in_progress(blocked.len() as u64);
    let mut other = server.connect();
    for id in 0..20 {
        other.echoes(id, b"meanwhile");
        other.send(&[compute(id, 10)]);
        other.receive_ok(id);
    }
    assert_eq!(server.stats.snapshot().in_progress, blocked.len() as u64, "it was held up");
    for (id, mut client) in (0..).zip(blocked) {
        client.receive_ok(id);
    }
});

for_every_model!(many_clients_get_their_own_answers, |model| {
    const ROUNDS: u64 = 50;
    let server = model.start_for(16, |_| ());
    let talk = |client_index: u64| {
        let mut client = server.connect();
        for id in (client_index * ROUNDS)..(client_index + 1) * ROUNDS {
            let requests = [echo(id, &id.to_be_bytes()), wait(id, Duration::from_micros(id % 500))];
            client.send(&requests);
            assert_eq!(client.receive_ok(id), id.to_be_bytes());
            client.receive_ok(id);
        }
    };
    thread::scope(|scope| {
        for client_index in 0..16 {
            scope.spawn(move || talk(client_index));
        }
    });
    eventually("requests", 16 * ROUNDS * 2, || server.stats.snapshot().requests);
});
