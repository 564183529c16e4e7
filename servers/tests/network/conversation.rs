//! What a far client asks for, all kinds of work one behind the other, and the bytes that it has to
//! get for that: these and no others, in this order, once.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use common::{Request, Response, Work, frame, job};
use servers::grpc::generated::quintet_client::QuintetClient;
use servers::{GRPC, Model};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};

use crate::client::{Client, block, compute, echo, framed, wait};
use crate::path::Impairment;
use crate::server::PATIENCE;

/// The longest that a whole conversation may take.
const CONVERSATION_TIMEOUT: Duration = Duration::from_mins(1);
const MOMENT: Duration = Duration::from_millis(20);

/// Requests that are sent without waiting for answers.
pub(crate) struct Conversation(Vec<Request>);

impl Conversation {
    /// As much as this network carries within seconds.
    pub(crate) fn over(impairment: Impairment) -> Self {
        let Impairment { loss, slow, sliced } = impairment;
        let (rounds, large_bytes) = match (slow, sliced) {
            (true, true) => (1, 10_000),
            (true, false) | (false, true) => (1, 40_000),
            (false, false) => (if loss { 5 } else { 1 }, 40_000),
        };
        let round = |_| {
            [
                echo(0, b""),
                echo(0, &noise(large_bytes / 2)),
                wait(0, MOMENT),
                compute(0, 1_000),
                echo(0, b"a"),
                block(0, MOMENT),
                echo(0, &noise(large_bytes)),
                wait(0, Duration::ZERO),
                echo(0, &noise(700)),
                compute(0, 1),
            ]
        };
        let requests = (0..rounds).flat_map(round);
        Self((1..).zip(requests).map(|(id, request)| Request { id, ..request }).collect())
    }

    /// What goes each way at the least.
    pub(crate) fn bytes(&self, model: Model) -> usize {
        let times = if model.name == GRPC.name { 2 } else { 1 }; // by calls, and on a stream
        times * framed(&self.0).len()
    }

    /// Says all, and compares all that comes back.
    pub(crate) fn hold(&self, model: Model, server: SocketAddr) {
        if model.name == GRPC.name {
            runtime().block_on(async {
                let calls = async {
                    self.call(server).await;
                    self.converse(server).await;
                };
                let in_time = tokio::time::timeout(CONVERSATION_TIMEOUT, calls).await;
                in_time.expect("the conversation takes too long");
            });
        } else {
            self.hold_framed(server);
        }
    }

    fn hold_framed(&self, server: SocketAddr) {
        let client = Client::connect(server);
        let (mut input, mut output) = (client.stream(), client.stream());
        let mut answers = Vec::new();
        thread::scope(|scope| {
            scope.spawn(move || {
                output.write_all(&framed(&self.0)).expect("the server takes what is sent");
                output.shutdown(Shutdown::Write).unwrap();
            });
            input.read_to_end(&mut answers).expect("the server answers, and then ends");
        });
        let mut expected = Vec::new();
        self.0.iter().for_each(|request| frame::encode(&answer_to(request), &mut expected));
        let differs_at = answers.iter().zip(&expected).position(|(one, other)| one != other);
        assert_eq!((differs_at, answers.len()), (None, expected.len()), "not the right bytes");
    }

    /// A call each, all at once on one connection.
    async fn call(&self, server: SocketAddr) {
        let client = connect(server).await;
        let mut calls = JoinSet::new();
        for request in self.0.clone() {
            let mut client = client.clone();
            calls.spawn(async move { (answer_to(&request), client.call(request).await) });
        }
        for (expected, answer) in calls.join_all().await {
            let answer = answer.expect("the call succeeds").into_inner();
            assert!(answer == expected, "a wrong answer to {}", expected.id);
        }
    }

    /// All of them on one stream.
    async fn converse(&self, server: SocketAddr) {
        let requests = tokio_stream::iter(self.0.clone());
        let answers = connect(server).await.converse(requests).await.expect("the stream begins");
        let mut answers = answers.into_inner();
        for request in &self.0 {
            let answer = answers.next().await.expect("no answer is missing").expect("an answer");
            assert!(answer == answer_to(request), "{} in place of {}", answer.id, request.id);
        }
        assert!(answers.next().await.is_none(), "more answers than requests");
    }
}

/// Bytes that are different at every place.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    for (at, four) in (0_u32..).zip(noise.chunks_mut(4)) {
        let hashed = at.wrapping_mul(0x9e37_79b9).rotate_left(16);
        four.copy_from_slice(&hashed.to_be_bytes()[..four.len()]);
    }
    noise
}

fn answer_to(request: &Request) -> Response {
    let payload = match &request.work {
        Some(Work::Echo(payload)) => payload.clone(),
        Some(Work::ComputeRounds(rounds)) => job::digest(request.id, *rounds).to_vec(),
        _ => Vec::new(),
    };
    Response::ok(request.id, payload)
}

/// Echoes one after the other, each checked, while `next` says so; it is told how long one took.
pub(crate) fn echo_once_each(
    model: Model,
    server: SocketAddr,
    mut next: impl FnMut(Duration) -> bool,
) {
    let mut timed = |echo: &mut dyn FnMut(u64)| {
        for id in 0.. {
            let began = Instant::now();
            echo(id);
            if !next(began.elapsed()) {
                return;
            }
        }
    };
    if model.name == GRPC.name {
        let runtime = runtime();
        let mut client = runtime.block_on(connect(server));
        timed(&mut |id| {
            let answer = runtime.block_on(client.call(echo(id, &id.to_be_bytes())));
            assert_eq!(answer.expect("an echo").into_inner().payload, id.to_be_bytes());
        });
    } else {
        let mut client = Client::connect(server);
        timed(&mut |id| client.echoes(id, &id.to_be_bytes()));
    }
}

/// On this thread, and so in its network.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) async fn connect(server: SocketAddr) -> QuintetClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap();
    let endpoint = endpoint.timeout(CONVERSATION_TIMEOUT).connect_timeout(PATIENCE);
    QuintetClient::new(endpoint.connect().await.expect("the server listens"))
}
