//! A connection under HTTP/2: it counts itself and its system calls, and ends itself where its
//! peer takes too long. hyper has no timeout for a peer that never speaks, nor for one that
//! neither speaks nor reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use common::connection::Timeout;
use common::stats::{Open, Tally};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{self, Sleep};
use tonic::transport::server::Connected;

use crate::Context;

/// What a client says first (RFC 9113, 3.4): before it has, the connection is none.
const PREFACE_BYTES: usize = 24;

/// The calls of one connection that are being carried out: meanwhile its peer may be silent.
#[derive(Clone, Debug)]
pub(super) struct Calls(Arc<Ledger>);

#[derive(Debug)]
struct Ledger {
    opened_at: Instant,
    in_progress: AtomicUsize,
    /// When the last one ended, in microseconds since then.
    ended_us: AtomicU64,
}

impl Calls {
    fn new(opened_at: Instant) -> Self {
        let (in_progress, ended_us) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self(Arc::new(Ledger { opened_at, in_progress, ended_us }))
    }

    pub(super) fn begin(&self) -> Call {
        self.0.in_progress.fetch_add(1, Relaxed);
        Call(self.clone())
    }

    /// Since when there is none; nothing while there is one.
    fn none_since(&self) -> Option<Instant> {
        let is_none = self.0.in_progress.load(Acquire) == 0;
        let ended = || Duration::from_micros(self.0.ended_us.load(Relaxed));
        is_none.then(|| self.0.opened_at + ended())
    }
}

/// A call that is being carried out, while it lives.
#[derive(Debug)]
pub(super) struct Call(Calls);

impl Drop for Call {
    fn drop(&mut self) {
        let Ledger { opened_at, in_progress, ended_us } = &*self.0.0;
        let us = u64::try_from(opened_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        ended_us.store(us, Relaxed);
        // Whoever sees that there is none also sees since when.
        in_progress.fetch_sub(1, Release);
    }
}

/// One accepted connection.
pub(super) struct Socket {
    stream: TcpStream,
    context: Context,
    calls: Calls,
    /// Bytes of the preface that have not come.
    preface_left: usize,
    accepted_at: Instant,
    /// When bytes last came, or went.
    active_at: Instant,
    /// Since when the socket has taken nothing, though there is something to send.
    stalled_at: Option<Instant>,
    /// Stands until some time, and is set anew when it fires too early: cheaper than anew for
    /// each read.
    timer: Pin<Box<Sleep>>,
    _open: Open,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, context: Context, open: Open) -> Self {
        let now = Instant::now();
        Self {
            stream,
            context,
            calls: Calls::new(now),
            preface_left: PREFACE_BYTES,
            accepted_at: now,
            active_at: now,
            stalled_at: None,
            timer: Box::pin(time::sleep(Duration::MAX)),
            _open: open,
        }
    }

    /// When the peer has let the server wait for too long, and for what.
    fn times_out(&self) -> Option<(Instant, Timeout)> {
        let timeouts = &self.context.timeouts;
        let after = |from: Instant, patience: Option<Duration>, timeout| {
            Some((from.checked_add(patience?)?, timeout))
        };
        let writing = self.stalled_at.and_then(|at| after(at, timeouts.write, Timeout::Write));
        let reading = if self.preface_left > 0 {
            let shorter = [timeouts.idle, timeouts.read].into_iter().flatten().min();
            after(self.accepted_at, shorter, Timeout::Read)
        } else {
            let idle_from = self.calls.none_since().map(|since| since.max(self.active_at));
            idle_from.and_then(|from| after(from, timeouts.idle, Timeout::Idle))
        };
        [writing, reading].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Ready with an error once the peer has taken too long.
    fn poll_timeout(&mut self, task: &mut Task<'_>) -> Poll<io::Error> {
        while let Some((at, timeout)) = self.times_out() {
            if at <= Instant::now() {
                self.context.timed_out(timeout);
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            let at = time::Instant::from_std(at);
            if self.timer.deadline() > at || self.timer.is_elapsed() {
                self.timer.as_mut().reset(at);
            }
            ready!(self.timer.as_mut().poll(task));
        }
        Poll::Pending
    }

    fn wrote(
        &mut self,
        poll: Poll<io::Result<usize>>,
        task: &mut Task<'_>,
    ) -> Poll<io::Result<usize>> {
        if poll.is_pending() {
            self.stalled_at.get_or_insert_with(Instant::now);
            return self.poll_timeout(task).map(Err);
        }
        self.count(Tally { writes: 1, ..Tally::default() });
        self.stalled_at = None;
        self.active_at = Instant::now();
        poll
    }

    fn count(&self, mut call: Tally) {
        self.context.stats.add(&mut call);
    }
}

impl Connected for Socket {
    type ConnectInfo = Calls;

    fn connect_info(&self) -> Calls {
        self.calls.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(task, buffer);
        if poll.is_pending() {
            return self.poll_timeout(task).map(Err);
        }
        self.count(Tally { reads: 1, ..Tally::default() });
        self.preface_left = self.preface_left.saturating_sub(buffer.filled().len() - before);
        self.active_at = Instant::now();
        poll
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.wrote(poll, task)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(task, slices);
        self.wrote(poll, task)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
