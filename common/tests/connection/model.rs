//! What a [`Connection`] promises, said a second time and in another way: as questions to the
//! whole history of what came and what went. It pays with time, and keeps nothing derived.
//!
//! [`Pair`] takes a connection and the model through the same steps, and compares everything that
//! a server can see after each of them.

use std::time::{Duration, Instant};

use common::connection::Timeout;
use common::spare;
use common::{Code, Connection, FrameError, Limits, Request, Response, Timeouts};
use prost::Message;

const PREFIX_BYTES: usize = 4;

/// What one read brings at the most.
pub(crate) const READ_BYTES_MAX: usize = 96;

const TIMEOUTS: Timeouts = Timeouts {
    idle: Some(Duration::from_secs(100)),
    read: Some(Duration::from_secs(10)),
    write: Some(Duration::from_secs(1)),
};

/// What may happen to a connection. A step that makes no sense where it stands does nothing: a
/// read that the connection does not want, a reply without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes of what the peer says come in one read.
    Receive(usize),
    /// The server asks for a request.
    Take,
    /// The server answers the oldest request, with a payload of this length.
    Respond(usize),
    /// The socket takes so many bytes.
    Sent(usize),
    /// The socket takes none.
    Stalled,
    /// The peer ends its input.
    Eof,
    /// The server begins to drain.
    Drain,
    /// Milliseconds go by.
    Wait(u64),
}

/// What stands first among the bytes that were not taken.
#[derive(Debug)]
enum Item {
    Nothing,
    Request(Request, usize),
    TooLarge(usize),
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Open,
    /// Read and dropped: so many bytes until now.
    Unwanted(usize),
    Ended,
}

#[derive(Debug)]
struct Model {
    limits: Limits,
    input: Input,
    /// All bytes that came while requests were wanted.
    arrived: Vec<u8>,
    /// Where each read ended in them, and when it was.
    reads: Vec<(usize, Instant)>,
    taken_bytes: usize,
    taken: Vec<u64>,
    answered: usize,
    error_told: bool,
    /// All replies, one after the other.
    replies: Vec<u8>,
    sent_bytes: usize,
    /// When bytes last came that were wanted, or went.
    active_at: Instant,
    sent_at: Option<Instant>,
    stalled_at: Option<Instant>,
}

impl Model {
    fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            input: Input::Open,
            arrived: Vec::new(),
            reads: Vec::new(),
            taken_bytes: 0,
            taken: Vec::new(),
            answered: 0,
            error_told: false,
            replies: Vec::new(),
            sent_bytes: 0,
            active_at: now,
            sent_at: None,
            stalled_at: None,
        }
    }

    fn item(&self) -> Item {
        let rest = &self.arrived[self.taken_bytes..];
        if rest.len() < PREFIX_BYTES {
            return Item::Nothing;
        }
        let length = rest[..PREFIX_BYTES].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if length > self.limits.frame_bytes_max {
            return Item::TooLarge(length);
        }
        match rest.get(PREFIX_BYTES..PREFIX_BYTES + length).map(Request::decode) {
            None => Item::Nothing,
            Some(Ok(request)) => Item::Request(request, PREFIX_BYTES + length),
            Some(Err(_)) => Item::Malformed,
        }
    }

    fn has_item(&self) -> bool {
        !matches!(self.item(), Item::Nothing)
    }

    fn unanswered(&self) -> usize {
        self.taken.len() - self.answered
    }

    fn unsent(&self) -> &[u8] {
        &self.replies[self.sent_bytes..]
    }

    fn is_at_the_mark(&self) -> bool {
        self.unsent().len() >= self.limits.unsent_bytes_max
    }

    fn owes(&self) -> bool {
        self.unanswered() > 0 || !self.unsent().is_empty() || self.has_item()
    }

    fn wants_read(&self) -> bool {
        match self.input {
            Input::Open => !self.has_item() && !self.is_at_the_mark(),
            Input::Unwanted(_) => !self.has_item(),
            Input::Ended => false,
        }
    }

    /// When the byte at this place came.
    fn came_at(&self, place: usize) -> Instant {
        self.reads.iter().find(|(end, _)| *end > place).expect("it came").1
    }

    fn times_out(&self) -> Option<(Instant, Timeout)> {
        let (from, patience, timeout) = if !self.unsent().is_empty() {
            (self.stalled_at?, TIMEOUTS.write, Timeout::Write)
        } else if self.unanswered() > 0 || self.has_item() {
            return None;
        } else if self.input != Input::Open {
            // All is said, and the peer has time to see it.
            (self.sent_at?, TIMEOUTS.read, Timeout::Read)
        } else if self.taken_bytes == self.arrived.len() {
            (self.active_at, TIMEOUTS.idle, Timeout::Idle)
        } else {
            (self.came_at(self.taken_bytes), TIMEOUTS.read, Timeout::Read)
        };
        Some((from + patience?, timeout))
    }

    fn receive(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.input {
            Input::Open => {
                self.arrived.extend_from_slice(bytes);
                self.reads.push((self.arrived.len(), now));
                self.active_at = now;
            }
            Input::Unwanted(dropped) => {
                *dropped += bytes.len();
                if *dropped >= self.limits.frame_bytes_max {
                    self.input = Input::Ended;
                }
            }
            Input::Ended => unreachable!("nothing is read"),
        }
    }

    fn reply(&mut self, response: &Response) {
        let message = response.encode_to_vec();
        let length = u32::try_from(message.len()).expect("a short reply");
        self.replies.extend_from_slice(&length.to_be_bytes());
        self.replies.extend_from_slice(&message);
    }

    /// An error was told.
    fn fail(&mut self, code: Code, text: &str) {
        assert!(!self.error_told, "an error is told once");
        self.error_told = true;
        self.taken_bytes = self.arrived.len();
        if self.input == Input::Open {
            self.input = Input::Unwanted(0);
        }
        self.reply(&Response::error(0, code, text));
    }
}

/// A connection and the model of it.
pub(crate) struct Pair {
    connection: Connection,
    model: Model,
    now: Instant,
    /// What the peer has yet to say.
    script: Vec<u8>,
    /// Memory that the connection holds: what its calls allocated and did not free.
    held_bytes: i64,
    /// The most that was ever unsent.
    unsent_bytes_peak: usize,
}

impl Pair {
    /// Before anything happens. `script` is all that the peer will say.
    pub(crate) fn new(limits: Limits, script: Vec<u8>) -> Self {
        let now = Instant::now();
        let (connection, model) = (Connection::new(limits, now), Model::new(limits, now));
        Self { connection, model, now, script, held_bytes: 0, unsent_bytes_peak: 0 }
    }

    /// Takes both through a step, and compares them.
    ///
    /// # Panics
    /// If they differ.
    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Receive(bytes) => self.receive(bytes),
            Step::Take => self.take(),
            Step::Respond(bytes) => self.respond(bytes),
            Step::Sent(bytes) => self.sent(bytes),
            Step::Stalled => {
                if !self.model.unsent().is_empty() {
                    self.model.stalled_at.get_or_insert(self.now);
                    self.connection.stalled(self.now);
                }
            }
            Step::Eof => {
                self.model.input = Input::Ended;
                self.connection.received_eof();
            }
            Step::Drain => self.drain(),
            Step::Wait(ms) => self.now += Duration::from_millis(ms),
        }
        self.compare();
    }

    /// Goes on as a server does until the end, and looks at what came of it.
    ///
    /// # Panics
    /// If a request was lost, answered twice or out of order, or if there is no end.
    pub(crate) fn finish(mut self) {
        self.step(Step::Eof);
        while self.model.owes() {
            let before = (self.model.taken.len(), self.model.answered, self.model.sent_bytes);
            let told = self.model.error_told;
            self.step(Step::Take);
            self.step(Step::Respond(1));
            self.step(Step::Sent(usize::MAX));
            let after = (self.model.taken.len(), self.model.answered, self.model.sent_bytes);
            assert!(before != after || told != self.model.error_told, "it does not end");
        }
        assert!(self.connection.is_finished() && self.connection.output_ended());

        let mut told = self.model.taken.clone();
        told.extend(self.model.error_told.then_some(0));
        assert_eq!(ids(&self.model.replies), told, "a reply to each request, in their order");
    }

    fn receive(&mut self, bytes: usize) {
        let bytes = bytes.min(READ_BYTES_MAX).min(self.script.len());
        if bytes == 0 || !self.model.wants_read() {
            return;
        }
        let read: Vec<_> = self.script.drain(..bytes).collect();
        self.model.receive(&read, self.now);
        let now = self.now;
        self.call(|connection| connection.receive(&read, now));
    }

    fn take(&mut self) {
        let taken = self.call(Connection::next_request);
        if self.model.is_at_the_mark() {
            assert_eq!(taken, Ok(None), "no request at the high-water mark");
            return self.forget(taken);
        }
        match (self.model.item(), &taken) {
            (Item::Nothing, Ok(None)) => {}
            (Item::Request(expected, bytes), Ok(Some(request))) => {
                assert_eq!(*request, expected);
                self.model.taken.push(expected.id);
                self.model.taken_bytes += bytes;
                let whole_at = self.model.came_at(self.model.taken_bytes - 1);
                let patience = Duration::from_millis(expected.timeout_ms.into());
                let deadline = (!patience.is_zero()).then(|| whole_at + patience);
                assert_eq!(self.connection.deadline(request), deadline);
            }
            (Item::TooLarge(_) | Item::Malformed, Ok(None)) if self.model.unanswered() > 0 => {}
            (Item::TooLarge(length), Err(error)) => {
                let bytes_max = self.model.limits.frame_bytes_max;
                assert_eq!(*error, FrameError::TooLarge { bytes: length, bytes_max });
                self.model.fail(Code::ResourceExhausted, &error.to_string());
            }
            (Item::Malformed, Err(error @ FrameError::Malformed(_))) => {
                self.model.fail(Code::InvalidArgument, &error.to_string());
            }
            (expected, taken) => panic!("{taken:?} was taken where there is {expected:?}"),
        }
        self.forget(taken);
    }

    fn respond(&mut self, payload_bytes: usize) {
        if self.model.unanswered() == 0 {
            return;
        }
        let id = self.model.taken[self.model.answered];
        let mut payload = Vec::new();
        let made = allocation_counter::measure(|| payload = vec![b'r'; payload_bytes]);
        self.held_bytes += made.bytes_current; // until the call lets go of it
        let response = Response::ok(id, payload);
        self.model.answered += 1;
        self.model.reply(&response);
        self.call(|connection| connection.respond(response));
    }

    fn sent(&mut self, bytes: usize) {
        let bytes = bytes.min(self.model.unsent().len());
        if bytes == 0 {
            return;
        }
        self.model.sent_bytes += bytes;
        self.model.active_at = self.now;
        self.model.sent_at = Some(self.now);
        self.model.stalled_at = None;
        let now = self.now;
        self.call(|connection| connection.sent(bytes, now));
    }

    fn drain(&mut self) {
        if self.model.input == Input::Open {
            let owes = self.model.owes();
            self.model.input = if owes { Input::Unwanted(0) } else { Input::Ended };
        }
        self.connection.drain();
    }

    /// Calls the connection, and counts the memory that it keeps; not what it spares.
    fn call<T>(&mut self, call: impl FnOnce(&mut Connection) -> T) -> T {
        let mut result = None;
        let info = allocation_counter::measure(|| {
            result = Some(call(&mut self.connection));
            spare::clear();
        });
        self.held_bytes += info.bytes_current;
        result.expect("it was called")
    }

    /// What a call has given away is not the connection's.
    fn forget<T>(&mut self, given: T) {
        self.held_bytes += allocation_counter::measure(|| drop(given)).bytes_current;
    }

    fn compare(&mut self) {
        let Self { connection, model, .. } = self;
        assert_eq!(connection.to_send(), model.unsent());
        assert_eq!(connection.wants_write(), !model.unsent().is_empty());
        assert_eq!(connection.has_request(), model.has_item());
        assert_eq!(connection.wants_read(), model.wants_read());
        let (is_open, owes) = (model.input == Input::Open, model.owes());
        assert_eq!(connection.output_ended(), !is_open && !owes);
        assert_eq!(connection.is_finished(), model.input == Input::Ended && !owes);
        if !connection.is_finished() {
            assert_eq!(connection.times_out(&TIMEOUTS), model.times_out());
        }
        assert_eq!(connection.times_out(&Timeouts::default()), None, "without a bound");
        self.compare_memory();
    }

    /// A growing vector doubles, so each bound is twice what may stand in a buffer at a time.
    fn compare_memory(&mut self) {
        let Self { model, held_bytes, unsent_bytes_peak, .. } = self;
        let unread = model.arrived.len() - model.taken_bytes;
        let frame_bytes_max = PREFIX_BYTES + model.limits.frame_bytes_max;
        assert!(unread <= frame_bytes_max + READ_BYTES_MAX, "{unread} bytes wait");
        *unsent_bytes_peak = (*unsent_bytes_peak).max(model.unsent().len());
        if unread == 0 && model.unsent().is_empty() {
            assert_eq!(*held_bytes, 0, "an idle connection holds no buffer");
        }
        let inbound = 2 * (frame_bytes_max + 2 * READ_BYTES_MAX);
        let bound = inbound + 4 * *unsent_bytes_peak;
        assert!(usize::try_from(*held_bytes).expect("no more freed than held") <= bound);
    }
}

fn ids(mut replies: &[u8]) -> Vec<u64> {
    let mut ids = Vec::new();
    while let Some((prefix, rest)) = replies.split_first_chunk::<PREFIX_BYTES>() {
        let (message, rest) = rest.split_at(u32::from_be_bytes(*prefix) as usize);
        ids.push(Response::decode(message).expect("a reply").id);
        replies = rest;
    }
    ids
}
