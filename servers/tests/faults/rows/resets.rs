//! Clients that break off, in every state that a connection can be in.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::client::{echo, wait};
use crate::gauge;
use crate::http2;
use crate::matrix::{Ground, Record};
use crate::patience::eventually;
use crate::peer::Peer;
use crate::process::ServerProcess;

const RESETS: usize = 1000;

/// How far a connection gets before it breaks.
const STATES: [fn(&Ground, &ServerProcess) -> Peer; 5] =
    [before_a_byte, in_mid_frame, in_mid_wait, in_mid_answer, over_unread_replies];

pub(super) fn thousand_resets(ground: &Ground, record: &mut Record) {
    let server = ground.serve(&[]);
    let bystander = ground.bystander(&server);
    let break_off = |count| {
        STATES.iter().cycle().take(count).for_each(|reach| reach(ground, &server).reset());
    };
    // What is made when it is first needed (loops, side threads) is there before it is counted.
    break_off(10 * STATES.len());
    eventually("open", 1, || server.stats().open);
    let baseline = (server.descriptors(), gauge::threads(&server));
    break_off(RESETS);
    let last_at = Instant::now();
    eventually("(open, CLOSE-WAIT)", (1, 0), || (server.stats().open, gauge::close_waits(&server)));
    // Threads that wait for the next to do may end meanwhile, so that there are fewer.
    eventually("descriptors and threads at the baseline", true, || {
        server.descriptors() <= baseline.0 && gauge::threads(&server) <= baseline.1
    });
    let (promised, busy) = (Duration::from_secs(2), Duration::from_secs(10));
    record.within("baseline again after", last_at.elapsed(), promised, busy);
    record.figure("descriptors", baseline.0 as f64, "");
    record.figure("threads", baseline.1 as f64, "");
    record.bystander(bystander.leave());
}

fn before_a_byte(ground: &Ground, server: &ServerProcess) -> Peer {
    ground.mute(server)
}

fn in_mid_frame(ground: &Ground, server: &ServerProcess) -> Peer {
    let peer = ground.connect(server);
    let bytes = ground.wire.requests(&[echo(1, b"whole"), echo(2, b"never whole")]);
    peer.send_bytes(&bytes[..bytes.len() - 5]);
    peer
}

fn in_mid_wait(ground: &Ground, server: &ServerProcess) -> Peer {
    let mut peer = ground.connect(server);
    peer.send(&[echo(1, b""), wait(2, Duration::from_millis(5)), echo(3, b"never read")]);
    peer.receive_ok(1); // so the wait has been read with it
    peer
}

/// More than the kernel's buffers hold, and some of it has come.
fn in_mid_answer(ground: &Ground, server: &ServerProcess) -> Peer {
    let requests = ground.wire.requests(&[echo(1, &vec![7; 60_000])]);
    if !ground.is_framed() {
        let peer = ground.mute(server);
        peer.send_bytes(&http2::hello_with_window(1000));
        peer.send_bytes(&[http2::call(1, "Converse"), requests].concat());
        peer.stream().read_exact(&mut [0; 100]).expect("an answer begins");
        return peer;
    }
    let peer = ground.connect(server);
    peer.stream().set_write_timeout(Some(Duration::from_millis(1))).unwrap();
    for _ in 0..20 {
        let _ = peer.stream().write(&requests);
    }
    peer.stream().read_exact(&mut [0; 100]).expect("an answer begins");
    peer
}

fn over_unread_replies(ground: &Ground, server: &ServerProcess) -> Peer {
    let peer = ground.connect(server);
    peer.send(&(0..20).map(|id| echo(id, b"never read")).collect::<Vec<_>>());
    peer.stream().read_exact(&mut [0; 1]).expect("an answer begins");
    peer
}
