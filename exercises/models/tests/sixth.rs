//! Exercise 2: whatever your model is, these are its clients.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use models::sixth::serve;

#[allow(dead_code, missing_docs, reason = "each exercise needs its part of it")]
mod support;

use support::{
    Client, FOREIGN, NEVER, PATIENCE, SOON, Server, block, echo, eventually, framed, mixed, wait,
};

const CLIENTS: u64 = 10;
/// As long as the contract allows: far longer than a client of these tests waits for its answer.
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn ten_clients_at_once() {
    let server = Server::start(serve, NEVER);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for id in 0..10 {
        // The last of them first: whoever waits for one before another waits for ever.
        clients.iter_mut().rev().for_each(|client| client.echoes(id, b"me too"));
    }
}

#[test]
fn each_gets_its_own_answers_in_its_own_order() {
    const ROUNDS: u64 = 100;
    let server = Server::start(serve, NEVER);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut its_client = server.connect();
            let requests = mixed(client * ROUNDS..(client + 1) * ROUNDS);
            scope.spawn(move || its_client.gets_all(&requests));
        }
    });
}

#[test]
fn wherever_the_bytes_are_cut_the_answers_are_the_same() {
    let server = Server::start(serve, NEVER);
    let mut client = server.connect();
    let bytes = framed(&[echo(1, b"one"), echo(2, &[7; 20])]);
    for cut in 0..=bytes.len() {
        client.send_bytes(&[framed(&[echo(0, b"barrier")]), bytes[..cut].to_vec()].concat());
        client.receive_ok(0);
        client.send_bytes(&bytes[cut..]);
        assert_eq!(client.receive_ok(1), b"one", "cut at {cut}");
        assert_eq!(client.receive_ok(2), [7; 20], "cut at {cut}");
    }
}

#[test]
fn a_request_that_takes_a_minute_holds_no_other_client_up() {
    for slow in [wait(1, MINUTE), block(1, MINUTE)] {
        let server = Server::start(serve, SOON);
        let patient = server.connect();
        patient.send(&[slow]);
        server.has_in_progress(1);
        let mut other = server.connect();
        (0..20).for_each(|id| other.echoes(id, b"meanwhile"));
        other.gets_all(&mixed(0..20));
        assert!(patient.has_heard_nothing());
    }
}

/// Whether somebody else is served, beside whatever has been done to the server.
#[track_caller]
fn others_are_served(server: &Server) {
    let mut other = server.connect();
    (0..20).for_each(|id| other.echoes(id, b"nothing has happened"));
}

#[test]
fn foreign_bytes_cost_their_sender_the_connection() {
    let server = Server::start(serve, NEVER);
    for (bytes, code) in FOREIGN {
        let mut client = server.connect();
        client.send_bytes(&[framed(&mixed(0..4)), bytes.to_vec()].concat());
        (0..4).for_each(|id| drop(client.receive_ok(id)));
        client.receive_error(0, code);
        client.receive_eof();
        others_are_served(&server);
    }
}

#[test]
fn half_a_frame_and_then_silence_costs_nobody_else() {
    let server = Server::start(serve, NEVER);
    let bytes = framed(&[echo(1, b"never whole")]);
    let silent: Vec<_> = (1..bytes.len())
        .map(|cut| {
            let client = server.connect();
            client.send_bytes(&bytes[..cut]);
            client
        })
        .collect();
    others_are_served(&server);
    drop(silent);
}

#[test]
fn resets_cost_nobody_else() {
    let server = Server::start(serve, NEVER);
    let bytes = framed(&[echo(1, b"whole"), wait(2, Duration::from_millis(1)), echo(3, &[7; 999])]);
    for cut in (1..bytes.len()).step_by(7) {
        let client = server.connect();
        client.send_bytes(&bytes[..cut]);
        client.reset();
    }
    others_are_served(&server);
}

#[test]
fn one_that_never_reads_costs_nobody_else() {
    let server = Server::start(serve, SOON);
    let deaf = server.connect();
    deaf.asks_and_never_reads();
    others_are_served(&server);
}

#[test]
fn one_that_reads_late_loses_nothing() {
    Server::start(serve, NEVER).connect().reads_late();
}

#[test]
fn one_that_never_stops_does_not_keep_the_others_out() {
    let server = Server::start(serve, SOON);
    let flood = server.connect();
    let (mut output, mut input) =
        (flood.stream().try_clone().unwrap(), flood.stream().try_clone().unwrap());
    let requests = framed(&(0..1000).map(|id| echo(id, &[7; 100])).collect::<Vec<_>>());
    let writer = thread::spawn(move || while output.write_all(&requests).is_ok() {});
    let reader = thread::spawn(move || std::io::copy(&mut input, &mut std::io::sink()));
    others_are_served(&server);
    assert!(!writer.is_finished() && !reader.is_finished(), "the flood ended before its end");
    flood.stream().shutdown(std::net::Shutdown::Both).unwrap();
    writer.join().unwrap();
    let _ = reader.join().unwrap();
}

#[test]
fn a_drain_lets_the_idle_go_at_once() {
    let mut server = Server::start(serve, NEVER);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.echoes(1, b"was here");
    }
    server.begin_drain();
    clients.iter_mut().for_each(Client::receive_eof);
    drop(clients);
    server.drained();
}

#[test]
fn a_drain_answers_what_was_read_and_lets_nobody_in() {
    for slow in [wait(1, Duration::from_millis(300)), block(1, Duration::from_millis(300))] {
        let mut server = Server::start(serve, NEVER);
        let mut client = server.connect();
        client.send(&[slow, echo(2, b"read with it")]);
        server.has_in_progress(1);
        server.begin_drain();
        eventually("connect", Some(ErrorKind::ConnectionRefused), || {
            let connected = TcpStream::connect_timeout(&server.address, PATIENCE);
            connected.err().map(|error| error.kind())
        });
        client.receive_ok(1);
        client.receive_ok(2);
        client.receive_eof();
        drop(client);
        server.drained();
        TcpListener::bind(server.address).expect("the port is free");
    }
}

#[test]
fn a_drain_ends_by_its_timeout_whoever_is_there() {
    let mut server = Server::start(serve, SOON);
    let (deaf, patient) = (server.connect(), server.connect());
    deaf.asks_and_never_reads();
    patient.send(&[wait(1, MINUTE)]);
    server.has_in_progress(1);
    server.drained();
}
