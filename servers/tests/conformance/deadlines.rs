//! `timeout_ms`: work whose client has given up is not begun, and not slipped in elsewhere.

use std::time::Duration;

use common::{Code, Request};

use crate::client::{block, compute, echo, wait};

const PATIENCE_MS: u32 = 50;

fn within_patience(request: Request) -> Request {
    Request { timeout_ms: PATIENCE_MS, ..request }
}

for_every_model!(what_stood_behind_a_long_wait_is_told_that_it_is_too_late, |model| {
    let server = model.start();
    let mut client = server.connect();
    let long = Duration::from_millis(4 * u64::from(PATIENCE_MS));
    let late = [
        echo(2, b"late"),
        wait(3, Duration::from_mins(1)),
        compute(4, 1_000_000),
        block(5, Duration::from_mins(1)),
    ];
    let mut requests = vec![wait(1, long)];
    requests.extend(late.map(within_patience));
    requests.push(Request { timeout_ms: 60_000, ..echo(6, b"patient") });
    requests.push(echo(7, b"without a bound"));
    client.send(&requests);
    client.receive_ok(1);
    for id in 2..=5 {
        let message = client.receive_error(id, Code::DeadlineExceeded);
        assert!(message.contains("timeout_ms"), "{message}");
    }
    assert_eq!(client.receive_ok(6), b"patient");
    assert_eq!(client.receive_ok(7), b"without a bound");
});

for_every_model!(patience_counts_from_the_last_byte_and_not_from_the_connection, |model| {
    let server = model.start();
    let mut client = server.connect();
    for id in 0..3 {
        // Longer on the line than it is patient: only a whole request can be late.
        let bytes = crate::client::framed(&[Request { timeout_ms: 2_000, ..echo(id, b"slow") }]);
        client.send_bytes(&bytes[..6]);
        client.send_bytes(&bytes[6..]);
        assert_eq!(client.receive_ok(id), b"slow");
    }
});
