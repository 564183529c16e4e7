//! Peers of the grpc server that stop in the middle: of the handshake, a frame, a message, an
//! answer. Each ends in time, its streams beside it go on where they can, and nobody else notices.

use std::thread;
use std::time::{Duration, Instant};

use common::Timeouts;

use crate::client::{echo, wait};
use crate::http2::{self, ACK, CALL, CONTINUATION, CONVERSE, DATA, END_HEADERS, END_STREAM, Peer};
use crate::http2::{Frame, HEADERS, PING, SETTINGS, frame};
use crate::models::GRPC;
use crate::server::{PATIENCE, Server, eventually};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_mins(1);
const NONE: [(u16, u32); 1] = [(http2::SETTINGS_INITIAL_WINDOW_SIZE, 0)];

fn start(timeouts: Timeouts) -> Server {
    GRPC.start_for(8, |config| config.timeouts = timeouts)
}

fn reads(read: Duration) -> Server {
    start(Timeouts { read: Some(read), ..Timeouts::default() })
}

/// A call beside the others, whole within one breath.
#[track_caller]
fn echoes(peer: &mut Peer, stream: u32) {
    peer.send(&http2::call(stream, &echo(u64::from(stream), b"beside it")));
    assert_eq!(peer.answer(stream).payload, b"beside it");
}

/// The end of a call: an answer that is nothing but a head, or trailers.
#[track_caller]
fn ends_with_headers(peer: &mut Peer, stream: u32) -> Frame {
    loop {
        let frame = peer.next().expect("the call ends");
        if frame.stream == stream && frame.kind == HEADERS && frame.flags & END_STREAM != 0 {
            return frame;
        }
    }
}

#[test]
fn the_server_says_what_it_allows() {
    let server = GRPC.start();
    let mut peer = Peer::mute(server.address);
    peer.send(http2::PREFACE);
    let settings = peer.next_of(SETTINGS);
    let setting = |number: u16| {
        let mut settings = settings.payload.chunks(6);
        let found = settings.find(|setting| setting[..2] == number.to_be_bytes());
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    assert_eq!(setting(http2::SETTINGS_MAX_CONCURRENT_STREAMS), Some(100));
    assert_eq!(setting(http2::SETTINGS_MAX_HEADER_LIST_SIZE), Some(8192));
    assert!(setting(http2::SETTINGS_INITIAL_WINDOW_SIZE).is_some_and(|bytes| bytes < 1 << 16));
}

/// Whoever stops before the connection is one: by the shorter timeout.
#[test]
fn a_handshake_that_stops() {
    let hello = [http2::PREFACE, &http2::settings(&[])].concat();
    let pings = frame(PING, 0, 0, &[0; 8]);
    let pieces: [&[u8]; 5] = [b"", &hello[..10], http2::PREFACE, &hello[..30], &hello];
    for (read, idle) in [(Some(SHORT), Some(LONG)), (Some(LONG), Some(SHORT))] {
        let server = start(Timeouts { read, idle, write: None });
        let mut peers: Vec<_> =
            pieces.iter().map(|piece| (Peer::mute(server.address), piece)).collect();
        for (peer, piece) in &peers {
            peer.send(piece);
        }
        // Settings that are not acknowledged, whatever else is said.
        let (last, _) = peers.last_mut().unwrap();
        let _ = last.try_send(&pings);
        for (peer, _) in &mut peers {
            peer.farewell();
        }
        let now = server.stats.snapshot();
        assert_eq!((now.read_timeouts, now.idle_timeouts), (5, 0));
        eventually("open", 0, || server.stats.snapshot().open);
    }
}

/// Each of them sends its bytes one by one: that extends nothing.
#[test]
fn a_frame_that_stops_or_drips() {
    let server = reads(SHORT);
    let mut bystander = Peer::open(server.address, &[]);
    let call = http2::call(1, &echo(1, &[7; 1000]));
    let half_a_block = frame(HEADERS, 0, 1, &http2::head(CALL));
    let drips: [&[u8]; 4] = [&frame(PING, 0, 0, &[0; 8]), &call[..5], &call[..100], &half_a_block];
    let mut streams = http2::streams();
    for drip in drips {
        let mut peer = Peer::open(server.address, &[]);
        // To say that it is there would be the next bytes of the frame.
        peer.is_there = false;
        let began = Instant::now();
        for byte in &drip[..drip.len() - 1] {
            if peer.try_send(&[*byte]).is_err() {
                break;
            }
            thread::sleep(SHORT / 20);
            echoes(&mut bystander, streams.next().unwrap());
        }
        peer.farewell();
        assert!(began.elapsed() < PATIENCE);
    }
    echoes(&mut bystander, streams.next().unwrap());
    assert_eq!(server.stats.snapshot().read_timeouts, 4);
}

/// The block of headers counts as one frame, however many CONTINUATIONs it has.
#[test]
fn a_block_of_headers_that_stops() {
    let server = reads(SHORT);
    let mut peer = Peer::open(server.address, &[]);
    // To say that it is there would be an error here.
    peer.is_there = false;
    peer.send(&frame(HEADERS, 0, 1, &http2::head(CALL)));
    peer.send(&frame(CONTINUATION, 0, 1, b"\x10\x01x\x01y"));
    peer.farewell();
    assert_eq!(server.stats.snapshot().read_timeouts, 1);
}

/// The call ends and is told so; its connection goes on.
#[test]
fn a_message_that_stops() {
    for path in [CALL, CONVERSE] {
        let server = reads(SHORT);
        let mut peer = Peer::open(server.address, &[]);
        peer.send(&http2::headers(1, path));
        peer.send(&http2::data(1, &http2::message(&echo(1, &[7; 1000]))[..500]));
        ends_with_headers(&mut peer, 1);
        assert_eq!(server.stats.snapshot().read_timeouts, 1);
        echoes(&mut peer, 3);
    }
}

#[test]
fn a_call_of_headers_alone_stops() {
    let server = reads(SHORT);
    let mut peer = Peer::open(server.address, &[]);
    peer.send(&http2::headers(1, CALL));
    ends_with_headers(&mut peer, 1);
    assert_eq!(server.stats.snapshot().read_timeouts, 1);
    // A message that is whole, in a call that does not end.
    peer.send(&http2::headers(3, CALL));
    peer.send(&http2::data(3, &http2::message(&echo(1, b"whole"))));
    ends_with_headers(&mut peer, 3);
    assert_eq!(server.stats.snapshot().read_timeouts, 2);
    echoes(&mut peer, 5);
}

/// In whole frames of one byte each.
#[test]
fn a_message_that_drips() {
    for path in [CALL, CONVERSE] {
        let server = reads(SHORT);
        let mut peer = Peer::open(server.address, &[]);
        peer.send(&http2::headers(1, path));
        let message = http2::message(&echo(1, &[7; 1000]));
        let mut bytes = message.iter();
        while server.stats.snapshot().read_timeouts == 0 {
            let byte = bytes.next().expect("the message was taken byte by byte");
            peer.send(&http2::data(1, &[*byte]));
            thread::sleep(SHORT / 20);
        }
        ends_with_headers(&mut peer, 1);
        echoes(&mut peer, 3);
    }
}

/// Messages without an end, each of them in time: no timeout is theirs.
#[test]
fn a_stream_may_go_on_and_on_and_take_its_time_between_messages() {
    let server = reads(SHORT);
    let peer = Peer::open(server.address, &[]);
    let farewell = peer.listen();
    peer.send(&http2::headers(1, CONVERSE));
    let message = http2::message(&echo(9, &[7; 1000]));
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < 3 * SHORT {
        // Cut elsewhere than where a message ends.
        let endless = message.iter().cycle().skip(sent % message.len());
        peer.send(&http2::data(1, &endless.take(700).copied().collect::<Vec<_>>()));
        sent += 700;
        thread::sleep(SHORT / 20);
    }
    let rest = &message[sent % message.len()..];
    peer.send(&http2::data(1, rest));
    thread::sleep(2 * SHORT);
    peer.send(&http2::data(1, &message));
    let messages = (sent + rest.len()) / message.len() + 1;
    eventually("answered", messages as u64, || server.stats.snapshot().requests);
    peer.leave();
    farewell.join().unwrap();
    let now = server.stats.snapshot();
    assert_eq!((now.read_timeouts, now.failed), (0, 0));
}

/// It reads what TCP brings, and says that it is there: but it opens no window.
#[test]
fn an_answer_that_has_no_window() {
    for path in [CALL, CONVERSE] {
        let server = start(Timeouts { write: Some(SHORT), ..Timeouts::default() });
        let mut bystander = Peer::open(server.address, &[]);
        let peer = Peer::open(server.address, &NONE);
        let farewell = peer.listen();
        peer.send(&http2::headers(1, path));
        peer.send(&http2::data(1, &http2::message(&echo(1, b"no window"))));
        peer.send(&frame(DATA, END_STREAM, 1, b""));
        let began = Instant::now();
        let mut streams = http2::streams();
        while peer.try_send(&frame(PING, 0, 0, &[0; 8])).is_ok() {
            assert!(began.elapsed() < PATIENCE, "it was never closed");
            echoes(&mut bystander, streams.next().unwrap());
            thread::sleep(SHORT / 20);
        }
        farewell.join().unwrap();
        assert_eq!(server.stats.snapshot().write_timeouts, 1);
        eventually("open", 1, || server.stats.snapshot().open);
    }
}

/// A byte now and then is an answer that moves.
#[test]
fn an_answer_that_is_taken_slowly() {
    let server = start(Timeouts { write: Some(SHORT), ..Timeouts::default() });
    let mut peer = Peer::open(server.address, &NONE);
    peer.send(&http2::call(1, &echo(1, &[7; 40])));
    let mut taken = 0;
    while taken < 40 {
        thread::sleep(SHORT / 6);
        peer.send(&http2::window_update(1, 4));
        taken += peer.next_of(DATA).payload.len();
    }
    assert_eq!(server.stats.snapshot().write_timeouts, 0);
}

/// More than one message's worth of room is asked for at once: the calls go one after the other.
#[test]
fn large_messages_on_every_stream_all_arrive() {
    let server = GRPC.start();
    let mut peer = Peer::open(server.address, &[(http2::SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30)]);
    peer.send(&http2::window_update(0, 1 << 30));
    let payload = vec![7; 1 << 20];
    let streams: Vec<_> = http2::streams().take(40).collect();
    for stream in &streams {
        peer.send(&http2::headers(*stream, CALL));
    }
    let message = http2::message(&echo(1, &payload));
    let mut answered = 0;
    let sent = peer.upload_and_hear(&streams, &message, PATIENCE, &mut |frame| {
        answered += usize::from(frame.kind == HEADERS && frame.flags & END_STREAM != 0);
    });
    assert!(sent.iter().all(|sent| *sent == message.len()));
    while answered < streams.len() {
        let frame = peer.next().expect("all are answered");
        answered += usize::from(frame.kind == HEADERS && frame.flags & END_STREAM != 0);
    }
    let now = server.stats.snapshot();
    assert_eq!((now.requests, now.failed), (40, 0));
}

/// The room is taken by an answer that nobody takes: who waits behind it is told so in the end.
#[test]
fn a_large_message_that_finds_no_room_is_refused() {
    let server = start(Timeouts { write: Some(2 * SHORT), ..Timeouts::default() });
    let mut peer = Peer::open(server.address, &NONE);
    let large = http2::message(&echo(1, &vec![7; 3 << 20]));
    for stream in [1, 3] {
        peer.send(&http2::headers(stream, CALL));
        peer.upload(&[stream], &large, SHORT / 10);
    }
    // Answers beside it are taken, so that the connection moves.
    let mut stream = 5;
    let refused = loop {
        peer.send(&http2::headers(stream, CALL));
        peer.send(&http2::data(stream, &http2::message(&echo(1, b"small"))));
        peer.send(&frame(DATA, END_STREAM, stream, b""));
        peer.send(&http2::window_update(stream, 100));
        let frame = loop {
            let frame = peer.next().expect("it moves");
            if frame.kind == HEADERS && frame.flags & END_STREAM != 0 {
                break frame;
            }
        };
        if frame.stream == 3 {
            break frame;
        }
        stream += 2;
        thread::sleep(SHORT / 20);
    };
    assert_eq!(refused.flags & END_HEADERS, END_HEADERS);
}

/// A peer that vanished in the middle of a call: nothing comes from it any more, not even the
/// answer to a PING.
#[test]
fn a_peer_that_vanished_is_noticed() {
    let server = reads(SHORT);
    let mut peer = Peer::open(server.address, &[]);
    peer.is_there = false;
    peer.send(&http2::call(1, &wait(1, LONG)));
    server.has_in_progress(1);
    assert_eq!(peer.next_of(PING).flags & ACK, 0);
    peer.farewell();
    eventually("in progress", 0, || server.stats.snapshot().in_progress);
    assert_eq!(server.stats.snapshot().read_timeouts, 1);
}

/// PINGs say that a peer is there, and not that it wants something.
#[test]
fn pings_do_not_keep_an_idle_connection() {
    let server = start(Timeouts { idle: Some(SHORT), ..Timeouts::default() });
    let mut peer = Peer::open(server.address, &[]);
    echoes(&mut peer, 1);
    let farewell = peer.listen();
    let began = Instant::now();
    while peer.try_send(&frame(PING, 0, 0, &[0; 8])).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it was never closed");
        thread::sleep(SHORT / 20);
    }
    assert_eq!(farewell.join().unwrap().goaway, Some(0), "it is told before");
    assert_eq!(server.stats.snapshot().idle_timeouts, 1);
}

#[test]
fn who_asks_again_in_time_is_not_idle() {
    let idle = 3 * SHORT;
    let server = start(Timeouts { idle: Some(idle), ..Timeouts::default() });
    let mut peer = Peer::open(server.address, &[]);
    let began = Instant::now();
    let mut streams = http2::streams();
    while began.elapsed() < 2 * idle {
        echoes(&mut peer, streams.next().unwrap());
        thread::sleep(SHORT / 5);
    }
    assert_eq!(server.stats.snapshot().idle_timeouts, 0);
}

/// gRPC's own way to say how long a client waits, beside the contract's.
#[test]
fn a_call_ends_with_its_clients_patience() {
    let server = start(Timeouts::default());
    let mut peer = Peer::open(server.address, &[]);
    let head = [&http2::head(CALL)[..], b"\0\x0cgrpc-timeout\x0350m"].concat();
    peer.send(&frame(HEADERS, END_HEADERS, 1, &head));
    peer.upload(&[1], &http2::message(&wait(1, LONG)), PATIENCE);
    ends_with_headers(&mut peer, 1);
    eventually("in progress", 0, || server.stats.snapshot().in_progress);
    echoes(&mut peer, 3);
}
