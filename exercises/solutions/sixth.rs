//! leaders: threads that take turns at waiting. One of them, the leader, waits for an event; with an
//! event in hand it leaves the lead to another, and serves the client itself.
//! It pays with a system call to re-arm a connection after each turn, and, as a pool does, with a thread
//! for each request that takes time.
//!
//! Who waits: the leader, in `epoll_wait`, for all connections; the followers, for the lead. Where a
//! conversation's state lives: in a `Session`, under a lock. No queue and no hand-off: what a thread has
//! waited for is still in its hand (Schmidt, O'Ryan, Kircher, Pyarali, Buschmann: "Leader/Followers", in
//! "Pattern-Oriented Software Architecture", volume 2).

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::{self, MaybeUninit};
use std::net::{self, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::stats::Open;
use common::{Code, Config, Connection, Plan, Response, Service, Shutdown, Stats, frame};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// As many requests may take time at once.
const THREADS: usize = 16;
/// How much one turn reads at the most: then the others come first.
const READ_CHUNK_BYTES: usize = 16 * 1024;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long to rest when the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const LISTENER: u64 = u64::MAX;
const OVER: u64 = u64::MAX - 1;

/// Somebody comes, or says something, or leaves: told once, and not again until it is re-armed.
const ONCE: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ONESHOT);

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// If an epoll instance or a thread cannot be made, or the listening socket not be used.
pub fn serve(
    listener: TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), ONCE)?;
    let wake_up = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    // Never read, and so readable once it is written: each leader sees it.
    epoll::add(&epoll, &wake_up, EventData::new_u64(OVER), EventFlags::IN)?;
    let server = Arc::new(Server {
        service,
        config: config.clone(),
        stats: stats.clone(),
        epoll,
        wake_up,
        lead: Mutex::default(),
        door: Mutex::new(Some(listener)),
        clients: Mutex::default(),
        one_left: Condvar::new(),
        is_over: AtomicBool::new(false),
    });
    for index in 0..THREADS {
        let server = Arc::clone(&server);
        thread::Builder::new().name(format!("leaders-{index}")).spawn(move || server.follow())?;
    }
    let (say, drain_has_begun) = mpsc::channel();
    let its_server = Arc::clone(&server);
    shutdown.on_trigger(move || {
        its_server.begin_drain();
        let _ = say.send(());
    });
    let _ = drain_has_begun.recv();
    server.end(config.drain_timeout);
    Ok(())
}

struct Server {
    service: Service,
    config: Config,
    stats: Stats,
    epoll: OwnedFd,
    wake_up: OwnedFd,
    /// Whoever holds it waits for events.
    lead: Mutex<()>,
    /// Nobody comes in any more, once there is no listener.
    door: Mutex<Option<TcpListener>>,
    clients: Mutex<Clients>,
    one_left: Condvar,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Clients {
    by_key: HashMap<u64, Arc<Client>>,
    /// Keys are not used again: an event that comes too late finds nobody.
    next_key: u64,
}

struct Client {
    key: u64,
    socket: TcpStream,
    session: Mutex<Session>,
    _open: Open,
}

struct Session {
    connection: Connection,
    /// A thread serves it, and will look after everything until it is done.
    in_service: bool,
}

impl Server {
    fn follow(&self) {
        while let Some(event) = self.wait_as_leader() {
            if event == LISTENER {
                self.accept();
            } else {
                let client = lock(&self.clients).by_key.get(&event).map(Arc::clone);
                if let Some(client) = client {
                    self.serve(&client);
                }
            }
        }
    }

    /// The next event; nothing when it is over. The lead goes to another thread when this returns.
    fn wait_as_leader(&self) -> Option<u64> {
        let _lead = lock(&self.lead);
        while !self.is_over.load(Ordering::Acquire) {
            let mut events = [const { MaybeUninit::uninit() }; 1];
            match epoll::wait(&self.epoll, &mut events, None) {
                Ok(([event], _)) if event.data.u64() != OVER => return Some(event.data.u64()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn accept(&self) {
        let door = lock(&self.door);
        let Some(listener) = &*door else { return };
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.accept() {
                Ok((socket, _)) => match self.stats.admit(self.config.connections_max) {
                    Some(open) => drop(self.register(socket, open)),
                    None => refuse(&socket),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => thread::sleep(ACCEPT_PAUSE),
            }
        }
        let _ = epoll::modify(&self.epoll, listener, EventData::new_u64(LISTENER), ONCE);
    }

    fn register(&self, socket: TcpStream, open: Open) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let connection = Connection::new(self.config.limits(), Instant::now());
        let session = Mutex::new(Session { connection, in_service: false });
        let mut clients = lock(&self.clients);
        let key = clients.next_key;
        clients.next_key += 1;
        let client = Arc::new(Client { key, socket, session, _open: open });
        epoll::add(&self.epoll, &client.socket, EventData::new_u64(key), ONCE)?;
        clients.by_key.insert(key, client);
        Ok(())
    }

    /// A client's turn: what one read brings is answered, also where that takes time.
    fn serve(&self, client: &Client) {
        let mut session = lock(&client.session);
        if mem::replace(&mut session.in_service, true) {
            return; // who serves it re-arms it, and what this event says is said again
        }
        let mut has_read = false;
        loop {
            match self.advance(&client.socket, &mut session.connection, &mut has_read) {
                Ok(None) => return self.leave_to_events(client, &mut session),
                Ok(Some(plan)) => {
                    drop(session); // a drain is not to wait for it
                    let response = self.carry_out(plan);
                    session = lock(&client.session);
                    session.connection.respond(response);
                }
                Err(_) => return self.remove(client),
            }
        }
    }

    /// As far as it goes without waiting; the plan that takes time, if there is one.
    fn advance(
        &self,
        mut socket: &TcpStream,
        connection: &mut Connection,
        has_read: &mut bool,
    ) -> io::Result<Option<Plan>> {
        loop {
            match connection.next_request() {
                Ok(Some(request)) => {
                    let deadline = connection.deadline(&request);
                    match self.service.plan(request, deadline) {
                        Plan::Reply(response) => connection.respond(response),
                        plan => {
                            flush(socket, connection)?;
                            return Ok(Some(plan));
                        }
                    }
                }
                Err(_) => {} // the reply that says so is queued already
                Ok(None) => {
                    flush(socket, connection)?;
                    if connection.has_request() && !connection.wants_write() {
                        continue; // the flush made room for its reply
                    }
                    // Also while replies are unsent, up to the mark: who is told of bytes and does
                    // not read them is told again, and so on, for as long as the client likes.
                    if !connection.wants_read() || mem::replace(has_read, true) {
                        return Ok(None);
                    }
                    let mut chunk = [0; READ_CHUNK_BYTES];
                    match socket.read(&mut chunk) {
                        Ok(0) => connection.received_eof(),
                        Ok(bytes) => connection.receive(&chunk[..bytes], Instant::now()),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// In the way of this model: the thread stays, and others have the lead.
    fn carry_out(&self, plan: Plan) -> Response {
        let _in_progress = self.stats.begin();
        match plan {
            Plan::Reply(response) => response,
            Plan::Wait { duration, response, .. } => {
                thread::sleep(duration);
                response
            }
            Plan::Compute(job) => job.run(),
            Plan::Block(job) => job.run(),
        }
    }

    /// Says what the next event is to be; told once, and then not again until the next turn.
    fn leave_to_events(&self, client: &Client, session: &mut Session) {
        session.in_service = false;
        let connection = &session.connection;
        if connection.output_ended() {
            let _ = client.socket.shutdown(net::Shutdown::Write);
        }
        if connection.is_finished() {
            return self.remove(client);
        }
        let mut flags = EventFlags::ONESHOT;
        flags.set(EventFlags::IN | EventFlags::RDHUP, connection.wants_read());
        flags.set(EventFlags::OUT, connection.wants_write());
        let data = EventData::new_u64(client.key);
        if epoll::modify(&self.epoll, &client.socket, data, flags).is_err() {
            self.remove(client);
        }
    }

    fn remove(&self, client: &Client) {
        lock(&self.clients).by_key.remove(&client.key);
        self.one_left.notify_all();
    }

    /// On the thread that pulls the trigger.
    fn begin_drain(&self) {
        *lock(&self.door) = None; // closes it, and takes it out of the epoll set
        let clients: Vec<_> = lock(&self.clients).by_key.values().map(Arc::clone).collect();
        for client in clients {
            let mut session = lock(&client.session);
            session.connection.drain();
            if !session.in_service {
                self.leave_to_events(&client, &mut session);
            }
        }
    }

    /// Waits until all have left, or for so long; cuts those who have not.
    fn end(&self, timeout: Duration) {
        let mut clients = self
            .one_left
            .wait_timeout_while(lock(&self.clients), timeout, |clients| !clients.by_key.is_empty())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        for (_, client) in clients.by_key.drain() {
            let _ = client.socket.shutdown(net::Shutdown::Both);
        }
        self.is_over.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.wake_up, &1_u64.to_ne_bytes());
    }
}

fn flush(mut socket: &TcpStream, connection: &mut Connection) -> io::Result<()> {
    while connection.wants_write() {
        match socket.write(connection.to_send()) {
            Ok(bytes) => connection.sent(bytes, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tells a peer that there is no room; the send buffer of a new socket is empty, so nothing waits.
fn refuse(mut socket: &TcpStream) {
    let mut reply = Vec::new();
    let full = Response::error(0, Code::ResourceExhausted, "too many connections; try later");
    frame::encode(&full, &mut reply);
    let _ = socket.write(&reply);
    let _ = socket.shutdown(net::Shutdown::Write);
}

/// What is locked here is whole between any two of its operations, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
