//! epoll: one event loop per core, which owns its listener, its sockets and its timers.
//! It pays with code: nothing here may block, so all that waits is state in a table.
//!
//! Who waits: the loop, in `epoll_wait`, for all of its connections. Where a conversation's
//! state lives: in a [`Client`], under a key that carries a generation, so that an event, a timer
//! or a result that comes too late for a client never reaches the next one in its slot.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::config::Offload;
use common::stats::{InProgress, Open, Tally};
use common::{Config, Connection, Plan, Request, Response, Service, Shutdown, Stats};
use crossbeam_channel::{Receiver, Sender};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slotmap::{Key, KeyData, SlotMap};

use crate::{Context, READ_CHUNK_BYTES, compute_threads, listener};

/// Events taken from the kernel at once: the rest stay queued there.
const EVENTS_PER_WAIT: usize = 1024;
/// Reads from one client before the others get their turn.
const READS_PER_TURN: usize = 4;
/// Connections accepted before those that are open get their turn.
const ACCEPTS_PER_TURN: usize = 64;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

slotmap::new_key_type! {
    /// A slot and its generation.
    struct ClientKey;
}

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If an epoll instance, a thread or a listening socket cannot be made.
pub fn serve(
    listener: net::TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let context = Context::new(service, config, shutdown, stats);
    let cores = Arc::new(compute_threads()?);
    let mut loops = Vec::new();
    for (index, listener) in
        listener::shards(listener, config.workers.get())?.into_iter().enumerate()
    {
        let event_loop = EventLoop::new(listener, &context, config, &cores)?;
        let waker = Arc::clone(&event_loop.desk.completions.waker);
        shutdown.on_trigger(move || drop(waker.wake()));
        let name = format!("epoll-loop-{index}");
        loops.push(thread::Builder::new().name(name).spawn(move || event_loop.run())?);
    }
    loops.into_iter().try_for_each(|event_loop| {
        event_loop.join().map_err(|_| io::Error::other("an event loop panicked"))?
    })
}

struct EventLoop {
    poll: Poll,
    listener: Option<TcpListener>,
    /// When to accept though no event says so: after a pause, or at once when more may wait.
    accept_again_at: Option<Instant>,
    clients: SlotMap<ClientKey, Client>,
    /// Clients with more to read than their turn allowed.
    unfinished: VecDeque<ClientKey>,
    completed: Receiver<(ClientKey, Response)>,
    /// Set by shutdown: when to cut what is left.
    drain_until: Option<Instant>,
    connections_max: usize,
    drain_timeout: Duration,
    desk: Desk,
}

/// What a client needs of its loop while it has its turn.
struct Desk {
    context: Context,
    /// One read buffer for all clients: only one of them has its turn at a time.
    chunk: Box<[u8]>,
    timers: BTreeSet<(Instant, ClientKey)>,
    offload: Offload,
    cores: Arc<rayon::ThreadPool>,
    completions: Completions,
    tally: Tally,
}

/// The way back to the loop for work that was done on another thread. Holds at most one
/// completion per client.
#[derive(Clone)]
struct Completions {
    sender: Sender<(ClientKey, Response)>,
    waker: Arc<Waker>,
}

impl EventLoop {
    fn new(
        listener: net::TcpListener,
        context: &Context,
        config: &Config,
        cores: &Arc<rayon::ThreadPool>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, completed) = crossbeam_channel::unbounded();
        Ok(Self {
            poll,
            listener: Some(listener),
            accept_again_at: None,
            clients: SlotMap::with_key(),
            unfinished: VecDeque::new(),
            completed,
            drain_until: None,
            connections_max: config.connections_max,
            drain_timeout: config.drain_timeout,
            desk: Desk {
                context: context.clone(),
                chunk: vec![0; READ_CHUNK_BYTES].into(),
                timers: BTreeSet::new(),
                offload: config.offload,
                cores: Arc::clone(cores),
                completions: Completions { sender, waker },
                tally: Tally::default(),
            },
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_WAIT);
        while !self.is_drained() {
            self.desk.tally.waits += 1;
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                waited => waited?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_again_at = Some(Instant::now()),
                    WAKER => {} // says only that what comes below has something to do
                    Token(key) => self.on_event(KeyData::from_ffi(key as u64).into(), event),
                }
            }
            self.take_completions();
            self.fire_timers();
            self.go_on_with_unfinished();
            // Last, so that those who were here first are served first.
            self.accept();
            self.begin_drain();
            self.desk.context.stats.add(&mut self.desk.tally);
        }
        Ok(())
    }

    /// How long to wait for events: until the next thing that is due without one.
    fn patience(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let timer = self.desk.timers.first().map(|(at, _)| *at);
        let due = [timer, self.accept_again_at, self.drain_until].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn on_event(&mut self, key: ClientKey, event: &mio::event::Event) {
        if let Some(client) = self.clients.get_mut(key) {
            client.readable |= event.is_readable();
            client.hung_up |= event.is_read_closed();
            if event.is_error() {
                self.close(key);
            } else {
                self.give_turn(key);
            }
        }
    }

    fn give_turn(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        match client.take_turn(key, &mut self.desk) {
            Ok(Turn::Waiting) => {}
            Ok(Turn::Unfinished) => self.unfinished.push_back(key),
            Ok(Turn::Finished) => self.close(key),
            Err(error) => {
                tracing::debug!("connection: {error}");
                self.close(key);
            }
        }
    }

    fn close(&mut self, key: ClientKey) {
        // Closing the socket takes it out of the epoll set.
        if let Some(Client { doing: Some(Doing::Waiting { until, .. }), .. }) =
            self.clients.remove(key)
        {
            self.desk.timers.remove(&(until, key));
        }
    }

    fn take_completions(&mut self) {
        while let Ok((key, response)) = self.completed.try_recv() {
            self.complete(key, &response);
        }
    }

    fn fire_timers(&mut self) {
        while let Some(&(at, key)) = self.desk.timers.first() {
            if at > Instant::now() {
                return;
            }
            self.desk.timers.pop_first();
            let doing = self.clients.get_mut(key).and_then(|client| client.doing.take());
            if let Some(Doing::Waiting { response, .. }) = doing {
                self.complete(key, &response);
            }
        }
    }

    fn complete(&mut self, key: ClientKey, response: &Response) {
        if let Some(client) = self.clients.get_mut(key) {
            client.doing = None;
            client.respond(response, &mut self.desk);
            self.give_turn(key);
        }
    }

    fn go_on_with_unfinished(&mut self) {
        for _ in 0..self.unfinished.len() {
            if let Some(key) = self.unfinished.pop_front() {
                self.give_turn(key);
            }
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        if self.accept_again_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.accept() {
                Ok((socket, _)) => match self.desk.context.stats.admit(self.connections_max) {
                    Some(open) => {
                        if let Err(error) =
                            register(&self.poll, &mut self.clients, socket, open, &self.desk)
                        {
                            tracing::debug!("connection: {error}");
                        }
                    }
                    None => listener::refuse(net::TcpStream::from(socket)),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accept_again_at = None;
                    return;
                }
                Err(error) if listener::accept_failed(&error) => {
                    self.accept_again_at = Some(Instant::now() + listener::ACCEPT_PAUSE);
                    return;
                }
                Err(_) => {}
            }
        }
    }

    fn begin_drain(&mut self) {
        if self.drain_until.is_some() || !self.desk.context.shutdown.is_triggered() {
            return;
        }
        self.drain_until = Some(Instant::now() + self.drain_timeout);
        self.listener = None;
        self.accept_again_at = None;
        for key in self.clients.keys().collect::<Vec<_>>() {
            self.clients[key].connection.drain();
            self.give_turn(key);
        }
    }

    fn is_drained(&self) -> bool {
        self.drain_until.is_some_and(|until| self.clients.is_empty() || Instant::now() >= until)
    }
}

/// Once for a connection's whole life, for both directions; edge-triggered, as mio does it: an
/// event says that something changed, and what is ready is remembered until a call says
/// otherwise.
fn register(
    poll: &Poll,
    clients: &mut SlotMap<ClientKey, Client>,
    socket: TcpStream,
    open: Open,
    desk: &Desk,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let key = clients.insert(Client {
        socket,
        connection: Connection::new(desk.context.limits),
        readable: false,
        hung_up: false,
        doing: None,
        _open: open,
    });
    let token = Token(usize::try_from(key.data().as_ffi()).expect("a 64-bit machine"));
    let interest = Interest::READABLE | Interest::WRITABLE;
    let registered = poll.registry().register(&mut clients[key].socket, token, interest);
    if registered.is_err() {
        clients.remove(key);
    }
    registered
}

struct Client {
    socket: TcpStream,
    connection: Connection,
    /// Bytes may wait in the kernel: no read has come up short since the last event.
    readable: bool,
    /// The peer has sent its last byte, and only a read of nothing will say when it was reached.
    hung_up: bool,
    /// The one request of this connection that is in progress.
    doing: Option<Doing>,
    _open: Open,
}

enum Doing {
    /// A timer will complete it.
    Waiting { until: Instant, response: Response, _in_progress: InProgress },
    /// Another thread will.
    Elsewhere { _in_progress: InProgress },
}

enum Turn {
    /// Nothing to do until an event, a timer or a completion.
    Waiting,
    /// There is more, but it is the others' turn.
    Unfinished,
    /// The connection is over.
    Finished,
}

impl Client {
    /// Answers what is there, writes all replies at once, reads on.
    fn take_turn(&mut self, key: ClientKey, desk: &mut Desk) -> io::Result<Turn> {
        let mut reads = 0;
        loop {
            self.answer(key, desk);
            self.flush(desk)?;
            if self.connection.output_ended() {
                self.socket.shutdown(net::Shutdown::Write)?;
            }
            if self.connection.is_finished() {
                return Ok(Turn::Finished);
            }
            if self.readable && self.connection.wants_read() {
                if reads == READS_PER_TURN {
                    return Ok(Turn::Unfinished);
                }
                reads += 1;
                self.read(desk)?;
            } else if !self.can_answer() {
                return Ok(Turn::Waiting);
            }
        }
    }

    /// Whether the last flush made room for replies to requests that are already here.
    fn can_answer(&self) -> bool {
        self.doing.is_none() && !self.connection.wants_write() && self.connection.has_request()
    }

    fn answer(&mut self, key: ClientKey, desk: &mut Desk) {
        while self.doing.is_none() {
            match self.connection.next_request() {
                Ok(None) => return,
                Ok(Some(request)) => {
                    if let Some(response) = self.start(request, key, desk) {
                        self.respond(&response, desk);
                    }
                }
                Err(error) => {
                    tracing::debug!("{error}");
                    desk.tally.failed += 1;
                }
            }
        }
    }

    /// Carries a plan out in the way of a loop: what takes time is begun here and completed by a
    /// later event.
    fn start(&mut self, request: Request, key: ClientKey, desk: &mut Desk) -> Option<Response> {
        let plan = desk.context.service.plan(request);
        if let Plan::Reply(response) = plan {
            return Some(response);
        }
        let in_progress = desk.context.stats.begin();
        let completions = desk.completions.clone();
        match (plan, desk.offload) {
            (Plan::Reply(response), _) => return Some(response),
            (Plan::Compute(job), Offload::Off) => return Some(job.run()),
            (Plan::Block(job), Offload::Off) => return Some(job.run()),
            (Plan::Wait(duration, response), _) => {
                let until = Instant::now() + duration;
                desk.timers.insert((until, key));
                self.doing = Some(Doing::Waiting { until, response, _in_progress: in_progress });
                return None;
            }
            (Plan::Compute(job), Offload::On) => {
                desk.cores.spawn(move || completions.send(key, job.run()));
            }
            (Plan::Block(job), Offload::On) => {
                ::blocking::unblock(move || completions.send(key, job.run())).detach();
            }
        }
        self.doing = Some(Doing::Elsewhere { _in_progress: in_progress });
        None
    }

    fn respond(&mut self, response: &Response, desk: &mut Desk) {
        desk.tally.answered(response);
        self.connection.respond(response);
    }

    fn flush(&mut self, desk: &mut Desk) -> io::Result<()> {
        while self.connection.wants_write() {
            desk.tally.writes += 1;
            match self.socket.write(self.connection.to_send()) {
                Ok(bytes) => self.connection.sent(bytes),
                // The rest goes when an event says that there is room.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, desk: &mut Desk) -> io::Result<()> {
        desk.tally.reads += 1;
        match self.socket.read(&mut desk.chunk) {
            Ok(0) => {
                self.readable = false;
                self.connection.received_eof();
            }
            Ok(bytes) => {
                self.connection.receive(&desk.chunk[..bytes]);
                // A short read has emptied the socket: another would only say WouldBlock. Unless
                // the end of input stands behind these bytes: no further event will tell.
                self.readable = bytes == desk.chunk.len() || self.hung_up;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Completions {
    fn send(&self, key: ClientKey, response: Response) {
        // Where the loop has ended, nobody waits for this.
        if self.sender.send((key, response)).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
