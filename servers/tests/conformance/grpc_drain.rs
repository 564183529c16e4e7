//! The grpc server's process is told to stop, while peers of every kind are there; and a thousand
//! peers that crash leave nothing behind. Against the binary: exit codes, descriptors, sockets.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{echo, wait};
use crate::http2::{self, CALL, CONVERSE, DATA, GOAWAY, HEADERS, Peer, frame};
use crate::models::GRPC;
use crate::process::ServerProcess;
use crate::server::{PATIENCE, eventually};

const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// What the promise adds to the timeout; the rest is for a busy machine, and far from any kill.
const EXIT_AFTER: Duration = Duration::from_millis(500);
const MORE: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_mins(1);

fn start(arguments: &[String]) -> ServerProcess {
    let mut arguments = arguments.to_vec();
    arguments.push(format!("--drain-timeout={}ms", DRAIN_TIMEOUT.as_millis()));
    ServerProcess::start(GRPC.model, &arguments)
}

/// SIGTERM, and how long until the process has ended well.
#[track_caller]
fn ends(mut server: ServerProcess, peer: &str) -> Duration {
    let began = Instant::now();
    server.signal(Signal::TERM);
    let ended = server.ended();
    let took = began.elapsed();
    eprintln!("{peer}: ended after {} ms", took.as_millis());
    assert!(ended.success(), "{peer}: {ended}");
    assert!(took < DRAIN_TIMEOUT + EXIT_AFTER + MORE, "{peer}: {took:?}");
    took
}

/// Peers that ask for nothing: those that are none yet are let go at once, the others when they
/// have had their moment.
#[test]
fn peers_that_ask_for_nothing_do_not_hold_the_drain_up() {
    let half: [(&str, &[u8]); 3] =
        [("mute", b""), ("half a preface", &http2::PREFACE[..10]), ("a preface", http2::PREFACE)];
    for (name, bytes) in half {
        let server = start(&[]);
        let peer = Peer::mute(server.address);
        peer.send(bytes);
        eventually("open", 1, || server.stats().open);
        assert!(ends(server, name) < DRAIN_TIMEOUT, "{name}");
    }
    let server = start(&[]);
    let _idle = Peer::open(server.address, &[]);
    assert!(ends(server, "idle, and says nothing to its GOAWAY") < DRAIN_TIMEOUT);

    let server = start(&[]);
    let farewell = Peer::open(server.address, &[]).listen();
    assert!(ends(server, "idle") < DRAIN_TIMEOUT);
    assert_eq!(farewell.join().unwrap().goaway, Some(0));
}

#[test]
fn an_open_stream_that_asks_for_nothing_is_told_to_go() {
    let server = start(&[]);
    let mut peer = Peer::open(server.address, &[]);
    peer.send(&http2::headers(1, CONVERSE));
    peer.send(&http2::data(1, &http2::message(&echo(1, b"before"))));
    assert_eq!(peer.answer(1).payload, b"before");
    let farewell = peer.listen();
    assert!(ends(server, "an open stream") < DRAIN_TIMEOUT);
    let farewell = farewell.join().unwrap();
    // Its stream ends with a status.
    assert_eq!((farewell.goaway, farewell.frames[usize::from(HEADERS)]), (Some(0), 1));
}

/// Who is in the middle of something has until the timeout, and no longer.
#[test]
fn peers_in_the_middle_of_something_are_cut() {
    let half_a_message = http2::message(&echo(1, &[7; 1000]));
    let unfinished = [
        ("half a frame", [http2::headers(1, CALL), vec![0; 4]].concat()),
        ("half a request", {
            let half = http2::data(1, &half_a_message[..500]);
            [http2::headers(1, CALL), half].concat()
        }),
        ("half a message of a stream", {
            let half = http2::data(1, &half_a_message[..500]);
            [http2::headers(1, CONVERSE), half].concat()
        }),
        ("a call without an end", http2::call(1, &wait(1, LONG))),
    ];
    for (name, bytes) in unfinished {
        let server = start(&[]);
        let peer = Peer::open(server.address, &[]);
        peer.send(&bytes);
        // The server reads before it hears: it answers a PING that came behind, where it may.
        thread::sleep(Duration::from_millis(100));
        ends(server, name);
    }

    let server = start(&[]);
    let none = [(http2::SETTINGS_INITIAL_WINDOW_SIZE, 0)];
    let peer = Peer::open(server.address, &none);
    peer.send(&http2::call(1, &echo(1, b"no window")));
    eventually("requests", 1, || server.stats().requests);
    ends(server, "an answer that nobody takes");

    let server = start(&[]);
    let peer = Peer::open(server.address, &[]);
    peer.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let pings = frame(http2::PING, 0, 0, &[0; 8]).repeat(10_000);
    while peer.try_send(&pings).is_ok() {}
    ends(server, "a peer that does not read");
}

/// GOAWAY comes, what was asked is answered, and what is asked after is not begun.
#[test]
fn calls_in_progress_are_answered_and_new_ones_refused() {
    let server = start(&[]);
    let mut peer = Peer::open(server.address, &[]);
    peer.send(&http2::call(1, &wait(1, Duration::from_secs(1))));
    eventually("in progress", 1, || server.stats().in_progress);
    let address = server.address;
    let drains = thread::spawn(move || ends(server, "a call in progress"));
    // The first GOAWAY lets come what is on its way; the second names the last call.
    peer.next_of(GOAWAY);
    let last = peer.next_of(GOAWAY);
    assert_eq!(last.payload[..8], *b"\0\0\0\x01\0\0\0\0");
    peer.send(&http2::call(3, &echo(3, b"too late")));
    assert_eq!(peer.answer(1).id, 1);
    let farewell = peer.farewell();
    assert_eq!(farewell.frames[usize::from(DATA)], 0, "{farewell:?}");
    assert!(drains.join().unwrap() < DRAIN_TIMEOUT);
    assert!(std::net::TcpStream::connect_timeout(&address, PATIENCE).is_err());
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut server = start(&[]);
    let peer = Peer::open(server.address, &[]);
    peer.send(&http2::call(1, &wait(1, LONG)));
    eventually("in progress", 1, || server.stats().in_progress);
    server.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(100));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(143));
}

fn threads(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/task")).unwrap().count()
}

/// Connections of the server whose peers are gone, and which it has not closed.
fn close_wait(port: u16) -> usize {
    const CLOSE_WAIT: &str = "08";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.get(1).is_some_and(|address| address.ends_with(&local)))
        .filter(|row| row[3] == CLOSE_WAIT)
        .count()
}

#[test]
fn a_thousand_resets_in_every_state_leave_nothing_behind() {
    let server = start(&[]);
    let mut bystander = Peer::open(server.address, &[]);
    bystander.send(&http2::call(1, &echo(1, b"before")));
    assert_eq!(bystander.answer(1).payload, b"before");
    let before = (server.descriptors(), threads(server.id()));

    let call = http2::call(1, &wait(1, LONG));
    let large = http2::message(&echo(1, &vec![7; 20_000]));
    let open_stream = http2::headers(1, CONVERSE);
    let states: [&[u8]; 6] = [
        &http2::PREFACE[..7],
        &call[..20],
        &call[..call.len() - 15],
        &call,
        &[&open_stream[..], &http2::data(1, &large)[..10_000]].concat(),
        &[&open_stream[..], &http2::data(1, &large)].concat(),
    ];
    for (round, state) in (0..1000).zip(states.iter().cycle()) {
        let peer = if round % 6 == 0 {
            Peer::mute(server.address)
        } else {
            Peer::open(server.address, &[(http2::SETTINGS_INITIAL_WINDOW_SIZE, 1000)])
        };
        peer.send(state);
        peer.reset();
    }
    let began = Instant::now();
    eventually("open", 1, || server.stats().open);
    eventually("descriptors and threads", before, || (server.descriptors(), threads(server.id())));
    eventually("CLOSE-WAIT", 0, || close_wait(server.address.port()));
    eventually("in progress", 0, || server.stats().in_progress);
    eprintln!("after 1,000 resets: {before:?} again after {} ms", began.elapsed().as_millis());
    assert!(began.elapsed() < Duration::from_secs(2) + MORE);
    bystander.send(&http2::call(3, &echo(3, b"after")));
    assert_eq!(bystander.answer(3).payload, b"after");
}
