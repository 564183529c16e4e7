//! What a call receives: the messages of a request, each of which must be whole in time and finds
//! room before it is gathered. It pays with a glance at the five bytes before each message.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::connection::Timeout;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{self, Sleep};
use tokio_util::sync::{PollSemaphore, WaitForCancellationFutureOwned};
use tonic::Status;

use super::call::{Asks, Call};
use super::ledger::{Begun, Ledger};

/// The body of a request.
pub(super) struct Upload {
    body: Incoming,
    call: Arc<Call>,
    asks: Asks,
    /// How many times its length a compressed message may have.
    growth: usize,
    messages: Messages,
    /// Bytes that came and may not go on yet, and how much room they need.
    waiting: Option<(Bytes, PollSemaphore, u32)>,
    /// Stands while the peer, or room, is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    is_timed: bool,
    begun: Option<Begun<Arc<Ledger>>>,
    draining: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Upload {
    pub(super) fn new(body: Incoming, call: Arc<Call>, asks: Asks, growth: usize) -> Self {
        Self {
            body,
            call,
            asks,
            growth,
            messages: Messages::default(),
            waiting: None,
            timer: None,
            is_timed: false,
            begun: None,
            draining: None,
        }
    }

    /// The next bytes, up to the first message in them that needs room: those before must not wait
    /// for it, or else a message would wait for the room of the one that it completes.
    fn arrived(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        let ledger = &self.call.ledger;
        let (small, message_bytes_max) = (ledger.small_bytes_max, ledger.message_bytes_max);
        let (number, growth) = (self.messages.number, self.growth);
        let Needed { room: needed, from } = self.messages.see(&bytes, |is_compressed, length| {
            // A larger one is refused, and never gathered; nor is one that turns out to be larger,
            // but until then it may have what it could need.
            let growth = if is_compressed { growth } else { 1 };
            let most = length.saturating_mul(growth).min(message_bytes_max.max(length));
            if (small..=message_bytes_max).contains(&most) { most } else { 0 }
        });
        if self.asks != Asks::Once && (number < self.messages.number || !self.messages.is_within())
        {
            self.is_timed = false;
            self.begun = None;
            if self.asks == Asks::Often {
                self.begins(); // anew: it is carried out until the next one is waited for
            }
        }
        if needed == 0 {
            return Some(bytes);
        }
        let room = PollSemaphore::new(self.call.ledger.room.clone());
        let needed = u32::try_from(needed.min(message_bytes_max)).unwrap_or(u32::MAX);
        let before = bytes.split_to(from);
        self.waiting = Some((bytes, room, needed));
        self.is_timed = false;
        Some(before).filter(|bytes| !bytes.is_empty())
    }

    /// Who is asked for more has done with all that was whole. Where messages have no answers of
    /// their own, which would take their room along, it is free from then on.
    fn frees_room(&self) {
        let is_between = self.waiting.is_some() || !self.messages.is_within();
        if self.asks == Asks::Often && is_between {
            drop(self.call.gives());
        }
    }

    /// Waits for room. It is the peer that makes it, by taking the answers before.
    fn poll_room(&mut self, task: &mut Task<'_>) -> Poll<Result<Bytes, Status>> {
        let (bytes, room, needed) = self.waiting.as_mut().expect("bytes wait");
        let Poll::Ready(permit) = room.poll_acquire_many(task, *needed) else {
            let patience = self.call.ledger.context.timeouts.write;
            ready!(self.poll_timer(patience, task));
            let why = "too many bytes of large messages on this connection; take their answers";
            return Poll::Ready(Err(Status::resource_exhausted(why)));
        };
        let bytes = std::mem::take(bytes);
        self.call.holds(permit.expect("nobody closes the semaphore"));
        self.waiting = None;
        self.is_timed = false;
        Poll::Ready(Ok(bytes))
    }

    /// The peer has to go on: with what, and for how long may it take?
    fn poll_peer(&mut self, task: &mut Task<'_>) -> Poll<Status> {
        if self.asks == Asks::Once || self.messages.is_within() {
            self.begins();
            ready!(self.poll_timer(self.call.ledger.context.timeouts.read, task));
            self.call.ledger.context.timed_out(Timeout::Read);
            return Poll::Ready(Status::deadline_exceeded("the request was not whole in time"));
        }
        self.begun = None;
        let draining = &self.call.ledger.draining;
        let draining =
            self.draining.get_or_insert_with(|| Box::pin(draining.clone().cancelled_owned()));
        ready!(draining.as_mut().poll(task));
        Poll::Ready(Status::unavailable("the server drains"))
    }

    /// From now on it is the server, or the rest of a message, that is waited for. (A call that
    /// asks once has begun with its head.)
    fn begins(&mut self) {
        if self.asks != Asks::Once {
            self.begun.get_or_insert_with(|| Begun::new(self.call.ledger.clone()));
        }
    }

    /// The timer runs from the first time that something is waited for.
    fn poll_timer(&mut self, patience: Option<Duration>, task: &mut Task<'_>) -> Poll<()> {
        let Some(patience) = patience else { return Poll::Pending };
        if !std::mem::replace(&mut self.is_timed, true) {
            let due = Instant::now() + patience;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(due.into()),
                None => self.timer = Some(Box::pin(time::sleep_until(due.into()))),
            }
        }
        self.timer.as_mut().expect("it was set").as_mut().poll(task)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = tonic::codegen::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.frees_room();
        loop {
            if self.waiting.is_some() {
                let bytes = ready!(self.poll_room(task));
                return Poll::Ready(Some(bytes.map(Frame::data).map_err(Into::into)));
            }
            let frame = match Pin::new(&mut self.body).poll_frame(task) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => {
                    if self.asks == Asks::Often {
                        self.begins();
                    }
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let status = ready!(self.poll_peer(task));
                    return Poll::Ready(Some(Err(status.into())));
                }
            };
            match frame.into_data() {
                Ok(bytes) => {
                    if let Some(bytes) = self.arrived(bytes) {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// What stands before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// What the messages need that begin in some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needed {
    room: usize,
    /// Where the first of them begins that needs any.
    from: usize,
}

/// Where a request is in the stream of its messages.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Bytes of the message that have not come.
    left: usize,
    /// Of the one that has begun last.
    number: u64,
}

impl Messages {
    /// Whether one has begun and not ended.
    fn is_within(&self) -> bool {
        self.prefix_bytes > 0 || self.left > 0
    }

    /// Follows `bytes`, and adds up what those need that begin in them.
    fn see(&mut self, bytes: &[u8], needs: impl Fn(bool, usize) -> usize) -> Needed {
        let (mut needed, mut at) = (Needed::default(), 0);
        while at < bytes.len() {
            let message = (bytes.len() - at).min(self.left);
            self.left -= message;
            let begin = at + message;
            let prefix = (bytes.len() - begin).min(PREFIX_BYTES - self.prefix_bytes);
            self.number += u64::from(self.prefix_bytes == 0 && prefix > 0);
            self.prefix[self.prefix_bytes..][..prefix].copy_from_slice(&bytes[begin..][..prefix]);
            self.prefix_bytes += prefix;
            at = begin + prefix;
            if self.prefix_bytes == PREFIX_BYTES {
                self.prefix_bytes = 0;
                let [compressed, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length) as usize;
                if needed.room == 0 {
                    needed.from = begin;
                }
                needed.room += needs(compressed != 0, self.left);
            }
        }
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_followed_however_they_arrive() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for length in [3, 0, 5000, 70_000] {
            bytes.push(0);
            bytes.extend(u32::to_be_bytes(length));
            bytes.resize(bytes.len() + length as usize, 7);
            ends.push(bytes.len());
        }
        for cut in (1..20).chain([100, 5000, 16_384, bytes.len()]) {
            let (mut messages, mut needed, mut seen) = (Messages::default(), 0, 0);
            for piece in bytes.chunks(cut) {
                needed += messages.see(piece, |_, length| length).room;
                seen += piece.len();
                assert_eq!(messages.is_within(), !ends.contains(&seen), "{seen} by {cut}");
                let begun = ends.iter().filter(|end| **end < seen).count() as u64;
                assert_eq!(messages.number, begun, "{seen} by {cut}");
            }
            assert_eq!(needed, 75_003);
        }
    }

    #[test]
    fn what_stands_before_a_large_message_does_not_wait_for_its_room() {
        let prefix = |length: u32| [&[0], &length.to_be_bytes()[..]].concat();
        let needs = |_, length: usize| if length > 100 { length } else { 0 };
        let see = |pieces: &[&[u8]]| {
            let (mut messages, mut seen) = (Messages::default(), Needed::default());
            for piece in pieces {
                seen = messages.see(piece, needs);
            }
            seen
        };
        let (tail, large) = (&[7; 9][..], prefix(1000));
        assert_eq!(see(&[&large]), Needed { room: 1000, from: 0 });
        let small = [&prefix(9), tail, &large].concat();
        assert_eq!(see(&[&small]), Needed { room: 1000, from: 14 });
        assert_eq!(see(&[&prefix(9), &small[5..]]), Needed { room: 1000, from: 9 });
        assert_eq!(see(&[&small[..16], &small[16..]]), Needed { room: 1000, from: 0 });
        assert_eq!(see(&[&prefix(9), tail]).room, 0);
    }
}
