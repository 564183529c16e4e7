//! The one beside the fault: an orderly client that echoes all the while, and must not notice.
//! It pays with a thread, so that nothing that the test waits for holds it up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{Code, Request, Response};
use servers::grpc::generated::quintet_client::QuintetClient;
use tokio::runtime::{self, Runtime};
use tonic::transport::{Channel, Endpoint};

use crate::client::{Client, echo};
use crate::patience::PATIENCE;
use crate::peer::Wire;

/// How often a bystander asks.
pub(crate) const PACE: Duration = Duration::from_millis(10);

/// A client of the contract as any program would write it: over gRPC, tonic's.
pub(crate) enum Caller {
    Framed(Client),
    Grpc(Runtime, Box<QuintetClient<Channel>>),
}

impl Caller {
    pub(crate) fn connect(wire: Wire, address: SocketAddr) -> Result<Self, String> {
        match wire {
            Wire::Framed => Ok(Self::Framed(Client::connect(address))),
            Wire::Grpc => {
                let mut runtime = runtime::Builder::new_multi_thread();
                // A worker of its own: the connection is looked after between two calls.
                let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
                let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
                let channel = runtime.block_on(endpoint.timeout(PATIENCE).connect());
                let channel = channel.map_err(|error| format!("connect: {error:?}"))?;
                let client = QuintetClient::new(channel)
                    .max_decoding_message_size(usize::MAX)
                    .max_encoding_message_size(usize::MAX);
                Ok(Self::Grpc(runtime, Box::new(client)))
            }
        }
    }

    /// The answer; over gRPC a status other than OK is put back into one.
    pub(crate) fn call(&mut self, request: Request) -> Result<Response, String> {
        let id = request.id;
        match self {
            Self::Framed(client) => client
                .try_send(&[request])
                .and_then(|()| client.try_receive())
                .map_err(|error| error.to_string()),
            Self::Grpc(runtime, client) => match runtime.block_on(client.call(request)) {
                Ok(response) => Ok(response.into_inner()),
                Err(status) if std::error::Error::source(&status).is_some() => {
                    Err(format!("{status:?}"))
                }
                Err(status) => Ok(Response {
                    id,
                    code: u32::try_from(i32::from(status.code())).unwrap(),
                    message: status.message().to_owned(),
                    payload: Vec::new(),
                }),
            },
        }
    }

    /// An echo that comes back as it went, or what came instead.
    pub(crate) fn echo(&mut self, id: u64) -> Result<(), String> {
        let payload = id.to_be_bytes();
        let response = self.call(echo(id, &payload))?;
        if response == Response::ok(id, payload.to_vec()) {
            Ok(())
        } else {
            Err(format!("echo {id} was answered by {response:?}"))
        }
    }
}

pub(crate) struct Bystander {
    stop: Arc<AtomicBool>,
    echoes: JoinHandle<(Echoes, Option<String>)>,
}

/// What a bystander saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Echoes {
    pub(crate) latencies: Vec<Duration>,
}

impl Bystander {
    /// Connects, is answered once, and goes on.
    #[track_caller]
    pub(crate) fn beside(wire: Wire, address: SocketAddr, pace: Duration) -> Self {
        Self::of(wire, address, pace, |_| false)
    }

    /// One who is in the same boat: its echoes are refused with those of all others.
    #[track_caller]
    pub(crate) fn among(wire: Wire, address: SocketAddr, pace: Duration) -> Self {
        let refused = format!("code: {}", Code::ResourceExhausted as u32);
        Self::of(wire, address, pace, move |error| error.contains(&refused))
    }

    #[track_caller]
    fn of(
        wire: Wire,
        address: SocketAddr,
        pace: Duration,
        is_fine: impl Fn(&str) -> bool + Send + 'static,
    ) -> Self {
        let mut caller = Caller::connect(wire, address).expect("the bystander is let in");
        caller.echo(0).expect("the bystander is served");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let echoes = thread::spawn(move || {
            let (mut latencies, mut id) = (Vec::new(), 0);
            loop {
                id += 1;
                let began = Instant::now();
                match caller.echo(id) {
                    Ok(()) => latencies.push(began.elapsed()),
                    Err(error) if is_fine(&error) => {}
                    Err(error) => return (Echoes { latencies }, Some(error)),
                }
                if stopped.load(Ordering::Relaxed) {
                    return (Echoes { latencies }, None);
                }
                thread::sleep(pace.saturating_sub(began.elapsed()));
            }
        });
        Self { stop, echoes }
    }

    /// Ends its echoes, none of which may have gone wrong.
    #[track_caller]
    pub(crate) fn leave(self) -> Echoes {
        self.stop.store(true, Ordering::Relaxed);
        let (echoes, error) = self.echoes.join().expect("a bystander reports");
        if let Some(error) = error {
            panic!("the bystander, after {} echoes: {error}", echoes.latencies.len());
        }
        echoes
    }

    /// The same where the server drains, and so ends the conversation: after an answer.
    #[track_caller]
    pub(crate) fn was_let_go(self) -> Echoes {
        self.stop.store(true, Ordering::Relaxed);
        let (echoes, error) = self.echoes.join().expect("a bystander reports");
        if let Some(error) = error {
            assert!(!error.contains("was answered by"), "the bystander: {error}");
        }
        echoes
    }
}

impl Echoes {
    pub(crate) fn add(&mut self, other: Echoes) {
        self.latencies.extend(other.latencies);
    }

    /// The latency that 99 of 100 echoes kept within.
    pub(crate) fn p99(&self) -> Duration {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        latencies[(latencies.len() - 1) * 99 / 100]
    }
}
