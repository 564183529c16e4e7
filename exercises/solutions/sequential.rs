//! sequential: one connection at a time, on one thread.
//! It pays with everybody else's patience: whoever comes second waits until the first has left.
//!
//! Who waits: the one thread, in `accept`, `read`, `write` or `sleep`. Where a conversation's state
//! lives: in local variables. There is one, so nothing has to be told apart.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{Config, Connection, Plan, Response, Service, Shutdown, Stats};

/// How much one read takes at the most.
const READ_CHUNK_BYTES: usize = 16 * 1024;

/// How long to rest when the process is out of descriptors: to try again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one client after the other until `shutdown`, then drains.
///
/// # Errors
/// If the listening socket cannot be used.
pub fn serve(
    listener: TcpListener,
    service: Service,
    config: &Config,
    shutdown: &Shutdown,
    stats: &Stats,
) -> io::Result<()> {
    let served = Served::default();
    let (door, being_served) = (listener.try_clone()?, served.clone());
    shutdown.on_trigger(move || {
        // A blocked accept returns with an error, a blocked read with the end of input.
        let _ = rustix::net::shutdown(&door, rustix::net::Shutdown::Both);
        being_served.end_input();
    });
    let player = Player { service, config, shutdown, stats };
    while !shutdown.is_triggered() {
        match listener.accept() {
            Ok((stream, _)) => {
                let Some(_open) = stats.admit(config.connections_max) else { continue };
                *served.stream() = stream.try_clone().ok();
                let _ = player.converse(&stream); // its error is its own
                *served.stream() = None;
            }
            Err(_) if shutdown.is_triggered() => {}
            Err(error) => match error.kind() {
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                _ => thread::sleep(ACCEPT_PAUSE),
            },
        }
    }
    drop(listener);
    Ok(())
}

/// A handle on whoever is being served, for the thread that pulls the trigger.
#[derive(Clone, Default)]
struct Served(Arc<Mutex<Option<TcpStream>>>);

impl Served {
    fn stream(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_input(&self) {
        if let Some(stream) = &*self.stream() {
            let _ = stream.shutdown(net::Shutdown::Read);
        }
    }
}

struct Player<'a> {
    service: Service,
    config: &'a Config,
    shutdown: &'a Shutdown,
    stats: &'a Stats,
}

impl Player<'_> {
    /// Serves one client from its first byte to its last.
    fn converse(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // Who says or takes nothing for so long is cut: a read or a write returns with an error.
        stream.set_read_timeout(self.config.timeouts.idle)?;
        stream.set_write_timeout(self.config.timeouts.write)?;
        let mut connection = Connection::new(self.config.limits(), Instant::now());
        let mut chunk = vec![0; READ_CHUNK_BYTES];
        loop {
            self.answer(stream, &mut connection)?;
            flush(stream, &mut connection)?;
            // After the stream was put where the trigger finds it: a trigger before that is seen here.
            if self.shutdown.is_triggered() {
                connection.drain();
            }
            if connection.output_ended() {
                stream.shutdown(net::Shutdown::Write)?;
            }
            if connection.is_finished() {
                return Ok(());
            }
            if connection.wants_read() {
                match stream.read(&mut chunk) {
                    Ok(0) => connection.received_eof(),
                    Ok(bytes) => connection.receive(&chunk[..bytes], Instant::now()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Answers the requests that have come whole; those before one that takes time do not wait for it.
    fn answer(&self, stream: &TcpStream, connection: &mut Connection) -> io::Result<()> {
        loop {
            match connection.next_request() {
                Ok(None) => return Ok(()),
                Ok(Some(request)) => {
                    let deadline = connection.deadline(&request);
                    let response = match self.service.plan(request, deadline) {
                        Plan::Reply(response) => response,
                        plan => {
                            flush(stream, connection)?;
                            self.carry_out(plan)
                        }
                    };
                    connection.respond(response);
                }
                Err(_) => {} // the reply that says so is queued already
            }
        }
    }

    /// In the way of this model: nobody else is there to be held up.
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
}

fn flush(mut stream: &TcpStream, connection: &mut Connection) -> io::Result<()> {
    while connection.wants_write() {
        match stream.write(connection.to_send()) {
            Ok(bytes) => connection.sent(bytes, Instant::now()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
