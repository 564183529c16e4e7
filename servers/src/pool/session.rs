//! One connection of the pool: what the front and the workers pass each other.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::sync::PoisonError;
use std::time::Instant;

use common::stats::{Open, Tally};
use common::{Connection, Limits, Response};
use rustix::io::Errno;

use super::ClientKey;
use crate::READ_CHUNK_BYTES;
use crate::sync::{Mutex, MutexGuard};

/// A connection, as the table and the queue hold it.
pub(super) struct Client {
    pub(super) key: ClientKey,
    pub(super) socket: TcpStream,
    session: Mutex<Session>,
    _open: Open,
}

/// What is done with a connection by one thread at a time.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Bytes may wait in the kernel: no read has come up short since the last event.
    pub(super) readable: bool,
    /// The peer has sent its last byte, and only a read of nothing will say when it was reached.
    pub(super) hung_up: bool,
    /// In the queue or with a worker, who will look after everything until it is not.
    pub(super) handed_over: bool,
}

impl Client {
    pub(super) fn new(key: ClientKey, socket: TcpStream, open: Open, limits: Limits) -> Self {
        let connection = Connection::new(limits, Instant::now());
        let session = Session { connection, readable: false, hung_up: false, handed_over: false };
        Self { key, socket, session: Mutex::new(session), _open: open }
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        // A panic can only have come from a plan, and those run without the lock.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Whether there is something for a worker: a request, and room for its reply.
    pub(super) fn can_answer(&self) -> bool {
        self.connection.has_request() && !self.connection.wants_write()
    }

    /// Reads until a whole request is here or nothing is left: never more than one frame.
    pub(super) fn read(&mut self, socket: &TcpStream, tally: &mut Tally) -> io::Result<()> {
        let mut chunk = [const { MaybeUninit::uninit() }; READ_CHUNK_BYTES];
        while self.readable && self.connection.wants_read() {
            tally.reads += 1;
            match rustix::io::read(socket, &mut chunk) {
                Ok(([], _)) => {
                    self.readable = false;
                    self.connection.received_eof();
                }
                Ok((bytes, _)) => {
                    self.connection.receive(bytes, Instant::now());
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

    pub(super) fn respond(&mut self, response: Response, tally: &mut Tally) {
        tally.answered(&response);
        self.connection.respond(response);
    }

    pub(super) fn flush(&mut self, mut socket: &TcpStream, tally: &mut Tally) -> io::Result<()> {
        while self.connection.wants_write() {
            tally.writes += 1;
            match socket.write(self.connection.to_send()) {
                Ok(bytes) => self.connection.sent(bytes, Instant::now()),
                // The rest goes when an event says that there is room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connection.stalled(Instant::now());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        tally.delivered(&mut self.connection);
        Ok(())
    }
}
