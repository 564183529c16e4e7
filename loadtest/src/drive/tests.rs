//! The loop itself, where no run could tell: which connection is whose turn.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::pace::Pace;
use crate::plan::{Clock, Planner, Stop};
use crate::recorder::Recorder;
use crate::share::Interrupt;
use crate::template::Templates;

/// An open loop over connections that nobody answers, and who listens for them.
fn open_loop(connections: usize, requests_max: u64) -> (Loop<Framed>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target: crate::target::Target = format!("raw://{address}").parse().unwrap();
    let mix = "echo:1".parse().unwrap();
    let (schedule, stop) = (Schedule::Open(Pace::fixed(1e9)), Stop::Count(9));
    let share = Share {
        target,
        planner: Planner::new(schedule, stop, Duration::ZERO, (&mix, 1), (0, 1)),
        templates: Arc::new(Templates::new(&mix, 1, target.protocol)),
        clock: Clock::start(),
        timeout_ns: 1_000_000_000,
        interrupt: Interrupt::default(),
        requests_per_connection: NonZeroU64::new(requests_max),
        recorder: Recorder::default(),
        live: std::sync::Arc::default(),
    };
    let connect = |_| TcpStream::connect(address).unwrap();
    (Loop::new(share, (0..connections).map(connect).collect()).unwrap(), listener)
}

#[test]
fn the_round_prefers_connections_that_carry_more() {
    let (mut open, _listener) = open_loop(3, 2);
    let mut round = Vec::new();
    for index in 0..8 {
        let at = open.next_of_round();
        round.push(at);
        if index == 1 {
            // The second is used up before its turn comes again.
            open.send(1, open.share.planner.clone().next(u64::MAX).unwrap(), 0);
        }
        let planned = open.share.planner.next(u64::MAX).unwrap();
        open.send(at, planned, 0);
    }
    assert_eq!(round, [0, 1, 2, 0, 2, 0, 1, 2], "at last all are used up, and wait alike");
}
