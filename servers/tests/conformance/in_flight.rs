//! More requests than the server was told to carry out at a time: they wait for their turn, or
//! are told at once that there is no room; which of the two, the operator has said.

use std::time::Duration;

use common::config::{Handoff, Overload};
use common::{Code, Config, Request, Timeouts};
use tokio::task::JoinSet;

use crate::client::{Client, block, compute, echo, wait};
use crate::grpc;
use crate::models::Variant;
use crate::server::{Server, eventually};

const PLACES: usize = 2;
/// Connections are dealt to event loops by chance: so many, that none gets next to nothing.
const CROWD: u64 = 30;

fn start(model: Variant, places: usize, overload: Overload) -> Server {
    let adjust = |config: &mut Config| {
        (config.in_flight_max, config.overload) = (places, overload);
        // No loop is to wake up for anything but what these tests are about.
        config.timeouts = Timeouts::default();
    };
    let server = model.start_for(usize::try_from(2 * CROWD).unwrap(), adjust);
    // Once one of several loops answers, all of them listen.
    server.connect().echoes(0, b"up");
    server
}

/// As many clients as make a crowd, each of which has sent a request of its own.
fn crowd(server: &Server, request: impl Fn(u64) -> Request) -> Vec<(u64, Client)> {
    let clients = (1..=CROWD).map(|id| {
        let client = server.connect();
        client.send(&[request(id)]);
        (id, client)
    });
    clients.collect()
}

fn in_flight_or_waiting(server: &Server) -> u64 {
    let now = server.stats.snapshot();
    now.in_progress + now.queued
}

for_every_model!(no_more_are_carried_out_than_there_are_places, |model| {
    const ROUNDS: u64 = 3;
    let server = start(model, PLACES, Overload::Wait);
    let short = Duration::from_millis(2);
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &clients {
        for id in 0..ROUNDS {
            client.send(&[wait(id, short), compute(id, 100), echo(id, b"x"), block(id, short)]);
        }
    }
    for client in &mut clients {
        for id in (0..ROUNDS).flat_map(|id| [id; 4]) {
            client.receive_ok(id);
        }
    }
    let now = server.stats.snapshot();
    assert!((1..=PLACES as u64).contains(&now.in_progress_peak), "{now:?}");
    assert_eq!((now.in_progress, now.queued, now.rejected), (0, 0, 0));
});

for_every_model!(who_pipelines_does_not_keep_the_others_out, |model| {
    const MANY: u64 = 200;
    let server = start(model, 1, Overload::Wait);
    // Two, because each of two loops has a place of its own.
    let greedy: Vec<_> = (0..2)
        .map(|_| {
            let client = server.connect();
            let requests: Vec<_> = (0..MANY).map(|id| wait(id, Duration::from_millis(5))).collect();
            client.send(&requests);
            client
        })
        .collect();
    server.has_in_progress_at_least(1);
    let mut other = server.connect();
    other.send(&[wait(1, Duration::from_millis(1))]);
    other.receive_ok(1);
    let answered = server.stats.snapshot().requests;
    assert!(answered < MANY / 2, "{answered} requests of others came first");
    drop(greedy);
});

for_every_model!(what_waits_in_line_beyond_its_patience_is_not_begun, |model| {
    if model.handoff == Handoff::Ready && model.is_pool() {
        return; // nobody has read the request: its client's patience begins when a worker does
    }
    let server = start(model, 1, Overload::Wait);
    let fillers = crowd(&server, |id| block(id, Duration::from_millis(100)));
    eventually("in flight or in line", CROWD, || in_flight_or_waiting(&server));
    let minute = Duration::from_mins(1);
    let late: Vec<_> = [wait(1, minute), compute(2, 1_000_000), block(3, minute)]
        .map(|request| {
            let client = server.connect();
            let id = request.id;
            client.send(&[Request { timeout_ms: 1, ..request }, echo(4, b"and goes on")]);
            (id, client)
        })
        .into();
    for (id, mut client) in late {
        client.receive_error(id, Code::DeadlineExceeded);
        assert_eq!(client.receive_ok(4), b"and goes on");
    }
    for (id, mut client) in fillers {
        client.receive_ok(id);
    }
});

for_every_model!(those_who_are_too_late_do_not_stop_the_line, |model| {
    let server = start(model, 1, Overload::Wait);
    let mut first = server.connect();
    first.send(&[block(1, Duration::from_millis(100))]);
    server.has_in_progress(1);
    // When their turn comes there is nothing to carry out, and so nothing that ends either.
    let short = Duration::from_millis(1);
    let late = Request { timeout_ms: 1, ..wait(2, short) };
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = server.connect();
            client.send(&[late.clone(), wait(3, short), late.clone(), wait(4, short)]);
            client
        })
        .collect();
    first.receive_ok(1);
    for mut client in clients {
        for id in [2, 3, 2, 4] {
            assert_eq!(client.receive().id, id);
        }
    }
});

for_every_model!(who_leaves_the_line_keeps_no_place_in_it, |model| {
    let server = start(model, 1, Overload::Wait);
    for leave in [drop, Client::reset] {
        let leavers = crowd(&server, |id| wait(id, Duration::from_millis(5)));
        eventually("somebody in line", true, || server.stats.snapshot().queued > 0);
        for (_, client) in leavers {
            leave(client);
        }
        let mut next = server.connect();
        next.send(&[wait(7, Duration::from_millis(1))]);
        next.receive_ok(7);
        drop(next);
        eventually("in flight or in line", 0, || in_flight_or_waiting(&server));
        eventually("open", 0, || server.stats.snapshot().open);
    }
});

for_every_model!(or_else_one_more_is_told_at_once, |model| {
    let server = start(model, PLACES, Overload::Reject);
    let clients = crowd(&server, |id| block(id, Duration::from_secs(3)));
    // Here a whole connection waits for a worker, and is refused as such.
    let refused = if model.keeps_worker() { 0 } else { u64::MAX };
    eventually("in flight, waiting or rejected", CROWD, || {
        in_flight_or_waiting(&server) + server.stats.snapshot().rejected
    });
    let (mut told, mut done) = (Vec::new(), 0);
    for (id, mut client) in clients {
        let response = client.receive();
        if response.code == 0 {
            assert_eq!(response.id, id);
            done += 1;
        } else {
            assert_eq!(response.code, Code::ResourceExhausted as u32, "{response:?}");
            assert!(response.id == id || response.id == refused, "{response:?}");
            told.extend((response.id == id).then_some(client));
        }
    }
    // The pool has its places in the queue, beside those that its workers have.
    let most = if model.is_pool() { 2 * PLACES } else { PLACES };
    let rejected = server.stats.snapshot().rejected;
    assert_eq!(done, CROWD - rejected);
    assert!((1..=most as u64).contains(&done), "{done} at a time");
    for client in &mut told {
        client.send(&[block(2, Duration::from_millis(1)), echo(3, b"room again")]);
        client.receive_ok(2);
        client.receive_ok(3);
    }
});

for_every_model!(a_refusal_does_not_wait_for_those_in_flight, |model| {
    let server = start(model, 1, Overload::Reject);
    let minute = |id| Request { timeout_ms: 0, ..block(id, Duration::from_mins(1)) };
    let clients = crowd(&server, minute);
    eventually("in flight, waiting or rejected", CROWD, || {
        in_flight_or_waiting(&server) + server.stats.snapshot().rejected
    });
    // Whoever was told so is told while the others still have their minute before them.
    let told = |client: &Client| {
        client.stream().set_nonblocking(true).unwrap();
        client.stream().peek(&mut [0]).is_ok_and(|bytes| bytes > 0)
    };
    eventually("all of these have been told", true, || {
        let told = clients.iter().filter(|(_, client)| told(client)).count() as u64;
        told == server.stats.snapshot().rejected && told > 0
    });
});

/// So many calls at a time, on one connection; how each of them ended.
async fn calls(server: &Server, duration: Duration) -> Vec<Result<(), tonic::Status>> {
    let client = grpc::connect(server).await;
    let mut calls = JoinSet::new();
    for id in 0..CROWD {
        let mut client = client.clone();
        calls.spawn(async move { client.call(block(id, duration)).await.map(drop) });
    }
    calls.join_all().await
}

#[test]
fn no_more_are_carried_out_than_there_are_places_by_grpc() {
    grpc::with_server(
        |config| config.in_flight_max = PLACES,
        async |server| {
            for ended in calls(server, Duration::from_millis(5)).await {
                ended.expect("it waits for its turn");
            }
            let now = server.stats.snapshot();
            assert_eq!((now.in_progress_peak, now.queued), (PLACES as u64, 0));
        },
    );
}

#[test]
fn or_else_one_more_is_told_at_once_by_grpc() {
    grpc::with_server(
        |config| (config.in_flight_max, config.overload) = (PLACES, Overload::Reject),
        async |server| {
            let ended = calls(server, Duration::from_secs(1)).await;
            let served = ended.iter().filter(|ended| ended.is_ok()).count();
            assert!((1..=PLACES).contains(&served), "{served} at a time");
            for status in ended.into_iter().filter_map(Result::err) {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
            }
            assert_eq!(server.stats.snapshot().rejected, CROWD - served as u64);
        },
    );
}
