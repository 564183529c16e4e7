//! grpc: HTTP/2 by hyper and calls by tonic, a tokio task per connection and one per call that
//! waits. It pays with frames, header compression and flow control for what they buy: many calls in
//! flight on one connection, none behind the other, and clients in every language.
//!
//! Who waits: the runtime's workers. Where the state of a call lives: in a future per call; that
//! of a connection, in hyper and h2. Plans are carried out as in [`tasks`](crate::tasks).
//!
//! Below: `accept` lets connections in; `connection` serves one, within limits, beside a `watch`
//! that ends it; `at_once` carries out what need not wait; `call` stands between HTTP/2 and tonic,
//! with `upload` for what it receives; `layers` are what a call passes on its way, `routes` says
//! whom it is for, and `errors` what it is told where it fails; `socket` and `ledger` tell the
//! watch what there is to see. `wire` and `tls` are below HTTP/2; `transport` and `compression` are
//! what flags say about it.

mod accept;
mod at_once;
mod call;
mod compression;
mod connection;
mod errors;
mod layers;
mod ledger;
mod routes;
mod services;
mod socket;
mod tls;
mod transport;
mod upload;
mod watch;
mod wire;

use std::io;
use std::net;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use common::{Code, Config, Request, Response, Service, Shutdown, Stats};
use futures_util::{Stream, StreamExt};
use tokio::{runtime, task};
use tonic::{Status, Streaming};

pub use self::compression::Compression;
use self::errors::{Failure, as_the_contract_says, field_of};
pub use self::layers::{Algorithm, Interceptors, Switch};
use self::ledger::{Begun, Ledger};
pub use self::tls::{Flags as TlsFlags, SelfSigned, Tls, Wrong as TlsWrong};
use self::transport::Settled;
pub use self::transport::{Transport, Wrong};
use crate::Context;
use crate::admin::Readiness;
use crate::awaiting::{self, Player};

/// The service as tonic generates it, server and client.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)] // not ours to style
pub mod generated {
    tonic::include_proto!("quintet.v1");

    /// The service of the public gRPC examples.
    pub mod helloworld {
        tonic::include_proto!("helloworld");
    }
}

use generated::quintet_server::Quintet;

/// Messages of one stream before the others get their turn: a connection has a hundred of them,
/// and all may be full.
const MESSAGES_PER_TURN: usize = 4;

/// Requests of one stream that are carried out beside each other: as many as a connection may have
/// streams.
const EXCHANGED_AT_ONCE: usize = transport::STREAMS_MAX_DEFAULT as usize;

/// The messages that answer a call, as they come.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What this server has to say beyond what all servers have.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// HTTP/2 and what is under it.
    #[command(flatten)]
    pub transport: Transport,

    /// What stands before the services.
    #[command(flatten)]
    pub interceptors: Interceptors,
}

impl Options {
    /// Looks whether the flags fit together, and reads the files that they name. What
    /// `grpc.health.v1` tells follows `ready`.
    ///
    /// # Errors
    /// Where that fails.
    pub fn settle(&self, ready: &Readiness) -> Result<Setup, Wrong> {
        let interceptors = self.interceptors.clone();
        interceptors.check()?;
        let transport = self.transport.settle()?;
        Ok(Setup { transport, interceptors, ready: ready.clone(), others: None })
    }
}

/// The options, found to fit together.
#[derive(Clone, Debug)]
pub struct Setup {
    transport: Settled,
    interceptors: Interceptors,
    ready: Readiness,
    others: Option<tonic::service::Routes>,
}

impl Setup {
    /// How connections are secured, if they are.
    pub fn tls(&self) -> Option<Tls> {
        self.transport.tls.clone()
    }

    /// Adds services of a program's own, for calls that no service here answers. A call of theirs
    /// is watched as one that asks once: no pause between its messages may be longer than the read
    /// timeout.
    #[must_use]
    pub fn with_services(self, others: tonic::service::Routes) -> Self {
        Self { others: Some(others), ..self }
    }
}

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If the runtime or the layers cannot be made, or the listening socket cannot be used.
pub fn serve(
    listener: net::TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let setup = Options::default().settle(&Readiness::ready()).map_err(io::Error::other)?;
    serve_with(setup, listener, service, config, shutdown, stats)
}

/// The same with a setup of its own.
///
/// # Errors
/// As [`serve`].
pub fn serve_with(
    setup: Setup,
    listener: net::TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let player = Player::new(Context::new(service, config, shutdown, stats), config)?;
    let mut builder = runtime::Builder::new_multi_thread();
    let workers = config.workers.get();
    builder.worker_threads(workers).thread_name_fn(awaiting::name_threads("grpc", workers));
    let runtime = awaiting::build(&mut builder, stats)?;
    let layers = {
        let _within = runtime.enter();
        setup.interceptors.layers()?
    };
    awaiting::run(runtime, accept::listen(listener, player, config.clone(), setup, layers))
}

/// What calls of the contract are answered by.
struct Conversation {
    player: Player,
}

#[tonic::async_trait]
impl Quintet for Conversation {
    async fn call(
        &self,
        request: tonic::Request<Request>,
    ) -> Result<tonic::Response<Response>, Status> {
        let request = request.into_inner();
        let field = field_of(request.work.as_ref());
        let response = self.player.play(request).await;
        if response.code == Code::Ok as u32 {
            Ok(tonic::Response::new(response))
        } else {
            Err(Failure::answered(response, field).into())
        }
    }

    type ConverseStream = Answers<Response>;

    async fn converse(
        &self,
        requests: tonic::Request<Streaming<Request>>,
    ) -> Result<tonic::Response<Self::ConverseStream>, Status> {
        let (player, ledger) = (self.player.clone(), ledger_of(&requests)?);
        let mut messages = 0;
        // One after the other, as on a framed connection; what is not asked for yet is held back
        // by HTTP/2's flow control.
        let responses = requests.into_inner().then(move |request| {
            let (player, ledger) = (player.clone(), ledger.clone());
            messages += 1;
            async move {
                let _begun = Begun::new(ledger);
                if messages % MESSAGES_PER_TURN == 0 {
                    task::yield_now().await;
                }
                Ok(player.play(request.map_err(as_the_contract_says)?).await)
            }
        });
        Ok(tonic::Response::new(Box::pin(responses)))
    }

    type ExchangeStream = Answers<Response>;

    async fn exchange(
        &self,
        requests: tonic::Request<Streaming<Request>>,
    ) -> Result<tonic::Response<Self::ExchangeStream>, Status> {
        let (player, ledger) = (self.player.clone(), ledger_of(&requests)?);
        // What is not taken yet is held back by HTTP/2's flow control.
        let responses = requests.into_inner().map(move |request| {
            let (player, ledger) = (player.clone(), ledger.clone());
            async move {
                let _begun = Begun::new(ledger);
                Ok(player.play(request.map_err(as_the_contract_says)?).await)
            }
        });
        Ok(tonic::Response::new(Box::pin(responses.buffer_unordered(EXCHANGED_AT_ONCE))))
    }
}

/// The ledger of the connection that a conversation came on.
fn ledger_of<T>(request: &tonic::Request<T>) -> Result<Arc<Ledger>, Status> {
    let ledger = request.extensions().get::<Arc<Ledger>>();
    ledger.cloned().ok_or_else(|| Status::internal("a conversation without its connection"))
}

impl Player {
    async fn play(&self, request: Request) -> Response {
        let mut tally = self.context.stats.tally();
        let began = tally.clock();
        // tonic gives no sign of when the last byte came; a task begins right after it.
        let patience = Duration::from_millis(request.timeout_ms.into());
        let deadline = (request.timeout_ms > 0).then(|| Instant::now() + patience);
        let response = match self.context.service.plan(request, deadline) {
            common::Plan::Reply(response) => response,
            plan => self.carry_out(plan).await,
        };
        tally.answered(&response);
        tally.took_since(began);
        self.context.stats.add(&mut tally);
        response
    }
}
