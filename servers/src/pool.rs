//! pool: a fixed number of workers behind one event front, so that idle connections cost none.
//! It pays with a handoff: each batch of requests crosses a queue and, where the worker sleeps,
//! a wake-up.
//!
//! Who waits: the front, in `epoll_wait`, for all connections; the workers, at the queue. Where
//! a conversation's state lives: in a [`Session`] under a lock, which whoever has the turn holds.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{self, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use common::config::Handoff;
use common::stats::{Open, Tally};
use common::{Config, Connection, Plan, Service, Shutdown, Stats};
use crossbeam_channel::{Receiver, Sender};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use slotmap::{Key, KeyData, SlotMap};

use crate::blocking::{Conversation, Conversations, carry_out, converse};
use crate::{Context, READ_CHUNK_BYTES, blocking, listener};

/// Events taken from the kernel at once: the rest stay queued there.
const EVENTS_PER_WAIT: usize = 1024;

const LISTENER: u64 = u64::MAX;
const WAKE_UP: u64 = u64::MAX - 1;

slotmap::new_key_type! {
    /// A slot and its generation: an event that comes too late finds nobody.
    struct ClientKey;
}

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If an epoll instance, a thread or a listening socket cannot be made.
pub fn serve(
    listener: TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let context = Context::new(service, config, shutdown, stats);
    if config.handoff == Handoff::Connection {
        return serve_whole_connections(listener, &context, config);
    }
    let (queue, handed_over) = queue::<Arc<Client>>(config);
    let pool = Arc::new(Pool {
        context,
        handoff: config.handoff,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        wake_up: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        clients: Mutex::default(),
    });
    for index in 0..config.workers.get() {
        let (pool, handed_over) = (Arc::clone(&pool), handed_over.clone());
        spawn_worker(index, move || {
            let mut tally = Tally::default();
            for client in handed_over {
                pool.work_for(&client, &mut tally);
            }
        })?;
    }
    Front { pool, queue, listener: Some(listener), config: config.clone() }.run()
}

/// The textbook pool: the queue holds connections, and a worker converses with one until it
/// closes.
fn serve_whole_connections(
    listener: TcpListener,
    context: &Context,
    config: &Config,
) -> io::Result<()> {
    let (queue, handed_over): (Sender<Conversation>, Receiver<Conversation>) = queue(config);
    for index in 0..config.workers.get() {
        let (context, handed_over) = (context.clone(), handed_over.clone());
        spawn_worker(index, move || {
            for conversation in handed_over {
                if let Err(error) = converse(&conversation, &context) {
                    tracing::debug!("connection: {error}");
                }
            }
        })?;
    }
    let conversations = Arc::new(Conversations::default());
    blocking::accept_each(listener, config, &context.shutdown, &context.stats, |stream, open| {
        // There is room: the queue is as long as there are connections.
        let _ = queue.try_send(conversations.add(stream, open));
    })?;
    conversations.drain(config.drain_timeout);
    Ok(())
}

/// The bounded queue. Each connection stands in it once at the most, so it is never full: the
/// bound that a peer runs into is that of connections, and then its own unanswered requests.
fn queue<T>(config: &Config) -> (Sender<T>, Receiver<T>) {
    crossbeam_channel::bounded(config.connections_max)
}

fn spawn_worker(index: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(format!("pool-worker-{index}")).spawn(work).map(drop)
}

/// The event front: one thread that accepts, waits for all connections, and hands over.
struct Front {
    pool: Arc<Pool>,
    queue: Sender<Arc<Client>>,
    listener: Option<TcpListener>,
    config: Config,
}

/// What the front and the workers share.
struct Pool {
    context: Context,
    handoff: Handoff,
    epoll: OwnedFd,
    wake_up: OwnedFd,
    clients: Mutex<SlotMap<ClientKey, Arc<Client>>>,
}

struct Client {
    key: ClientKey,
    socket: TcpStream,
    session: Mutex<Session>,
    _open: Open,
}

struct Session {
    connection: Connection,
    /// Bytes may wait in the kernel: no read has come up short since the last event.
    readable: bool,
    /// The peer has sent its last byte, and only a read of nothing will say when it was reached.
    hung_up: bool,
    /// In the queue or with a worker, who will look after everything until it is not.
    handed_over: bool,
}

impl Front {
    fn run(mut self) -> io::Result<()> {
        let pool = Arc::clone(&self.pool);
        if let Some(listener) = &self.listener {
            listener.set_nonblocking(true)?;
            let once = EventFlags::IN | EventFlags::ONESHOT;
            epoll::add(&pool.epoll, listener, EventData::new_u64(LISTENER), once)?;
        }
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&pool.epoll, &pool.wake_up, EventData::new_u64(WAKE_UP), edge)?;
        pool.context.shutdown.on_trigger({
            let pool = Arc::clone(&pool);
            move || pool.wake_front()
        });

        let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
        let (mut accept_again_at, mut drain_until) = (None, None);
        let mut tally = Tally::default();
        while !drain_until.is_some_and(|until| pool.clients().is_empty() || Instant::now() >= until)
        {
            let due = accept_again_at.into_iter().chain(drain_until).min();
            wait(&pool.epoll, &mut events, due)?;
            tally.waits += 1;
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => accept_again_at = self.accept(),
                    WAKE_UP => {} // says only that what comes below has something to do
                    key => self.on_event(KeyData::from_ffi(key).into(), event.flags, &mut tally),
                }
            }
            if accept_again_at.is_some_and(|at| at <= Instant::now()) {
                accept_again_at = self.accept();
            }
            if drain_until.is_none() && pool.context.shutdown.is_triggered() {
                drain_until = Some(Instant::now() + self.config.drain_timeout);
                accept_again_at = None;
                self.begin_drain(&mut tally);
            }
            pool.context.stats.add(&mut tally);
        }
        Ok(())
    }

    /// Accepts all that wait, and says when to try again where the process is out of descriptors.
    fn accept(&mut self) -> Option<Instant> {
        let listener = self.listener.as_ref()?;
        loop {
            match listener.accept() {
                Ok((socket, _)) => match self.pool.context.stats.admit(self.config.connections_max)
                {
                    Some(open) => {
                        if let Err(error) = self.pool.register(socket, open) {
                            tracing::debug!("connection: {error}");
                        }
                    }
                    None => listener::refuse(&socket),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if listener::accept_failed(&error) => {
                    return Some(Instant::now() + listener::ACCEPT_PAUSE);
                }
                Err(_) => {}
            }
        }
        let once = EventFlags::IN | EventFlags::ONESHOT;
        // Of a listener that is in the set, this cannot fail.
        let _ = epoll::modify(&self.pool.epoll, listener, EventData::new_u64(LISTENER), once);
        None
    }

    fn on_event(&self, key: ClientKey, flags: EventFlags, tally: &mut Tally) {
        let client = self.pool.clients().get(key).map(Arc::clone);
        let Some(client) = client else { return };
        let mut session = client.session();
        session.readable = true;
        session.hung_up |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
        if flags.contains(EventFlags::ERR) {
            self.pool.remove(&client);
        } else if session.handed_over {
            // New bytes may come in while a worker is busy with the old ones.
            let _ = session.read(&client.socket, tally);
        } else {
            self.look_after(&client, session, tally);
        }
    }

    /// Does the front's share for a client that no worker has, and hands it over if there is
    /// more to do.
    fn look_after(
        &self,
        client: &Arc<Client>,
        mut session: MutexGuard<'_, Session>,
        tally: &mut Tally,
    ) {
        let alive = match self.pool.handoff {
            Handoff::Ready => Ok(()),
            _ => session
                .flush(&client.socket, tally)
                .and_then(|()| session.read(&client.socket, tally)),
        };
        if alive.is_err() {
            self.pool.remove(client);
        } else if self.pool.handoff == Handoff::Ready || session.can_answer() {
            session.handed_over = true;
            drop(session);
            // There is room: a client stands in the queue once at the most.
            let _ = self.queue.try_send(Arc::clone(client));
        } else {
            self.pool.release(client, &mut session);
        }
    }

    fn begin_drain(&mut self, tally: &mut Tally) {
        self.listener = None;
        let clients: Vec<_> = self.pool.clients().values().map(Arc::clone).collect();
        for client in clients {
            let mut session = client.session();
            session.connection.drain();
            if !session.handed_over {
                self.look_after(&client, session, tally);
            }
        }
    }
}

fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>, until: Option<Instant>) -> io::Result<()> {
    let patience = until.map(|until| until.saturating_duration_since(Instant::now()));
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match epoll::wait(epoll, spare_capacity(events), patience.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Pool {
    /// A worker's whole work for a client: answers what has arrived, and gives it back.
    fn work_for(&self, client: &Client, tally: &mut Tally) {
        match self.serve(client, tally) {
            Ok(mut session) => {
                session.handed_over = false;
                self.release(client, &mut session);
            }
            Err(error) => {
                tracing::debug!("connection: {error}");
                self.remove(client);
            }
        }
        self.context.stats.add(tally);
    }

    /// Carries plans out in the way of a worker: by staying in them. Meanwhile the session is
    /// free, so that the front can go on reading.
    fn serve<'a>(
        &self,
        client: &'a Client,
        tally: &mut Tally,
    ) -> io::Result<MutexGuard<'a, Session>> {
        let mut session = client.session();
        if self.handoff == Handoff::Ready {
            session.readable = true;
            session.read(&client.socket, tally)?;
        }
        loop {
            let response = match session.connection.next_request() {
                Ok(Some(request)) => match self.context.service.plan(request) {
                    Plan::Reply(response) => response,
                    plan => {
                        session.flush(&client.socket, tally)?;
                        drop(session);
                        let response = carry_out(plan, &self.context.stats);
                        session = client.session();
                        response
                    }
                },
                Ok(None) => {
                    session.flush(&client.socket, tally)?;
                    if session.can_answer() {
                        continue;
                    }
                    return Ok(session);
                }
                Err(error) => {
                    tracing::debug!("{error}");
                    tally.failed += 1;
                    continue;
                }
            };
            tally.answered(&response);
            session.connection.respond(&response);
        }
    }

    fn register(&self, socket: TcpStream, open: Open) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let connection = Connection::new(self.context.limits);
        let session = Session { connection, readable: false, hung_up: false, handed_over: false };
        let mut clients = self.clients();
        let key = clients.insert_with_key(|key| {
            Arc::new(Client { key, socket, session: Mutex::new(session), _open: open })
        });
        let data = EventData::new_u64(key.data().as_ffi());
        let added = epoll::add(&self.epoll, &clients[key].socket, data, self.interest());
        if added.is_err() {
            clients.remove(key);
        }
        Ok(added?)
    }

    /// `requests`: told of every change, for the whole life of a connection. `ready`: told once,
    /// and then not again until the worker re-arms it.
    fn interest(&self) -> EventFlags {
        match self.handoff {
            Handoff::Ready => EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT,
            _ => EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
        }
    }

    /// Leaves a client, which nobody has now, to the events to come.
    fn release(&self, client: &Client, session: &mut Session) {
        let connection = &session.connection;
        if connection.output_ended() {
            let _ = client.socket.shutdown(net::Shutdown::Write);
        }
        if connection.is_finished() {
            return self.remove(client);
        }
        let mut flags = self.interest();
        if self.handoff == Handoff::Ready {
            flags.set(EventFlags::IN | EventFlags::RDHUP, connection.wants_read());
            flags.set(EventFlags::OUT, connection.wants_write());
        } else if !(session.readable && connection.wants_read()) {
            return;
        }
        // For an edge that was passed over while there was no wish to read, this makes another.
        let data = EventData::new_u64(client.key.data().as_ffi());
        if epoll::modify(&self.epoll, &client.socket, data, flags).is_err() {
            self.remove(client);
        }
    }

    /// Forgets a client. Its socket closes, and so leaves the epoll set, with the last handle.
    fn remove(&self, client: &Client) {
        self.clients().remove(client.key);
        if self.context.shutdown.is_triggered() {
            self.wake_front();
        }
    }

    fn wake_front(&self) {
        let _ = rustix::io::write(&self.wake_up, &1_u64.to_ne_bytes());
    }

    fn clients(&self) -> MutexGuard<'_, SlotMap<ClientKey, Arc<Client>>> {
        // The map is whole between any two of its operations, whoever panicked.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn session(&self) -> MutexGuard<'_, Session> {
        // A panic can only have come from a plan, and those run without the lock.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether there is something for a worker: a request, and room for its reply.
    fn can_answer(&self) -> bool {
        self.connection.has_request() && !self.connection.wants_write()
    }

    /// Reads until a whole request is here or nothing is left: never more than one frame.
    fn read(&mut self, socket: &TcpStream, tally: &mut Tally) -> io::Result<()> {
        let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK_BYTES];
        while self.readable && self.connection.wants_read() {
            tally.reads += 1;
            match rustix::io::read(socket, &mut chunk) {
                Ok(([], _)) => {
                    self.readable = false;
                    self.connection.received_eof();
                }
                Ok((bytes, _)) => {
                    self.connection.receive(bytes);
                    // A short read has emptied the socket, unless the end stands behind it.
                    self.readable = bytes.len() == READ_CHUNK_BYTES || self.hung_up;
                }
                Err(Errno::AGAIN) => self.readable = false,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn flush(&mut self, mut socket: &TcpStream, tally: &mut Tally) -> io::Result<()> {
        while self.connection.wants_write() {
            tally.writes += 1;
            match socket.write(self.connection.to_send()) {
                Ok(bytes) => self.connection.sent(bytes),
                // The rest goes when an event says that there is room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
