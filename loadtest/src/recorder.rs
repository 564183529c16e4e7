//! What became of the requests: counts that must add up, and three histograms.
//!
//! Every planned request is settled exactly once, so that planned = ok + errors + timed out +
//! unsent whatever the server does. Recording costs some ten nanoseconds and no allocation.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::windows::Windows;

/// Three digits: an error below 0.1 %.
const DIGITS: u8 = 3;
/// Above it a latency is recorded as this: an hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Its connection could not be opened.
    Connect,
    /// The server closed the connection over it.
    Closed,
    /// The server reset the connection, or another socket error broke it.
    Reset,
    /// The server gave its stream up (gRPC).
    StreamReset,
    /// The answer is to another request.
    WrongId,
    /// The answer is not the right one.
    WrongPayload,
    /// The bytes are no answer of this protocol.
    Protocol,
    /// The server said no: a `google.rpc.Code`.
    Code(u32),
    /// The run was interrupted before the answer came.
    Interrupted,
}

impl ErrorKind {
    /// Its name in results.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Connect => "connect".into(),
            Self::Closed => "closed".into(),
            Self::Reset => "reset".into(),
            Self::StreamReset => "stream_reset".into(),
            Self::WrongId => "wrong_id".into(),
            Self::WrongPayload => "wrong_payload".into(),
            Self::Protocol => "protocol".into(),
            Self::Code(code) => format!("code_{code}").into(),
            Self::Interrupted => "interrupted".into(),
        }
    }

    /// Whether the server answered, and not as it must: the run failed. To refuse is to answer.
    pub fn is_wrong_answer(self) -> bool {
        matches!(self, Self::WrongId | Self::WrongPayload | Self::Protocol)
    }
}

/// The moments of one request, on the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// When it should have been sent.
    pub planned_ns: u64,
    /// When it was given to the socket, or queued behind what the socket has not taken.
    pub sent_ns: u64,
    /// When the batch with its answer was read.
    pub settled_ns: u64,
}

/// Counts and histograms of one thread, or of a run.
#[derive(Clone, Debug)]
pub struct Recorder {
    planned: u64,
    ok: u64,
    errors: BTreeMap<ErrorKind, u64>,
    timed_out: u64,
    unsent: u64,
    within: u64,
    left_by_warmup: u64,
    right_of_warmup: u64,
    settled_last_ns: u64,
    windows: Windows,
    /// Requests that were sent when planned, as all of a closed loop are: their latency is their
    /// service time and their lag is nothing, so one histogram holds all three.
    punctual: Histogram<u64>,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    send_lag: Histogram<u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(Windows::default())
    }
}

impl Recorder {
    /// One that also records over time, in `windows`.
    pub(crate) fn new(windows: Windows) -> Self {
        let empty = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS)
            .expect("1 to an hour in nanoseconds at 3 digits is a valid range");
        Self {
            planned: 0,
            ok: 0,
            errors: BTreeMap::new(),
            timed_out: 0,
            unsent: 0,
            within: 0,
            left_by_warmup: 0,
            right_of_warmup: 0,
            settled_last_ns: 0,
            windows,
            punctual: empty.clone(),
            latency: empty.clone(),
            service: empty.clone(),
            send_lag: empty,
        }
    }

    /// Counts a request as planned. It must be settled later by one of the following.
    pub fn plan(&mut self, planned_ns: u64) {
        self.planned += 1;
        self.windows.at(planned_ns).planned += 1;
    }

    /// The right answer came.
    pub fn ok(&mut self, moments: Moments) {
        self.ok += 1;
        self.windows.at(moments.planned_ns).ok += 1;
        self.record(moments, 0);
    }

    /// Something else came, or nothing will. How long that took is in no histogram.
    pub fn error(&mut self, kind: ErrorKind, planned_ns: u64, settled_ns: u64) {
        self.windows.at(planned_ns).errors += 1;
        *self.errors.entry(kind).or_default() += 1;
        self.settled_last_ns = self.settled_last_ns.max(settled_ns);
    }

    /// Nothing came in time. It enters the histograms at no less than the timeout: leaving the
    /// worst out would make the tail look better the worse the server is.
    pub fn timed_out(&mut self, moments: Moments, timeout_ns: u64) {
        self.timed_out += 1;
        self.windows.at(moments.planned_ns).timed_out += 1;
        self.record(moments, timeout_ns);
    }

    /// A right answer came within the measured window, to a request of that window or of the warm-up.
    pub fn came_within(&mut self) {
        self.within += 1;
    }

    /// A request of the warm-up was settled after its end.
    pub fn left_by_warmup(&mut self, is_right: bool, settled_ns: u64) {
        self.left_by_warmup += 1;
        self.right_of_warmup += u64::from(is_right);
        self.settled_last_ns = self.settled_last_ns.max(settled_ns);
    }

    /// It could not be sent.
    pub fn unsent(&mut self, planned_ns: u64) {
        self.unsent += 1;
        self.windows.at(planned_ns).unsent += 1;
    }

    // ANCHOR: record
    fn record(&mut self, moments: Moments, latency_ns_min: u64) {
        let Moments { planned_ns, sent_ns, settled_ns } = moments;
        self.settled_last_ns = self.settled_last_ns.max(settled_ns);
        let latency_ns =
            settled_ns.saturating_sub(planned_ns).max(latency_ns_min).clamp(1, LATENCY_NS_MAX);
        self.windows.at(planned_ns).record(latency_ns);
        if sent_ns <= planned_ns {
            self.punctual.saturating_record(latency_ns);
        } else {
            self.latency.saturating_record(latency_ns);
            self.service.saturating_record(settled_ns.saturating_sub(sent_ns).max(1));
            self.send_lag.saturating_record(sent_ns - planned_ns);
        }
    }
    // ANCHOR_END: record

    /// Adds another thread's.
    pub fn merge(&mut self, other: Self) {
        self.windows.merge(other.windows);
        self.planned += other.planned;
        self.ok += other.ok;
        for (kind, count) in &other.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        self.timed_out += other.timed_out;
        self.unsent += other.unsent;
        self.within += other.within;
        self.left_by_warmup += other.left_by_warmup;
        self.right_of_warmup += other.right_of_warmup;
        self.settled_last_ns = self.settled_last_ns.max(other.settled_last_ns);
        add(&mut self.punctual, &other.punctual);
        add(&mut self.latency, &other.latency);
        add(&mut self.service, &other.service);
        add(&mut self.send_lag, &other.send_lag);
    }

    /// Requests that were planned.
    pub fn planned(&self) -> u64 {
        self.planned
    }

    /// Right answers.
    pub fn right(&self) -> u64 {
        self.ok
    }

    /// Failures by kind.
    pub fn errors(&self) -> &BTreeMap<ErrorKind, u64> {
        &self.errors
    }

    /// Answers that did not come in time.
    pub fn late(&self) -> u64 {
        self.timed_out
    }

    /// Requests that could not be sent.
    pub fn never_sent(&self) -> u64 {
        self.unsent
    }

    /// Right answers that came within the measured window, also to requests of the warm-up.
    pub fn right_within(&self) -> u64 {
        self.within
    }

    /// Right answers that came after the warm-up, also to requests of it.
    pub fn right_since_warmup(&self) -> u64 {
        self.ok + self.right_of_warmup
    }

    /// Requests that were settled after the warm-up, also those of it: what the server had to do with.
    pub fn settled_since_warmup(&self) -> u64 {
        self.planned - self.unsent + self.left_by_warmup
    }

    /// The run over time.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// When the last request was settled, of the warm-up too where that was after its end.
    pub fn settled_last_ns(&self) -> u64 {
        self.settled_last_ns
    }

    /// From the planned time to the answer, in nanoseconds.
    pub fn latency(&self) -> Histogram<u64> {
        sum(&self.punctual, &self.latency)
    }

    /// From the actual sending to the answer, in nanoseconds.
    pub fn service(&self) -> Histogram<u64> {
        sum(&self.punctual, &self.service)
    }

    /// From the planned time to the actual sending, in nanoseconds: the tester's own delay.
    pub fn send_lag(&self) -> Histogram<u64> {
        let mut send_lag = self.send_lag.clone();
        send_lag.saturating_record_n(0, self.punctual.len());
        send_lag
    }
}

fn sum(one: &Histogram<u64>, two: &Histogram<u64>) -> Histogram<u64> {
    let mut sum = one.clone();
    add(&mut sum, two);
    sum
}

fn add(to: &mut Histogram<u64>, other: &Histogram<u64>) {
    to.add(other).expect("all histograms have the same bounds");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn moments(planned_ms: u64, sent_ms: u64, settled_ms: u64) -> Moments {
        Moments { planned_ns: planned_ms * MS, sent_ns: sent_ms * MS, settled_ns: settled_ms * MS }
    }

    #[track_caller]
    fn near(histogram: &Histogram<u64>, quantile: f64, expected_ms: u64) {
        let got = histogram.value_at_quantile(quantile);
        assert!(got.abs_diff(expected_ms * MS) <= expected_ms * MS / 500, "{got}");
    }

    #[test]
    fn latency_is_lag_and_service_together() {
        let mut recorder = Recorder::default();
        recorder.ok(moments(0, 0, 10)); // punctual
        recorder.ok(moments(0, 30, 50));
        near(&recorder.latency(), 0.5, 10);
        near(&recorder.latency(), 1.0, 50);
        near(&recorder.service(), 1.0, 20);
        near(&recorder.send_lag(), 1.0, 30);
        assert_eq!(recorder.send_lag().value_at_quantile(0.5), 0);
        assert_eq!(recorder.send_lag().len(), 2);
    }

    #[test]
    fn a_timeout_is_in_the_histogram_at_no_less_than_the_timeout() {
        let mut recorder = Recorder::default();
        recorder.timed_out(moments(0, 0, 99), 100 * MS);
        near(&recorder.latency(), 0.5, 100);
    }

    #[test]
    fn merging_is_adding() {
        let (mut one, mut two) = (Recorder::default(), Recorder::default());
        one.plan(0);
        one.ok(moments(0, 0, 10));
        two.plan(0);
        two.error(ErrorKind::Code(8), 0, 7);
        two.plan(0);
        two.unsent(0);
        one.merge(two);
        assert_eq!((one.planned(), one.right(), one.never_sent(), one.late()), (3, 1, 1, 0));
        assert_eq!(one.errors().get(&ErrorKind::Code(8)), Some(&1));
        assert_eq!(one.latency().len(), 1);
    }
}
