//! The framed protocol of one connection as a pure state machine: bytes in, requests out;
//! responses in, bytes out.
//!
//! It owns what every server must agree on (the frame limit, the order of replies, when to stop
//! reading, when a connection is over) and leaves to the server how to wait for any of it. What
//! to wait for is derived from the state and never remembered beside it.
//!
//! A server calls, in this order and then around again:
//!
//! 1. [`next_request`](Connection::next_request) until it gives none, and
//!    [`respond`](Connection::respond) to each;
//! 2. [`to_send`](Connection::to_send) and [`sent`](Connection::sent) while
//!    [`wants_write`](Connection::wants_write); once
//!    [`output_ended`](Connection::output_ended), shut the sending side down;
//! 3. stop, if it [`is_finished`](Connection::is_finished);
//! 4. [`receive`](Connection::receive) or [`received_eof`](Connection::received_eof), if it
//!    [`wants_read`](Connection::wants_read); or close it, where nothing comes until it
//!    [`times_out`](Connection::times_out).
//!
//! No clock is read here: whoever calls says what time it is, as precisely as it cares.

use std::time::{Duration, Instant};

use crate::frame::{self, FrameError, PREFIX_BYTES};
use crate::message::{Code, Request, Response, Work};
use crate::{codec, spare};

/// The bounds of one connection, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest message taken from the peer.
    pub frame_bytes_max: usize,
    /// The high-water mark of unsent replies: at or above it, no request is taken and no byte
    /// read, so that a peer that does not read costs at most this and one reply.
    pub unsent_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: frame::FRAME_BYTES_MAX_DEFAULT,
            // Some thousand small replies to a write; several of Linux's default send buffers.
            unsent_bytes_max: 256 * 1024,
        }
    }
}

/// How long a peer may let a server wait; nothing where there is no bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    /// Between an answer and the next request.
    pub idle: Option<Duration>,
    /// From the first byte of a request to its last: a byte now and then does not extend it.
    pub read: Option<Duration>,
    /// For taking a byte of a reply.
    pub write: Option<Duration>,
}

/// What a peer took too long for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// The next request.
    Idle,
    /// The rest of a request.
    Read,
    /// Replies.
    Write,
}

/// What still comes from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Requests.
    Open,
    /// Bytes that nobody wants. They are read and dropped, up to a bound, because a socket that
    /// is closed over unread bytes is reset, and a reset can overtake the last replies.
    Unwanted { bytes_left: u32 },
    /// Nothing.
    Ended,
}

/// Bytes that a connection moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Those that reads brought.
    pub received: u64,
    /// Those that writes took.
    pub sent: u64,
    /// Those that were copied on the way from one to the other: what was read into the buffer of
    /// the connection, the payload of an echo out of it, and its reply into the buffer of replies.
    /// What those buffers copy when they grow is not counted.
    pub copied: u64,
}

impl std::ops::AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
        self.copied += other.copied;
    }
}

/// The state of one framed connection.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    input: Input,
    inbound: Buffer,
    outbound: Buffer,
    unanswered: u32,
    /// Since [`take_moved`](Connection::take_moved).
    moved: Moved,
    /// Replies that gather for [`take_delivered`](Connection::take_delivered), and when the read
    /// came that completed the first of their requests.
    undelivered: u32,
    undelivered_since: Instant,
    /// When the read came that completed the request that was last taken.
    taken_at: Instant,
    /// When bytes last came.
    read_at: Instant,
    /// When bytes last came, or went.
    active_at: Instant,
    /// When the first byte of what is not whole yet came.
    began_at: Instant,
    /// Since when the socket has taken nothing, though there is something to send.
    stalled_at: Option<Instant>,
}

impl Connection {
    /// A connection on which nothing has happened. It holds no buffer until bytes arrive, nor
    /// after they are gone: an idle connection costs the size of this struct.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            input: Input::Open,
            inbound: Buffer::default(),
            outbound: Buffer::default(),
            unanswered: 0,
            moved: Moved::default(),
            undelivered: 0,
            undelivered_since: now,
            taken_at: now,
            read_at: now,
            active_at: now,
            began_at: now,
            stalled_at: None,
        }
    }

    /// Takes the bytes that one read gave. The server reads into a buffer of its own, so that
    /// where that buffer lives (a stack, a loop) is the model's affair.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        (self.read_at, self.active_at) = (now, now);
        self.moved.received += bytes.len() as u64;
        match &mut self.input {
            Input::Open => {
                if self.inbound.is_empty() {
                    self.began_at = now;
                }
                self.inbound.push(bytes);
                self.moved.copied += bytes.len() as u64;
            }
            Input::Unwanted { bytes_left } => match bytes_left.checked_sub(counted(bytes.len())) {
                Some(left @ 1..) => *bytes_left = left,
                _ => self.input = Input::Ended,
            },
            Input::Ended => {}
        }
    }

    /// The peer will send no more. What arrived whole is still answered.
    pub fn received_eof(&mut self) {
        self.input = Input::Ended;
    }

    /// The server takes no more from this peer. What arrived whole is still answered; where
    /// nothing is owed the connection is finished at once.
    pub fn drain(&mut self) {
        if self.input == Input::Open {
            self.input = if self.owes() { self.unwanted() } else { Input::Ended };
        }
    }

    /// The next whole request, or `None` where there is none yet, or while unsent replies stand
    /// at the high-water mark.
    ///
    /// # Errors
    /// Once, when the bytes are no frame of the contract. The reply that says so is then already
    /// queued, behind those to all earlier requests, and further bytes are dropped: a server
    /// counts the error and goes on as always.
    pub fn next_request(&mut self) -> Result<Option<Request>, FrameError> {
        if self.outbound.len() >= self.limits.unsent_bytes_max {
            return Ok(None);
        }
        match self.decode_first() {
            Ok(None) => Ok(None),
            Ok(Some((request, frame_bytes))) => {
                self.inbound.consume(frame_bytes);
                // What stands behind a whole request came with it: with a whole one there,
                // nothing is read.
                self.began_at = self.read_at;
                self.unanswered += 1;
                if let Some(Work::Echo(payload)) = &request.work {
                    self.moved.copied += payload.len() as u64;
                }
                self.taken_at = self.read_at;
                Ok(Some(request))
            }
            // Found again once the earlier requests are answered: replies keep their order.
            Err(_) if self.unanswered > 0 => Ok(None),
            Err(error) => {
                self.inbound = Buffer::default();
                self.began_at = self.read_at;
                if self.input == Input::Open {
                    self.input = self.unwanted();
                }
                let reply = Response::error(0, error.code(), error.to_string());
                frame::encode(&reply, self.outbound.tail());
                Err(error)
            }
        }
    }

    /// Until when the client of a request that was just taken wants it begun: its patience counts
    /// from the read that completed it. Nothing, where it has set no bound.
    pub fn deadline(&self, request: &Request) -> Option<Instant> {
        let patience = Duration::from_millis(request.timeout_ms.into());
        (request.timeout_ms > 0).then(|| self.read_at.checked_add(patience))?
    }

    fn decode_first(&self) -> Result<Option<(Request, usize)>, FrameError> {
        match frame::split_first(self.inbound.bytes(), self.limits.frame_bytes_max)? {
            None => Ok(None),
            Some(message) => Ok(Some((codec::decode(message)?, PREFIX_BYTES + message.len()))),
        }
    }

    /// Queues the reply to the oldest request that has none.
    pub fn respond(&mut self, response: Response) {
        debug_assert!(self.unanswered > 0, "a reply without a request");
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.undelivered == 0 {
            self.undelivered_since = self.taken_at;
        }
        self.undelivered = self.undelivered.saturating_add(1);
        let unsent = self.outbound.len();
        frame::encode(&response, self.outbound.tail());
        self.moved.copied += (self.outbound.len() - unsent) as u64;
        spare::give(response.payload);
    }

    /// The bytes that the peer should get next.
    pub fn to_send(&self) -> &[u8] {
        self.outbound.bytes()
    }

    /// The first `bytes` of [`to_send`](Self::to_send) are on their way.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        self.active_at = now;
        self.stalled_at = None;
        self.moved.sent += bytes as u64;
        self.outbound.consume(bytes);
        if matches!(self.input, Input::Unwanted { .. }) {
            self.began_at = now; // from now on the peer is waited for, to see the end
        }
    }

    /// The bytes that were moved since this was last asked. Only for whoever measures.
    pub fn take_moved(&mut self) -> Moved {
        std::mem::take(&mut self.moved)
    }

    /// Where all replies are on their way: how many since this was last asked, and since when the
    /// server has owed the first of them. Only for whoever measures.
    pub fn take_delivered(&mut self) -> Option<(u64, Instant)> {
        let delivered = !self.wants_write() && self.undelivered > 0;
        delivered.then(|| (std::mem::take(&mut self.undelivered).into(), self.undelivered_since))
    }

    /// The socket takes no more for the time being.
    pub fn stalled(&mut self, now: Instant) {
        self.stalled_at.get_or_insert(now);
    }

    /// When the peer has let the server wait for too long, and for what; nothing while the server
    /// is the one that is waited for. It may have moved on when that time comes: then it is to be
    /// asked again.
    pub fn times_out(&self, timeouts: &Timeouts) -> Option<(Instant, Timeout)> {
        let (from, patience, timeout) = if self.wants_write() {
            (self.stalled_at?, timeouts.write, Timeout::Write)
        } else if self.unanswered > 0 || self.has_request() {
            return None;
        } else if self.inbound.is_empty() && self.input == Input::Open {
            (self.active_at, timeouts.idle, Timeout::Idle)
        } else {
            (self.began_at, timeouts.read, Timeout::Read)
        };
        Some((from.checked_add(patience?)?, timeout))
    }

    /// Whether a read would help: no whole request waits to be taken, and the peer takes its
    /// replies. While this is false the kernel's buffer fills and the peer has to wait: that is
    /// the back-pressure.
    pub fn wants_read(&self) -> bool {
        match self.input {
            Input::Open => {
                !self.has_request() && self.outbound.len() < self.limits.unsent_bytes_max
            }
            Input::Unwanted { .. } => !self.has_request(),
            Input::Ended => false,
        }
    }

    /// Whether there is something to send.
    pub fn wants_write(&self) -> bool {
        !self.outbound.is_empty()
    }

    /// Whether [`next_request`](Self::next_request) would have something to say, were all
    /// earlier replies sent: a whole request, or an error.
    pub fn has_request(&self) -> bool {
        !matches!(frame::split_first(self.inbound.bytes(), self.limits.frame_bytes_max), Ok(None))
    }

    /// Whether all that will ever be sent was sent: the time to shut the sending side down.
    pub fn output_ended(&self) -> bool {
        self.input != Input::Open && !self.owes()
    }

    /// Whether the connection is over: nothing is owed, and nothing comes.
    pub fn is_finished(&self) -> bool {
        self.input == Input::Ended && !self.owes()
    }

    fn owes(&self) -> bool {
        self.unanswered > 0 || self.wants_write() || self.has_request()
    }

    fn unwanted(&self) -> Input {
        // One frame may have been on its way in good faith.
        Input::Unwanted { bytes_left: counted(self.limits.frame_bytes_max) }
    }
}

/// So many bytes, and no more than a frame can have: its prefix is no longer.
fn counted(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl FrameError {
    /// The code that the peer is told before the connection closes.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::Malformed(_) => Code::InvalidArgument,
        }
    }
}

/// Buffers up to this size are not worth an allocation to give back early.
const KEPT_BYTES: usize = 256 * 1024;

/// A queue of bytes that owns no memory while it is empty.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    consumed: usize,
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, bytes: &[u8]) {
        self.tail().extend_from_slice(bytes);
    }

    /// Where to append. Moves the rest to the front once it is the smaller half: each byte is
    /// moved once at the most, on average.
    fn tail(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take();
        }
        if self.consumed > self.bytes.len() / 2 {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
        &mut self.bytes
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
        debug_assert!(self.consumed <= self.bytes.len(), "consumed more than there is");
        if self.consumed >= self.bytes.len() {
            spare::give(std::mem::take(self).bytes);
        } else if self.bytes.capacity() > KEPT_BYTES {
            self.give_back();
        }
    }

    /// The rest of a large frame's buffer goes back before its reply needs another.
    #[cold]
    fn give_back(&mut self) {
        if self.len() <= self.bytes.capacity() / 8 {
            *self = Self { bytes: self.bytes().to_vec(), consumed: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, Service};
    use proptest::prelude::*;

    fn now() -> Instant {
        Instant::now()
    }

    fn echo(id: u64, payload: &[u8]) -> Request {
        Request { id, timeout_ms: 0, work: Some(Work::Echo(payload.to_vec())) }
    }

    fn framed(requests: &[Request]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for request in requests {
            frame::encode(request, &mut bytes);
        }
        bytes
    }

    fn replies(mut bytes: &[u8]) -> Vec<Response> {
        let mut replies = Vec::new();
        while let Some(message) = frame::split_first(bytes, usize::MAX).unwrap() {
            replies.push(frame::decode(message).unwrap());
            bytes = &bytes[PREFIX_BYTES + message.len()..];
        }
        assert!(bytes.is_empty(), "half a reply");
        replies
    }

    /// What a server does, without a socket: a turn of the four steps of the module's page.
    fn serve(connection: &mut Connection, sent: &mut Vec<u8>) -> Vec<FrameError> {
        let mut errors = Vec::new();
        loop {
            match connection.next_request() {
                Ok(Some(request)) => match Service::new().plan(request, None) {
                    Plan::Reply(response) => connection.respond(response),
                    plan => panic!("not in these tests: {plan:?}"),
                },
                Ok(None) if connection.wants_write() => {
                    sent.extend_from_slice(connection.to_send());
                    connection.sent(connection.to_send().len(), now());
                }
                Ok(None) => return errors,
                Err(error) => errors.push(error),
            }
        }
    }

    proptest! {
        /// However the same bytes are cut into reads, the same replies come out, in order.
        #[test]
        fn cuts_do_not_matter(
            payloads in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..200), 1..20),
            cuts in proptest::collection::vec(1_usize..300, 1..50),
        ) {
            let requests: Vec<_> = (0..).zip(&payloads).map(|(id, p)| echo(id, p)).collect();
            let bytes = framed(&requests);
            let mut connection = Connection::new(Limits::default(), now());
            let (mut rest, mut sent) = (bytes.as_slice(), Vec::new());
            for cut in cuts.iter().cycle() {
                let (read, later) = rest.split_at(rest.len().min(*cut));
                connection.receive(read, now());
                prop_assert_eq!(serve(&mut connection, &mut sent), vec![]);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            connection.received_eof();
            prop_assert!(connection.is_finished());
            let (received, sent_bytes) = (bytes.len() as u64, sent.len() as u64);
            let echoed = payloads.iter().map(Vec::len).sum::<usize>() as u64;
            let copied = received + echoed + sent_bytes;
            let moved = Moved { received, sent: sent_bytes, copied };
            prop_assert_eq!(connection.take_moved(), moved);
            prop_assert_eq!(connection.take_moved(), Moved::default());
            let expected: Vec<_> =
                (0..).zip(payloads).map(|(id, payload)| Response::ok(id, payload)).collect();
            prop_assert_eq!(replies(&sent), expected);
        }

        /// No bytes at all lead to a panic, an endless turn or a connection that cannot end.
        #[test]
        fn any_bytes_end_well(reads in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let limits = Limits { frame_bytes_max: 100, unsent_bytes_max: 50 };
            let mut connection = Connection::new(limits, now());
            let (mut sent, mut errors) = (Vec::new(), Vec::new());
            for read in reads {
                connection.receive(&read, now());
                while let Some(_request) = connection.next_request().unwrap_or_else(|error| {
                    errors.push(error);
                    None
                }) {
                    connection.respond(Response::ok(1, vec![]));
                }
                sent.extend_from_slice(connection.to_send());
                connection.sent(connection.to_send().len(), now());
            }
            prop_assert!(errors.len() <= 1, "an error is told once: {errors:?}");
            connection.received_eof();
            while let Ok(Some(_)) = connection.next_request() {
                connection.respond(Response::ok(1, vec![]));
                connection.sent(connection.to_send().len(), now());
            }
            connection.sent(connection.to_send().len(), now());
            prop_assert!(connection.is_finished());
        }
    }

    #[test]
    fn every_split_point_gives_the_same_replies() {
        let bytes = framed(&[echo(1, b"one"), echo(u64::MAX, b""), echo(3, &[9; 150])]);
        for cut in 0..=bytes.len() {
            let mut connection = Connection::new(Limits::default(), now());
            let mut sent = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                connection.receive(part, now());
                assert_eq!(serve(&mut connection, &mut sent), []);
            }
            let ids: Vec<_> = replies(&sent).iter().map(|reply| reply.id).collect();
            assert_eq!(ids, [1, u64::MAX, 3], "cut at {cut}");
        }
    }

    #[test]
    fn an_idle_connection_holds_no_buffer() {
        let mut connection = Connection::new(Limits::default(), now());
        connection.receive(&framed(&[echo(1, &[0; 1000])]), now());
        serve(&mut connection, &mut Vec::new());
        assert_eq!(connection.inbound.bytes.capacity(), 0);
        assert_eq!(connection.outbound.bytes.capacity(), 0);
    }

    #[test]
    fn a_peer_that_does_not_read_stops_being_read() {
        let limits = Limits { frame_bytes_max: 1000, unsent_bytes_max: 100 };
        let mut connection = Connection::new(limits, now());
        let requests: Vec<_> = (0..50).map(|id| echo(id, &[0; 30])).collect();
        connection.receive(&framed(&requests), now());
        let mut taken = 0;
        while let Some(request) = connection.next_request().unwrap() {
            connection.respond(Response::ok(request.id, vec![0; 30]));
            taken += 1;
        }
        assert_eq!(taken, 3, "the mark is at 100 bytes, a reply has 38");
        assert!(!connection.wants_read());
        connection.sent(connection.to_send().len(), now());
        assert!(!connection.wants_read(), "whole requests wait to be taken first");
        assert!(connection.next_request().unwrap().is_some());
    }

    #[test]
    fn half_close_is_answered_before_the_end() {
        let mut connection = Connection::new(Limits::default(), now());
        connection.receive(&framed(&[echo(1, b"a"), echo(2, b"b")]), now());
        connection.received_eof();
        assert!(!connection.wants_read() && !connection.is_finished());
        let mut sent = Vec::new();
        serve(&mut connection, &mut sent);
        assert_eq!(replies(&sent).len(), 2);
        assert!(connection.is_finished());
    }

    #[test]
    fn a_frame_that_never_became_whole_does_not_hold_the_end() {
        let mut connection = Connection::new(Limits::default(), now());
        connection.receive(&framed(&[echo(1, b"a")])[..5], now());
        connection.received_eof();
        assert!(connection.is_finished());
    }

    #[test]
    fn an_error_is_answered_behind_earlier_replies_and_what_follows_is_dropped() {
        let limits = Limits { frame_bytes_max: 1000, ..Limits::default() };
        let mut connection = Connection::new(limits, now());
        connection.receive(&framed(&[echo(1, b"a"), echo(2, &[0; 2000])]), now());
        let first = connection.next_request().unwrap().unwrap();
        assert_eq!(connection.next_request(), Ok(None), "the first is not answered yet");
        connection.respond(Response::ok(first.id, vec![]));
        let error = connection.next_request().unwrap_err();
        assert!(matches!(error, FrameError::TooLarge { bytes_max: 1000, .. }), "{error:?}");
        assert_eq!(connection.next_request(), Ok(None));
        let told: Vec<_> =
            replies(connection.to_send()).iter().map(|reply| (reply.id, reply.code)).collect();
        assert_eq!(told, [(1, 0), (0, Code::ResourceExhausted as u32)]);

        connection.sent(connection.to_send().len(), now());
        assert!(connection.output_ended() && !connection.is_finished());
        connection.receive(&[0; 999], now());
        assert!(connection.wants_read() && !connection.is_finished());
        connection.receive(&[0; 1], now());
        assert!(connection.is_finished(), "unwanted bytes are read up to a bound");
    }

    #[test]
    fn a_message_that_is_none_is_an_invalid_argument() {
        let mut connection = Connection::new(Limits::default(), now());
        connection.receive(&[0, 0, 0, 2, 0xff, 0xff], now());
        assert!(matches!(connection.next_request(), Err(FrameError::Malformed(_))));
        let reply = &replies(connection.to_send())[0];
        assert_eq!((reply.id, reply.code), (0, Code::InvalidArgument as u32));
    }

    #[test]
    fn drain_ends_an_idle_connection_and_lets_a_busy_one_answer() {
        let mut idle = Connection::new(Limits::default(), now());
        idle.drain();
        assert!(idle.is_finished());

        let mut busy = Connection::new(Limits::default(), now());
        busy.receive(&framed(&[echo(1, b"a"), echo(2, b"b")]), now());
        let first = busy.next_request().unwrap().unwrap();
        busy.drain();
        busy.receive(&framed(&[echo(3, b"too late")]), now());
        busy.respond(Response::ok(first.id, vec![]));
        let mut sent = Vec::new();
        serve(&mut busy, &mut sent);
        assert_eq!(replies(&sent).len(), 2, "both that had arrived, and no more");
        assert!(busy.output_ended() && !busy.is_finished(), "until the peer has seen the end");
        busy.received_eof();
        assert!(busy.is_finished());
    }

    const TIMEOUTS: Timeouts = Timeouts {
        idle: Some(Duration::from_secs(100)),
        read: Some(Duration::from_secs(10)),
        write: Some(Duration::from_secs(1)),
    };

    /// Seconds after `start` until it times out, and for what.
    fn times_out(connection: &Connection, start: Instant) -> Option<(u64, Timeout)> {
        let (at, timeout) = connection.times_out(&TIMEOUTS)?;
        Some((at.duration_since(start).as_secs(), timeout))
    }

    #[test]
    fn a_silent_peer_is_idle_from_its_last_byte_or_reply_on() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(Limits::default(), start);
        assert_eq!(times_out(&connection, start), Some((100, Timeout::Idle)));
        connection.receive(&framed(&[echo(1, b"a")]), after(5));
        assert_eq!(times_out(&connection, start), None, "the server has to answer");
        let request = connection.next_request().unwrap().unwrap();
        assert_eq!(times_out(&connection, start), None, "the server is at it");
        connection.respond(Response::ok(request.id, vec![]));
        connection.sent(connection.to_send().len(), after(50));
        assert_eq!(times_out(&connection, start), Some((150, Timeout::Idle)));
        assert_eq!(connection.times_out(&Timeouts::default()), None, "without a bound");
    }

    #[test]
    fn a_reply_is_owed_since_the_read_that_completed_its_request() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(Limits::default(), start);
        let bytes = framed(&[echo(1, b"slow"), echo(2, b"next")]);
        connection.receive(&bytes[..3], after(1));
        connection.receive(&bytes[3..12], after(2));
        let slow = connection.next_request().unwrap().unwrap();
        connection.receive(&bytes[12..], after(5)); // the next, while the first is worked on
        connection.respond(Response::ok(slow.id, vec![]));
        assert_eq!(connection.take_delivered(), None, "the kernel does not have it");
        connection.sent(connection.to_send().len(), after(6));
        assert_eq!(connection.take_delivered(), Some((1, after(2))));
        let next = connection.next_request().unwrap().unwrap();
        connection.respond(Response::ok(next.id, vec![]));
        connection.sent(connection.to_send().len(), after(7));
        assert_eq!(connection.take_delivered(), Some((1, after(5))));
        assert_eq!(connection.take_delivered(), None);
    }

    #[test]
    fn a_byte_now_and_then_does_not_extend_a_request() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(Limits::default(), start);
        let bytes = framed(&[echo(1, b"first"), echo(2, b"second")]);
        for (at, byte) in bytes[..6].iter().enumerate() {
            connection.receive(&[*byte], after(3 + at as u64));
            assert_eq!(connection.next_request(), Ok(None));
            assert_eq!(times_out(&connection, start), Some((13, Timeout::Read)));
        }
        // The rest of the first and a part of the second, which begins with this read.
        connection.receive(&bytes[6..bytes.len() - 1], after(12));
        let first = connection.next_request().unwrap().unwrap();
        connection.respond(Response::ok(first.id, vec![]));
        connection.sent(connection.to_send().len(), after(15));
        assert_eq!(times_out(&connection, start), Some((22, Timeout::Read)));
    }

    #[test]
    fn a_peer_that_does_not_read_times_out_from_the_stall_on() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(Limits::default(), start);
        connection.receive(&framed(&[echo(1, b"a")]), after(1));
        let request = connection.next_request().unwrap().unwrap();
        connection.respond(Response::ok(request.id, vec![]));
        assert_eq!(times_out(&connection, start), None, "nobody has tried to send");
        connection.stalled(after(20));
        connection.stalled(after(30));
        assert_eq!(times_out(&connection, start), Some((21, Timeout::Write)));
        connection.sent(1, after(40));
        assert_eq!(times_out(&connection, start), None);
        connection.stalled(after(41));
        assert_eq!(times_out(&connection, start), Some((42, Timeout::Write)));
    }

    #[test]
    fn a_clients_patience_counts_from_the_read_that_completed_its_request() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(Limits::default(), start);
        let request = Request { timeout_ms: 3_000, ..echo(1, b"a") };
        let bytes = framed(&[echo(0, b""), request.clone(), request]);
        connection.receive(&bytes[..bytes.len() - 1], after(5));
        let mut deadline = || {
            let request = connection.next_request().unwrap()?;
            connection.respond(Response::ok(request.id, vec![]));
            connection.sent(connection.to_send().len(), after(6));
            Some(connection.deadline(&request).map(|at| at.duration_since(start).as_secs()))
        };
        assert_eq!((deadline(), deadline(), deadline()), (Some(None), Some(Some(8)), None));
        connection.receive(&bytes[bytes.len() - 1..], after(7));
        let last = connection.next_request().unwrap().unwrap();
        assert_eq!(connection.deadline(&last), Some(after(10)));
    }

    #[test]
    fn a_peer_has_time_to_see_the_end_of_a_drain() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(Limits::default(), start);
        connection.receive(&framed(&[echo(1, b"a")]), after(1));
        let request = connection.next_request().unwrap().unwrap();
        connection.drain();
        connection.respond(Response::ok(request.id, vec![]));
        connection.sent(connection.to_send().len(), after(60));
        assert_eq!(times_out(&connection, start), Some((70, Timeout::Read)));
    }

    #[test]
    fn a_large_request_gives_its_memory_back_before_its_reply() {
        const LARGE: usize = 4 * KEPT_BYTES;
        let mut connection = Connection::new(Limits::default(), now());
        let next = framed(&[echo(2, b"behind it")]);
        connection.receive(&[framed(&[echo(1, &vec![7; LARGE])]), next].concat(), now());
        let first = connection.next_request().unwrap().expect("a whole request");
        assert!(connection.inbound.bytes.capacity() < KEPT_BYTES, "the request is held twice");
        connection.respond(Response::ok(first.id, vec![]));
        assert_eq!(connection.next_request(), Ok(Some(echo(2, b"behind it"))));
    }

    #[test]
    fn unwanted_bytes_do_not_extend_the_end() {
        let start = now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut connection = Connection::new(Limits::default(), start);
        connection.receive(&[0xff; 8], after(1));
        assert!(connection.next_request().is_err());
        connection.sent(connection.to_send().len(), after(1));
        for seconds in 2..9 {
            connection.receive(&[0], after(seconds));
            assert_eq!(times_out(&connection, start), Some((11, Timeout::Read)));
        }
    }
}
