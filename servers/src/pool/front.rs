//! The event front of the pool: one thread that accepts, waits for all connections, and hands
//! over. It never serves a request, so that no request can hold it up.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Config;
use common::config::Handoff;
use common::service::overloaded;
use common::stats::Tally;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::io::Errno;
use slotmap::KeyData;

use super::session::{Client, Session};
use super::{ClientKey, Pool};
use crate::sync::MutexGuard;
use crate::sync::channel::Sender;
use crate::sync::epoll::{self, EventData, EventFlags};
use crate::{listener, sweep_interval};

/// Events taken from the kernel at once: the rest stay queued there.
const EVENTS_PER_WAIT: usize = 1024;

/// Connections accepted before those that are open get their turn.
const ACCEPTS_PER_TURN: usize = 64;

const LISTENER: u64 = u64::MAX;
const WAKE_UP: u64 = u64::MAX - 1;

pub(super) struct Front {
    pool: Arc<Pool>,
    queue: Sender<Arc<Client>>,
    listener: Option<TcpListener>,
    /// When to accept again, after a pause.
    accept_again_at: Option<Instant>,
    /// When to look for clients that have been silent for too long.
    sweep_at: Option<Instant>,
    /// Set by shutdown: when to cut what is left.
    drain_until: Option<Instant>,
    connections_max: usize,
    drain_timeout: Duration,
    tally: Tally,
}

impl Front {
    pub(super) fn new(
        pool: Arc<Pool>,
        queue: Sender<Arc<Client>>,
        listener: TcpListener,
        config: &Config,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let once = EventFlags::IN | EventFlags::ONESHOT;
        epoll::add(&pool.epoll, &listener, EventData::new_u64(LISTENER), once)?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&pool.epoll, &pool.wake_up, EventData::new_u64(WAKE_UP), edge)?;
        pool.context.shutdown.on_trigger({
            let pool = Arc::clone(&pool);
            move || pool.wake_front()
        });
        Ok(Self {
            tally: pool.context.stats.tally(),
            pool,
            queue,
            listener: Some(listener),
            accept_again_at: None,
            sweep_at: None,
            drain_until: None,
            connections_max: config.connections_max,
            drain_timeout: config.drain_timeout,
        })
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
        while !self.is_drained() {
            self.wait(&mut events)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    WAKE_UP => {} // says only that what comes below has something to do
                    key => self.on_event(KeyData::from_ffi(key).into(), event.flags),
                }
            }
            if self.accept_again_at.is_some_and(|at| at <= Instant::now()) {
                self.accept();
            }
            self.sweep();
            self.begin_drain();
            self.pool.context.stats.add(&mut self.tally);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let due = [self.accept_again_at, self.sweep_at, self.drain_until];
        let due = due.into_iter().flatten().min();
        let patience = due.map(|due| due.saturating_duration_since(Instant::now()));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        self.tally.waits += 1;
        match epoll::wait(&self.pool.epoll, spare_capacity(events), patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Accepts and re-arms, which brings the next event at once where more wait; rests where the
    /// process is out of descriptors.
    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.accept() {
                Ok((socket, _)) => match self.pool.context.stats.admit(self.connections_max) {
                    Some(open) => {
                        if let Err(error) = self.pool.register(socket, open, &mut self.tally) {
                            tracing::debug!("connection: {error}");
                        }
                    }
                    None => listener::refuse(&socket),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if listener::accept_failed(&error) => {
                    self.accept_again_at = Some(Instant::now() + listener::ACCEPT_PAUSE);
                    return;
                }
                Err(_) => {}
            }
        }
        self.accept_again_at = None;
        let once = EventFlags::IN | EventFlags::ONESHOT;
        self.tally.registrations += 1;
        // Of a listener that is in the set, this cannot fail.
        let _ = epoll::modify(&self.pool.epoll, listener, EventData::new_u64(LISTENER), once);
    }

    fn on_event(&mut self, key: ClientKey, flags: EventFlags) {
        let client = self.pool.clients().get(key).map(Arc::clone);
        let Some(client) = client else { return };
        let mut session = client.session();
        session.readable = true;
        session.hung_up |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
        if flags.contains(EventFlags::ERR) {
            self.pool.remove(&client);
        } else if session.handed_over {
            // New bytes may come in while a worker is busy with the old ones.
            let _ = session.read(&client.socket, &mut self.tally);
        } else {
            self.look_after(&client, session);
        }
    }

    /// Does the front's share for a client that no worker has, and hands it over if there is
    /// more to do.
    fn look_after(&mut self, client: &Arc<Client>, mut session: MutexGuard<'_, Session>) {
        let to_worker = match self.pool.handoff {
            Handoff::Ready => Ok(true),
            _ => self.read_for_worker(client, &mut session),
        };
        match to_worker {
            Ok(true) if self.queue.is_full() => self.reject(client, session),
            Ok(true) => {
                session.handed_over = true;
                drop(session);
                self.pool.context.stats.queued();
                self.tally.handoffs += 1;
                // There is room: nobody else puts anything in.
                let _ = self.queue.try_send(Arc::clone(client));
            }
            Ok(false) => self.pool.release(client, &mut session, &mut self.tally),
            Err(error) => {
                tracing::debug!("connection: {error}");
                self.pool.remove(client);
            }
        }
    }

    /// Says no to the requests that have come: for a refusal, no worker is needed.
    fn reject(&mut self, client: &Client, mut session: MutexGuard<'_, Session>) {
        match self.answer_no(client, &mut session) {
            Ok(()) => self.pool.release(client, &mut session, &mut self.tally),
            Err(error) => {
                tracing::debug!("connection: {error}");
                self.pool.remove(client);
            }
        }
    }

    fn answer_no(&mut self, client: &Client, session: &mut Session) -> io::Result<()> {
        session.read(&client.socket, &mut self.tally)?;
        loop {
            match session.connection.next_request() {
                Ok(Some(request)) => {
                    self.pool.context.stats.rejected();
                    session.respond(overloaded(request.id), &mut self.tally);
                }
                Ok(None) => return session.flush(&client.socket, &mut self.tally),
                Err(error) => {
                    tracing::debug!("{error}");
                    self.tally.failed += 1;
                }
            }
        }
    }

    fn read_for_worker(&mut self, client: &Client, session: &mut Session) -> io::Result<bool> {
        session.flush(&client.socket, &mut self.tally)?;
        session.read(&client.socket, &mut self.tally)?;
        Ok(session.can_answer())
    }

    /// Closes the clients that have been silent for too long, and that no worker has. A look at all
    /// of them from time to time costs less than a timer for each of their reads.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.sweep_at.is_some_and(|at| at > now) {
            return;
        }
        let is_first = self.sweep_at.is_none();
        let context = &self.pool.context;
        self.sweep_at = sweep_interval(&context.timeouts).map(|interval| now + interval);
        if is_first {
            return;
        }
        let clients: Vec<_> = self.pool.clients().values().map(Arc::clone).collect();
        for client in clients {
            let session = client.session();
            if !session.handed_over && context.has_timed_out(&session.connection, now) {
                self.pool.remove(&client);
            }
        }
    }

    fn begin_drain(&mut self) {
        if self.drain_until.is_some() || !self.pool.context.shutdown.is_triggered() {
            return;
        }
        self.drain_until = Some(Instant::now() + self.drain_timeout);
        self.accept_again_at = None;
        self.listener = None;
        let clients: Vec<_> = self.pool.clients().values().map(Arc::clone).collect();
        for client in clients {
            let mut session = client.session();
            session.connection.drain();
            if !session.handed_over {
                self.look_after(&client, session);
            }
        }
    }

    fn is_drained(&self) -> bool {
        // A client that was removed is open until its worker lets go of it.
        let open = || self.pool.context.stats.snapshot().open;
        self.drain_until.is_some_and(|until| open() == 0 || Instant::now() >= until)
    }
}
