//! Told to stop, whoever stands in the way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{echo, try_connect, wait};
use crate::http2;
use crate::matrix::{Ground, Record};
use crate::patience::{PATIENCE, eventually};
use crate::peer::Peer;
use crate::process::ServerProcess;
use crate::rows::silence::fill;

/// The drain timeout of 500 ms, and as much again.
const PROMISED: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(10);

type Reach = fn(&Ground, &ServerProcess) -> Peer;

/// Peers that a drain may have to wait for.
const PEERS: [(&str, Reach); 5] = [
    ("mute", |ground, server| ground.mute(server)),
    ("half a frame", half_a_frame),
    ("never reads", never_reads),
    ("open stream", open_stream),
    ("long request", long_request),
];

pub(super) fn drain(ground: &Ground, record: &mut Record) {
    let (mut longest, mut slowest) = (Duration::ZERO, "");
    for (name, reach) in PEERS {
        let took = drains(ground, record, Signal::TERM, &[(name, reach)]);
        if took > longest {
            (longest, slowest) = (took, name);
        }
    }
    record.within(&format!("longest (peer: {slowest})"), longest, PROMISED, BUSY);
    let took = drains(ground, record, Signal::INT, &PEERS);
    record.within("all of them at once", took, PROMISED, BUSY);
    what_was_read_is_answered(ground, record);
    a_second_signal_is_the_last(ground, record);
}

/// How long the process lives after the signal.
fn drains(
    ground: &Ground,
    record: &mut Record,
    signal: Signal,
    peers: &[(&str, Reach)],
) -> Duration {
    let mut server = ground.serve(&["--drain-timeout=500ms"]);
    let bystander = ground.bystander(&server);
    let _peers: Vec<_> = peers.iter().map(|(_, reach)| reach(ground, &server)).collect();
    eventually("open", peers.len() as u64 + 1, || server.stats().open);
    let began = Instant::now();
    server.signal(signal);
    let status = server.ended();
    let took = began.elapsed();
    let names = || peers.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    record.holds(status.code() == Some(0), || format!("{:?}: {status}", names()));
    record.holds(took <= BUSY, || format!("{:?}: {took:?} to drain", names()));
    record.bystander(bystander.was_let_go());
    took
}

fn half_a_frame(ground: &Ground, server: &ServerProcess) -> Peer {
    let peer = open_stream(ground, server);
    let bytes = ground.wire.requests(&[echo(2, b"never whole")]);
    peer.send_bytes(&bytes[..bytes.len() - 5]);
    peer
}

fn never_reads(ground: &Ground, server: &ServerProcess) -> Peer {
    let peer = ground.connect(server);
    if ground.is_framed() {
        fill(&peer, &ground.wire.requests(&[echo(1, &vec![7; 100_000])]));
    } else {
        fill(&peer, &http2::ping(false, [7; 8]).repeat(1000));
    }
    peer
}

/// Over framed TCP: a connection that has been answered, and stays.
fn open_stream(ground: &Ground, server: &ServerProcess) -> Peer {
    let mut peer = ground.connect(server);
    peer.send(&[echo(1, b"whole")]);
    peer.receive_ok(1);
    peer
}

fn long_request(ground: &Ground, server: &ServerProcess) -> Peer {
    let peer = ground.connect(server);
    peer.send(&[wait(1, Duration::from_mins(1))]);
    eventually("in progress", true, || server.stats().in_progress >= 1);
    peer
}

fn what_was_read_is_answered(ground: &Ground, record: &mut Record) {
    const LONG: Duration = Duration::from_millis(500);
    let mut server = ground.serve(&["--drain-timeout=10m", "--admin=127.0.0.1:0"]);
    let admin = server.says("admin address=").parse().unwrap();
    let mut peer = ground.connect(&server);
    peer.send(&[wait(1, LONG), echo(2, b"read with it")]);
    eventually("in progress", 1, || server.stats().in_progress);
    assert!(is_ready(admin), "it was ready before the signal");
    let began = Instant::now();
    server.signal(Signal::TERM);
    refuses(&server);
    record.holds(!is_ready(admin), || "ready, though it drains".to_owned());
    record.within("refuses newcomers after", began.elapsed(), LONG, BUSY);
    peer.receive_ok(1);
    assert_eq!(peer.receive_ok(2), b"read with it");
    drop(peer);
    let status = server.ended();
    record.holds(status.code() == Some(0), || format!("after its answers: {status}"));
}

fn is_ready(admin: SocketAddr) -> bool {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE).expect("it answers in a drain");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("a status comes");
    status == *b"HTTP/1.1 200"
}

fn refuses(server: &ServerProcess) {
    eventually("newcomers are refused", true, || try_connect(server.address).is_err());
}

fn a_second_signal_is_the_last(ground: &Ground, record: &mut Record) {
    let mut server = ground.serve(&["--drain-timeout=10m"]);
    let _peer = long_request(ground, &server);
    server.signal(Signal::TERM);
    refuses(&server);
    let began = Instant::now();
    server.signal(Signal::TERM);
    let status = server.ended();
    record.within("second signal: ends after", began.elapsed(), Duration::from_millis(100), BUSY);
    let interrupted = 128 + Signal::TERM.as_raw();
    record.holds(status.code() == Some(interrupted), || format!("second signal: {status}"));
}
