//! What else a server has to bear while it is measured: connections that say nothing, and clients
//! that ask for much and read it slowly.
//!
//! All of them live on one thread of their own, so that they are not in the load threads' CPU; on
//! this machine they are, as everything else is.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::client::grpc::{CONVERSE, Call, Grpc, HTTP2_ACK, HTTP2_PREFACE};
use crate::connect::{ConnectError, connect_all};
use crate::target::{Protocol, Target};
use crate::template::Templates;
use crate::work::{Kind, Mix};

/// What a slow reader reads, and how often: 40 KiB a second.
const SLOW_READ_BYTES: usize = 4 * 1024;
const SLOW_READ_INTERVAL: Duration = Duration::from_millis(100);
/// What each of its requests asks for.
const SLOW_ECHO_BYTES: usize = 64 * 1024;
/// At the end, for the last news of connections that the server has closed.
const LAST_NEWS: Duration = Duration::from_millis(20);

/// Connections in the background of a run.
#[derive(Debug)]
pub struct Background {
    counts: Arc<Counts>,
    /// Ends the thread when it is dropped.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What they came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackgroundResult {
    /// Silent connections.
    pub idle: usize,
    /// Those of them that the server closed before the end of the run.
    pub idle_closed_by_server: usize,
    /// Clients that pipeline echoes without end and read slowly. Their answers are not checked.
    pub slow_readers: usize,
    /// Those of them that the server closed before the end of the run.
    pub slow_readers_closed_by_server: usize,
    /// What they read, all together.
    pub slow_reader_bytes_read: u64,
}

/// Why there is no background.
#[derive(Debug, thiserror::Error)]
pub enum BackgroundError {
    /// One of the connections cannot be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No thread, or no epoll, to be had.
    #[error("cannot run the background connections: {0}")]
    System(#[from] io::Error),
}

impl BackgroundResult {
    /// What a reader should know: that the background was not there to the end.
    pub fn warning(&self) -> Option<String> {
        let Self { idle, slow_readers, .. } = self;
        let closed = (self.idle_closed_by_server, self.slow_readers_closed_by_server);
        (closed != (0, 0)).then(|| {
            format!(
                "the server closed {} of {idle} idle connections and {} of {slow_readers} slow \
                 readers in the background",
                closed.0, closed.1
            )
        })
    }
}

#[derive(Debug)]
struct Counts {
    idle: usize,
    idle_closed: AtomicUsize,
    slow_readers: usize,
    slow_readers_closed: AtomicUsize,
    bytes_read: AtomicU64,
}

impl Background {
    /// Opens `idle` silent connections (over gRPC, with what HTTP/2 begins with) and `slow_readers`
    /// slow readers, each within `timeout`.
    ///
    /// # Errors
    /// At the first that cannot be opened.
    pub fn open(
        target: Target,
        idle: usize,
        slow_readers: usize,
        timeout: Duration,
    ) -> Result<Self, BackgroundError> {
        let mut streams = connect_all(target.address, idle + slow_readers, timeout)?;
        let slow = streams.split_off(idle);
        for stream in &mut streams {
            if target.protocol == Protocol::Grpc {
                // One that fails is found closed in a moment.
                let _ = stream.write_all(HTTP2_PREFACE);
            }
        }
        let counts = Arc::new(Counts {
            idle,
            idle_closed: AtomicUsize::new(0),
            slow_readers,
            slow_readers_closed: AtomicUsize::new(0),
            bytes_read: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let of_thread = Arc::clone(&counts);
        let live = move || {
            runtime.block_on(async {
                for stream in streams {
                    tokio::spawn(be_idle(stream, target.protocol, Arc::clone(&of_thread)));
                }
                for stream in slow {
                    tokio::spawn(be_slow(stream, target, Arc::clone(&of_thread)));
                }
                let _ = stopped.await; // said, or dropped
                sleep(LAST_NEWS).await;
                // The tasks that have news are behind this one: their turn before the end.
                for _ in 0..of_thread.idle + of_thread.slow_readers {
                    tokio::task::yield_now().await;
                }
            });
        };
        let thread = std::thread::Builder::new().name("background".to_owned()).spawn(live)?;
        Ok(Self { counts, stop, thread })
    }

    /// Closes all, and says what they came to.
    pub fn finish(self) -> BackgroundResult {
        drop(self.stop);
        // One that panicked has closed its connections too, and counted until then.
        let _ = self.thread.join();
        let Counts { idle, slow_readers, .. } = *self.counts;
        BackgroundResult {
            idle,
            idle_closed_by_server: self.counts.idle_closed.load(Relaxed),
            slow_readers,
            slow_readers_closed_by_server: self.counts.slow_readers_closed.load(Relaxed),
            slow_reader_bytes_read: self.counts.bytes_read.load(Relaxed),
        }
    }
}

/// Says nothing, and hears the server out until it closes.
async fn be_idle(stream: StdStream, protocol: Protocol, counts: Arc<Counts>) {
    let end = async {
        let stream = tokio_stream(stream)?;
        let mut buffer = [0; 64]; // an HTTP/2 server has some settings to tell, and others nothing
        let mut settings_told = false;
        loop {
            stream.readable().await?;
            match stream.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) if protocol == Protocol::Grpc && !settings_told => {
                    // The first frame of a server is its settings (RFC 9113, 3.4). Small enough
                    // for an empty buffer.
                    settings_told = true;
                    let _ = stream.try_write(HTTP2_ACK);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let _: io::Result<()> = end.await; // a reset is an end too
    counts.idle_closed.fetch_add(1, Relaxed);
}

/// Asks as fast as the server takes it, and reads slowly, until the server closes.
async fn be_slow(stream: StdStream, target: Target, counts: Arc<Counts>) {
    let mix = Mix::from(Kind::Echo { bytes: SLOW_ECHO_BYTES });
    let (templates, mut request) = (Templates::new(&mix, 1, target.protocol), Vec::new());
    templates.of(0).write(templates.of(0).id(0), &mut request);
    let end = match target.protocol {
        Protocol::Framed | Protocol::Raw => framed_slowly(stream, &request, &counts).await,
        Protocol::Grpc => {
            let slowly = grpc_slowly(stream, target.address, request.into(), &counts).await;
            slowly.map_err(io::Error::other)
        }
    };
    drop(end); // a reset is an end too
    counts.slow_readers_closed.fetch_add(1, Relaxed);
}

async fn framed_slowly(stream: StdStream, request: &[u8], counts: &Counts) -> io::Result<()> {
    let stream = tokio_stream(stream)?;
    let mut ticks = ticks();
    let mut buffer = [0; SLOW_READ_BYTES];
    let mut sent = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => match stream.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => _ = counts.bytes_read.fetch_add(read as u64, Relaxed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            },
            writable = stream.writable() => {
                writable?;
                match stream.try_write(&request[sent..]) {
                    Ok(more) => sent = (sent + more) % request.len(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// One stream of requests and one of answers, over a socket that gives its bytes slowly.
async fn grpc_slowly(
    stream: StdStream,
    address: SocketAddr,
    request: Bytes,
    counts: &Arc<Counts>,
) -> Result<(), String> {
    let stream = tokio_stream(stream).map_err(|error| error.to_string())?;
    let slow = Slow { stream, ticks: ticks(), left: 0, counts: Arc::clone(counts) };
    let grpc = Grpc::over_io(slow, address).await?;
    let Call { mut requests, answers } = grpc.begin(CONVERSE).await?;
    let ask = async {
        loop {
            requests.send(request.clone()).await?;
        }
    };
    tokio::select! {
        end = ask => end,
        end = answers.ignore() => end,
    }
}

fn tokio_stream(stream: StdStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn ticks() -> Interval {
    let mut ticks = interval(SLOW_READ_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay); // never two reads at once
    ticks
}

/// A socket of which so much can be read per tick, and no more.
struct Slow {
    stream: TcpStream,
    ticks: Interval,
    left: usize,
    counts: Arc<Counts>,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            ready!(self.ticks.poll_tick(task));
            self.left = SLOW_READ_BYTES;
        }
        let room = self.left.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.stream).poll_read(task, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.left -= read;
        self.counts.bytes_read.fetch_add(read as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
