//! When a connection has to end, by what it looks like from time to time. It pays with being up to
//! an eighth of the shortest timeout late, and so needs no clock where a call begins or ends.

use std::time::{Duration, Instant};

use common::Timeouts;
use common::connection::Timeout;

use super::connection::STREAMS_MAX;
use super::ledger::{Ledger, Seen};
use crate::sweep_interval;

/// Calls given up by the peer between one look and the next: ten times what may be open.
const GIVEN_UP_MAX: u64 = 10 * STREAMS_MAX as u64;
/// How long a peer may stay that was told to go and waits for nothing.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two looks where no timeout says how many it needs.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Where there is nothing to wait for.
const FAR_AWAY: Duration = Duration::from_hours(24);

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Stays,
    /// It is to be told to go: nothing was asked for too long.
    Leaves,
    /// It is cut: its peer has let the server wait for too long.
    TimedOut(Timeout),
    /// It is cut for another reason.
    Ends(&'static str),
}

/// The watch over one connection.
#[derive(Debug)]
pub(super) struct Watch {
    timeouts: Timeouts,
    accepted_at: Instant,
    interval: Duration,
    look_at: Instant,
    half_a_frame: Still,
    stalled_write: Still,
    answers: Still,
    idle: Still,
    given_up: u64,
    is_leaving: bool,
    /// What was seen, where nothing happens until something changes.
    rests: Option<Seen>,
}

/// Something that may stand still: what it was at the last look, and since when.
#[derive(Debug, Default)]
struct Still(Option<(u64, Instant)>);

impl Still {
    fn since(&mut self, now_is: Option<u64>, now: Instant) -> Option<Instant> {
        match (self.0, now_is) {
            (Some((was, since)), Some(is)) if was == is => Some(since),
            _ => {
                self.0 = now_is.map(|is| (is, now));
                now_is.map(|_| now)
            }
        }
    }
}

impl Watch {
    pub(super) fn new(timeouts: Timeouts, accepted_at: Instant) -> Self {
        let interval = sweep_interval(&timeouts).unwrap_or(LOOK_INTERVAL_MAX);
        Self {
            timeouts,
            accepted_at,
            interval,
            look_at: accepted_at + interval,
            half_a_frame: Still::default(),
            stalled_write: Still::default(),
            answers: Still::default(),
            idle: Still::default(),
            given_up: 0,
            is_leaving: false,
            rests: None,
        }
    }

    /// When to look.
    pub(super) fn look_at(&self) -> Instant {
        self.look_at
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// The peer is told to go: from now on it has little time in which it waits for nothing.
    pub(super) fn leaves(&mut self) {
        self.is_leaving = true;
        self.idle = Still::default();
        self.rests = None;
        self.look_at = self.accepted_at;
    }

    /// Ends the rest, where something has changed.
    pub(super) fn wakes(&mut self, ledger: &Ledger) {
        if self.rests.is_some_and(|then| then != ledger.seen()) {
            self.rests = None;
            self.look_at = self.look_at.min(Instant::now() + self.interval);
        }
    }

    /// Looks: is it time?
    pub(super) fn look(&mut self, seen: Seen, now: Instant) -> Verdict {
        if self.is_leaving && !seen.is_open && seen.idle_after().is_some() {
            return Verdict::Ends("it was none when the drain began");
        }
        let given_up = seen.given_up - std::mem::replace(&mut self.given_up, seen.given_up);
        if given_up > GIVEN_UP_MAX {
            return Verdict::Ends("its peer gives up more calls than it waits for");
        }
        let Timeouts { idle, read, write } = self.timeouts;
        let shaking_hands = (!seen.is_open).then_some(self.accepted_at);
        let half_a_frame = self.half_a_frame.since(seen.half_a_frame, now);
        let stalled_write = self.stalled_write.since(seen.stalled_write, now);
        let answers = self.answers.since(seen.has_answers().then_some(seen.taken), now);
        let nothing_asked = self.idle.since(seen.idle_after(), now);
        let leaving = if self.is_leaving { Some(LEAVE_TIMEOUT) } else { None };
        let shorter = [idle, read].into_iter().flatten().min();
        let due = [
            (shaking_hands, shorter, Verdict::TimedOut(Timeout::Read)),
            (half_a_frame, read, Verdict::TimedOut(Timeout::Read)),
            (stalled_write, write, Verdict::TimedOut(Timeout::Write)),
            (answers, write, Verdict::TimedOut(Timeout::Write)),
            (nothing_asked, idle.filter(|_| !self.is_leaving), Verdict::Leaves),
            (nothing_asked, leaving, Verdict::Ends("it was told to go, and stays")),
        ];
        let due = due.into_iter().filter_map(|(since, patience, verdict)| {
            Some((since?.checked_add(patience?)?, verdict))
        });
        let next = due.min_by_key(|(at, _)| *at);
        if let Some((_, verdict)) = next.filter(|(at, _)| *at <= now) {
            return verdict;
        }
        let is_quiet = half_a_frame.or(stalled_write).or(answers).is_none();
        self.rests = (is_quiet && nothing_asked.is_some()).then_some(seen);
        let at = next.map_or(now + FAR_AWAY, |(at, _)| at);
        self.look_at = if self.rests.is_some() { at } else { at.min(now + self.interval) };
        Verdict::Stays
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::{Config, Service, Shutdown, Stats};
    use tokio_util::sync::CancellationToken;

    use super::super::ledger::Begun;
    use super::*;
    use crate::Context;

    const TIMEOUTS: Timeouts = Timeouts {
        idle: Some(Duration::from_secs(80)),
        read: Some(Duration::from_secs(8)),
        write: Some(Duration::from_secs(16)),
    };

    /// A watch, and what it looks at.
    struct Watched {
        watch: Watch,
        ledger: Arc<Ledger>,
        start: Instant,
    }

    impl Watched {
        fn new(is_open: bool) -> Self {
            let config = Config { timeouts: TIMEOUTS, ..Config::default() };
            let context = Context::new(Service::new(), &config, &Shutdown::new(), &Stats::new());
            let ledger = Arc::new(Ledger::new(context, CancellationToken::new(), 4096));
            if is_open {
                ledger.is_open();
            }
            let start = Instant::now();
            Self { watch: Watch::new(TIMEOUTS, start), ledger, start }
        }

        /// Looks whenever it is time, until there is a verdict: which, and after how many seconds?
        fn ends(&mut self) -> (Verdict, u64) {
            loop {
                let now = self.watch.look_at();
                let verdict = self.watch.look(self.ledger.seen(), now);
                if verdict != Verdict::Stays {
                    return (verdict, (now - self.start).as_secs());
                }
                assert!(self.watch.look_at() > now, "it looks again and again");
            }
        }
    }

    #[test]
    fn each_silence_has_its_own_end() {
        let read = Verdict::TimedOut(Timeout::Read);
        let write = Verdict::TimedOut(Timeout::Write);
        let mut handshake = Watched::new(false);
        assert_eq!(handshake.ends(), (read, 8));
        // An eighth of the shortest timeout, one second, goes by until the first look.
        let mut idle = Watched::new(true);
        assert_eq!(idle.ends(), (Verdict::Leaves, 81));
        let mut frame = Watched::new(true);
        frame.ledger.half_a_frame(7);
        assert_eq!(frame.ends(), (read, 9));
        let mut socket = Watched::new(true);
        socket.ledger.stalled_write(7);
        assert_eq!(socket.ends(), (write, 17));
        let mut answers = Watched::new(true);
        answers.ledger.answers();
        assert_eq!(answers.ends(), (write, 17));
    }

    #[test]
    fn what_moves_is_not_still() {
        let mut watched = Watched::new(true);
        watched.ledger.answers();
        for frame in 1..100 {
            let now = watched.watch.look_at();
            assert_eq!(watched.watch.look(watched.ledger.seen(), now), Verdict::Stays);
            watched.ledger.takes();
            watched.ledger.half_a_frame(frame);
        }
    }

    #[test]
    fn nobody_is_idle_whose_request_is_carried_out() {
        let mut watched = Watched::new(true);
        let begun = Begun::new(watched.ledger.clone());
        for _ in 0..200 {
            let now = watched.watch.look_at();
            assert_eq!(watched.watch.look(watched.ledger.seen(), now), Verdict::Stays);
        }
        let ended_s = (watched.watch.look_at() - watched.start).as_secs();
        drop(begun);
        assert_eq!(watched.ends(), (Verdict::Leaves, ended_s + 80));
    }

    /// It looks rarely then; and soon again when something begins.
    #[test]
    fn a_watch_over_silence_rests() {
        let mut watched = Watched::new(true);
        let now = watched.watch.look_at();
        watched.watch.look(watched.ledger.seen(), now);
        assert_eq!(watched.watch.look_at() - now, Duration::from_secs(80));
        watched.watch.wakes(&watched.ledger);
        assert_eq!(watched.watch.look_at() - now, Duration::from_secs(80));
        watched.ledger.answers();
        watched.watch.wakes(&watched.ledger);
        assert!(watched.watch.look_at() < now + Duration::from_secs(2));
    }

    #[test]
    fn who_is_told_to_go_goes() {
        let mut watched = Watched::new(true);
        watched.watch.leaves();
        assert!(matches!(watched.ends(), (Verdict::Ends(_), 1)));
        let mut watched = Watched::new(false);
        watched.watch.leaves();
        assert!(matches!(watched.ends(), (Verdict::Ends(_), 0)));
    }

    #[test]
    fn calls_are_not_given_up_by_the_thousand() {
        let mut watched = Watched::new(true);
        for _ in 0..=GIVEN_UP_MAX {
            watched.ledger.give_up();
        }
        assert!(matches!(watched.ends(), (Verdict::Ends(_), 1)));
    }
}
