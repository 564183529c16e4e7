//! grpc: tonic's HTTP/2 over a tokio task per connection and one per call, over the same plans.
//! It pays with frames, header compression and flow control for what they buy: many calls in
//! flight on one connection, none behind the other, and clients in every language.
//!
//! Who waits: the runtime's workers. Where the state of a call lives: in a future per call; that
//! of a connection, in hyper and h2. Plans are carried out as in [`tasks`](crate::tasks).

use std::io;
use std::net;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use common::stats::{Open, Tally};
use common::{Code, Config, Request, Response, Service, Shutdown, Stats};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::{runtime, sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Status, Streaming};
use tower::util::MapResponseLayer;

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
    awaiting::run(&mut builder, listen(listener, player, config.clone()), stats)
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
    let stats = player.context.stats.clone();
    tokio::spawn(accept(listener, accepted, stats, config.connections_max, draining.clone()));

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
    stats: Stats,
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
                let Some(open) = stats.admit(connections_max) else { continue };
                if stream.set_nodelay(true).is_ok() {
                    let socket = Socket { stream, stats: stats.clone(), _open: open };
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
        // One after the other, as on a framed connection; what is not asked for yet is held back
        // by HTTP/2's flow control.
        let responses = requests.into_inner().then(move |request| {
            let player = player.clone();
            async move { Ok(player.play(request.map_err(as_the_contract_says)?).await) }
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
        let response = match self.context.service.plan(request) {
            common::Plan::Reply(response) => response,
            plan => self.carry_out(plan).await,
        };
        let mut tally = Tally::default();
        tally.answered(&response);
        self.context.stats.add(&mut tally);
        response
    }
}

/// A connection that counts itself, its reads and its writes.
struct Socket {
    stream: TcpStream,
    stats: Stats,
    _open: Open,
}

impl Socket {
    fn count<T>(&self, poll: Poll<T>, call: Tally) -> Poll<T> {
        if poll.is_ready() {
            self.stats.add(&mut { call });
        }
        poll
    }
}

impl Connected for Socket {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(task, buffer);
        self.count(poll, Tally { reads: 1, ..Tally::default() })
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.count(poll, Tally { writes: 1, ..Tally::default() })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(task, slices);
        self.count(poll, Tally { writes: 1, ..Tally::default() })
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
