//! The breaker's three states, without a clock: who calls says what time it is. It pays with a
//! number that goes with each attempt, so that what ends late is not taken for news.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Longer than a client lives.
const FAR_AWAY: Duration = Duration::from_hours(24 * 365);

/// When a breaker opens and closes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many failures with no answer between them open it.
    pub failures: u32,
    /// It stays open for so long.
    pub open_for: Duration,
    /// So many attempts are let through then; all of them must be answered to close it.
    pub probes: u32,
}

/// What a breaker does with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It goes through: the server answers.
    Closed,
    /// It fails at once: the server does not answer.
    Open,
    /// A few go through, and say whether the server answers again; others fail at once.
    HalfOpen,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

/// What an attempt says about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    /// Nothing: it was given up, or never sent.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Machine {
    limits: Limits,
    is: Is,
    /// Counts the changes: an attempt that began before the last says nothing about now.
    epoch: u64,
}

#[derive(Debug)]
enum Is {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probing: u32, answered: u32 },
}

impl Machine {
    pub(super) fn new(limits: Limits) -> Self {
        // With none it would never close again.
        let limits = Limits { probes: limits.probes.max(1), ..limits };
        Self { limits, is: Is::Closed { failures: 0 }, epoch: 0 }
    }

    pub(super) fn state(&self) -> State {
        match self.is {
            Is::Closed { .. } => State::Closed,
            Is::Open { .. } => State::Open,
            Is::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// An attempt wants through; where it may, it goes with a number, to be given back.
    pub(super) fn enter(&mut self, now: Instant) -> Option<u64> {
        if matches!(self.is, Is::Open { until } if until <= now) {
            self.becomes(Is::HalfOpen { probing: 0, answered: 0 });
        }
        match &mut self.is {
            Is::Closed { .. } => {}
            Is::HalfOpen { probing, answered } if *probing + *answered < self.limits.probes => {
                *probing += 1;
            }
            Is::Open { .. } | Is::HalfOpen { .. } => return None,
        }
        Some(self.epoch)
    }

    /// What came of it.
    pub(super) fn leave(&mut self, epoch: u64, outcome: Outcome, now: Instant) {
        if epoch != self.epoch {
            return;
        }
        match (&mut self.is, outcome) {
            (Is::Closed { failures }, Outcome::Success) => *failures = 0,
            (Is::Closed { failures }, Outcome::Failure) => {
                *failures += 1;
                if *failures >= self.limits.failures {
                    self.opens(now);
                }
            }
            (Is::HalfOpen { probing, answered }, Outcome::Success) => {
                *probing -= 1;
                *answered += 1;
                if *answered >= self.limits.probes {
                    self.becomes(Is::Closed { failures: 0 });
                }
            }
            (Is::HalfOpen { .. }, Outcome::Failure) => self.opens(now),
            // Another may take its place.
            (Is::HalfOpen { probing, .. }, Outcome::Unknown) => *probing -= 1,
            (Is::Closed { .. }, Outcome::Unknown) | (Is::Open { .. }, _) => {}
        }
    }

    fn opens(&mut self, now: Instant) {
        // Where the clock cannot hold it, a year is as good.
        let until = now.checked_add(self.limits.open_for).unwrap_or(now + FAR_AWAY);
        self.becomes(Is::Open { until });
    }

    fn becomes(&mut self, next: Is) {
        self.is = next;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { failures: 3, open_for: Duration::from_secs(5), probes: 2 };

    /// The same as a log that is read anew for every question, which keeps no counter.
    struct Model {
        state: State,
        since: Instant,
        /// Of the attempts that began in this state: what became of each, none yet first.
        log: Vec<(u64, Option<Outcome>)>,
        order: Vec<Outcome>,
    }

    impl Model {
        fn count(&self, outcome: Option<Outcome>) -> usize {
            self.log.iter().filter(|(_, ended)| *ended == outcome).count()
        }

        fn becomes(&mut self, state: State, now: Instant) {
            (self.state, self.since) = (state, now);
            self.log.clear();
            self.order.clear();
        }

        fn enter(&mut self, attempt: u64, now: Instant) -> bool {
            if self.state == State::Open && now - self.since >= LIMITS.open_for {
                self.becomes(State::HalfOpen, now);
            }
            let taken = self.count(None) + self.count(Some(Outcome::Success));
            let enters = match self.state {
                State::Closed => true,
                State::Open => false,
                State::HalfOpen => taken < LIMITS.probes as usize,
            };
            if enters {
                self.log.push((attempt, None));
            }
            enters
        }

        fn leave(&mut self, attempt: u64, outcome: Outcome, now: Instant) {
            let Some(entry) = self.log.iter_mut().find(|(known, _)| *known == attempt) else {
                return;
            };
            entry.1 = Some(outcome);
            self.order.push(outcome);
            let mut last = self.order.iter().rev().filter(|outcome| **outcome != Outcome::Unknown);
            let in_a_row =
                last.by_ref().take_while(|outcome| **outcome == Outcome::Failure).count();
            let answered = self.count(Some(Outcome::Success));
            match self.state {
                State::Closed if in_a_row >= LIMITS.failures as usize => {
                    self.becomes(State::Open, now);
                }
                State::HalfOpen if outcome == Outcome::Failure => self.becomes(State::Open, now),
                State::HalfOpen if answered >= LIMITS.probes as usize => {
                    self.becomes(State::Closed, now);
                }
                _ => {}
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter,
        Leave(prop::sample::Index, Outcome),
        Later(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let outcome = prop_oneof![
            2 => Just(Outcome::Success), 3 => Just(Outcome::Failure), 1 => Just(Outcome::Unknown)
        ];
        let step = prop_oneof![
            4 => Just(Step::Enter),
            4 => (any::<prop::sample::Index>(), outcome).prop_map(|(i, o)| Step::Leave(i, o)),
            1 => (0..6_000_u64).prop_map(Step::Later),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn it_does_what_the_model_does(steps in steps()) {
            let mut now = Instant::now();
            let mut machine = Machine::new(LIMITS);
            let (state, log, order) = (State::Closed, Vec::new(), Vec::new());
            let mut model = Model { state, since: now, log, order };
            let mut open = Vec::new();
            for (attempt, step) in (0_u64..).zip(steps) {
                match step {
                    Step::Enter => {
                        let epoch = machine.enter(now);
                        prop_assert_eq!(epoch.is_some(), model.enter(attempt, now));
                        open.extend(epoch.map(|epoch| (attempt, epoch)));
                    }
                    Step::Leave(which, outcome) if !open.is_empty() => {
                        let (attempt, epoch) = open.swap_remove(which.index(open.len()));
                        machine.leave(epoch, outcome, now);
                        model.leave(attempt, outcome, now);
                    }
                    Step::Leave(..) => {}
                    Step::Later(ms) => now += Duration::from_millis(ms),
                }
                prop_assert_eq!(machine.state(), model.state);
            }
        }
    }

    #[test]
    fn it_opens_probes_and_closes_to_the_millisecond() {
        let start = Instant::now();
        let mut machine = Machine::new(LIMITS);
        for _ in 0..3 {
            let epoch = machine.enter(start).unwrap();
            machine.leave(epoch, Outcome::Failure, start);
        }
        assert_eq!(machine.state(), State::Open);
        assert_eq!(machine.enter(start + Duration::from_millis(4999)), None);
        let then = start + Duration::from_secs(5);
        let (first, second) = (machine.enter(then).unwrap(), machine.enter(then).unwrap());
        assert_eq!((machine.enter(then), machine.state()), (None, State::HalfOpen));
        machine.leave(first, Outcome::Success, then);
        assert_eq!((machine.enter(then), machine.state()), (None, State::HalfOpen));
        machine.leave(second, Outcome::Success, then);
        assert_eq!(machine.state(), State::Closed);
    }

    #[test]
    fn what_began_before_says_nothing_about_now() {
        let start = Instant::now();
        let mut machine = Machine::new(LIMITS);
        let old: Vec<_> = (0..6).map(|_| machine.enter(start).unwrap()).collect();
        for epoch in &old[..3] {
            machine.leave(*epoch, Outcome::Failure, start);
        }
        let then = start + LIMITS.open_for;
        machine.enter(then).unwrap();
        machine.leave(old[3], Outcome::Failure, then);
        machine.leave(old[4], Outcome::Success, then);
        assert_eq!(machine.state(), State::HalfOpen);
    }
}
