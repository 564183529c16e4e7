//! What the threads model and the pool share: a conversation in which every step blocks its
//! thread, and the way to end such conversations from outside.

mod conversations;
mod places;
#[cfg(all(test, feature = "shuttle"))]
mod schedules;

use std::io::{self, Write};
use std::net::{self, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::connection::Timeout;
use common::service::overloaded;
use common::stats::{Open, Tally};
use common::{Config, Connection, Plan, Response, Shutdown, Stats};
use rustix::io::Errno;

pub(crate) use self::conversations::{Conversation, Conversations};
use self::places::Places;
use crate::{Context, READ_CHUNK_BYTES, listener};

/// The least that the kernel is told: zero would mean no bound at all.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// Serves one connection from the first byte to the last, on this thread.
pub(crate) fn converse(stream: &TcpStream, player: &Player) -> io::Result<()> {
    let mut connection = Connection::new(player.context.limits, Instant::now());
    let mut tally = player.context.stats.tally();
    let ended = take_turns(stream, &mut connection, player, &mut tally);
    player.context.stats.add(&mut tally);
    ended
}

fn take_turns(
    stream: &TcpStream,
    connection: &mut Connection,
    player: &Player,
    tally: &mut Tally,
) -> io::Result<()> {
    let context = &player.context;
    // Uninitialised, so that only the pages that bytes reach become memory; and not on the stack,
    // whose pages a function touches one by one when its frame is as large as this.
    let mut chunk = Box::new_uninit_slice(READ_CHUNK_BYTES);
    let mut patience = Patience::new(stream, context)?;
    loop {
        answer(stream, connection, player, tally)?;
        flush(stream, connection, context, tally)?;
        context.stats.add(tally);
        if context.shutdown.is_triggered() {
            connection.drain();
        }
        if connection.output_ended() {
            stream.shutdown(net::Shutdown::Write)?;
        }
        if connection.is_finished() {
            return Ok(());
        }
        if connection.wants_read() {
            patience.adjust(connection)?;
            tally.reads += 1;
            match rustix::io::read(stream, &mut *chunk) {
                Ok(([], _)) => connection.received_eof(),
                Ok((bytes, _)) => connection.receive(bytes, Instant::now()),
                Err(Errno::AGAIN) if context.has_timed_out(connection, Instant::now()) => {
                    return Ok(());
                }
                Err(Errno::AGAIN) => patience.is_early = true,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How long the kernel lets a call on the socket block. It is told once, and again only where a
/// request comes in pieces: a call for each read would cost as much as a tenth of the read.
struct Patience<'a> {
    stream: &'a TcpStream,
    context: &'a Context,
    /// What it was told is the idle timeout.
    is_idle: bool,
    /// The last read came back before its time: the kernel counts in ticks, from the last one on.
    is_early: bool,
}

impl<'a> Patience<'a> {
    fn new(stream: &'a TcpStream, context: &'a Context) -> io::Result<Self> {
        stream.set_read_timeout(context.timeouts.idle)?;
        stream.set_write_timeout(context.timeouts.write.map(between_looks))?;
        Ok(Self { stream, context, is_idle: true, is_early: false })
    }

    /// For the next read.
    fn adjust(&mut self, connection: &Connection) -> io::Result<()> {
        match connection.times_out(&self.context.timeouts) {
            Some((at, timeout)) if timeout == Timeout::Read || self.is_early => {
                (self.is_idle, self.is_early) = (false, false);
                let rest = at.saturating_duration_since(Instant::now());
                self.stream.set_read_timeout(Some(rest.max(TIMEOUT_MIN)))
            }
            _ if self.is_idle => Ok(()),
            _ => {
                self.is_idle = true;
                self.stream.set_read_timeout(self.context.timeouts.idle)
            }
        }
    }
}

/// How long one call may block in a write. It comes back with what was taken, but not with when: so
/// it does several times, before all of the timeout has passed without a byte.
fn between_looks(timeout: Duration) -> Duration {
    (timeout / 8).max(TIMEOUT_MIN)
}

/// Answers the requests that have arrived whole. Replies gather until none is left, or until one
/// takes time: those before it do not wait for it.
fn answer(
    stream: &TcpStream,
    connection: &mut Connection,
    player: &Player,
    tally: &mut Tally,
) -> io::Result<()> {
    let context = &player.context;
    loop {
        let response = match connection.next_request() {
            Ok(None) => return Ok(()),
            Ok(Some(request)) => match context.plan(connection, request) {
                Plan::Reply(response) => response,
                plan => {
                    flush(stream, connection, context, tally)?;
                    context.stats.add(tally);
                    player.carry_out(plan)
                }
            },
            Err(error) => {
                tracing::debug!("{error}");
                tally.failed += 1;
                continue;
            }
        };
        tally.answered(&response);
        connection.respond(response);
    }
}

/// Carries plans out in the way of a thread, as many at a time as there are places.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    pub(crate) context: Context,
    places: Arc<Places>,
}

impl Player {
    pub(crate) fn new(context: Context, config: &Config) -> Self {
        Self { context, places: Arc::new(Places::new(config)) }
    }

    fn carry_out(&self, plan: Plan) -> Response {
        let stats = &self.context.stats;
        match self.places.take(stats) {
            Some(_place) => carry_out(plan.begun_at(Instant::now()), stats),
            None => overloaded(plan.id()),
        }
    }
}

/// Carries a plan out in the way of a thread: by staying in it.
pub(crate) fn carry_out(plan: Plan, stats: &Stats) -> Response {
    let _in_progress = stats.begin();
    match plan {
        Plan::Reply(response) => response,
        Plan::Wait { duration, response, .. } => {
            std::thread::sleep(duration);
            response
        }
        Plan::Compute(job) => job.run(),
        Plan::Block(job) => job.run(),
    }
}

fn flush(
    mut stream: &TcpStream,
    connection: &mut Connection,
    context: &Context,
    tally: &mut Tally,
) -> io::Result<()> {
    while connection.wants_write() {
        tally.writes += 1;
        match stream.write(connection.to_send()) {
            Ok(bytes) => connection.sent(bytes, Instant::now()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Of a socket that blocks, this is what its timeout says.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let now = Instant::now();
                let since =
                    context.timeouts.write.and_then(|all| now.checked_sub(between_looks(all)));
                connection.stalled(since.unwrap_or(now));
                if context.has_timed_out(connection, now) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    tally.delivered(connection);
    Ok(())
}

/// Accepts until shutdown; `take` gets each connection that is admitted.
pub(crate) fn accept_each(
    listener: TcpListener,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
    mut take: impl FnMut(TcpStream, Open),
) -> io::Result<()> {
    // Shutting the listening socket down is what makes a blocked accept return.
    let door = listener.try_clone()?;
    shutdown.on_trigger(move || {
        let _ = rustix::net::shutdown(&door, rustix::net::Shutdown::Both);
    });
    while !shutdown.is_triggered() {
        match listener.accept() {
            Ok((stream, _)) => match stats.admit(config.connections_max) {
                Some(open) if stream.set_nodelay(true).is_ok() => take(stream, open),
                Some(_open) => {} // it went away already
                None => listener::refuse(&stream),
            },
            Err(_) if shutdown.is_triggered() => {}
            Err(error) if listener::accept_failed(&error) => {
                std::thread::sleep(listener::ACCEPT_PAUSE);
            }
            Err(_) => {}
        }
    }
    drop(listener); // the port is free before the drain begins
    Ok(())
}
