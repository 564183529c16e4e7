//! Against our own server: one that has too much to do, and one that drains.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, iter};

use client::{Resilient, State};
use common::config::Overload;
use common::{Config, Request, Service, Shutdown, Stats, Work};
use futures_util::{StreamExt, stream};
use servers::grpc;
use servers::grpc::generated::quintet_client::QuintetClient;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::{PATIENCE, in_time, patient};

const CALL: &str = "/quintet.v1.Quintet/Call";

struct Server {
    address: SocketAddr,
    stats: Stats,
    shutdown: Shutdown,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { drain_timeout: Duration::from_secs(5), ..Config::default() };
        adjust(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stats) = (Shutdown::new(), Stats::new());
        let (its_shutdown, its_stats) = (shutdown.clone(), stats.clone());
        let thread = thread::spawn(move || {
            grpc::serve(listener, Service::new(), &config, &its_shutdown, &its_stats)
        });
        Self { address, stats, shutdown, thread: Some(thread) }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    fn requests(&self) -> u64 {
        self.stats.snapshot().requests
    }

    async fn has_in_progress(&self, count: u64) {
        let begun = Instant::now();
        while self.stats.snapshot().in_progress != count {
            assert!(begun.elapsed() < PATIENCE, "never {count} in progress");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn drains(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drains();
    }
}

fn echo(id: u64) -> Request {
    Request { id, work: Some(Work::Echo(id.to_be_bytes().to_vec())), ..Request::default() }
}

fn wait(id: u64, time: Duration) -> Request {
    let micros = u64::try_from(time.as_micros()).unwrap();
    Request { id, work: Some(Work::WaitUs(micros)), ..Request::default() }
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again_when_it_says() {
    /// What its `RetryInfo` says, at the least, between two attempts.
    const SAID: Duration = Duration::from_millis(100);
    const CALLS: u32 = 4;
    let server = Server::start(|config| {
        config.in_flight_max = 1;
        config.overload = Overload::Reject;
    });
    let builder = patient().idempotent(CALL).breaker(client::BREAKER);
    let resilient: Resilient = builder.over(server.endpoint().connect_lazy());
    let mut client = QuintetClient::new(resilient.clone());
    let mut holds = client.clone();
    let held = tokio::spawn(async move { holds.call(wait(1, PATIENCE * 2)).await });
    server.has_in_progress(1).await;
    let began = Instant::now();
    for id in 0..CALLS {
        let call = client.call(wait(id.into(), Duration::from_millis(1)));
        assert_eq!(in_time(call).await.unwrap_err().code(), Code::ResourceExhausted);
    }
    let again = client::ATTEMPTS_MAX - 1;
    assert_eq!(server.stats.snapshot().rejected, u64::from(CALLS * (again + 1)));
    assert!(began.elapsed() >= SAID * CALLS * again, "{:?}", began.elapsed());
    assert_eq!(resilient.breaker().state(), State::Closed);
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    server.has_in_progress(0).await;
    in_time(client.call(wait(20, Duration::from_millis(1)))).await.unwrap();
}

/// What calls have come to, one caller's after the other.
#[derive(Debug, Default)]
struct Came {
    answered: AtomicUsize,
    unavailable: AtomicUsize,
    is_over: AtomicBool,
}

async fn calls(mut client: QuintetClient<Resilient>, came: Arc<Came>) {
    let mut id = 0;
    while !came.is_over.load(Ordering::SeqCst) {
        id += 1;
        match in_time(client.call(echo(id))).await {
            Ok(reply) => {
                assert_eq!(reply.into_inner().payload, id.to_be_bytes());
                came.answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                came.unavailable.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// None of these calls is marked as idempotent: what is tried again was provably not begun, and
/// what was answered was carried out once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_a_drain_refuses_are_answered_elsewhere() {
    const CALLERS: usize = 16;
    const MANY: usize = 500;
    let mut first = Server::start(|_| ());
    let second = Server::start(|_| ());
    let channel = Channel::balance_list([first.endpoint(), second.endpoint()].into_iter());
    let resilient: Resilient = patient().attempts_max(30).over(channel);
    let came = Arc::new(Came::default());
    let client = QuintetClient::new(resilient);
    let callers = iter::repeat_with(|| tokio::spawn(calls(client.clone(), came.clone())));
    let callers: Vec<_> = callers.take(CALLERS).collect();
    until("both serve", || first.requests() > 50 && second.requests() > 50).await;
    tokio::task::block_in_place(|| first.drains());
    let then = came.answered.load(Ordering::SeqCst);
    until("the other serves", || came.answered.load(Ordering::SeqCst) > then + MANY).await;
    came.is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let (answered, unavailable) = (&came.answered, &came.unavailable);
    let [answered, unavailable] = [answered, unavailable].map(|count| count.load(Ordering::SeqCst));
    let carried_out = usize::try_from(first.requests() + second.requests()).unwrap();
    assert!((answered..=answered + unavailable).contains(&carried_out), "{carried_out} {came:?}");
    assert_eq!(unavailable, 0, "nobody was lost in a drain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_a_drain_refuses_are_unavailable_where_there_is_no_other() {
    let mut server = Server::start(|_| ());
    let resilient: Resilient = patient().over(server.endpoint().connect_lazy());
    let came = Arc::new(Came::default());
    let client = QuintetClient::new(resilient);
    let callers = iter::repeat_with(|| tokio::spawn(calls(client.clone(), came.clone())));
    let callers: Vec<_> = callers.take(8).collect();
    until("it serves", || server.requests() > 50).await;
    tokio::task::block_in_place(|| server.drains());
    until("it refuses", || came.unavailable.load(Ordering::SeqCst) > 10).await;
    came.is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(server.requests(), u64::try_from(came.answered.load(Ordering::SeqCst)).unwrap());
}

#[tokio::test]
async fn a_conversation_goes_through_all_layers() {
    let server = Server::start(|_| ());
    let resilient: Resilient = patient().over(server.endpoint().connect_lazy());
    let mut client = QuintetClient::new(resilient);
    let requests = stream::iter((0..1000).map(echo));
    let responses = in_time(client.converse(requests)).await.unwrap().into_inner();
    let ids: Vec<_> = in_time(responses.map(|response| response.unwrap().id).collect()).await;
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
}
