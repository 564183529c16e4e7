//! Clients that leave without a word, in the middle of a frame or of a wait.
//! They cost the server nothing, and the next one gets only its own answers.

use std::time::{Duration, Instant};

use crate::client::{Client, echo, framed, wait};
use crate::process::ServerProcess;
use crate::server::{Server, eventually};

for_every_model!(a_reset_in_mid_frame_costs_no_descriptor, |model| {
    const RESETS: u64 = 200;
    let server = ServerProcess::start(model.model, &model.arguments());
    let mut witness = Client::connect(server.address);
    witness.echoes(1, b"before");
    let reset_all = |accepted| {
        let bytes = framed(&[echo(1, b"whole"), echo(2, b"never whole")]);
        for cut in (1..bytes.len()).cycle().take(usize::try_from(RESETS).unwrap()) {
            let client = Client::connect(server.address);
            client.send_bytes(&bytes[..cut]);
            client.reset();
        }
        eventually("(accepted, open)", (accepted, 1), || {
            let now = server.stats();
            (now.accepted, now.open)
        });
    };
    // A server that listens may still be starting its other loops: the first time does not count.
    reset_all(1 + RESETS);
    let before = server.descriptors();
    reset_all(1 + 2 * RESETS);
    eventually("no more descriptors", true, || server.descriptors() <= before);
    witness.echoes(2, b"after");
});

for_every_model!(a_client_that_leaves_while_it_waits_and_the_next_in_its_place, |model| {
    let server = model.start_for(2 * LEAVERS, |_| ());
    for round in 0..4 {
        leave_while_waiting(&server, drop);
        newcomers_get_their_own(&server, round);
        leave_while_waiting(&server, Client::reset);
        newcomers_get_their_own(&server, round);
    }
    eventually("open connections", 0, || server.stats.snapshot().open);
    eventually("in progress", 0, || server.stats.snapshot().in_progress);
});

const LEAVERS: usize = 8;
const LEFT: u64 = u64::MAX;
/// When it is over for a client that has left, the one in its place still waits.
const LEFT_WAIT: Duration = Duration::from_millis(20);
const NEW_WAIT: Duration = Duration::from_millis(40);

fn leave_while_waiting(server: &Server, leave: fn(Client)) {
    let leavers: Vec<_> = (0..LEAVERS)
        .map(|_| {
            let client = server.connect();
            client.send(&[echo(0, b""), wait(LEFT, LEFT_WAIT), echo(LEFT, b"of one who left")]);
            client
        })
        .collect();
    for mut client in leavers {
        client.receive_ok(0); // so the wait has been read with it
        leave(client);
    }
}

fn newcomers_get_their_own(server: &Server, round: u64) {
    let began = Instant::now();
    let newcomers: Vec<_> = (0..LEAVERS as u64)
        .map(|index| {
            let id = round * 100 + index;
            let client = server.connect();
            client.send(&[wait(id, NEW_WAIT), echo(id, &id.to_be_bytes())]);
            (id, client)
        })
        .collect();
    for (id, mut client) in newcomers {
        client.receive_ok(id);
        assert!(began.elapsed() >= NEW_WAIT, "woken by the timer of another");
        assert_eq!(client.receive_ok(id), id.to_be_bytes());
        client.half_close();
        client.receive_eof();
    }
}

for_every_model!(out_of_descriptors_it_neither_spins_nor_stops, |model| {
    const DESCRIPTORS_MAX: usize = 64;
    let server =
        ServerProcess::start_with_descriptors(model.model, &model.arguments(), DESCRIPTORS_MAX);
    let mut first = Client::connect(server.address);
    first.echoes(1, b"before");
    let crowd: Vec<_> = (0..2 * DESCRIPTORS_MAX).map(|_| Client::connect(server.address)).collect();
    eventually("out of them", true, || server.descriptors() >= DESCRIPTORS_MAX);
    let cpu_before = server.cpu_time();
    first.send(&[wait(2, Duration::from_secs(1))]);
    first.receive_ok(2);
    let cpu_spent = server.cpu_time().saturating_sub(cpu_before);
    assert!(cpu_spent < Duration::from_millis(300), "{cpu_spent:?} of a second to do nothing");
    crowd.into_iter().for_each(Client::reset);
    Client::connect(server.address).echoes(3, b"after");
});

for_every_model!(answers_to_nobody_harm_nobody, |model| {
    let server = model.start_for(12, |_| ());
    for _ in 0..10 {
        let client = server.connect();
        client.send(&(0..100).map(|id| echo(id, &[1; 10_000])).collect::<Vec<_>>());
        client.reset();
    }
    server.connect().echoes(1, b"somebody");
    eventually("open connections", 0, || server.stats.snapshot().open);
});
