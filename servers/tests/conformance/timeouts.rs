//! Peers that stay silent, say half of what they have to say, or do not listen: each is closed in
//! time, and the bystander beside it sees nothing of it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use common::Timeouts;

use crate::client::{Client, echo, framed, wait};
use crate::models::Variant;
use crate::server::{PATIENCE, Server, eventually};

/// Short enough to wait for, long enough for a bystander on a busy machine to come back in time.
const SHORT: Duration = Duration::from_millis(300);
/// So long that it is none of this test's.
const LONG: Duration = Duration::from_mins(10);

const PATIENT: Timeouts = Timeouts { idle: Some(LONG), read: Some(LONG), write: Some(LONG) };

fn start(model: Variant, timeouts: Timeouts) -> Server {
    model.start_for(3, |config| config.timeouts = timeouts)
}

/// Whether the server has closed the connection, with a reset or without, and said nothing.
fn is_closed(client: &Client) {
    let mut rest = Vec::new();
    let ended = client.stream().read_to_end(&mut rest);
    assert!(Instant::now().elapsed() < PATIENCE && rest.is_empty(), "{ended:?} {rest:?}");
    if let Err(error) = ended {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
}

for_every_model!(a_silent_peer_is_closed, |model| {
    let server = start(model, Timeouts { idle: Some(SHORT), ..PATIENT });
    let (never_spoke, mut spoke_once) = (server.connect(), server.connect());
    spoke_once.echoes(1, b"once");
    is_closed(&never_spoke);
    is_closed(&spoke_once);
    eventually("idle timeouts", 2, || server.stats.snapshot().idle_timeouts);
    eventually("open", 0, || server.stats.snapshot().open);
});

for_every_model!(one_that_waits_for_its_answer_is_not_idle, |model| {
    let server = start(model, Timeouts { idle: Some(SHORT), read: Some(SHORT), ..PATIENT });
    let mut client = server.connect();
    client.send(&[wait(1, 3 * SHORT), echo(2, b"behind it")]);
    // It would not get these, had it been taken for idle.
    client.receive_ok(1);
    client.receive_ok(2);
    is_closed(&client);
});

for_every_model!(a_byte_now_and_then_does_not_keep_half_a_frame_alive, |model| {
    let server = start(model, Timeouts { read: Some(SHORT), ..PATIENT });
    let mut bystander = server.connect();
    bystander.echoes(1, b"before");
    let slow = server.connect();
    let bytes = framed(&[echo(1, &[7; 1000])]);
    let began = Instant::now();
    for (id, byte) in (2..).zip(&bytes) {
        if slow.stream().write_all(&[*byte]).is_err() {
            break;
        }
        // The pace: the bystander's own round trips, and a pause of a tenth of the timeout.
        bystander.echoes(id, b"beside it");
        std::thread::sleep(SHORT / 10);
    }
    assert!(began.elapsed() < PATIENCE, "the frame was taken byte by byte");
    assert_eq!(server.stats.snapshot().read_timeouts, 1);
    bystander.echoes(1, b"after");
});

for_every_model!(a_peer_that_does_not_listen_is_closed, |model| {
    let server = start(model, Timeouts { write: Some(SHORT), ..PATIENT });
    let mut bystander = server.connect();
    let deaf = server.connect();
    let bytes = framed(&[echo(1, &vec![7; 100_000])]);
    deaf.stream().set_write_timeout(Some(SHORT / 10)).unwrap();
    let began = Instant::now();
    let mut id = 0;
    while server.stats.snapshot().write_timeouts == 0 {
        assert!(began.elapsed() < PATIENCE, "it was never closed");
        // Full buffers, or the end: the server decides.
        let _ = deaf.stream().write(&bytes);
        id += 1;
        bystander.echoes(id, b"beside it");
    }
    eventually("open", 1, || server.stats.snapshot().open);
    let _ = deaf.stream().shutdown(Shutdown::Both);
    bystander.echoes(0, b"after");
});

for_every_model!(after_a_protocol_error_the_peer_gets_no_more_time_than_for_a_frame, |model| {
    let server = start(model, Timeouts { read: Some(SHORT), ..PATIENT });
    let mut client = server.connect();
    client.send_bytes(&[0xff; 8]);
    client.receive_error(0, common::Code::ResourceExhausted);
    client.receive_eof();
    // It stays, and says nothing more.
    eventually("open", 0, || server.stats.snapshot().open);
    assert_eq!(server.stats.snapshot().read_timeouts, 1);
});

for_every_model!(without_timeouts_nobody_is_closed, |model| {
    let server = start(model, Timeouts::default());
    let (mut client, half) = (server.connect(), server.connect());
    half.send_bytes(&[0, 0]);
    client.send(&[wait(1, 2 * SHORT)]);
    client.receive_ok(1);
    half.send_bytes(&framed(&[echo(2, b"at last")])[2..]);
    let mut half = half;
    assert_eq!(half.receive_ok(2), b"at last");
});
