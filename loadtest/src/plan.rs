//! When requests are sent and when a run is over: the schedule and the stop rule, each ignorant of
//! the other and of the transport.
//!
//! Every load thread has a [`Planner`] with its share. Nothing is shared between threads, so no
//! thread waits for another; a share that cannot be sent is not taken over by the rest.

use std::time::{Duration, Instant};

use crate::pace::{Arrival, Pace};
use crate::work::Mix;

/// The most requests that may be outstanding in the whole run, so that a server that does not
/// answer costs the tester some megabytes and not all memory. In the open loop, a request that is
/// due beyond it is counted as `unsent`.
pub const OUTSTANDING_MAX: usize = 100_000;

/// When a request is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// When an earlier one was settled: this many are outstanding per connection.
    Closed {
        /// Requests, or streams, per connection.
        depth: usize,
    },
    /// At its planned time, whatever is outstanding.
    Open(Pace),
}

/// When no more requests are planned. What was planned is then waited for, up to the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This long after the warm-up.
    After(Duration),
    /// This many requests after the warm-up.
    Count(u64),
}

/// Nanoseconds since the run began: a reading costs some 25 ns, so it is taken once for a batch of
/// replies and not for each.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that shows zero now.
    pub fn start() -> Self {
        Self::starting_at(Instant::now())
    }

    /// A clock that shows zero then.
    pub fn starting_at(began: Instant) -> Self {
        Self { began }
    }

    /// Nanoseconds since the start; zero before it.
    pub fn now_ns(&self) -> u64 {
        nanoseconds(self.began.elapsed())
    }
}

/// A duration in nanoseconds: 584 years fit.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One request that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the run; decides its id and its kind.
    pub index: u64,
    /// When it should be sent, on the run's clock.
    pub planned_ns: u64,
    /// Its kind, as an index into the mix.
    pub kind: usize,
    /// Whether it counts: the requests of the warm-up do not.
    pub measured: bool,
}

/// One thread's share of the plan: the requests `share`, `share + shares`, and so on.
#[derive(Clone, Debug)]
pub struct Planner {
    schedule: Schedule,
    mix: Mix,
    seed: u64,
    shares: u64,
    /// The number of the next request.
    index: u64,
    /// When the open loop's next request is due, and those after it.
    arrival: Option<(u64, Arrival)>,
    measure_from_ns: u64,
    stop_at_ns: u64,
    measured_left: u64,
}

impl Planner {
    /// The share number `share` of `shares`, of a run that is measured from the end of `warmup`
    /// on.
    pub fn new(
        schedule: Schedule,
        stop: Stop,
        warmup: Duration,
        (mix, seed): (&Mix, u64),
        (share, shares): (usize, usize),
    ) -> Self {
        let (share, shares) = (share as u64, shares as u64);
        let measure_from_ns = nanoseconds(warmup);
        let (stop_at_ns, measured_left, measured) = match stop {
            Stop::After(duration) => (measure_from_ns + nanoseconds(duration), u64::MAX, duration),
            Stop::Count(count) => {
                let own = count / shares + u64::from(share < count % shares);
                (u64::MAX, own, Duration::MAX)
            }
        };
        let arrival = match &schedule {
            Schedule::Closed { .. } => None,
            Schedule::Open(pace) => {
                let mut arrival = Arrival::new(pace.clone(), seed, warmup, measured);
                arrival.advance(share);
                Some((arrival.due_ns(), arrival))
            }
        };
        let mix = mix.clone();
        Self {
            schedule,
            mix,
            seed,
            shares,
            index: share,
            arrival,
            measure_from_ns,
            stop_at_ns,
            measured_left,
        }
    }

    // ANCHOR: next
    /// The next request that may be sent at `now_ns`, if there is one. In the open loop this is
    /// one that is due; in the closed loop the caller asks only when a slot is free.
    pub fn next(&mut self, now_ns: u64) -> Option<Planned> {
        let planned_ns = match self.due_ns() {
            None => now_ns,
            Some(due_ns) if due_ns <= now_ns => due_ns,
            Some(_) => return None,
        };
        if self.is_finished(now_ns) {
            return None;
        }
        let index = self.index;
        let measured = planned_ns >= self.measure_from_ns;
        self.index += self.shares;
        if let Some((due_ns, arrival)) = &mut self.arrival {
            arrival.advance(self.shares);
            *due_ns = arrival.due_ns();
        }
        self.measured_left -= u64::from(measured);
        Some(Planned { index, planned_ns, kind: self.mix.choose(self.seed, index), measured })
    }
    // ANCHOR_END: next

    /// The next request that the plan still holds although it has no way to be sent: nothing in a
    /// closed loop that ends by time, since it plans only what it sends. Plans no more thereafter.
    pub fn next_left(&mut self, now_ns: u64) -> Option<Planned> {
        match self.schedule {
            Schedule::Closed { .. } if self.stop_at_ns < u64::MAX => {
                self.stop();
                None
            }
            Schedule::Closed { .. } => self.next(now_ns.max(self.measure_from_ns)),
            Schedule::Open(_) => self.next(u64::MAX),
        }
    }

    /// When the next request of the open loop is due; nothing in the closed loop.
    pub fn due_ns(&self) -> Option<u64> {
        self.arrival.as_ref().map(|(due_ns, _)| *due_ns)
    }

    /// Whether nothing more is planned.
    pub fn is_finished(&self, now_ns: u64) -> bool {
        self.measured_left == 0 || self.due_ns().unwrap_or(now_ns) >= self.stop_at_ns
    }

    /// Plans no more: the run was interrupted.
    pub fn stop(&mut self) {
        self.measured_left = 0;
    }

    /// When the warm-up ends.
    pub fn measure_from_ns(&self) -> u64 {
        self.measure_from_ns
    }

    /// Whether the measured window has begun, and has not ended.
    pub fn is_within(&self, now_ns: u64) -> bool {
        (self.measure_from_ns..self.stop_at_ns).contains(&now_ns)
    }

    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The most requests that this share may have outstanding.
    pub fn outstanding_max(&self) -> usize {
        OUTSTANDING_MAX / usize::try_from(self.shares).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::{Arrivals, Rate};

    const SECOND: Duration = Duration::from_secs(1);

    fn planner(schedule: Schedule, stop: Stop, warmup: Duration, share: (usize, usize)) -> Planner {
        Planner::new(schedule, stop, warmup, (&"echo:64".parse().unwrap(), 1), share)
    }

    #[test]
    fn shares_of_the_open_loop_are_one_schedule() {
        let open = Schedule::Open(Pace::fixed(1000.0));
        let mut all: Vec<Planned> = (0..3)
            .flat_map(|share| {
                let mut planner = planner(open.clone(), Stop::After(SECOND), SECOND, (share, 3));
                std::iter::from_fn(move || planner.next(u64::MAX)).collect::<Vec<_>>()
            })
            .collect();
        all.sort_by_key(|planned| planned.index);
        assert_eq!(all.len(), 2000);
        assert!(all.iter().zip(0..).all(|(planned, index)| planned.index == index
            && planned.planned_ns == index * 1_000_000
            && planned.measured == (index >= 1000)));
    }

    /// Threads and machines alike: whoever sends which part, the whole is the same.
    #[test]
    fn the_schedule_does_not_depend_on_how_it_is_divided() {
        let pace = Pace { rate: Rate::steps(5e3, 1e4, 1e3, Some(7)), arrivals: Arrivals::Poisson };
        let whole = |shares: usize| {
            let share = |share| {
                let open = Schedule::Open(pace.clone());
                let mut planner = planner(open, Stop::After(SECOND), SECOND / 2, (share, shares));
                std::iter::from_fn(move || planner.next(u64::MAX)).collect::<Vec<_>>()
            };
            let mut all: Vec<Planned> = (0..shares).flat_map(share).collect();
            all.sort_by_key(|planned| planned.index);
            all
        };
        let alone = whole(1);
        assert!(alone.len() > 9_000 && alone.is_sorted_by_key(|planned| planned.planned_ns));
        assert_eq!(whole(3), alone);
        assert_eq!(whole(8), alone);
    }

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let open = Schedule::Open(Pace::fixed(10.0));
        let mut planner = planner(open, Stop::Count(2), Duration::ZERO, (0, 1));
        assert_eq!(planner.next(0).map(|planned| planned.planned_ns), Some(0));
        assert_eq!(planner.next(99_999_999), None);
        assert_eq!(planner.due_ns(), Some(100_000_000));
        assert_eq!(planner.next(5_000_000_000).map(|late| late.planned_ns), Some(100_000_000));
        assert_eq!((planner.next(u64::MAX), planner.is_finished(0)), (None, true));
    }

    #[test]
    fn a_count_is_divided_without_a_rest_and_excludes_the_warm_up() {
        let closed = Schedule::Closed { depth: 1 };
        let counted: Vec<usize> = (0..3)
            .map(|share| {
                let mut planner = planner(closed.clone(), Stop::Count(11), SECOND, (share, 3));
                assert!(planner.next(999_999_999).is_some_and(|warm_up| !warm_up.measured));
                std::iter::from_fn(|| planner.next(1_000_000_000)).count()
            })
            .collect();
        assert_eq!(counted, [4, 4, 3]);
    }

    #[test]
    fn the_closed_loop_ends_on_time() {
        let closed = Schedule::Closed { depth: 1 };
        let mut planner = planner(closed, Stop::After(SECOND), Duration::ZERO, (0, 1));
        assert_eq!(planner.next(999_999_999).map(|p| p.planned_ns), Some(999_999_999));
        assert_eq!(planner.next(1_000_000_000), None);
        assert!(planner.is_finished(1_000_000_000));
    }
}
