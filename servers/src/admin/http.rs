//! HTTP for a few clients that may be hostile: hyper's, driven by one thread over `poll(2)`.
//! It pays with closing each connection after one request, and long before a patient client would.
//!
//! Bounds: so many clients, each with one small head, one reply and a few seconds. A client above
//! the limit takes the place of the oldest, so that those who stay silent keep nobody out.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::listener::{self, ACCEPT_PAUSE};

/// Probes and scrapers at a time: an orchestrator has two or three of each.
const CLIENTS_MAX: usize = 16;
/// From a client's accept until it is gone: what probes and scrapers commonly wait themselves.
const PATIENCE: Duration = Duration::from_secs(5);
/// hyper's least; the head of a probe has some hundred bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bytes that a client sent beside its request, read so that no reset overtakes the reply.
const UNWANTED_BYTES_MAX: usize = 64 * 1024;
/// Clients accepted before those that are here get their turn.
const ACCEPTS_PER_TURN: usize = 4;

pub(super) type Page = Response<Full<Bytes>>;

pub(super) fn page(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(text.into()));
    *page.status_mut() = status;
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

/// Answers each request by `answer`, for ever.
pub(super) fn serve(listener: &TcpListener, answer: impl Fn(&Method, &str) -> Page) {
    let mut clients = VecDeque::new();
    let mut accept_again_at = None;
    loop {
        wait(listener, &mut clients, accept_again_at);
        let now = Instant::now();
        clients.retain_mut(|client| now < client.until && client.take_turn().is_pending());
        if accept_again_at.is_none_or(|at| at <= now) {
            accept_again_at = match accept(listener, &mut clients, &answer) {
                Err(error) if listener::accept_failed(&error) => Some(now + ACCEPT_PAUSE),
                _ => None,
            };
        }
    }
}

fn accept<'a>(
    listener: &TcpListener,
    clients: &mut VecDeque<Client<'a>>,
    answer: &'a dyn Fn(&Method, &str) -> Page,
) -> io::Result<()> {
    for _ in 0..ACCEPTS_PER_TURN {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(mut client) = Client::new(stream, answer) else { continue };
        // Commonly its request is here, and it is gone before it takes anybody's place.
        if client.take_turn().is_pending() {
            clients.truncate(CLIENTS_MAX - 1); // the oldest are the last
            clients.push_front(client);
        }
    }
    Ok(())
}

/// Waits until there is something to do, and takes down which clients have it.
fn wait(listener: &TcpListener, clients: &mut VecDeque<Client<'_>>, accept_at: Option<Instant>) {
    let due = clients.iter().map(Client::due).chain(accept_at).min();
    let patience = due.map(|due| due.saturating_duration_since(Instant::now()));
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    let wanted = if accept_at.is_none() { PollFlags::IN } else { PollFlags::empty() };
    let listening = PollFd::new(listener, wanted);
    let sockets: Vec<_> = clients.iter().map(|client| client.socket.clone()).collect();
    let waiting = sockets.iter().map(|socket| PollFd::new(&*socket.stream, socket.wants.get()));
    let mut waiting: Vec<_> = std::iter::once(listening).chain(waiting).collect();
    // It fails on a signal, or for want of memory: then nobody is ready, and it is tried again.
    let _ = poll(&mut waiting, patience.as_ref());
    for (client, waited) in clients.iter_mut().zip(&waiting[1..]) {
        client.has_turn |= !waited.revents().is_empty();
    }
}

struct Client<'a> {
    socket: Socket,
    conversation: Pin<Box<dyn Future<Output = ()> + 'a>>,
    /// Set by whatever in hyper wants to go on without waiting for the socket.
    woken: Arc<Flag>,
    has_turn: bool,
    until: Instant,
}

impl<'a> Client<'a> {
    fn new(stream: TcpStream, answer: &'a dyn Fn(&Method, &str) -> Page) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        let wants = Rc::new(Cell::new(PollFlags::empty()));
        let socket = Socket { stream: Rc::new(stream), wants };
        Some(Self {
            conversation: Box::pin(converse(socket.clone(), answer)),
            socket,
            woken: Arc::default(),
            has_turn: true,
            until: Instant::now() + PATIENCE,
        })
    }

    fn due(&self) -> Instant {
        if self.woken.0.load(Ordering::Acquire) { Instant::now() } else { self.until }
    }

    fn take_turn(&mut self) -> Poll<()> {
        let woken = self.woken.0.swap(false, Ordering::AcqRel);
        if !std::mem::take(&mut self.has_turn) && !woken {
            return Poll::Pending;
        }
        self.socket.wants.set(PollFlags::empty());
        let waker = Waker::from(Arc::clone(&self.woken));
        self.conversation.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// One request, one reply, and the end.
async fn converse(mut socket: Socket, answer: &dyn Fn(&Method, &str) -> Page) {
    let service = service_fn(|request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(answer(request.method(), request.uri().path())))
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .header_read_timeout(None) // there is one for all of it
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(socket.clone(), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin: not served");
    }
    let _ = socket.stream.shutdown(Shutdown::Write);
    let mut left = UNWANTED_BYTES_MAX;
    while left > 0 {
        let mut chunk = [0; 4096];
        match poll_fn(|_| socket.when_ready(PollFlags::IN, |mut stream| stream.read(&mut chunk)))
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(bytes) => left = left.saturating_sub(bytes),
        }
    }
}

/// A socket that does not block, and says what it waits for.
#[derive(Clone)]
struct Socket {
    stream: Rc<TcpStream>,
    wants: Rc<Cell<PollFlags>>,
}

impl Socket {
    fn when_ready<T>(
        &mut self,
        wants: PollFlags,
        mut call: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match call(&self.stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wants.set(self.wants.get() | wants);
                    return Poll::Pending;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; HEAD_BYTES_MAX];
        let room = buffer.remaining().min(chunk.len());
        let read = self.when_ready(PollFlags::IN, |mut stream| stream.read(&mut chunk[..room]));
        read.map_ok(|bytes| buffer.put_slice(&chunk[..bytes]))
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.when_ready(PollFlags::OUT, |mut stream| stream.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}
