//! What threads of ours share, in many orders of their steps: the real servers with their sockets,
//! and shuttle, which says at each lock and each wait who goes on. It pays a build of its own, and so
//! runs only when asked:
//!
//! ```text
//! cargo test --package servers --lib --features shuttle schedules
//! ```
//!
//! `SCHEDULES=100000` asks for more of them. A wake-up that is lost shows as steps without end, of
//! which shuttle allows a million, or as threads that all wait. Not here, because they block in the
//! kernel: the conversations of threads and of `--handoff connection`, of which only what they share
//! is checked (`blocking/schedules.rs`). Orders that only weak memory allows are loom's affair
//! (`common/tests/loom.rs`).

mod client;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use common::config::{Handoff, Overload};
use common::{Code, Config, Response, Service, Shutdown, Stats, Timeouts};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{FailurePersistence, Runner};

use self::client::{Client, End};
use crate::sync::thread;
use crate::{EPOLL, Model, POOL, listener};

/// Orders by chance, and as many with few changes of thread at the worst of moments.
const SCHEDULES: usize = 1000;
/// So many of those.
const CHANGES: usize = 3;

/// More than any thread here needs, unoptimised: a read has its chunk on the stack.
const STACK_BYTES: usize = 512 * 1024;

/// Never waited for: the steps end before.
const FOREVER: Duration = Duration::from_hours(1);

/// Runs `scene` in many orders.
pub(crate) fn check(scene: impl Fn() + Send + Sync + 'static) {
    let asked = std::env::var("SCHEDULES").map(|asked| asked.parse().expect("a number"));
    let schedules = asked.unwrap_or(SCHEDULES);
    let scene = Arc::new(scene);
    run(RandomScheduler::new(schedules), Arc::clone(&scene));
    run(PctScheduler::new(CHANGES, schedules), scene);
}

fn run(scheduler: impl Scheduler + 'static, scene: Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = shuttle::Config::new();
    config.stack_size = STACK_BYTES;
    // The kernel has a part in it, so that a schedule alone would not bring the failure again.
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || scene());
}

/// A server with two workers, or one loop, and nothing that a clock would end.
fn patient(handoff: Handoff, in_flight_max: usize, overload: Overload) -> Config {
    Config {
        workers: NonZeroUsize::MIN.saturating_add(1),
        in_flight_max,
        overload,
        handoff,
        timeouts: Timeouts { idle: None, read: None, write: None },
        drain_timeout: FOREVER,
        ..Config::default()
    }
}

/// A server that runs.
struct Stage {
    address: SocketAddr,
    shutdown: Shutdown,
    stats: Stats,
    server: thread::JoinHandle<io::Result<()>>,
}

impl Stage {
    fn open(model: Model, config: Config) -> Self {
        let listener = listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stats) = (Shutdown::new(), Stats::new());
        let server = {
            let (shutdown, stats) = (shutdown.clone(), stats.clone());
            move || (model.serve)(listener, Service::new(), &config, &shutdown, &stats)
        };
        Self { address, shutdown, stats, server: thread::spawn(server) }
    }

    /// Waits until the server has ended; what it says that it did.
    fn close(self) -> common::stats::Snapshot {
        self.server.join().unwrap().unwrap();
        let now = self.stats.snapshot();
        assert_eq!((now.open, now.queued, now.in_progress), (0, 0, 0));
        now
    }
}

/// A client who asks while it is answered, and takes its leave; and one who asks for two things at a
/// time, and makes no further sign. Then a drain, which has nothing to wait for.
fn each_request_is_answered_once(model: Model, config: Config) {
    const REQUESTS: usize = 4;
    let may_refuse = config.overload == Overload::Reject;
    check(move || {
        let stage = Stage::open(model, config.clone());
        let address = stage.address;
        let leaves = thread::spawn(move || {
            let client = Client::connect(address);
            client.ask(0..REQUESTS as u64);
            client.half_close();
            let (responses, end) = client.receive_all();
            assert_eq!((responses.len(), end), (REQUESTS, End::Closed));
            assert_in_order(&responses, may_refuse);
        });
        let stays = thread::spawn(move || {
            let client = Client::connect(address);
            let mut responses = Vec::new();
            for id in (0..REQUESTS as u64).step_by(2) {
                client.ask(id..id + 2);
                responses.extend(client.receive(2));
            }
            assert_in_order(&responses, may_refuse);
        });
        leaves.join().unwrap();
        stays.join().unwrap();
        stage.shutdown.trigger();
        assert_eq!(stage.close().requests, 2 * REQUESTS as u64);
    });
}

/// Clients who stay, and a drain that comes at any moment.
fn a_drain_answers_what_was_begun_and_ends(model: Model, config: Config) {
    check(move || {
        let stage = Stage::open(model, config.clone());
        let clients = [1, 2].map(|requests| {
            let client = Client::connect(stage.address);
            thread::spawn(move || {
                client.ask(0..requests);
                let (responses, end) = client.receive_all();
                assert_in_order(&responses, false);
                (responses.len() as u64, end)
            })
        });
        thread::yield_now();
        stage.shutdown.trigger();
        let answered = stage.close().requests;
        let ended = clients.map(|client| client.join().unwrap());
        let received: u64 = ended.iter().map(|(received, _)| received).sum();
        assert!(received <= answered);
        // A reset, which is for a request that nobody has read, may overtake a reply.
        if ended.iter().all(|(_, end)| *end == End::Closed) {
            assert_eq!(received, answered);
        }
    });
}

fn assert_in_order(responses: &[Response], may_refuse: bool) {
    for (id, response) in (0..).zip(responses) {
        let is_refused = response.code == Code::ResourceExhausted as u32;
        assert!(response.code == Code::Ok as u32 || may_refuse && is_refused, "{response:?}");
        assert_eq!(response.id, id);
    }
}

/// Places for all that the clients ask for at a time.
const ENOUGH: usize = 16;

mod pool {
    use super::*;

    #[test]
    fn requests_handed_over_are_answered_once() {
        let config = patient(Handoff::Requests, ENOUGH, Overload::Wait);
        each_request_is_answered_once(POOL, config);
    }

    #[test]
    fn clients_handed_over_are_answered_once() {
        let config = patient(Handoff::Ready, ENOUGH, Overload::Wait);
        each_request_is_answered_once(POOL, config);
    }

    #[test]
    fn requests_that_find_no_room_are_answered_once() {
        each_request_is_answered_once(POOL, patient(Handoff::Requests, 1, Overload::Reject));
    }

    #[test]
    fn a_drain_ends_while_requests_are_handed_over() {
        let config = patient(Handoff::Requests, ENOUGH, Overload::Wait);
        a_drain_answers_what_was_begun_and_ends(POOL, config);
    }

    #[test]
    fn a_drain_ends_while_clients_are_handed_over() {
        let config = patient(Handoff::Ready, ENOUGH, Overload::Wait);
        a_drain_answers_what_was_begun_and_ends(POOL, config);
    }
}

mod epoll {
    use super::*;

    /// One loop, with room for one request: the other client's waits in line.
    fn narrow() -> Config {
        Config { workers: NonZeroUsize::MIN, ..patient(Handoff::default(), 1, Overload::Wait) }
    }

    #[test]
    fn what_comes_back_from_other_threads_is_answered_once() {
        each_request_is_answered_once(EPOLL, narrow());
    }

    #[test]
    fn what_comes_back_at_once_is_answered_once() {
        each_request_is_answered_once(EPOLL, Config { in_flight_max: ENOUGH, ..narrow() });
    }

    #[test]
    fn a_drain_ends_while_requests_are_elsewhere() {
        a_drain_answers_what_was_begun_and_ends(EPOLL, narrow());
    }
}
