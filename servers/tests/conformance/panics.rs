//! A handler that panics: its own request is told so, and nobody and nothing else feels it.

use std::time::Duration;

use common::{Code, Service};

use crate::client::{block, compute, echo, get_user, wait};
use crate::server::eventually;

const CURSED: u64 = 13;

fn cursed_service() -> Service {
    Service::with_fault(|id| assert_ne!(id, CURSED, "a test's panic, on purpose"))
}

for_every_model!(a_panic_is_one_requests_and_no_more, |model| {
    let server = model.start_with(cursed_service(), 3, |_| ());
    let (mut client, mut bystander) = (server.connect(), server.connect());
    let moment = Duration::from_millis(1);
    // More often than there are workers: none may be lost.
    for round in 0..5 {
        let works = [
            echo(CURSED, b""),
            wait(CURSED, moment),
            compute(CURSED, 1),
            block(CURSED, moment),
            get_user(CURSED, "1"),
        ];
        for request in works {
            client.send(&[echo(round, b"before"), request, echo(round, b"after")]);
            client.receive_ok(round);
            let told = client.receive_error(CURSED, Code::Internal);
            assert!(!told.contains("on purpose"), "what panicked is the server's own: {told}");
            client.receive_ok(round);
            bystander.echoes(round, b"beside it");
        }
    }
    eventually("in progress", 0, || server.stats.snapshot().in_progress);
    // A reply may arrive before it is counted.
    eventually("(open, failed)", (2, 25), || {
        let now = server.stats.snapshot();
        (now.open, now.failed)
    });
});
