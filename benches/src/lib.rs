//! What the benches share: a server in this process, and clients that talk to it over loopback.
//!
//! These benches compare one piece with itself over time. To compare the models with each other
//! use the load tester: here the client shares the server's process and has one connection.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use common::frame;
use common::{Config, Request, Response, Service, Shutdown, Stats, Work};
use criterion::Criterion;
use servers::grpc::generated::quintet_client::QuintetClient;
use servers::{Model, listener};
use tonic::transport::Channel;

pub mod cores;
pub mod summary;

/// A server's threads have started, and caches and branch predictors know the loop, long before.
const WARM_UP: Duration = Duration::from_millis(500);
/// Hundreds of the slowest (a thread, a connection). With criterion's own five seconds the whole of
/// `cargo bench` would take too long to be run again after each change.
const MEASUREMENT: Duration = Duration::from_secs(2);

/// How long every bench measures, unless the command line says otherwise.
pub fn criterion() -> Criterion {
    Criterion::default().warm_up_time(WARM_UP).measurement_time(MEASUREMENT)
}

/// A server in this process; dropping it drains it.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    shutdown: Shutdown,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Starts `model` on any free port of loopback.
    ///
    /// # Panics
    /// If it cannot listen: a bench without a server has nothing to say.
    pub fn start(model: Model) -> Self {
        let listener = listener::bind(([127, 0, 0, 1], 0).into()).expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shutdown = Shutdown::new();
        let server = std::thread::spawn({
            let shutdown = shutdown.clone();
            move || {
                (model.serve)(
                    listener,
                    Service::new(),
                    &Config::default(),
                    &shutdown,
                    &Stats::new(),
                )
            }
        });
        Self { address, shutdown, server: Some(server) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// The request of the benches: a payload of `bytes` that comes back.
pub fn echo(bytes: usize) -> Request {
    Request { id: 1, timeout_ms: 0, work: Some(Work::Echo(vec![7; bytes])) }
}

/// `count` such requests as they go over the wire, and how many bytes their replies have.
pub fn echo_frames(bytes: usize, count: usize) -> (Vec<u8>, usize) {
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    frame::encode(&echo(bytes), &mut request);
    frame::encode(&Response::ok(1, vec![7; bytes]), &mut reply);
    (request.repeat(count), reply.len() * count)
}

/// A blocking client of a framed server.
#[derive(Debug)]
pub struct FramedClient {
    stream: TcpStream,
    replies: Vec<u8>,
}

impl FramedClient {
    /// Connects.
    ///
    /// # Errors
    /// As of `connect(2)`.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, replies: Vec::new() })
    }

    /// Sends `requests` with one write and reads until `reply_bytes` have come back.
    ///
    /// # Errors
    /// As of `write(2)` and `read(2)`; also if the first reply is not the one that was asked for.
    pub fn exchange(&mut self, requests: &[u8], reply_bytes: usize) -> io::Result<()> {
        self.stream.write_all(requests)?;
        self.replies.resize(reply_bytes, 0);
        self.stream.read_exact(&mut self.replies)?;
        let first = frame::split_first(&self.replies, reply_bytes).ok().flatten();
        match first.map(frame::decode::<Response>) {
            Some(Ok(response)) if response.id == 1 && response.code == 0 => Ok(()),
            other => Err(io::Error::other(format!("not the reply to an echo: {other:?}"))),
        }
    }
}

/// Connects to a gRPC server.
///
/// # Errors
/// If there is none.
pub async fn grpc_client(address: SocketAddr) -> Result<QuintetClient<Channel>, Box<dyn Error>> {
    let endpoint = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    Ok(QuintetClient::new(endpoint.connect().await?))
}
