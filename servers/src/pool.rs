//! pool: a fixed number of workers behind one event front, so that idle connections cost none.
//! It pays with a handoff: each batch of requests crosses a queue and, where the worker sleeps,
//! a wake-up.
//!
//! Who waits: the front, in `epoll_wait`, for all connections; the workers, at the queue. Where
//! a conversation's state lives: in a `Session` under a lock, which whoever has the turn holds.

mod front;
mod session;

use std::io;
use std::net::{self, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use common::config::{Handoff, Overload};
use common::stats::{Open, Tally};
use common::{Config, Plan, Service, Shutdown, Stats};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use slotmap::{Key, SlotMap};

use self::front::Front;
use self::session::{Client, Session};
use crate::blocking::{self, Conversation, Conversations, Player, carry_out, converse};
use crate::sync::channel::{self, Receiver, Sender};
use crate::sync::{Mutex, MutexGuard, thread};
use crate::{Context, listener};

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
            let mut tally = pool.context.stats.tally();
            for client in handed_over {
                pool.context.stats.dequeued();
                pool.work_for(&client, &mut tally);
                drop(client);
                if pool.context.shutdown.is_triggered() {
                    pool.wake_front(); // this may have been the last one
                }
            }
        })?;
    }
    Front::new(pool, queue, listener, config)?.run()
}

/// The textbook pool: the queue holds connections, and a worker converses with one until it
/// closes.
fn serve_whole_connections(
    listener: TcpListener,
    context: &Context,
    config: &Config,
) -> io::Result<()> {
    let (queue, handed_over) = queue::<Conversation>(config);
    let player = Player::new(context.clone(), config);
    for index in 0..config.workers.get() {
        let (player, handed_over) = (player.clone(), handed_over.clone());
        spawn_worker(index, move || {
            for conversation in handed_over {
                player.context.stats.dequeued();
                if let Err(error) = converse(&conversation, &player) {
                    tracing::debug!("connection: {error}");
                }
            }
        })?;
    }
    let conversations = Arc::new(Conversations::default());
    blocking::accept_each(listener, config, &context.shutdown, &context.stats, |stream, open| {
        if queue.is_full() {
            context.stats.rejected();
            return listener::refuse(&stream);
        }
        context.stats.queued();
        context.stats.add(&mut Tally { handoffs: 1, ..Tally::default() });
        // There is room: nobody else puts anything in.
        let _ = queue.try_send(conversations.add(stream, open));
    })?;
    conversations.drain(config.drain_timeout);
    Ok(())
}

/// The bounded queue. Each connection stands in it once at the most: where all may wait, it is as
/// long as there are connections, and so never full.
fn queue<T>(config: &Config) -> (Sender<T>, Receiver<T>) {
    channel::bounded(match config.overload {
        Overload::Wait => config.connections_max,
        Overload::Reject => config.in_flight_max,
    })
}

fn spawn_worker(index: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(format!("pool-worker-{index}")).spawn(work).map(drop)
}

/// What the front and the workers share.
struct Pool {
    context: Context,
    handoff: Handoff,
    epoll: OwnedFd,
    wake_up: OwnedFd,
    clients: Mutex<SlotMap<ClientKey, Arc<Client>>>,
}

impl Pool {
    /// A worker's whole work for a client: answers what has arrived, and gives it back.
    fn work_for(&self, client: &Client, tally: &mut Tally) {
        match self.serve(client, tally) {
            Ok(mut session) => {
                session.handed_over = false;
                self.release(client, &mut session, tally);
            }
            Err(error) => {
                tracing::debug!("connection: {error}");
                self.remove(client);
            }
        }
        self.context.stats.add(tally);
    }

    /// Answers what has arrived, up to the first request that takes time: behind that, others get
    /// the worker first.
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
            match session.connection.next_request() {
                Ok(Some(request)) => match self.context.plan(&session.connection, request) {
                    Plan::Reply(response) => session.respond(response, tally),
                    plan => {
                        session.flush(&client.socket, tally)?;
                        drop(session);
                        self.context.stats.add(tally);
                        // Carried out in the way of a worker: by staying in it. Meanwhile the
                        // session is free, so that the front can go on reading.
                        let response = carry_out(plan, &self.context.stats);
                        session = client.session();
                        session.respond(response, tally);
                        session.flush(&client.socket, tally)?;
                        return Ok(session);
                    }
                },
                Ok(None) => {
                    session.flush(&client.socket, tally)?;
                    if !session.can_answer() {
                        return Ok(session);
                    }
                }
                Err(error) => {
                    tracing::debug!("{error}");
                    tally.failed += 1;
                }
            }
        }
    }

    fn register(&self, socket: TcpStream, open: Open, tally: &mut Tally) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut clients = self.clients();
        let client = |key| Arc::new(Client::new(key, socket, open, self.context.limits));
        let key = clients.insert_with_key(client);
        let data = EventData::new_u64(key.data().as_ffi());
        tally.registrations += 1;
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
    fn release(&self, client: &Client, session: &mut Session, tally: &mut Tally) {
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
            flags.set(EventFlags::OUT, connection.wants_write() || session.can_answer());
        } else if !(session.can_answer() || session.readable && connection.wants_read()) {
            return;
        }
        // An edge that was passed over does not come again; this makes another.
        let data = EventData::new_u64(client.key.data().as_ffi());
        tally.registrations += 1;
        if epoll::modify(&self.epoll, &client.socket, data, flags).is_err() {
            self.remove(client);
        }
    }

    /// Forgets a client. Its socket closes, and so leaves the epoll set, with the last handle.
    fn remove(&self, client: &Client) {
        self.clients().remove(client.key);
    }

    fn wake_front(&self) {
        self.context.stats.add(&mut Tally { wakes: 1, ..Tally::default() });
        let _ = rustix::io::write(&self.wake_up, &1_u64.to_ne_bytes());
    }

    fn clients(&self) -> MutexGuard<'_, SlotMap<ClientKey, Arc<Client>>> {
        // The map is whole between any two of its operations, whoever panicked.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
