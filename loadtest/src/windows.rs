//! A run over time: what was planned in each of some hundred windows, and what came of it.
//!
//! A request belongs to the window of its planned time, so that a stall is seen where it hit and
//! not where its answers came.

use hdrhistogram::Histogram;

/// Two digits: an error below 1 %, in a histogram that stays in the cache.
const DIGITS: u8 = 2;
/// How many windows a run has at the most. Where it turns out longer than was known before, two
/// neighbours become one.
pub const WINDOWS_MAX: usize = 200;
/// The length of a window where nobody knows how long the run will be.
const LENGTH_NS_DEFAULT: u64 = 10_000_000;

/// What was planned in one window, and what came of it.
#[derive(Clone, Debug)]
pub struct Window {
    /// Requests that were planned within it: the sum of the next four, once all are settled.
    pub planned: u64,
    /// Right answers.
    pub ok: u64,
    /// Failures.
    pub errors: u64,
    /// No answer in time.
    pub timed_out: u64,
    /// Never sent.
    pub unsent: u64,
    /// Response times in nanoseconds, timeouts included.
    pub latency: Histogram<u64>,
}

impl Default for Window {
    fn default() -> Self {
        let latency = Histogram::new(DIGITS).expect("two digits are a valid precision");
        Self { planned: 0, ok: 0, errors: 0, timed_out: 0, unsent: 0, latency }
    }
}

impl Window {
    /// Records a response time.
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.latency.record(latency_ns).expect("histograms of this kind grow as they need");
    }

    /// Adds another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.planned += other.planned;
        self.ok += other.ok;
        self.errors += other.errors;
        self.timed_out += other.timed_out;
        self.unsent += other.unsent;
        self.latency.add(&other.latency).expect("histograms of this kind grow as they need");
    }
}

/// All windows of a run.
#[derive(Clone, Debug)]
pub struct Windows {
    from_ns: u64,
    length_ns: u64,
    all: Vec<Window>,
}

impl Default for Windows {
    fn default() -> Self {
        Self::new(0, None)
    }
}

impl Windows {
    /// Of a run that is measured from `from_ns` on; with windows of this length, if one is given.
    pub fn new(from_ns: u64, length_ns: Option<u64>) -> Self {
        let length_ns = length_ns.unwrap_or(LENGTH_NS_DEFAULT).max(1);
        Self { from_ns, length_ns, all: Vec::new() }
    }

    /// How long each is.
    pub fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// All of them, from the first on.
    pub fn all(&self) -> &[Window] {
        &self.all
    }

    /// The one that this time falls into.
    pub fn at(&mut self, planned_ns: u64) -> &mut Window {
        let since_ns = planned_ns.saturating_sub(self.from_ns);
        let index = |length_ns| usize::try_from(since_ns / length_ns).unwrap_or(usize::MAX);
        let mut at = index(self.length_ns);
        if at >= self.all.len() {
            while at >= WINDOWS_MAX {
                self.length_ns *= 2;
                at = index(self.length_ns);
                self.halve();
            }
            if at >= self.all.len() {
                self.all.resize_with(at + 1, Window::default);
            }
        }
        &mut self.all[at]
    }

    /// Makes one window of two neighbours.
    fn halve(&mut self) {
        let whole = std::mem::take(&mut self.all);
        self.all = whole
            .chunks(2)
            .map(|pair| {
                let mut window = pair[0].clone();
                pair[1..].iter().for_each(|second| window.merge(second));
                window
            })
            .collect();
    }

    /// Adds those of another thread of the same run.
    pub fn merge(&mut self, mut other: Self) {
        if other.all.is_empty() {
            return;
        }
        if self.all.is_empty() {
            *self = other;
            return;
        }
        while self.length_ns < other.length_ns {
            self.length_ns *= 2;
            self.halve();
        }
        while other.length_ns < self.length_ns {
            other.length_ns *= 2;
            other.halve();
        }
        let count = self.all.len().max(other.all.len());
        self.all.resize_with(count, Window::default);
        for (window, other) in self.all.iter_mut().zip(&other.all) {
            window.merge(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(windows: &Windows) -> Vec<u64> {
        windows.all().iter().map(|window| window.planned).collect()
    }

    #[test]
    fn a_request_belongs_to_the_window_of_its_planned_time() {
        let mut windows = Windows::new(1_000, Some(100));
        for ns in [1_000, 1_099, 1_100, 1_350] {
            windows.at(ns).planned += 1;
        }
        assert_eq!(planned(&windows), [2, 1, 0, 1]);
    }

    #[test]
    fn a_run_that_goes_on_has_longer_windows() {
        let mut windows = Windows::new(0, Some(1));
        let count = 10 * WINDOWS_MAX as u64;
        for ns in 0..count {
            windows.at(ns).planned += 1;
        }
        assert!(windows.all().len() <= WINDOWS_MAX);
        assert_eq!(planned(&windows).iter().sum::<u64>(), count);
        assert!(planned(&windows).iter().all(|planned| *planned == windows.length_ns()));
    }

    #[test]
    fn threads_are_added_whatever_the_lengths() {
        let (mut one, mut two) = (Windows::new(0, Some(1)), Windows::new(0, Some(1)));
        for ns in 0..1_000 {
            one.at(ns).planned += 1;
        }
        for ns in 0..100 {
            two.at(ns).planned += 1;
        }
        let (mut both, mut swapped) = (one.clone(), two.clone());
        both.merge(two);
        swapped.merge(one);
        assert_eq!(planned(&both), planned(&swapped));
        assert_eq!(both.all()[0].planned, 2 * both.length_ns());
        assert_eq!(planned(&both).iter().sum::<u64>(), 1_100);
        let mut nothing = Windows::default();
        nothing.merge(both.clone());
        assert_eq!(planned(&nothing), planned(&both));
    }
}
