//! Exercise 1: one connection at a time, by the contract.

use std::time::Duration;

use models::sequential::serve;

#[allow(dead_code, missing_docs, reason = "each exercise needs its part of it")]
mod support;

use support::{FOREIGN, NEVER, Server, compute, echo, framed, mixed, wait};

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let server = Server::start(serve, NEVER);
    server.connect().gets_all(&mixed(0..100));
}

#[test]
fn wherever_the_bytes_are_cut_the_answers_are_the_same() {
    let server = Server::start(serve, NEVER);
    let mut client = server.connect();
    let bytes = framed(&[echo(1, b"one"), compute(2, 2)]);
    for cut in 0..=bytes.len() {
        // The answer to a request that stands before the cut says that the part was read.
        client.send_bytes(&[framed(&[echo(0, b"barrier")]), bytes[..cut].to_vec()].concat());
        client.receive_ok(0);
        client.send_bytes(&bytes[cut..]);
        assert_eq!(client.receive_ok(1), b"one", "cut at {cut}");
        client.receive_ok(2);
    }
}

#[test]
fn the_next_is_served_when_the_one_before_has_left() {
    let server = Server::start(serve, NEVER);
    let (mut first, mut second) = (server.connect(), server.connect());
    second.send(&[echo(7, b"my turn")]);
    for id in 0..20 {
        first.echoes(id, b"mine");
        assert!(second.has_heard_nothing(), "two at a time");
    }
    first.half_close();
    first.receive_eof();
    drop(first);
    assert_eq!(second.receive_ok(7), b"my turn");
}

#[test]
fn a_half_close_is_no_reason_to_answer_nothing() {
    let server = Server::start(serve, NEVER);
    let mut client = server.connect();
    client.send(&[wait(1, Duration::from_millis(1)), echo(2, b"last")]);
    client.half_close();
    client.receive_ok(1);
    assert_eq!(client.receive_ok(2), b"last");
    client.receive_eof();
}

#[test]
fn foreign_bytes_are_answered_once_and_the_next_is_served() {
    let server = Server::start(serve, NEVER);
    for (bytes, code) in FOREIGN {
        let mut client = server.connect();
        client.send_bytes(&[framed(&[echo(1, b"whole")]), bytes.to_vec()].concat());
        client.receive_ok(1);
        client.receive_error(0, code);
        client.receive_eof();
    }
    server.connect().echoes(2, b"somebody else");
}

#[test]
fn a_reset_in_mid_frame_ends_one_client_and_not_the_server() {
    let server = Server::start(serve, NEVER);
    let bytes = framed(&[echo(1, b"never whole")]);
    for cut in 1..bytes.len() {
        let client = server.connect();
        client.send_bytes(&bytes[..cut]);
        client.reset();
    }
    server.connect().echoes(1, b"somebody else");
}

#[test]
fn a_client_that_reads_late_loses_nothing() {
    Server::start(serve, NEVER).connect().reads_late();
}

#[test]
fn a_drain_ends_a_server_that_waits_for_its_first_client() {
    Server::start(serve, NEVER).drained();
}

#[test]
fn a_drain_lets_an_idle_client_go_and_those_behind_it() {
    let mut server = Server::start(serve, NEVER);
    let (mut first, mut second) = (server.connect(), server.connect());
    first.echoes(1, b"was here");
    server.begin_drain();
    first.receive_eof();
    drop(first);
    second.is_let_go();
    server.drained();
}

#[test]
fn a_drain_answers_what_was_read() {
    let mut server = Server::start(serve, NEVER);
    let mut client = server.connect();
    client.send(&[wait(1, Duration::from_millis(200)), echo(2, b"read with it")]);
    server.has_in_progress(1);
    server.begin_drain();
    client.receive_ok(1);
    client.receive_ok(2);
    client.receive_eof();
    drop(client);
    server.drained();
}
