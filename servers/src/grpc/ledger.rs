//! What a connection's watch must know of its calls, and how many bytes of large messages they may
//! hold. It pays an addition where a request begins, ends, is answered and gone, and no clock.

use std::borrow::Borrow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Context;

/// Messages up to this need no room: to count them would cost more than to carry them.
const SMALL_BYTES_MAX: usize = 4096;
/// ... unless one on each stream of a connection is more together: a tenth of the default limit.
const SMALL_BYTES_TOGETHER: usize = 4 * 1024 * 1024 / 10;

/// One connection, as its socket, its calls and its watch share it.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) context: Context,
    pub(super) draining: CancellationToken,
    /// How many bytes of large messages may be on their way in or out at a time: those of the
    /// largest one. Each exists twice for a moment, while it is decoded or encoded.
    pub(super) room: Arc<Semaphore>,
    /// The largest message.
    pub(super) message_bytes_max: usize,
    /// The largest that needs no room.
    pub(super) small_bytes_max: usize,
    /// See [`Counts`].
    counts: AtomicU64,
    /// How often bytes of an answer were taken to be sent.
    taken: AtomicU64,
    /// Calls that their client gave up before they were answered.
    given_up: AtomicU64,
    /// The number of the frame of which the peer has sent only a part; 0 where there is none.
    half_a_frame: AtomicU64,
    /// The number of the write that the socket does not take; 0 where there is none.
    stalled_write: AtomicU64,
    /// Whether preface and settings were exchanged (RFC 9113, 3.4): 0 or 1.
    is_open: AtomicU64,
}

/// Three numbers in one, so that one addition changes them together: requests that are received or
/// carried out now, answers that are not sent whole, and how many of both ever began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts(u64);

impl Counts {
    const REQUEST: u64 = 1;
    const ANSWER: u64 = 1 << 20; // a hundred exchanged on each of ten thousand streams
    const BEGUN: u64 = 1 << 40;

    fn requests(self) -> u64 {
        self.0 % Self::ANSWER
    }

    fn answers(self) -> u64 {
        self.0 % Self::BEGUN / Self::ANSWER
    }

    fn begun(self) -> u64 {
        self.0 / Self::BEGUN
    }
}

/// A connection at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    counts: Counts,
    pub(super) taken: u64,
    pub(super) given_up: u64,
    pub(super) half_a_frame: Option<u64>,
    pub(super) stalled_write: Option<u64>,
    pub(super) is_open: bool,
}

impl Seen {
    /// Whether answers wait for their peer.
    pub(super) fn has_answers(&self) -> bool {
        self.counts.answers() > 0
    }

    /// Where nothing is asked and nothing is owed: how many calls there were before.
    pub(super) fn idle_after(&self) -> Option<u64> {
        let is_idle = self.counts.requests() == 0 && self.counts.answers() == 0;
        is_idle.then_some(self.counts.begun())
    }
}

impl Ledger {
    pub(super) fn new(
        context: Context,
        draining: CancellationToken,
        message_bytes_max: usize,
        streams_max: u32,
    ) -> Self {
        Self {
            context,
            draining,
            room: Arc::new(Semaphore::new(message_bytes_max)),
            message_bytes_max,
            small_bytes_max: SMALL_BYTES_MAX.min(SMALL_BYTES_TOGETHER / streams_max as usize),
            counts: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
            half_a_frame: AtomicU64::new(0),
            stalled_write: AtomicU64::new(0),
            is_open: AtomicU64::new(0),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let some = |number: &AtomicU64| Some(number.load(Relaxed)).filter(|number| *number > 0);
        Seen {
            counts: Counts(self.counts.load(Relaxed)),
            taken: self.taken.load(Relaxed),
            given_up: self.given_up.load(Relaxed),
            half_a_frame: some(&self.half_a_frame),
            stalled_write: some(&self.stalled_write),
            is_open: self.is_open.load(Relaxed) > 0,
        }
    }

    /// Counts a request that is received or carried out, until it [`ends`](Self::ends).
    pub(super) fn begins(&self) {
        self.counts.fetch_add(Counts::REQUEST + Counts::BEGUN, Relaxed);
    }

    pub(super) fn ends(&self) {
        self.counts.fetch_sub(Counts::REQUEST, Relaxed);
    }

    /// Counts an answer, until it is sent whole or its stream has ended.
    pub(super) fn answers(&self) {
        self.counts.fetch_add(Counts::ANSWER + Counts::BEGUN, Relaxed);
    }

    pub(super) fn answered(&self) {
        self.counts.fetch_sub(Counts::ANSWER, Relaxed);
    }

    /// Bytes of an answer were taken. The connection's own task alone says so.
    pub(super) fn takes(&self) {
        self.taken.store(self.taken.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(super) fn give_up(&self) {
        self.given_up.fetch_add(1, Relaxed);
    }

    /// The socket alone says these three, and only where they change.
    pub(super) fn half_a_frame(&self, number: u64) {
        self.half_a_frame.store(number, Relaxed);
    }

    pub(super) fn stalled_write(&self, number: u64) {
        self.stalled_write.store(number, Relaxed);
    }

    pub(super) fn is_open(&self) {
        self.is_open.store(1, Relaxed);
    }
}

/// A request that is being received or carried out, while it lives: meanwhile its peer may be
/// silent.
#[derive(Debug)]
pub(super) struct Begun<L: Borrow<Ledger>>(L);

impl<L: Borrow<Ledger>> Begun<L> {
    pub(super) fn new(ledger: L) -> Self {
        ledger.borrow().begins();
        Self(ledger)
    }
}

impl<L: Borrow<Ledger>> Drop for Begun<L> {
    fn drop(&mut self) {
        self.0.borrow().ends();
    }
}
