//! A client that lets the others go on wherever it would wait. It pays by spinning.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use common::{Request, Response, Work, frame};
use shuttle::rand::{Rng, thread_rng};
use socket2::SockRef;

use crate::sync::thread;

/// Steps between two requests, at the most: a server needs some dozens for one.
const YIELDS: usize = 16;

pub(super) struct Client(TcpStream);

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
}

impl Client {
    /// The kernel accepts, and at once: this does not wait for the server.
    pub(super) fn connect(server: SocketAddr) -> Self {
        let socket = TcpStream::connect(server).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        // Leaves by a reset where it can: of thousands a second, none keeps its port for a minute.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        Self(socket)
    }

    /// Asks for one after the other, at some moment while the server is at it. A socket always takes
    /// such few and small ones, unless a drain has closed it.
    pub(super) fn ask(&self, ids: Range<u64>) {
        for id in ids {
            // One of three is answered at once. The others take time, if none.
            let work = if id % 3 == 1 { Work::Echo(vec![7]) } else { Work::BlockUs(0) };
            let mut bytes = Vec::new();
            frame::encode(&Request { id, timeout_ms: 0, work: Some(work) }, &mut bytes);
            match (&self.0).write(&bytes) {
                Ok(sent) => assert_eq!(sent, bytes.len()),
                Err(error) => assert!(is_reset(error.kind()), "{error}"),
            }
            (0..thread_rng().gen_range(0..YIELDS)).for_each(|_| thread::yield_now());
        }
    }

    pub(super) fn half_close(&self) {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// So many responses.
    pub(super) fn receive(&self, expected: usize) -> Vec<Response> {
        let mut bytes = Vec::new();
        loop {
            let end = self.read(&mut bytes);
            let responses = responses(&bytes);
            if responses.len() >= expected {
                return responses;
            }
            assert_eq!(end, None, "after {} responses", responses.len());
        }
    }

    /// All that comes, until nothing will.
    pub(super) fn receive_all(&self) -> (Vec<Response>, End) {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = self.read(&mut bytes) {
                return (responses(&bytes), end);
            }
        }
    }

    fn read(&self, bytes: &mut Vec<u8>) -> Option<End> {
        let mut chunk = [0; 1024];
        match (&self.0).read(&mut chunk) {
            Ok(0) => return Some(End::Closed),
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => {
                assert!(is_reset(error.kind()), "{error}");
                return Some(End::Reset);
            }
        }
        None
    }
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn responses(mut bytes: &[u8]) -> Vec<Response> {
    let mut responses = Vec::new();
    while let Some(message) = frame::split_first(bytes, frame::FRAME_BYTES_MAX_DEFAULT).unwrap() {
        responses.push(frame::decode(message).unwrap());
        bytes = &bytes[size_of::<u32>() + message.len()..];
    }
    responses
}
