//! The connection against its model, in any order of events: a byte for each limit, a byte for how
//! many steps there are, two bytes for each step, and then all that the peer says.

#![no_main]

#[path = "../../common/tests/connection/model.rs"]
mod model;

use common::Limits;
use libfuzzer_sys::fuzz_target;

use self::model::{Pair, Step};

fuzz_target!(|bytes: &[u8]| {
    let Some(([frame, unsent, count], bytes)) = bytes.split_first_chunk() else { return };
    let limits = Limits {
        frame_bytes_max: usize::from(*frame),
        unsent_bytes_max: usize::from(*unsent).max(1),
    };
    let (steps, _) = bytes.as_chunks();
    let steps = &steps[..steps.len().min(usize::from(*count))];
    let script = &bytes[2 * steps.len()..];
    let mut pair = Pair::new(limits, script.to_vec());
    for step in steps {
        pair.step(step_of(*step));
    }
    pair.finish();
});

fn step_of([kind, size]: [u8; 2]) -> Step {
    match kind % 8 {
        0 => Step::Receive(size.into()),
        1 => Step::Take,
        2 => Step::Respond(size.into()),
        3 => Step::Sent(size.into()),
        4 => Step::Stalled,
        5 => Step::Eof,
        6 => Step::Drain,
        _ => Step::Wait(u64::from(size) * 50),
    }
}
