//! The servers' own counters say what they did: whoever explains a figure by them relies on it.

use common::stats::Snapshot;
use common::{Response, frame};

use crate::client::{echo, framed};
use crate::models::Variant;
use crate::server::eventually;

/// Echoes, one at a time.
const ECHOES: u64 = 200;
const PAYLOAD: &[u8] = &[7; 64];

/// The counters of a server that has answered them and has no connection any more.
fn counted(model: Variant) -> Snapshot {
    let mut server = model.start();
    let mut client = server.connect();
    for id in 0..ECHOES {
        client.echoes(id, PAYLOAD);
    }
    drop(client);
    eventually("open connections", 0, || server.stats.snapshot().open);
    server.drained();
    server.stats.snapshot()
}

/// How many bytes those requests and replies are.
fn bytes() -> (u64, u64) {
    let (mut asked, mut answered) = (0, Vec::new());
    for id in 0..ECHOES {
        asked += framed(&[echo(id, PAYLOAD)]).len();
        frame::encode(&Response::ok(id, PAYLOAD.to_vec()), &mut answered);
    }
    (asked as u64, answered.len() as u64)
}

for_every_model!(each_request_is_read_and_written, |model| {
    let now = counted(model);
    assert_eq!((now.requests, now.failed), (ECHOES, 0));
    // One at a time: no read brings two, and no write takes two.
    assert!(now.reads >= ECHOES && now.writes >= ECHOES, "{now:?}");
    let (asked, answered) = bytes();
    assert_eq!((now.bytes_read, now.bytes_written), (asked, answered));
    let echoed = ECHOES * PAYLOAD.len() as u64;
    assert_eq!(now.bytes_copied, asked + echoed + answered);
});

for_every_model!(what_a_model_asks_of_others_is_counted, |model| {
    let now = counted(model);
    let hands_over = model.is_pool() && !model.keeps_worker();
    assert_eq!(now.handoffs >= ECHOES, hands_over, "{now:?}");
    assert!(model.model.name != "threads" || now.waits + now.registrations + now.handoffs == 0);
    assert!(model.model.name != "epoll" || now.registrations == 1, "once for a connection's life");
    let re_arms = model.handoff == common::config::Handoff::Ready;
    assert_eq!(now.registrations >= ECHOES, re_arms, "{now:?}");
});
