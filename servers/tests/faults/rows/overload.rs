//! Twice the work that there is capacity for, from clients that do not wait for each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Code;

use crate::bystander::{Bystander, PACE};
use crate::client::block;
use crate::gauge::Growth;
use crate::matrix::{Ground, Record};
use crate::peer::Peer;
use crate::process::ServerProcess;

/// A server's capacity: so many requests at a time, each so long, whatever the machine.
const IN_FLIGHT_MAX: u32 = 8;
const WORK: Duration = Duration::from_millis(20);
/// Enough that the requests of one do not stand behind each other.
const PEERS: u32 = 64;

pub(super) fn overload_wait(ground: &Ground, record: &mut Record) {
    let Outcome { capacity, overload } = compare(ground, record, "wait");
    let lost = overload.sent - overload.done;
    record.figure("answered of all", overload.done as f64 / overload.sent as f64, "");
    record.holds(lost == 0, || format!("{lost} of {} were not done", overload.sent));
    goodput(record, &capacity, &overload, ground.is_measured);
}

pub(super) fn overload_reject(ground: &Ground, record: &mut Record) {
    let Outcome { capacity, overload } = compare(ground, record, "reject");
    record.figure("rejected", overload.rejected as f64, "");
    record.holds(overload.rejected > 0, || "nothing was rejected".to_owned());
    let answered = overload.done + overload.rejected;
    record.holds(answered == overload.sent, || {
        format!("{answered} of {} were answered", overload.sent)
    });
    let (promised, busy) = (Duration::from_millis(10), Duration::from_secs(2));
    record.within("rejected within (p99)", overload.rejection_p99, promised, busy);
    goodput(record, &capacity, &overload, ground.is_measured);
}

struct Outcome {
    capacity: Load,
    overload: Load,
}

/// What came of a load.
#[derive(Default)]
struct Load {
    sent: u64,
    done: u64,
    rejected: u64,
    rejection_p99: Duration,
    /// From the first request to the last answer.
    took: Duration,
}

fn compare(ground: &Ground, record: &mut Record, overload: &str) -> Outcome {
    const FLAT_MIB: f64 = 4.0;
    let flags = [format!("--overload={overload}"), format!("--max-in-flight={IN_FLIGHT_MAX}")];
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    if ground.model.name == servers::POOL.name {
        flags.push("--workers=8"); // as many as may be in flight: each is done by one of them
    }
    let server = ground.serve(&flags);
    // In the pool an echo needs a worker too.
    let is_refused = ground.model.name == servers::POOL.name && overload == "reject";
    let bystander = if is_refused {
        Bystander::among(ground.wire, server.address, PACE)
    } else {
        ground.bystander(&server)
    };
    let time = Duration::from_secs(if ground.is_measured { 3 } else { 1 });
    let capacity = drive(ground, &server, 1.0, time);
    let growth = Growth::of(&server);
    let overload = drive(ground, &server, 2.0, time);
    record.at_most("growth", growth.peak_mib(), "MiB", FLAT_MIB, 2.0 * FLAT_MIB);
    record.bystander(bystander.leave());
    Outcome { capacity, overload }
}

fn goodput(record: &mut Record, capacity: &Load, overload: &Load, is_measured: bool) {
    let rate = |load: &Load| load.done as f64 / load.took.as_secs_f64();
    let share = rate(overload) / rate(capacity);
    record.figure("goodput at capacity", rate(capacity), "/s");
    record.figure("goodput at twice that", rate(overload), "/s");
    // Of a machine that does other things, no more than that it goes on.
    let least = if is_measured { 0.8 } else { 0.4 };
    record.holds(share >= least, || format!("goodput: {share:.2} of that at capacity"));
}

/// Sends at `times` the capacity for `time`, each request at its time, whatever became of those
/// before it.
fn drive(ground: &Ground, server: &ServerProcess, times: f64, time: Duration) -> Load {
    let capacity = f64::from(IN_FLIGHT_MAX) / WORK.as_secs_f64();
    let interval = Duration::from_secs_f64(f64::from(PEERS) / (capacity * times));
    let (began, rejections_us) = (Instant::now(), std::sync::Mutex::new(Vec::new()));
    let [sent, done, rejected] = [(); 3].map(|()| AtomicU64::new(0));
    thread::scope(|scope| {
        for index in 0..PEERS {
            let peer = ground.connect(server);
            let first = interval * index / PEERS;
            let schedule = (0..).map(move |turn| first + interval * turn);
            let due: Vec<_> = schedule.take_while(|at| *at < time).collect();
            sent.fetch_add(due.len() as u64, Ordering::Relaxed);
            let sender = peer.stream().try_clone().unwrap();
            let (to_send, wire) = (due.clone(), ground.wire);
            scope.spawn(move || {
                for (id, at) in (0..).zip(to_send) {
                    thread::sleep(at.saturating_sub(began.elapsed()));
                    let bytes = wire.requests(&[block(id, WORK)]);
                    std::io::Write::write_all(&mut &sender, &bytes).expect("a request goes out");
                }
            });
            let (done, rejected, rejections_us) = (&done, &rejected, &rejections_us);
            scope.spawn(move || collect(peer, &due, began, [done, rejected], rejections_us));
        }
    });
    let mut rejections: Vec<Duration> = rejections_us.into_inner().unwrap();
    rejections.sort_unstable();
    let rejection_p99 = rejections.get(rejections.len().saturating_sub(1) * 99 / 100);
    Load {
        sent: sent.into_inner(),
        done: done.into_inner(),
        rejected: rejected.into_inner(),
        rejection_p99: rejection_p99.copied().unwrap_or_default(),
        took: began.elapsed(),
    }
}

fn collect(
    mut peer: Peer,
    due: &[Duration],
    began: Instant,
    [done, rejected]: [&AtomicU64; 2],
    rejections: &std::sync::Mutex<Vec<Duration>>,
) {
    for (id, at) in (0..).zip(due) {
        let response = peer.receive();
        assert_eq!(response.id, id);
        if response.code == Code::ResourceExhausted as u32 {
            rejected.fetch_add(1, Ordering::Relaxed);
            rejections.lock().unwrap().push(began.elapsed().saturating_sub(*at));
        } else {
            assert_eq!(response.code, 0, "{response:?}");
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}
