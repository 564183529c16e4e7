//! The TCP connection below everything: it counts its system calls, and says where its peer takes
//! no bytes. It pays an addition a call.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use common::connection::Moved;
use common::stats::Tally;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ledger::Ledger;

/// One accepted connection.
pub(super) struct Wire {
    stream: TcpStream,
    ledger: Arc<Ledger>,
    writes: u64,
    /// What the ledger was told last.
    is_stalled: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, ledger: Arc<Ledger>) -> Self {
        Self { stream, ledger, writes: 0, is_stalled: false }
    }

    fn wrote(&mut self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if poll.is_pending() != self.is_stalled {
            self.is_stalled = poll.is_pending();
            self.writes += 1;
            self.ledger.stalled_write(if self.is_stalled { self.writes } else { 0 });
        }
        if let Poll::Ready(taken) = &poll {
            let sent = taken.as_ref().map_or(0, |bytes| *bytes as u64);
            self.count(Tally {
                writes: 1,
                moved: Moved { sent, ..Moved::default() },
                ..Tally::default()
            });
        }
        poll
    }

    fn count(&self, mut call: Tally) {
        self.ledger.context.stats.add(&mut call);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(task, buffer);
        if poll.is_ready() {
            let received = (buffer.filled().len() - before) as u64;
            self.count(Tally {
                reads: 1,
                moved: Moved { received, ..Moved::default() },
                ..Tally::default()
            });
        }
        poll
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.wrote(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(task, slices);
        self.wrote(poll)
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
