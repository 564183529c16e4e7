//! A client's patience that ends before the work begins.

use std::thread;
use std::time::{Duration, Instant};

use common::{Code, Request};

use crate::bystander::Caller;
use crate::client::{block, compute, echo, wait};
use crate::matrix::{Ground, Record};
use crate::patience::eventually;
use crate::process::ServerProcess;

pub(super) fn deadline_before_work(ground: &Ground, record: &mut Record) {
    let server = ground.serve(&[]);
    let bystander = ground.bystander(&server);
    if ground.is_framed() {
        behind_another_on_its_connection(ground, &server, record);
    } else {
        behind_others_for_the_cores(ground, &server, record);
    }
    record.bystander(bystander.leave());
}

fn behind_another_on_its_connection(ground: &Ground, server: &ServerProcess, record: &mut Record) {
    const LONG: Duration = Duration::from_millis(200);
    let mut peer = ground.connect(server);
    let minute = Duration::from_mins(1);
    let late = [echo(2, b"late"), wait(3, minute), compute(4, 1_000_000), block(5, minute)];
    let late = late.map(|request| Request { timeout_ms: 50, ..request });
    let began = Instant::now();
    peer.send(&[vec![wait(1, LONG)], late.to_vec(), vec![echo(6, b"patient")]].concat());
    peer.receive_ok(1);
    (2..=5).for_each(|id| peer.receive_error(id, Code::DeadlineExceeded));
    assert_eq!(peer.receive_ok(6), b"patient");
    // Any of the late ones would have taken more.
    let (most, busy) = (Duration::from_millis(250), Duration::from_secs(5));
    record.within("two minutes of late work behind 200 ms, after", began.elapsed(), most, busy);
}

/// All cores are taken by work that came before, and the late one has no patience for it.
fn behind_others_for_the_cores(ground: &Ground, server: &ServerProcess, record: &mut Record) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut caller = Caller::connect(ground.wire, server.address).expect("it is let in");
    let rounds = rounds_that_take(&mut caller, Duration::from_millis(200));
    let before: Vec<_> = (0..2 * cores as u64)
        .map(|id| {
            let (wire, address) = (ground.wire, server.address);
            thread::spawn(move || {
                let mut caller = Caller::connect(wire, address).expect("it is let in");
                let response = caller.call(compute(id, rounds)).expect("it is answered");
                assert_eq!(response.code, 0, "{response:?}");
            })
        })
        .collect();
    eventually("cores are taken", true, || server.stats().in_progress >= 2 * cores as u64);
    let began = Instant::now();
    let late = Request { timeout_ms: 1, ..compute(1, 1_000_000) };
    let response = caller.call(late).expect("it is answered");
    assert_eq!(response.code, Code::DeadlineExceeded as u32, "{response:?}");
    record.figure("late work told so after", crate::matrix::ms(began.elapsed()), "ms");
    for thread in before {
        thread.join().expect("those before are answered");
    }
}

/// How much work keeps a core for about so long: builds differ by a hundred.
fn rounds_that_take(caller: &mut Caller, time: Duration) -> u32 {
    const TRIAL: u32 = 2000;
    let began = Instant::now();
    caller.call(compute(0, TRIAL)).expect("it is answered");
    let share = time.as_secs_f64() / began.elapsed().as_secs_f64();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a bounded estimate
    let rounds = (f64::from(TRIAL) * share) as u32;
    rounds.clamp(1, 1_000_000)
}
