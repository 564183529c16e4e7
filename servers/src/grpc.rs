//! grpc: tonic's HTTP/2 over a tokio task per connection and one per call, over the same plans.
//! It pays with frames, header compression and flow control for what they buy: many calls in
//! flight on one connection, none behind the other, and clients in every language.
//!
//! Who waits: the runtime's workers. Where the state of a call lives: in a future per call; that
//! of a connection, in hyper and h2. Plans are carried out as in [`tasks`](crate::tasks).

mod socket;

use std::io;
use std::net;
use std::pin::Pin;
use std::time::{Duration, Instant};

use common::{Code, Config, Request, Response, Service, Shutdown, Stats};
use tokio::net::TcpListener;
use tokio::{runtime, sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Status, Streaming};
use tower::util::MapResponseLayer;

use self::socket::{Calls, Socket};
use crate::awaiting::{self, Player};
use crate::{Context, listener};

/// The service as tonic generates it, server and client.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)] // not ours to style
pub mod generated {
    tonic::include_proto!("quintet.v1");
}

use generated::quintet_server::{Quintet, QuintetServer};

/// Calls in flight on one connection: what RFC 9113 (6.5.2) recommends as the least.
const STREAMS_MAX: u32 = 100;
/// Accepted connections on their way to tonic.
const ACCEPTED_MAX: usize = 64;

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If the runtime cannot be made, or the listening socket cannot be used.
pub fn serve(
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
    awaiting::run(runtime, listen(listener, player, config.clone()))
}

async fn listen(listener: net::TcpListener, player: Player, config: Config) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let draining = CancellationToken::new();
    player.context.shutdown.on_trigger({
        let draining = draining.clone();
        move || draining.cancel()
    });
    let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
    let context = player.context.clone();
    tokio::spawn(accept(listener, accepted, context, config.connections_max, draining.clone()));

    let service = QuintetServer::new(player).max_decoding_message_size(config.frame_bytes_max);
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .layer(MapResponseLayer::new(answer_as_the_contract_says))
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), draining.cancelled());
    tokio::select! {
        ended = server => ended.map_err(io::Error::other),
        // tonic alone would wait without end for a peer that keeps a stream open, or that never
        // spoke HTTP/2 at all.
        () = async {
            draining.cancelled().await;
            time::sleep(config.drain_timeout).await;
        } => Ok(()),
    }
}

/// An accept loop of our own: tonic's spins when descriptors run out, knows no bound on
/// connections, and leaves Nagle's algorithm on.
async fn accept(
    listener: TcpListener,
    accepted: mpsc::Sender<io::Result<Socket>>,
    context: Context,
    connections_max: usize,
    draining: CancellationToken,
) {
    loop {
        let socket = tokio::select! {
            socket = listener.accept() => socket,
            () = draining.cancelled() => return,
        };
        match socket {
            Ok((stream, _)) => {
                // Without a slot the peer sees its connection close: before HTTP/2 has begun
                // there is no other way to say no.
                let Some(open) = context.stats.admit(connections_max) else { continue };
                if stream.set_nodelay(true).is_ok() {
                    let socket = Socket::new(stream, context.clone(), open);
                    if accepted.send(Ok(socket)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) if listener::accept_failed(&error) => {
                time::sleep(listener::ACCEPT_PAUSE).await;
            }
            Err(_) => {}
        }
    }
}

#[tonic::async_trait]
impl Quintet for Player {
    async fn call(
        &self,
        request: tonic::Request<Request>,
    ) -> Result<tonic::Response<Response>, Status> {
        let _call = request.extensions().get::<Calls>().map(Calls::begin);
        let response = self.play(request.into_inner()).await;
        if response.code == Code::Ok as u32 {
            Ok(tonic::Response::new(response))
        } else {
            Err(Status::new(i32::try_from(response.code).unwrap_or(2).into(), response.message))
        }
    }

    type ConverseStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

    async fn converse(
        &self,
        requests: tonic::Request<Streaming<Request>>,
    ) -> Result<tonic::Response<Self::ConverseStream>, Status> {
        let player = self.clone();
        let calls = requests.extensions().get::<Calls>().cloned();
        // One after the other, as on a framed connection; what is not asked for yet is held back
        // by HTTP/2's flow control.
        let responses = requests.into_inner().then(move |request| {
            let (player, calls) = (player.clone(), calls.clone());
            async move {
                let _call = calls.as_ref().map(Calls::begin);
                Ok(player.play(request.map_err(as_the_contract_says)?).await)
            }
        });
        Ok(tonic::Response::new(Box::pin(responses)))
    }
}

/// tonic says "out of range" of a message above the limit; the contract, as every other gRPC, says
/// "resource exhausted". Nothing else here is out of range.
fn as_the_contract_says(status: Status) -> Status {
    match status.code() {
        tonic::Code::OutOfRange => Status::resource_exhausted(status.message()),
        _ => status,
    }
}

/// The same where tonic fails a call before it reaches the service.
fn answer_as_the_contract_says<B>(mut response: http::Response<B>) -> http::Response<B> {
    let failed = Status::from_header_map(response.headers()).map(as_the_contract_says);
    if let Some(code) = failed.map(|status| (status.code() as i32).into()) {
        response.headers_mut().insert(Status::GRPC_STATUS, code);
    }
    response
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
