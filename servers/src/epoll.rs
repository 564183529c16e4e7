//! epoll: one event loop per core, which owns its listener, its sockets and its timers.
//! It pays with code: nothing here may block, so all that waits is state in a table.
//!
//! Who waits: the loop, in `epoll_wait`, for all of its connections. Where a conversation's
//! state lives: in a `Client`, under a key that carries a generation, so that an event, a timer
//! or a result that comes too late for a client never reaches the next one in its slot.

mod client;
mod desk;

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::stats::Open;
use common::{Config, Response, Service, Shutdown, Stats};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Token, Waker};
use slotmap::{Key, KeyData, SlotMap};

use self::client::{Client, Turn};
use self::desk::Desk;
use crate::sync::channel::{self, Receiver};
use crate::sync::{Poll, thread};
use crate::{Context, READ_CHUNK_BYTES, compute_threads, listener, sweep_interval};

/// Events taken from the kernel at once: the rest stay queued there.
const EVENTS_PER_WAIT: usize = 1024;
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
    // All of them, before the first accepts: its clients could take the descriptors that the next
    // would need.
    let event_loops = listener::shards(listener, config.workers.get())?
        .into_iter()
        .map(|listener| EventLoop::new(listener, &context, config, &cores))
        .collect::<io::Result<Vec<_>>>()?;
    let mut loops = Vec::new();
    for (index, event_loop) in event_loops.into_iter().enumerate() {
        let waker = Arc::clone(&event_loop.desk.waker);
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
    /// Clients with more to do than their turn allowed, each once.
    unfinished: VecDeque<ClientKey>,
    completed: Receiver<(ClientKey, Response)>,
    /// When to look for clients that have been silent for too long.
    sweep_at: Option<Instant>,
    /// Set by shutdown: when to cut what is left.
    drain_until: Option<Instant>,
    connections_max: usize,
    drain_timeout: Duration,
    desk: Desk,
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
        let (sender, completed) = channel::unbounded();
        let in_flight_max = config.in_flight_max.div_ceil(config.workers.get());
        Ok(Self {
            poll,
            listener: Some(listener),
            accept_again_at: None,
            clients: SlotMap::with_key(),
            unfinished: VecDeque::new(),
            completed,
            sweep_at: None,
            drain_until: None,
            connections_max: config.connections_max,
            drain_timeout: config.drain_timeout,
            desk: Desk {
                context: context.clone(),
                now: Instant::now(),
                chunk: vec![0; READ_CHUNK_BYTES].into(),
                timers: BTreeSet::new(),
                jobs_elsewhere: 0,
                in_flight_max,
                line: VecDeque::new(),
                overload: config.overload,
                offload: config.offload,
                cores: Arc::clone(cores),
                completed: sender,
                waker,
                tally: context.stats.tally(),
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
            self.desk.now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_again_at = Some(self.desk.now), // at once, below
                    WAKER => {} // says only that what comes below has something to do
                    Token(key) => self.on_event(KeyData::from_ffi(key as u64).into(), event),
                }
            }
            self.take_completions();
            self.fire_timers();
            self.go_on_with_unfinished();
            // Behind those who are here, so that they are served first.
            self.accept();
            self.sweep();
            self.begin_drain();
            self.advance_line();
            self.desk.context.stats.add(&mut self.desk.tally);
        }
        Ok(())
    }

    /// How long to wait for events: until the next thing that is due without one.
    fn patience(&self) -> Option<Duration> {
        let line_moves = !self.desk.line.is_empty() && self.desk.has_place();
        if !self.unfinished.is_empty() || line_moves {
            return Some(Duration::ZERO);
        }
        let timer = self.desk.timers.first().map(|(at, _)| *at);
        let due = [timer, self.accept_again_at, self.sweep_at, self.drain_until];
        let due = due.into_iter().flatten().min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    fn on_event(&mut self, key: ClientKey, event: &mio::event::Event) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.notice(event);
        if event.is_error() {
            self.close(key);
        } else {
            self.give_turn(key);
        }
    }

    fn give_turn(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.turn_is_coming {
            return;
        }
        match client.take_turn(key, &mut self.desk) {
            Ok(Turn::Waiting) => {}
            Ok(Turn::Unfinished) => {
                client.turn_is_coming = true;
                self.unfinished.push_back(key);
            }
            Ok(Turn::Finished) => self.close(key),
            Err(error) => {
                tracing::debug!("connection: {error}");
                self.close(key);
            }
        }
    }

    /// The generation in a key makes a second close, or one that comes too late, do nothing.
    fn close(&mut self, key: ClientKey) {
        // Dropping the socket closes it, and that takes it out of the epoll set.
        if let Some(client) = self.clients.remove(key) {
            client.leave(key, &mut self.desk);
        }
    }

    fn take_completions(&mut self) {
        // As many as there are now: what these begin anew is not done in the same round.
        for (key, response) in self.completed.clone().try_iter().take(self.completed.len()) {
            self.desk.jobs_elsewhere -= 1;
            self.complete(key, response);
        }
    }

    fn fire_timers(&mut self) {
        if self.desk.timers.is_empty() {
            return;
        }
        // One moment for all: what these begin anew is not due in the same round.
        let now = Instant::now();
        while let Some(&(at, key)) = self.desk.timers.first() {
            if at > now {
                return;
            }
            self.desk.timers.pop_first();
            if let Some(response) = self.clients.get_mut(key).and_then(Client::end_wait) {
                self.complete(key, response);
            }
        }
    }

    fn complete(&mut self, key: ClientKey, response: Response) {
        if let Some(client) = self.clients.get_mut(key) {
            client.complete(response, &mut self.desk);
            self.give_turn(key);
        }
    }

    /// Gives the places that have become free to those that wait for one.
    fn advance_line(&mut self) {
        // As many as there are now: whoever comes to stand in line anew waits for the next round.
        for _ in 0..self.desk.line.len() {
            if !self.desk.has_place() {
                return;
            }
            let Some(key) = self.desk.line.pop_front() else { return };
            if let Some(client) = self.clients.get_mut(key) {
                client.begin_from_line(key, &mut self.desk);
                self.give_turn(key);
            }
        }
    }

    fn go_on_with_unfinished(&mut self) {
        for _ in 0..self.unfinished.len() {
            let Some(key) = self.unfinished.pop_front() else { return };
            if let Some(client) = self.clients.get_mut(key) {
                client.turn_is_coming = false;
                self.give_turn(key);
            }
        }
    }

    fn accept(&mut self) {
        if self.accept_again_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(accepted) = self.listener.as_ref().map(TcpListener::accept) else { return };
            match accepted {
                Ok((socket, _)) => match self.desk.context.stats.admit(self.connections_max) {
                    Some(open) => {
                        if let Err(error) = self.register(socket, open) {
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

    /// Once for a connection's whole life and for both directions. Edge-triggered, as mio does
    /// it: an event says that something changed, and is not repeated.
    fn register(&mut self, socket: TcpStream, open: Open) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let key = self.clients.insert(Client::new(socket, open, &self.desk));
        let token = Token(usize::try_from(key.data().as_ffi()).expect("a machine of 64 bits"));
        let both = Interest::READABLE | Interest::WRITABLE;
        self.desk.tally.registrations += 1;
        let registered = self.poll.registry().register(self.clients[key].socket(), token, both);
        if registered.is_err() {
            self.clients.remove(key);
        }
        registered
    }

    /// Closes the clients that have been silent for too long. A look at all of them from time to
    /// time costs less than a timer for each of their reads.
    fn sweep(&mut self) {
        let Desk { now, context, .. } = &self.desk;
        if self.sweep_at.is_some_and(|at| at > *now) {
            return;
        }
        if self.clients.is_empty() {
            self.sweep_at = None; // nobody to wake up for
            return;
        }
        let is_first = self.sweep_at.is_none();
        self.sweep_at = sweep_interval(&context.timeouts).map(|interval| *now + interval);
        if is_first {
            return;
        }
        let silent =
            |(key, client): (ClientKey, &Client)| client.has_timed_out(&self.desk).then_some(key);
        for key in self.clients.iter().filter_map(silent).collect::<Vec<_>>() {
            self.close(key);
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
            if let Some(client) = self.clients.get_mut(key) {
                client.drain();
                self.give_turn(key);
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.drain_until.is_some_and(|until| self.clients.is_empty() || Instant::now() >= until)
    }
}
