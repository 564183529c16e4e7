//! What a transport is to the loop: a state machine that makes bytes of requests and verdicts of
//! bytes. It has no socket and no clock, so that a test can cut the same bytes at every point.
//!
//! The loop is generic over it, and compiled once for each: a wire costs no indirect call.

use crate::plan::Planned;
use crate::recorder::{ErrorKind, Moments};
use crate::target::Target;
use crate::template::Templates;
use crate::work::ECHO_BYTES_MAX;

/// The largest reply: the largest echo and the fields around it.
#[allow(clippy::cast_possible_truncation)] // a constant that fits in 32 bits
pub(super) const REPLY_BYTES_MAX: usize = ECHO_BYTES_MAX as usize + 64;

/// Bytes that may be queued behind a socket that takes no more; a request above it still goes out
/// where nothing is queued. With it and the bound on requests, memory is bounded.
pub(super) const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A request that was sent, or queued to be, and whose reply has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) index: u64,
    pub(super) planned_ns: u64,
    pub(super) sent_ns: u64,
    kind: u8,
    pub(super) measured: bool,
}

impl Awaited {
    pub(super) fn new(planned: Planned, sent_ns: u64) -> Self {
        let Planned { index, planned_ns, kind, measured } = planned;
        let kind = u8::try_from(kind).expect("a mix has few kinds");
        Self { index, planned_ns, sent_ns, kind, measured }
    }

    /// Its kind, as an index into the mix.
    pub(super) fn kind(self) -> usize {
        usize::from(self.kind)
    }

    /// Its moments, if it counts: a request of the warm-up does not.
    pub(super) fn moments(self, settled_ns: u64) -> Option<Moments> {
        let Self { planned_ns, sent_ns, .. } = self;
        self.measured.then_some(Moments { planned_ns, sent_ns, settled_ns })
    }

    /// Whether its time is up.
    pub(super) fn is_late(self, now_ns: u64, timeout_ns: u64) -> bool {
        self.planned_ns.saturating_add(timeout_ns) <= now_ns
    }
}

/// What a reply turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Its request.
    pub(super) awaited: Awaited,
    /// Whether it is right.
    pub(super) answer: Result<(), ErrorKind>,
    /// Whether the request was settled as timed out before.
    pub(super) timed_out_before: bool,
}

/// Why a connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// What the requests on it fail with.
    pub(super) kind: ErrorKind,
    /// The same in words: what, where, and what to do.
    pub(super) text: String,
}

/// What a reply is compared with, and what a failure is named after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) templates: &'a Templates,
    pub(super) target: Target,
}

/// One connection's protocol, in the order in which the loop calls it.
pub(super) trait Wire {
    /// Begins a connection: what is said first is appended to `out`.
    fn open(target: Target, out: &mut Vec<u8>) -> Self;

    /// Whether the peer allows another request now. Until it does, the loop keeps it.
    fn may_send(&self) -> bool;

    /// Appends a request to `out`, or as much of it as the peer allows now.
    fn send(&mut self, awaited: Awaited, templates: &Templates, out: &mut Vec<u8>);

    /// Appends what the peer allows now of requests that it did not allow whole. To be called
    /// when bytes came, and when `out` has room again.
    fn resume(&mut self, templates: &Templates, out: &mut Vec<u8>);

    /// Gives `settle` a verdict on each reply that `bytes` completes. May append to `out` what the
    /// protocol owes its peer.
    ///
    /// # Errors
    /// If the bytes are not of this protocol.
    fn take(
        &mut self,
        bytes: &[u8],
        terms: Terms<'_>,
        out: &mut Vec<u8>,
        settle: impl FnMut(Verdict),
    ) -> Result<(), Lost>;

    /// Gives `late` the requests whose time is up. They are awaited no more.
    fn expire(
        &mut self,
        now_ns: u64,
        timeout_ns: u64,
        out: &mut Vec<u8>,
        late: impl FnMut(Awaited),
    );

    /// Requests whose answers are awaited.
    fn waiting(&self) -> usize;

    /// The same, and those that timed out but whose answers still stand before later ones.
    fn held(&self) -> usize;

    /// Whether the connection can carry no further request, and should be opened anew once all
    /// that are on it are settled.
    fn wants_to_close(&self) -> bool;

    /// What it means that the peer closed the connection.
    fn end(&self, target: Target) -> Lost;

    /// The connection is gone: gives `lost` the requests that were awaited.
    fn bury(&mut self, lost: impl FnMut(Awaited));
}

/// The words for a connection that closed in the middle of a run.
pub(super) fn closed_text(target: Target) -> String {
    format!("{target} closed the connection; is the server still running?")
}
