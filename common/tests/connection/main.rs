//! The connection against a model of it: whatever happens in whatever order, a server sees of both
//! the same. It pays some milliseconds per hundred cases; the fuzz target takes the model further.

mod model;

use common::{Limits, Request, Response, Work};
use proptest::prelude::*;
use prost::Message;

use self::model::{Pair, READ_BYTES_MAX, Step};

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1..=READ_BYTES_MAX).prop_map(Step::Receive),
        12 => Just(Step::Take),
        10 => (0_usize..60).prop_map(Step::Respond),
        8 => prop_oneof![1_usize..40, Just(usize::MAX)].prop_map(Step::Sent),
        2 => Just(Step::Stalled),
        4 => (0_u64..3000).prop_map(Step::Wait),
        1 => Just(Step::Eof),
        1 => Just(Step::Drain),
    ]
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&length.to_be_bytes(), message].concat()
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let patience = prop_oneof![Just(0_u32), 1_u32..5000];
    let payload = proptest::collection::vec(any::<u8>(), 0..50);
    (any::<u64>(), patience, payload).prop_map(|(id, timeout_ms, payload)| {
        let request = Request { id, timeout_ms, work: Some(Work::Echo(payload)) };
        frame(&request.encode_to_vec())
    })
}

/// Mostly requests, now and then a message that is none, a length above any limit, or rubbish.
fn any_script() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        40 => any_request(),
        1 => Just(frame(&[0xff; 9])),
        1 => Just(vec![0, 1, 0, 0]),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (20_usize..200, 1_usize..150).prop_map(|(frame_bytes_max, unsent_bytes_max)| Limits {
        frame_bytes_max,
        unsent_bytes_max,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None, // a failure that was found becomes a test of its own
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_connection_is_what_the_model_says(
        limits in any_limits(),
        script in any_script(),
        steps in proptest::collection::vec(any_step(), 0..150),
    ) {
        let mut pair = Pair::new(limits, script);
        for step in steps {
            pair.step(step);
        }
        pair.finish();
    }
}

/// Requests and replies that never end where a read or a write does, so that no buffer is ever
/// empty: what is done with must go all the same.
#[test]
fn a_connection_that_is_never_idle_does_not_grow() {
    const ROUNDS: usize = 1000;
    const REPLY_PAYLOAD_BYTES: usize = 10;
    let request = Request { id: 1, timeout_ms: 0, work: Some(Work::Echo(vec![0; 20])) };
    let request = frame(&request.encode_to_vec());
    let reply_bytes = frame(&Response::ok(1, vec![0; REPLY_PAYLOAD_BYTES]).encode_to_vec()).len();
    let limits = Limits { frame_bytes_max: 64, unsent_bytes_max: 64 };
    let mut pair = Pair::new(limits, request.repeat(ROUNDS + 1));
    pair.step(Step::Receive(1));
    for round in 0..ROUNDS {
        pair.step(Step::Receive(request.len()));
        pair.step(Step::Take);
        pair.step(Step::Respond(REPLY_PAYLOAD_BYTES));
        pair.step(Step::Sent(if round == 0 { 1 } else { reply_bytes }));
    }
    pair.finish();
}
