//! A real Envoy in front of two `grpc` servers: calls of each kind pass through it, and while one
//! server drains none is lost. It pays with three processes a test.

#[allow(dead_code, unused_macros, unused_imports)] // each test target uses its part of it
#[macro_use]
#[path = "../harness/mod.rs"]
mod harness;

mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::Request;
use rustix::process::Signal;
use servers::GRPC;
use servers::grpc::generated::helloworld::HelloRequest;
use servers::grpc::generated::helloworld::greeter_client::GreeterClient;
use servers::grpc::generated::quintet_client::QuintetClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use harness::client::{echo, wait};
use harness::patience::{PATIENCE, eventually};
use harness::process::ServerProcess;
use proxy::Envoy;

const TEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Calls that are in flight when a drain begins, and how long they take: less than a drain may.
const LONG_CALLS: u64 = 20;
const LONG: Duration = Duration::from_secs(1);
/// Clients that go on calling, and how long one of their calls takes.
const CLIENTS: u64 = 8;
const SHORT: Duration = Duration::from_millis(5);

/// Two servers, and Envoy in front of them.
struct Scene {
    servers: [ServerProcess; 2],
    envoy: Envoy,
}

impl Scene {
    fn set(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let servers = [(); 2].map(|()| ServerProcess::start(GRPC, &arguments));
        let envoy = Envoy::start([servers[0].address, servers[1].address]);
        Self { servers, envoy }
    }

    async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.envoy.address)).unwrap();
        endpoint.timeout(PATIENCE).connect().await.unwrap()
    }

    fn requests(&self, server: usize) -> u64 {
        self.servers[server].stats().requests
    }
}

/// Runs `test` on a runtime of its own, whose workers leave it free to wait for processes.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(TEST_TIMEOUT, test).await });
    ended.expect("the test takes too long");
}

#[test]
fn calls_of_each_kind_pass_through() {
    let scene = Scene::set(&[]);
    run(async {
        let channel = scene.connect().await;
        let mut client = QuintetClient::new(channel.clone());
        for id in 0..50 {
            let response = client.call(echo(id, b"through")).await.unwrap().into_inner();
            assert_eq!((response.id, response.payload.as_slice()), (id, b"through".as_slice()));
        }
        for server in 0..2 {
            assert!(scene.requests(server) > 0, "server {server} got no calls");
        }
        let nothing = Request { id: 1, timeout_ms: 0, work: None };
        let status = client.call(nothing).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("work is not set"), "{status}");

        let hello = HelloRequest { name: "Envoy".into() };
        let mut greeter = GreeterClient::new(channel);
        let replies = greeter.say_hello_stream_reply(hello).await.unwrap().into_inner();
        let replies: Vec<_> = replies.map(|reply| reply.unwrap().message).collect().await;
        assert_eq!(replies, ["Hello Envoy"; 3]);
        converse(&mut client).await;
    });
}

/// Each request is sent when the answer to the one before has come: nothing is held back.
async fn converse(client: &mut QuintetClient<Channel>) {
    let (requests, their_end) = mpsc::channel(1);
    requests.send(echo(0, b"0")).await.unwrap();
    let responses = client.converse(ReceiverStream::new(their_end)).await.unwrap();
    let mut responses = responses.into_inner();
    for id in 1..10 {
        assert_eq!(responses.message().await.unwrap().unwrap().id, id - 1);
        requests.send(echo(id, b"and so on")).await.unwrap();
    }
    assert_eq!(responses.message().await.unwrap().unwrap().id, 9);
    drop(requests);
    assert!(responses.message().await.unwrap().is_none());
}

/// It says `NOT_SERVING` for a while before it takes no more: Envoy leaves it meanwhile.
#[test]
fn a_server_that_says_it_will_drain_is_left_and_no_call_is_lost() {
    let mut scene = Scene::set(&["--drain-delay=5s"]);
    run(async {
        let load = Load::begin(&scene).await;
        let leaving = scene.servers[0].address;
        scene.servers[0].signal(Signal::TERM);
        eventually("Envoy finds it healthy", false, || scene.envoy.finds_healthy(leaving));
        eventually("its calls in flight", 0, || scene.servers[0].stats().in_progress);
        let (before, elsewhere) = (scene.requests(0), scene.requests(1));
        eventually("others are served", true, || scene.requests(1) > elsewhere + 100);
        assert_eq!(scene.requests(0), before, "calls still go to the server that drains");
        assert!(scene.servers[0].ended().success());
        load.end().await;
    });
}

/// It says nothing before: what it refuses then is begun elsewhere.
#[test]
fn a_server_that_drains_at_once_loses_no_call() {
    let mut scene = Scene::set(&[]);
    run(async {
        let load = Load::begin(&scene).await;
        scene.servers[0].signal(Signal::TERM);
        assert!(scene.servers[0].ended().success());
        let elsewhere = scene.requests(1);
        eventually("others are served", true, || scene.requests(1) > elsewhere + 100);
        load.end().await;
    });
}

/// Clients that call again and again, and calls that take long; not one may fail.
struct Load {
    calls: JoinSet<()>,
    ends: Arc<AtomicBool>,
}

impl Load {
    /// Returns once both servers have long calls in flight.
    async fn begin(scene: &Scene) -> Self {
        let (mut calls, ends) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        let id = Arc::new(AtomicU64::new(0));
        let client = QuintetClient::new(scene.connect().await);
        for long in (0..LONG_CALLS).map(|_| true).chain((0..CLIENTS).map(|_| false)) {
            let (mut client, ends, id) = (client.clone(), ends.clone(), id.clone());
            calls.spawn(async move {
                loop {
                    let id = id.fetch_add(1, Ordering::Relaxed);
                    let request = wait(id, if long { LONG } else { SHORT });
                    let response = client.call(request).await.expect("it is answered");
                    assert_eq!(response.into_inner().id, id);
                    if long || ends.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let busy = |server: &ServerProcess| server.stats().in_progress >= LONG_CALLS / 4;
        eventually("long calls in flight", true, || scene.servers.iter().all(busy));
        Self { calls, ends }
    }

    /// All calls have ended well.
    async fn end(mut self) {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(ended) = self.calls.join_next().await {
            ended.expect("a call was lost");
        }
    }
}
