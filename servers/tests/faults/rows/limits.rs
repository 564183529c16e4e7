//! More connections than there is room for: by the server's own limit, and by the kernel's.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::Code;

use crate::bystander::Caller;
use crate::client::echo;
use crate::gauge;
use crate::matrix::{Ground, Record};
use crate::patience::{PATIENCE, eventually};
use crate::process::ServerProcess;

pub(super) fn over_max_connections(ground: &Ground, record: &mut Record) {
    const CONNECTIONS_MAX: u64 = 8;
    const REFUSED: u64 = 20;
    let server = ground.serve(&[&format!("--max-connections={CONNECTIONS_MAX}")]);
    let bystander = ground.bystander(&server);
    let mut inside: Vec<_> = (1..CONNECTIONS_MAX)
        .map(|id| {
            let mut peer = ground.connect(&server);
            peer.send(&[echo(id, b"served")]);
            peer.receive_ok(id);
            peer
        })
        .collect();
    for _ in 0..REFUSED {
        let mut peer = ground.mute(&server);
        if ground.is_framed() {
            peer.receive_error(0, Code::ResourceExhausted);
        }
        peer.closed_within(PATIENCE).expect("whoever is refused is closed");
    }
    eventually("(accepted, refused, open)", (CONNECTIONS_MAX, REFUSED, CONNECTIONS_MAX), || {
        let now = server.stats();
        (now.accepted, now.refused, now.open)
    });
    record.figure("served", CONNECTIONS_MAX as f64, "");
    record.figure("refused", REFUSED as f64, "");
    let left_at = Instant::now();
    drop(inside.pop());
    until_served(ground, &server);
    let (soon, busy) = (Duration::from_millis(100), Duration::from_secs(5));
    record.within("room again after", left_at.elapsed(), soon, busy);
    record.bystander(bystander.leave());
}

/// Tries again until a newcomer is served.
#[track_caller]
fn until_served(ground: &Ground, server: &ServerProcess) {
    eventually("a newcomer is served", true, || {
        Caller::connect(ground.wire, server.address).and_then(|mut caller| caller.echo(1)).is_ok()
    });
}

pub(super) fn out_of_descriptors(ground: &Ground, record: &mut Record) {
    const DESCRIPTORS_MAX: usize = 64;
    const HELD: Duration = Duration::from_secs(3);
    let server = ground.serve_with_descriptors(DESCRIPTORS_MAX, &[]);
    let bystander = ground.bystander(&server);
    let crowd: Vec<_> = (0..2 * DESCRIPTORS_MAX + 2)
        .map(|_| TcpStream::connect_timeout(&server.address, PATIENCE).expect("the backlog"))
        .collect();
    eventually("out of them", true, || server.descriptors() >= DESCRIPTORS_MAX);
    let (cpu, lines) = (gauge::cpu_time(&server), server.log_lines());
    thread::sleep(HELD);
    let cpu = gauge::cpu_time(&server).saturating_sub(cpu);
    record.at_most("CPU in 3 s", cpu.as_secs_f64(), "s", 0.1, 1.0);
    let lines = (server.log_lines() - lines) as f64;
    record.at_most("log lines", lines, "", 10.0, 10.0);
    let released_at = Instant::now();
    drop(crowd);
    until_served(ground, &server);
    let (promised, busy) = (Duration::from_secs(1), Duration::from_secs(5));
    record.within("serving again after", released_at.elapsed(), promised, busy);
    record.bystander(bystander.leave());
}
