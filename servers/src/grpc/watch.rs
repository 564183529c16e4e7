//! When a connection has to end, by what it looks like from time to time. It pays with being up to
//! an eighth of the shortest timeout late, and so needs no clock where a call begins or ends.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use common::Timeouts;
use common::connection::Timeout;

use super::ledger::{Ledger, Seen};
use crate::sweep_interval;

/// Calls given up by the peer between one look and the next, by those that may be open.
const GIVEN_UP_PER_STREAM: u64 = 10;
/// The part of its age by which a connection may live longer, so that those that came together do
/// not all come again together.
const AGE_JITTER: f64 = 0.1;
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
    /// It is to be told to go, for its age; what it has asked for goes on for a while.
    Retires,
    /// It is cut: its peer has let the server wait for too long.
    TimedOut(Timeout),
    /// It is cut for another reason.
    Ends(&'static str),
}

/// How old a connection becomes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    pub(super) most: Duration,
    /// What its calls have after that.
    pub(super) grace: Duration,
}

impl Age {
    /// Some time up to a tenth later than the least, another for each connection: by the keys that
    /// std draws for each of its maps.
    fn retires_at(self, accepted_at: Instant) -> Instant {
        let drawn = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
        accepted_at + self.most.mul_f64(1.0 + AGE_JITTER * drawn)
    }
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
    given_up_max: u64,
    is_leaving: bool,
    /// When it is old, and what its calls then have; None where age is no matter.
    retires: Option<(Instant, Duration)>,
    /// When the calls of an old one are cut.
    cut_at: Option<Instant>,
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
            given_up_max: GIVEN_UP_PER_STREAM,
            is_leaving: false,
            retires: None,
            cut_at: None,
            rests: None,
        }
    }

    /// What is not for all connections the same: how old this one becomes, and how many calls it
    /// may have open.
    pub(super) fn minds(&mut self, age: Option<Age>, streams_max: u32) {
        self.retires = age.map(|age| (age.retires_at(self.accepted_at), age.grace));
        self.look_at = self.retires.map_or(self.look_at, |(at, _)| at.min(self.look_at));
        self.given_up_max = GIVEN_UP_PER_STREAM * u64::from(streams_max);
    }

    /// When all handshakes must be over.
    pub(super) fn opens_by(&self) -> Option<Instant> {
        let Timeouts { idle, read, .. } = self.timeouts;
        self.accepted_at.checked_add([idle, read].into_iter().flatten().min()?)
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
        if given_up > self.given_up_max {
            return Verdict::Ends("its peer gives up more calls than it waits for");
        }
        let Timeouts { idle, read, write } = self.timeouts;
        let shaking_hands = self.opens_by().filter(|_| !seen.is_open);
        let half_a_frame = self.half_a_frame.since(seen.half_a_frame, now);
        let stalled_write = self.stalled_write.since(seen.stalled_write, now);
        let answers = self.answers.since(seen.has_answers().then_some(seen.taken), now);
        let nothing_asked = self.idle.since(seen.idle_after(), now);
        let leaving = if self.is_leaving { Some(LEAVE_TIMEOUT) } else { None };
        let (old, grown) = match self.cut_at {
            None => (self.retires.map(|(at, _)| at).filter(|_| !self.is_leaving), Verdict::Retires),
            Some(at) => (Some(at), Verdict::Ends("it was told to go for its age, and stays")),
        };
        let at_once = Some(Duration::ZERO);
        let due = [
            (shaking_hands, at_once, Verdict::TimedOut(Timeout::Read)),
            (old, at_once, grown),
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
            if verdict == Verdict::Retires {
                self.cut_at = self.retires.map(|(_, grace)| now + grace);
            }
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
            let ledger = Arc::new(Ledger::new(context, CancellationToken::new(), 4096, 100));
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
        watched.watch.minds(None, 100);
        for _ in 0..=100 * GIVEN_UP_PER_STREAM {
            watched.ledger.give_up();
        }
        assert!(matches!(watched.ends(), (Verdict::Ends(_), 1)));
    }

    /// Up to a tenth later than it might, and never at once; what it carries out goes on.
    #[test]
    fn who_is_old_is_told_to_go_and_then_cut() {
        let age = Age { most: Duration::from_secs(1000), grace: Duration::from_secs(50) };
        let mut retired = Vec::new();
        for _ in 0..20 {
            let mut watched = Watched::new(true);
            watched.watch.minds(Some(age), 100);
            let _begun = Begun::new(watched.ledger.clone());
            let (verdict, at_s) = watched.ends();
            assert_eq!(verdict, Verdict::Retires);
            assert!((1000..=1101).contains(&at_s), "{at_s}");
            let (verdict, cut_s) = watched.ends();
            assert!(matches!(verdict, Verdict::Ends(_)));
            assert!((at_s + 50..=at_s + 51).contains(&cut_s), "{at_s}, {cut_s}");
            retired.push(at_s);
        }
        retired.dedup();
        assert!(retired.len() > 1, "all at once: {retired:?}");
    }

    #[test]
    fn a_drain_does_not_wait_for_the_old() {
        let age = Age { most: Duration::from_secs(10), grace: Duration::from_secs(1000) };
        let mut watched = Watched::new(true);
        watched.watch.minds(Some(age), 100);
        let (verdict, at_s) = watched.ends();
        assert_eq!((verdict, watched.watch.is_leaving()), (Verdict::Retires, false));
        watched.watch.leaves();
        let (verdict, ended_s) = watched.ends();
        assert!(matches!(verdict, Verdict::Ends(_)) && ended_s <= at_s + 2, "{verdict:?}");
    }
}
